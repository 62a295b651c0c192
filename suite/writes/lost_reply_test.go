package writes_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// tally is how a series of increments was answered.
type tally struct {
	acknowledged, failed atomic.Int64
}

func (c *tally) note(t *testing.T, a stage.Answer) {
	t.Helper()
	switch a.StatusCode {
	case http.StatusOK:
		c.acknowledged.Add(1)
	case http.StatusServiceUnavailable:
		c.failed.Add(1)
	default:
		t.Errorf("got status %d, want 200 or 503: %s", a.StatusCode, a.Text)
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
	if n < acknowledged || n > sent {
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

func TestWritesWithALostReplyCountOnce(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m, p := e.Behind(t)
		st := stage.NewScripted(t, m)
		st.Must("set:a:1")
		var cut atomic.Int64
		p.CutReply(every(5, &cut))
		var c tally
		for range 30 {
			c.note(t, st.Do("add:n"))
		}
		p.CutReply(nil)
		c.check(t, st.Do("only:n").Text, 30)
		if cut.Load() < 5 || c.failed.Load() != 0 {
			t.Errorf("got %d replies cut and %d increments failed, want at least 5, and none: the record tells that they are there", cut.Load(), c.failed.Load())
		}
	})
}

func TestWritesWithALostRequestAreSentAgain(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m, p := e.Behind(t)
		st := stage.NewScripted(t, m)
		st.Must("set:a:1")
		var cut atomic.Int64
		p.CutRequest(every(5, &cut))
		for range 20 {
			st.Must("add:n")
		}
		p.CutRequest(nil)
		if got := st.Do("only:n").Text; got != "n=20" || cut.Load() < 5 {
			t.Errorf("got %q and %d requests cut, want n=20 and at least 5", got, cut.Load())
		}
	})
}

// Under either policy: a series of cuts may look like an outage, and then what
// was acknowledged is in memory until Close.
func TestWritesInParallelWithLostReplies(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for _, policy := range []redsession.OutagePolicy{redsession.ServeKnown, redsession.FailClosed} {
			m, p := e.Behind(t, stage.Patient, func(c *redsession.Config) { c.Outage = policy })
			st, direct := stage.NewScripted(t, m), stage.NewScripted(t, e.Manager(t))
			st.Must("set:a:1")
			var cut atomic.Int64
			p.CutReply(every(5, &cut))
			var c tally
			stage.Parallel(10, func(int) {
				for range 5 {
					c.note(t, st.Do("add:n"))
				}
			})
			p.CutReply(nil)
			if err := m.Close(); err != nil || cut.Load() == 0 {
				t.Errorf("Close: got %v after %d cuts, want nil", err, cut.Load())
			}
			c.check(t, direct.Fork(st.Cookie()).Do("only:n").Text, 50)
		}
	})
}

func TestWritesOfTwoServersToOneSession(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for _, policy := range []redsession.OutagePolicy{redsession.ServeKnown, redsession.FailClosed} {
			choose := func(c *redsession.Config) { c.Outage = policy }
			m, p := e.Behind(t, stage.Patient, choose)
			other := e.Manager(t, stage.Patient, choose)
			first := stage.NewScripted(t, m)
			first.Must("set:a:1")
			servers := []*stage.Scripted{first, stage.NewScripted(t, other).Fork(first.Cookie())}
			var cut atomic.Int64
			p.CutReply(every(5, &cut))
			var c tally
			stage.Parallel(40, func(i int) { c.note(t, servers[i%2].Do(fmt.Sprintf("add:n set:k%d:1", i))) })
			p.CutReply(nil)
			for _, m := range []*redsession.Manager{m, other} {
				if err := m.Close(); err != nil {
					t.Errorf("Close: got %v, want nil", err)
				}
			}
			direct := stage.NewScripted(t, e.Manager(t)).Fork(first.Cookie())
			c.check(t, direct.Do("only:n").Text, 40)
			all := direct.Do().Text
			if n := int64(strings.Count(all, "k")); n < c.acknowledged.Load() {
				t.Errorf("got %d keys of %d acknowledged requests: %s", n, c.acknowledged.Load(), all)
			}
		}
	})
}

func TestLoginAndLogoutAreSeenByAnotherServerAtOnce(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		first, second := stage.NewScripted(t, e.Manager(t)), stage.NewScripted(t, e.Manager(t))
		first.Must("login:alice set:a:1")
		if got := second.Fork(first.Cookie()).Do().Text; got != "alice a=1" {
			t.Errorf("got %q, want alice a=1", got)
		}
		second.Fork(first.Cookie()).Must("logout")
		if got := first.Do().Text; got != "" {
			t.Errorf("logged out on the other server: got %q, want an anonymous session", got)
		}
	})
}

// A write whose request did not arrive may be executed later than anything that was read meanwhile, and than its answer.
func TestWritesThatComeLateAreNotAppliedTwice(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range e.BothWays() {
			m, p := e.BehindBy(t, maker)
			st, direct := stage.NewScripted(t, m), stage.NewScripted(t, e.Manager(t))
			st.Must("set:a:1")
			st.Must("add:n") // Redis knows the script from here on
			cookie := st.Cookie()
			release := st.Hold("hold add:n")
			var mu sync.Mutex
			var late [][]string // on its way to Redis
			p.CutRequest(func(args []string) bool {
				mu.Lock()
				defer mu.Unlock()
				if stage.IsScript(args) {
					late = append(late, args)
				}
				return strings.HasPrefix(args[0], "EVAL") // probes of writing as well
			})
			p.Reset()
			a := release()
			p.CutRequest(nil)
			if n := len(p.Commands()); n > 50 {
				t.Errorf("%s: got %d commands, want a few: what is not sent is not to be asked after", way, n)
			}
			if err := m.Close(); err != nil {
				t.Errorf("%s: Close: got %v, want nil", way, err)
			}
			if got := direct.Fork(cookie).Do("only:n").Text; got != "n=1" || a.StatusCode != http.StatusServiceUnavailable || len(late) == 0 {
				t.Errorf("%s: got status %d and then %q, %d requests lost, want 503 and n=1", way, a.StatusCode, got, len(late))
			}
			for _, args := range late { // they arrive
				if err := e.Client.Do(t.Context(), anys(args)...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			if got := direct.Fork(cookie).Do("only:n").Text; got != "n=2" {
				t.Errorf("%s: got %q once they have come, want n=2", way, got)
			}
			direct.Fork(cookie).Must("add:n")
			if got := direct.Fork(cookie).Do("only:n").Text; got != "n=3" {
				t.Errorf("%s: got %q after another write, want n=3", way, got)
			}
		}
	})
}

// What is sent again may find that the first sending has come meanwhile.
func TestWritesThatComeWithTheirRepetitionAreAppliedOnce(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range e.BothWays() {
			m, p := e.BehindBy(t, maker)
			root, direct := stage.NewScripted(t, m), stage.NewScripted(t, e.Manager(t))
			root.Must("set:warm:1")
			for ops, want := range map[string]string{
				"add:n": "alice a=1 n=2", "rotate add:n": "alice a=1 n=2", "login:alice add:n": "alice a=1 n=2",
			} {
				st := root.Fork("")
				st.Must("login:alice set:a:1 add:n")
				release := st.Hold("hold " + ops)
				var mu sync.Mutex
				var first []string
				again := 0
				p.CutRequest(func(args []string) bool {
					mu.Lock()
					defer mu.Unlock()
					if !stage.SetsTombstone(args) {
						return false
					}
					if first == nil {
						first = args
						return true
					}
					if again++; again == 1 {
						if err := e.Client.Do(t.Context(), anys(first)...).Err(); err != nil {
							t.Error(err)
						}
					}
					return false
				})
				a := release()
				p.CutRequest(nil)
				if got := direct.Fork(st.Cookie()).Do().Text; a.StatusCode != http.StatusOK || got != want || again == 0 {
					t.Errorf("%s, %q: got %d and then %q after %d repetitions, want 200 and %q", way, ops, a.StatusCode, got, again, want)
				}
			}
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

func TestWritesWithALostReplyToTheFirstAreHealed(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m, p := e.Behind(t)
		st := stage.NewScripted(t, m)
		for _, row := range []struct {
			name   string
			times  int64
			status int
			want   string
		}{
			{"cut once, it is sent again", 1, http.StatusOK, "n=1"},
			{"cut each time, it is not there for the client", 1000, http.StatusServiceUnavailable, ""},
		} {
			t.Run(row.name, func(t *testing.T) {
				var cut atomic.Int64
				fresh := st.Fork("")
				p.CutReply(stage.AtMost(row.times, &cut, stage.StoresRecord))
				a := fresh.Do("add:n")
				p.CutReply(nil)
				e.UntilNoOutage(t)
				if a.StatusCode != row.status || fresh.Do().Text != row.want {
					t.Errorf("got %d and then %q, want %d and %q", a.StatusCode, fresh.Do().Text, row.status, row.want)
				}
				if ok := row.status == http.StatusOK; ok != (len(a.SetCookies()) == 1) || cut.Load() == 0 {
					t.Errorf("got cookies %v after %d cuts, want one only with 200", a.SetCookies(), cut.Load())
				}
				if fresh.Must("add:n"); fresh.Cookie() == "" {
					t.Error("the next write got no cookie")
				}
			})
		}
	})
}

func TestWritesWithAFlushedScriptSendItWhole(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		st := stage.NewScripted(t, e.Manager(t))
		for i, ops := range []string{"login:alice", "add:n", "add:n", "rotate", "add:n save add:n", "login:alice", "add:n"} {
			if err := e.Client.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			if a := st.Must(ops); a.StatusCode != http.StatusOK {
				t.Errorf("request %d, %q: got %d after SCRIPT FLUSH, want 200", i, ops, a.StatusCode)
			}
		}
		e.Client.ScriptFlush(t.Context())
		if got := st.Do().Text; got != "alice n=5" {
			t.Errorf("got %q, want alice n=5", got)
		}
		e.Client.ScriptFlush(t.Context())
		if a := st.Must("logout"); len(a.SetCookies()) != 1 {
			t.Errorf("logout: got cookies %v, want one", a.SetCookies())
		}
	})
}
