package redsession_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

// olds makes an old store with these sessions, all alice's.
func olds(e *env, ids ...string) *oldStore {
	o := &oldStore{sessions: make(map[string]redsession.LegacyRecord)}
	for _, id := range ids {
		o.put(oldSession(e, id, "alice"))
	}
	return o
}

func (o *oldStore) put(lr redsession.LegacyRecord) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sessions[lr.ID] = lr
}

// adopting has a Config take over what these say.
func adopting(list ...redsession.Legacy) func(*redsession.Config) {
	return func(c *redsession.Config) { c.Adopt = list }
}

// beside is o's Legacy for as long as servers of the old kind are running.
func (o *oldStore) beside() redsession.Legacy {
	l := o.legacy()
	l.SideBySide = true
	return l
}

// comes returns another browser with this old cookie and none of ours.
func (st *stage) comes(old string) *stage {
	b := st.fork("")
	b.renew(old)
	return b
}

// renew is what a server of the old kind does to the cookie at a login.
func (st *stage) renew(old string) {
	u, _ := url.Parse(st.base)
	st.http.Jar.SetCookies(u, []*http.Cookie{{Name: "oldsid", Value: old, Path: "/"}})
}

// sends answers one request with exactly these cookies and headers, "name=value" and
// "Name: value".
func sends(m *redsession.Manager, ops string, lines ...string) answer {
	r := httptest.NewRequest("GET", "/?ops="+url.QueryEscape(ops), nil)
	for _, l := range lines {
		if name, value, ok := strings.Cut(l, ": "); ok {
			r.Header.Set(name, value)
		} else {
			r.Header.Add("Cookie", l)
		}
	}
	w := httptest.NewRecorder()
	m.Handler(handlers{"/": make(gate).play}.mux()).ServeHTTP(w, r)
	return answer{w.Result(), w.Body.String()}
}

// named returns the Set-Cookie headers of that name.
func (a answer) named(name string) (found []*http.Cookie) {
	for _, c := range a.Cookies() {
		if c.Name == name {
			found = append(found, c)
		}
	}
	return found
}

// Old servers prolong the old session for as long as it is used there.
func TestARevokedSessionIsNotAdoptedAgainThoughOldServersProlongIt(t *testing.T) {
	const day = 24 * time.Hour
	plainRedis(t, func(t *testing.T, e *env) {
		old := olds(e)
		aged := func() redsession.LegacyRecord {
			lr := oldSession(e, "one", "alice")
			lr.CreatedAt = e.clock.Now().Add(-29 * day)
			return lr
		}
		old.put(aged())
		m := e.manager(t, adopting(old.beside()))
		root := newStage(t, m)
		st := root.comes("one")
		if err := m.Revoke(t.Context(), st.must().Header.Get("X-Id")); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			e.advance(t, day)
			old.put(aged())
			if got := root.comes("one").do().body; got != "" {
				t.Fatalf("got %q, want nobody", got)
			}
		}
	})
}

func TestAdoptMistakesAreRefused(t *testing.T) {
	for _, row := range []struct {
		name string
		list []redsession.Legacy
		want []string
	}{
		{"no source", []redsession.Legacy{{Cookie: "old"}}, []string{"Config.Adopt[0].Source", "no name"}},
		{"a source with a colon", []redsession.Legacy{{Source: "a:b", Cookie: "old"}}, []string{"Config.Adopt[0].Source", `"a:b"`}},
		{"no cookie", []redsession.Legacy{{Source: "scs"}}, []string{"Config.Adopt[0].Cookie", "what the old package called it"}},
		{"a cookie with a space", []redsession.Legacy{{Source: "scs", Cookie: "a b"}}, []string{"Config.Adopt[0].Cookie", `"a b"`}},
		{"a domain with a line break", []redsession.Legacy{{Source: "scs", Cookie: "old", Domain: "example.com\r\nX: y"}}, []string{"Config.Adopt[0].Domain", "no domain name"}},
		{"a path with another attribute", []redsession.Legacy{{Source: "scs", Cookie: "old", Path: "/app; Domain=example.com"}}, []string{"Config.Adopt[0].Path", "no semicolon"}},
		{"a path without its slash", []redsession.Legacy{{Source: "scs", Cookie: "old", Path: "app"}}, []string{"Config.Adopt[0].Path", `must begin with "/"`}},
		{"our cookie side by side", []redsession.Legacy{{Source: "scs", Cookie: "__Host-session", SideBySide: true}}, []string{"Config.Adopt[0].SideBySide", "Config.Cookie.Name"}},
		{"the same twice", []redsession.Legacy{{Source: "scs", Cookie: "old"}, {Source: "scs", Cookie: "old"}}, []string{"Config.Adopt[1]", "same as [0]"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			wantError(t, newManager(t, redsession.Config{URL: nowhere, Secrets: [][]byte{secret}, Adopt: row.list}), row.want...)
		})
	}
	for name, list := range map[string][]redsession.Legacy{
		"one cookie of two kinds": {{Source: "a", Cookie: "old"}, {Source: "b", Cookie: "old"}},
		"our own cookie's name":   {{Source: "a", Cookie: "__Host-session"}},
	} {
		if err := newManager(t, redsession.Config{URL: nowhere, Secrets: [][]byte{secret}, Adopt: list}); err != nil {
			t.Errorf("%s: got %v, want it accepted", name, err)
		}
	}
}

func TestAnAdoptedSessionIsHitAtTheUsualPrice(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		for _, side := range []bool{false, true} {
			old := olds(e, "one")
			l := old.legacy()
			l.SideBySide = side
			m, c := e.counted(t, adopting(l))
			st := newStage(t, m).comes("one")
			st.must()
			st.must() // the new id is seen
			if side != (st.old() == "one") || side != old.has("one") {
				t.Errorf("side by side %t: got the old cookie %q and the old session there %t", side, st.old(), old.has("one"))
			}
			c.take()
			if a := st.must(); c.take() != "GET EXPIRE in 1" || len(a.Cookies()) != 0 {
				t.Errorf("side by side %t: got another price than GET and EXPIRE, or cookies %v", side, a.Cookies())
			}
			st.must("login:alice")
			c.take()
			st.must()
			if got := c.take(); got != "GET EXPIRE in 1" {
				t.Errorf("side by side %t, after a login here: got %s, want GET EXPIRE in 1", side, got)
			}
			if st.must("logout"); st.old() != "" || old.has("one") {
				t.Errorf("side by side %t, after the logout: the old cookie or session is still there", side)
			}
			st.must()
			if got := c.take(); strings.Contains(got, "GET") && strings.HasSuffix(got, "in 1") {
				t.Errorf("side by side %t, without a cookie: got %s, want nothing", side, got)
			}
			e.client.FlushAll(t.Context())
		}
	})
}

func TestAnAdoptedCookieThatVerifyRefusesCostsNothing(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		old := olds(e, "good", strings.Repeat("x", 1025))
		l := old.legacy()
		l.Verify = func(v string) (string, error) {
			id, ok := strings.CutPrefix(v, "s:")
			if !ok {
				return "", errors.New("not signed")
			}
			return id, nil
		}
		m, c := e.counted(t, adopting(l))
		for name, cookies := range map[string][]string{
			"garbage":           {"oldsid=good"},
			"an empty id":       {"oldsid=s:"},
			"an over-long id":   {"oldsid=s:" + strings.Repeat("x", 1025)},
			"four and the good": {"oldsid=a", "oldsid=b", "oldsid=c", "oldsid=d", "oldsid=s:good"},
			"no value":          {"oldsid="},
		} {
			if a := sends(m, "", cookies...); a.body != "" || c.take() != " in 0" || len(a.Cookies()) != 0 {
				t.Errorf("%s: got %q with cookies %v and commands, want an anonymous session for nothing", name, a.body, a.Cookies())
			}
		}
		if a := sends(m, "", "oldsid=a", "oldsid=b", "oldsid=c", "oldsid=s:good"); a.body != "alice cart=[tea]" {
			t.Errorf("the fourth is good: got %q, want alice's session", a.body)
		}
	})
}

func TestParallelRequestsAdoptOneSession(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		for _, imported := range []bool{false, true} {
			old := olds(e, "one")
			m, other := e.manager(t, patient, adopting(old.legacy())), e.manager(t, patient, adopting(old.legacy()))
			if imported {
				if _, err := m.Import(t.Context(), []redsession.LegacyRecord{oldSession(e, "one", "alice")}, false); err != nil {
					t.Fatal(err)
				}
			}
			st, second := newStage(t, m), newStage(t, other)
			parallel(20, func(i int) {
				s := []*stage{st, second}[i%2].comes("one")
				a := s.do("add:n", fmt.Sprintf("set:k%02d:1", i))
				if a.StatusCode != 200 || len(a.setCookies()) != 1 || len(a.named("oldsid")) != 1 || !strings.HasPrefix(a.body, "alice") {
					t.Errorf("imported %t: got %d %q and cookies %v, want alice, one cookie of ours and the old one's end", imported, a.StatusCode, a.body, a.Cookies())
				}
				if s.must(); s.cookie() == "" {
					t.Error("got no cookie")
				}
			})
			a := st.comes("one").must()
			if !strings.Contains(a.body, "n=20") || strings.Count(a.body, "=1") != 20 {
				t.Errorf("imported %t: got %q, want all that was written", imported, a.body)
			}
			if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != 1 || e.living(t) != 1 {
				t.Errorf("imported %t: got %d sessions (%v) and %d records, want 1", imported, len(infos), err, e.living(t))
			}
			e.client.FlushAll(t.Context())
		}
	})
}

func TestALostAdoptionLogsNobodyOut(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		old := olds(e, "one")
		m := e.manager(t, adopting(old.legacy()))
		st := newStage(t, m)
		st.comes("one").must("set:a:1") // its response is lost
		e.advance(t, 40*time.Hour)
		b := st.comes("one")
		if a := b.must(); a.body != "alice a=1 cart=[tea]" || len(a.setCookies()) != 1 {
			t.Errorf("the old cookie again: got %q and %v, want the session and its cookie", a.body, a.Cookies())
		}
		b.must()
		e.advance(t, 2*time.Minute)
		if a := st.comes("one").do(); a.body != "" {
			t.Errorf("a stolen old cookie, after the grace: got %q, want nobody", a.body)
		}
		if got := len(e.events.of(redsession.EventReplayed)); got != 1 {
			t.Errorf("got %d replays reported, want 1", got)
		}
		if got := b.must().body; got != "alice a=1 cart=[tea]" {
			t.Errorf("its owner: got %q, want the session", got)
		}
	})
}

func TestAdoptWhenTheOldStoreFails(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		old := olds(e, "usable-old-id")
		l, fails := old.legacy(), true
		l.Load = func(ctx context.Context, id string) (*redsession.LegacyRecord, error) {
			if fails {
				return nil, fmt.Errorf("open /var/sess_%s: refused", id)
			}
			return old.load(ctx, id)
		}
		l.Delete = func(_ context.Context, id string) error { return fmt.Errorf("remove /var/sess_%s: refused", id) }
		m := e.manager(t, adopting(l))
		st := newStage(t, m).comes("usable-old-id")
		if a := st.do(); a.StatusCode != http.StatusServiceUnavailable || len(a.Cookies()) != 0 {
			t.Errorf("Load fails: got %d and cookies %v, want 503 and none", a.StatusCode, a.Cookies())
		}
		if strings.Contains(e.events.log(), "usable-old-id") {
			t.Error("Load fails: the log holds the old id, which is as good as the cookie")
		}
		fails = false
		if a := st.must(); a.body != "alice cart=[tea]" {
			t.Errorf("Delete fails: got %q, want the session", a.body)
		}
		if got := len(e.events.of(redsession.EventFailed)); got != 2 {
			t.Errorf("got %d failures reported, want Load's and Delete's", got)
		}
		if strings.Contains(e.events.log(), "usable-old-id") {
			t.Error("Delete fails: the log holds the old id")
		}
		st.must("logout")
	})
}

func TestAdoptWhileRedisIsAway(t *testing.T) {
	old := &oldStore{sessions: make(map[string]redsession.LegacyRecord)}
	o := newOutage(t, adopting(old.legacy()))
	old.put(oldSession(o.env, "one", "alice"))
	o.down(t)
	st := o.st.comes("one")
	if got := outcome(st.do()); got != "503 retry" || st.old() != "one" || !old.has("one") {
		t.Errorf("got %s, want 503 and everything as it was", got)
	}
	if got := outcome(o.st.fork("").do()); got != "200" {
		t.Errorf("without any cookie: got %s, want 200", got)
	}
	o.up(t)
	if got := outcome(st.do()); got != "200 set alice cart=[tea]" {
		t.Errorf("afterwards: got %s, want alice", got)
	}
}

// The ways in which a session ends, each for a session that is imported only and
// for one that its owner has come back to. The old store still has it, for longer
// than any lifetime of ours.
func TestAnEndedSessionIsNotAdoptedAgain(t *testing.T) {
	type scene struct {
		m           *redsession.Manager
		st          *stage
		legacy, own string
	}
	ends := map[string]func(t *testing.T, e *env, s scene) error{
		"logout":            func(_ *testing.T, _ *env, s scene) error { s.st.must("logout"); return nil },
		"Revoke the old id": func(t *testing.T, _ *env, s scene) error { return s.m.Revoke(t.Context(), s.legacy) },
		"Revoke its id":     func(t *testing.T, _ *env, s scene) error { return s.m.Revoke(t.Context(), s.own) },
		"Revoke both": func(t *testing.T, _ *env, s scene) error {
			return errors.Join(s.m.Revoke(t.Context(), s.own), s.m.Revoke(t.Context(), s.legacy))
		},
		"Revoke twice": func(t *testing.T, _ *env, s scene) error {
			return errors.Join(s.m.Revoke(t.Context(), s.legacy), s.m.Revoke(t.Context(), s.legacy))
		},
		"RevokeUser": func(t *testing.T, _ *env, s scene) error { return second(s.m.RevokeUser(t.Context(), "alice")) },
		"RevokeAll":  func(t *testing.T, _ *env, s scene) error { return second(s.m.RevokeAll(t.Context())) },
		"RevokeUser by an operator without secrets": func(t *testing.T, e *env, _ scene) error {
			return second(e.operator(t, "").RevokeUser(t.Context(), "alice"))
		},
		"Revoke by an operator without secrets": func(t *testing.T, e *env, s scene) error {
			return e.operator(t, "").Revoke(t.Context(), s.legacy)
		},
		"MaxPerUser": func(_ *testing.T, _ *env, s scene) error { s.st.fork("").must("login:alice"); return nil },
	}
	plainRedis(t, func(t *testing.T, e *env) {
		for _, name := range slices.Sorted(maps.Keys(ends)) {
			for _, adopted := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, adopted %t", name, adopted), func(t *testing.T) {
					e.client.FlushAll(t.Context())
					old := olds(e, "one")
					lr := old.sessions["one"]
					lr.ExpiresAt = e.clock.Now().Add(60 * 24 * time.Hour)
					old.put(lr)
					l := old.legacy()
					l.Delete = nil
					m := e.manager(t, adopting(l), func(c *redsession.Config) { c.MaxPerUser = 1 })
					outcomes, err := m.Import(t.Context(), []redsession.LegacyRecord{lr}, false)
					if err != nil {
						t.Fatal(err)
					}
					s := scene{m, newStage(t, m).comes("one"), outcomes[0].ID, outcomes[0].ID}
					if adopted {
						s.own = s.st.must().Header.Get("X-Id")
						s.st.must()
					}
					if err := ends[name](t, e, s); err != nil {
						t.Fatal(err)
					}
					for _, later := range []time.Duration{0, 2 * time.Minute, 32 * 24 * time.Hour} {
						e.advance(t, later)
						if a := newStage(t, m).comes("one").do(); a.StatusCode != 200 || a.body != "" {
							t.Fatalf("%s later: got %d %q with the old cookie, want nobody", later, a.StatusCode, a.body)
						}
						if out, err := m.Import(t.Context(), []redsession.LegacyRecord{lr}, true); err != nil || out[0].Status != redsession.ImportEnded {
							t.Fatalf("%s later: got %v, %v for a forced import, want ImportEnded", later, out, err)
						}
					}
				})
			}
		}
	})
}

// Half of the requests go to servers of the old kind, which know nothing of us.
func TestAdoptBesideServersOfTheOldKind(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		old := olds(e, "one")
		m := e.manager(t, adopting(old.beside()))
		root := newStage(t, m)
		relogin := func(st *stage, id, user string) { // as an old package does it: another id
			old.put(oldSession(e, id, user))
			st.renew(id)
		}
		st := root.comes("one")
		if a := st.must("set:new:1"); a.body != "alice cart=[tea] new=1" || st.old() != "one" || !old.has("one") {
			t.Fatalf("got %q, the old cookie %q and the old session there %t, want both as they were", a.body, st.old(), old.has("one"))
		}
		first := root.fork(st.cookie())
		relogin(st, "two", "bob")
		if a := st.must(); a.body != "bob cart=[tea]" || len(a.setCookies()) != 1 {
			t.Errorf("a login as bob at an old server: got %q and %v, want bob", a.body, a.Cookies())
		}
		if a := first.do(); a.body != "" || len(a.setCookies()) != 0 {
			t.Errorf("a late request with the id before: got %q and cookies %v, want nobody, and the newer cookie left alone", a.body, a.Cookies())
		}
		st.must("logout")
		if st.old() != "" || st.cookie() != "" || old.has("two") || e.living(t) != 0 {
			t.Errorf("after the logout: got cookies %q and %q, the old session there %t, %d records; want nothing", st.old(), st.cookie(), old.has("two"), e.living(t))
		}
		if a := root.comes("two").must(); a.body != "" {
			t.Errorf("the old cookie after the logout: got %q, want nobody", a.body)
		}
		relogin(st, "three", "carol")
		if a := st.must(); a.body != "carol cart=[tea]" {
			t.Errorf("the next login at an old server: got %q, want carol", a.body)
		}
	})
}

func TestAdoptDoesNotDisplaceALoginMadeHere(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		old := &oldStore{sessions: make(map[string]redsession.LegacyRecord)}
		old.put(oldSession(e, "guest-1", ""))
		old.put(oldSession(e, "guest-2", ""))
		st := newStage(t, e.manager(t, adopting(old.beside()))).comes("guest-1")
		st.must("login:alice")
		st.renew("guest-2") // an old server, where nobody is logged in, began another session
		if a := st.must(); a.body != "alice cart=[tea]" {
			t.Errorf("got %q, want alice, who logged in at a new server", a.body)
		}
	})
}

func TestAnOldLoginIsAdoptedOverAnAnonymousSessionOfOurs(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		old := &oldStore{sessions: make(map[string]redsession.LegacyRecord)}
		old.put(oldSession(e, "one", "alice"))
		st := newStage(t, e.manager(t, adopting(old.beside()))).fork("")
		st.must("set:seen:1") // the first visit comes to a new server
		st.renew("one")       // the login to an old one
		if a := st.must(); a.body != "alice cart=[tea]" {
			t.Errorf("got %q, want alice, who logged in at an old server", a.body)
		}
	})
}

func TestAmongSeveralAdoptedCookiesTheSessionStays(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		old := olds(e, "mine")
		old.put(oldSession(e, "planted", "mallory"))
		m := e.manager(t, adopting(old.beside()))
		st := newStage(t, m).comes("mine")
		st.must()
		for _, cookies := range [][]string{{"oldsid=mine", "oldsid=planted"}, {"oldsid=planted", "oldsid=mine"}} {
			if a := sends(m, "", append(cookies, "session="+st.cookie())...); a.body != "alice cart=[tea]" || len(a.Cookies()) != 0 {
				t.Errorf("%v: got %q and cookies %v, want alice's session as it was", cookies, a.body, a.Cookies())
			}
		}
	})
}

func TestAnAdoptedIDIsOfNoUseInAnotherKindOfCookie(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		l := redsession.Legacy{Source: "signed", Cookie: "signedsid", Verify: func(v string) (string, error) {
			id, ok := strings.CutPrefix(v, "s:")
			if !ok {
				return "", errors.New("not signed")
			}
			return id, nil
		}}
		m := e.manager(t, adopting(redsession.Legacy{Source: "plain", Cookie: "plainsid"}, l))
		lr := oldSession(e, "in-many-logs", "alice")
		lr.Source = "signed"
		if _, err := m.Import(t.Context(), []redsession.LegacyRecord{lr}, false); err != nil {
			t.Fatal(err)
		}
		for _, row := range []struct{ cookie, want string }{
			{"plainsid=in-many-logs", ""}, {"signedsid=in-many-logs", ""}, {"signedsid=s:in-many-logs", "alice cart=[tea]"}, {"plainsid=in-many-logs", ""},
		} {
			if a := sends(m, "", row.cookie); a.body != row.want {
				t.Errorf("%s: got %q, want %q", row.cookie, a.body, row.want)
			}
		}
		if a := sends(m, "", "plainsid=in-many-logs", "signedsid=s:in-many-logs"); a.body != "alice cart=[tea]" {
			t.Errorf("both: got %q, want what the signed one leads to", a.body)
		}
	})
}

func TestAdoptUnderOurOwnCookiesName(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		old := olds(e, "one")
		var asked []string
		l := redsession.Legacy{Source: "old", Cookie: "session", Load: func(ctx context.Context, id string) (*redsession.LegacyRecord, error) {
			asked = append(asked, id)
			return old.load(ctx, id)
		}, Delete: func(ctx context.Context, id string) error {
			asked = append(asked, id)
			return old.remove(ctx, id)
		}}
		m := e.manager(t, adopting(l))
		st := newStage(t, m).fork("one")
		if a := st.must(); a.body != "alice cart=[tea]" || len(a.Cookies()) != 1 || st.cookie() == "one" {
			t.Fatalf("got %q and cookies %v, want alice and one cookie in the place of the old one", a.body, a.Cookies())
		}
		keep := st.fork(st.cookie())
		st.must("logout")
		keep.do()
		e.advance(t, time.Hour)
		keep.do()
		for _, id := range asked {
			if id != "one" {
				t.Error("the old store was asked for a cookie of ours")
			}
		}
		if got := len(e.keys(t)); got != 1 {
			t.Errorf("an hour after the logout: got %d keys, want the old id's tombstone", got)
		}
	})
}

func TestAdoptByHeader(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t, adopting(olds(e, "one").beside()), func(c *redsession.Config) { c.Header = "X-Session" })
		// A script cannot read the old cookie, but its browser sends it.
		for name, lines := range map[string][]string{
			"an empty header of a script": {"X-Session: ", "Sec-Fetch-Site: same-origin"},
			"another header of a script":  {"X-Session: junk", "Sec-Fetch-Site: same-origin"},
			"a browser of old":            nil,
		} {
			if a := sends(m, "", append(lines, "oldsid=one")...); a.Header.Get("X-Session") != "" {
				t.Errorf("%s: got the session in a header that scripts can read", name)
			}
		}
		if a := sends(m, "", "oldsid=one"); a.body != "alice cart=[tea]" || len(a.setCookies()) != 1 {
			t.Errorf("without the header: got %q and cookies %v, want alice and one", a.body, a.Cookies())
		}
	})
}

func TestTheOldCookieOfAnAdoptedSessionIsExpiredOnceAndSecurely(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		l := olds(e, "one", "two").legacy()
		l.Cookie, l.Path, l.Domain = "__Secure-old", "/app", "example.com"
		m := e.manager(t, adopting(l))
		a := sends(m, "logout", "__Secure-old=one", "__Secure-old=two")
		if got := a.named("__Secure-old"); len(got) != 1 || !got[0].Secure || got[0].MaxAge >= 0 || got[0].Path != "/app" || got[0].Domain != "example.com" {
			t.Errorf("got %v, want it expired by one header, which browsers take only with Secure", got)
		}
		if a.Header.Get("Cache-Control") != "no-store" || !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), "Cookie") {
			t.Errorf("got Cache-Control %q and Vary %q, want no-store and Cookie", a.Header.Get("Cache-Control"), a.Header.Values("Vary"))
		}
	})
}

func TestLifetimesOfAnAdoptedSession(t *testing.T) {
	const day = 24 * time.Hour
	eachRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t, adopting(redsession.Legacy{Source: "old", Cookie: "oldsid"}))
		root := newStage(t, m, handlers{
			"/times": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				fmt.Fprint(w, s.LoggedIn(), s.AuthTime().IsZero())
			},
			"/recent": func(w http.ResponseWriter, r *http.Request, _ *redsession.Session) {
				m.RequireRecentLogin(50*365*day)(http.NotFoundHandler()).ServeHTTP(w, r)
			},
		})
		add := func(id string, change func(*redsession.LegacyRecord)) *stage {
			t.Helper()
			lr := oldSession(e, id, "alice")
			change(&lr)
			if out, err := m.Import(t.Context(), []redsession.LegacyRecord{lr}, false); err != nil || out[0].Status != redsession.ImportStored {
				t.Fatalf("got %v, %v, want it stored", out, err)
			}
			return root.comes(id)
		}
		late := add("ends", func(lr *redsession.LegacyRecord) { lr.ExpiresAt = e.clock.Now().Add(time.Hour) })
		for range 4 { // somebody knocks who is refused elsewhere, or a list is made
			e.advance(t, 20*time.Minute)
			if _, err := m.Sessions(t.Context(), "alice"); err != nil {
				t.Fatal(err)
			}
		}
		if got := late.must().body; got != "" {
			t.Errorf("past its end: got %q, want nobody", got)
		}
		unknown := add("unknown", func(lr *redsession.LegacyRecord) { lr.CreatedAt = time.Time{} })
		if got := unknown.get("/times").body; got != "true true" {
			t.Errorf("an unknown login: got %q, want a user and no time", got)
		}
		if got := unknown.get("/recent").StatusCode; got != http.StatusUnauthorized {
			t.Errorf("an unknown login asked to be recent: got %d, want 401", got)
		}
		aged := add("aged", func(lr *redsession.LegacyRecord) { lr.CreatedAt = e.clock.Now().Add(-29 * day) })
		if got := aged.get("/recent").StatusCode; got != http.StatusNotFound {
			t.Errorf("a known login: got %d, want it passed on", got)
		}
		e.advance(t, day+23*time.Hour)
		if got := aged.must().body; got != "alice cart=[tea]" {
			t.Errorf("older than AbsoluteTimeout, but with time left: got %q, want alice", got)
		}
		e.advance(t, 2*time.Hour)
		if got := aged.must().body; got != "" {
			t.Errorf("past what it had left: got %q, want nobody", got)
		}
		kept := add("kept", func(lr *redsession.LegacyRecord) { lr.Persistent = true }).must().setCookies()
		if len(kept) != 1 || kept[0].MaxAge < int((29*day)/time.Second) {
			t.Errorf("a persistent one: got %v, want a cookie that outlives the browser", kept)
		}
		if got := add("brief", func(*redsession.LegacyRecord) {}).must().setCookies(); len(got) != 1 || got[0].MaxAge != 0 {
			t.Errorf("one for the browser's session: got %v, want a cookie without Max-Age", got)
		}
		for i, created := range []time.Time{time.Unix(-1, 0), time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), e.clock.Now().Add(day)} {
			if got := add(fmt.Sprint("odd", i), func(lr *redsession.LegacyRecord) { lr.CreatedAt = created }).must().body; got != "alice cart=[tea]" {
				t.Errorf("created at %s: got %q, want alice", created, got)
			}
		}
	})
}

func TestAdoptWithTheOtherOptions(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		var st stamps
		st.set("hash-1", nil)
		old := olds(e, "one", "two")
		m, c := e.counted(t, adopting(old.legacy()), st.configure, func(c *redsession.Config) {
			c.Encrypt, c.MaxPerUser = true, 1
			c.Skip = func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/static") }
		})
		root := newStage(t, m)
		b := root.comes("one")
		skipped := httptest.NewRequest("GET", "/static/logo.svg", nil)
		skipped.Header.Set("Cookie", "oldsid=one")
		if m.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), skipped); c.take() != " in 0" || !old.has("one") {
			t.Error("a skipped request adopted a session")
		}
		st.set("", errors.New("down"))
		if a := b.do(); a.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("UserStamp fails: got %d, want 503", a.StatusCode)
		}
		st.set("hash-1", nil)
		if got := b.must().body; got != "alice cart=[tea]" {
			t.Errorf("got %q, want alice", got)
		}
		for _, raw := range e.dump(t) {
			if strings.Contains(raw, "tea") {
				t.Error("Redis holds a value in clear")
			}
		}
		second := root.comes("two")
		if got := second.must().body + "," + b.must().body; got != "alice cart=[tea],alice cart=[tea]" {
			t.Errorf("MaxPerUser 1: got %q, want two, as only a login ends others", got)
		}
		st.set("hash-2", nil)
		if got := b.must().body; got != "" {
			t.Errorf("after the password changed: got %q, want nobody", got)
		}
		if got := root.comes("one").must().body; got != "" {
			t.Errorf("the old cookie after the password changed: got %q, want nobody", got)
		}
		root.fork("").must("login:alice")
		if got := second.must().body; got != "" {
			t.Errorf("after another login: got %q, want nobody", got)
		}
	})
}
