package redsession_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

// statuses returns what became of each record: "1 2 5".
func statuses(list []redsession.ImportOutcome) string {
	words := make([]string, len(list))
	for i, o := range list {
		words[i] = fmt.Sprint(int(o.Status))
	}
	return strings.Join(words, " ")
}

// imports fails the test unless m imports list with these statuses.
func imports(t *testing.T, m *redsession.Manager, force bool, want string, list ...redsession.LegacyRecord) []redsession.ImportOutcome {
	t.Helper()
	out, err := m.Import(t.Context(), list, force)
	if got := statuses(out); err != nil || got != want {
		t.Fatalf("got %s, %v, want %s", got, err, want)
	}
	return out
}

// many returns n sessions of as many users.
func many(e *env, n int) []redsession.LegacyRecord {
	list := make([]redsession.LegacyRecord, n)
	for i := range list {
		list[i] = oldSession(e, fmt.Sprint("id-", i), fmt.Sprint("user-", i))
	}
	return list
}

type indiscreet string

func (v indiscreet) MarshalJSON() ([]byte, error) {
	return nil, errors.New("cannot encode " + string(v))
}

func TestImportTellsWhatBecameOfEach(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t, func(c *redsession.Config) { c.MaxBytes = 2000 })
		now := e.clock.Now()
		rows := []struct {
			name   string
			change func(*redsession.LegacyRecord)
			want   redsession.ImportStatus
			why    string
		}{
			{"a plain one", func(*redsession.LegacyRecord) {}, redsession.ImportStored, ""},
			{"the same again", func(lr *redsession.LegacyRecord) { lr.ID = "0" }, redsession.ImportExisting, ""},
			{"no id", func(lr *redsession.LegacyRecord) { lr.ID = "" }, redsession.ImportRefused, "0 bytes"},
			{"the longest id", func(lr *redsession.LegacyRecord) { lr.ID = strings.Repeat("x", 1024) }, redsession.ImportStored, ""},
			{"an over-long id", func(lr *redsession.LegacyRecord) { lr.ID = strings.Repeat("x", 1025) }, redsession.ImportRefused, "1025 bytes"},
			{"an id of odd bytes", func(lr *redsession.LegacyRecord) { lr.ID = "\xff\x00\n" }, redsession.ImportStored, ""},
			{"no source", func(lr *redsession.LegacyRecord) { lr.Source = "" }, redsession.ImportRefused, "Source"},
			{"a source with a colon", func(lr *redsession.LegacyRecord) { lr.Source = "a:b" }, redsession.ImportRefused, "Source"},
			{"past its end", func(lr *redsession.LegacyRecord) { lr.ExpiresAt = now.Add(-time.Second) }, redsession.ImportExpired, ""},
			{"at its end", func(lr *redsession.LegacyRecord) { lr.ExpiresAt = now.Add(999 * time.Millisecond) }, redsession.ImportExpired, ""},
			{"an end unknown", func(lr *redsession.LegacyRecord) { lr.ExpiresAt = time.Time{} }, redsession.ImportStored, ""},
			{"an end far away", func(lr *redsession.LegacyRecord) { lr.ExpiresAt = time.Unix(1<<60, 0) }, redsession.ImportStored, ""},
			{"created before 1970", func(lr *redsession.LegacyRecord) { lr.CreatedAt = time.Unix(-1e9, 0) }, redsession.ImportStored, ""},
			{"a value of no JSON", func(lr *redsession.LegacyRecord) { lr.Values = map[string]any{"f": func() {}} }, redsession.ImportRefused, `"f" does not encode`},
			{"a number of no JSON", func(lr *redsession.LegacyRecord) { lr.Values = map[string]any{"n": math.NaN()} }, redsession.ImportRefused, `"n" does not encode`},
			{"a value that an error quotes", func(lr *redsession.LegacyRecord) { lr.Values = map[string]any{"v": indiscreet("hunter2")} }, redsession.ImportRefused, `"v" does not encode`},
			{"a reserved name", func(lr *redsession.LegacyRecord) { lr.Values = map[string]any{"_flash": 1} }, redsession.ImportRefused, "reserved"},
			{"a name of odd bytes", func(lr *redsession.LegacyRecord) { lr.Values = map[string]any{"\xff": 1} }, redsession.ImportRefused, "UTF-8"},
			{"a user of odd bytes", func(lr *redsession.LegacyRecord) { lr.UserID = "\xff" }, redsession.ImportRefused, "user id"},
			{"too large", func(lr *redsession.LegacyRecord) { lr.Values = map[string]any{"v": strings.Repeat("x", 2000)} }, redsession.ImportRefused, "MaxBytes allows 2000"},
			{"no values", func(lr *redsession.LegacyRecord) { lr.Values = nil }, redsession.ImportStored, ""},
			{"nobody's", func(lr *redsession.LegacyRecord) { lr.UserID = "" }, redsession.ImportStored, ""},
		}
		list := make([]redsession.LegacyRecord, len(rows))
		for i, row := range rows {
			list[i] = oldSession(e, fmt.Sprint(i), "alice")
			row.change(&list[i])
		}
		out, err := m.Import(t.Context(), list, false)
		if err != nil || len(out) != len(rows) {
			t.Fatalf("got %d outcomes, %v, want %d", len(out), err, len(rows))
		}
		stored := 0
		for i, row := range rows {
			if out[i].Status != row.want || (out[i].Err != nil) != (row.why != "") || out[i].ID == "" {
				t.Errorf("%s: got %+v, want status %d", row.name, out[i], row.want)
			}
			if row.why != "" && out[i].Err != nil && (!strings.Contains(out[i].Err.Error(), row.why) || strings.Contains(out[i].Err.Error(), "hunter2")) {
				t.Errorf("%s: got %q, want it to name %s and to quote no value", row.name, out[i].Err, row.why)
			}
			if out[i].Status == redsession.ImportStored {
				stored++
			}
		}
		if got := len(e.events.of(redsession.EventImported)); got != stored {
			t.Errorf("got %d events, want %d", got, stored)
		}
		if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != stored-1 {
			t.Errorf("got %d sessions in alice's list (%v), want %d", len(infos), err, stored-1)
		}
	})
}

func TestImportOfManyTakesFewRoundTrips(t *testing.T) {
	for _, on := range []string{"one server", "a cluster"} {
		t.Run(on, func(t *testing.T) {
			e := newMini(t)
			if on == "a cluster" {
				e = flavourNamed(t, "cluster").env(t)
			}
			m, c := e.counted(t)
			list := many(e, 1200)
			if out, err := m.Import(t.Context(), list, false); err != nil || strings.Count(statuses(out), "1") != len(list) {
				t.Fatalf("got %v, want all stored", err)
			}
			if got := c.take(); on == "one server" && !strings.HasSuffix(got, "in 8") { // 3 pages, 2 pipelines each, and 2 scripts unknown
				t.Errorf("got commands %s, want 8 round trips", got[max(0, len(got)-20):])
			}
			if err := e.client.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if out, err := m.Import(t.Context(), list, false); err != nil || strings.Count(statuses(out), "2") != len(list) {
				t.Errorf("again: got %v, want all there already", err)
			}
			if out, err := m.Import(t.Context(), list, true); err != nil || strings.Count(statuses(out), "1") != len(list) {
				t.Errorf("forced: got %v, want all stored", err)
			}
			if n, err := m.Count(t.Context()); err != nil || n != len(list) {
				t.Errorf("got %d sessions, %v, want %d", n, err, len(list))
			}
			for _, i := range []int{0, 499, 500, 1199} {
				if infos, err := m.Sessions(t.Context(), list[i].UserID); err != nil || len(infos) != 1 {
					t.Errorf("%s: got %d sessions, %v, want 1", list[i].UserID, len(infos), err)
				}
			}
		})
	}
}

func TestAnImportCutShortCanBeRepeated(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		m, p := e.behind(t)
		list := many(e, 600)
		imports(t, m, false, "1", oldSession(e, "warm", "warm"))
		cuts := []int64{1, 300, 501, 700, 1100}
		if e.mini != nil {
			cuts = cuts[2:3] // its scripts take a millisecond
		}
		for name, fault := range map[string]func(pick func([]string) bool){"requests lost": p.CutRequest, "replies lost": p.CutReply} {
			for _, nth := range cuts {
				e.client.FlushDB(t.Context())
				var seen atomic.Int64
				fault(func(args []string) bool { return strings.HasPrefix(args[0], "EVAL") && seen.Add(1) >= nth })
				out, err := m.Import(t.Context(), list, false)
				if !errors.Is(err, redsession.ErrUnavailable) || len(out) >= len(list) {
					t.Errorf("%s from %d on: got %d outcomes, %v, want ErrUnavailable", name, nth, len(out), err)
				}
				fault(nil)
				if out, err = m.Import(t.Context(), list, false); err != nil || len(out) != len(list) {
					t.Fatalf("%s from %d on, again: got %d outcomes, %v, want all", name, nth, len(out), err)
				}
				for _, o := range out {
					if o.Status != redsession.ImportStored && o.Status != redsession.ImportExisting {
						t.Fatalf("%s from %d on, again: got %+v, want it stored", name, nth, o)
					}
				}
				for _, i := range []int{0, 299, 499, 500, 599} {
					if infos, err := m.Sessions(t.Context(), list[i].UserID); err != nil || len(infos) != 1 {
						t.Errorf("%s from %d on: %s has %d sessions, %v, want 1", name, nth, list[i].UserID, len(infos), err)
					}
				}
			}
		}
		e.client.FlushDB(t.Context())
		var hits atomic.Int64
		p.CutReply(atMost(1, &hits, setsTombstone))
		imports(t, m, false, "1", oldSession(e, "one", "alice")) // sent again, it finds itself
		p.CutReply(nil)
	})
}

func TestImportsOfOneSessionAtOnce(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		a, b := e.manager(t, patient), e.manager(t, patient)
		var stored, others atomic.Int64
		parallel(20, func(i int) {
			out, err := []*redsession.Manager{a, b}[i%2].Import(t.Context(), []redsession.LegacyRecord{oldSession(e, "one", "alice")}, false)
			switch {
			case err != nil:
				t.Error(err)
			case out[0].Status == redsession.ImportStored:
				stored.Add(1)
			case out[0].Status == redsession.ImportExisting:
				others.Add(1)
			}
		})
		if stored.Load() != 1 || others.Load() != 19 {
			t.Errorf("got %d stored and %d there already, want 1 and 19", stored.Load(), others.Load())
		}
	})
}

// The old package may have logged somebody else in under the same id meanwhile.
func TestAnImportDoesNotEnterAForeignSessionInAnIndex(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		for _, force := range []bool{false, true} {
			e.client.FlushAll(t.Context())
			m := e.manager(t, adopting(redsession.Legacy{Source: "old", Cookie: "oldsid"}), func(c *redsession.Config) { c.MaxPerUser = 1 })
			imports(t, m, false, "1", oldSession(e, "one", "alice"))
			want, other := "alice", "bob"
			if force {
				imports(t, m, true, "1", oldSession(e, "one", "bob"))
				want, other = other, want
			} else {
				imports(t, m, false, "2", oldSession(e, "one", "bob"))
			}
			root := newStage(t, m)
			root.fork("").must("login:" + other)
			if got := root.comes("one").must().body; got != want+" cart=[tea]" {
				t.Errorf("forced %t, after %s has logged in: got %q, want %s's session as it was", force, other, got, want)
			}
		}
	})
}

func TestAnImportThatFitsCanBeAdopted(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t, adopting(redsession.Legacy{Source: "old", Cookie: "oldsid"}), func(c *redsession.Config) { c.MaxBytes = 2000 })
		root := newStage(t, m)
		for size := 1500; size < 2000; size += 50 {
			lr := oldSession(e, fmt.Sprint(size), "alice")
			lr.Values = map[string]any{"v": strings.Repeat("x", size)}
			out, err := m.Import(t.Context(), []redsession.LegacyRecord{lr}, false)
			if err != nil {
				t.Fatal(err)
			}
			if a := root.comes(lr.ID).do(); out[0].Status == redsession.ImportStored && a.StatusCode != 200 {
				t.Errorf("%d bytes of values: stored, and got %d with the old cookie, want it adopted or refused at once", size, a.StatusCode)
			}
		}
	})
}

// Each ending comes before each exchange with Redis of the request that takes the
// session over.
func TestWhatEndsDuringATakeOverStaysEnded(t *testing.T) {
	ends := map[string]func(t *testing.T, m *redsession.Manager, id string, st *stage) error{
		"Revoke": func(t *testing.T, m *redsession.Manager, id string, _ *stage) error { return m.Revoke(t.Context(), id) },
		"RevokeUser": func(t *testing.T, m *redsession.Manager, _ string, _ *stage) error {
			return second(m.RevokeUser(t.Context(), "alice"))
		},
		"RevokeAll": func(t *testing.T, m *redsession.Manager, _ string, _ *stage) error {
			return second(m.RevokeAll(t.Context()))
		},
		"logout": func(_ *testing.T, _ *redsession.Manager, _ string, st *stage) error {
			st.comes("one").must("logout")
			return nil
		},
		"MaxPerUser": func(_ *testing.T, _ *redsession.Manager, _ string, st *stage) error {
			st.fork("").must("login:alice")
			return nil
		},
	}
	mortalPlain(t, func(t *testing.T, e *env) {
		for _, name := range slices.Sorted(maps.Keys(ends)) {
			for _, ops := range []string{"", "set:late:1"} {
				for n, more := 1, true; more; n++ {
					e.client.FlushAll(t.Context())
					old, hold := olds(e, "one"), &latch{}
					l := old.legacy()
					l.Delete = nil
					m := e.manager(t, adopting(l), func(c *redsession.Config) { c.MaxPerUser = 1 })
					slow, fast := newStage(t, e.hooked(t, hold, adopting(l))), newStage(t, m)
					id := imports(t, m, false, "1", oldSession(e, "one", "alice"))[0].ID
					b := slow.comes("one")
					var a answer
					var err error
					more = hold.between(n, func() { a = b.do(ops) }, func() { err = ends[name](t, m, id, fast) })
					if !more {
						break
					}
					when := fmt.Sprintf("%s before step %d of %q", name, n, ops)
					if err != nil || a.StatusCode != 200 && (ops == "" || a.StatusCode != 409) {
						t.Errorf("%s: got %v and status %d, want 200, or 409 for what cannot be kept", when, err, a.StatusCode)
					}
					if got := strings.TrimSuffix(b.do().body, " late=1"); strings.HasPrefix(got, "alice") {
						t.Errorf("%s: its browser reads %q then, want nobody", when, got)
					}
					if got := fast.comes("one").do().body; strings.HasPrefix(got, "alice") {
						t.Errorf("%s: the old cookie reads %q then, want nobody", when, got)
					}
				}
			}
		}
	})
}

func TestALogoutWhileATakeOverLoads(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		old, g := olds(e, "one"), make(gate)
		l := old.legacy()
		slow := l
		slow.Load = func(ctx context.Context, id string) (*redsession.LegacyRecord, error) {
			lr, err := old.load(ctx, id)
			g.pass()
			return lr, err
		}
		a, b := newStage(t, e.manager(t, adopting(slow))).comes("one"), newStage(t, e.manager(t, adopting(l))).comes("one")
		done := make(chan answer)
		go func() { done <- a.do("set:late:1") }()
		leave := <-g
		b.must("logout")
		close(leave)
		if got := <-done; strings.HasPrefix(got.body, "alice") {
			t.Errorf("got %q, want nobody, as the session was logged out meanwhile", got.body)
		}
		if old.has("one") {
			t.Error("the old session is still there")
		}
		old.put(oldSession(e, "one", "alice")) // as if deleting it had failed
		go func() { done <- a.do() }()
		select {
		case leave := <-g:
			close(leave)
			t.Error("the old store was asked for a session that was logged out")
			<-done
		case got := <-done:
			if strings.HasPrefix(got.body, "alice") {
				t.Errorf("got %q later, want nobody", got.body)
			}
		}
	})
}

// The old cookie came along without being needed, as the browser has a session of
// ours too. Another request, with the old cookie alone, takes it over meanwhile.
func TestALogoutEndsATakeOverThatOvertakesIt(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		for n, more := 1, true; more; n++ {
			e.client.FlushAll(t.Context())
			old, hold := olds(e, "one"), &latch{}
			slow, fast := newStage(t, e.hooked(t, hold, adopting(old.legacy()))), newStage(t, e.manager(t, adopting(old.legacy())))
			b, a := slow.fork(""), fast.comes("one")
			b.must("login:alice")
			b.renew("one")
			more = hold.between(n, func() { b.must("logout") }, func() { a.must() })
			if !more {
				break
			}
			for name, st := range map[string]*stage{"the other browser": a, "the old cookie": fast.comes("one"), "its own": b} {
				if got := st.do().body; got != "" {
					t.Errorf("taken over before step %d of the logout: %s reads %q then, want nobody", n, name, got)
				}
			}
		}
	})
}

func TestTwoTakeOversStepByStep(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		for _, imported := range []bool{false, true} {
			for n, more := 1, true; more; n++ {
				e.client.FlushAll(t.Context())
				old, hold := olds(e, "one"), &latch{}
				m := e.manager(t, adopting(old.legacy()))
				slow, fast := newStage(t, e.hooked(t, hold, adopting(old.legacy()))).comes("one"), newStage(t, m).comes("one")
				if imported {
					imports(t, m, false, "1", oldSession(e, "one", "alice"))
				}
				more = hold.between(n, func() { slow.must("set:a:1") }, func() { fast.must("set:b:1") })
				if !more {
					break
				}
				want := "alice a=1 b=1 cart=[tea]"
				if a, b := slow.must().body, fast.must().body; a != want || b != want {
					t.Errorf("imported %t, the second before step %d of the first: got %q and %q, want %q in both", imported, n, a, b, want)
				}
				if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != 1 || e.living(t) != 1 {
					t.Errorf("imported %t, before step %d: got %d in the list and %d records, want 1", imported, n, len(infos), e.living(t))
				}
			}
		}
	})
}

func TestAnImportForcedDuringATakeOverLogsNobodyOut(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		for n, more := 1, true; more; n++ {
			e.client.FlushAll(t.Context())
			hold, l := &latch{}, redsession.Legacy{Source: "old", Cookie: "oldsid"}
			m := e.manager(t, adopting(l))
			lr := oldSession(e, "one", "alice")
			lr.CreatedAt = time.Time{} // unknown: each import begins another session
			imports(t, m, false, "1", lr)
			e.clock.add(2 * time.Second)
			st := newStage(t, e.hooked(t, hold, adopting(l))).comes("one")
			var a answer
			more = hold.between(n, func() { a = st.do() }, func() {
				if _, err := m.Import(t.Context(), []redsession.LegacyRecord{lr}, true); err != nil {
					t.Error(err)
				}
			})
			if a.StatusCode != http.StatusServiceUnavailable && a.body != "alice cart=[tea]" {
				t.Errorf("forced before step %d: got %d %q, want alice, or 503", n, a.StatusCode, a.body)
			}
			if got := st.must().body; got != "alice cart=[tea]" {
				t.Errorf("forced before step %d: got %q then, want alice", n, got)
			}
		}
	})
}

// A server dies, or its replies are lost, after each number of commands.
func TestATakeOverCutShortLogsNobodyOut(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		old := olds(e)
		m, p := e.behind(t, adopting(old.beside()))
		slow, fast := newStage(t, m), newStage(t, e.manager(t, adopting(old.beside())))
		for kind, fault := range map[string]func(func([]string) bool){"died": p.CutRequest, "heard no more": p.CutReply} {
			for n := int64(1); n < 12; n++ {
				e.client.FlushDB(t.Context())
				id := fmt.Sprint(kind, n)
				old.put(oldSession(e, id, "alice"))
				var seen atomic.Int64
				fault(func([]string) bool { return seen.Add(1) >= n })
				a := slow.comes(id).do()
				fault(nil)
				if a.StatusCode != http.StatusServiceUnavailable && a.body != "alice cart=[tea]" {
					t.Errorf("%s at command %d: got %d %q, want alice, or 503", kind, n, a.StatusCode, a.body)
				}
				for _, st := range []*stage{fast, slow} {
					inTheEnd(t, "Redis to be found again", func() bool { return st.comes(id).do().StatusCode == 200 })
					if got := st.comes(id).must().body; got != "alice cart=[tea]" {
						t.Errorf("%s at command %d: got %q then, want alice", kind, n, got)
					}
				}
			}
		}
	})
}

func TestARevocationWithALostReplyLeavesNothingToAdopt(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		for n := int64(1); n < 5; n++ {
			e.client.FlushDB(t.Context())
			old := olds(e, "one")
			l := old.legacy()
			l.Delete = nil
			m, p := e.behind(t, adopting(l))
			id := imports(t, m, false, "1", oldSession(e, "one", "alice"))[0].ID
			root := newStage(t, m)
			root.comes("one").must()
			var seen atomic.Int64
			p.CutReply(func(args []string) bool { return setsTombstone(args) && seen.Add(1) == n })
			err := m.Revoke(t.Context(), id)
			p.CutReply(nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := root.comes("one").do().body; got != "" {
				t.Errorf("reply %d lost: the old cookie reads %q then, want nobody", n, got)
			}
		}
	})
}

func TestALogoutDuringAnOutageEndsWhatATakeOverMightFind(t *testing.T) {
	old := &oldStore{sessions: make(map[string]redsession.LegacyRecord)}
	o := newOutage(t, adopting(old.beside()))
	old.put(oldSession(o.env, "one", "alice"))
	old.put(oldSession(o.env, "two", "alice"))
	st := o.st.comes("one")
	st.must()
	st.must()
	o.down(t)
	st.renew("two") // a login at an old server
	a := st.do("logout")
	o.up(t)
	o.flushed(t)
	st = &stage{&browser{t, o.other.base, st.http}, o.other.gate} // on the other server
	if got := st.do().body; a.StatusCode == http.StatusOK && got != "" {
		t.Errorf("the logout was answered 200, and then the browser reads %q, want nobody", got)
	}
	if a.StatusCode == http.StatusOK && (old.has("one") || old.has("two")) {
		t.Error("the logout was answered 200, and the session at the old servers goes on")
	}
}

func TestALogoutTellsThatAnAdoptedSessionGoesOnElsewhere(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		old, fails := olds(e, "one"), true
		l := old.beside()
		l.Delete = func(ctx context.Context, id string) error {
			if fails {
				return errors.New("down")
			}
			return old.remove(ctx, id)
		}
		st := newStage(t, e.manager(t, adopting(l))).comes("one")
		st.must()
		if a := st.do("logout"); a.StatusCode != http.StatusServiceUnavailable || st.old() != "one" {
			t.Errorf("got %d and the old cookie %q, want 503, as the old servers still have the session", a.StatusCode, st.old())
		}
		if a := st.do(); a.body != "" {
			t.Errorf("got %q then, want nobody, as the session here has ended", a.body)
		}
		fails = false
		if st.must("logout"); old.has("one") || st.old() != "" {
			t.Error("logged out again: the old session or its cookie is still there")
		}
	})
}

func TestALogoutOfATakeOverLeavesTheCookieOfANewerLogin(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		old := olds(e, "one")
		st := newStage(t, e.manager(t, adopting(old.beside()))).comes("one")
		st.must()
		late, held := st.fork(st.cookie()), st.fork(st.cookie())
		release := held.hold("hold set:a:1")
		st.must("logout")
		st.must("login:alice")
		if a := late.do(); a.body != "" || len(a.setCookies()) != 0 {
			t.Errorf("a late request with the ended id: got %q and cookies %v, want nobody and none", a.body, a.setCookies())
		}
		if a := release(); a.StatusCode != http.StatusConflict || len(a.setCookies()) != 0 {
			t.Errorf("a late write: got %d and cookies %v, want 409 and none", a.StatusCode, a.setCookies())
		}
	})
}
