package browsertest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/chromedp/chromedp"

	"github.com/redsession/redsession"
)

// boundSite is a site over HTTPS whose sessions are bound to devices, with a clock of its own.
type boundSite struct {
	t     *testing.T
	redis *miniredis.Miniredis
	srv   *httptest.Server
	ahead atomic.Int64 // of the clock, in nanoseconds

	mu         sync.Mutex // guards what follows
	m          *redsession.Manager
	registered []int  // how many cookies came with each registration
	copied     string // the cookies that came with the last request for /copy
}

const boundNumber = redsession.Key[int]("number")

func newBoundSite(t *testing.T) *boundSite {
	t.Helper()
	s := &boundSite{t: t, redis: miniredis.RunT(t)}
	s.restart()
	s.srv = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.srv.StartTLS()
	t.Cleanup(func() {
		s.srv.Close()
		s.manager().Close()
	})
	return s
}

// restart takes the server's memory away.
func (s *boundSite) restart() {
	m, err := redsession.New(redsession.Config{
		URL: "redis://" + s.redis.Addr(), Secrets: [][]byte{bytes.Repeat([]byte("s"), 32)}, DeviceBinding: redsession.DeviceBinding{Enabled: true},
		OutageWait: -1, Now: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	old := s.m
	s.m = m
	s.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
}

func (s *boundSite) manager() *redsession.Manager {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m
}

func (s *boundSite) serve(w http.ResponseWriter, r *http.Request) {
	m := s.manager()
	if strings.Contains(r.URL.Path, "/register/") {
		s.mu.Lock()
		s.registered = append(s.registered, len(r.Cookies()))
		s.mu.Unlock()
	}
	if r.URL.Path == "/favicon.ico" { // which browsers ask for when they like
		http.NotFound(w, r)
		return
	}
	if r.URL.Path == "/copy" { // where the thief listens, and no session is loaded
		s.mu.Lock()
		s.copied = r.Header.Get("Cookie")
		s.mu.Unlock()
		return
	}
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session := m.FromContext(r.Context())
		switch r.URL.Path {
		case "/login":
			if r.FormValue("remember") != "" {
				session.Login("alice", redsession.RememberFor(24*time.Hour))
			} else {
				session.Login("alice")
			}
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		case "/logout":
			session.Logout()
		case "/add":
			boundNumber.Update(session, func(n int) int { return n + 1 })
		case "/rotate":
			session.Rotate()
		case "/late": // the second cookie is at its end
			for _, c := range r.Cookies() {
				if strings.Contains(c.Name, "-bound-") {
					http.SetCookie(w, &http.Cookie{Name: c.Name, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: -1})
				}
			}
		case "/proof":
			m.RequireProof(time.Minute)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "proved") })).ServeHTTP(w, r)
			return
		}
		n, _ := boundNumber.Get(session)
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<p id=state>%s %d bound=%t locked=%t</p>", session.UserID(), n, session.DeviceBound(), session.Locked())
	})).ServeHTTP(w, r)
}

// open starts a browser that binds sessions, with the profile in dir.
func (s *boundSite) open(dir string) (b *tab, stop func()) {
	s.t.Helper()
	sum := sha256.Sum256(s.srv.Certificate().RawSubjectPublicKeyInfo)
	ctx, stop := launchBinding(s.t, dir, base64.StdEncoding.EncodeToString(sum[:]))
	return openTab(s.t, ctx, s.srv.URL), stop
}

// launchBinding starts a browser that binds sessions, with the profile in dir. It trusts the
// certificate with that key: where one that it does not trust is waved through, it binds none.
func launchBinding(t *testing.T, dir, pin string) (ctx context.Context, stop func()) {
	t.Helper()
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(chromium()), chromedp.UserDataDir(dir), chromedp.NoSandbox, chromedp.WSURLReadTimeout(time.Minute),
		chromedp.Flag("enable-features", "DeviceBoundSessions,EnableBoundSessionCredentialsSoftwareKeysForManualTesting"),
		chromedp.Flag("ignore-certificate-errors-spki-list", pin),
	)...)
	ctx, _ = chromedp.NewContext(allocator, quiet)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	return ctx, func() {
		_ = chromedp.Cancel(ctx)
		cancel()
	}
}

// state is what the page at path shows.
func (s *boundSite) state(b *tab, path string) string {
	s.t.Helper()
	b.visit(path)
	return eval[string](b, `document.body.innerText`)
}

// login logs in and returns once the browser has bound the session.
func (s *boundSite) login(b *tab) { s.t.Helper(); s.loginBy(b, "/login") }

func (s *boundSite) loginBy(b *tab, path string) {
	s.t.Helper()
	b.visit(path)
	for deadline := time.Now().Add(patience); ; time.Sleep(pollEvery) {
		if got := s.state(b, "/"); strings.Contains(got, "bound=true") {
			return
		} else if time.Now().After(deadline) {
			s.t.Fatalf("got %q, want a bound session", got)
		}
	}
}

func (s *boundSite) want(b *tab, path, want string) {
	s.t.Helper()
	if got := s.state(b, path); got != want {
		s.t.Errorf("%s: got %q, want %q", path, got, want)
	}
}

const boundAlice = "alice 0 bound=true locked=false"

// anotherSite starts a server of another site and returns its address.
func anotherSite(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	_ = srv.Listener.Close()
	srv.Listener = listener
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}
