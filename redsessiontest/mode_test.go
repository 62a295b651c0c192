package redsessiontest_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

func bothModes(c *redsession.Config) {
	c.Cookie = redsession.Cookie{InsecureWhen: func(r *http.Request) bool { return r.Header.Get("X-Forwarded-Proto") != "https" }}
}

// from is a request for path that came by plain HTTP, by TLS, or by TLS to a proxy.
func from(way, path string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://example.com"+path, nil)
	switch way {
	case "tls":
		r = httptest.NewRequest(http.MethodGet, "https://example.com"+path, nil)
	case "proxy":
		r.Header.Set("X-Forwarded-Proto", "https")
	}
	return r
}

func TestALoginIsOfTheModeOfItsRequest(t *testing.T) {
	for _, way := range []string{"plain", "tls", "proxy"} {
		t.Run(way, func(t *testing.T) {
			m := redsessiontest.New(t, bothModes)
			r := m.Login(from(way, "/logout"), "alice")
			name := "__Host-session"
			if way == "plain" {
				name = "session"
			}
			if list := r.Cookies(); len(list) != 1 || list[0].Name != name {
				t.Fatalf("got %d cookies, want %s alone", len(list), name)
			}
			res := serve(app(m.Manager), r)
			if c := m.Cookie(res); c == nil || c.Name != name || c.MaxAge >= 0 {
				t.Errorf("got the cookie expired: %v, want it so", c != nil)
			}
			m.After(r, res, func(s *redsession.Session) {
				if s.LoggedIn() {
					t.Error("got somebody logged in after the logout")
				}
			})
		})
	}
}

func TestALogoutOverHTTPSTakesTheCookiesOfBothModes(t *testing.T) {
	m := redsessiontest.New(t, bothModes)
	r := m.Login(from("tls", "/logout"), "alice")
	r.AddCookie(m.Login(from("plain", "/"), "bob").Cookies()[0])
	res := serve(app(m.Manager), r)
	if c := m.Cookie(res); c == nil || c.Name != "__Host-session" || len(res.Cookies()) != 2 {
		t.Errorf("got %d cookies expired, want that of HTTPS and the other", len(res.Cookies()))
	}
	m.After(r, res, func(s *redsession.Session) {
		if s.LoggedIn() {
			t.Errorf("got %q logged in after the logout", s.UserID())
		}
	})
}

func TestABrowserKeepsTheModesApart(t *testing.T) {
	m := redsessiontest.New(t, bothModes, func(c *redsession.Config) { c.DeviceBinding.Enabled = true })
	b, h := m.Browser(), app(m.Manager)
	b.Do(h, from("plain", "/login"))
	if got := b.Cookies(); !slices.Equal(got, []string{"session"}) {
		t.Fatalf("got the cookies %q over plain HTTP, want no device bound", got)
	}
	b.Do(h, from("proxy", "/login"))
	if got := b.Cookies(); len(got) != 3 {
		t.Fatalf("got the cookies %q, want both modes' and that of the device", got)
	}
	b.Do(h, from("plain", "/logout"))
	if got := b.Cookies(); len(got) != 2 {
		t.Errorf("got the cookies %q after a logout over plain HTTP, want those of HTTPS", got)
	}
	b.Do(h, from("plain", "/login"))
	b.Do(h, from("tls", "/logout"))
	if got := b.Cookies(); slices.Contains(got, "session") || slices.Contains(got, "__Host-session") {
		t.Errorf("got the cookies %q after a logout over HTTPS, want neither", got)
	}
}
