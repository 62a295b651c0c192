package redsessiontest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

const visits = redsession.Key[int]("visits")

// app answers with who is there, and does what the path says.
func app(m *redsession.Manager) http.Handler {
	mux := http.NewServeMux()
	on := func(path string, do func(*redsession.Session)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			s := redsession.FromContext(r.Context())
			do(s)
			_, _ = io.WriteString(w, s.UserID())
		})
	}
	on("/", func(*redsession.Session) {})
	on("/visit", func(s *redsession.Session) { visits.Update(s, func(n int) int { return n + 1 }) })
	on("/login", func(s *redsession.Session) { s.Login("bob") })
	on("/logout", func(s *redsession.Session) { s.Logout() })
	on("/rotate", func(s *redsession.Session) { s.Rotate() })
	return m.Handler(mux)
}

func get(path string) *http.Request { return httptest.NewRequest(http.MethodGet, path, nil) }

func serve(h http.Handler, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestARequestThatIsLoggedInIsKnownToTheApplication(t *testing.T) {
	m := redsessiontest.New(t)
	r := get("/visit")
	in := m.Login(r, "alice", func(s *redsession.Session) { visits.Set(s, 41) })
	if got := body(t, serve(app(m.Manager), in)); got != "alice" {
		t.Errorf("got the user %q, want alice", got)
	}
	if len(r.Cookies()) != 0 {
		t.Error("the request that Login was given has changed")
	}
	m.With(in, func(s *redsession.Session) {
		if n, _ := visits.Get(s); n != 42 {
			t.Errorf("after the request: got %d visits, want 42", n)
		}
	})
	infos, err := m.Sessions(t.Context(), "alice")
	if err != nil || len(infos) != 1 {
		t.Errorf("got %d sessions of alice's and the error %v, want the one", len(infos), err)
	}
}

func TestTheClientsAddressAndOtherCookiesStay(t *testing.T) {
	m := redsessiontest.New(t)
	r := get("/")
	r.AddCookie(&http.Cookie{Name: "theme", Value: "dark"})
	r.Header.Set("User-Agent", "Firefox")
	r.RemoteAddr = "203.0.113.9:5000"
	r = m.Login(m.Login(r, "alice"), "alice")
	if c, err := r.Cookie("theme"); err != nil || c.Value != "dark" || len(r.Cookies()) != 2 {
		t.Errorf("got %d cookies and the error %v, want the theme and one session", len(r.Cookies()), err)
	}
	infos, err := m.Sessions(t.Context(), "alice")
	if err != nil || len(infos) != 1 {
		t.Fatalf("got %d sessions and the error %v, want one, as the second login replaced the first", len(infos), err)
	}
	if infos[0].UserAgent != "Firefox" || infos[0].RemoteAddr != "203.0.113.9" {
		t.Errorf("got a login by %q from %q, want that of the request", infos[0].UserAgent, infos[0].RemoteAddr)
	}
}

func TestWhatAResponseDidToTheSession(t *testing.T) {
	for _, row := range []struct {
		path   string
		cookie string // kept, set or expired
		user   string // afterwards
	}{
		{"/", "kept", "alice"},
		{"/visit", "kept", "alice"},
		{"/login", "set", "bob"},
		{"/rotate", "set", "alice"},
		{"/logout", "expired", ""},
	} {
		t.Run(row.path, func(t *testing.T) {
			m := redsessiontest.New(t)
			r := m.Login(get(row.path), "alice")
			res := serve(app(m.Manager), r)
			cookie := "kept"
			if c := m.Cookie(res); c != nil && c.MaxAge < 0 {
				cookie = "expired"
			} else if c != nil {
				cookie = "set"
			}
			if cookie != row.cookie {
				t.Errorf("got the cookie %s, want %s", cookie, row.cookie)
			}
			user := "nobody looked"
			m.After(r, res, func(s *redsession.Session) { user = s.UserID() })
			if user != row.user {
				t.Errorf("got the user %q afterwards, want %q", user, row.user)
			}
		})
	}
}

func TestAnyCookieThatConfigAllowsIsFound(t *testing.T) {
	for _, c := range []redsession.Cookie{
		{},
		{Domain: "example.com"},
		{Name: "sid"},
		{InsecurePlainHTTP: true},
		{Persistent: true},
		{InsecureWhen: func(*http.Request) bool { return true }},
		{InsecureWhen: func(*http.Request) bool { return false }},
	} {
		m := redsessiontest.New(t, func(cfg *redsession.Config) { cfg.Cookie = c })
		r := get("/login")
		res := serve(app(m.Manager), r)
		if m.Cookie(res) == nil {
			t.Errorf("%+v: got no cookie", c)
		}
		m.After(r, res, func(s *redsession.Session) {
			if s.UserID() != "bob" {
				t.Errorf("%+v: got the user %q, want bob", c, s.UserID())
			}
		})
	}
}

func TestAnAnonymousSessionCanBePrepared(t *testing.T) {
	m := redsessiontest.New(t)
	r := m.With(get("/visit"), func(s *redsession.Session) { visits.Set(s, 1) })
	res := serve(app(m.Manager), r)
	m.After(r, res, func(s *redsession.Session) {
		if n, _ := visits.Get(s); n != 2 || s.LoggedIn() {
			t.Errorf("got %d visits, logged in %v; want 2 of nobody's", n, s.LoggedIn())
		}
	})
}

func TestLookingDoesNotRotate(t *testing.T) {
	m := redsessiontest.New(t, func(c *redsession.Config) { c.RotateEvery = time.Hour })
	r := m.Login(get("/"), "alice")
	m.Advance(2 * time.Hour)
	var before, after string
	m.With(r, func(s *redsession.Session) { before = s.ID() })
	m.With(r, func(s *redsession.Session) { after = s.ID() })
	if before != after {
		t.Error("looking gave the session a new id")
	}
	if m.Cookie(serve(app(m.Manager), r)) == nil {
		t.Error("the request itself was not rotated, though that is due")
	}
}

func TestAdvanceMovesBothTimes(t *testing.T) {
	for _, row := range []struct {
		name string
		idle time.Duration
		wait time.Duration
		want string
	}{
		{"within the idle timeout", time.Hour, 59 * time.Minute, "alice"},
		{"past the idle timeout, which Redis keeps", time.Hour, 61 * time.Minute, ""},
		{"past the absolute timeout, which the Manager keeps", 60 * 24 * time.Hour, 31 * 24 * time.Hour, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := redsessiontest.New(t, func(c *redsession.Config) { c.IdleTimeout = row.idle })
			r := m.Login(get("/"), "alice")
			before := m.Now()
			m.Advance(row.wait)
			if got := m.Now().Sub(before); got != row.wait {
				t.Errorf("got %s by the clock, want %s", got, row.wait)
			}
			if got := body(t, serve(app(m.Manager), r)); got != row.want {
				t.Errorf("got the user %q, want %q", got, row.want)
			}
		})
	}
}

func TestAnOutageAtTheFlickOfASwitch(t *testing.T) {
	var mu sync.Mutex
	var kinds []redsession.EventKind
	m := redsessiontest.New(t, func(c *redsession.Config) {
		c.OnEvent = func(_ context.Context, e redsession.Event) {
			mu.Lock()
			defer mu.Unlock()
			kinds = append(kinds, e.Kind)
		}
	})
	h := app(m.Manager)
	known := m.Login(get("/"), "alice")
	writing := known.Clone(t.Context())
	writing.URL.Path = "/visit"
	stranger := get("/login")
	for round := range 3 {
		m.TakeRedisAway()
		m.TakeRedisAway() // changes nothing
		if res := serve(h, known); res.StatusCode != http.StatusOK {
			t.Errorf("round %d, a known session: got %d, want 200", round, res.StatusCode)
		}
		if res := serve(h, writing); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("round %d, a known session that writes: got %d, want 503", round, res.StatusCode)
		}
		if res := serve(h, stranger); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("round %d, a login: got %d, want 503", round, res.StatusCode)
		}
		m.BringRedisBack()
		m.BringRedisBack()
		if res := serve(h, writing); res.StatusCode != http.StatusOK {
			t.Errorf("round %d, a write once Redis is back: got %d, want 200", round, res.StatusCode)
		}
		m.With(known, func(s *redsession.Session) {
			if n, _ := visits.Get(s); n != round+1 || s.Degraded() {
				t.Errorf("round %d: got %d visits, degraded %v; want %d from Redis", round, n, s.Degraded(), round+1)
			}
		})
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Contains(kinds, redsession.EventOutageBegan) || !slices.Contains(kinds, redsession.EventLogin) {
		t.Errorf("the test's own OnEvent got %v, want everything", kinds)
	}
}

func TestALogoutInAnOutageIsMadeOnceItIsOver(t *testing.T) {
	m := redsessiontest.New(t)
	h := app(m.Manager)
	r := m.Login(get("/logout"), "alice")
	m.TakeRedisAway()
	if res := serve(h, r); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("logging out: got %d, want 503, as it is not done", res.StatusCode)
	}
	m.BringRedisBack()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		infos, err := m.Sessions(t.Context(), "alice")
		if err == nil && len(infos) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %d sessions and the error %v, want none", len(infos), err)
		}
	}
}

func TestAWriteMayWaitForTheEndOfAnOutage(t *testing.T) {
	m := redsessiontest.New(t, func(c *redsession.Config) { c.OutageWait = time.Minute })
	r := m.Login(get("/visit"), "alice")
	m.TakeRedisAway()
	status := make(chan int)
	go func() { status <- serve(app(m.Manager), r).StatusCode }()
	m.BringRedisBack()
	if got := <-status; got != http.StatusOK {
		t.Errorf("got %d, want 200 after the wait", got)
	}
}

func TestFailClosedIsShownToo(t *testing.T) {
	m := redsessiontest.New(t, func(c *redsession.Config) { c.Outage = redsession.FailClosed })
	r := m.Login(get("/"), "alice")
	m.TakeRedisAway()
	if res := serve(app(m.Manager), r); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503", res.StatusCode)
	}
} // and the end of the test need not wait for Redis

func TestABrowsersJarKeepsTheCookie(t *testing.T) {
	m := redsessiontest.New(t)
	srv := httptest.NewServer(app(m.Manager))
	defer srv.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	for _, step := range []struct{ path, want string }{{"/", ""}, {"/login", "bob"}, {"/", "bob"}, {"/logout", ""}, {"/", ""}} {
		res, err := client.Get(srv.URL + step.path)
		if err != nil {
			t.Fatal(err)
		}
		got := body(t, res)
		res.Body.Close()
		if got != step.want {
			t.Errorf("%s: got the user %q, want %q", step.path, got, step.want)
		}
	}
}

// failing is a test that is watched as it fails.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper()           {}
func (f *failing) Fatal(args ...any) { f.Fatalf("%s", args[0]) }
func (f *failing) Fatalf(format string, args ...any) {
	f.said = strings.ReplaceAll(format, "%", "")
	for _, a := range args {
		switch a := a.(type) {
		case error:
			f.said += " " + a.Error()
		case string:
			f.said += " " + a
		}
	}
	panic(f)
}

func TestMistakesEndTheTestAndSayWhy(t *testing.T) {
	for _, row := range []struct {
		name string
		test func(t testing.TB)
		want string
	}{
		{"another Redis", func(t testing.TB) {
			redsessiontest.New(t, func(c *redsession.Config) { c.URL = "redis://elsewhere" })
		}, "leave Config.URL"},
		{"another clock", func(t testing.TB) {
			redsessiontest.New(t, func(c *redsession.Config) { c.Now = time.Now })
		}, "its own clock"},
		{"a wrong Config", func(t testing.TB) {
			redsessiontest.New(t, func(c *redsession.Config) { c.MaxBytes = -1 })
		}, "Config.MaxBytes"},
		{"a session that is skipped", func(t testing.TB) {
			m := redsessiontest.New(t, func(c *redsession.Config) { c.Skip = func(*http.Request) bool { return true } })
			m.Login(get("/"), "alice")
		}, "Config.Skip"},
		{"a session that is too large", func(t testing.TB) {
			m := redsessiontest.New(t, func(c *redsession.Config) { c.MaxBytes = 1000 })
			m.With(get("/"), func(s *redsession.Session) {
				redsession.Key[string]("novel").Set(s, strings.Repeat("x", 2000))
			})
		}, "session too large"},
		{"a login during an outage", func(t testing.TB) {
			m := redsessiontest.New(t)
			m.TakeRedisAway()
			m.Login(get("/"), "alice")
		}, "unavailable"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := &failing{TB: t}
			defer func() {
				if r := recover(); r != nil && r != any(f) {
					panic(r)
				}
				if !strings.Contains(f.said, row.want) {
					t.Errorf("got %q, want it to mention %q", f.said, row.want)
				}
			}()
			row.test(f)
		})
	}
}

func TestTwoManagersShareTheRedis(t *testing.T) {
	secret := [][]byte{[]byte(strings.Repeat("s", 32))}
	m := redsessiontest.New(t, func(c *redsession.Config) { c.Secrets = secret })
	other, err := redsession.New(redsession.Config{
		URL: "redis://" + m.Redis.Addr(), Secrets: secret, Cookie: redsession.Cookie{InsecurePlainHTTP: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	if got := body(t, serve(app(other), m.Login(get("/"), "alice"))); got != "alice" {
		t.Errorf("got the user %q on the other server, want alice", got)
	}
}

// Time stands still, and yet what a user does after a revocation is not taken for what was under way.
func TestLoginAfterARevocationStands(t *testing.T) {
	for name, revoke := range map[string]func(m *redsessiontest.Manager, s *redsession.Session) error{
		"of the others": func(m *redsessiontest.Manager, s *redsession.Session) error {
			_, err := m.RevokeOthers(t.Context(), s)
			return err
		},
		"of all": func(m *redsessiontest.Manager, _ *redsession.Session) error {
			_, err := m.RevokeUser(t.Context(), "alice")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := redsessiontest.New(t)
			m.With(m.Login(get("/"), "alice"), func(s *redsession.Session) {
				if err := revoke(m, s); err != nil {
					t.Error(err)
				}
			})
			if got := body(t, serve(app(m.Manager), m.Login(get("/"), "alice"))); got != "alice" {
				t.Errorf("got the user %q, want alice", got)
			}
		})
	}
}

func TestLoginBeyondTheLimitIsHalfOpen(t *testing.T) {
	m := redsessiontest.New(t, func(c *redsession.Config) { c.MaxPerUser, c.RefuseAtLimit = 1, true })
	m.Login(httptest.NewRequest("GET", "/", nil), "alice")
	m.With(m.Login(httptest.NewRequest("GET", "/", nil), "alice"), func(s *redsession.Session) {
		if !s.AtLimit() || s.LoggedIn() {
			t.Errorf("got AtLimit %v, LoggedIn %v, want true and false", s.AtLimit(), s.LoggedIn())
		}
	})
}
