package redsession_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

// guarded has the handlers of life, and those that the guards stand before.
func guarded(m *redsession.Manager) handlers {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "come in") })
	return handlers{
		"/account": func(w http.ResponseWriter, r *http.Request, _ *redsession.Session) {
			m.RequireLogin(ok).ServeHTTP(w, r)
		},
		"/money": func(w http.ResponseWriter, r *http.Request, _ *redsession.Session) {
			m.RequireRecentLogin(10*time.Minute)(ok).ServeHTTP(w, r)
		},
		"/remember": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
			d, _ := time.ParseDuration(r.FormValue("for"))
			opts := []redsession.LoginOption{redsession.RememberFor(d)}
			if r.FormValue("half") != "" {
				opts = append(opts, redsession.Pending())
			}
			s.Login("alice", opts...)
		},
		"/token": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) { fmt.Fprint(w, s.CSRFToken()) },
		"/verify": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			fmt.Fprint(w, s.VerifyCSRF(r.FormValue("token")))
		},
	}
}

// play gets each path in turn; "+1h" lets that long pass.
func (b *browser) play(e *env, steps ...string) (last answer) {
	b.t.Helper()
	for _, step := range steps {
		if !strings.HasPrefix(step, "+") {
			last = b.get(step)
			continue
		}
		d, err := time.ParseDuration(step[1:])
		if err != nil {
			b.t.Fatal(err)
		}
		e.advance(b.t, d)
	}
	return last
}

func TestGuards(t *testing.T) {
	elsewhere := http.RedirectHandler("/login", http.StatusSeeOther)
	for _, tt := range []struct {
		name           string
		steps          []string
		account, money bool
	}{
		{"nobody", nil, false, false},
		{"an anonymous session", []string{"/set?v=1"}, false, false},
		{"a half-open login", []string{"/half?user=alice"}, false, false},
		{"a completed login", []string{"/half?user=alice", "/second"}, true, true},
		{"a login almost ten minutes ago", []string{"/login?user=alice", "+9m59s"}, true, true},
		{"a login longer ago", []string{"/login?user=alice", "+10m1s"}, true, false},
		{"an old login under a new id", []string{"/login?user=alice", "+11m", "/rotate"}, true, false},
		{"an old login that was repeated", []string{"/login?user=alice", "+11m", "/login?user=alice"}, true, true},
		{"after logout", []string{"/login?user=alice", "/logout"}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newMini(t)
			plain := e.manager(t)
			custom := e.manager(t, func(c *redsession.Config) { c.Unauthorized = elsewhere })
			b, redirected := alive(t, plain, guarded(plain)), alive(t, custom, guarded(custom))
			b.play(e, tt.steps...)
			redirected = redirected.with(b.cookie())
			for path, in := range map[string]bool{"/account": tt.account, "/money": tt.money} {
				want := map[*browser]int{b: http.StatusUnauthorized, redirected: http.StatusSeeOther}
				for at, status := range want {
					if in {
						status = http.StatusOK
					}
					if a := at.get(path); a.StatusCode != status || (a.body == "come in") != in {
						t.Errorf("%s: got %d %q, want %d", path, a.StatusCode, a.body, status)
					}
				}
			}
		})
	}
}

func TestGuardsRefuseNonsense(t *testing.T) {
	m := newMini(t).manager(t)
	for name, f := range map[string]func(){
		"RememberFor under a second":            func() { redsession.RememberFor(time.Second - 1) },
		"RememberFor of a negative duration":    func() { redsession.RememberFor(-time.Hour) },
		"RequireRecentLogin of zero":            func() { m.RequireRecentLogin(0) },
		"RequireRecentLogin of a negative time": func() { m.RequireRecentLogin(-1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: got no panic, want one", name)
				}
			}()
			f()
		}()
	}
}

func TestAStolenPasswordAloneIsNoLogin(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t)
		b := alive(t, m, others(t, m))
		victim := b.fresh()
		victim.get("/login?user=alice")
		b.play(e, "/set?v=kept", "/half?user=alice")
		half, cookie := b.state(), b.cookie()
		if half.User != "" || half.Pending != "alice" || half.Note != "kept" {
			t.Errorf("got %+v, want alice pending and nobody logged in", half)
		}
		if infos, err := m.Sessions(t.Context(), "alice"); len(infos) != 1 || err != nil {
			t.Errorf("got %d sessions, %v, want the half-open one left out", len(infos), err)
		}
		if got := b.get("/others").body; got != "0" || victim.get("/who").body != "alice" {
			t.Errorf("got %s of the user's sessions ended by a half-open login, want 0", got)
		}
		b.play(e, "+5m", "/who", "+4m59s", "/second")
		whole := b.state()
		if whole.User != "alice" || whole.Pending != "" || whole.Note != "kept" || whole.ID == half.ID || !whole.Auth.After(half.Auth) {
			t.Errorf("got %+v after Promote, want alice logged in under another id", whole)
		}
		if st := b.with(cookie).state(); st.User != "" || st.Pending != "" || st.Note != "" {
			t.Errorf("got %+v with the half-open cookie, want nothing", st)
		}
		if a := b.get("/second"); a.StatusCode != http.StatusInternalServerError || b.get("/who").body != "alice" {
			t.Errorf("got %d for a Promote without a pending login, want 500 and the login unharmed", a.StatusCode)
		}
		late := b.fresh()
		late.play(e, "/half?user=alice", "+5m", "/who", "+5m")
		if a := late.get("/second"); a.StatusCode != http.StatusInternalServerError || late.state().Pending != "" {
			t.Errorf("got %d for a second factor after 10 minutes, want 500 and no session", a.StatusCode)
		}
	})
}

func TestHowLongALoginLasts(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name       string
		persistent bool
		steps      []string
		maxAge     time.Duration // 0: until the browser closes
		last       string        // a wait without a hit that the session survives
		end        string        // one after a hit that it does not
	}{
		{"a plain login is gone with the browser, and after 7 idle days", false, []string{"/login?user=alice"}, 0, "+167h59m", "+168h1m"},
		{"a persistent cookie lasts as long as the session may", true, []string{"/login?user=alice"}, 30 * day, "+167h59m", "+168h1m"},
		{"an old session's persistent cookie has the rest", true, []string{"/login?user=alice", "+48h", "/who"}, 28 * day, "+167h59m", "+168h1m"},
		{"RememberFor is longer than both timeouts", false, []string{"/remember?for=1440h"}, 60 * day, "+1439h59m", "+2m"},
		{"RememberFor is shorter, and no hit prolongs it", false, []string{"/remember?for=2h", "+1h", "/rotate"}, time.Hour, "+59m", "+2m"},
		{"RememberFor survives the second factor", false, []string{"/remember?for=1440h&half=1", "+9m", "/second"}, 60 * day, "+1439h59m", "+2m"},
		{"a half-open login is not remembered yet", false, []string{"/remember?for=1440h&half=1"}, 10 * time.Minute, "+9m", "+2m"},
		{"browsers cap a cookie at 400 days", false, []string{"/remember?for=12000h"}, 400 * day, "+11999h59m", "+2m"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachRedis(t, func(t *testing.T, e *env) {
				m := e.manager(t, func(c *redsession.Config) { c.Cookie.Persistent = tt.persistent })
				b := alive(t, m, guarded(m))
				set := b.play(e, tt.steps...).setCookies()
				if len(set) != 1 || (time.Duration(set[0].MaxAge)*time.Second-tt.maxAge).Abs() > time.Second {
					t.Errorf("got %v, want one cookie for %s", set, tt.maxAge)
				}
				b = b.with(set[0].Value) // past its Max-Age too
				if b.play(e, tt.last); b.state().User+b.state().Pending != "alice" {
					t.Errorf("got user %q after %s, want alice", b.state().User, tt.last)
				}
				if b.play(e, tt.end); b.state().User+b.state().Pending != "" {
					t.Errorf("got user %q after %s more, want none", b.state().User, tt.end)
				}
			})
		})
	}
}

// forgeryTests let a token be read before and checked after.
var forgeryTests = []struct {
	name          string
	before, after []string
	want          string
}{
	{"in an anonymous session", nil, nil, "true"},
	{"in an anonymous session after Rotate", nil, []string{"/rotate"}, "true"},
	{"after a timed rotation", []string{"/login?user=alice"}, []string{"+3h", "/who", "/who", "+3h", "/who"}, "true"},
	{"after a write", []string{"/login?user=alice"}, []string{"/set?v=1"}, "true"},
	{"after a login", []string{"/set?v=1"}, []string{"/login?user=alice"}, "false"},
	{"after another login of the same user", []string{"/login?user=alice"}, []string{"/login?user=alice"}, "false"},
	{"after the second factor", []string{"/half?user=alice"}, []string{"/second"}, "false"},
	{"after a logout", []string{"/login?user=alice"}, []string{"/logout"}, "false"},
	{"after a logout, in the next session", []string{"/login?user=alice"}, []string{"/logout", "/token"}, "false"},
	{"after a logout and a login", []string{"/login?user=alice"}, []string{"/logout", "/login?user=alice"}, "false"},
}

func TestForgedCSRFTokensAreRefused(t *testing.T) {
	for _, tt := range forgeryTests {
		t.Run(tt.name, func(t *testing.T) {
			e := newMini(t)
			m := e.manager(t)
			b := alive(t, m, guarded(m))
			b.play(e, tt.before...)
			token, again := b.get("/token").body, b.get("/token").body
			if token == again || token[43:] == again[43:] {
				t.Errorf("got the same token twice, want it masked anew")
			}
			forger := b.fresh()
			forger.play(e, append(tt.before, "/token")...)
			if got := forger.get("/verify?token=" + token).body; got != "false" {
				t.Errorf("got %s in another session, want false", got)
			}
			b.play(e, tt.after...)
			for _, token := range []string{token, again} {
				if got := b.get("/verify?token=" + token).body; got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			}
			for _, bad := range []string{"", "x", token[:85], token + "AA", token[:43] + again[43:], strings.Repeat("A", 86)} {
				if got := b.get("/verify?token=" + url.QueryEscape(bad)).body; got != "false" {
					t.Errorf("got %s for garbage, want false", got)
				}
			}
		})
	}
}

func TestReadingACSRFTokenStoresTheSession(t *testing.T) {
	e := newMini(t)
	m := e.manager(t)
	b := alive(t, m, guarded(m))
	if a := b.get("/verify?token=x"); a.body != "false" || len(a.setCookies()) != 0 || len(e.keys(t)) != 0 {
		t.Errorf("got %s and %d keys for a check, want false and nothing stored", a.body, len(e.keys(t)))
	}
	b.get("/token")
	if n, err := m.Count(t.Context()); n != 1 || err != nil || b.cookie() == "" {
		t.Errorf("got %d sessions, %v, want one and its cookie", n, err)
	}
	b.get("/login?user=alice")
	newer := e.manager(t, func(c *redsession.Config) { c.Secrets = [][]byte{newerSecret, secret} })
	rotated := alive(t, newer, guarded(newer)).with(b.cookie())
	for i, token := range atOnce(2, func(int) string { return b.get("/token").body }) { // the first pages that ask
		if x, y := b.get("/verify?token="+token).body, rotated.get("/verify?token="+token).body; x != "true" || y != "true" {
			t.Errorf("page %d: got %s, and %s under a newer secret, want true", i, x, y)
		}
	}
}

func TestEncryptedValuesCannotBeReadOrSwapped(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		b := alive(t, e.manager(t, func(c *redsession.Config) { c.Encrypt = true }), nil)
		ids := make([]string, 2)
		bs := []*browser{b.fresh(), b.fresh()}
		for i, b := range bs {
			b.play(e, "/login?user=alice", "/set?v=plaintext")
			ids[i] = "session:" + b.state().ID
		}
		values := e.dump(t)
		for _, v := range values {
			if strings.Contains(v, "plaintext") || strings.Contains(v, `"note"`) {
				t.Errorf("got %s, want neither value nor key in clear", v)
			}
		}
		for i, id := range ids {
			if err := e.client.Set(t.Context(), id, values[ids[1-i]], time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range bs {
			if a := b.get("/state"); a.StatusCode != http.StatusOK || strings.Contains(a.body, "plaintext") || len(a.setCookies()) != 0 {
				t.Errorf("got %d %s with the values swapped, want an empty session and the cookie kept", a.StatusCode, a.body)
			}
		}
		if got := len(e.events.of(redsession.EventRefused)); got < 2 {
			t.Errorf("got %d refused events, want one for each", got)
		}
	})
}

func TestSecretsAndEncryptMayChangeUnderLivingSessions(t *testing.T) {
	older, both, newer := [][]byte{secret}, [][]byte{newerSecret, secret}, [][]byte{newerSecret}
	for _, tt := range []struct {
		name          string
		enc, encAfter bool
	}{
		{"plain values, a newer secret", false, false},
		{"encrypted values, a newer secret", true, true},
		{"Encrypt turned on", false, true},
		{"Encrypt turned off", true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newMini(t)
			server := func(secrets [][]byte, encrypt bool) *browser {
				return alive(t, e.manager(t, func(c *redsession.Config) { c.Secrets, c.Encrypt = secrets, encrypt }), nil)
			}
			before, after := server(older, tt.enc), server(both, tt.encAfter)
			before.play(e, "/login?user=alice", "/set?v=plaintext")
			after = after.with(before.cookie())
			if st := after.state(); st.User != "alice" || st.Note != "plaintext" {
				t.Errorf("got %+v, want it read as before", st)
			}
			knows := func(secrets [][]byte) int {
				return len(listed(t, e.manager(t, func(c *redsession.Config) { c.Secrets = secrets }).Admin))
			}
			if o, n := knows(older), knows(newer); o != 1 || n != 0 {
				t.Errorf("got %d records under the older secret and %d under the newer, want 1 and 0 before a write", o, n)
			}
			after.get("/set?v=plaintext")
			if o, n := knows(older), knows(newer); o != 0 || n != 1 {
				t.Errorf("got %d records under the older secret and %d under the newer, want 0 and 1 after it", o, n)
			}
			if clear := strings.Contains(fmt.Sprint(e.dump(t)), "plaintext"); clear == tt.encAfter {
				t.Errorf("got the value in clear %v, want %v", clear, !tt.encAfter)
			}
			if back := server(both, tt.enc).with(after.cookie()).state(); back.Note != "plaintext" {
				t.Errorf("got %+v at a server with the setting from before, want it read", back)
			}
		})
	}
}

// api sends a request with the header X-Session and the cookie, "" for neither.
func (b *browser) api(path, header, cookie string) answer {
	b.t.Helper()
	client := b.fresh()
	if cookie != "" {
		client = b.with(cookie)
	}
	client.http.Transport = headerSender{header, b.http.Transport}
	return client.get(path)
}

type headerSender struct {
	header string
	next   http.RoundTripper
}

func (h headerSender) RoundTrip(r *http.Request) (*http.Response, error) {
	if h.header != "" {
		r = r.Clone(r.Context())
		r.Header.Set("X-Session", h.header)
	}
	return h.next.RoundTrip(r)
}

// issued tells which ways a's ticket goes to the client.
func (a answer) issued() string {
	var ways []string
	if len(a.setCookies()) > 0 {
		ways = append(ways, "cookie")
	}
	if _, there := a.Header["X-Session"]; there {
		ways = append(ways, "header")
	}
	return strings.Join(ways, " ")
}

func TestTheHeaderCarriesTheSessionOfClientsWithoutCookies(t *testing.T) {
	e := newMini(t)
	b := alive(t, e.manager(t, func(c *redsession.Config) { c.Header = "X-Session" }), nil)
	plain := alive(t, e.manager(t), nil)
	login := b.get("/login?user=alice")
	alice := login.Header.Get("X-Session")
	if login.issued() != "cookie header" || alice != b.cookie() {
		t.Fatalf("got the ticket by %q, want the same by cookie and header for a client that showed neither", login.issued())
	}
	bob := b.fresh().get("/login?user=bob").Header.Get("X-Session")
	for _, tt := range []struct {
		name                  string
		at                    *browser
		path, header, cookie  string
		user, issued, varying string
	}{
		{"the header alone", b, "/who", alice, "", "alice", "", "X-Session"},
		{"the cookie alone", b, "/who", "", alice, "alice", "", "X-Session"},
		{"the header wins over the cookie", b, "/who", alice, bob, "alice", "", "X-Session"},
		{"a header that nobody signed wins too", b, "/who", "garbage", bob, "", "", "X-Session"},
		{"a header cut short", b, "/who", alice[:100], bob, "", "", "X-Session"},
		{"the URL is not read", b, "/who?X-Session=" + alice + "&session=" + alice, "", "", "", "", "X-Session"},
		{"the header is not read unless configured", plain, "/who", alice, "", "", "", "Cookie"},
		{"a client with the header gets a new one there", b, "/rotate", alice, "", "", "header", "X-Session"},
		{"a client with the cookie gets a new one there", b, "/rotate", "", bob, "", "cookie", "X-Session"},
		{"a client with both gets it in the header", b, "/rotate", alice, bob, "", "header", "X-Session"},
		{"a login with the header", b, "/login?user=carol", alice, "", "", "header", "X-Session"},
		{"a login with the cookie", b, "/login?user=carol", "", bob, "", "cookie", "X-Session"},
	} {
		a := tt.at.api(tt.path, tt.header, tt.cookie)
		if a.body != tt.user || a.issued() != tt.issued || !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), tt.varying) {
			t.Errorf("%s: got user %q, the ticket by %q, Vary %q, want %q, %q, %q", tt.name, a.body, a.issued(), a.Header.Values("Vary"), tt.user, tt.issued, tt.varying)
		}
	}
	carol := b.fresh().get("/login?user=carol").Header.Get("X-Session")
	if a := b.api("/logout", carol, ""); a.issued() != "header" || a.Header.Get("X-Session") != "" || b.api("/who", carol, "").body != "" {
		t.Errorf("got the header %q by %q at logout, want it empty, no cookie, and the session ended", a.Header.Get("X-Session"), a.issued())
	}
}

// wholeLife leads a session through everything that is an event, and returns
// what may not be seen of it.
func wholeLife(t *testing.T, e *env, m *redsession.Manager, b *browser) (cookies []string) {
	t.Helper()
	see := func(b *browser, steps ...string) {
		b.play(e, steps...)
		cookies = append(cookies, b.cookie())
	}
	see(b, "/set?v=confidential")
	see(b, "/login?user=alice")
	old := b.with(b.cookie())
	see(b, "+3h", "/who")
	see(b, "/who", "+2m")
	old.get("/who") // replayed
	b.with(b.cookie()[:60] + "AAAA" + b.cookie()[64:]).get("/who")
	b.get("/second") // fails
	see(b, "/half?user=bob")
	see(b, "/second")
	see(b, "/token", "/logout")
	see(b, "/login?user=carol")
	if err := m.Revoke(t.Context(), b.state().ID); err != nil {
		t.Error(err)
	}
	b.get("/who") // expired
	return cookies
}

func TestEventsAndStatsOfAWholeLife(t *testing.T) {
	e := newMini(t)
	m := e.manager(t)
	wholeLife(t, e, m, alive(t, m, guarded(m)))
	want := []string{
		"created", "login alice", "rotated alice", "replayed rotated id after its grace", "refused cookie not signed by us",
		"failed alice", "pending bob", "login bob", "logout bob", "login carol", "revoked carol revoked", "expired",
	}
	var got []string
	e.events.mu.Lock()
	for _, ev := range e.events.list {
		got = append(got, strings.Join(strings.Fields(fmt.Sprint(ev.Kind, " ", ev.UserID, " ", ev.Reason)), " "))
		if needsID := ev.Kind != redsession.EventExpired && ev.Reason != "cookie not signed by us"; needsID && len(ev.ID) != 32 {
			t.Errorf("got id %q in %s, want a public id", ev.ID, ev.Kind)
		}
		if ev.RemoteAddr != "127.0.0.1" && ev.Kind != redsession.EventRevoked {
			t.Errorf("got remote address %q in %s, want the request's", ev.RemoteAddr, ev.Kind)
		}
	}
	e.events.mu.Unlock()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got events %q, want %q", got, want)
	}
	st := m.Stats()
	st.Hits, st.Misses, st.Commits = 0, 0, 0
	counted := redsession.Stats{Created: 1, Logins: 3, Rotated: 1, Replayed: 1, Refused: 1, Failed: 1, Logouts: 1, Revoked: 1, Expired: 1}
	if st != counted {
		t.Errorf("got %+v, want %+v", st, counted)
	}
	if lines := strings.Count(e.events.log(), "session "); lines < len(want) {
		t.Errorf("got %d lines in the log, want one for each of %d events", lines, len(want))
	}
}

func TestTheLogHoldsNothingToLogInWith(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t, func(c *redsession.Config) {
			c.UserStamp = func(context.Context, string) (string, error) { return "hash-of-a-password", nil }
			c.MaxBytes = 4096
		})
		more := guarded(m)
		maps.Copy(more, handlers{
			"/bad": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				redsession.Key[unsavable]("bad").Set(s, unsavable{})
			},
			"/big": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				lifeNote.Set(s, strings.Repeat("confidential", 1000))
			},
		})
		b := alive(t, m, more)
		cookies := wholeLife(t, e, m, b)
		b.play(e, "/login?user=alice", "/bad", "/big")
		cookies = append(cookies, b.cookie())
		text := e.events.log() + fmt.Sprintf("%+v", e.events.list)
		if !strings.Contains(text, b.state().ID) {
			t.Errorf("got no public id in the log, want what happened to be found there")
		}
		for _, value := range append(cookies, "confidential", "hash-of-a-password", string(secret)) {
			if value != "" && strings.Contains(text, value) {
				t.Errorf("got a secret of %d characters in the log, want none", len(value))
			}
			if len(value) > 100 {
				sid, _ := ticketOf(t, value)
				if form := findSecret(text, sid); form != "" {
					t.Errorf("got an SID in the log as %s, want none", form)
				}
			}
		}
	})
}

// unsavable does not encode.
type unsavable struct{}

func (unsavable) MarshalJSON() ([]byte, error) { return nil, errors.New("no JSON for this") }
