package redsession_test

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/redistest"
)

// flushed waits until nothing is postponed any more, which Close also does.
func (o *outage) flushed(t *testing.T) {
	t.Helper()
	if err := o.m.Close(); err != nil {
		t.Errorf("Close after the outage: got %v, want nil", err)
	}
}

func TestChangesOfAnOutageGoOnTopOfWhatAnotherServerWrote(t *testing.T) {
	for _, row := range []struct {
		name  string
		other []string // of the other server, meanwhile
		want  string   // of it, in the end
	}{
		{"nothing else happened", nil, "alice a=1 b=1 c=1 n=3"},
		{"another key was written", []string{"set:d:1"}, "alice a=1 b=1 c=1 d=1 n=3"},
		{"the same counter was counted", []string{"add:n", "add:n"}, "alice a=1 b=1 c=1 n=5"},
		{"a key that no request of the outage wrote was deleted", []string{"del:a"}, "alice b=1 c=1 n=3"},
		{"all was cleared", []string{"clear"}, "alice b=1 c=1 n=2"},
		{"the id was rotated", []string{"add:n rotate"}, "alice a=1 b=1 c=1 n=4"},
		{"the id was rotated and the new one is in use", []string{"rotate", "add:n"}, "alice a=1 b=1 c=1 n=4"},
		{"the session was logged out", []string{"logout"}, ""},
		{"the session was logged out and another begun", []string{"logout", "set:z:1"}, "z=1"},
		{"its user logged in again", []string{"login:alice"}, "alice a=1 n=1"},
	} {
		o := newOutage(t)
		o.st.must("login:alice set:a:1 add:n")
		o.other = o.other.fork(o.st.cookie())
		o.down(t)
		o.st.must("set:b:1 add:n")
		o.st.must("set:c:1 add:n")
		for _, ops := range row.other {
			o.other.must(ops)
		}
		o.up(t)
		o.flushed(t)
		if got := o.other.must().body; got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

func TestNothingComesBackByReplay(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(o *outage, admin *redsession.Manager)
	}{
		{"its user was revoked on another server", func(_ *outage, admin *redsession.Manager) { _, _ = admin.RevokeUser(context.Background(), "alice") }},
		{"it was logged out on another server", func(o *outage, _ *redsession.Manager) { o.other.fork(o.st.cookie()).must("logout") }},
		{"it ended by time", func(o *outage, _ *redsession.Manager) { o.mini.FastForward(8 * 24 * time.Hour) }},
	} {
		o := newOutage(t)
		admin := o.manager(t)
		id := o.st.must("login:alice").Header.Get("X-Id")
		o.down(t)
		o.st.must("set:a:1")
		row.end(o, admin)
		o.up(t)
		inTheEnd(t, "the replay", func() bool { return o.m.Stats().Dropped == 1 })
		if n := o.living(t); n != 0 {
			t.Errorf("%s: got %d records, want none", row.name, n)
		}
		if got := o.st.do().body; got != "" {
			t.Errorf("%s: got the session of %q, want an anonymous one", row.name, got)
		}
		failed := o.events.of(redsession.EventFailed)
		if n := len(failed); n != 1 || failed[0].ID != id || failed[0].UserID != "alice" || failed[0].Err == nil {
			t.Errorf("%s: got the events %v, want one of the session whose change is lost", row.name, failed)
		}
	}
}

func TestAnUpdateThatPanicsAtReplayHarmsNothingElse(t *testing.T) {
	var armed atomic.Bool
	o := newOutage(t)
	st := outageStage(t, o.m, handlers{"/trap": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		redsession.Key[int]("trap").Update(s, func(n int) int {
			if armed.Load() {
				panic("no luck")
			}
			return n + 1
		})
	}})
	fellow := st.fork("")
	st.must("login:alice")
	fellow.must("login:bob")
	o.st = st
	o.down(t)
	st.must("set:a:1")
	if a := st.get("/trap"); a.StatusCode != http.StatusOK {
		t.Fatalf("got status %d, want 200", a.StatusCode)
	}
	st.must("set:b:1")
	fellow.must("set:c:1")
	armed.Store(true)
	o.up(t)
	o.flushed(t)
	for _, row := range []struct{ name, cookie, want string }{
		{"another session", fellow.cookie(), "bob c=1"},
		{"the same session's other requests, which were answered 200", st.cookie(), "alice a=1 b=1"},
	} {
		if got := o.other.fork(row.cookie).do().body; got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
	if n, events := o.m.Stats().Dropped, len(o.events.of(redsession.EventFailed)); n != 1 || events != 1 {
		t.Errorf("got %d dropped and %d events, want 1 and 1", n, events)
	}
}

func TestPendingChangesAreFlushedBeforeTheFirstLoad(t *testing.T) {
	o := newOutage(t)
	id := o.st.must("login:alice set:a:old").Header.Get("X-Id")
	o.down(t)
	o.st.must("set:a:kept")
	o.proxy.Reset()
	o.proxy.Refuse(false)
	inTheEnd(t, "an answer from Redis", func() bool {
		a := o.st.must()
		if a.body != "alice a=kept" {
			t.Fatalf("got %q, want alice a=kept", outcome(a))
		}
		return a.Header.Get("X-Degraded") == ""
	})
	for _, args := range o.proxy.Commands() {
		if strings.Contains(strings.Join(args, " "), id) {
			if !strings.HasPrefix(args[0], "EVAL") {
				t.Errorf("got %s first, want the replay", args[0])
			}
			break
		}
	}
	o.st.must("set:a:new")
	o.flushed(t)
	if got := o.other.fork(o.st.cookie()).must().body; got != "alice a=new" {
		t.Errorf("got %q, want alice a=new: the replay came late", got)
	}
}

func TestARotatedIDDoesNotReadPastPendingChanges(t *testing.T) {
	o := newOutage(t)
	o.st.must("login:alice")
	old := o.st.fork(o.st.cookie())
	o.st.must("rotate")
	o.st.must() // the new id is in use
	o.down(t)
	o.st.must("set:a:1")
	o.proxy.Reply(refusing("-OOM command not allowed when used memory > 'maxmemory'\r\n", "EVAL"))
	o.up(t)
	if got := outcome(old.fork(old.cookie()).do()); got == "200 set alice" {
		t.Errorf("with the old id: got %q, want a=1 or 503: the change is not in Redis yet", got)
	}
	o.proxy.Reply(nil)
}

func TestAWriteWhoseOutcomeIsUnknownIsNotReplayed(t *testing.T) {
	o := newOutage(t)
	o.st.must("login:alice")
	o.st.must("add:n") // Redis knows the script from here on
	var cut atomic.Bool
	o.proxy.CutReply(func(args []string) bool {
		if strings.HasPrefix(args[0], "EVAL") {
			cut.Store(true)
		}
		return cut.Load()
	})
	if got := outcome(o.st.do("add:n")); got != "503 retry" {
		t.Errorf("got %q, want 503 retry", got)
	}
	o.proxy.CutReply(nil)
	o.flushed(t)
	if got := o.other.fork(o.st.cookie()).must().body; got != "alice n=2" {
		t.Errorf("got %q, want alice n=2: it was executed, once", got)
	}
	if n := o.m.Stats().Postponed; n != 0 {
		t.Errorf("got %d commits postponed, want none", n)
	}
}

// What was answered 200 may not get lost because Redis goes away once more.
func TestAReplayThatIsCutOffIsMadeGood(t *testing.T) {
	for _, executed := range []bool{false, true} {
		o := newOutage(t)
		o.st.must("login:alice")
		o.st.must("add:n") // Redis knows the script from here on
		o.down(t)
		o.st.must("add:n")
		var cut atomic.Bool
		pick := func(args []string) bool {
			if strings.HasPrefix(args[0], "EVAL") {
				cut.Store(true)
			}
			return cut.Load()
		}
		if executed {
			o.proxy.CutReply(pick)
		} else {
			o.proxy.CutRequest(pick)
		}
		o.proxy.Refuse(false)
		inTheEnd(t, "the replay", cut.Load)
		inTheEnd(t, "its failure", func() bool {
			return o.m.Stats().Dropped > 0 || o.m.Stats().Outages > 1
		})
		o.proxy.CutReply(nil)
		o.proxy.CutRequest(nil)
		o.flushed(t)
		if got, n := o.other.fork(o.st.cookie()).must().body, o.m.Stats().Dropped; got != "alice n=2" || n != 0 {
			t.Errorf("the replay was executed %v: got %q and %d dropped, want alice n=2 and none", executed, got, n)
		}
	}
}

func TestWhatEndedLatelyIsEndedAgainAfterAnOutage(t *testing.T) {
	for _, row := range []struct {
		name string
		end  func(o *outage)
	}{
		{"logged out", func(o *outage) { o.st.must("logout") }},
		{"revoked", func(o *outage) { _, _ = o.m.RevokeUser(context.Background(), "alice") }},
		{"logged in from", func(o *outage) { o.st.must("login:bob") }},
		{"logged out during the outage", func(o *outage) { o.down(o.st.t); o.st.must("logout") }},
	} {
		o := newOutage(t)
		key := "session:" + o.st.must("login:alice").Header.Get("X-Id")
		raw, old := o.client.Get(t.Context(), key).Val(), o.st.fork(o.st.cookie())
		row.end(o)
		if o.began == 0 {
			o.down(t)
		}
		if err := o.client.Set(t.Context(), key, raw, time.Hour).Err(); err != nil { // by a failover
			t.Fatal(err)
		}
		o.up(t)
		inTheEnd(t, row.name+": the second ending", func() bool { return record.IsTombstone(o.client.Get(t.Context(), key).Val()) })
		if got := old.do().body; got != "" {
			t.Errorf("%s: got the session of %q, want an anonymous one", row.name, got)
		}
	}
}

func TestParallelRequestsOfAnOutageSeeEachOther(t *testing.T) {
	for _, row := range []struct{ name, first, second, want string }{
		{"different keys", "set:a:1", "set:b:1", "alice a=1 b=1"},
		{"one counter", "add:n", "add:n", "alice n=2"},
	} {
		for _, early := range []bool{false, true} {
			o := newOutage(t)
			o.st.must("login:alice")
			if !early {
				o.down(t)
			}
			release := o.st.hold("hold " + row.first)
			if early {
				o.down(t)
			}
			o.st.must(row.second)
			if a := release(); a.StatusCode != http.StatusOK {
				t.Errorf("%s, loaded before the outage %v: got status %d, want 200", row.name, early, a.StatusCode)
			}
			if got := o.st.must().body; got != row.want {
				t.Errorf("%s, loaded before the outage %v: got %q during the outage, want %q", row.name, early, got, row.want)
			}
			o.up(t)
			o.flushed(t)
			if got := o.other.fork(o.st.cookie()).must().body; got != row.want {
				t.Errorf("%s, loaded before the outage %v: got %q afterwards, want %q", row.name, early, got, row.want)
			}
		}
	}
}

// A request that was running all the time gives the session a new id before
// the replay. A rotation leads the replay on; a login, which would end the old id
// for good, has to wait for it.
func TestARotationDoesNotLosePendingChanges(t *testing.T) {
	for _, row := range []struct {
		name, begin, ops string
		status           int
		want             string
	}{
		{"rotation", "login:alice", "rotate", http.StatusOK, "alice b=1"},
		{"login from an anonymous session", "set:a:1", "login:alice", http.StatusServiceUnavailable, "a=1 b=1"},
	} {
		o := newOutage(t)
		o.st.must(row.begin)
		release := o.st.hold("hold " + row.ops)
		writer := o.st.fork(o.st.cookie())
		o.down(t)
		writer.must("set:b:1")
		o.proxy.Reply(func(args []string) (string, bool) { // the replay has no luck yet
			return "-OOM command not allowed\r\n", strings.HasPrefix(args[0], "EVAL") && strings.Contains(strings.Join(args, " "), `"b":`)
		})
		o.up(t)
		if a := release(); a.StatusCode != row.status {
			t.Errorf("%s: got status %d, want %d", row.name, a.StatusCode, row.status)
		}
		o.proxy.Reply(nil)
		o.flushed(t)
		if got := o.other.fork(o.st.cookie()).must().body; got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

// refusing answers commands whose name begins so with reply.
func refusing(reply string, names ...string) func([]string) (string, bool) {
	return func(args []string) (string, bool) {
		for _, n := range names {
			if strings.HasPrefix(args[0], n) {
				return reply, true
			}
		}
		return "", false
	}
}

func TestWhatRedisRefusesIsKept(t *testing.T) {
	for _, row := range []struct {
		name, reply, write, read, closed string
		outages                          int
		commands                         []string
	}{
		{"no memory for a write", "-OOM command not allowed when used memory > 'maxmemory'\r\n", "200 alice a=1", "200 degraded alice a=1", "503 retry", 0, []string{"EVAL"}},
		{"a replica refuses a write", "-READONLY You can't write against a read only replica.\r\n", "200 alice a=1", "200 degraded alice a=1", "503 retry", 0, []string{"EVAL"}},
		{"Redis is loading", "-LOADING Redis is loading the dataset in memory\r\n", "200 degraded alice a=1", "200 degraded alice a=1", "503 retry", 1, []string{"EVAL", "GET", "EXPIRE", "PING"}},
	} {
		for policy := range redsession.OutagePolicy(policies) {
			o := newOutage(t, func(c *redsession.Config) { c.Outage = policy })
			o.st.must("login:alice")
			o.proxy.Reply(refusing(row.reply, row.commands...))
			wants := [][policies]string{{row.write, row.closed}, {row.read, "200 alice"}, {row.read, "200 alice"}, {row.read, "200 alice"}}
			for i, ops := range []string{"set:a:1", "", "", ""} {
				want := wants[i][policy]
				if policy == redsession.FailClosed && row.outages > 0 {
					want = row.closed
				}
				if got := outcome(o.st.do(ops)); got != want {
					t.Errorf("%s, policy %d, request %d: got %q, want %q", row.name, policy, i, got, want)
				}
			}
			if n := len(o.events.of(redsession.EventOutageBegan)); n != row.outages {
				t.Errorf("%s, policy %d: got %d outages, want %d", row.name, policy, n, row.outages)
			}
			o.proxy.Reply(nil)
			o.flushed(t)
			if got, want := o.other.fork(o.st.cookie()).must().body, [policies]string{"alice a=1", "alice"}[policy]; got != want {
				t.Errorf("%s, policy %d, afterwards: got %q, want %q", row.name, policy, got, want)
			}
		}
	}
}

func TestAHitWhoseEXPIREIsRefusedIsServed(t *testing.T) {
	for _, reply := range []string{"-READONLY You can't write against a read only replica.\r\n", "-OOM command not allowed\r\n", "-NOPERM this user has no permissions\r\n"} {
		o := newOutage(t)
		o.st.must("login:alice")
		o.proxy.Reply(refusing(reply, "EXPIRE"))
		if got := outcome(o.st.do()); got != "200 alice" {
			t.Errorf("%q: got %q, want 200 alice", reply, got)
		}
		if n := o.m.Stats().ExpireFailed; n != 1 {
			t.Errorf("%q: got %d counted, want 1", reply, n)
		}
	}
}

func TestCloseFlushesWhatRedisTakesAgain(t *testing.T) {
	o := newOutage(t)
	o.st.must("login:alice")
	leaver := o.st.fork("")
	leaver.must("login:bob")
	o.down(t)
	o.st.must("set:a:1")
	leaver.must("logout")
	o.proxy.Refuse(false)
	o.flushed(t)
	if got, n := o.other.fork(o.st.cookie()).must().body, o.living(t); got != "alice a=1" || n != 1 {
		t.Errorf("got %q and %d records, want alice a=1, alone", got, n)
	}
}

func TestCloseGivesUpAndSaysWhatIsLost(t *testing.T) {
	e := newMini(t)
	p := redistest.NewProxy(t, strings.TrimPrefix(e.url, "redis://"))
	m, err := redsession.New(redsession.Config{
		URL: p.URL, Secrets: [][]byte{secret}, Cookie: redsession.Cookie{InsecurePlainHTTP: true},
		Logger: slog.New(slog.DiscardHandler), OnEvent: e.events.add,
	})
	if err != nil {
		t.Fatal(err)
	}
	o := &outage{env: e, m: m, proxy: p, st: outageStage(t, m)}
	fellow, leaver := o.st.fork(""), o.st.fork("")
	o.st.must("login:alice")
	fellow.must("login:bob")
	leaver.must("login:carol")
	o.down(t)
	o.st.must("set:a:1")
	o.st.must("set:b:1")
	fellow.must("set:a:1")
	leaver.must("logout")
	begin := time.Now()
	err = m.Close()
	if took := time.Since(begin); took < 4*time.Second || took > 12*time.Second {
		t.Errorf("Close took %s, want about 5s", took)
	}
	if err == nil || !strings.Contains(err.Error(), "2 sessions") || !strings.Contains(err.Error(), "1 logout") {
		t.Errorf("Close: got %v, want to hear of 2 sessions and 1 logout", err)
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, f := range []string{"redsession.(*memory).run(", "redsession.(*breakers).probe("} {
		if n := strings.Count(string(stacks), f); n != 0 {
			t.Errorf("got %d goroutines in %s) after Close, want none", n, f)
		}
	}
}

func TestWhatAnOutageKeepsIsBounded(t *testing.T) {
	o := newOutage(t)
	st := outageStage(t, o.m, handlers{"/fill": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
		redsession.Key[string]("big").Set(s, r.FormValue("n")+strings.Repeat("x", 60_000))
	}})
	o.st = st
	st.must("login:alice")
	o.down(t)
	kept := 0
	for n := range 400 { // 24 MB
		a := st.get("/fill?n=" + string(rune('a'+n%26)))
		if a.StatusCode != http.StatusOK {
			if got := outcome(a); got != "503 retry" {
				t.Errorf("write %d: got %q, want 503 retry", n, got)
			}
			break
		}
		kept++
	}
	if kept < 20 || kept == 400 {
		t.Errorf("got %d writes of 60 KB kept, want some, but not all", kept)
	}
	o.up(t)
	o.flushed(t)
	want := "big=" + string(rune('a'+(kept-1)%26)) + "xxx"
	if got := o.other.fork(st.cookie()).must().body; !strings.Contains(got, want) {
		t.Errorf("got %.20q…, want what was acknowledged last: %q…", got, want)
	}
}
