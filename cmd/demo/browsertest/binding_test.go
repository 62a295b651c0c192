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
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
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

	mu            sync.Mutex // guards what follows
	m             *redsession.Manager
	registrations []string // what cookies came with them
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
	if strings.HasPrefix(r.URL.Path, "/session-binding/register/") {
		s.mu.Lock()
		s.registrations = append(s.registrations, r.Header.Get("Cookie"))
		s.mu.Unlock()
	}
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session := m.FromContext(r.Context())
		switch r.URL.Path {
		case "/login":
			session.Login("alice")
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		case "/quiet": // a login after which the browser asks for nothing
			session.Login("alice")
		case "/remember":
			session.Login("alice", redsession.RememberFor(30*24*time.Hour))
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		case "/sso":
			http.Redirect(w, r, r.FormValue("at")+"/authorize?back="+url.QueryEscape(s.srv.URL+"/callback"), http.StatusSeeOther)
			return
		case "/callback": // where the other site sends back to
			session.Login("alice")
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
func (s *boundSite) login(b *tab) {
	s.t.Helper()
	b.visit("/login")
	s.untilBound(b)
}

// untilBound loads the page until the session is bound.
func (s *boundSite) untilBound(b *tab) {
	s.t.Helper()
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

// TestBindingInARealBrowser walks through the life of a bound session. It is one test, as each
// browser takes seconds to start.
func TestBindingInARealBrowser(t *testing.T) {
	needBrowser(t)
	t.Parallel()
	s := newBoundSite(t)
	b, stop := s.open(t.TempDir())
	defer stop()
	s.login(b)
	s.want(b, "/", boundAlice)

	s.state(b, "/late") // the next request waits for a proof
	s.want(b, "/", boundAlice)
	if s.manager().Stats().Proofs == 0 {
		t.Error("got no proof, want one before the page")
	}

	s.state(b, "/late") // seven requests share one
	before := s.manager().Stats().Proofs
	eval[bool](b, `(Promise.all(Array.from({length: 7}, () => fetch("/").then(r => r.text()))).then(t => { window.seven = t.join("|") }), true)`)
	b.until("seven answers", `"seven" in window`)
	all := eval[string](b, `window.seven`)
	if strings.Count(all, boundAlice) != 7 || s.manager().Stats().Proofs != before+1 {
		t.Errorf("got %q and %d proofs, want seven bound answers after one", all, s.manager().Stats().Proofs-before)
	}

	s.restart() // the server's memory is gone
	s.state(b, "/late")
	s.want(b, "/", boundAlice)

	s.ahead.Add(int64(2 * time.Minute)) // a proof is asked for
	if got := s.state(b, "/proof"); got != "proved" {
		t.Errorf("got %q, want the page after a proof", got)
	}

	s.ahead.Add(int64(4 * time.Hour)) // the timed rotation goes with a proof
	s.state(b, "/late")
	s.want(b, "/", boundAlice)
	if s.manager().Stats().Rotated == 0 {
		t.Error("got no rotation in four hours")
	}

	s.redis.SetError("LOADING Redis is loading the dataset in memory") // Redis goes away
	s.state(b, "/late")
	if got := s.state(b, "/"); strings.Contains(got, "locked=true") {
		t.Errorf("got %q while Redis is away, want no locked page", got)
	}
	s.redis.SetError("")
	// A page may still be from memory; a write is not.
	for deadline := time.Now().Add(patience); s.state(b, "/rotate") != boundAlice; time.Sleep(pollEvery) {
		if time.Now().After(deadline) {
			t.Fatalf("got %q after Redis is back, want the bound session", s.state(b, "/rotate"))
		}
	}

	s.want(b, "/logout", "0 bound=false locked=false")
	s.want(b, "/", "0 bound=false locked=false")
	s.login(b) // and in again
	s.want(b, "/", boundAlice)
	if _, err := s.manager().RevokeUser(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	s.want(b, "/", "0 bound=false locked=false")
}

// TestBindingOutlivesARestart closes a browser that keeps its cookies, and opens it again: no login
// is needed.
func TestBindingOutlivesARestart(t *testing.T) {
	needBrowser(t)
	t.Parallel()
	s := newBoundSite(t)
	dir, err := os.MkdirTemp("", "browsertest-bound")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	b, stop := s.open(dir)
	b.visit("/remember")
	s.untilBound(b)
	stop()
	b, stop = s.open(dir)
	defer stop()
	s.want(b, "/", boundAlice)
	before := s.manager().Stats().Proofs
	s.state(b, "/late")
	s.want(b, "/", boundAlice)
	if got := s.manager().Stats().Proofs; got == before {
		t.Error("got no proof after the restart, want one: the key stays")
	}
}

// TestBindingOutlivesTheBrowser closes the browser, whose session cookie goes and whose key
// stays, and logs in anew.
func TestBindingOutlivesTheBrowser(t *testing.T) {
	needBrowser(t)
	t.Parallel()
	s := newBoundSite(t)
	dir, err := os.MkdirTemp("", "browsertest-bound")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for range 2 {
		b, stop := s.open(dir)
		s.login(b)
		s.state(b, "/late")
		s.want(b, "/", boundAlice)
		stop()
	}
}
