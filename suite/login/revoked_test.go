package login_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// A login whose password was checked before the user was revoked is refused, and leaves no
// record that a list would show.
func TestLoginOfAUserWhoWasRevokedMeanwhileLeavesNothing(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, manager := range e.BothWays() {
			t.Run(way, func(t *testing.T) {
				e.Client.FlushAll(t.Context())
				m := manager(t)
				w := httptest.NewRecorder()
				m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					e.Clock.Add(time.Second)
					if _, err := m.RevokeUser(t.Context(), "alice"); err != nil { // by somebody else
						t.Error(err)
					}
					redsession.FromContext(r.Context()).Login("alice")
				})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
				if w.Code != http.StatusConflict || len(w.Result().Cookies()) != 0 {
					t.Errorf("got %d and the cookies %v, want 409 and none", w.Code, w.Result().Cookies())
				}
				if left := e.Keys(t); len(left) != 1 || !strings.HasPrefix(left[0], "session:user:") {
					t.Errorf("got %v, want the mark alone", left)
				}
			})
		}
	})
}
