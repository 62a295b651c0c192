package redsession_test

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

// behind makes a Manager that speaks to Redis through a proxy.
func (e *env) behind(t *testing.T, change ...func(*redsession.Config)) (*redsession.Manager, *redistest.Proxy) {
	t.Helper()
	o, err := redis.ParseURL(e.url)
	if err != nil {
		t.Fatal(err)
	}
	p := redistest.NewProxy(t, o.Addr)
	return e.manager(t, append(change, func(c *redsession.Config) { c.URL = p.URL })...), p
}

// patient is for tests with many writers, which take long on a busy machine.
func patient(c *redsession.Config) { c.RedisTimeout = time.Minute }

// sent returns what went to Redis since the last call, as "GET EXPIRE in 1".
func sent(p *redistest.Proxy) string {
	var names []string
	for _, args := range p.Commands() {
		names = append(names, args[0])
	}
	defer p.Reset()
	return fmt.Sprintf("%s in %d", strings.Join(names, " "), p.RoundTrips())
}

// tally is how a series of increments was answered.
type tally struct {
	acknowledged, failed atomic.Int64
	reported             bool // that postponed changes could not be kept
}

// forgive notes that m reported a postponed change whose replay had an unknown
// outcome: to apply it twice would be no better than to lose it.
func (c *tally) forgive(m *redsession.Manager) {
	c.reported = c.reported || m.Stats().Dropped > 0
}

func (c *tally) note(t *testing.T, a answer) {
	t.Helper()
	switch a.StatusCode {
	case http.StatusOK:
		c.acknowledged.Add(1)
	case http.StatusServiceUnavailable:
		c.failed.Add(1)
	default:
		t.Errorf("got status %d, want 200 or 503: %s", a.StatusCode, a.body)
	}
}

// check compares the answers with the counter n that they made.
func (c *tally) check(t *testing.T, sum string, sent int64) {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimPrefix(sum, "n="), 10, 64)
	if err != nil {
		t.Fatalf("got %q, want a number in n", sum)
	}
	acknowledged, failed := c.acknowledged.Load(), c.failed.Load()
	if acknowledged+failed != sent {
		t.Errorf("got %d acknowledged and %d failed, want %d together", acknowledged, failed, sent)
	}
	if n < acknowledged && !c.reported || n > sent {
		t.Errorf("got n=%d, want at least the %d acknowledged and at most the %d sent", n, acknowledged, sent)
	}
}

// every picks each nth script; hits counts those picked.
func every(nth int64, hits *atomic.Int64) func(args []string) bool {
	var seen atomic.Int64
	return func(args []string) bool {
		if !strings.HasPrefix(args[0], "EVAL") || seen.Add(1)%nth != 0 {
			return false
		}
		hits.Add(1)
		return true
	}
}

// atMost picks the first n commands that pick does; hits counts them all.
func atMost(n int64, hits *atomic.Int64, pick func(args []string) bool) func(args []string) bool {
	return func(args []string) bool { return pick(args) && hits.Add(1) <= n }
}

func TestALostReplyNeverCountsTwice(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		m, p := e.behind(t)
		st := newStage(t, m)
		st.must("set:a:1")
		var cut atomic.Int64
		p.CutReply(every(5, &cut))
		var c tally
		for range 30 {
			c.note(t, st.do("add:n"))
		}
		p.CutReply(nil)
		c.check(t, st.do("only:n").body, 30)
		if cut.Load() < 5 || c.failed.Load() != 0 {
			t.Errorf("got %d replies cut and %d increments failed, want at least 5, and none: the record tells that they are there", cut.Load(), c.failed.Load())
		}
	})
}

func TestALostRequestIsSentAgain(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		m, p := e.behind(t)
		st := newStage(t, m)
		st.must("set:a:1")
		var cut atomic.Int64
		p.CutRequest(every(5, &cut))
		for range 20 {
			st.must("add:n")
		}
		p.CutRequest(nil)
		if got := st.do("only:n").body; got != "n=20" || cut.Load() < 5 {
			t.Errorf("got %q and %d requests cut, want n=20 and at least 5", got, cut.Load())
		}
	})
}

// Under either policy: a series of cuts may look like an outage, and then what
// was acknowledged is in memory until Close.
func TestLostRepliesAmongParallelWriters(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		for _, policy := range []redsession.OutagePolicy{redsession.ServeKnown, redsession.FailClosed} {
			m, p := e.behind(t, patient, func(c *redsession.Config) { c.Outage = policy })
			st, direct := newStage(t, m), newStage(t, e.manager(t))
			st.must("set:a:1")
			var cut atomic.Int64
			p.CutReply(every(5, &cut))
			var c tally
			parallel(10, func(int) {
				for range 5 {
					c.note(t, st.do("add:n"))
				}
			})
			p.CutReply(nil)
			if err := m.Close(); err != nil || cut.Load() == 0 {
				t.Errorf("Close: got %v after %d cuts, want nil", err, cut.Load())
			}
			c.forgive(m)
			c.check(t, direct.fork(st.cookie()).do("only:n").body, 50)
		}
	})
}

func TestTwoServersWriteOneSession(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		for _, policy := range []redsession.OutagePolicy{redsession.ServeKnown, redsession.FailClosed} {
			choose := func(c *redsession.Config) { c.Outage = policy }
			m, p := e.behind(t, patient, choose)
			other := e.manager(t, patient, choose)
			first := newStage(t, m)
			first.must("set:a:1")
			servers := []*stage{first, newStage(t, other).fork(first.cookie())}
			var cut atomic.Int64
			p.CutReply(every(5, &cut))
			var c tally
			parallel(40, func(i int) { c.note(t, servers[i%2].do(fmt.Sprintf("add:n set:k%d:1", i))) })
			p.CutReply(nil)
			for _, m := range []*redsession.Manager{m, other} {
				if err := m.Close(); err != nil {
					t.Errorf("Close: got %v, want nil", err)
				}
				c.forgive(m)
			}
			direct := newStage(t, e.manager(t)).fork(first.cookie())
			c.check(t, direct.do("only:n").body, 40)
			all := direct.do().body
			if n := int64(strings.Count(all, "k")); n < c.acknowledged.Load() && !c.reported {
				t.Errorf("got %d keys of %d acknowledged requests: %s", n, c.acknowledged.Load(), all)
			}
		}
	})
}

func TestAnotherServerSeesLoginAndLogoutAtOnce(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		first, second := newStage(t, e.manager(t)), newStage(t, e.manager(t))
		first.must("login:alice set:a:1")
		if got := second.fork(first.cookie()).do().body; got != "alice a=1" {
			t.Errorf("got %q, want alice a=1", got)
		}
		second.fork(first.cookie()).must("logout")
		if got := first.do().body; got != "" {
			t.Errorf("logged out on the other server: got %q, want an anonymous session", got)
		}
	})
}

// A write whose reply was lost may be executed later than anything that was
// read meanwhile. Whatever else goes wrong then, it must not be kept for a replay.
func TestALateWriteIsNotAppliedTwice(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		m, p := e.behind(t)
		st, direct := newStage(t, m), newStage(t, e.manager(t))
		st.must("set:a:1")
		st.must("add:n") // Redis knows the script from here on
		cookie := st.cookie()
		release := st.hold("hold add:n")
		var late []string // on its way to Redis
		p.CutRequest(func(args []string) bool {
			switch {
			case args[0] == "PING": // no sign of life
				return true
			case late == nil && strings.HasPrefix(args[0], "EVAL"):
				late = args
				return true
			}
			return false
		})
		p.Reply(func(args []string) (string, bool) {
			if isGET(args) && late != nil { // the writer looks what became of it
				p.Reply(toGET("-LOADING Redis is loading\r\n"))
				for range 4 { // others find Redis away
					st.fork(cookie).do()
				}
				p.Reply(nil)
			}
			return "", false
		})
		a := release()
		if err := e.client.Do(t.Context(), anys(late)...).Err(); err != nil {
			t.Fatal(err) // it arrives
		}
		p.CutRequest(nil)
		if err := m.Close(); err != nil {
			t.Errorf("Close: got %v, want nil", err)
		}
		if got := direct.fork(cookie).do("only:n").body; got != "n=2" || a.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("got status %d and then %q, want 503 and n=2", a.StatusCode, got)
		}
	})
}

func anys(args []string) []any {
	list := make([]any, len(args))
	for i, a := range args {
		list[i] = a
	}
	return list
}

func TestALostReplyToTheFirstWriteIsHealed(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		m, p := e.behind(t)
		st := newStage(t, m)
		for _, row := range []struct {
			name   string
			times  int64
			status int
			want   string
		}{
			{"cut once, it is sent again", 1, http.StatusOK, "n=1"},
			{"cut each time, it is not there for the client", 1000, http.StatusServiceUnavailable, ""},
		} {
			var cut atomic.Int64
			fresh := st.fork("")
			p.CutReply(atMost(row.times, &cut, func(args []string) bool { return args[0] == "SETEX" }))
			a := fresh.do("add:n")
			p.CutReply(nil)
			if a.StatusCode != row.status || fresh.do().body != row.want {
				t.Errorf("%s: got %d and then %q, want %d and %q", row.name, a.StatusCode, fresh.do().body, row.status, row.want)
			}
			if ok := row.status == http.StatusOK; ok != (len(a.setCookies()) == 1) || cut.Load() == 0 {
				t.Errorf("%s: got cookies %v after %d cuts, want one only with 200", row.name, a.setCookies(), cut.Load())
			}
			if fresh.must("add:n"); fresh.cookie() == "" {
				t.Errorf("%s: the next write got no cookie", row.name)
			}
		}
	})
}

// The commands of a login, by what they are for.
func storesRecord(args []string) bool { return args[0] == "SETEX" }

func entersIndex(args []string) bool {
	return strings.HasPrefix(args[0], "EVAL") && strings.HasPrefix(args[3], "session:user:")
}

func setsTombstone(args []string) bool {
	return strings.HasPrefix(args[0], "EVAL") && !entersIndex(args)
}

func speaksOfSession(args []string) bool {
	return setsTombstone(args) || args[0] == "GET"
}

func TestALoginWithALostReplyCanBeRepeated(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		direct := newStage(t, e.manager(t))
		for _, row := range []struct {
			name   string
			pick   func(args []string) bool
			times  int64
			status int
			then   string // after a repetition, if the answer was not 200
		}{
			{"SETEX, once", storesRecord, 1, http.StatusOK, "alice cart=1"},
			{"the index, once", entersIndex, 1, http.StatusOK, "alice cart=1"},
			{"the tombstone, once", setsTombstone, 1, http.StatusOK, "alice cart=1"},
			{"SETEX, each time", storesRecord, 1000, http.StatusServiceUnavailable, "alice cart=1"},
			{"the index, each time", entersIndex, 1000, http.StatusServiceUnavailable, "alice cart=1"},
			{"the tombstone, each time", setsTombstone, 1000, http.StatusOK, "alice cart=1"},
			{"the tombstone, and reading it", speaksOfSession, 1000, http.StatusServiceUnavailable, "alice"}, // from empty
		} {
			m, p := e.behind(t)
			st := newStage(t, m)
			st.must("set:cart:1")
			old := st.cookie()
			var cut atomic.Int64
			release := st.hold("hold login:alice")
			p.CutReply(atMost(row.times, &cut, row.pick))
			a := release()
			p.CutReply(nil)
			if a.StatusCode != row.status || cut.Load() == 0 {
				t.Errorf("%s: got %d after %d cuts, want %d", row.name, a.StatusCode, cut.Load(), row.status)
			}
			then := direct.fork(st.cookie())
			if a.StatusCode != http.StatusOK {
				if len(a.setCookies()) != 0 {
					t.Errorf("%s: got cookies %v with a 503, want none", row.name, a.setCookies())
				}
				then.must("login:alice")
			}
			if got := then.do().body; got != row.then {
				t.Errorf("%s: got %q, want %q", row.name, got, row.then)
			}
			if got := direct.fork(old).do().body; got != "" {
				t.Errorf("%s: the old cookie reads %q, want an anonymous session", row.name, got)
			}
		}
	})
}

func TestALogoutWithALostReplyEndsTheSession(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		m, p := e.behind(t)
		root := newStage(t, m)
		for _, lose := range []func(func(args []string) bool){p.CutReply, p.CutRequest} {
			st := root.fork("")
			st.must("login:alice set:memo:x")
			old := st.cookie()
			var cut atomic.Int64
			lose(atMost(1, &cut, setsTombstone))
			a := st.must("logout")
			lose(nil)
			if c := a.setCookies(); len(c) != 1 || c[0].MaxAge >= 0 || cut.Load() == 0 {
				t.Errorf("got cookies %v after %d cuts, want one that has expired", c, cut.Load())
			}
			if got := root.fork(old).do().body; got != "" {
				t.Errorf("the old cookie reads %q, want an anonymous session", got)
			}
			if sessions, err := m.Sessions(t.Context(), "alice"); len(sessions) != 0 || err != nil {
				t.Errorf("got the sessions %v, %v, want none", sessions, err)
			}
		}
	})
}

func TestARevocationWithALostReplyIsTold(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		m, p := e.behind(t)
		root := newStage(t, m)
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
			st := root.fork("")
			st.must("login:alice")
			sessions, err := m.Sessions(t.Context(), "alice")
			if len(sessions) != 1 || err != nil {
				t.Fatalf("got the sessions %v, %v, want one", sessions, err)
			}
			before := m.Stats().Revoked
			var cut atomic.Int64
			p.CutReply(atMost(1, &cut, setsTombstone))
			n, err := row.revoke(sessions[0].ID)
			p.CutReply(nil)
			if told := m.Stats().Revoked - before; n != 1 || err != nil || told != 1 || cut.Load() == 0 {
				t.Errorf("%s: got %d, %v and %d events after %d cuts, want 1, nil and 1", row.name, n, err, told, cut.Load())
			}
		}
	})
}

func TestAFlushedScriptIsSentWhole(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		st := newStage(t, e.manager(t))
		for i, ops := range []string{"login:alice", "add:n", "add:n", "rotate", "add:n save add:n", "login:alice", "add:n"} {
			if err := e.client.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if a := st.must(ops); a.StatusCode != http.StatusOK {
				t.Errorf("request %d, %q: got %d after SCRIPT FLUSH, want 200", i, ops, a.StatusCode)
			}
		}
		e.client.ScriptFlush(t.Context())
		if got := st.do().body; got != "alice n=5" {
			t.Errorf("got %q, want alice n=5", got)
		}
		e.client.ScriptFlush(t.Context())
		if a := st.must("logout"); len(a.setCookies()) != 1 {
			t.Errorf("logout: got cookies %v, want one", a.setCookies())
		}
	})
}

func TestAnUnansweringRedisIsGivenUp(t *testing.T) {
	t.Parallel()
	mortalPlain(t, func(t *testing.T, e *env) {
		direct := newStage(t, e.manager(t))
		direct.must("set:memo:real")
		for _, row := range []struct {
			name   string
			hang   func(p *redistest.Proxy)
			atLoad bool
		}{
			{"a delay at the load", func(p *redistest.Proxy) { p.Delay(time.Hour) }, true}, // longer than any test
			{"a black hole at the commit", func(p *redistest.Proxy) { p.Blackhole(true) }, false},
		} {
			failures := len(e.events.of(redsession.EventFailed))
			m, p := e.behind(t, func(c *redsession.Config) { c.RedisTimeout = time.Second })
			st := newStage(t, m).fork(direct.cookie())
			var a answer
			if row.atLoad {
				row.hang(p)
				a = st.do("set:memo:late")
			} else {
				release := st.hold("hold set:memo:late")
				row.hang(p)
				a = release()
			}
			failed := e.events.of(redsession.EventFailed)[failures:]
			if len(failed) != 1 || !errors.Is(failed[0].Err, redsession.ErrUnavailable) {
				t.Errorf("%s: got the failures %v, want one that is ErrUnavailable", row.name, failed)
			}
			if a.StatusCode != http.StatusServiceUnavailable || len(a.setCookies()) != 0 {
				t.Errorf("%s: got %d and cookies %v, want 503 and none", row.name, a.StatusCode, a.setCookies())
			}
			p.Delay(0)
			p.Blackhole(false)
			if got := st.must().body; got != "memo=real" {
				t.Errorf("%s, afterwards: got %q, want memo=real", row.name, got)
			}
		}
	})
}
