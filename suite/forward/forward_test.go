package forward_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

func blank() *http.Request { return httptest.NewRequest("GET", "/auth", nil) }

func userHeader(s *redsession.Session, h http.Header) { h.Set("X-User", s.UserID()) }

// ask sends r to h and returns the status and the user told. Whatever the answer is, it has neither body nor cookie,
// and no cache stores it.
func ask(t *testing.T, h http.Handler, r *http.Request) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Body.Len() > 0 || len(w.Header()["Set-Cookie"]) > 0 || w.Header().Get("X-Session") != "" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("got %d with headers %v and body %q, want neither body nor cookie, and no-store", w.Code, w.Header(), w.Body)
	}
	return w.Code, w.Header().Get("X-User")
}

// bothWays are the places where ForwardAuth may stand.
func bothWays(m *redsessiontest.Manager, set func(*redsession.Session, http.Header)) map[string]http.Handler {
	return map[string]http.Handler{"alone": m.ForwardAuth(set), "inside Handler": m.Handler(m.ForwardAuth(set))}
}

func TestForwardAuthAnswers(t *testing.T) {
	t.Parallel()
	const item = redsession.Key[int]("item")
	for _, row := range []struct {
		name    string
		request func(m *redsessiontest.Manager) *http.Request
		status  int
		user    string
	}{
		{"a stranger", func(*redsessiontest.Manager) *http.Request { return blank() }, 401, ""},
		{"an anonymous session", func(m *redsessiontest.Manager) *http.Request {
			return m.With(blank(), func(s *redsession.Session) { item.Set(s, 1) })
		}, 401, ""},
		{"half of a login", func(m *redsessiontest.Manager) *http.Request {
			return m.With(blank(), func(s *redsession.Session) { s.Login("alice", redsession.Pending()) })
		}, 401, ""},
		{"a user", func(m *redsessiontest.Manager) *http.Request { return m.Login(blank(), "alice") }, 200, "alice"},
		{"a user by the header", func(m *redsessiontest.Manager) *http.Request {
			r := m.Login(blank(), "alice")
			r.Header.Set("X-Session", r.Cookies()[0].Value)
			r.Header.Del("Cookie")
			return r
		}, 200, "alice"},
		{"a user who sends the header of the user", func(m *redsessiontest.Manager) *http.Request {
			r := m.Login(blank(), "alice")
			r.Header.Set("X-User", "root")
			return r
		}, 200, "alice"},
		{"after logout", func(m *redsessiontest.Manager) *http.Request {
			r := m.Login(blank(), "alice")
			m.With(r, func(s *redsession.Session) { s.Logout() })
			return r
		}, 401, ""},
		{"a session that was revoked", func(m *redsessiontest.Manager) *http.Request {
			r := m.Login(blank(), "alice")
			if _, err := m.RevokeUser(context.Background(), "alice"); err != nil {
				panic(err)
			}
			return r
		}, 401, ""},
		{"a session that has expired", func(m *redsessiontest.Manager) *http.Request {
			r := m.Login(blank(), "alice")
			m.Advance(8 * 24 * time.Hour)
			return r
		}, 401, ""},
		{"a cookie that nobody signed", func(*redsessiontest.Manager) *http.Request {
			r := blank()
			r.AddCookie(&http.Cookie{Name: "session", Value: "AAAA"})
			return r
		}, 401, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			m := redsessiontest.New(t, func(c *redsession.Config) { c.Header = "X-Session" })
			r := row.request(m)
			for where, h := range bothWays(m, userHeader) {
				if status, user := ask(t, h, r); status != row.status || user != row.user {
					t.Errorf("%s: got %d %q, want %d %q", where, status, user, row.status, row.user)
				}
			}
		})
	}
}

func TestForwardAuthProlongsAndDoesNotRotate(t *testing.T) {
	t.Parallel()
	for where := range bothWays(redsessiontest.New(t), userHeader) {
		m := redsessiontest.New(t)
		h := bothWays(m, userHeader)[where]
		r := m.Login(blank(), "alice")
		for range 4 { // by itself it would end after 7 days
			m.Advance(6 * 24 * time.Hour)
			if status, user := ask(t, h, r); status != 200 || user != "alice" {
				t.Errorf("%s: got %d %q, want the session prolonged", where, status, user)
			}
		}
		if n := m.Stats().Rotated; n != 0 {
			t.Errorf("%s: got %d rotations, want none", where, n)
		}
		w := httptest.NewRecorder()
		m.Handler(http.NotFoundHandler()).ServeHTTP(w, r)
		successor := m.Cookie(w.Result())
		if successor == nil {
			t.Fatal("got no rotation by a page, want it made up for")
		}
		if status, user := ask(t, h, r); status != 200 || user != "alice" {
			t.Errorf("%s: got %d %q with the rotated cookie, want its successor's user", where, status, user)
		}
		m.Advance(7*24*time.Hour + time.Second)
		if status, _ := ask(t, h, r); status != 401 {
			t.Errorf("%s: got %d after the absolute timeout, want 401", where, status)
		}
	}
}

func TestForwardAuthWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	m := redsessiontest.New(t)
	known, unknown := m.Login(blank(), "alice"), m.Login(blank(), "bob")
	other := redsessiontest.New(t)
	foreign := other.Login(blank(), "carol")
	h := m.ForwardAuth(userHeader)
	ask(t, h, known)
	m.TakeRedisAway()
	second := redsessiontest.New(t, func(c *redsession.Config) { c.Outage = redsession.FailClosed })
	closed := second.Login(blank(), "dan")
	second.TakeRedisAway()
	for _, row := range []struct {
		name   string
		h      http.Handler
		r      *http.Request
		status int
		user   string
	}{
		{"a session that this process knows", h, known, 200, "alice"},
		{"another one that it knows", h, unknown, 200, "bob"},
		{"no cookie", h, blank(), 401, ""},
		{"another's cookie", h, foreign, 401, ""},
		{"a session, and nothing is served from memory", second.ForwardAuth(userHeader), closed, 503, ""},
	} {
		if status, user := ask(t, row.h, row.r); status != row.status || user != row.user {
			t.Errorf("%s: got %d %q, want %d %q", row.name, status, user, row.status, row.user)
		}
	}
	if n := second.Stats().Failed; n != 1 {
		t.Errorf("got %d failures counted, want the one", n)
	}
}

func TestForwardAuthHeaderInjection(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, user string
		set        func(s *redsession.Session, h http.Header)
		want       int
	}{
		{"an ordinary user", "alice", userHeader, 200},
		{"a user with a space inside", "alice smith", userHeader, 200},
		{"a user of other letters", "Zoë", userHeader, 200},
		{"a line feed", "alice\nX-Admin: yes", userHeader, 500},
		{"a carriage return and a line feed", "alice\r\nX-Admin: yes", userHeader, 500},
		{"a carriage return", "alice\rbob", userHeader, 500},
		{"a NUL", "alice\x00", userHeader, 500},
		{"a tab", "alice\tbob", userHeader, 500},
		{"a space that would be cut off", "alice ", userHeader, 500},
		{"a space of Unicode that a program may cut off", "\u00a0alice", userHeader, 500},
		{"the name of a header with a line feed", "a", func(_ *redsession.Session, h http.Header) { h["X-A\r\nX-Admin"] = []string{"1"} }, 500},
		{"a name that is not canonical", "a", func(_ *redsession.Session, h http.Header) { h["x-user"] = []string{"1"} }, 500},
		{"a cookie", "a", func(_ *redsession.Session, h http.Header) { h.Set("Set-Cookie", "session=x") }, 500},
		{"a length", "a", func(_ *redsession.Session, h http.Header) { h.Set("Content-Length", "9") }, 500},
		{"what caches may do", "a", func(_ *redsession.Session, h http.Header) { h.Set("Cache-Control", "public") }, 500},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			m := redsessiontest.New(t)
			r := m.Login(blank(), row.user)
			for where, h := range bothWays(m, row.set) {
				status, user := ask(t, h, r)
				if status != row.want || status == 200 && user != row.user || status != 200 && user != "" {
					t.Errorf("%s: got %d %q, want %d", where, status, user, row.want)
				}
			}
		})
	}
}

// What set does to the session is kept as far as it needs no cookie.
func TestForwardAuthChangesBySet(t *testing.T) {
	t.Parallel()
	const seen = redsession.Key[int]("seen")
	for _, row := range []struct {
		name string
		do   func(*redsession.Session)
		want int
		user string
		seen int
	}{
		{"a value", func(s *redsession.Session) { seen.Set(s, 1) }, 200, "alice", 1},
		{"a rotation", func(s *redsession.Session) { s.Rotate() }, 500, "alice", 0},
		{"another login", func(s *redsession.Session) { s.Login("bob") }, 500, "alice", 0},
		{"a value that is no JSON", func(s *redsession.Session) { redsession.Key[chan int]("c").Set(s, nil) }, 500, "alice", 0},
		{"a logout", func(s *redsession.Session) { s.Logout() }, 401, "", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for where := range bothWays(redsessiontest.New(t), userHeader) {
				m := redsessiontest.New(t)
				h := bothWays(m, func(s *redsession.Session, _ http.Header) { row.do(s) })[where]
				r := m.Login(blank(), "alice")
				if status, _ := ask(t, h, r); status != row.want {
					t.Errorf("%s: got %d, want %d", where, status, row.want)
				}
				m.With(r, func(s *redsession.Session) {
					if n, _ := seen.Get(s); s.UserID() != row.user || n != row.seen {
						t.Errorf("%s: got %q and %d afterwards, want %q and %d", where, s.UserID(), n, row.user, row.seen)
					}
				})
			}
		})
	}
}

// A middleware in front that writes to the session of a stranger gets no cookie out either.
func TestForwardAuthStoresNothingForStrangers(t *testing.T) {
	t.Parallel()
	m := redsessiontest.New(t)
	const seen = redsession.Key[int]("seen")
	auth := m.ForwardAuth(userHeader)
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Set(m.FromContext(r.Context()), 1)
		auth.ServeHTTP(w, r)
	}))
	if status, _ := ask(t, h, blank()); status != 401 || len(m.Redis.Keys()) != 0 {
		t.Errorf("got %d and keys %v, want 401 and nothing stored", status, m.Redis.Keys())
	}
}

func TestForwardAuthOfSkippedRequests(t *testing.T) {
	t.Parallel()
	m := redsessiontest.New(t, func(c *redsession.Config) {
		c.Skip = func(r *http.Request) bool { return r.URL.Path == "/auth" }
	})
	if status, user := ask(t, m.Handler(m.ForwardAuth(userHeader)), m.Login(blank(), "alice")); status != 200 || user != "alice" {
		t.Errorf("got %d %q, want the session looked at all the same", status, user)
	}
}

func TestForwardAuthOfDevices(t *testing.T) {
	t.Parallel()
	m := redsessiontest.New(t, func(c *redsession.Config) {
		c.Cookie.InsecurePlainHTTP = false
		c.DeviceBinding = redsession.DeviceBinding{Enabled: true, Require: func(r *http.Request) bool { return r.Header.Get("X-Important") != "" }}
	})
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) { m.FromContext(r.Context()).Login("alice") })
	pages := m.Handler(mux)
	auth := m.ForwardAuth(userHeader)
	all := http.NewServeMux()
	all.Handle("/auth", auth)
	all.Handle("/", pages)
	owner := m.Browser()
	owner.Get(all, "/login")
	if res := owner.Get(all, "/auth"); res.StatusCode != 200 || res.Header.Get("X-User") != "alice" {
		t.Errorf("got %d before the binding has begun, want 200", res.StatusCode)
	}
	if res := owner.Get(all, "/auth", "X-Important", "yes"); res.StatusCode != 403 {
		t.Errorf("got %d where a bound session is required, want 403", res.StatusCode)
	}
	owner.Get(all, "/")
	if res := owner.Get(all, "/auth", "X-Important", "yes"); res.StatusCode != 200 {
		t.Errorf("got %d once it is bound, want 200", res.StatusCode)
	}
	thief := owner.Thief()
	m.Advance(12 * time.Minute)
	for _, fields := range [][]string{nil, {"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "cross-site"}} {
		if res := thief.Get(all, "/auth", fields...); res.StatusCode != 401 || res.ContentLength > 0 {
			t.Errorf("got %d for a locked session, want 401", res.StatusCode)
		}
	}
	if res := owner.Get(all, "/auth"); res.StatusCode != 200 {
		t.Errorf("got %d for the owner afterwards, want 200", res.StatusCode)
	}
}

func TestForwardAuthCostsOneRoundTrip(t *testing.T) {
	t.Parallel()
	m := redsessiontest.New(t)
	h, r := m.ForwardAuth(userHeader), m.Login(blank(), "alice")
	before := m.Redis.CommandCount()
	ask(t, h, r)
	if n := m.Redis.CommandCount() - before; n != 2 {
		t.Errorf("got %d commands, want GET and EXPIRE", n)
	}
	before = m.Redis.CommandCount()
	ask(t, h, blank())
	if n := m.Redis.CommandCount() - before; n != 0 {
		t.Errorf("got %d commands for a stranger, want none", n)
	}
}

// The header that the document names is the one that the tests use, so that it stays true.
func TestForwardAuthDocument(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"$upstream_http_x_user", "authResponseHeaders: [X-User]", "copy_headers X-User", `h.Set("X-User", s.UserID())`} {
		if !strings.Contains(document(t), text) {
			t.Errorf("docs/forward-auth.md does not say %q", text)
		}
	}
}
