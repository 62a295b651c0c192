// Package redsessiontest is for the tests of programs that use redsession: a
// Manager on a Redis inside the test (miniredis), requests of users who have
// logged in, a clock to turn forward, and an outage at the flick of a switch.
//
//	m := redsessiontest.New(t)
//	app := newApp(m.Manager) // what you test: has m.Handler in it
//	r := m.Login(httptest.NewRequest("POST", "/cart", body), "alice")
//	w := httptest.NewRecorder()
//	app.ServeHTTP(w, r)
//	m.After(r, w.Result(), func(s *redsession.Session) {
//		items, _ := cart.Get(s) // what the session holds now
//	})
//
// The cookie is one for plain HTTP, so that a cookie jar sends it to an
// httptest.Server. Time stands still but for Advance: neither a session nor a
// rotation falls due because a machine is slow. Each time that the Manager looks at the
// clock a microsecond passes, so that what comes later is later: a login after
// RevokeOthers is not taken for one that was under way.
package redsessiontest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/redsession/redsession"
)

// redisTimeout is long, since machines that test are busy: a test must not see
// an outage that it did not ask for.
const redisTimeout = 10 * time.Second

// Manager is a redsession.Manager on a Redis of its own. Its methods may be
// called from the test's goroutine alone, as they end the test if something
// goes wrong; the handlers of the embedded Manager from any.
type Manager struct {
	*redsession.Manager
	// Redis holds the sessions. A second Manager with the same Secrets and Prefix
	// shares them by the URL "redis://" + Redis.Addr().
	Redis *miniredis.Miniredis

	t       testing.TB
	cookies []string                 // names, the Secure one first
	when    func(*http.Request) bool // Cookie.InsecureWhen
	outages *outages
	away    bool

	mu  sync.Mutex // guards now
	now time.Time
}

// New returns a Manager that lives as long as the test. It has the defaults of
// redsession.Config, but for a secret of its own, a cookie for plain HTTP, a long
// RedisTimeout, no OutageWait, so that in an outage nothing takes seconds, the clock,
// and a log that goes to the test's output. Each of change may alter that, but for the
// Redis and the clock. It ends the test if the Config is wrong. One with Cookie.InsecureWhen
// takes a Cookie of its own, without InsecurePlainHTTP.
func New(t testing.TB, change ...func(*redsession.Config)) *Manager {
	t.Helper()
	m := &Manager{
		Redis: miniredis.RunT(t), t: t, now: time.Now(), outages: newOutages(),
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	c := redsession.Config{
		URL: "redis://" + m.Redis.Addr(), Secrets: [][]byte{secret}, RedisTimeout: redisTimeout,
		OutageWait: -1,
		Cookie:     redsession.Cookie{InsecurePlainHTTP: true},
		Logger:     slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, f := range change {
		f(&c)
	}
	if c.URL != "redis://"+m.Redis.Addr() || c.Client != nil || c.Now != nil {
		t.Fatal("redsessiontest: New brings its own Redis and its own clock: leave Config.URL, Client and Now alone")
	}
	c.Now = m.tick
	c.OnEvent = m.watch(c.OnEvent)
	m.cookies = []string{cookieName(&c.Cookie)}
	if c.Cookie.InsecureWhen != nil {
		m.byMode(&c.Cookie)
	}
	var err error
	if m.Manager, err = redsession.New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Redis.SetError("") // so that Close need not wait for what an outage left
		if err := m.Close(); err != nil {
			t.Errorf("closing the Manager: %v", err)
		}
	})
	return m
}

// cookieName makes the name that redsession would choose explicit.
func cookieName(c *redsession.Cookie) string {
	switch {
	case c.Name != "":
	case c.InsecurePlainHTTP:
		c.Name = "session"
	case c.Domain != "":
		c.Name = "__Secure-session"
	default:
		c.Name = "__Host-session"
	}
	return c.Name
}

// Now returns the time that the Manager goes by.
func (m *Manager) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// tick is the Manager's look at the clock.
func (m *Manager) tick() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(time.Microsecond)
	return m.now
}

// Advance lets d pass, for the Manager and for what lives in Redis alike.
func (m *Manager) Advance(d time.Duration) {
	m.mu.Lock()
	m.now = m.now.Add(d)
	m.mu.Unlock()
	m.Redis.FastForward(d)
}

// Login returns a copy of r that user sends, who has logged in just now: it
// carries the cookie of a session that is in Redis. Each of prepare may set
// values in it. As in life, a session that r carries already comes along, and
// its old cookie is void. A login beyond the limit (Config.RefuseAtLimit) is half-open.
func (m *Manager) Login(r *http.Request, user string, prepare ...func(*redsession.Session)) *http.Request {
	m.t.Helper()
	return m.With(r, func(s *redsession.Session) {
		s.Login(user)
		for _, f := range prepare {
			f(s)
		}
	})
}

// LoginAs is Login with options: a second factor that is missing, tags, what was proved. With
// redsession.By, r must carry the session of that actor, as Login(r, actor) returns it.
func (m *Manager) LoginAs(r *http.Request, user string, opts ...redsession.LoginOption) *http.Request {
	m.t.Helper()
	return m.With(r, func(s *redsession.Session) { s.Login(user, opts...) })
}

// With runs do on the session of the browser that sends r, in a request of its
// own, and returns a copy of r that carries the cookie which that browser has
// then. It prepares what Login does not: an anonymous cart, a second factor, a logout; or reads what the request needs, such as a CSRFToken. A timed rotation
// that is due is left to r.
func (m *Manager) With(r *http.Request, do func(*redsession.Session)) *http.Request {
	m.t.Helper()
	w := httptest.NewRecorder()
	ran, err := false, error(nil)
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s, ok := redsession.Lookup(r.Context())
		if !ok {
			return
		}
		s.KeepID()
		do(s)
		ran, err = true, s.Save(r.Context())
	})).ServeHTTP(w, m.aside(r))
	switch {
	case err != nil && !errors.Is(err, redsession.ErrTooManySessions):
		m.t.Fatalf("redsessiontest: the session could not be kept: %v", err)
	case !ran && w.Code == http.StatusOK:
		m.t.Fatal(`redsessiontest: Config.Skip skips "/", so there is no session`)
	case !ran:
		m.t.Fatalf("redsessiontest: the session could not be loaded: status %d", w.Code)
	}
	return m.carry(r, w.Result())
}

// WithCSRFToken returns a copy of r that Manager.CSRF passes on, as if a script of a page of
// r's session had sent it: with the token of a session that somebody has logged in to. Call it
// after Login or With, whose sessions have other tokens.
func (m *Manager) WithCSRFToken(r *http.Request) *http.Request {
	m.t.Helper()
	var token string
	next := m.With(r, func(s *redsession.Session) {
		if s.LoggedIn() || s.PendingUserID() != "" {
			token = s.CSRFToken()
		}
	})
	if token != "" {
		next.Header.Set(redsession.CSRFHeader, token)
	}
	return next
}

// After runs look on the session that the browser has after res answered r: the
// values that are in Redis now, whoever put them there. If res ended the session,
// look gets an empty one.
func (m *Manager) After(r *http.Request, res *http.Response, look func(*redsession.Session)) {
	m.t.Helper()
	m.With(m.carry(r, res), look)
}

// Cookie returns the session cookie that res sets, to be asserted or to be added
// to the browser's next request. It is nil if res left the cookie as it was, and
// its MaxAge is negative if res took it away, as a logout does.
func (m *Manager) Cookie(res *http.Response) *http.Cookie {
	list := m.set(res)
	for _, name := range m.cookies { // a logout over HTTPS takes those of both modes away
		if c, there := list[name]; there {
			return c
		}
	}
	return nil
}

// aside is a request to "/" by the client that sends r.
func (m *Manager) aside(r *http.Request) *http.Request {
	aside := httptest.NewRequestWithContext(context.WithValue(r.Context(), asideOf{}, r), http.MethodGet, "/", nil)
	aside.TLS = r.TLS
	aside.RemoteAddr = cmp.Or(r.RemoteAddr, aside.RemoteAddr)
	for _, name := range []string{"Cookie", "User-Agent", "X-Forwarded-For"} {
		if v := r.Header.Values(name); len(v) > 0 {
			aside.Header[name] = v
		}
	}
	return aside
}

// carry is a copy of r with the cookie that the browser has after res.
func (m *Manager) carry(r *http.Request, res *http.Response) *http.Request {
	list, next := m.set(res), r.Clone(r.Context())
	if len(list) == 0 {
		return next
	}
	next.Header.Del("Cookie")
	for _, old := range r.Cookies() {
		if list[old.Name] == nil {
			next.AddCookie(old)
		}
	}
	for _, c := range list {
		if c.MaxAge >= 0 {
			next.AddCookie(c)
		}
	}
	return next
}
