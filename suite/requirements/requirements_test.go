package requirements_test

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// The tests in this package show what rows of SECURITY.md's table of requirements ask
// and no other test does.

func TestRandomnessMissingEndsTheServerRatherThanGuess(t *testing.T) {
	t.Parallel()
	const child = "REDSESSION_TEST_WITHOUT_RANDOMNESS"
	if os.Getenv(child) != "" {
		m, random := stage.NewMini(t).Manager(t), rand.Reader
		w := httptest.NewRecorder()
		m.Handler(stage.Handlers{"/": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			s.Login("alice")
			rand.Reader = iotest.ErrReader(errors.New("no entropy"))
			s.ID() // draws the SID
			rand.Reader = random
		}}.Mux()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Println("issued", w.Header())
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	if text := string(out); err == nil || strings.Contains(text, "issued") || !strings.Contains(text, "no entropy") {
		t.Errorf("got %v and output %q, want a process that ends because of no entropy", err, text)
	}
}

// All sessions are of one user and one moment, so whatever an id said of them
// would show as a bit that is the same too often. So would a UUID's version.
func TestIDsAreUniformAndSayNothingOfTheirUser(t *testing.T) {
	t.Parallel()
	const sessions, most = 600, 6 * 12 // six standard deviations, of √600/2 each
	e := stage.NewMini(t)
	m := e.Manager(t)
	ones, seen := make([]int, 8*(32+24)), make(map[string]bool)
	for range sessions {
		sid := stage.SIDOf(t, stage.Issue(t, m, "/login"))
		hash := sha256.Sum256(sid)
		bits := append(sid[:32:32], hash[:24]...)
		seen[string(sid)] = true
		e.Mini.FlushAll() // or the user's index grows long
		for i := range ones {
			ones[i] += int(bits[i/8] >> (i % 8) & 1)
		}
	}
	if len(seen) != sessions {
		t.Errorf("got %d different SIDs in %d sessions, want each another", len(seen), sessions)
	}
	for i, n := range ones {
		if d := n - sessions/2; max(d, -d) > most {
			t.Errorf("bit %d is set in %d of %d ids, want about half", i, n, sessions)
		}
	}
}

func TestCookieWithTheLongestNameStillFits(t *testing.T) {
	t.Parallel()
	const limit = 4096 // of name and value, RFC 6265bis 5.6
	e, longest := stage.NewMini(t), 0
	config := func(length int) redsession.Config {
		return redsession.Config{URL: e.URL, Secrets: [][]byte{stage.Secret}, Cookie: redsession.Cookie{Name: strings.Repeat("n", length)}}
	}
	for length := limit; longest == 0; length-- {
		if stage.CheckConfig(t, config(length)) == nil {
			longest = length
		}
	}
	m := e.Manager(t, func(c *redsession.Config) { c.Cookie = config(longest).Cookie })
	set := stage.Ask(t, m, "/login", "").Cookies()
	if len(set) != 1 || len(set[0].Name+set[0].Value) > limit || longest < 1000 {
		t.Errorf("got a name of %d bytes accepted and cookies %.100v, want name and value in at most %d", longest, set, limit)
	}
}

func TestCookieIsNotChangedByForwardedProto(t *testing.T) {
	t.Parallel()
	for name, insecure := range map[string]bool{"the default": false, "plain HTTP for development": true} {
		m := stage.NewMini(t).Manager(t, func(c *redsession.Config) { c.Cookie.InsecurePlainHTTP = insecure })
		for _, proto := range []string{"", "http", "https"} {
			r := httptest.NewRequest(http.MethodGet, "http://shop.example/set", nil)
			for _, h := range []string{"X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Url-Scheme"} {
				r.Header.Set(h, proto)
			}
			r.Header.Set("Forwarded", "proto="+proto)
			w := httptest.NewRecorder()
			m.Handler(stage.AccountHandlers.Mux()).ServeHTTP(w, r)
			set := w.Result().Cookies()
			if len(set) != 1 || set[0].Secure == insecure || strings.HasPrefix(set[0].Name, "__Host-") == insecure {
				t.Errorf("%s, forwarded as %q: got %v, want Secure and the prefix: %v", name, proto, set, !insecure)
				continue
			}
			jar, _ := cookiejar.New(nil)
			jar.SetCookies(&url.URL{Scheme: "https", Host: "shop.example", Path: "/"}, set)
			if sent := jar.Cookies(&url.URL{Scheme: "http", Host: "shop.example", Path: "/"}); (len(sent) > 0) != insecure {
				t.Errorf("%s: got %v sent over plain HTTP, want the cookie: %v", name, sent, insecure)
			}
		}
	}
}

func TestCookiePrefixesOfTheLayeredCookiesDraft(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		cookie redsession.Cookie
		want   string // of the attributes, or of the error
	}{
		{"__Http-", redsession.Cookie{Name: "__Http-sid"}, "; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"__Http- with a domain and a path", redsession.Cookie{Name: "__Http-sid", Domain: "example.com", Path: "/a"}, "; Path=/a; Domain=example.com; HttpOnly; Secure; SameSite=Lax"},
		{"__Host-Http-", redsession.Cookie{Name: "__Host-Http-sid"}, "; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"__Host-Http- with a domain", redsession.Cookie{Name: "__host-http-sid", Domain: "example.com"}, "forbids Domain"},
		{"__Host-Http- with a path", redsession.Cookie{Name: "__Host-Http-sid", Path: "/a"}, `demands Path "/"`},
		{"__Host-Http- over plain HTTP", redsession.Cookie{Name: "__Host-Http-sid", InsecurePlainHTTP: true}, "demands Secure"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := stage.NewMini(t)
			if !strings.HasPrefix(row.want, ";") {
				stage.WantError(t, stage.CheckConfig(t, redsession.Config{URL: stage.Nowhere, Secrets: [][]byte{stage.Secret}, Cookie: row.cookie}), "Config.Cookie", row.want)
				return
			}
			a := stage.Ask(t, e.Manager(t, func(c *redsession.Config) { c.Cookie = row.cookie }), "/set", "")
			if _, attributes, _ := strings.Cut(a.Header.Get("Set-Cookie"), ";"); ";"+attributes != row.want {
				t.Errorf("got attributes %q, want %q", ";"+attributes, row.want)
			}
		})
	}
}

// SR-37: with Domain, any subdomain could plant a cookie without the prefix, and any page over plain HTTP.
func TestCookieWithADomainDemandsThePrefix(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		cookie redsession.Cookie
		want   string // of the cookie's name, or of the error
	}{
		{"no name", redsession.Cookie{Domain: "example.com"}, "__Secure-session"},
		{"a name with the prefix", redsession.Cookie{Name: "__Secure-sid", Domain: "example.com"}, "__Secure-sid"},
		{"a name with the prefix in another case", redsession.Cookie{Name: "__secure-sid", Domain: "example.com"}, "__secure-sid"},
		{"a name with a prefix that demands more", redsession.Cookie{Name: "__Http-sid", Domain: "example.com"}, "__Http-sid"},
		{"a name without a prefix", redsession.Cookie{Name: "sid", Domain: "example.com"}, "lacks the prefix"},
		{"a name with the prefix further on", redsession.Cookie{Name: "my__Secure-sid", Domain: "example.com"}, "lacks the prefix"},
		{"a name without a prefix, and no domain", redsession.Cookie{Name: "sid"}, "sid"},
		{"a name without a prefix, in development", redsession.Cookie{Name: "sid", Domain: "example.com", InsecurePlainHTTP: true}, "sid"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if row.want == "lacks the prefix" {
				stage.WantError(t, stage.CheckConfig(t, redsession.Config{URL: stage.Nowhere, Secrets: [][]byte{stage.Secret}, Cookie: row.cookie}), "Config.Cookie", row.want)
				return
			}
			a := stage.Ask(t, stage.NewMini(t).Manager(t, func(c *redsession.Config) { c.Cookie = row.cookie }), "/set", "")
			if name, _, _ := strings.Cut(a.Header.Get("Set-Cookie"), "="); name != row.want {
				t.Errorf("got the cookie %q, want %q", name, row.want)
			}
		})
	}
}

// The idle timeout is as long as the absolute one here, so that the end of the key
// is the end of the session.
func TestCookieDoesNotOutliveItsSession(t *testing.T) {
	t.Parallel()
	const life = 20 * time.Hour
	e := stage.NewMini(t)
	m := e.Manager(t, func(c *redsession.Config) {
		c.Cookie.Persistent, c.RotateEvery = true, 15*time.Minute
		c.AbsoluteTimeout, c.IdleTimeout, c.AnonymousTimeout = life, life, life
	})
	b := stage.LifeBrowser(t, m, stage.GuardedHandlers(m))
	ends := make(map[string]time.Time) // of each cookie, in the browser
	note := func(step string, a stage.Answer) {
		for _, c := range a.SetCookies() {
			ends[c.Value] = e.Clock.Now().Add(time.Duration(c.MaxAge) * time.Second)
			if c.Value != "" && c.MaxAge <= 0 {
				t.Errorf("%s: got Max-Age %d, want the rest of the session", step, c.MaxAge)
			}
		}
	}
	for _, step := range []string{
		"/set?v=1", "/set?v=2", "/who", "/rotate", "/who", "/login?user=alice", "/who", "/who", "/who", "/who", "/set?v=3", "/login?user=alice",
		"/half?user=alice", "/second", "/remember?for=2h", "/who", "/who", "/who", "/who", "/logout", "/set?v=4",
	} {
		late := b.With(b.Cookie()) // comes second, with the cookie from before
		note(step, b.Get(step))
		if b.Cookie() == "" {
			continue
		}
		note(step+", and a late request", late.Get("/who"))
		server := e.Clock.Now().Add(e.Mini.TTL(stage.KeyOf(t, b.Cookie())))
		if d := ends[b.Cookie()].Sub(server); d.Abs() > time.Second {
			t.Errorf("%s: got a cookie that ends %s after its session, want at most a second", step, d)
		}
		e.Advance(t, 5*time.Minute)
	}
	if n := m.Stats().Rotated; n < 3 {
		t.Errorf("got %d rotations, want Rotate's and those by time", n)
	}
}
