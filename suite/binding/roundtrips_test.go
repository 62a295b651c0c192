package binding_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
	"github.com/redsession/redsession/internal/tuning"
	"github.com/redsession/redsession/redsessiontest"
)

// TestBindingRoundTrips counts what each step in the life of a bound session costs where one node has
// all keys, and what reads cost where plans go in parts.
func TestBindingRoundTrips(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		m, sent := e.Counted(t, func(c *redsession.Config) {
			c.Cookie.InsecurePlainHTTP = false
			c.DeviceBinding.Enabled = true
		})
		h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := m.FromContext(r.Context())
			switch r.URL.Path {
			case "/login":
				s.Login("alice")
			case "/logout":
				s.Logout()
			case "/rotate":
				s.Rotate()
			}
		}))
		var costs []string
		counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sent.Take()
			h.ServeHTTP(w, r)
			costs = append(costs, sent.Take())
		})
		expire := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, c := range r.Cookies() {
				if strings.Contains(c.Name, "-bound-") {
					http.SetCookie(w, &http.Cookie{Name: c.Name, Path: "/", Secure: true, MaxAge: -1})
				}
			}
		})
		var clock redsessiontest.Manager                                                                         // which stands still
		for b, paths := clock.Browser(), []string{"/login", "/", "/logout"}; len(paths) > 0; paths = paths[1:] { // the scripts are known then
			b.Get(h, paths[0])
		}
		b := clock.Browser()
		const late, thief = true, true
		for _, row := range []struct {
			name        string
			path        string
			late, thief bool   // the second cookie has ended; a thief comes with what is left
			one, parts  string // in parts, what plans take is not waited for: ""
		}{
			{"a login, and the registration", "/login", false, false, "EVALSHA in 1 + EVALSHA in 1", ""},
			{"the request with which the binding begins", "/", false, false, "GET EXPIRE EVALSHA in 2", ""},
			{"the first one with the new id", "/", false, false, "GET EXPIRE EVALSHA in 2", ""},
			{"a hit", "/", false, false, "GET EXPIRE in 1", "GET EXPIRE in 1"},
			{"a proof, and a hit", "/", late, false, "GET GET in 1 + GET EXPIRE in 1", "GET GET in 1 + GET EXPIRE in 1"},
			{"a locked session", "/", late, thief, "GET in 1", "GET in 1"},
			{"a rotation that waits for a proof, after one", "/rotate", false, false, "GET GET in 1 + GET EXPIRE EVALSHA in 2", ""},
			{"the proof that turns the id, and the first hit with the new one", "/", late, false, "GET GET EVALSHA in 2 + GET EXPIRE EVALSHA in 2", ""},
			{"a logout", "/logout", false, false, "GET EXPIRE EVALSHA in 2", ""},
		} {
			if row.late {
				b.Get(expire, "/session-binding/none")
			}
			who, want := b, row.one
			if row.thief {
				who = b.Thief()
			}
			if tuning.Current().Apart {
				want = row.parts
			}
			costs = nil
			who.Get(counted, row.path)
			if got := strings.Join(costs, " + "); got != want && want != "" {
				t.Errorf("%s: got %s, want %s", row.name, got, want)
			}
		}
	})
}
