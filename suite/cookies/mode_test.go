package cookies_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// unlessForwarded is the function of a program that runs behind TLS and without.
func unlessForwarded(r *http.Request) bool { return r.Header.Get("X-Forwarded-Proto") != "https" }

// bothModes has a Config of that program.
func bothModes(c *redsession.Config) { c.Cookie = redsession.Cookie{InsecureWhen: unlessForwarded} }

// ways are those by which a request comes, and whether it is secure.
var ways = []struct {
	name, base, proto string
	secure            bool
}{
	{"by TLS, whatever the function says", "https://shop.example", "", true},
	{"by TLS to a proxy", "http://shop.example", "https", true},
	{"by plain HTTP", "http://shop.example", "", false},
	{"by plain HTTP to a proxy", "http://shop.example", "http", false},
}

// send has h do what ops say for a request that came by base and proto with this Cookie header.
func send(h http.Handler, base, proto, ops, cookies string, fields ...string) stage.Answer {
	r := httptest.NewRequest(http.MethodGet, base+"/?ops="+url.QueryEscape(ops), nil)
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	if proto != "" {
		r.Header.Set("X-Forwarded-Proto", proto)
	}
	if cookies != "" {
		r.Header.Set("Cookie", cookies)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return stage.Answer{Response: w.Result(), Text: w.Body.String()}
}

// sets tells what a does to the browser's cookies: "+name" for one that is set, "-name" for one
// that is expired, with a "!" where Secure is not what the name says.
func sets(a stage.Answer) string {
	var list []string
	for _, c := range a.Cookies() {
		word := "+" + c.Name
		if c.MaxAge < 0 {
			word = "-" + c.Name
		}
		if c.Secure != strings.HasPrefix(c.Name, "__Host-") {
			word += "!"
		}
		list = append(list, word)
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// TestModeOfARequestDecidesWhichCookieIsItsOwn: the modes, what came, and what is done. S and P are the
// cookies of the secure and of the plain mode, s and p their values under the name of the other.
func TestModeOfARequestDecidesWhichCookieIsItsOwn(t *testing.T) {
	t.Parallel()
	const secure, plain = "__Host-session", "session"
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		h := askerOf(e.Manager(t, bothModes), e)
		for _, row := range []struct {
			name           string
			secure         bool
			came, ops      string
			want, response string
		}{
			{"over HTTPS, its own cookie", true, "S", "", "alice a=1", ""},
			{"over HTTPS, that of plain HTTP", true, "P", "", "", ""},
			{"over HTTPS, both", true, "P S", "", "alice a=1", ""},
			{"over HTTPS, the plain value under the secure name", true, "p", "", "", ""},
			{"over HTTPS, the secure value under the plain name", true, "s", "", "", ""},
			{"over HTTPS, a login beside its own", true, "S", "login:carol", "carol", "+" + secure},
			{"over HTTPS, a login beside that of plain HTTP takes no values along", true, "P", "login:bob", "bob", "+" + secure},
			{"over HTTPS, a value beside that of plain HTTP", true, "P", "set:c:1", "c=1", "+" + secure},
			{"over HTTPS, a rotation", true, "S P", "rotate", "alice a=1", "+" + secure},
			{"over HTTPS, a logout", true, "S", "logout", "", "-" + secure},
			{"over HTTPS, a logout with both", true, "P S", "logout", "", "-" + secure + " -" + plain},
			{"over HTTPS, a logout with that of plain HTTP", true, "P", "logout", "", "-" + plain},
			{"over HTTPS, a logout with five secure ones before it", true, "x x1 x2 x3 x4 P", "logout", "", "-" + secure + " -" + plain},
			{"over HTTPS, a logout and a login", true, "P S", "logout login:carol", "carol", "+" + secure + " -" + plain},
			{"over HTTPS, a logout that is saved, and a login", true, "P S", "logout save login:carol", "carol", "+" + secure + " -" + plain},
			{"over plain HTTP, its own cookie", false, "P", "", "bob b=1", ""},
			{"over plain HTTP, that of HTTPS", false, "S", "", "", ""},
			{"over plain HTTP, both", false, "S P", "", "bob b=1", ""},
			{"over plain HTTP, the secure value under the plain name", false, "s", "", "", ""},
			{"over plain HTTP, the plain value under the secure name", false, "p", "", "", ""},
			{"over plain HTTP, a login beside that of HTTPS takes no values along", false, "S", "login:alice", "alice", "+" + plain},
			{"over plain HTTP, a rotation", false, "S P", "rotate", "bob b=1", "+" + plain},
			{"over plain HTTP, a logout", false, "P", "logout", "", "-" + plain},
			{"over plain HTTP, a logout with both", false, "S P", "logout", "", "-" + plain},
			{"over plain HTTP, a logout with that of HTTPS", false, "S", "logout", "", ""},
		} {
			for _, way := range ways {
				if way.secure != row.secure {
					continue
				}
				t.Run(row.name+", "+way.name, func(t *testing.T) {
					s := send(h, "https://shop.example", "", "login:alice set:a:1", "").SetCookies()[0].Value
					p := send(h, "http://shop.example", "", "login:bob set:b:1", "").SetCookies()[0].Value
					is := map[string]string{"S": secure + "=" + s, "P": plain + "=" + p, "s": plain + "=" + s, "p": secure + "=" + p}
					var came []string
					for word := range strings.FieldsSeq(row.came) {
						came = append(came, cmp.Or(is[word], secure+"="+word))
					}
					a := send(h, way.base, way.proto, row.ops, strings.Join(came, "; "))
					if a.StatusCode != http.StatusOK || a.Text != row.want || sets(a) != row.response {
						t.Errorf("got %d, %q and %q, want %q and %q", a.StatusCode, a.Text, sets(a), row.want, row.response)
					}
					other, want := send(h, "http://shop.example", "", "", plain+"="+p).Text, "bob b=1"
					if !row.secure {
						other, want = send(h, "https://shop.example", "", "", secure+"="+s).Text, "alice a=1"
					}
					if other != want {
						t.Errorf("got the session of the other mode as %q afterwards, want %q", other, want)
					}
				})
			}
		}
	})
}

// TestInsecureWhenIsAskedAtMostOnceARequest, and not at all for what came by TLS.
func TestInsecureWhenIsAskedAtMostOnceARequest(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	var asked atomic.Int64
	config := func(name string) func(*redsession.Config) {
		return func(c *redsession.Config) {
			c.Cookie = redsession.Cookie{Name: name, InsecureWhen: func(r *http.Request) bool {
				if name == "" {
					asked.Add(1)
				}
				return unlessForwarded(r)
			}}
			c.DeviceBinding.Enabled = name == ""
			c.Skip = func(r *http.Request) bool { return r.URL.Path == "/skipped" }
		}
	}
	m, inner := e.Manager(t, config("")), e.Manager(t, config("__Host-inner"))
	h := m.Handler(m.Handler(inner.Handler(m.RequireLogin(m.ForwardAuth(func(*redsession.Session, http.Header) {})))))
	for _, row := range []struct {
		path, base, proto string
		want              int64
	}{
		{"/", "http://shop.example", "", 1},
		{"/", "http://shop.example", "https", 1},
		{"/", "https://shop.example", "", 0},
		{"/skipped", "http://shop.example", "", 0},
		{"/session-binding/bounce.js", "http://shop.example", "https", 1},
		{"/session-binding/refresh/x", "http://shop.example", "https", 1},
		{"/session-binding/refresh/x", "http://shop.example", "", 1},
		{"/session-binding/refresh/x", "https://shop.example", "", 0},
	} {
		r := httptest.NewRequest(http.MethodPost, row.base+row.path, nil)
		r.Header.Set("X-Forwarded-Proto", row.proto)
		r.Header.Set("Cookie", "session=x; __Host-session=x")
		asked.Store(0)
		func() {
			defer func() { recover() }() // a guard panics without a session
			h.ServeHTTP(httptest.NewRecorder(), r)
		}()
		if n := asked.Load(); n != row.want {
			t.Errorf("%s %s, %q: asked %d times, want %d", row.base, row.path, row.proto, n, row.want)
		}
	}
}

func TestInsecureWhenThatPanicsLeavesNothing(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m, sent := e.Counted(t, func(c *redsession.Config) {
		c.Cookie = redsession.Cookie{InsecureWhen: func(*http.Request) bool { panic("no mode") }}
	})
	h := askerOf(m, e)
	sent.Take()
	for _, cookies := range []string{"", "session=x", "__Host-session=x"} {
		func() {
			w := httptest.NewRecorder()
			defer func() {
				if p := recover(); p != "no mode" || len(w.Result().Header) > 0 || w.Body.Len() > 0 || sent.Take() != " in 0" {
					t.Errorf("got the panic %v and the header %v, want the function's and nothing sent", p, w.Result().Header)
				}
			}()
			r := httptest.NewRequest(http.MethodGet, "/?ops=login:alice", nil)
			r.Header.Set("Cookie", cookies)
			h.ServeHTTP(w, r)
		}()
	}
}

func TestModeOfTheHeader(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	h := askerOf(e.Manager(t, bothModes, func(c *redsession.Config) { c.Header = "X-Session" }), e)
	for _, row := range []struct {
		name, from, to string
		want           string
	}{
		{"from HTTPS to HTTPS", "https://shop.example", "https://shop.example", "alice a=1"},
		{"from plain HTTP to plain HTTP", "http://shop.example", "http://shop.example", "alice a=1"},
		{"from plain HTTP to HTTPS", "http://shop.example", "https://shop.example", ""},
		{"from HTTPS to plain HTTP", "https://shop.example", "http://shop.example", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			value := send(h, row.from, "", "login:alice set:a:1", "", "X-Session", "").Header.Get("X-Session")
			if a := send(h, row.to, "", "", "", "X-Session", value); value == "" || a.Text != row.want || sets(a) != "" {
				t.Errorf("got %q and cookies %q for the header %t, want %q and none", a.Text, sets(a), value != "", row.want)
			}
			out := send(h, row.to, "", "logout", "session=x; __Host-session=x", "X-Session", value)
			if sets(out) != "" || row.want != "" && out.Header.Get("X-Session") != "" {
				t.Errorf("got cookies %q at a logout by the header, want them left alone", sets(out))
			}
			if got := send(h, row.from, "", "", "", "X-Session", value).Text; (got == "") != (row.want != "") {
				t.Errorf("got %q afterwards, want what the other mode cannot end", got)
			}
		})
	}
}

// TestModesAreTwoBrowsers plays histories of requests of both modes in one browser, and in two that
// know one mode each. They must see the same, but that a logout over HTTPS has the one browser
// forget its cookie of plain HTTP.
func TestModesAreTwoBrowsers(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	h := askerOf(e.Manager(t, bothModes), e)
	ops := []string{"", "login:alice", "set:a:1", "logout", "login:bob set:b:1", "rotate", "half:alice", "promote", "add:n"}
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		one, apart := map[string]string{}, [2]map[string]string{{}, {}}
		var played []string
		for range 40 {
			way, words := ways[random.IntN(len(ways))], ops[random.IntN(len(ops))]
			mode := 0
			if way.secure {
				mode = 1
			}
			played = append(played, way.name+": "+words)
			e.Advance(t, time.Duration(random.IntN(5))*time.Minute)
			got, want := browse(h, way.base, way.proto, words, one), browse(h, way.base, way.proto, words, apart[mode])
			if got != want {
				t.Fatalf("got %q, want %q, after %q", got, want, played)
			}
			if way.secure && words == "logout" {
				delete(apart[0], "session")
			}
		}
	}
}

// browse sends a request with the cookies of a jar that a browser would send, and keeps those of the answer in it.
func browse(h http.Handler, base, proto, ops string, jar map[string]string) string {
	var cookies []string
	secure := proto == "https" || strings.HasPrefix(base, "https:")
	for name, value := range jar {
		if secure || !strings.HasPrefix(name, "__Host-") {
			cookies = append(cookies, name+"="+value)
		}
	}
	a := send(h, base, proto, ops, strings.Join(cookies, "; "))
	for _, c := range a.Cookies() {
		switch {
		case c.Secure && !secure:
		case c.MaxAge < 0:
			delete(jar, c.Name)
		default:
			jar[c.Name] = c.Value
		}
	}
	return fmt.Sprint(a.StatusCode, " ", a.Text)
}
