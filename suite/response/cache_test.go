package response_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// cacheFields are what tells one cache or another to store a response.
var cacheFields = http.Header{
	"Cache-Control":                {"public, max-age=600"},
	"CDN-Cache-Control":            {"public, max-age=600"},
	"Cdn-Cache-Control":            {"max-age=600"},
	"Cloudflare-CDN-Cache-Control": {"max-age=600"},
	"Vercel-CDN-Cache-Control":     {"max-age=600"},
	"Netlify-Cdn-Cache-Control":    {"public, durable"},
	"X-Litespeed-Cache-Control":    {"public"},
	"Surrogate-Control":            {"max-age=600"},
	"Edge-Control":                 {"cache-maxage=600"},
	"X-Accel-Expires":              {"600"},
	"Expires":                      {"Thu, 01 Jan 2099 00:00:00 GMT"},
}

// TestCacheDoesNotStoreAResponseWithOurCookie takes out what any cache would take for the
// permission to store it (RFC 9111, RFC 9213).
func TestCacheDoesNotStoreAResponseWithOurCookie(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		do   func(*redsession.Session)
	}{
		{"a new session", func(s *redsession.Session) { stage.Number.Set(s, 1) }},
		{"a login", func(s *redsession.Session) { s.Login("alice") }},
		{"a change that cannot be kept", func(s *redsession.Session) { redsession.Key[chan int]("c").Set(s, nil) }},
	} {
		for way, put := range map[string]func(http.Header){
			"by the handler": func(h http.Header) {
				for k, v := range cacheFields {
					h[k] = v
				}
			},
		} {
			t.Run(row.name+", "+way, func(t *testing.T) {
				t.Parallel()
				h := stage.NewMini(t).Manager(t).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					put(w.Header())
					w.Header().Set("X-Other", "stays")
					row.do(redsession.FromContext(r.Context()))
				}))
				for _, outer := range []bool{false, true} {
					w := httptest.NewRecorder()
					if outer { // a middleware that says so for all pages
						put(w.Header())
					}
					h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
					for k, v := range w.Header() {
						if _, cache := cacheFields[k]; cache && (k != "Cache-Control" || !slices.Equal(v, []string{"no-store"})) {
							t.Errorf("got %s: %q beside the cookie", k, v)
						}
					}
					if w.Header().Get("Cache-Control") != "no-store" {
						t.Errorf("got header %v, want no-store", w.Header())
					}
				}
			})
		}
	}
}

// TestCacheOfPagesForWhoeverHasLoggedIn tells what caches may do with a page that shows no
// cookie: nothing that another user could see.
func TestCacheOfPagesForWhoeverHasLoggedIn(t *testing.T) {
	t.Parallel()
	read := func(_ http.ResponseWriter, r *http.Request) { redsession.FromContext(r.Context()).UserID() }
	public := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=60")
		redsession.FromContext(r.Context()).UserID()
	}
	cookieless := func(http.ResponseWriter, *http.Request) {}
	open := func(_ *redsession.Manager, h http.Handler) http.Handler { return h }
	guarded := func(m *redsession.Manager, h http.Handler) http.Handler { return m.RequireLogin(h) }
	recent := func(m *redsession.Manager, h http.Handler) http.Handler { return m.RequireRecentLogin(time.Hour)(h) }
	for _, row := range []struct {
		name, login string
		guard       func(*redsession.Manager, http.Handler) http.Handler
		page        http.HandlerFunc
		want        string
	}{
		{"nobody's page", "", open, read, ""},
		{"a page that does not look at the session", "/login", open, cookieless, ""},
		{"the page of whoever has logged in", "/login", open, read, "private"},
		{"the page of whoever has presented one factor", "/half", open, read, "private"},
		{"a page that says so itself", "/login", open, public, "public, max-age=60"},
		{"a guarded page", "/login", guarded, cookieless, "no-store"},
		{"a page that needs a recent login", "/login", recent, cookieless, "no-store"},
		{"a guarded page that says so itself", "/login", guarded, public, "public, max-age=60"},
		{"a guard's refusal", "", guarded, read, "no-store"},
		{"a refusal for want of a recent login", "", recent, read, "no-store"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
				m := e.Manager(t)
				mux := http.NewServeMux()
				mux.HandleFunc("/login", func(_ http.ResponseWriter, r *http.Request) { redsession.FromContext(r.Context()).Login("alice") })
				mux.HandleFunc("/half", func(_ http.ResponseWriter, r *http.Request) {
					redsession.FromContext(r.Context()).Login("alice", redsession.Pending())
				})
				mux.Handle("/", row.guard(m, row.page))
				b := start(m.Handler(mux))
				if row.login != "" {
					b.Get(row.login)
				}
				if got := strings.Join(b.Get("/").Header.Values("Cache-Control"), "; "); got != row.want {
					t.Errorf("got Cache-Control %q, want %q", got, row.want)
				}
			})
		})
	}
}

// TestCacheOfAPageThatAFrameworkWritesAfterTheHandler looks at what the framework reads, and
// says to caches, when the headers were already completed for the handler.
func TestCacheOfAPageThatAFrameworkWritesAfterTheHandler(t *testing.T) {
	t.Parallel()
	session := func(r *http.Request) *redsession.Session { return redsession.FromContext(r.Context()) }
	public := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.Header().Set("CDN-Cache-Control", "public")
	}
	for _, row := range []struct {
		name, path string
		answer     http.HandlerFunc
		want       string // Cache-Control, Cdn-Cache-Control, Vary and the number of cookies
	}{
		{"it looks at no session", "/nothing", func(http.ResponseWriter, *http.Request) {}, " 0"},
		{"it shows who has logged in", "/nothing", func(_ http.ResponseWriter, r *http.Request) { session(r).UserID() }, "private Cookie 0"},
		{"it shows it, and says so itself", "/nothing", func(w http.ResponseWriter, r *http.Request) { session(r).UserID(); public(w, r) }, "public, max-age=60 public Cookie 0"},
		{"it says that all may store the cookie of the handler's login", "/again", public, "no-store Cookie 1"},
		{"it says that all may store the end of the cookie", "/logout", public, "no-store Cookie 1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			eachProtocol(t, func(t *testing.T, e *stage.Env, start func(http.Handler) *stage.Browser) {
				b := start(framework(e.Manager(t).Handler, func(_ http.ResponseWriter, r *http.Request) error {
					switch r.URL.Path {
					case "/login":
						session(r).Login("alice")
						return nil
					case "/again":
						session(r).Login("alice")
					case "/logout":
						session(r).Logout()
					}
					return errors.New("not found")
				}, func(w http.ResponseWriter, r *http.Request, err error) {
					row.answer(w, r)
					http.Error(w, err.Error(), http.StatusTeapot)
				}))
				b.Get("/login")
				a := b.Get(row.path)
				said := append(a.Header.Values("Cache-Control"), a.Header.Values("Cdn-Cache-Control")...)
				got := fmt.Sprint(strings.Join(append(said, a.Header.Values("Vary")...), " "), " ", len(a.SetCookies()))
				if got != row.want {
					t.Errorf("got %q, want %q", got, row.want)
				}
			})
		})
	}
}
