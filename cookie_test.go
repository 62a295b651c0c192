package redsession_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/redsession/redsession"
)

// otherSecret is a secret that the servers under test do not have.
var otherSecret = []byte("another secret of thirty-two b..")

// ask sends a request whose Cookie header is as given, byte for byte, which no
// client of net/http would do, and fails the test if the answer is a 5xx.
func ask(t testing.TB, m *redsession.Manager, path, cookies string) answer {
	t.Helper()
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Header["Cookie"] = []string{cookies}
	w := httptest.NewRecorder()
	m.Handler(accountHandlers.mux()).ServeHTTP(w, r)
	a := answer{w.Result(), w.Body.String()}
	if a.StatusCode >= 500 {
		t.Errorf("got status %d for %s with cookies %q", a.StatusCode, path, cookies)
	}
	return a
}

// issue returns the cookie value that path, "/set" or "/login", gives a new client.
func issue(t testing.TB, m *redsession.Manager, path string) string {
	t.Helper()
	set := ask(t, m, path, "").setCookies()
	if len(set) != 1 {
		t.Fatalf("got %d cookies from %s, want 1", len(set), path)
	}
	return set[0].Value
}

// sidOf returns the SID in a cookie value.
func sidOf(t testing.TB, cookie string) []byte {
	t.Helper()
	signed, err := base64.URLEncoding.DecodeString(cookie)
	parts := bytes.SplitN(signed, []byte("|"), 3)
	if err != nil || len(parts) != 3 {
		t.Fatalf("cookie %q is not a signed ticket", cookie)
	}
	ticket, err := base64.URLEncoding.DecodeString(string(parts[1]))
	if err != nil || len(ticket) < 32 {
		t.Fatalf("cookie %q holds no SID", cookie)
	}
	return ticket[:32]
}

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

func TestSetCookieHeader(t *testing.T) {
	value := regexp.MustCompile(`=[^;]+`)
	for _, row := range golden {
		t.Run(row.name, func(t *testing.T) {
			m := newMini(t).manager(t, func(c *redsession.Config) { c.Cookie = row.cookie })
			srv := httptest.NewTLSServer(m.Handler(accountHandlers.mux()))
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

func TestPersistentCookieLivesAsLongAsTheSession(t *testing.T) {
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
		e := newMini(t)
		m := e.manager(t, func(c *redsession.Config) { c.Cookie.Persistent, c.AbsoluteTimeout = true, row.absolute })
		set := ask(t, m, "/login", "").setCookies()
		if row.later > 0 {
			e.advance(t, row.later)
			set = ask(t, m, "/", "session="+set[0].Value).setCookies()
		}
		if len(set) != 1 || time.Duration(set[0].MaxAge)*time.Second != row.want {
			t.Errorf("%s: got cookies %v, want one with Max-Age=%d", row.name, set, row.want/time.Second)
		}
	}
}

const nobody = `"" []`

func TestCookiesNotOursCostRedisNothing(t *testing.T) {
	e := newMini(t)
	m, sent := e.counted(t)
	foreign := e.manager(t, func(c *redsession.Config) { c.Secrets = [][]byte{otherSecret} })
	renamed := e.manager(t, func(c *redsession.Config) { c.Cookie.Name = "another_session" })
	short := e.manager(t, func(c *redsession.Config) { c.AbsoluteTimeout = time.Hour })
	overdue := issue(t, short, "/set")
	e.advance(t, time.Hour)
	good := issue(t, m, "/login")
	id := ask(t, m, "/id", "session="+good).body
	sent.take()
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
		{"another cookie's value, signed for its name", issue(t, renamed, "/login")},
		{"a value signed by another secret", issue(t, foreign, "/login")},
		{"a value past its deadline", overdue},
		{"a value without its last character", good[:len(good)-1]},
		{"a value with a character more", good + "A"},
		{"a value twice", good + good},
		{"a value with another date", "A" + good[1:]},
		{"the public id", id},
		{"the key in Redis", "session:" + id},
		{"the bare SID", base64.URLEncoding.EncodeToString(sidOf(t, good))},
	} {
		a := ask(t, m, "/", "session="+row.value)
		if got := sent.take(); got != " in 0" || a.body != nobody {
			t.Errorf("%s: got commands %q and session %s, want none and %s", row.name, got, a.body, nobody)
		}
	}
	a := ask(t, m, "/", "session="+good)
	if got, want := sent.take(), "GET EXPIRE in 1"; got != want || a.body == nobody {
		t.Errorf("the good value: got commands %q and session %s, want %q and a session", got, a.body, want)
	}
}

func TestKeyPrefixesDoNotShareSessions(t *testing.T) {
	e := newMini(t)
	one := e.manager(t, func(c *redsession.Config) { c.Prefix = "a:" })
	two := e.manager(t, func(c *redsession.Config) { c.Prefix = "a:b:" })
	for _, row := range []struct {
		name         string
		issued, sent *redsession.Manager
	}{
		{"a longer prefix", one, two},
		{"a shorter prefix", two, one},
	} {
		cookie := issue(t, row.issued, "/login")
		if got := ask(t, row.sent, "/", "session="+cookie).body; got != nobody {
			t.Errorf("%s: got session %s, want %s", row.name, got, nobody)
		}
	}
}

func TestDeadlineIsPartOfTheTicket(t *testing.T) {
	e := newMini(t)
	m, sent := e.counted(t)
	cookie := issue(t, m, "/login")
	sent.take()
	e.clock.add(30 * 24 * time.Hour) // Redis still has the record
	a := ask(t, m, "/", "session="+cookie)
	if got := sent.take(); got != " in 0" || a.body != nobody {
		t.Errorf("got commands %q and session %s past the deadline, want none and %s", got, a.body, nobody)
	}
	if set := a.setCookies(); len(set) != 1 || set[0].MaxAge >= 0 {
		t.Errorf("got cookies %v, want the dead one removed", set)
	}
}

func TestPlantedCookieDoesNotHideTheReal(t *testing.T) {
	e := newMini(t)
	m, sent := e.counted(t)
	foreign := e.manager(t, func(c *redsession.Config) { c.Secrets = [][]byte{otherSecret} })
	real, ended := issue(t, m, "/login"), issue(t, m, "/login")
	ask(t, m, "/logout", "session="+ended)
	alien := issue(t, foreign, "/login")
	sent.take()
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
		a := ask(t, m, "/", "theme=dark; session="+strings.Join(append(row.planted, real), "; session="))
		if got := strings.Count(sent.take(), "GET"); a.body != row.want || got != row.lookups {
			t.Errorf("%s: got session %s for %d lookups, want %s for %d", row.name, a.body, got, row.want, row.lookups)
		}
		if set := a.setCookies(); len(set) != 0 {
			t.Errorf("%s: got cookies %v, want none", row.name, set)
		}
	}
}

func TestAFloodOfSignedCookiesCostsFourLookups(t *testing.T) {
	e := newMini(t)
	m, sent := e.counted(t)
	var dead []string
	for range 9 {
		dead = append(dead, issue(t, m, "/set"))
	}
	e.mini.FlushAll()
	sent.take()
	ask(t, m, "/", "session="+strings.Join(dead, "; session="))
	if got, want := strings.Count(sent.take(), "GET"), 4; got != want {
		t.Errorf("got %d lookups, want %d", got, want)
	}
}

func TestSessionIDInTheURLIsIgnored(t *testing.T) {
	e := newMini(t)
	m, sent := e.counted(t)
	cookie := issue(t, m, "/login")
	sent.take()
	for _, path := range []string{"/?session=" + cookie, "/?sid=" + cookie, "/;session=" + cookie, "/" + cookie} {
		if a := ask(t, m, path, ""); a.body != nobody || sent.take() != " in 0" {
			t.Errorf("got session %s for %s, want %s and no command", a.body, path, nobody)
		}
	}
}

func TestFixationAnUnknownIDIsNeverAdopted(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t)
		for _, path := range []string{"/set", "/login"} {
			cookie := issue(t, m, "/set")
			id := ask(t, m, "/id", "session="+cookie).body
			if err := m.Revoke(context.Background(), id); err != nil {
				t.Fatal(err)
			}
			set := ask(t, m, path, "session="+cookie).setCookies()
			if len(set) != 1 || bytes.Equal(sidOf(t, set[0].Value), sidOf(t, cookie)) {
				t.Fatalf("got cookies %v from %s, want one with another SID", set, path)
			}
			if got := ask(t, m, "/id", "session="+set[0].Value).body; got == id || got == "" {
				t.Errorf("got id %q after %s, want another than the sent one, %q", got, path, id)
			}
			if _, there := e.dump(t)["session:"+id]; there {
				t.Errorf("the sent id has a key in Redis after %s, want none", path)
			}
		}
	})
}

func TestSecretRotation(t *testing.T) {
	one, two := secret, otherSecret
	for _, row := range []struct {
		name          string
		first, second [][]byte
		want          bool
	}{
		{"a server that has the new secret last reads the old", [][]byte{one}, [][]byte{one, two}, true},
		{"a server without the new secret reads from one that has it last", [][]byte{one, two}, [][]byte{one}, true},
		{"a server that has the new secret first reads the old", [][]byte{one, two}, [][]byte{two, one}, true},
		{"a server that has the new secret last reads the new", [][]byte{two, one}, [][]byte{one, two}, true},
		{"a server that dropped the old secret reads the new", [][]byte{two, one}, [][]byte{two}, true},
		{"a server that dropped the old secret refuses the old", [][]byte{one}, [][]byte{two}, false},
		{"a server without the new secret refuses the new", [][]byte{two, one}, [][]byte{one}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newMini(t)
			first := e.manager(t, func(c *redsession.Config) { c.Secrets = row.first })
			second := e.manager(t, func(c *redsession.Config) { c.Secrets = row.second })
			cookie := "session=" + issue(t, first, "/login")
			if !row.want {
				if a := ask(t, second, "/", cookie); a.body != nobody || len(a.setCookies()) != 0 {
					t.Errorf("got session %s and cookies %v, want %s and the cookie kept for the other servers", a.body, a.setCookies(), nobody)
				}
				return
			}
			ask(t, second, "/set", cookie)
			for name, m := range map[string]*redsession.Manager{"first": first, "second": second} {
				if got, want := ask(t, m, "/", cookie).body, `"alice" [visited]`; got != want {
					t.Errorf("got session %s at the %s server after both wrote, want %s", got, name, want)
				}
			}
		})
	}
}

func TestReadingRedisOrTheLogGivesNoCookie(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t)
		cookies := []string{issue(t, m, "/set")}
		for _, path := range []string{"/login", "/set", "/rotate", "/logout", "/login", "/rotate"} {
			for _, c := range ask(t, m, path, "session="+cookies[len(cookies)-1]).setCookies() {
				if c.Value != "" {
					cookies = append(cookies, c.Value)
				}
			}
		}
		seen := readable(t, e)
		for _, cookie := range cookies {
			sid := sidOf(t, cookie)
			for _, form := range []string{
				cookie, strings.TrimRight(cookie, "="), string(sid), hex.EncodeToString(sid), fmt.Sprint(sid),
				base64.RawURLEncoding.EncodeToString(sid)[:42], base64.RawStdEncoding.EncodeToString(sid)[:42],
			} {
				if strings.Contains(seen, form) {
					t.Errorf("%q, which leads to a cookie, is in Redis or in the log", form)
				}
			}
		}
		for _, word := range regexp.MustCompile(`[\w=-]{16,}`).FindAllString(seen, -1) {
			if got := ask(t, m, "/", "session="+word).body; got != nobody {
				t.Errorf("got session %s for %q as the cookie, want %s", got, word, nobody)
			}
		}
	})
}

// readable returns all that an operator can read: every key with its value,
// the log and the events.
func readable(t *testing.T, e *env) string {
	t.Helper()
	var b strings.Builder
	for _, key := range e.keys(t) {
		value, err := e.client.Get(context.Background(), key).Result()
		if err != nil {
			value = strings.Join(e.client.ZRange(context.Background(), key, 0, -1).Val(), " ")
		}
		fmt.Fprintln(&b, key, value)
	}
	e.events.mu.Lock()
	defer e.events.mu.Unlock()
	fmt.Fprintln(&b, e.events.text.String(), e.events.list)
	return b.String()
}

// FuzzCookie sends any Cookie header. Only the very ticket that was issued may
// lead to its session, and no SID of the client's own making is taken over.
func FuzzCookie(f *testing.F) {
	mr := miniredis.RunT(f)
	m, err := redsession.New(redsession.Config{
		URL: "redis://" + mr.Addr(), Secrets: [][]byte{secret}, RedisTimeout: 10 * time.Second,
		Cookie: redsession.Cookie{InsecurePlainHTTP: true}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { m.Close() })
	unknown := issue(f, m, "/login")
	mr.FlushAll()
	victim := issue(f, m, "/login")
	for _, value := range []string{"", "*", ":", "{}", "\x00", "\r\n", unknown, victim, unknown + "; session=" + victim, victim[1:], strings.Repeat("A", 10<<10)} {
		f.Add("session=" + value)
	}
	known := mr.Keys()
	f.Fuzz(func(t *testing.T, header string) {
		if got := ask(t, m, "/", header).body; got != nobody && !brings(header, victim) {
			t.Errorf("got session %s for cookies %q, want %s", got, header, nobody)
		}
		for _, c := range ask(t, m, "/set", header).setCookies() {
			if brings(header, c.Value) || c.Value != "" && bytes.Equal(sidOf(t, c.Value), sidOf(t, unknown)) {
				t.Errorf("got cookie %q for cookies %q, want a new SID", c.Value, header)
			}
		}
		for _, key := range mr.Keys() {
			if !slices.Contains(known, key) {
				mr.Del(key)
			}
		}
	})
}

// brings tells whether a session cookie in header holds the bytes of ticket,
// which more than one base64 text may do.
func brings(header, ticket string) bool {
	want, _ := base64.URLEncoding.DecodeString(ticket)
	r := http.Request{Header: http.Header{"Cookie": {header}}}
	return slices.ContainsFunc(r.CookiesNamed("session"), func(c *http.Cookie) bool {
		got, err := base64.URLEncoding.DecodeString(c.Value)
		return err == nil && bytes.Equal(got, want) && len(want) > 0
	})
}
