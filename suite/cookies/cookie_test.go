package cookies_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// golden are the Set-Cookie headers of a new session, value left out. Removing
// takes the same attributes, or browsers keep the cookie.
var golden = []struct {
	name   string
	cookie redsession.Cookie
	want   string
}{
	{"the default", redsession.Cookie{}, "__Host-session=; Path=/; HttpOnly; Secure; SameSite=Lax"},
	{"plain HTTP for development", redsession.Cookie{InsecurePlainHTTP: true}, "session=; Path=/; HttpOnly; SameSite=Lax"},
	{"a domain", redsession.Cookie{Domain: "example.com"}, "__Secure-session=; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax"},
	{"a path", redsession.Cookie{Name: "sid", Path: "/app"}, "sid=; Path=/app; HttpOnly; Secure; SameSite=Lax"},
	{"same site only", redsession.Cookie{SameSite: http.SameSiteStrictMode}, "__Host-session=; Path=/; HttpOnly; Secure; SameSite=Strict"},
	{"any site", redsession.Cookie{SameSite: http.SameSiteNoneMode}, "__Host-session=; Path=/; HttpOnly; Secure; SameSite=None"},
	{"a jar for each top-level site", redsession.Cookie{SameSite: http.SameSiteNoneMode, Partitioned: true}, "__Host-session=; Path=/; HttpOnly; Secure; SameSite=None; Partitioned"},
	{"persistent", redsession.Cookie{Persistent: true}, "__Host-session=; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax"},
}

func TestCookieHeader(t *testing.T) {
	t.Parallel()
	value := regexp.MustCompile(`=[^;]+`)
	for _, row := range golden {
		t.Run(row.name, func(t *testing.T) {
			m := stage.NewMini(t).Manager(t, func(c *redsession.Config) { c.Cookie = row.cookie })
			srv := httptest.NewTLSServer(m.Handler(stage.AccountHandlers.Mux()))
			defer srv.Close()
			set := setCookieHeader(t, srv, "/set", "")
			issued := value.FindString(set)
			if got := strings.Replace(set, issued, "=", 1); got != row.want {
				t.Errorf("got Set-Cookie %q, want %q", got, row.want)
			}
			name, _, _ := strings.Cut(set, "=")
			removed := setCookieHeader(t, srv, "/logout", name+issued)
			want := strings.Replace(row.want, "; Max-Age=2592000", "", 1)
			want = strings.Replace(want, "; HttpOnly", "; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly", 1)
			if removed != want {
				t.Errorf("got Set-Cookie %q at logout, want %q", removed, want)
			}
		})
	}
}

// setCookieHeader returns the one Set-Cookie header of the answer to a request.
func setCookieHeader(t *testing.T, srv *httptest.Server, path, cookie string) string {
	t.Helper()
	r, _ := http.NewRequest("GET", srv.URL+path, nil)
	r.Header.Set("Cookie", cookie)
	res, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := res.Header.Values("Set-Cookie"); len(got) != 1 {
		t.Fatalf("got Set-Cookie headers %q from %s, want one", got, path)
	}
	return res.Header.Get("Set-Cookie")
}

func TestCookiePersistentLivesAsLongAsTheSession(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, row := range []struct {
		name     string
		absolute time.Duration
		later    time.Duration // until the timed rotation
		want     time.Duration
	}{
		{"at login", 30 * day, 0, 30 * day},
		{"at a timed rotation the rest is left", 30 * day, 6 * day, 24 * day},
		{"browsers keep no cookie longer than 400 days", 500 * day, 0, 400 * day},
		{"the cap holds while more is left", 500 * day, 6 * day, 400 * day},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := stage.NewMini(t)
			m := e.Manager(t, func(c *redsession.Config) { c.Cookie.Persistent, c.AbsoluteTimeout = true, row.absolute })
			set := stage.Ask(t, m, "/login", "").SetCookies()
			if row.later > 0 {
				e.Advance(t, row.later)
				set = stage.Ask(t, m, "/", "session="+set[0].Value).SetCookies()
			}
			if len(set) != 1 || time.Duration(set[0].MaxAge)*time.Second != row.want {
				t.Errorf("got cookies %v, want one with Max-Age=%d", set, row.want/time.Second)
			}
		})
	}
}

const nobody = `"" []`

func TestCookiesNotOursCostRedisNothing(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m, sent := e.Counted(t)
	foreign := e.Manager(t, func(c *redsession.Config) { c.Secrets = [][]byte{otherSecret} })
	renamed := e.Manager(t, func(c *redsession.Config) { c.Cookie.Name = "another_session" })
	short := e.Manager(t, func(c *redsession.Config) { c.AbsoluteTimeout = time.Hour })
	overdue := stage.Issue(t, short, "/set")
	e.Advance(t, time.Hour)
	good := stage.Issue(t, m, "/login")
	id := stage.Ask(t, m, "/id", "session="+good).Text
	sent.Take()
	for _, row := range []struct{ name, value string }{
		{"no value", ""},
		{"ten kilobytes", strings.Repeat("A", 10<<10)},
		{"a NUL", "a\x00b"},
		{"a NUL inside a good value", good[:9] + "\x00" + good[9:]},
		{"a glob", "*"},
		{"a colon", ":"},
		{"JSON", "{}"},
		{"a Redis command on a line of its own", "a\r\nFLUSHALL"},
		{"a Redis command in the protocol", "*1\r\n$8\r\nFLUSHALL\r\n"},
		{"another cookie's value, signed for its name", stage.Issue(t, renamed, "/login")},
		{"a value signed by another secret", stage.Issue(t, foreign, "/login")},
		{"a value past its deadline", overdue},
		{"a value without its last character", good[:len(good)-1]},
		{"a value with a character more", good + "A"},
		{"a value twice", good + good},
		{"a value with another date", "A" + good[1:]},
		{"the public id", id},
		{"the key in Redis", "session:" + id},
		{"the bare SID", base64.URLEncoding.EncodeToString(stage.SIDOf(t, good))},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := stage.Ask(t, m, "/", "session="+row.value)
			if got := sent.Take(); got != " in 0" || a.Text != nobody {
				t.Errorf("got commands %q and session %s, want none and %s", got, a.Text, nobody)
			}
		})
	}
	a := stage.Ask(t, m, "/", "session="+good)
	if got, want := sent.Take(), "GET EXPIRE in 1"; got != want || a.Text == nobody {
		t.Errorf("the good value: got commands %q and session %s, want %q and a session", got, a.Text, want)
	}
}

func TestCookieOfAnotherKeyPrefixIsNone(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	one := e.Manager(t, func(c *redsession.Config) { c.Prefix = "a:" })
	two := e.Manager(t, func(c *redsession.Config) { c.Prefix = "a:b:" })
	for _, row := range []struct {
		name         string
		issued, sent *redsession.Manager
	}{
		{"a longer prefix", one, two},
		{"a shorter prefix", two, one},
	} {
		t.Run(row.name, func(t *testing.T) {
			cookie := stage.Issue(t, row.issued, "/login")
			if got := stage.Ask(t, row.sent, "/", "session="+cookie).Text; got != nobody {
				t.Errorf("got session %s, want %s", got, nobody)
			}
		})
	}
}

func TestCookieHoldsTheDeadline(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m, sent := e.Counted(t)
	cookie := stage.Issue(t, m, "/login")
	sent.Take()
	e.Clock.Add(30 * 24 * time.Hour) // Redis still has the record
	a := stage.Ask(t, m, "/", "session="+cookie)
	if got := sent.Take(); got != " in 0" || a.Text != nobody {
		t.Errorf("got commands %q and session %s past the deadline, want none and %s", got, a.Text, nobody)
	}
	if set := a.SetCookies(); len(set) != 1 || set[0].MaxAge >= 0 {
		t.Errorf("got cookies %v, want the dead one removed", set)
	}
}

func TestCookiePlantedDoesNotHideTheReal(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m, sent := e.Counted(t)
	foreign := e.Manager(t, func(c *redsession.Config) { c.Secrets = [][]byte{otherSecret} })
	real, ended := stage.Issue(t, m, "/login"), stage.Issue(t, m, "/login")
	stage.Ask(t, m, "/logout", "session="+ended)
	alien := stage.Issue(t, foreign, "/login")
	sent.Take()
	for _, row := range []struct {
		name    string
		planted []string
		want    string
		lookups int
	}{
		{"none", nil, `"alice" []`, 1},
		{"garbage", []string{"*"}, `"alice" []`, 1},
		{"another server's", []string{alien}, `"alice" []`, 1},
		{"an ended session", []string{ended}, `"alice" []`, 2},
		{"three of them", []string{"*", alien, ended}, `"alice" []`, 2},
		{"as many as are tried", []string{"*", "", alien, "x"}, nobody, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := stage.Ask(t, m, "/", "theme=dark; session="+strings.Join(append(row.planted, real), "; session="))
			if got := strings.Count(sent.Take(), "GET"); a.Text != row.want || got != row.lookups {
				t.Errorf("got session %s for %d lookups, want %s for %d", a.Text, got, row.want, row.lookups)
			}
			if set := a.SetCookies(); len(set) != 0 {
				t.Errorf("got cookies %v, want none", set)
			}
		})
	}
}

func TestCookieFloodCostsFourLookups(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m, sent := e.Counted(t)
	var dead []string
	for range 9 {
		dead = append(dead, stage.Issue(t, m, "/set"))
	}
	e.Mini.FlushAll()
	sent.Take()
	stage.Ask(t, m, "/", "session="+strings.Join(dead, "; session="))
	if got, want := strings.Count(sent.Take(), "GET"), 4; got != want {
		t.Errorf("got %d lookups, want %d", got, want)
	}
}

func TestCookieInTheURLIsIgnored(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m, sent := e.Counted(t)
	cookie := stage.Issue(t, m, "/login")
	sent.Take()
	for _, path := range []string{"/?session=" + cookie, "/?sid=" + cookie, "/;session=" + cookie, "/" + cookie} {
		if a := stage.Ask(t, m, path, ""); a.Text != nobody || sent.Take() != " in 0" {
			t.Errorf("got session %s for %s, want %s and no command", a.Text, path, nobody)
		}
	}
}

func TestCookieFixationAnUnknownIDIsNeverAdopted(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		for _, path := range []string{"/set", "/login"} {
			cookie := stage.Issue(t, m, "/set")
			id := stage.Ask(t, m, "/id", "session="+cookie).Text
			if err := m.Revoke(context.Background(), id); err != nil {
				t.Fatal(err)
			}
			set := stage.Ask(t, m, path, "session="+cookie).SetCookies()
			if len(set) != 1 || bytes.Equal(stage.SIDOf(t, set[0].Value), stage.SIDOf(t, cookie)) {
				t.Fatalf("got cookies %v from %s, want one with another SID", set, path)
			}
			if got := stage.Ask(t, m, "/id", "session="+set[0].Value).Text; got == id || got == "" {
				t.Errorf("got id %q after %s, want another than the sent one, %q", got, path, id)
			}
			if _, there := e.Dump(t)["session:"+id]; there {
				t.Errorf("the sent id has a key in Redis after %s, want none", path)
			}
		}
	})
}
