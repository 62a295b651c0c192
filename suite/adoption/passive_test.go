package adoption_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// A passive request whose old cookie does not count is told the time of the session that does.
func TestPassiveRequestBesideAnOldCookieTellsItsOwnTime(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	var old stage.OldStore
	lr := stage.OldSession(e, "old", "")
	lr.ExpiresAt = e.Clock.Now().Add(10 * time.Minute)
	old.Put(lr)
	m := e.Manager(t, stage.Adopting(old.SideBySide()), func(c *redsession.Config) {
		c.Passive = func(r *http.Request) bool { return r.URL.Path == "/left" }
	})
	st := stage.NewScripted(t, m, stage.Handlers{"/left": func(w http.ResponseWriter, r *http.Request, _ *redsession.Session) {
		m.TimeLeft().ServeHTTP(w, r)
	}})
	st.Must("set:cart:tea")
	before := st.Get("/left").Text
	st.RenewOldCookie("old")
	if after := st.Get("/left").Text; after != before || !strings.Contains(after, `"idle":10800`) {
		t.Errorf("got %s, want %s as without the old cookie", after, before)
	}
}
