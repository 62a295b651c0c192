package redsession_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/redsession/redsession"
)

// The tests in this file show what rows of SECURITY.md's table of requirements ask
// and no other test does.

func TestAServerWithoutRandomnessEndsRatherThanGuess(t *testing.T) {
	const child = "REDSESSION_TEST_WITHOUT_RANDOMNESS"
	if os.Getenv(child) != "" {
		m, random := newMini(t).manager(t), rand.Reader
		w := httptest.NewRecorder()
		m.Handler(handlers{"/": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			s.Login("alice")
			rand.Reader = iotest.ErrReader(errors.New("no entropy"))
			s.ID() // draws the SID
			rand.Reader = random
		}}.mux()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
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
	const sessions, most = 600, 6 * 12 // six standard deviations, of √600/2 each
	e := newMini(t)
	m := e.manager(t)
	ones, seen := make([]int, 8*(32+24)), make(map[string]bool)
	for range sessions {
		sid := sidOf(t, issue(t, m, "/login"))
		hash := sha256.Sum256(sid)
		bits := append(sid[:32:32], hash[:24]...)
		seen[string(sid)] = true
		e.mini.FlushAll() // or the user's index grows long
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

func TestTheLongestCookieNameStillFits(t *testing.T) {
	const limit = 4096 // of name and value, RFC 6265bis 5.6
	e, longest := newMini(t), 0
	config := func(length int) redsession.Config {
		return redsession.Config{URL: e.url, Secrets: [][]byte{secret}, Cookie: redsession.Cookie{Name: strings.Repeat("n", length)}}
	}
	for length := limit; longest == 0; length-- {
		if newManager(t, config(length)) == nil {
			longest = length
		}
	}
	m := e.manager(t, func(c *redsession.Config) { c.Cookie = config(longest).Cookie })
	set := ask(t, m, "/login", "").Cookies()
	if len(set) != 1 || len(set[0].Name+set[0].Value) > limit || longest < 1000 {
		t.Errorf("got a name of %d bytes accepted and cookies %.100v, want name and value in at most %d", longest, set, limit)
	}
}

func TestForwardedProtoChangesNoCookie(t *testing.T) {
	for name, insecure := range map[string]bool{"the default": false, "plain HTTP for development": true} {
		m := newMini(t).manager(t, func(c *redsession.Config) { c.Cookie.InsecurePlainHTTP = insecure })
		for _, proto := range []string{"", "http", "https"} {
			r := httptest.NewRequest(http.MethodGet, "http://shop.example/set", nil)
			for _, h := range []string{"X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Url-Scheme"} {
				r.Header.Set(h, proto)
			}
			r.Header.Set("Forwarded", "proto="+proto)
			w := httptest.NewRecorder()
			m.Handler(accountHandlers.mux()).ServeHTTP(w, r)
			set := w.Result().Cookies()
			if len(set) != 1 || set[0].Secure == insecure || strings.HasPrefix(set[0].Name, "__Host-") == insecure {
				t.Errorf("%s, forwarded as %q: got %v, want Secure and the prefix: %v", name, proto, set, !insecure)
				continue
			}
			jar := newBrowserJar(t)
			jar.SetCookies(&url.URL{Scheme: "https", Host: "shop.example", Path: "/"}, set)
			if sent := jar.Cookies(&url.URL{Scheme: "http", Host: "shop.example", Path: "/"}); (len(sent) > 0) != insecure {
				t.Errorf("%s: got %v sent over plain HTTP, want the cookie: %v", name, sent, insecure)
			}
		}
	}
}

func TestPrefixesOfTheLayeredCookiesDraft(t *testing.T) {
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
		e := newMini(t)
		if !strings.HasPrefix(row.want, ";") {
			wantError(t, newManager(t, redsession.Config{URL: nowhere, Secrets: [][]byte{secret}, Cookie: row.cookie}), "Config.Cookie", row.want)
			continue
		}
		a := ask(t, e.manager(t, func(c *redsession.Config) { c.Cookie = row.cookie }), "/set", "")
		if _, attributes, _ := strings.Cut(a.Header.Get("Set-Cookie"), ";"); ";"+attributes != row.want {
			t.Errorf("%s: got attributes %q, want %q", row.name, ";"+attributes, row.want)
		}
	}
}

// keyOf returns the key in Redis of the session that cookie carries.
func keyOf(t *testing.T, cookie string) string {
	t.Helper()
	sum := sha256.Sum256(sidOf(t, cookie))
	return "session:" + base64.RawURLEncoding.EncodeToString(sum[:24])
}

// The idle timeout is as long as the absolute one here, so that the end of the key
// is the end of the session.
func TestNoCookieOutlivesItsSession(t *testing.T) {
	const life = 20 * time.Hour
	e := newMini(t)
	m := e.manager(t, func(c *redsession.Config) {
		c.Cookie.Persistent, c.RotateEvery = true, 15*time.Minute
		c.AbsoluteTimeout, c.IdleTimeout, c.AnonymousTimeout = life, life, life
	})
	b := alive(t, m, guarded(m))
	ends := make(map[string]time.Time) // of each cookie, in the browser
	note := func(step string, a answer) {
		for _, c := range a.setCookies() {
			ends[c.Value] = e.clock.Now().Add(time.Duration(c.MaxAge) * time.Second)
			if c.Value != "" && c.MaxAge <= 0 {
				t.Errorf("%s: got Max-Age %d, want the rest of the session", step, c.MaxAge)
			}
		}
	}
	for _, step := range []string{
		"/set?v=1", "/set?v=2", "/who", "/rotate", "/who", "/login?user=alice", "/who", "/who", "/who", "/who", "/set?v=3", "/login?user=alice",
		"/half?user=alice", "/second", "/remember?for=2h", "/who", "/who", "/who", "/who", "/logout", "/set?v=4",
	} {
		late := b.with(b.cookie()) // comes second, with the cookie from before
		note(step, b.get(step))
		if b.cookie() == "" {
			continue
		}
		note(step+", and a late request", late.get("/who"))
		server := e.clock.Now().Add(e.mini.TTL(keyOf(t, b.cookie())))
		if d := ends[b.cookie()].Sub(server); d.Abs() > time.Second {
			t.Errorf("%s: got a cookie that ends %s after its session, want at most a second", step, d)
		}
		e.advance(t, 5*time.Minute)
	}
	if n := m.Stats().Rotated; n < 3 {
		t.Errorf("got %d rotations, want Rotate's and those by time", n)
	}
}

func TestAResponseSetsOneCookieWhateverHappened(t *testing.T) {
	things := []string{"set:a:1", "rotate", "save", "login:alice", "flash:hello", "logout"}
	mortalRedis(t, func(t *testing.T, e *env) {
		root := newStage(t, e.manager(t))
		for _, first := range things {
			for _, second := range things {
				for _, third := range things {
					ops := strings.Join([]string{first, second, third}, " ")
					st := root.fork("")
					st.must("login:bob set:b:1")
					st.must() // the cookie is seen
					a := st.must(ops)
					set, want := a.setCookies(), 0
					if strings.Contains(ops, "log") || strings.Contains(ops, "rotate") {
						want = 1
					}
					if len(set) != want {
						t.Errorf("%s: got Set-Cookie %v, want %d", ops, set, want)
					}
					if len(set) > 0 && (a.Header.Get("Cache-Control") != "no-store" || !slices.Contains(a.Header.Values("Vary"), "Cookie")) {
						t.Errorf("%s: got Cache-Control %q and Vary %q with a cookie, want no-store and Cookie", ops, a.Header.Get("Cache-Control"), a.Header.Values("Vary"))
					}
					if got := st.must().body; got != a.body {
						t.Errorf("%s: got %q in the next request, want %q", ops, got, a.body)
					}
				}
			}
		}
	})
}

// section returns a section of a document of this repository.
func section(t *testing.T, file, heading string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", file, heading)
	}
	body, _, _ := strings.Cut(rest, "\n## ")
	return body
}

func TestWhatIsWrittenDownIsWhatIsTested(t *testing.T) {
	configuration := section(t, "README.md", "Configuration")
	for field := range reflect.TypeFor[redsession.Config]().Fields() {
		if !strings.Contains(configuration, "`"+field.Name+"`") {
			t.Errorf("README.md's table of the configuration has no Config.%s", field.Name)
		}
	}
	for _, row := range []struct{ what, file, heading, want string }{
		{"the smallest ACL", "README.md", "Every Redis", "\n" + smallestACL + "\n"},
		{"the idle timeouts, as TestDefaults sees them", "README.md", "Configuration", "| `IdleTimeout`, `AnonymousTimeout` | 7 days, 3 hours |"},
		{"the absolute timeout", "README.md", "Configuration", "| `AbsoluteTimeout` | 30 days |"},
		{"the rotation", "README.md", "Configuration", "| `RotateEvery`, `RotateGrace` | 3 hours, 60 s |"},
		{"the limit on concurrent sessions", "README.md", "Configuration", "`MaxPerUser` | none |"},
		{"NIST's AAL2", "docs/operations.md", "Choosing timeouts", "| AAL2 | 24 hours | 1 hour | no `RememberFor` |"},
		{"NIST's AAL3", "docs/operations.md", "Choosing timeouts", "| AAL3 | 12 hours | 15 minutes |"},
	} {
		if !strings.Contains(section(t, row.file, row.heading), row.want) {
			t.Errorf("%s does not state %s: want %q under %q", row.file, row.what, row.want, row.heading)
		}
	}
}

var (
	testNames = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`)
	testFuncs = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`)
)

// testsOfTheRepository returns the names of all test functions, those of nested
// modules included.
func testsOfTheRepository(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range testFuncs.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestEveryRequirementHasATestThatExists(t *testing.T) {
	if _, err := os.Stat("attack/go.mod"); err != nil {
		t.Skip("the nested modules are not here, whose tests the table names too")
	}
	table, exist := section(t, "SECURITY.md", "Requirements"), testsOfTheRepository(t)
	for _, name := range testNames.FindAllString(table, -1) {
		if !exist[name] {
			t.Errorf("SECURITY.md names %s, which is no test of this repository", name)
		}
	}
	rows := make(map[string]int)
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| SR-") {
			continue
		}
		cells := strings.Split(line, "|") // and what is before and behind
		id := strings.TrimSpace(cells[1])
		if rows[id]++; len(cells) != 5+2 {
			t.Errorf("%s: got %d cells, want 5", id, len(cells)-2)
			continue
		}
		shown, why := testNames.MatchString(cells[4]), strings.TrimSpace(cells[5]) != ""
		switch status := strings.TrimSpace(cells[3]); status {
		case "met":
			if !shown {
				t.Errorf("%s is met, but no test is named that shows it", id)
			}
		case "not met", "not ours":
			if shown || !why {
				t.Errorf("%s is %s: want a reason, and no test", id, status)
			}
		default:
			t.Errorf("%s: got status %q, want met, not met or not ours", id, status)
		}
	}
	for i := range 72 {
		id := fmt.Sprintf("SR-%02d", i+1)
		if rows[id] != 1 {
			t.Errorf("%s has %d rows in SECURITY.md, want one", id, rows[id])
		}
		delete(rows, id)
	}
	if len(rows) > 0 {
		t.Errorf("got rows %v that are no requirements", rows)
	}
}
