package response_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// brokenLoads are ways in which the load of a session fails, after it was stored.
var brokenLoads = map[string]func(m *redsession.Manager, p *redistest.Proxy, stamps *stage.Stamps){
	"Redis is away": func(_ *redsession.Manager, p *redistest.Proxy, _ *stage.Stamps) { p.Refuse(true) },
	"Redis refuses": func(_ *redsession.Manager, p *redistest.Proxy, _ *stage.Stamps) {
		p.Reply(stage.ReplyToGET("-NOPERM this user has no permissions to run the 'get' command\r\n"))
	},
	"the stamp is not known": func(_ *redsession.Manager, _ *redistest.Proxy, stamps *stage.Stamps) {
		stamps.Set("", errors.New("the database is down"))
	},
	"the Manager is closed": func(m *redsession.Manager, _ *redistest.Proxy, _ *stage.Stamps) { _ = m.Close() },
}

// keeping are the ways to keep something in a session, or to change what it is.
var keeping = map[string]func(m *redsession.Manager, r *http.Request, s *redsession.Session) error{
	"Save of nothing": saving(func(*redsession.Session) {}),
	"a write":         saving(func(s *redsession.Session) { stage.Number.Set(s, 1) }),
	"an update":       saving(func(s *redsession.Session) { stage.Number.Update(s, addOne) }),
	"a deletion":      saving(func(s *redsession.Session) { stage.Number.Delete(s) }),
	"a flash":         saving(func(s *redsession.Session) { s.Flash("hello") }),
	"Clear":           saving((*redsession.Session).Clear),
	"a login":         saving(func(s *redsession.Session) { s.Login("alice") }),
	"half a login":    saving(func(s *redsession.Session) { s.Login("alice", redsession.Pending()) }),
	"a promotion":     saving(func(s *redsession.Session) { s.Promote() }),
	"a logout":        saving((*redsession.Session).Logout),
	"a new id":        saving((*redsession.Session).Rotate),
	"a CSRF token":    saving(func(s *redsession.Session) { s.CSRFToken() }),
	"Take": func(_ *redsession.Manager, r *http.Request, s *redsession.Session) error {
		_, _, err := stage.Number.Take(r.Context(), s)
		return err
	},
	"RevokeOthers": func(m *redsession.Manager, r *http.Request, s *redsession.Session) error {
		return stage.ErrorOf(m.RevokeOthers(r.Context(), s))
	},
}

// When the load failed, the ErrorHandler finds a session that is empty, and whatever it tries
// to keep in it is the same error: nobody knows whose session it is.
func TestResponseOfAFailedLoadHasASessionThatKeepsNothing(t *testing.T) {
	t.Parallel()
	for how, fail := range brokenLoads {
		for name, keep := range keeping {
			t.Run(how+", "+name, func(t *testing.T) {
				t.Parallel()
				var m *redsession.Manager
				answered := 0
				e, stamps := stage.NewMini(t), stage.NewStamps("good")
				m, p := e.Behind(t, stamps.Configure, func(c *redsession.Config) {
					c.Outage = redsession.FailClosed
					c.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
						answered++
						wantEmpty(t, m, r)
						s := redsession.FromContext(r.Context())
						if got := keep(m, r, s); got == nil || got.Error() != err.Error() || !errors.Is(got, redsession.ErrUnavailable) {
							t.Errorf("got %v, want the error of the load: %v", got, err)
						}
						wantEmpty(t, m, r)
						w.WriteHeader(http.StatusServiceUnavailable)
					}
				})
				cookie := "session=" + stage.Issue(t, m, "/login")
				held := e.Dump(t)
				fail(m, p, stamps)
				w := ask(m, cookie, func(*redsession.Session) { t.Error("the handler ran") })
				p.Refuse(false)
				if answered != 1 || w.Code != 503 || w.Header().Get("Set-Cookie") != "" {
					t.Errorf("got %d answers, status %d and cookie %q, want one, 503 and no cookie", answered, w.Code, w.Header().Get("Set-Cookie"))
				}
				if got := e.Dump(t); !maps.Equal(got, held) {
					t.Errorf("got %v in Redis, want it as before: %v", got, held)
				}
			})
		}
	}
}

// wantEmpty checks that r has a session, in each way to find it, and that it is nobody's.
func wantEmpty(t *testing.T, m *redsession.Manager, r *http.Request) {
	t.Helper()
	s := redsession.FromContext(r.Context())
	if at, ok := redsession.Lookup(r.Context()); !ok || at != s || m.FromContext(r.Context()) != s {
		t.Error("got another session, or none, by Lookup and by the Manager")
	}
	if _, ok := stage.Number.Get(s); ok || s.LoggedIn() || s.PendingUserID() != "" || s.ID() != "" || len(s.Keys())+len(s.Flashes()) > 0 || s.Token() != "" || s.Degraded() || s.Context().Err() != nil {
		t.Errorf("got the session %q of user %q, want an empty one", s.ID(), s.UserID())
	}
	guards := map[string]http.Handler{"RequireLogin": m.RequireLogin(entered(t)), "RequireRecentLogin": m.RequireRecentLogin(time.Hour)(entered(t))}
	for name, guard := range guards {
		w := httptest.NewRecorder()
		if guard.ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
			t.Errorf("got %d from %s, want 401", w.Code, name)
		}
	}
}

// entered fails the test if a guard lets somebody in.
func entered(t *testing.T) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a guard let somebody in") })
}

// After a commit that failed, what the ErrorHandler changes is kept by Save, as far as it
// needs no new cookie; and if it does not call Save, the log says that it is lost.
func TestResponseOfAFailedCommitKeepsWhatItsHandlerSaves(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(*redsession.Session)
		want   error  // of Save
		after  string // what a Save leaves
	}{
		{"a flash", func(s *redsession.Session) { s.Flash("sorry") }, nil, "alice [sorry] 0"},
		{"a write", func(s *redsession.Session) { stage.Number.Set(s, 7) }, nil, "alice [] 7"},
		{"a logout, whose cookie stays", (*redsession.Session).Logout, redsession.ErrHeadersSent, " [] 0"},
		{"a login", func(s *redsession.Session) { s.Login("bob") }, redsession.ErrHeadersSent, "alice [] 0"},
	} {
		for saves, after := range map[bool]string{true: row.after, false: "alice [] 0"} {
			t.Run(fmt.Sprintf("%s, Save: %t", row.name, saves), func(t *testing.T) {
				t.Parallel()
				e := stage.NewMini(t)
				m := e.Manager(t, func(c *redsession.Config) {
					c.ErrorHandler = func(w http.ResponseWriter, r *http.Request, _ error) {
						s := redsession.FromContext(r.Context())
						if row.change(s); saves {
							if err := s.Save(r.Context()); !errors.Is(err, row.want) {
								t.Errorf("got %v from Save, want %v", err, row.want)
							}
						}
						http.Redirect(w, r, "/", http.StatusSeeOther)
					}
				})
				cookie := "session=" + stage.Issue(t, m, "/login")
				w := ask(m, cookie, func(s *redsession.Session) { stage.LifeNote.Set(s, strings.Repeat("x", 1<<17)) })
				if told := strings.Contains(e.Events.Log(), "must call Save"); w.Code != 303 || told == saves {
					t.Errorf("got status %d, and told: %t", w.Code, told)
				}
				ask(m, cookie, func(s *redsession.Session) {
					n, _ := stage.Number.Get(s)
					if got := fmt.Sprint(s.UserID(), " ", s.Flashes(), " ", n); got != after {
						t.Errorf("got %q afterwards, want %q", got, after)
					}
				})
			})
		}
	}
}

func saving(change func(*redsession.Session)) func(*redsession.Manager, *http.Request, *redsession.Session) error {
	return func(_ *redsession.Manager, r *http.Request, s *redsession.Session) error {
		change(s)
		return s.Save(r.Context())
	}
}

// ask sends a request whose handler does do and writes a byte.
func ask(m *redsession.Manager, cookies string, do func(*redsession.Session)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", cookies)
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		do(m.FromContext(r.Context()))
		_, _ = w.Write([]byte("done"))
	})).ServeHTTP(w, r)
	return w
}
