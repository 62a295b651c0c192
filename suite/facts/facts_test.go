package facts_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// What logins say stays with the session for as long as that is the same, and nowhere else.
func TestFactsOfALogin(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, manager := range e.BothWays() {
			m := manager(t, func(c *redsession.Config) { c.Encrypt = way == "in parts" })
			for _, row := range []struct {
				name     string
				requests []string
				want     string
			}{
				{"nothing was said", []string{"login:alice"}, `alice "" [] 0[]`},
				{"all was said", []string{"login:alice:label=laptop,tag=a,tag=b,proved=2/pwd/otp"}, `alice "laptop" [a b] 2[pwd otp]`},
				{"a tag said twice", []string{"login:alice:tag=a,tag=a"}, `alice "" [a] 0[]`},
				{"an anonymous session says nothing", []string{"set:a:1"}, `nobody "" [] 0[]`},
				{"timed rotation keeps it", []string{"login:alice:label=laptop,tag=a,proved=2/pwd", "+3h", "", "+3h", ""}, `alice "laptop" [a] 2[pwd]`},
				{"a write keeps it", []string{"login:alice:label=laptop,tag=a,proved=2/pwd", "set:a:1"}, `alice "laptop" [a] 2[pwd]`},
				{"a second factor adds to it", []string{"half:alice:label=laptop,tag=a,proved=1/pwd", "promote:proved=2/otp"}, `alice "laptop" [a] 2[pwd otp]`},
				{"a second factor of which nothing is said", []string{"half:alice:proved=1/pwd", "promote"}, `alice "" [] 1[pwd]`},
				{"a second factor in the same request", []string{"half:alice:tag=a,proved=1/pwd promote:proved=3/hwk"}, `alice "" [a] 3[pwd hwk]`},
				{"half of a login proves nothing yet", []string{"half:alice:label=laptop,tag=a,proved=2/pwd"}, `nobody "laptop" [a] 0[]`},
				{"a login again that says nothing", []string{"login:alice:label=laptop,tag=a,proved=2/pwd", "login:alice"}, `alice "laptop" [a] 2[pwd]`},
				{"a login again that proves less", []string{"login:alice:proved=2/pwd/otp", "login:alice:proved=1/pwd"}, `alice "" [] 2[pwd otp]`},
				{"a login again that proves more", []string{"login:alice:proved=1/pwd", "login:alice:proved=3/hwk"}, `alice "" [] 3[pwd hwk]`},
				{"a login again with another label", []string{"login:alice:label=laptop", "login:alice:label=phone"}, `alice "phone" [] 0[]`},
				{"a login again that takes the label away", []string{"login:alice:label=laptop", "login:alice:label="}, `alice "" [] 0[]`},
				{"a login again with other tags", []string{"login:alice:tag=a,tag=b", "login:alice:tag=c"}, `alice "" [c] 0[]`},
				{"two logins in a request", []string{"login:alice:label=laptop,tag=a,proved=1/pwd login:alice:proved=2/otp"}, `alice "laptop" [a] 2[pwd otp]`},
				{"half a login again", []string{"login:alice:proved=2/pwd", "half:alice", "promote"}, `alice "" [] 2[pwd]`},
				{"a login of another user", []string{"login:alice:label=laptop,tag=a,proved=3/hwk", "login:bob"}, `bob "" [] 0[]`},
				{"a login of another user in the same request", []string{"login:alice:label=laptop,tag=a,proved=3/hwk login:bob"}, `bob "" [] 0[]`},
				{"a login after a logout", []string{"login:alice:label=laptop,tag=a,proved=3/hwk", "logout login:alice"}, `alice "" [] 0[]`},
				{"a logout", []string{"login:alice:label=laptop,tag=a,proved=3/hwk", "logout"}, `nobody "" [] 0[]`},
			} {
				t.Run(row.name+", "+way, func(t *testing.T) {
					st := stage.NewScripted(t, m)
					for _, ops := range row.requests {
						if wait, ok := strings.CutPrefix(ops, "+"); ok {
							d, err := time.ParseDuration(wait)
							if err != nil {
								t.Fatal(err)
							}
							e.Advance(t, d)
							continue
						}
						st.Must(ops)
					}
					if got := st.Must("facts").Header.Get("X-Facts"); got != row.want {
						t.Errorf("got %s, want %s", got, row.want)
					}
				})
			}
		}
	})
}

// What the old session had proved, and its tags, do not come along with a login that stands though that has ended.
func TestFactsOfASessionThatWasEndedMeanwhileAreGone(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, manager := range e.BothWays() {
			t.Run(way, func(t *testing.T) {
				m := manager(t)
				st := stage.NewScripted(t, m)
				st.Must("login:alice:label=laptop,tag=a,proved=3/hwk")
				id := st.Must().Header.Get("X-Id")
				release := st.Hold("hold login:alice:proved=1/pwd")
				if err := m.Revoke(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				if a := release(); a.StatusCode != http.StatusOK {
					t.Fatalf("got %d, want 200", a.StatusCode)
				}
				if got, want := st.Must("facts").Header.Get("X-Facts"), `alice "" [] 1[pwd]`; got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				if infos, err := m.Tagged(t.Context(), "a"); len(infos) != 0 || err != nil {
					t.Errorf("got %v, %v with the tag of the session that ended, want none", infos, err)
				}
			})
		}
	})
}

// refused has user log in by login, and returns the status and the session that is left.
func refused(t *testing.T, m *redsession.Manager, st *stage.Scripted, login func(s *redsession.Session)) (status int, left string) {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: "session", Value: st.Cookie()})
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { login(redsession.FromContext(r.Context())) })).ServeHTTP(w, r)
	return w.Code, st.Must("facts").Header.Get("X-Facts")
}

// A login that says what cannot be kept logs nobody in, and leaves what was.
func TestFactsThatCannotBeKeptFailTheLogin(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	long := strings.Repeat("x", 257)
	for _, row := range []struct {
		name string
		opts []redsession.LoginOption
	}{
		{"a label that is too long", []redsession.LoginOption{redsession.Label(long)}},
		{"a label with an escape sequence", []redsession.LoginOption{redsession.Label("\x1b[2J")}},
		{"a label that is no UTF-8", []redsession.LoginOption{redsession.Label("\xff")}},
		{"a bad label beside a good one", []redsession.LoginOption{redsession.Label("\n"), redsession.Label("laptop")}},
		{"an empty tag", []redsession.LoginOption{redsession.Tag("")}},
		{"a tag that is too long", []redsession.LoginOption{redsession.Tag(long)}},
		{"five tags", []redsession.LoginOption{redsession.Tag("1"), redsession.Tag("2"), redsession.Tag("3"), redsession.Tag("4"), redsession.Tag("5")}},
		{"a method with a space", []redsession.LoginOption{redsession.Proved(1, "one time")}},
		{"half of a login likewise", []redsession.LoginOption{redsession.Tag(""), redsession.Pending()}},
	} {
		t.Run(row.name, func(t *testing.T) {
			st := stage.NewScripted(t, m)
			st.Must("login:alice:label=laptop")
			status, left := refused(t, m, st, func(s *redsession.Session) { s.Login("bob", row.opts...) })
			if status != http.StatusInternalServerError || left != `alice "laptop" [] 0[]` {
				t.Errorf("got %d and %s, want 500 and the session as it was", status, left)
			}
		})
	}
	t.Run("a method of a promotion with a space", func(t *testing.T) {
		st := stage.NewScripted(t, m)
		st.Must("half:alice:label=laptop")
		status, left := refused(t, m, st, func(s *redsession.Session) { s.Promote(redsession.Proved(2, "one time")) })
		if status != http.StatusInternalServerError || left != `nobody "laptop" [] 0[]` {
			t.Errorf("got %d and %s, want 500 and half a login as it was", status, left)
		}
	})
	if log := e.Events.Log(); strings.Contains(log, "xxx") {
		t.Error("the log shows what was said")
	}
}

func TestFactsThatAreMistakesPanic(t *testing.T) {
	t.Parallel()
	m := stage.NewMini(t).Manager(t)
	within := func(do func(s *redsession.Session)) func() {
		return func() {
			m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { do(redsession.FromContext(r.Context())) })).
				ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		}
	}
	promote := func(opt redsession.LoginOption) func() {
		return within(func(s *redsession.Session) { s.Promote(opt) })
	}
	for _, row := range []struct {
		name string
		do   func()
	}{
		{"Proved of no level", func() { redsession.Proved(0) }},
		{"Proved of a level that there is not", func() { redsession.Proved(4, "pwd") }},
		{"RequireLevel of no level", func() { m.RequireLevel(0) }},
		{"By nobody", func() { redsession.By("") }},
		{"half of a login by somebody", within(func(s *redsession.Session) { s.Login("bob", redsession.Pending(), redsession.By("alice")) })},
		{"Promote with a label", promote(redsession.Label(""))},
		{"Promote with a tag", promote(redsession.Tag("a"))},
		{"Promote by somebody", promote(redsession.By("alice"))},
		{"Promote that is Pending", promote(redsession.Pending())},
		{"Promote for long", promote(redsession.RememberFor(time.Hour))},
	} {
		t.Run(row.name, func(t *testing.T) {
			defer func() {
				if text, _ := recover().(string); !strings.HasPrefix(text, "redsession: ") {
					t.Errorf("got the panic %q, want one of this package", text)
				}
			}()
			row.do()
		})
	}
}

func TestAgeAndMemoryOfALoginGoByTheManagersClock(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	st := stage.NewScripted(t, m, stage.Handlers{"/age": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		w.Header().Set("X-Age", s.AuthAge().Truncate(time.Second).String())
		if s.Remembered() {
			w.Header().Set("X-Remembered", "yes")
		}
	}})
	for _, row := range []struct{ name, ops, age, remembered string }{
		{"nobody has logged in", "set:a:1", "0s", ""},
		{"a login", "login:alice", "1h0m0s", ""},
		{"a login that is remembered", "remember:alice", "1h0m0s", "yes"},
		{"a login again that is not", "login:alice", "1h0m0s", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			st.Must(row.ops)
			e.Advance(t, time.Hour)
			a := st.Get("/age")
			if got := a.Header.Get("X-Age"); got != row.age || a.Header.Get("X-Remembered") != row.remembered {
				t.Errorf("got the age %s, remembered %q, want %s, %q", got, a.Header.Get("X-Remembered"), row.age, row.remembered)
			}
		})
	}
}

func TestRequireLevel(t *testing.T) {
	t.Parallel()
	m := stage.NewMini(t).Manager(t)
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	st := stage.NewScripted(t, m, stage.Handlers{"/2": func(w http.ResponseWriter, r *http.Request, _ *redsession.Session) {
		m.RequireLevel(2)(ok).ServeHTTP(w, r)
	}})
	for _, row := range []struct {
		name     string
		requests []string
		status   int
	}{
		{"without a session", nil, 401},
		{"a login of which nothing is said", []string{"login:alice"}, 401},
		{"a lower level", []string{"login:alice:proved=1/pwd"}, 401},
		{"that level", []string{"login:alice:proved=2/pwd/otp"}, 200},
		{"a higher one", []string{"login:alice:proved=3/hwk"}, 200},
		{"half of a login", []string{"half:alice:proved=3/hwk"}, 401},
		{"raised by a second factor", []string{"half:alice:proved=1/pwd", "promote:proved=2/otp"}, 200},
		{"another user's", []string{"login:alice:proved=3/hwk", "login:bob:proved=1/pwd"}, 401},
		{"who acts has said nothing of themselves", []string{"login:bob:proved=3/hwk", "login:alice:by=bob"}, 401},
		{"who acts has", []string{"login:bob:proved=3/hwk", "login:alice:by=bob,proved=3/hwk"}, 200},
		{"the user's own login after somebody acted", []string{"login:bob", "login:alice:by=bob,proved=3/hwk", "login:alice:proved=1/pwd"}, 401},
		{"after a logout", []string{"login:alice:proved=3/hwk", "logout"}, 401},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := st.Fork("")
			for _, ops := range row.requests {
				b.Must(ops)
			}
			if a := b.Get("/2"); a.StatusCode != row.status {
				t.Errorf("got %d, want %d", a.StatusCode, row.status)
			}
		})
	}
}

// An operator and the user see what the login said, and an Admin without secrets as well.
func TestFactsInLists(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, func(c *redsession.Config) { c.Encrypt = true })
		stage.NewScripted(t, m).Must("login:alice:label=laptop,tag=a,proved=2/pwd")
		for name, list := range map[string]func() ([]redsession.Info, error){
			"the user's": func() ([]redsession.Info, error) { return m.Sessions(t.Context(), "alice") },
			"by tag":     func() ([]redsession.Info, error) { return m.Tagged(t.Context(), "a") },
			"all, without secrets": func() (all []redsession.Info, err error) {
				for i, err := range e.Operator(t, "").All(context.Background()) {
					if err != nil {
						return nil, err
					}
					all = append(all, i)
				}
				return all, nil
			},
		} {
			infos, err := list()
			if err != nil || len(infos) != 1 || infos[0].Label != "laptop" || infos[0].Level != 2 || infos[0].ActorID != "" || infos[0].UserID != "alice" {
				t.Errorf("%s: got %+v, %v", name, infos, err)
			}
		}
	})
}
