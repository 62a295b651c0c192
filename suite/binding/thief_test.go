package binding_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

// loseAnswer sends a request of b whose answers are lost on the way, those to its proofs
// included.
func (s *site) loseAnswer(b *redsessiontest.Browser, path string) {
	b.Get(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.h.ServeHTTP(httptest.NewRecorder(), r)
		w.WriteHeader(http.StatusBadGateway)
	}), path)
}

// TestBindingOfAnIdleOwnerWhoseCookiesWereCopied lets a thief copy the cookies at each moment of
// a session's life, and use them at will while the owner does nothing.
func TestBindingOfAnIdleOwnerWhoseCookiesWereCopied(t *testing.T) {
	t.Parallel()
	const beforeRegistration = "at the login, before the registration"
	moments := []struct {
		name string
		copy func(t *testing.T, s *site, owner *redsessiontest.Browser) *redsessiontest.Browser
	}{
		{beforeRegistration, func(t *testing.T, s *site, owner *redsessiontest.Browser) (thief *redsessiontest.Browser) {
			h := s.h
			s.h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/register/") && thief == nil {
					thief = owner.Thief()
				}
				h.ServeHTTP(w, r)
			})
			s.want(t, owner, "/login?user=alice", "200")
			s.h = h
			return thief
		}},
		{"after the registration", func(t *testing.T, s *site, owner *redsessiontest.Browser) *redsessiontest.Browser {
			s.want(t, owner, "/login?user=alice", "200")
			return owner.Thief()
		}},
		{"when the binding begins, and that answer is lost", func(t *testing.T, s *site, owner *redsessiontest.Browser) *redsessiontest.Browser {
			s.want(t, owner, "/login?user=alice", "200")
			thief := owner.Thief()
			s.loseAnswer(owner, "/")
			return thief
		}},
		{"once it is bound", func(t *testing.T, s *site, owner *redsessiontest.Browser) *redsessiontest.Browser {
			s.want(t, owner, "/login?user=alice", "200")
			s.want(t, owner, "/", "200 alice 0")
			s.want(t, owner, "/", "200 alice 0 bound")
			return owner.Thief()
		}},
		{"right after a proof", func(t *testing.T, s *site, owner *redsessiontest.Browser) *redsessiontest.Browser {
			s.want(t, owner, "/login?user=alice", "200")
			s.want(t, owner, "/", "200 alice 0")
			s.m.Advance(11 * time.Minute)
			s.want(t, owner, "/", "200 alice 0 bound")
			return owner.Thief()
		}},
		{"before a rotation", func(t *testing.T, s *site, owner *redsessiontest.Browser) *redsessiontest.Browser {
			s.want(t, owner, "/login?user=alice", "200")
			s.want(t, owner, "/", "200 alice 0")
			s.want(t, owner, "/rotate", "200")
			s.m.Advance(9 * time.Minute)
			s.want(t, owner, "/", "200 alice 0 bound")
			thief := owner.Thief()
			s.m.Advance(61 * time.Second)
			s.want(t, owner, "/", "200 alice 0 bound")
			s.want(t, owner, "/", "200 alice 0 bound")
			return thief
		}},
		{"before a rotation whose answer is lost", func(t *testing.T, s *site, owner *redsessiontest.Browser) *redsessiontest.Browser {
			s.want(t, owner, "/login?user=alice", "200")
			s.want(t, owner, "/", "200 alice 0")
			s.want(t, owner, "/rotate", "200")
			thief := owner.Thief()
			s.m.Advance(10*time.Minute + time.Second) // still good for a server's clock
			s.loseAnswer(owner, "/")
			return thief
		}},
	}
	uses := []struct {
		name  string
		every time.Duration
		paths []string
	}{
		{"reads every ten seconds", 10 * time.Second, []string{"/"}},
		{"reads every minute", time.Minute, []string{"/"}},
		{"writes", 40 * time.Second, []string{"/add", "/"}},
		{"turns the id", 50 * time.Second, []string{"/rotate", "/"}},
		{"asks for a proof", 90 * time.Second, []string{"/", "/proof", "/"}},
	}
	for _, policy := range []redsession.ReplayPolicy{redsession.RefuseReplay, redsession.EndSession} {
		for _, moment := range moments {
			for _, use := range uses {
				for _, idle := range []time.Duration{3 * time.Second, 2 * time.Minute, 5 * time.Minute, 12 * time.Minute, 50 * time.Minute} {
					if moment.name == beforeRegistration && idle > 10*time.Minute {
						continue // an owner who does not come back within 10 minutes of the login has bound nothing
					}
					name := moment.name + ", and the thief " + use.name + " for " + idle.String()
					if policy == redsession.EndSession {
						name += ", where replays end sessions"
					}
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						s := newSite(t, func(c *redsession.Config) { c.OnReplay = policy })
						owner := s.m.Browser()
						thief := moment.copy(t, s, owner)
						for began := s.m.Now(); s.m.Now().Sub(began) < idle; s.m.Advance(use.every) {
							for _, path := range use.paths {
								s.see(thief, path)
							}
						}
						owned := func() {
							t.Helper()
							if got := s.follow(owner, "/"); !strings.HasPrefix(got, "200 alice") {
								t.Errorf("the owner got %q", got)
							}
						}
						owned()
						for range 3 {
							s.see(thief, "/")
							owned()
						}
						s.m.Advance(12 * time.Minute)
						if got := s.see(thief, "/"); strings.Contains(got, "alice") {
							t.Errorf("the thief got %q once the second cookie has ended", got)
						}
						owned()
					})
				}
			}
		}
	}
}
