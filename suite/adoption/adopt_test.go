package adoption_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// olds makes an old store with these sessions, all alice's.
func olds(e *stage.Env, ids ...string) *stage.OldStore {
	o := &stage.OldStore{}
	for _, id := range ids {
		o.Put(stage.OldSession(e, id, "alice"))
	}
	return o
}

func TestAdoptionMistakesInConfigAreRefused(t *testing.T) {
	t.Parallel()
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
			stage.WantError(t, stage.CheckConfig(t, redsession.Config{URL: stage.Nowhere, Secrets: [][]byte{stage.Secret}, Adopt: row.list}), row.want...)
		})
	}
	for name, list := range map[string][]redsession.Legacy{
		"one cookie of two kinds": {{Source: "a", Cookie: "old"}, {Source: "b", Cookie: "old"}},
		"our own cookie's name":   {{Source: "a", Cookie: "__Host-session"}},
	} {
		if err := stage.CheckConfig(t, redsession.Config{URL: stage.Nowhere, Secrets: [][]byte{stage.Secret}, Adopt: list}); err != nil {
			t.Errorf("%s: got %v, want it accepted", name, err)
		}
	}
}

func TestAdoptionLeavesHitsAtTheUsualPrice(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for _, side := range []bool{false, true} {
			old := olds(e, "one")
			l := old.Legacy()
			l.SideBySide = side
			m, c := e.Counted(t, stage.Adopting(l))
			st := stage.NewScripted(t, m).WithOldCookie("one")
			st.Must()
			st.Must() // the new id is seen
			if side != (oldCookie(st.Browser) == "one") || side != old.Has("one") {
				t.Errorf("side by side %t: got the old cookie %q and the old session there %t", side, oldCookie(st.Browser), old.Has("one"))
			}
			c.Take()
			if a := st.Must(); c.Take() != "GET EXPIRE in 1" || len(a.Cookies()) != 0 {
				t.Errorf("side by side %t: got another price than GET and EXPIRE, or cookies %v", side, a.Cookies())
			}
			st.Must("login:alice")
			c.Take()
			st.Must()
			if got := c.Take(); got != "GET EXPIRE in 1" {
				t.Errorf("side by side %t, after a login here: got %s, want GET EXPIRE in 1", side, got)
			}
			if st.Must("logout"); oldCookie(st.Browser) != "" || old.Has("one") {
				t.Errorf("side by side %t, after the logout: the old cookie or session is still there", side)
			}
			st.Must()
			if got := c.Take(); strings.Contains(got, "GET") && strings.HasSuffix(got, "in 1") {
				t.Errorf("side by side %t, without a cookie: got %s, want nothing", side, got)
			}
			e.Client.FlushAll(t.Context())
		}
	})
}

func TestAdoptionByParallelRequestsMakesOneSession(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for _, imported := range []bool{false, true} {
			old := olds(e, "one")
			m, other := e.Manager(t, stage.Patient, stage.Adopting(old.Legacy())), e.Manager(t, stage.Patient, stage.Adopting(old.Legacy()))
			if imported {
				if _, err := m.Import(t.Context(), []redsession.LegacyRecord{stage.OldSession(e, "one", "alice")}, false); err != nil {
					t.Fatal(err)
				}
			}
			st, second := stage.NewScripted(t, m), stage.NewScripted(t, other)
			stage.Parallel(20, func(i int) {
				s := []*stage.Scripted{st, second}[i%2].WithOldCookie("one")
				a := s.Do("add:n", fmt.Sprintf("set:k%02d:1", i))
				if a.StatusCode != 200 || len(a.SetCookies()) != 1 || len(named(a, "oldsid")) != 1 || !strings.HasPrefix(a.Text, "alice") {
					t.Errorf("imported %t: got %d %q and cookies %v, want alice, one cookie of ours and the old one's end", imported, a.StatusCode, a.Text, a.Cookies())
				}
				if s.Must(); s.Cookie() == "" {
					t.Error("got no cookie")
				}
			})
			a := st.WithOldCookie("one").Must()
			if !strings.Contains(a.Text, "n=20") || strings.Count(a.Text, "=1") != 20 {
				t.Errorf("imported %t: got %q, want all that was written", imported, a.Text)
			}
			if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != 1 || e.Living(t) != 1 {
				t.Errorf("imported %t: got %d sessions (%v) and %d records, want 1", imported, len(infos), err, e.Living(t))
			}
			e.Client.FlushAll(t.Context())
		}
	})
}

func TestAdoptionWithALostReplyLogsNobodyOut(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		old := olds(e, "one")
		m := e.Manager(t, stage.Adopting(old.Legacy()))
		st := stage.NewScripted(t, m)
		st.WithOldCookie("one").Must("set:a:1") // its response is lost
		e.Advance(t, 40*time.Hour)
		b := st.WithOldCookie("one")
		if a := b.Must(); a.Text != "alice a=1 cart=[tea]" || len(a.SetCookies()) != 1 {
			t.Errorf("the old cookie again: got %q and %v, want the session and its cookie", a.Text, a.Cookies())
		}
		b.Must()
		e.Advance(t, 2*time.Minute)
		if a := st.WithOldCookie("one").Do(); a.Text != "" {
			t.Errorf("a stolen old cookie, after the grace: got %q, want nobody", a.Text)
		}
		if got := len(e.Events.Of(redsession.EventReplayed)); got != 1 {
			t.Errorf("got %d replays reported, want 1", got)
		}
		if got := b.Must().Text; got != "alice a=1 cart=[tea]" {
			t.Errorf("its owner: got %q, want the session", got)
		}
	})
}

func TestAdoptionWhenTheOldStoreFails(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		old := olds(e, "usable-old-id")
		l, fails := old.Legacy(), true
		l.Load = func(ctx context.Context, id string) (*redsession.LegacyRecord, error) {
			if fails {
				return nil, fmt.Errorf("open /var/sess_%s: refused", id)
			}
			return old.Load(ctx, id)
		}
		l.Delete = func(_ context.Context, id string) error { return fmt.Errorf("remove /var/sess_%s: refused", id) }
		m := e.Manager(t, stage.Adopting(l))
		st := stage.NewScripted(t, m).WithOldCookie("usable-old-id")
		if a := st.Do(); a.StatusCode != http.StatusServiceUnavailable || len(a.Cookies()) != 0 {
			t.Errorf("Load fails: got %d and cookies %v, want 503 and none", a.StatusCode, a.Cookies())
		}
		if strings.Contains(e.Events.Log(), "usable-old-id") {
			t.Error("Load fails: the log holds the old id, which is as good as the cookie")
		}
		fails = false
		if a := st.Must(); a.Text != "alice cart=[tea]" {
			t.Errorf("Delete fails: got %q, want the session", a.Text)
		}
		if got := len(e.Events.Of(redsession.EventFailed)); got != 2 {
			t.Errorf("got %d failures reported, want Load's and Delete's", got)
		}
		if strings.Contains(e.Events.Log(), "usable-old-id") {
			t.Error("Delete fails: the log holds the old id")
		}
		st.Must("logout")
	})
}

func TestAdoptionWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	old := &stage.OldStore{}
	o := stage.NewOutage(t, stage.Adopting(old.Legacy()))
	old.Put(stage.OldSession(o.Env, "one", "alice"))
	o.Down(t)
	st := o.Here.WithOldCookie("one")
	if got := stage.Outcome(st.Do()); got != "503 retry" || oldCookie(st.Browser) != "one" || !old.Has("one") {
		t.Errorf("got %s, want 503 and everything as it was", got)
	}
	if got := stage.Outcome(o.Here.Fork("").Do()); got != "200" {
		t.Errorf("without any cookie: got %s, want 200", got)
	}
	o.Up(t)
	if got := stage.Outcome(st.Do()); got != "200 set alice cart=[tea]" {
		t.Errorf("afterwards: got %s, want alice", got)
	}
}

// Half of the requests go to servers of the old kind, which know nothing of us.
func TestAdoptionBesideServersOfTheOldKind(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		old := olds(e, "one")
		m := e.Manager(t, stage.Adopting(old.SideBySide()))
		root := stage.NewScripted(t, m)
		relogin := func(st *stage.Scripted, id, user string) { // as an old package does it: another id
			old.Put(stage.OldSession(e, id, user))
			st.RenewOldCookie(id)
		}
		st := root.WithOldCookie("one")
		if a := st.Must("set:new:1"); a.Text != "alice cart=[tea] new=1" || oldCookie(st.Browser) != "one" || !old.Has("one") {
			t.Fatalf("got %q, the old cookie %q and the old session there %t, want both as they were", a.Text, oldCookie(st.Browser), old.Has("one"))
		}
		first := root.Fork(st.Cookie())
		relogin(st, "two", "bob")
		if a := st.Must(); a.Text != "bob cart=[tea]" || len(a.SetCookies()) != 1 {
			t.Errorf("a login as bob at an old server: got %q and %v, want bob", a.Text, a.Cookies())
		}
		if a := first.Do(); a.Text != "" || len(a.SetCookies()) != 0 {
			t.Errorf("a late request with the id before: got %q and cookies %v, want nobody, and the newer cookie left alone", a.Text, a.Cookies())
		}
		st.Must("logout")
		if oldCookie(st.Browser) != "" || st.Cookie() != "" || old.Has("two") || e.Living(t) != 0 {
			t.Errorf("after the logout: got cookies %q and %q, the old session there %t, %d records; want nothing", oldCookie(st.Browser), st.Cookie(), old.Has("two"), e.Living(t))
		}
		if a := root.WithOldCookie("two").Must(); a.Text != "" {
			t.Errorf("the old cookie after the logout: got %q, want nobody", a.Text)
		}
		relogin(st, "three", "carol")
		if a := st.Must(); a.Text != "carol cart=[tea]" {
			t.Errorf("the next login at an old server: got %q, want carol", a.Text)
		}
	})
}

func TestAdoptionDoesNotDisplaceALoginMadeHere(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		old := &stage.OldStore{}
		old.Put(stage.OldSession(e, "guest-1", ""))
		old.Put(stage.OldSession(e, "guest-2", ""))
		st := stage.NewScripted(t, e.Manager(t, stage.Adopting(old.SideBySide()))).WithOldCookie("guest-1")
		st.Must("login:alice")
		st.RenewOldCookie("guest-2") // an old server, where nobody is logged in, began another session
		if a := st.Must(); a.Text != "alice cart=[tea]" {
			t.Errorf("got %q, want alice, who logged in at a new server", a.Text)
		}
	})
}

func TestAdoptionOfALoginOverAnAnonymousSessionOfOurs(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		old := &stage.OldStore{}
		old.Put(stage.OldSession(e, "one", "alice"))
		st := stage.NewScripted(t, e.Manager(t, stage.Adopting(old.SideBySide()))).Fork("")
		st.Must("set:seen:1")    // the first visit comes to a new server
		st.RenewOldCookie("one") // the login to an old one
		if a := st.Must(); a.Text != "alice cart=[tea]" {
			t.Errorf("got %q, want alice, who logged in at an old server", a.Text)
		}
	})
}

func TestAdoptionWithTheOtherOptions(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		var st stage.Stamps
		st.Set("hash-1", nil)
		old := olds(e, "one", "two")
		m, c := e.Counted(t, stage.Adopting(old.Legacy()), st.Configure, func(c *redsession.Config) {
			c.Encrypt, c.MaxPerUser = true, 1
			c.Skip = func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/static") }
		})
		root := stage.NewScripted(t, m)
		b := root.WithOldCookie("one")
		skipped := httptest.NewRequest("GET", "/static/logo.svg", nil)
		skipped.Header.Set("Cookie", "oldsid=one")
		if m.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), skipped); c.Take() != " in 0" || !old.Has("one") {
			t.Error("a skipped request adopted a session")
		}
		st.Set("", errors.New("down"))
		if a := b.Do(); a.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("UserStamp fails: got %d, want 503", a.StatusCode)
		}
		st.Set("hash-1", nil)
		if got := b.Must().Text; got != "alice cart=[tea]" {
			t.Errorf("got %q, want alice", got)
		}
		for _, raw := range e.Dump(t) {
			if strings.Contains(raw, "tea") {
				t.Error("Redis holds a value in clear")
			}
		}
		second := root.WithOldCookie("two")
		if got := second.Must().Text + "," + b.Must().Text; got != "alice cart=[tea],alice cart=[tea]" {
			t.Errorf("MaxPerUser 1: got %q, want two, as only a login ends others", got)
		}
		st.Set("hash-2", nil)
		if got := b.Must().Text; got != "" {
			t.Errorf("after the password changed: got %q, want nobody", got)
		}
		if got := root.WithOldCookie("one").Must().Text; got != "" {
			t.Errorf("the old cookie after the password changed: got %q, want nobody", got)
		}
		root.Fork("").Must("login:alice")
		if got := second.Must().Text; got != "" {
			t.Errorf("after another login: got %q, want nobody", got)
		}
	})
}
