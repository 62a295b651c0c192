package redirect_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

var (
	page    = []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	program = []string{"Accept", "*/*"}
	browser = []string{"Accept", "text/html,application/xhtml+xml;q=0.9"} // of before Fetch Metadata
)

func guarded(t *testing.T, login string) (*redsessiontest.Manager, http.Handler) {
	t.Helper()
	m := redsessiontest.New(t, func(c *redsession.Config) { c.Unauthorized = redsession.RedirectToLogin(login) })
	return m, m.Handler(m.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "come in") })))
}

func TestRedirectToLogin(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, login, method, target string
		fields                      []string
		want                        string // "" for 401
	}{
		{"a page", "/login", "GET", "/account", page, "/login?next=%2Faccount"},
		{"a page with a query", "/login", "GET", "/a?x=1&y=2", page, "/login?next=%2Fa%3Fx%3D1%26y%3D2"},
		{"a space in the query", "/login", "GET", "/a?q=two%20words", page, "/login?next=%2Fa%3Fq%3Dtwo%2Bwords"},
		{"a login with a query", "/login?lang=en", "GET", "/account", page, "/login?lang=en&next=%2Faccount"},
		{"a login whose query has a way back already", "/login?next=/a", "GET", "/b", page, "/login?next=%2Fb"},
		{"a page in a frame", "/login", "GET", "/account", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, "/login?next=%2Faccount"},
		{"a browser without Fetch Metadata", "/login", "GET", "/account", browser, "/login?next=%2Faccount"},
		{"a path that could lead elsewhere", "/login", "GET", "/a/..//evil.example", page, "/login"},
		{"a path with an escaped backslash", "/login", "GET", "/%5cevil.example", page, "/login"},
		{"an address of more than 2 kB", "/login", "GET", "/" + strings.Repeat("a", 2048), page, "/login"},
		{"two slashes at the beginning are one", "/login", "GET", "//evil.example/x", page, "/login?next=%2Fevil.example%2Fx"},
		{"the whole address, as for a proxy", "/login", "GET", "https://example.com/account?x=1", page, "/login?next=%2Faccount%3Fx%3D1"},
		{"the login itself", "/login", "GET", "/login", page, ""},
		{"the login itself, with a way back", "/login", "GET", "/login/?next=/a", page, ""},
		{"HEAD", "/login", "HEAD", "/account", page, ""},
		{"a form", "/login", "POST", "/account", page, ""},
		{"a fetch that accepts HTML", "/login", "GET", "/account", []string{"Sec-Fetch-Mode", "cors", "Accept", "text/html"}, ""},
		{"an image", "/login", "GET", "/a.png", []string{"Sec-Fetch-Mode", "no-cors", "Accept", "image/*"}, ""},
		{"a websocket", "/login", "GET", "/ws", []string{"Sec-Fetch-Mode", "websocket"}, ""},
		{"a program", "/login", "GET", "/account", program, ""},
		{"a program that says nothing", "/login", "GET", "/account", nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, h := guarded(t, row.login)
			r := httptest.NewRequest(row.method, row.target, nil)
			for i := 0; i < len(row.fields); i += 2 {
				r.Header.Set(row.fields[i], row.fields[i+1])
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			status := http.StatusSeeOther
			if row.want == "" {
				status = http.StatusUnauthorized
			}
			if got := w.Header().Get("Location"); w.Code != status || got != row.want {
				t.Errorf("got %d to %q, want %d to %q", w.Code, got, status, row.want)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("got Cache-Control %q, want no-store", got)
			}
		})
	}
}

func TestRedirectToLoginRefusesOtherOrigins(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "login", "//evil.example", "https://evil.example/login", `/\evil.example`, "/a/../login", "/log in"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q: got no panic, want one", path)
				}
			}()
			redsession.RedirectToLogin(path)
		}()
	}
}

func TestReturnTo(t *testing.T) {
	t.Parallel()
	const fallback = "/home"
	m := redsessiontest.New(t, func(c *redsession.Config) {
		c.Unauthorized = redsession.RedirectToLogin("/login")
		c.DeviceBinding = redsession.DeviceBinding{Enabled: true, Path: "/devices"}
		c.Cookie.InsecurePlainHTTP = false
	})
	staff := redsessiontest.New(t, func(c *redsession.Config) {
		c.Unauthorized = redsession.RedirectToLogin("/staff/login")
		c.Cookie.Name = "staff"
	})
	for _, row := range []struct{ name, next, want string }{
		{"a page", "/account?x=1", "/account?x=1"},
		{"nothing", "", fallback},
		{"another site", "https://evil.example/", fallback},
		{"another host", "//evil.example/", fallback},
		{"a backslash", `/\evil.example`, fallback},
		{"the login that asks", "/login/second?x", fallback},
		{"the login that the Manager redirects to", "/login?next=/login", fallback},
		{"the login of the other Manager", "/staff/login", fallback},
		{"below device binding", "/devices/bounce.js", fallback},
		{"beside device binding", "/devices-of-mine", "/devices-of-mine"},
	} {
		for _, way := range []string{"form", "query", "form before query", "multipart, parsed"} {
			values := url.Values{"next": {row.next}}.Encode()
			r := httptest.NewRequest("POST", "/login/second", strings.NewReader(values))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			switch way {
			case "query":
				r = httptest.NewRequest("GET", "/login/second?"+values, nil)
			case "form before query":
				r.URL.RawQuery = "next=/other"
			case "multipart, parsed":
				r = httptest.NewRequest("POST", "/login/second", strings.NewReader("--x\r\nContent-Disposition: form-data; name=next\r\n\r\n"+row.next+"\r\n--x--\r\n"))
				r.Header.Set("Content-Type", "multipart/form-data; boundary=x")
			}
			var got string
			staff.Handler(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(way, "multipart") {
					_ = r.ParseMultipartForm(1 << 10)
				}
				got = redsession.ReturnTo(r, fallback)
			}))).ServeHTTP(httptest.NewRecorder(), r)
			want := row.want
			if way == "form before query" && row.next == "" {
				want = "/other"
			}
			if got != want {
				t.Errorf("%s by %s: got %q, want %q", row.name, way, got, want)
			}
		}
	}
	if got := redsession.ReturnTo(httptest.NewRequest("GET", "/login?next=/account", nil), fallback); got != "/account" {
		t.Errorf("got %q without a Manager, want the way back", got)
	}
}

// What http.StripPrefix takes off inside the program is there for the browser.
func TestRedirectBehindAPrefix(t *testing.T) {
	t.Parallel()
	m := redsessiontest.New(t, func(c *redsession.Config) { c.Unauthorized = redsession.RedirectToLogin("/app/login") })
	mux := http.NewServeMux()
	mux.Handle("/account", m.RequireLogin(http.NotFoundHandler()))
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, redsession.ReturnTo(r, "/app/")) })
	inner := m.Handler(http.StripPrefix("/app", mux))
	proxied := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // whose proxy takes off /front
		r.RequestURI = "/front" + r.RequestURI
		inner.ServeHTTP(w, r)
	})
	for _, row := range []struct {
		name, path, want string
		h                http.Handler
	}{
		{"a page", "/app/account?x", "303 /app/login?next=%2Fapp%2Faccount%3Fx ", inner},
		{"the way back", "/app/login?next=/app/account", "200  /app/account", inner},
		{"the way back to the login", "/app/login?next=/app/login", "200  /app/", inner},
		{"a prefix that a proxy took off and the program put back", "/app/account", "303 /app/login?next=%2Ffront%2Fapp%2Faccount ", proxied},
	} {
		r := httptest.NewRequest("GET", row.path, nil)
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		w := httptest.NewRecorder()
		row.h.ServeHTTP(w, r)
		body := w.Body.String()
		if w.Code == http.StatusSeeOther {
			body = ""
		}
		if got := fmt.Sprintf("%d %s %s", w.Code, w.Header().Get("Location"), body); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

func TestRedirectThereAndBack(t *testing.T) {
	t.Parallel()
	m, _ := guarded(t, "/login")
	mux := http.NewServeMux()
	mux.Handle("GET /account", m.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "Hello, ", m.FromContext(r.Context()).UserID())
	})))
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		m.FromContext(r.Context()).Login("alice")
		http.Redirect(w, r, redsession.ReturnTo(r, "/"), http.StatusSeeOther)
	})
	h, b := m.Handler(m.CSRF(mux)), m.Browser()
	res := b.Get(h, "/account?tab=orders", page...)
	at := res.Header.Get("Location")
	login := httptest.NewRequest("POST", at, nil)
	login.Header.Set("Sec-Fetch-Site", "same-origin")
	res = b.Do(h, login)
	if back := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || back != "/account?tab=orders" {
		t.Fatalf("got %d to %q after the login at %q, want the page that was asked for", res.StatusCode, back, at)
	}
	if res = b.Get(h, res.Header.Get("Location"), page...); res.StatusCode != http.StatusOK {
		t.Errorf("got %d, want the page", res.StatusCode)
	}
}
