package facts_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

const sid = "https://idp.example|08a5019c"

// everywhere runs test on one node, with plans in one script and in parts, and on a cluster.
func everywhere(t *testing.T, test func(t *testing.T, e *stage.Env, maker stage.Maker)) {
	t.Helper()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range e.BothWays() {
			t.Run(way, func(t *testing.T) {
				e.Client.FlushAll(t.Context())
				test(t, e, maker)
			})
		}
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		e := stage.FlavourNamed(t, "cluster").Env(t)
		test(t, e, e.Manager)
	})
}

// entries returns what lies in all indexes of users, or of tags.
func entries(t *testing.T, e *stage.Env, of string) (ids []string) {
	t.Helper()
	for _, key := range e.Client.Keys(t.Context(), "session:"+of+":*").Val() {
		ids = append(ids, e.Client.ZRange(t.Context(), key, 0, -1).Val()...)
	}
	return slices.DeleteFunc(ids, func(id string) bool { return id == "*" })
}

// A provider ends the sessions that it knows by one id: three round trips, however often they have got new ids.
func TestTaggedSessionsAreFoundAndEndedOverRotations(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, e *stage.Env, maker stage.Maker) {
		m, count := e.CountedBy(t, maker)
		var bs []*stage.Scripted
		for _, user := range []string{"alice", "alice", "bob"} {
			st := stage.NewScripted(t, m)
			st.Must("login:" + user + ":tag=org,tag=" + sid)
			bs = append(bs, st)
		}
		rest := stage.NewScripted(t, m)
		rest.Must("login:alice:tag=" + sid + "2")
		for range 4 {
			e.Advance(t, 3*time.Hour)
			for _, b := range append(bs, rest) {
				b.Must()
				b.Must()
			}
			stage.Until(t, "the entries of the rotated ids alone", func() bool { return len(entries(t, e, "tag")) == 7 })
		}
		count.Take()
		infos, err := m.Tagged(t.Context(), sid)
		if got := count.Trips(); len(infos) != 3 || err != nil || got != 2 {
			t.Errorf("got %d sessions, %v in %d round trips, want 3 in 2", len(infos), err, got)
		}
		count.Take()
		n, err := m.RevokeTagged(t.Context(), sid)
		want := 3
		if e.Mini == nil && strings.HasSuffix(t.Name(), "cluster") || strings.HasSuffix(t.Name(), "in_parts") {
			want = 4
		}
		if got := count.Trips(); n != 3 || err != nil || got != want {
			t.Errorf("got %d ended, %v in %d round trips, want 3 in %d", n, err, got, want)
		}
		for i, b := range bs {
			if got := b.Must().Text; got != "" {
				t.Errorf("session %d reads %q, want it ended", i, got)
			}
		}
		if got := rest.Must().Text; got != "alice" {
			t.Errorf("got %q of a session with another tag, want alice", got)
		}
		if left := entries(t, e, "tag"); len(left) != 1 {
			t.Errorf("got the entries %v, want that of the other tag alone", left)
		}
		if n, err := m.RevokeTagged(t.Context(), sid); n != 0 || err != nil {
			t.Errorf("got %d, %v once more, want none", n, err)
		}
	})
}

func TestTaggedSessionsByTheHundred(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, e *stage.Env, maker stage.Maker) {
		m := maker(t)
		st := stage.NewScripted(t, m)
		const many = 300
		for i := range many {
			st.Fork("").Must(fmt.Sprintf("login:user%d:tag=org", i%7))
		}
		if infos, err := m.Tagged(t.Context(), "org"); len(infos) != many || err != nil {
			t.Errorf("got %d sessions, %v, want %d", len(infos), err, many)
		}
		if n, err := m.RevokeTagged(t.Context(), "org"); n != many || err != nil {
			t.Errorf("got %d ended, %v, want %d", n, err, many)
		}
		for i := range 7 {
			if infos, err := m.Sessions(t.Context(), fmt.Sprintf("user%d", i)); len(infos) != 0 || err != nil {
				t.Errorf("got %d sessions of user %d, %v, want none", len(infos), i, err)
			}
		}
		if n, err := m.Count(t.Context()); n != 0 || err != nil {
			t.Errorf("got %d sessions left, %v, want none", n, err)
		}
	})
}

// However a session ends, it leaves no entry under its tags.
func TestTaggedSessionsLeaveNoEntries(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, e *stage.Env, maker stage.Maker) {
		m := maker(t, func(c *redsession.Config) { c.MaxPerUser = 2 })
		operator := e.Operator(t, "")
		for name, end := range map[string]func(b *stage.Scripted) error{
			"a logout":                 func(b *stage.Scripted) error { b.Must("logout"); return nil },
			"a login as another user":  func(b *stage.Scripted) error { b.Must("login:bob"); return nil },
			"a login with another tag": func(b *stage.Scripted) error { b.Must("login:alice:tag=other"); return nil },
			"half of a login":          func(b *stage.Scripted) error { b.Must("half:alice"); return nil },
			"a revocation":             func(b *stage.Scripted) error { return m.Revoke(t.Context(), b.Must().Header.Get("X-Id")) },
			"a revocation by its owner": func(b *stage.Scripted) error {
				_, err := m.RevokeOf(t.Context(), "alice", b.Must().Header.Get("X-Id"))
				return err
			},
			"a revocation of the user's":                  func(*stage.Scripted) error { _, err := m.RevokeUser(t.Context(), "alice"); return err },
			"a revocation of the user's, without secrets": func(*stage.Scripted) error { _, err := operator.RevokeUser(t.Context(), "alice"); return err },
			"a revocation, without secrets":               func(b *stage.Scripted) error { return operator.Revoke(t.Context(), b.Must().Header.Get("X-Id")) },
			"a revocation of all":                         func(*stage.Scripted) error { _, err := m.RevokeAll(t.Context()); return err },
			"too many logins": func(b *stage.Scripted) error {
				for range 2 {
					e.Advance(t, time.Second)
					b.Fork("").Must("login:alice")
				}
				return nil
			},
			"a rotation and a logout": func(b *stage.Scripted) error {
				before := b.Must("rotate").Header.Get("X-Id")
				b.Must()
				stage.Until(t, "the entries of the new id alone", func() bool { return !slices.Contains(entries(t, e, "tag"), before) })
				b.Must("logout")
				return nil
			},
			"its end by time, once somebody lists": func(*stage.Scripted) error {
				e.Advance(t, 8*24*time.Hour)
				_, err := m.Tagged(t.Context(), "a")
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				e.Advance(t, 20*time.Minute) // past the marks of those before
				st := stage.NewScripted(t, m)
				st.Must("login:alice:tag=a,tag=b")
				e.Advance(t, 11*time.Minute)
				id := st.Must().Header.Get("X-Id")
				if err := end(st); err != nil {
					t.Fatal(err)
				}
				if name == "its end by time, once somebody lists" {
					if _, err := m.Tagged(t.Context(), "b"); err != nil {
						t.Fatal(err)
					}
				}
				stage.Until(t, "the entries to go", func() bool { return !slices.Contains(entries(t, e, "tag"), id) })
				if _, err := m.RevokeUser(t.Context(), "bob"); err != nil {
					t.Fatal(err)
				}
				if _, err := m.RevokeUser(t.Context(), "alice"); err != nil {
					t.Fatal(err)
				}
				stage.Until(t, "all entries to go", func() bool { return len(entries(t, e, "tag")) == 0 })
			})
		}
	})
}

// A login whose password was checked before its tag was revoked is refused, however far it has come, and no other.
func TestTaggedLoginsUnderWayAreRefused(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, e *stage.Env, maker stage.Maker) {
		m := maker(t)
		st := stage.NewScripted(t, m, stage.Handlers{"/revoke": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
			if _, err := m.RevokeTagged(r.Context(), "a"); err != nil {
				t.Error(err)
			}
			s.Login("alice", redsession.Tag("a"))
		}})
		half, again := st.Fork(""), st.Fork("")
		half.Must("half:alice:tag=b,tag=a")
		again.Must("login:alice:tag=b")
		for name, held := range map[string]func() stage.Answer{
			"a login":                        st.Fork("").Hold("hold login:alice:tag=a"),
			"a login with another tag first": st.Fork("").Hold("hold login:carol:tag=b,tag=a"),
			"a second factor":                half.Fork(half.Cookie()).Hold("hold promote"),
			"a login of who has logged in":   again.Fork(again.Cookie()).Hold("hold login:alice:tag=a"),
			"another user's login, likewise": again.Fork(again.Cookie()).Hold("hold login:bob:tag=a"),
		} {
			e.Advance(t, time.Millisecond)
			if _, err := m.RevokeTagged(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			if a := held(); a.StatusCode != http.StatusConflict || len(a.SetCookies()) != 0 {
				t.Errorf("%s: got %d and the cookies %v, want 409 and none", name, a.StatusCode, a.SetCookies())
			}
		}
		if a := half.Do("promote"); a.StatusCode != http.StatusConflict {
			t.Errorf("a second factor later: got %d, want 409", a.StatusCode)
		}
		for name, ops := range map[string]string{"a login without the tag": "login:alice:tag=b", "a login that began later": "login:alice:tag=a"} {
			e.Advance(t, time.Millisecond)
			if a := st.Fork("").Do(ops); a.StatusCode != http.StatusOK {
				t.Errorf("%s: got %d, want 200", name, a.StatusCode)
			}
		}
		e.Advance(t, time.Millisecond)
		b := st.Fork("")
		if a := b.Get("/revoke"); a.StatusCode != http.StatusOK {
			t.Errorf("a login after the revocation in one request: got %d, want 200", a.StatusCode)
		}
		if infos, err := m.Tagged(t.Context(), "a"); len(infos) != 1 || err != nil {
			t.Errorf("got %d sessions, %v, want that of the last alone", len(infos), err)
		}
	})
}
