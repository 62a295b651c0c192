package adoption_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// Each ending comes before each exchange with Redis of the request that takes the
// session over.
func TestAdoptionOfWhatEndsMeanwhileStaysEnded(t *testing.T) {
	t.Parallel()
	ends := map[string]func(t *testing.T, m *redsession.Manager, id string, st *stage.Scripted) error{
		"Revoke": func(t *testing.T, m *redsession.Manager, id string, _ *stage.Scripted) error {
			return m.Revoke(t.Context(), id)
		},
		"RevokeUser": func(t *testing.T, m *redsession.Manager, _ string, _ *stage.Scripted) error {
			return stage.ErrorOf(m.RevokeUser(t.Context(), "alice"))
		},
		"RevokeAll": func(t *testing.T, m *redsession.Manager, _ string, _ *stage.Scripted) error {
			return stage.ErrorOf(m.RevokeAll(t.Context()))
		},
		"logout": func(_ *testing.T, _ *redsession.Manager, _ string, st *stage.Scripted) error {
			st.WithOldCookie("one").Must("logout")
			return nil
		},
		"MaxPerUser": func(_ *testing.T, _ *redsession.Manager, _ string, st *stage.Scripted) error {
			st.Fork("").Must("login:alice")
			return nil
		},
	}
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for _, name := range slices.Sorted(maps.Keys(ends)) {
			for _, ops := range []string{"", "set:late:1"} {
				for n, more := 1, true; more; n++ {
					e.Client.FlushAll(t.Context())
					old, hold := olds(e, "one"), &stage.Latch{}
					l := old.Legacy()
					l.Delete = nil
					m := e.Manager(t, stage.Adopting(l), func(c *redsession.Config) { c.MaxPerUser = 1 })
					slow, fast := stage.NewScripted(t, e.Hooked(t, hold, stage.Adopting(l))), stage.NewScripted(t, m)
					id := imports(t, m, false, "1", stage.OldSession(e, "one", "alice"))[0].ID
					b := slow.WithOldCookie("one")
					var a stage.Answer
					var err error
					more = hold.Between(n, func() { a = b.Do(ops) }, func() { err = ends[name](t, m, id, fast) })
					if !more {
						break
					}
					when := fmt.Sprintf("%s before step %d of %q", name, n, ops)
					if err != nil || a.StatusCode != 200 && (ops == "" || a.StatusCode != 409) {
						t.Errorf("%s: got %v and status %d, want 200, or 409 for what cannot be kept", when, err, a.StatusCode)
					}
					if got := strings.TrimSuffix(b.Do().Text, " late=1"); strings.HasPrefix(got, "alice") {
						t.Errorf("%s: its browser reads %q then, want nobody", when, got)
					}
					if got := fast.WithOldCookie("one").Do().Text; strings.HasPrefix(got, "alice") {
						t.Errorf("%s: the old cookie reads %q then, want nobody", when, got)
					}
				}
			}
		}
	})
}

func TestAdoptionLogoutWhileItLoads(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		old, g := olds(e, "one"), make(stage.Gate)
		l := old.Legacy()
		slow := l
		slow.Load = func(ctx context.Context, id string) (*redsession.LegacyRecord, error) {
			lr, err := old.Load(ctx, id)
			g.Pass()
			return lr, err
		}
		a, b := stage.NewScripted(t, e.Manager(t, stage.Adopting(slow))).WithOldCookie("one"), stage.NewScripted(t, e.Manager(t, stage.Adopting(l))).WithOldCookie("one")
		done := make(chan stage.Answer)
		go func() { done <- a.Do("set:late:1") }()
		leave := <-g
		b.Must("logout")
		close(leave)
		if got := <-done; strings.HasPrefix(got.Text, "alice") {
			t.Errorf("got %q, want nobody, as the session was logged out meanwhile", got.Text)
		}
		if old.Has("one") {
			t.Error("the old session is still there")
		}
		old.Put(stage.OldSession(e, "one", "alice")) // as if deleting it had failed
		go func() { done <- a.Do() }()
		select {
		case leave := <-g:
			close(leave)
			t.Error("the old store was asked for a session that was logged out")
			<-done
		case got := <-done:
			if strings.HasPrefix(got.Text, "alice") {
				t.Errorf("got %q later, want nobody", got.Text)
			}
		}
	})
}

// The old cookie came along without being needed, as the browser has a session of
// ours too. Another request, with the old cookie alone, takes it over meanwhile.
func TestAdoptionThatOvertakesALogoutEnds(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for n, more := 1, true; more; n++ {
			e.Client.FlushAll(t.Context())
			old, hold := olds(e, "one"), &stage.Latch{}
			slow, fast := stage.NewScripted(t, e.Hooked(t, hold, stage.Adopting(old.Legacy()))), stage.NewScripted(t, e.Manager(t, stage.Adopting(old.Legacy())))
			b, a := slow.Fork(""), fast.WithOldCookie("one")
			b.Must("login:alice")
			b.RenewOldCookie("one")
			more = hold.Between(n, func() { b.Must("logout") }, func() { a.Must() })
			if !more {
				break
			}
			for name, st := range map[string]*stage.Scripted{"the other browser": a, "the old cookie": fast.WithOldCookie("one"), "its own": b} {
				if got := st.Do().Text; got != "" {
					t.Errorf("taken over before step %d of the logout: %s reads %q then, want nobody", n, name, got)
				}
			}
		}
	})
}

func TestAdoptionTwiceStepByStep(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for _, imported := range []bool{false, true} {
			for n, more := 1, true; more; n++ {
				e.Client.FlushAll(t.Context())
				old, hold := olds(e, "one"), &stage.Latch{}
				m := e.Manager(t, stage.Adopting(old.Legacy()))
				slow, fast := stage.NewScripted(t, e.Hooked(t, hold, stage.Adopting(old.Legacy()))).WithOldCookie("one"), stage.NewScripted(t, m).WithOldCookie("one")
				if imported {
					imports(t, m, false, "1", stage.OldSession(e, "one", "alice"))
				}
				more = hold.Between(n, func() { slow.Must("set:a:1") }, func() { fast.Must("set:b:1") })
				if !more {
					break
				}
				want := "alice a=1 b=1 cart=[tea]"
				if a, b := slow.Must().Text, fast.Must().Text; a != want || b != want {
					t.Errorf("imported %t, the second before step %d of the first: got %q and %q, want %q in both", imported, n, a, b, want)
				}
				if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != 1 || e.Living(t) != 1 {
					t.Errorf("imported %t, before step %d: got %d in the list and %d records, want 1", imported, n, len(infos), e.Living(t))
				}
			}
		}
	})
}

func TestAdoptionWithAForcedImportMeanwhileLogsNobodyOut(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for n, more := 1, true; more; n++ {
			e.Client.FlushAll(t.Context())
			hold, l := &stage.Latch{}, redsession.Legacy{Source: "old", Cookie: "oldsid"}
			m := e.Manager(t, stage.Adopting(l))
			lr := stage.OldSession(e, "one", "alice")
			lr.CreatedAt = time.Time{} // unknown: each import begins another session
			imports(t, m, false, "1", lr)
			e.Clock.Add(2 * time.Second)
			st := stage.NewScripted(t, e.Hooked(t, hold, stage.Adopting(l))).WithOldCookie("one")
			var a stage.Answer
			more = hold.Between(n, func() { a = st.Do() }, func() {
				if _, err := m.Import(t.Context(), []redsession.LegacyRecord{lr}, true); err != nil {
					t.Error(err)
				}
			})
			if a.StatusCode != http.StatusServiceUnavailable && a.Text != "alice cart=[tea]" {
				t.Errorf("forced before step %d: got %d %q, want alice, or 503", n, a.StatusCode, a.Text)
			}
			if got := st.Must().Text; got != "alice cart=[tea]" {
				t.Errorf("forced before step %d: got %q then, want alice", n, got)
			}
		}
	})
}

// A server dies, or its replies are lost, after each number of commands.
func TestAdoptionCutShortLogsNobodyOut(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		old := olds(e)
		m, p := e.Behind(t, stage.Adopting(old.SideBySide()))
		slow, fast := stage.NewScripted(t, m), stage.NewScripted(t, e.Manager(t, stage.Adopting(old.SideBySide())))
		for kind, fault := range map[string]func(func([]string) bool){"died": p.CutRequest, "heard no more": p.CutReply} {
			for n := int64(1); n < 12; n++ {
				e.Client.FlushDB(t.Context())
				id := fmt.Sprint(kind, n)
				old.Put(stage.OldSession(e, id, "alice"))
				var seen atomic.Int64
				fault(func([]string) bool { return seen.Add(1) >= n })
				a := slow.WithOldCookie(id).Do()
				fault(nil)
				if a.StatusCode != http.StatusServiceUnavailable && a.Text != "alice cart=[tea]" {
					t.Errorf("%s at command %d: got %d %q, want alice, or 503", kind, n, a.StatusCode, a.Text)
				}
				for _, st := range []*stage.Scripted{fast, slow} {
					stage.Until(t, "Redis to be found again", func() bool { return st.WithOldCookie(id).Do().StatusCode == 200 })
					if got := st.WithOldCookie(id).Must().Text; got != "alice cart=[tea]" {
						t.Errorf("%s at command %d: got %q then, want alice", kind, n, got)
					}
				}
			}
		}
	})
}

func TestAdoptionAfterARevocationWithALostReply(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		for n := int64(1); n < 5; n++ {
			e.Client.FlushDB(t.Context())
			old := olds(e, "one")
			l := old.Legacy()
			l.Delete = nil
			m, p := e.Behind(t, stage.Adopting(l))
			id := imports(t, m, false, "1", stage.OldSession(e, "one", "alice"))[0].ID
			root := stage.NewScripted(t, m)
			root.WithOldCookie("one").Must()
			var seen atomic.Int64
			p.CutReply(func(args []string) bool { return stage.SetsTombstone(args) && seen.Add(1) == n })
			err := m.Revoke(t.Context(), id)
			p.CutReply(nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := root.WithOldCookie("one").Do().Text; got != "" {
				t.Errorf("reply %d lost: the old cookie reads %q then, want nobody", n, got)
			}
		}
	})
}

func TestAdoptionLogoutTellsThatTheSessionGoesOnElsewhere(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		old, fails := olds(e, "one"), true
		l := old.SideBySide()
		l.Delete = func(ctx context.Context, id string) error {
			if fails {
				return errors.New("down")
			}
			return old.Remove(ctx, id)
		}
		st := stage.NewScripted(t, e.Manager(t, stage.Adopting(l))).WithOldCookie("one")
		st.Must()
		if a := st.Do("logout"); a.StatusCode != http.StatusServiceUnavailable || oldCookie(st.Browser) != "one" {
			t.Errorf("got %d and the old cookie %q, want 503, as the old servers still have the session", a.StatusCode, oldCookie(st.Browser))
		}
		if a := st.Do(); a.Text != "" {
			t.Errorf("got %q then, want nobody, as the session here has ended", a.Text)
		}
		fails = false
		if st.Must("logout"); old.Has("one") || oldCookie(st.Browser) != "" {
			t.Error("logged out again: the old session or its cookie is still there")
		}
	})
}

func TestAdoptionLogoutLeavesTheCookieOfANewerLogin(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		old := olds(e, "one")
		st := stage.NewScripted(t, e.Manager(t, stage.Adopting(old.SideBySide()))).WithOldCookie("one")
		st.Must()
		late, held := st.Fork(st.Cookie()), st.Fork(st.Cookie())
		release := held.Hold("hold set:a:1")
		st.Must("logout")
		st.Must("login:alice")
		if a := late.Do(); a.Text != "" || len(a.SetCookies()) != 0 {
			t.Errorf("a late request with the ended id: got %q and cookies %v, want nobody and none", a.Text, a.SetCookies())
		}
		if a := release(); a.StatusCode != http.StatusConflict || len(a.SetCookies()) != 0 {
			t.Errorf("a late write: got %d and cookies %v, want 409 and none", a.StatusCode, a.SetCookies())
		}
	})
}
