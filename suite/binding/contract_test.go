package binding_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

// get sends a request with this Cookie field, whatever a browser would send.
func (s *site) get(path, cookies string, fields ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, "https://example.com"+path, nil)
	r.Header.Set("Cookie", cookies)
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return w.Result()
}

func text(res *http.Response) string {
	body, _ := io.ReadAll(res.Body)
	return fmt.Sprintf("%d %s", res.StatusCode, strings.TrimSpace(string(body)))
}

// server is another one of the same site, which knows nothing yet.
func (s *site) server(t *testing.T, secrets ...[]byte) http.Handler {
	t.Helper()
	m, err := redsession.New(redsession.Config{
		URL: "redis://" + s.m.Redis.Addr(), Secrets: secrets, Now: s.m.Now, OutageWait: -1, DeviceBinding: redsession.DeviceBinding{Enabled: true},
		Logger: slog.New(slog.DiscardHandler), ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadRequest) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session := m.FromContext(r.Context())
		fmt.Fprintf(w, "%s %t", session.UserID(), session.DeviceBound())
	}))
}

// until waits for what is tidied up beside an answer.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for patience := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(patience) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// keys are those in Redis that begin with prefix, after Manager's.
func (s *site) keys(prefix string) []string {
	return slices.DeleteFunc(s.m.Redis.Keys(), func(key string) bool { return !strings.HasPrefix(key, "session:"+prefix) })
}

func TestBindingEndpointsComeBeforeSkip(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) {
		c.Skip = func(r *http.Request) bool { return r.Method == http.MethodPost }
	})
	b := s.bound(t)
	s.m.Advance(time.Hour)
	s.want(t, b, "/", "200 alice 0 bound")
}

func TestBindingEndpointsBelowATakenPrefix(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) { c.DeviceBinding.Path = "/app/binding" })
	inner := s.h
	s.h = http.StripPrefix("/app", inner)
	login := s.m.Browser()
	for range 2 {
		login.Get(s.h, "/app/login?user=alice")
	}
	s.want(t, login, "/app/", "200 alice 0")
	s.m.Advance(time.Hour)
	s.want(t, login, "/app/", "200 alice 0 bound")
}

// TestBindingWhatLiesInRedis follows the key of a device through its life.
func TestBindingWhatLiesInRedis(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) { c.AbsoluteTimeout = 12 * time.Hour })
	taps := tapped(s)
	b := s.m.Browser()
	before := ""
	inner := s.h
	s.h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/session-binding/register/") {
			before = s.dump()
		}
		inner.ServeHTTP(w, r)
	})
	s.want(t, b, "/login?user=alice", "200")
	device := s.keys("bind:")
	if len(device) != 1 || s.m.Redis.TTL(device[0]) != 10*time.Minute {
		t.Fatalf("got %v after the registration, want one key for 10 minutes", device)
	}
	for line := range strings.Lines(before) {
		if !strings.Contains(s.dump(), line) {
			t.Errorf("the registration changed %s", line)
		}
	}
	if got := (*taps)[0].header.Get("Sec-Secure-Session-Id"); got != "" {
		t.Errorf("got the identifier %q with a registration", got)
	}
	s.m.Advance(time.Minute)
	s.want(t, b, "/", "200 alice 0")
	if got, want := s.m.Redis.TTL(device[0]), 12*time.Hour-time.Minute; got < want-2*time.Second || got > want {
		t.Errorf("got a life of %s once the binding has begun, want %s as for the session", got, want)
	}
	value, _ := s.m.Redis.Get(device[0])
	s.want(t, b, "/rotate", "200")
	s.m.Advance(20 * time.Minute)
	s.want(t, b, "/", "200 alice 0 bound")
	if after, _ := s.m.Redis.Get(device[0]); s.m.Stats().Rotated != 1 || after != value {
		t.Errorf("got %d rotations, and the key of the device written: %v, want one, and not", s.m.Stats().Rotated, after != value)
	}
	s.want(t, b, "/login?user=bob", "200")
	until(t, "the older device's key gone, and the new one's there", func() bool {
		got := s.keys("bind:")
		return len(got) == 1 && got[0] != device[0]
	})
}

// TestBindingProofIsNoActivity repeats a proof, which must not prolong the session.
func TestBindingProofIsNoActivity(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) { c.IdleTimeout = time.Hour })
	taps := tapped(s)
	b := s.bound(t)
	s.m.Advance(11 * time.Minute)
	s.want(t, b, "/", "200 alice 0 bound")
	s.m.Advance(3 * time.Minute)
	before := s.dump()
	if res := s.again((*taps)[len(*taps)-1], nil); res.StatusCode != http.StatusOK || len(res.Cookies()) != 1 {
		t.Errorf("got %d and %v, want 200 and the second cookie", res.StatusCode, res.Cookies())
	}
	if after := s.dump(); after != before {
		t.Errorf("got\n%s\nwant as before\n%s", after, before)
	}
}

func TestBindingNamesOfTheSecondCookie(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		want string
	}{
		{"", "__Host-session-bound-"},
		{"sid", "__Host-sid-bound-"},
		{"__Host-app", "__Host-app-bound-"},
		{"__Secure-app", "__Host-app-bound-"},
	} {
		for mode, attribute := range map[http.SameSite]string{http.SameSiteLaxMode: "SameSite=Lax", http.SameSiteStrictMode: "SameSite=Strict", http.SameSiteNoneMode: "SameSite=None"} {
			t.Run(row.name+" "+attribute, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, func(c *redsession.Config) {
					c.Cookie.Name, c.Cookie.SameSite, c.DeviceBinding.Lifetime = row.name, mode, 9*time.Minute
				})
				taps := tapped(s)
				s.want(t, s.m.Browser(), "/login?user=alice", "200")
				res := s.again((*taps)[0], nil)
				cookie := res.Header.Get("Set-Cookie")
				named, attributes, _ := strings.Cut(cookie, "; ")
				id, _, _ := strings.Cut(strings.TrimPrefix(named, row.want), "=")
				if !strings.HasPrefix(named, row.want) || len(id) != 8 || attributes != "Path=/; Max-Age=540; HttpOnly; Secure; "+attribute {
					t.Errorf("got the cookie %q, want one named %s…, and %s", cookie, row.want, attribute)
				}
				var told struct {
					Identifier  string   `json:"session_identifier"`
					RefreshURL  string   `json:"refresh_url"`
					Initiators  []string `json:"allowed_refresh_initiators"`
					Credentials []struct{ Type, Name, Attributes string }
				}
				if err := json.NewDecoder(res.Body).Decode(&told); err != nil || len(told.Credentials) != 1 {
					t.Fatalf("got %+v and error %v", told, err)
				}
				c := told.Credentials[0]
				if c.Name != row.want+id || c.Attributes != strings.Replace(attributes, "Max-Age=540; ", "", 1) {
					t.Errorf("got %+v told of the cookie %s", c, cookie)
				}
				if !strings.HasPrefix(told.Identifier, id+".") || told.RefreshURL != "/session-binding/refresh/"+id {
					t.Errorf("got identifier %q and %q, want those of the binding %s", told.Identifier, told.RefreshURL, id)
				}
				if anyone := slices.Equal(told.Initiators, []string{"*"}); anyone != (mode != http.SameSiteNoneMode) || !anyone && told.Initiators != nil {
					t.Errorf("got initiators %v with %s", told.Initiators, attribute)
				}
			})
		}
	}
}

// TestBindingTakesNoOtherSecondCookie has a thief who minds no Max-Age, and makes up what he can.
func TestBindingTakesNoOtherSecondCookie(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.bound(t)
	session, second := sessionOf(b), secondOf(b)
	other := secondOf(s.bound(t))
	name, value, _ := strings.Cut(second, "=")
	const in, out = "200 alice 0 bound", "200 nobody 0 locked"
	for _, row := range []struct {
		name, second string
		wait         time.Duration
		want         string
	}{
		{"as it is", second, 0, in},
		{"none", "a=b", 0, out},
		{"with another byte", name + "=" + flip(value, 3), 0, out},
		{"with another byte at its end", name + "=" + flip(value, len(value)-1), 0, out},
		{"under the name of another binding", strings.Replace(second, name, name[:len(name)-1]+"_", 1), 0, out},
		{"that of another session", other, 0, out},
		{"that of another session under this one's name", name + "=" + strings.SplitN(other, "=", 2)[1], 0, out},
		{"empty", name + "=", 0, out},
		{"a wrong one before it", name + "=AAAA; " + second, 0, in},
		{"within its minute for clocks", second, 10*time.Minute + 58*time.Second, in},
		{"after that", second, 4 * time.Second, out},
	} {
		s.m.Advance(row.wait)
		if got := text(s.get("/", session+"; "+row.second)); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

func flip(s string, at int) string {
	b := []byte(s)
	if b[at]++; b[at] > 'z' || b[at] == '[' || b[at] == ':' {
		b[at] = 'B'
	}
	return string(b)
}

// TestBindingOutlivesItsSecret has all secrets verify, and an older one no longer there nothing.
func TestBindingOutlivesItsSecret(t *testing.T) {
	t.Parallel()
	young := bytes.Repeat([]byte("y"), 32)
	s := newSite(t)
	b := s.bound(t)
	both := s.server(t, young, secret)
	if got := text(b.Get(both, "/")); got != "200 alice true" {
		t.Errorf("got %q with the cookies of the older secret", got)
	}
	for range 3 {
		s.m.Advance(time.Hour)
		if got := text(b.Get(both, "/")); got != "200 alice true" {
			t.Errorf("got %q after a proof for the younger secret", got)
		}
	}
	if got := text(b.Get(s.server(t, bytes.Repeat([]byte("x"), 32)), "/")); got != "200 false" {
		t.Errorf("got %q with other secrets, want nobody", got)
	}
}

// TestBindingProofsFailAs503 has an ErrorHandler that answers 400, and a server that knows no key.
func TestBindingProofsFailAs503(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) {
		c.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadRequest) }
	})
	taps := tapped(s)
	b := s.bound(t)
	s.m.Advance(11 * time.Minute)
	s.want(t, b, "/", "200 alice 0 bound")
	proof := (*taps)[len(*taps)-1]
	s.m.Redis.SetError("LOADING Redis is loading the dataset in memory")
	if res := s.again(proof, nil); res.StatusCode != http.StatusOK {
		t.Errorf("got %d where the key is known, want 200", res.StatusCode)
	}
	s.m.Redis.SetError("")
	s.want(t, s.m.Browser(), "/login?user=alice", "200")
	registration := (*taps)[len(*taps)-1]
	s.h = s.server(t, secret)
	s.m.Redis.SetError("LOADING Redis is loading the dataset in memory")
	for what, rec := range map[string]recorded{"a proof": proof, "a registration": registration} {
		if res := s.again(rec, nil); res.StatusCode != http.StatusServiceUnavailable || len(res.Cookies()) != 0 {
			t.Errorf("%s: got %d from a server that knows nothing while Redis is away, want 503", what, res.StatusCode)
		}
	}
	s.m.Redis.SetError("")
}

// TestBindingOfTwoLoginsAtOnce has two tabs log in, neither of which knows of the other.
func TestBindingOfTwoLoginsAtOnce(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"alice", "bob"} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := s.m.Browser()
			var arrived sync.WaitGroup
			arrived.Add(2)
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/login" {
					arrived.Done()
					arrived.Wait()
				}
				s.h.ServeHTTP(w, r)
			})
			var tabs sync.WaitGroup
			for _, who := range []string{"alice", user} {
				tabs.Go(func() { b.Get(h, "/login?user="+who) })
			}
			tabs.Wait()
			s.see(b, "/")
			for range 4 {
				s.m.Advance(10 * time.Minute)
				if got := s.see(b, "/"); !strings.HasSuffix(got, " 0 bound") {
					t.Errorf("got %q, want the bound session of the later answer", got)
				}
			}
			if got := b.Cookies(); len(got) != 2 {
				t.Errorf("got cookies %v, want the session's and its second one: the other login's is of no use", got)
			}
		})
	}
}

// TestBindingProofBesideAnotherBinding is the older of two bindings, which has to go.
func TestBindingProofBesideAnotherBinding(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	taps := tapped(s)
	older := s.bound(t)
	s.m.Advance(11 * time.Minute)
	s.want(t, older, "/", "200 alice 0 bound")
	proof := (*taps)[len(*taps)-1]
	id := proof.path[strings.LastIndexByte(proof.path, '/')+1:]
	present := s.bound(t)
	res := s.again(proof, func(h http.Header) { h.Set("Cookie", sessionOf(present)) })
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %d, want 401", res.StatusCode)
	}
	if got := res.Cookies(); len(got) != 1 || got[0].Name != "__Host-session-bound-"+id || got[0].MaxAge >= 0 {
		t.Errorf("got cookies %v, want the second one of the older binding expired", got)
	}
	s.want(t, present, "/", "200 alice 0 bound")
	s.want(t, older, "/", "200 alice 0 bound")
}

func TestBindingOldIDLeadsOnBesideTheSecondCookieAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.m.Browser()
	s.want(t, b, "/login?user=alice", "200")
	session, second := sessionOf(b), secondOf(b)
	s.want(t, b, "/", "200 alice 0") // begins it
	if got := text(s.get("/", session+"; "+second)); got != "200 alice 0 bound" {
		t.Errorf("got %q beside the second cookie", got)
	}
	if got := text(s.get("/", session)); got != "200 nobody 0 locked" {
		t.Errorf("got %q without the second cookie", got)
	}
}

// TestBindingSendsNavigationsFromOtherSitesBackAlone holds which requests get the page that
// loads itself again.
func TestBindingSendsNavigationsFromOtherSitesBackAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.bound(t)
	s.m.Advance(12 * time.Minute)
	session := sessionOf(b) // alone: the second one has ended
	for _, row := range []struct {
		method, mode, dest, site string
		want                     bool
	}{
		{"GET", "navigate", "document", "cross-site", true},
		{"GET", "navigate", "document", "same-site", true},
		{"GET", "navigate", "document", "same-origin", false},
		{"GET", "navigate", "document", "none", false},
		{"GET", "navigate", "iframe", "cross-site", false},
		{"GET", "no-cors", "image", "cross-site", false},
		{"GET", "cors", "empty", "cross-site", false},
		{"POST", "navigate", "document", "cross-site", false},
		{"HEAD", "navigate", "document", "cross-site", false},
		{"GET", "", "", "", false},
	} {
		r := httptest.NewRequest(row.method, "https://example.com/?a=1", nil)
		r.Header.Set("Cookie", session)
		for name, value := range map[string]string{"Sec-Fetch-Mode": row.mode, "Sec-Fetch-Dest": row.dest, "Sec-Fetch-Site": row.site} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		s.h.ServeHTTP(w, r)
		if got := strings.Contains(w.Body.String(), "bounce.js"); got != row.want || got && (w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), `<a href="">`)) {
			t.Errorf("%+v: got %d %q", row, w.Code, w.Body)
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("%+v: got Cache-Control %q, want no-store", row, got)
		}
	}
}

// TestBindingRequiredByEveryGuard has a session of a browser that cannot bind, and one that was
// imported.
func TestBindingRequiredByEveryGuard(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) {
		c.DeviceBinding.Require = func(r *http.Request) bool { return r.URL.Path != "/login" }
		c.Adopt = []redsession.Legacy{{Cookie: "old", Source: "old", Load: func(context.Context, string) (*redsession.LegacyRecord, error) {
			return &redsession.LegacyRecord{Source: "old", ID: "x", UserID: "alice", CreatedAt: time.Now().Add(-time.Minute), ExpiresAt: time.Now().Add(time.Hour)}, nil
		}}}
	})
	let := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "let in") })
	able, unable := s.bound(t), s.m.Browser().Thief()
	s.within(able, func(_ *http.Request, session *redsession.Session) {
		session.Login("alice", redsession.Proved(2, "pwd"))
	})
	s.within(unable, func(_ *http.Request, session *redsession.Session) {
		session.Login("alice", redsession.Proved(2, "pwd"))
	})
	for name, guard := range map[string]func(http.Handler) http.Handler{
		"RequireLogin": s.m.RequireLogin, "RequireRecentLogin": s.m.RequireRecentLogin(time.Hour), "RequireLevel": s.m.RequireLevel(2), "RequireProof": s.m.RequireProof(time.Hour),
	} {
		h := s.m.Handler(guard(let))
		if got := text(able.Get(h, "/")); got != "200 let in" {
			t.Errorf("%s: got %q with a bound session", name, got)
		}
		if got := text(unable.Get(h, "/")); !strings.HasPrefix(got, "403 ") {
			t.Errorf("%s: got %q without, want Config.Forbidden", name, got)
		}
		if name == "RequireRecentLogin" || name == "RequireLevel" {
			continue // of an imported login nobody knows how it was
		}
		r := httptest.NewRequest(http.MethodGet, "https://example.com/", nil)
		r.AddCookie(&http.Cookie{Name: "old", Value: "x"})
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusForbidden {
			t.Errorf("%s: got %d %q with an imported session, want Config.Forbidden", name, w.Code, w.Body)
		}
	}
}

func TestRequireProofIsFor(t *testing.T) {
	t.Parallel()
	proved := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "proved") })
	s := newSite(t)
	h := s.m.Handler(s.m.RequireProof(2 * time.Minute)(proved))
	b := s.bound(t)
	unable := s.m.Browser().Thief()
	s.want(t, unable, "/login?user=bob", "200")
	ask := func(b *redsessiontest.Browser, method, path string) string {
		res := b.Do(h, httptest.NewRequest(method, "https://example.com"+path, nil))
		if at := res.Header.Get("Location"); at != "" {
			return fmt.Sprintf("%d to %s", res.StatusCode, at)
		}
		return text(res)
	}
	const forbidden = "403 This request is not allowed from here. Please load the page again."
	for _, row := range []struct {
		name, method, path, want string
		wait                     time.Duration
		b                        *redsessiontest.Browser
	}{
		{"a fresh proof", "GET", "/", "200 proved", 0, b},
		{"a fresh proof, at a POST", "POST", "/", "200 proved", 2*time.Minute - 5*time.Second, b},
		{"an older one, at a POST", "POST", "/", forbidden, 10 * time.Second, b},
		{"an older one, at a PUT", "PUT", "/", forbidden, 0, b},
		{"an older one, at a GET", "GET", "/x?y=1", "307 to /x?y=1", 0, b},
		{"which proves then", "GET", "/x?y=1", "200 proved", 0, b},
		{"another host's address", "GET", "//evil.example/x", "200 proved", 0, b},
		{"another host's address, of an older proof", "GET", "//evil.example/x", "307 to /evil.example/x", 3 * time.Minute, b},
		{"a session that is not bound", "GET", "/", forbidden, 0, unable},
		{"a session that is not bound, at a POST", "POST", "/", forbidden, 0, unable},
		{"nobody", "GET", "/", "401 Please log in.", 0, s.m.Browser()},
	} {
		s.m.Advance(row.wait)
		if got := ask(row.b, row.method, row.path); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
	off := redsessiontest.New(t)
	plain := redsessiontest.New(t, func(c *redsession.Config) { c.DeviceBinding.Enabled = true }) // over plain HTTP
	for name, do := range map[string]func(){
		"under a minute":                     func() { s.m.RequireProof(time.Minute - 1) },
		"where sessions are not bound":       func() { off.RequireProof(time.Hour) },
		"where they are not, under a minute": func() { plain.RequireProof(time.Second) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("RequireProof %s: got no panic", name)
				}
			}()
			do()
		}()
	}
	w := httptest.NewRecorder()
	plain.Handler(plain.RequireProof(time.Minute)(proved)).ServeHTTP(w, plain.Login(httptest.NewRequest(http.MethodGet, "/", nil), "alice"))
	if w.Body.String() != "proved" {
		t.Errorf("got %d %q over plain HTTP, want a login to be enough", w.Code, w.Body)
	}
}

func TestBindingEvents(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var list []string
	s := newSite(t, func(c *redsession.Config) {
		c.OnEvent = func(_ context.Context, e redsession.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == redsession.EventBound || e.Kind == redsession.EventRefused {
				list = append(list, strings.TrimSpace(string(e.Kind)+" "+e.UserID+" "+e.Reason))
			}
		}
	})
	taps := tapped(s)
	b := s.bound(t)
	s.again(recorded{(*taps)[0].path, http.Header{}}, nil)
	s.again(recorded{"/session-binding/register/AAAA", (*taps)[0].header}, nil)
	s.again(recorded{"/session-binding/refresh/AAAAAAAA", http.Header{}}, nil)
	thief := b.Thief()
	s.m.Advance(11 * time.Minute)
	s.want(t, thief, "/", "200 nobody 0 locked")
	s.want(t, b, "/", "200 alice 0 bound")
	s.again((*taps)[len(*taps)-1], func(h http.Header) { h.Set("Secure-Session-Response", "e30.e30.AAAA") })
	want := []string{
		"bound alice",
		"refused  registration: the proof is no JWT of three parts",
		"refused  the offer to bind the session has expired, or is not ours",
		"refused  a proof without the identifier of its binding",
		"refused alice the session is bound to a device that has not proved itself",
		"refused  proof of a device: the proof is not of type dbsc+jwt",
	}
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(list) != fmt.Sprint(want) {
		t.Errorf("got events\n%s\nwant\n%s", strings.Join(list, "\n"), strings.Join(want, "\n"))
	}
}
