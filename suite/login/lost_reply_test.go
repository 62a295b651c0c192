package login_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

func speaksOfSession(args []string) bool {
	return stage.SetsTombstone(args) || args[0] == "GET"
}

func TestLoginWithALostReplyCanBeRepeated(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		direct := stage.NewScripted(t, e.Manager(t))
		for _, row := range []struct {
			name   string
			make   stage.Maker
			pick   func(args []string) bool
			times  int64
			status int
			then   string // after a repetition, if the answer was not 200
		}{
			{"the whole plan, once", e.Manager, stage.IsScript, 1, http.StatusOK, "alice cart=1"},
			{"the whole plan, each time", e.Manager, stage.IsScript, 1000, http.StatusOK, "alice cart=1"},
			{"the whole plan, and reading what came of it", e.Manager, speaksOfSession, 1000, http.StatusServiceUnavailable, "alice cart=1"},
			{"the record, once", e.ApartManager, stage.StoresRecord, 1, http.StatusOK, "alice cart=1"},
			{"the index, once", e.ApartManager, stage.EntersIndex, 1, http.StatusOK, "alice cart=1"},
			{"the tombstone, once", e.ApartManager, stage.SetsTombstone, 1, http.StatusOK, "alice cart=1"},
			{"the record, each time", e.ApartManager, stage.StoresRecord, 1000, http.StatusServiceUnavailable, "alice cart=1"},
			{"the index, each time", e.ApartManager, stage.EntersIndex, 1000, http.StatusServiceUnavailable, "alice cart=1"},
			{"the tombstone, each time", e.ApartManager, stage.SetsTombstone, 1000, http.StatusOK, "alice cart=1"},
			{"the tombstone, and reading it", e.ApartManager, speaksOfSession, 1000, http.StatusServiceUnavailable, "alice cart=1"},
		} {
			t.Run(row.name, func(t *testing.T) {
				m, p := e.BehindBy(t, row.make)
				st := stage.NewScripted(t, m)
				st.Must("set:cart:1")
				old := st.Cookie()
				var cut atomic.Int64
				release := st.Hold("hold login:alice")
				p.CutReply(stage.AtMost(row.times, &cut, row.pick))
				a := release()
				p.CutReply(nil)
				if a.StatusCode != row.status || cut.Load() == 0 || cut.Load() > 20 { // each try leaves a record
					t.Errorf("got %d after %d cuts, want %d after a few", a.StatusCode, cut.Load(), row.status)
				}
				then := direct.Fork(st.Cookie())
				if a.StatusCode != http.StatusOK {
					if len(a.SetCookies()) != 0 {
						t.Errorf("got cookies %v with a 503, want none", a.SetCookies())
					}
					then.Must("login:alice")
				}
				if got := then.Do().Text; got != row.then {
					t.Errorf("got %q, want %q", got, row.then)
				}
				if got := direct.Fork(old).Do().Text; got != "" {
					t.Errorf("the old cookie reads %q, want an anonymous session", got)
				}
			})
		}
	})
}

// A login that had to begin again under another SID has shown a form, and has to count.
func TestLoginThatBeginsAgainKeepsItsTokenAndItsLimit(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		limit := func(c *redsession.Config) { c.MaxPerUser = 1 }
		for way, maker := range e.BothWays() {
			for _, row := range []struct {
				name, before string
				pick         func(args []string) bool
			}{
				{"the first plan, without a session", "", stage.IsScript},
				{"the first plan, over an anonymous session", "add:n", stage.IsScript},
				{"the first plan, over another user's session", "login:bob", stage.IsScript},
				{"what decides, over an anonymous session", "add:n", stage.SetsTombstone},
				{"what decides, over another user's session", "login:bob", stage.SetsTombstone},
				{"the index, over an anonymous session", "add:n", stage.EntersIndex},
			} {
				m, p := e.BehindBy(t, maker, limit)
				st, older := stage.NewScripted(t, m), stage.NewScripted(t, e.Manager(t, limit))
				older.Must("login:alice")
				e.Advance(t, time.Second)
				if row.before != "" {
					st.Must(row.before)
				}
				var cut atomic.Int64
				release := st.Hold("hold login:alice csrf")
				p.CutReply(stage.AtMost(1, &cut, row.pick))
				a := release()
				p.CutReply(nil)
				e.UntilNoOutage(t)
				if a.StatusCode != http.StatusOK || cut.Load() == 0 {
					t.Errorf("%s, %s: got %d after %d cuts, want 200", way, row.name, a.StatusCode, cut.Load())
				}
				if got := st.Do("verify:" + a.Header.Get("X-Csrf")).Text; got != "true" {
					t.Errorf("%s, %s: got %q for the token that the login has shown, want true", way, row.name, got)
				}
				if got := older.Do().Text; got != "" {
					t.Errorf("%s, %s: an older login beyond MaxPerUser reads %q, want nobody", way, row.name, got)
				}
				stage.Until(t, way+", "+row.name+": what the lost try left to be taken away", func() bool {
					sessions, err := m.Sessions(t.Context(), "alice")
					return err == nil && len(sessions) == 1
				})
			}
		}
	})
}

// What comes to nothing because the session, or all of its user's, ended meanwhile leaves no record.
func TestLoginThatComesToNothingLeavesNoRecord(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range e.BothWays() {
			m := maker(t)
			root := stage.NewScripted(t, m)
			revoke := func(*stage.Scripted) { _, _ = m.RevokeUser(t.Context(), "alice") }
			logout := func(other *stage.Scripted) { other.Must("logout") }
			for _, row := range []struct {
				before, ops string
				meanwhile   func(other *stage.Scripted)
			}{
				{"", "login:alice", revoke},
				{"login:alice", "login:alice", revoke},
				{"half:alice", "promote", revoke},
				{"half:alice", "promote", logout},
				{"login:alice", "rotate", revoke},
				{"login:alice", "rotate", logout},
			} {
				e.Advance(t, time.Hour)
				before := len(stage.Listed(t, m.Admin))
				st := root.Fork("")
				if row.before != "" {
					st.Must(row.before)
				}
				other := root.Fork(st.Cookie())
				release := st.Hold("hold " + row.ops)
				row.meanwhile(other)
				a := release()
				after := len(stage.Listed(t, m.Admin))
				if half := row.before == "half:alice" && a.StatusCode == http.StatusConflict; half && after == before+1 {
					after-- // the half-open login is in no index, and ends by itself
				}
				if a.StatusCode != http.StatusConflict || after != before {
					t.Errorf("%s, %q, then %q: got status %d and %d records more, want 409 and none", way, row.before, row.ops, a.StatusCode, after-before)
				}
			}
		}
	})
}

// A script that Redis refuses in the middle, as a user may not do all that it does, has stored the record already.
func TestLoginRefusedInTheMiddleLeavesNoRecord(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	e := stage.NewEnv(srv.URL, srv.Client())
	e.Restrict(t, strings.ReplaceAll(stage.SmallestACL, "+zadd", "")+" +exists")
	for way, maker := range e.BothWays() {
		m := maker(t)
		root := stage.NewScripted(t, m)
		for _, before := range []string{"", "add:n"} {
			st := root.Fork("")
			if before != "" {
				st.Must(before)
			}
			living := e.Living(t)
			if a := st.Do("login:alice"); a.StatusCode != http.StatusServiceUnavailable || len(a.SetCookies()) != 0 {
				t.Errorf("%s, %q: got status %d and %d cookies, want 503 and none", way, before, a.StatusCode, len(a.SetCookies()))
			}
			stage.Until(t, "the record to be taken away", func() bool { return e.Living(t) == living })
			if got := st.Do("only:n").Text; got != strings.ReplaceAll(before, "add:n", "n=1") {
				t.Errorf("%s, %q: got %q afterwards, want what was before", way, before, got)
			}
		}
	}
}

func TestLogoutWithALostReplyEndsTheSession(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m, p := e.Behind(t)
		root := stage.NewScripted(t, m)
		for _, lose := range []func(func(args []string) bool){p.CutReply, p.CutRequest} {
			st := root.Fork("")
			st.Must("login:alice set:memo:x")
			old := st.Cookie()
			var cut atomic.Int64
			lose(stage.AtMost(1, &cut, stage.SetsTombstone))
			a := st.Must("logout")
			lose(nil)
			if c := a.SetCookies(); len(c) != 1 || c[0].MaxAge >= 0 || cut.Load() == 0 {
				t.Errorf("got cookies %v after %d cuts, want one that has expired", c, cut.Load())
			}
			if got := root.Fork(old).Do().Text; got != "" {
				t.Errorf("the old cookie reads %q, want an anonymous session", got)
			}
			if sessions, err := m.Sessions(t.Context(), "alice"); len(sessions) != 0 || err != nil {
				t.Errorf("got the sessions %v, %v, want none", sessions, err)
			}
		}
	})
}

func TestEndingWithALostReplyIsTold(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m, p := e.Behind(t)
		root := stage.NewScripted(t, m)
		for _, row := range []struct {
			name   string
			revoke func(id string) (int, error)
		}{
			{"one by its id", func(id string) (int, error) { return 1, m.Revoke(t.Context(), id) }},
			{"one of the user's", func(id string) (int, error) {
				ok, err := m.RevokeOf(t.Context(), "alice", id)
				if !ok {
					return 0, err
				}
				return 1, err
			}},
			{"all of the user's", func(string) (int, error) { return m.RevokeUser(t.Context(), "alice") }},
			{"everybody's", func(string) (int, error) { return m.RevokeAll(t.Context()) }},
		} {
			t.Run(row.name, func(t *testing.T) {
				e.Advance(t, time.Second) // this login is one after the revocation before
				st := root.Fork("")
				st.Must("login:alice")
				sessions, err := m.Sessions(t.Context(), "alice")
				if len(sessions) != 1 || err != nil {
					t.Fatalf("got the sessions %v, %v, want one", sessions, err)
				}
				before := m.Stats().Revoked
				var cut atomic.Int64
				p.CutReply(stage.AtMost(1, &cut, stage.SetsTombstone))
				n, err := row.revoke(sessions[0].ID)
				p.CutReply(nil)
				if told := m.Stats().Revoked - before; n != 1 || err != nil || told != 1 || cut.Load() == 0 {
					t.Errorf("got %d, %v and %d events after %d cuts, want 1, nil and 1", n, err, told, cut.Load())
				}
			})
		}
	})
}
