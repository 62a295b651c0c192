package cookies_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// TestEndingCookieOfAMode: a logout in an outage is made by requests of its own mode alone.
func TestEndingCookieOfAMode(t *testing.T) {
	t.Parallel()
	const secure, plain = "https://shop.example", "http://shop.example"
	for _, row := range []struct {
		name, base, other string
		want              string
	}{
		{"of HTTPS", secure, plain, "+__Host-session"},
		{"of plain HTTP", plain, secure, "+session"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			o := stage.NewOutage(t, bothModes)
			h, elsewhere := askerOf(o.M, o.Env), askerOf(o.Manager(t, bothModes), o.Env)
			live := send(h, row.base, "", "login:alice", "").SetCookies()[0]
			o.Down(t)
			out := send(h, row.base, "", "logout", live.Name+"="+live.Value)
			if out.StatusCode != http.StatusServiceUnavailable || sets(out) != row.want {
				t.Fatalf("got %d and %q, want 503 and %q", out.StatusCode, sets(out), row.want)
			}
			ending := out.SetCookies()[0].Value
			for _, name := range []string{"session", "__Host-session"} {
				if a := send(elsewhere, row.other, "", "", name+"="+ending); sets(a) != "" {
					t.Errorf("got %q from the other mode as %s, want nothing done", sets(a), name)
				}
			}
			if got := send(elsewhere, row.base, "", "", live.Name+"="+live.Value).Text; got != "alice" {
				t.Errorf("got %q before the ending cookie came, want alice", got)
			}
			if a := send(elsewhere, row.base, "", "", live.Name+"="+ending); sets(a) != "-"+live.Name {
				t.Errorf("got %q, want the ending cookie expired", sets(a))
			}
			if got := send(elsewhere, row.base, "", "", live.Name+"="+live.Value).Text; got != "" {
				t.Errorf("got %q after it, want the session ended", got)
			}
		})
	}
}

func TestModeOfACookieThatIsPersistent(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	h := askerOf(e.Manager(t, func(c *redsession.Config) {
		c.Cookie = redsession.Cookie{Name: "__secure-__HOST-mysession", Path: "/app", Persistent: true, SameSite: http.SameSiteStrictMode, InsecureWhen: unlessForwarded}
	}), e)
	const rest = "; Path=/app; Max-Age=2592000; HttpOnly; "
	for base, want := range map[string]string{"http://shop.example": "mysession=" + rest + "SameSite=Strict", "https://shop.example": "__secure-__HOST-mysession=" + rest + "Secure; SameSite=Strict"} {
		a := send(h, base, "", "login:alice", "")
		if got := strings.Replace(a.Header.Get("Set-Cookie"), a.SetCookies()[0].Value, "", 1); got != want {
			t.Errorf("%s: got %q, want %q", base, got, want)
		}
	}
}

// TestModeOfAnOldCookie: it is taken over in both, but for one that is Secure by its name.
func TestModeOfAnOldCookie(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, cookie, base string
		want, response     string
	}{
		{"over HTTPS", "oldsid", "https://shop.example", "alice", "+__Host-session -oldsid!"},
		{"over plain HTTP", "oldsid", "http://shop.example", "alice", "+session -oldsid"},
		{"of the plain name, over HTTPS", "session", "https://shop.example", "alice", "+__Host-session -session!"},
		{"of the plain name, over plain HTTP", "session", "http://shop.example", "alice", "+session"},
		{"of the secure name, over HTTPS", "__Host-session", "https://shop.example", "alice", "+__Host-session"},
		{"of the secure name, over plain HTTP", "__Host-session", "http://shop.example", "", ""},
		{"of another secure name, over plain HTTP", "__Secure-old", "http://shop.example", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e, old := stage.NewMini(t), stage.OldStore{}
			old.Put(stage.OldSession(e, "an-old-id", "alice"))
			l := old.Legacy()
			l.Cookie = row.cookie
			h := askerOf(e.Manager(t, bothModes, stage.Adopting(l)), e)
			a := send(h, row.base, "", "", row.cookie+"=an-old-id")
			user, _, _ := strings.Cut(a.Text, " ")
			if user != row.want || sets(a) != row.response {
				t.Errorf("got %q and %q, want %q and %q", a.Text, sets(a), row.want, row.response)
			}
		})
	}
}

// TestCookieOfAModeIsNoOldCookie: where the old package called its cookie as ours is called over
// plain HTTP, ours is not offered to its store, over HTTPS either.
func TestCookieOfAModeIsNoOldCookie(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	var loaded atomic.Int64
	l := redsession.Legacy{Source: "old", Cookie: "session", Load: func(context.Context, string) (*redsession.LegacyRecord, error) {
		loaded.Add(1)
		return nil, nil
	}}
	h := askerOf(e.Manager(t, bothModes, stage.Adopting(l)), e)
	p := send(h, "http://shop.example", "", "login:alice", "").SetCookies()[0].Value
	for _, base := range []string{"http://shop.example", "https://shop.example"} {
		send(h, base, "", "", "session="+p)
	}
	if n := loaded.Load(); n != 0 {
		t.Errorf("the old store was asked %d times for a cookie of ours", n)
	}
}

// TestNothingIsBoundOverPlainHTTP: no offer, no endpoint, and nothing that needs a device.
func TestNothingIsBoundOverPlainHTTP(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t, bothModes, func(c *redsession.Config) {
		c.DeviceBinding.Enabled = true
		c.DeviceBinding.Require = func(r *http.Request) bool { return r.URL.Path == "/required" }
	})
	g := make(stage.Gate)
	pass := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "passed") })
	mux := stage.Handlers{"/": g.Play}.Mux()
	mux.Handle("/required", m.RequireLogin(pass))
	mux.Handle("/proved", m.RequireProof(time.Minute)(pass))
	mux.Handle("/other", m.RequireLogin(pass))
	h := m.Handler(mux)
	for _, way := range ways {
		a := send(h, way.base, way.proto, "login:alice", "")
		if offered := a.Header.Get("Secure-Session-Registration") != ""; offered != way.secure {
			t.Errorf("%s: offered %v, want %v", way.name, offered, way.secure)
		}
		cookie := a.SetCookies()[0]
		for path, want := range map[string][2]int{ // plain, secure
			"/required": {403, 403}, "/proved": {403, 403}, "/other": {200, 200},
			"/session-binding/bounce.js": {404, 200}, "/session-binding/refresh/x": {404, 405}, "/session-binding/else": {404, 404},
		} {
			r := httptest.NewRequest(http.MethodGet, way.base+path, nil)
			r.Header.Set("X-Forwarded-Proto", way.proto)
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			r.Header.Set("Sec-Fetch-Dest", "document")
			r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			index := 0
			if way.secure {
				index = 1
			}
			if w.Code != want[index] || !way.secure && strings.Contains(w.Body.String(), "bounce.js") {
				t.Errorf("%s: got %d %q from %s, want %d", way.name, w.Code, w.Body, path, want[index])
			}
		}
	}
}

// TestModesWarn: of requests whose mode seems to be wrong, once each.
func TestModesWarn(t *testing.T) {
	t.Parallel()
	always := func(*http.Request) bool { return true }
	never := func(*http.Request) bool { return false }
	for _, row := range []struct {
		name, host string
		when       func(*http.Request) bool
		fields     []string
		want       string
	}{
		{"a function that goes by what it should", "shop.example", unlessForwarded, nil, ""},
		{"behind TLS", "shop.example", unlessForwarded, []string{"X-Forwarded-Proto", "https"}, ""},
		{"never, without TLS", "shop.example", never, nil, "browsers drop them"},
		{"always, behind TLS", "shop.example", always, []string{"X-Forwarded-Proto", "https"}, "Cookie.InsecureWhen names"},
		{"always, by a browser that shows where it is", "shop.example", always, []string{"Origin", "https://shop.example"}, "Cookie.InsecureWhen names"},
		{"always, on one's own machine", "localhost:8080", always, []string{"Sec-Fetch-Site", "same-origin"}, ""},
		{"always, without TLS", "shop.example", always, []string{"Origin", "http://shop.example"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := stage.NewMini(t)
			h := askerOf(e.Manager(t, func(c *redsession.Config) { c.Cookie = redsession.Cookie{InsecureWhen: row.when} }), e)
			for range 3 {
				send(h, "http://"+row.host, "", "login:alice", "", row.fields...)
			}
			log := e.Events.Log()
			if n := strings.Count(log, "level=WARN"); n > 1 || (n == 1) != (row.want != "") || !strings.Contains(log, row.want) {
				t.Errorf("got %d warnings, want one with %q: %s", n, row.want, log)
			}
		})
	}
}

// TestNeighbourWithTheCookieOfAMode: Managers in each other's way are told of by the name that the request's mode has.
func TestNeighbourWithTheCookieOfAMode(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		inner redsession.Cookie
		base  string
		want  bool
	}{
		{"one for plain HTTP, over plain HTTP", redsession.Cookie{InsecurePlainHTTP: true}, "http://shop.example", true},
		{"one for plain HTTP, over HTTPS", redsession.Cookie{InsecurePlainHTTP: true}, "https://shop.example", false},
		{"one that is secure, over HTTPS", redsession.Cookie{}, "https://shop.example", true},
		{"one that is secure, over plain HTTP", redsession.Cookie{}, "http://shop.example", false},
		{"one with a name of its own", redsession.Cookie{Name: "__Host-admin", InsecureWhen: unlessForwarded}, "http://shop.example", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := stage.NewMini(t)
			outer := e.Manager(t, bothModes)
			inner := e.Manager(t, func(c *redsession.Config) { c.Cookie, c.Prefix = row.inner, "inner:" })
			h := outer.Handler(askerOf(inner, e))
			send(h, row.base, "", "", "")
			if got := strings.Contains(e.Events.Log(), "two Managers"); got != row.want {
				t.Errorf("warned %v, want %v", got, row.want)
			}
		})
	}
}

// TestNeighbourBesideAMode: a Manager of the same program, which does not surround the other, has made the cookie.
func TestNeighbourBesideAMode(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		theirs redsession.Cookie
		base   string
		want   bool
	}{
		{"one for plain HTTP", redsession.Cookie{InsecurePlainHTTP: true}, "http://shop.example", true},
		{"one of both modes, over plain HTTP", redsession.Cookie{InsecureWhen: unlessForwarded}, "http://shop.example", true},
		{"one of both modes, over HTTPS", redsession.Cookie{InsecureWhen: unlessForwarded}, "https://shop.example", true},
		{"one with a name of its own", redsession.Cookie{Name: "__Host-mysession", InsecureWhen: unlessForwarded}, "http://shop.example", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := stage.NewMini(t)
			m := askerOf(e.Manager(t, bothModes), e)
			other := askerOf(e.Manager(t, func(c *redsession.Config) { c.Cookie, c.Prefix = row.theirs, "other:" }), e)
			c := send(other, row.base, "", "login:alice", "").SetCookies()[0]
			send(m, row.base, "", "", c.Name+"="+c.Value)
			if got := strings.Contains(e.Events.Log(), "two Managers"); got != row.want {
				t.Errorf("warned %v, want %v", got, row.want)
			}
		})
	}
}

// TestForwardAuthOfAMode answers by the request's own mode and sends no cookie, not even to expire one.
func TestForwardAuthOfAMode(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t, bothModes)
	h := askerOf(m, e)
	s := "__Host-session=" + send(h, "https://shop.example", "", "login:alice", "").SetCookies()[0].Value
	p := "session=" + send(h, "http://shop.example", "", "login:bob", "").SetCookies()[0].Value
	tell := func(s *redsession.Session, h http.Header) { h.Set("X-User", s.UserID()) }
	for _, row := range []struct {
		name, proto, cookies string
		auth                 http.Handler
		want                 string
	}{
		{"over HTTPS", "https", p + "; " + s, m.ForwardAuth(tell), "200 alice"},
		{"over plain HTTP", "http", p + "; " + s, m.ForwardAuth(tell), "200 bob"},
		{"over HTTPS, by the other's cookie", "https", p, m.ForwardAuth(tell), "401 "},
		{"over plain HTTP, by the other's cookie", "http", s, m.ForwardAuth(tell), "401 "},
		{"that logs out within Handler", "https", p + "; " + s, m.Handler(m.ForwardAuth(func(s *redsession.Session, _ http.Header) { s.Logout() })), "401 "},
	} {
		a := send(row.auth, "http://shop.example", row.proto, "", row.cookies)
		if got := fmt.Sprint(a.StatusCode, " ", a.Header.Get("X-User")); got != row.want || sets(a) != "" {
			t.Errorf("%s: got %q and %q, want %q and no cookie", row.name, got, sets(a), row.want)
		}
	}
}
