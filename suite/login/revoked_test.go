package login_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

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

// What a request has ended of others says nothing of the password that it checked.
func TestRevokedMeanwhileRefusesALoginThatRevokedOthers(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, manager := range e.BothWays() {
			m := manager(t)
			for name, row := range map[string]struct {
				revoke func(r *http.Request) (int, error)
				want   int
			}{
				"another user's":  {func(r *http.Request) (int, error) { return m.RevokeUser(r.Context(), "carol") }, http.StatusConflict},
				"a tag's":         {func(r *http.Request) (int, error) { return m.RevokeTagged(r.Context(), "old") }, http.StatusConflict},
				"the user's own":  {func(r *http.Request) (int, error) { return m.RevokeUser(r.Context(), "alice") }, http.StatusOK},
				"the login's tag": {func(r *http.Request) (int, error) { return m.RevokeTagged(r.Context(), "new") }, http.StatusConflict},
			} {
				t.Run(way+", "+name, func(t *testing.T) {
					e.Client.FlushAll(t.Context())
					w := httptest.NewRecorder()
					m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
						e.Clock.Add(time.Second)
						if _, err := m.RevokeUser(t.Context(), "alice"); err != nil { // by somebody else
							t.Error(err)
						}
						e.Clock.Add(time.Second)
						if _, err := row.revoke(r); err != nil {
							t.Error(err)
						}
						redsession.FromContext(r.Context()).Login("alice", redsession.Tag("new"))
					})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
					if w.Code != row.want {
						t.Errorf("got %d, want %d", w.Code, row.want)
					}
				})
			}
		}
	})
}

// revoking are pages that do what the words of their query say.
func revoking(t *testing.T, m *redsession.Manager) stage.Handlers {
	return stage.Handlers{"/do": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
		for word := range strings.FieldsSeq(r.FormValue("words")) {
			var err error
			switch word {
			case "user":
				_, err = m.RevokeUser(r.Context(), "alice")
			case "others":
				_, err = m.RevokeOthers(r.Context(), s)
			case "login":
				s.Login("alice")
			case "half":
				s.Login("alice", redsession.Pending())
			case "promote":
				s.Promote()
			case "rotate":
				s.Rotate()
			}
			if err != nil {
				t.Errorf("%s: got %v, want no error", word, err)
			}
		}
	}}
}

// Whoever knows the old password is refused once the others' sessions were ended, however far they have come, and the
// caller's own session goes on.
func TestLoginsUnderWayAreRefusedAndTheCallersOwnGoOn(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, manager := range e.BothWays() {
			for _, row := range []struct {
				name     string
				requests []string
			}{
				{"the others, and nothing else", []string{"others"}},
				{"the others after a login in the same request", []string{"login others"}},
				{"the others before a login in the same request", []string{"others login"}},
				{"the others, then a login", []string{"others", "login"}},
				{"the others before half a login in the same request", []string{"others half", "promote"}},
				{"the others, then half a login", []string{"others", "half", "promote"}},
				{"the others, then a rotation", []string{"others", "rotate", "rotate"}},
				{"the others after a second factor", []string{"half", "promote others"}},
				{"the others twice", []string{"others others", "others"}},
				{"all of the user's before a login in the same request", []string{"user login"}},
				{"all of the user's before half a login in the same request", []string{"user half", "promote"}},
				{"all of the user's, then half a login", []string{"user", "half", "promote"}},
			} {
				t.Run(row.name+", "+way, func(t *testing.T) {
					e.Client.FlushAll(t.Context())
					m := manager(t)
					st := stage.NewScripted(t, m, revoking(t, m))
					mate, half := st.Fork(""), st.Fork("")
					for _, b := range []*stage.Scripted{st, mate} {
						b.Must("login:alice set:a:1")
					}
					half.Must("half:alice")
					login, second, late := st.Fork("").Hold("hold login:alice"), half.Fork(half.Cookie()).Hold("hold promote"), st.Fork("").Hold("hold half:alice")
					for _, words := range row.requests {
						e.Advance(t, time.Millisecond)
						if a := st.Get("/do?words=" + url.QueryEscape(words)); a.StatusCode != http.StatusOK {
							t.Errorf("%s: got %d, want 200", words, a.StatusCode)
						}
					}
					if got := st.Must().Text; !strings.HasPrefix(got, "alice") {
						t.Errorf("got %q of the caller, want alice", got)
					}
					if got := mate.Must().Text; got != "" {
						t.Errorf("got %q of another session, want it ended", got)
					}
					e.Advance(t, time.Millisecond)
					third := st.Fork("")
					if a := late(); a.StatusCode != http.StatusOK {
						t.Errorf("got %d for half a login, which is no login yet, want 200", a.StatusCode)
					} else {
						third = st.Fork(a.SetCookies()[0].Value)
					}
					for what, a := range map[string]stage.Answer{
						"a login": login(), "a second factor": second(), "a later second factor": half.Do("promote"),
						"the second factor of a login under way": third.Do("promote"),
					} {
						if a.StatusCode != http.StatusConflict {
							t.Errorf("got %d for %s whose password was checked before, want 409", a.StatusCode, what)
						}
					}
					if infos, err := m.Sessions(t.Context(), "alice"); len(infos) != 1 || err != nil {
						t.Errorf("got %d sessions, %v, want the caller's alone", len(infos), err)
					}
					e.Advance(t, time.Millisecond)
					mate.Must("login:alice")
				})
			}
		}
	})
}

// Whoever can write to Redis cannot lock a user out by a revocation that is yet to come.
func TestLoginIsNotKeptOutByAMarkOfTheFuture(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, manager := range e.BothWays() {
			for _, row := range []struct {
				name   string
				ahead  time.Duration
				status int
			}{
				{"by a clock that is a little ahead", time.Minute, http.StatusConflict},
				{"by a clock that is five minutes ahead", 5 * time.Minute, http.StatusConflict},
				{"by no clock of ours", 5*time.Minute + time.Second, http.StatusOK},
				{"for good", 200 * 365 * 24 * time.Hour, http.StatusOK},
			} {
				t.Run(row.name+", "+way, func(t *testing.T) {
					e.Client.FlushAll(t.Context())
					m := manager(t)
					st := stage.NewScripted(t, m)
					st.Must("login:alice")
					e.Client.ZAdd(t.Context(), e.Index(t), redis.Z{Member: "*", Score: float64(e.Clock.Now().Add(row.ahead).UnixMicro())})
					if a := st.Fork("").Do("login:alice"); a.StatusCode != row.status {
						t.Errorf("got %d, want %d", a.StatusCode, row.status)
					}
					under := st.Fork("").Hold("hold login:alice")
					e.Advance(t, time.Second)
					if _, err := m.RevokeUser(t.Context(), "alice"); err != nil {
						t.Fatal(err)
					}
					if a := under(); a.StatusCode != http.StatusConflict {
						t.Errorf("got %d for a login under way at a real revocation, want 409", a.StatusCode)
					}
					e.Advance(t, 6*time.Minute)
					if a := st.Fork("").Do("login:alice"); a.StatusCode != http.StatusOK {
						t.Errorf("got %d six minutes later, want 200", a.StatusCode)
					}
				})
			}
		}
	})
}
