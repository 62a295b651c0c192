package attack_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

// One key of one session, changed by several browsers that share its cookie, on two servers, must behave as one variable
// behind a lock: each answer of status 200 takes effect once, between request and answer. An answer of status 503 says
// that nobody knows; such a change may come later, but not twice.

const shared = redsession.Key[string]("shared")

// access is one request; its tag occurs in no other.
type access struct{ kind, tag string }

// effect is what the request says of the key: what it holds afterwards, or what Take took.
type effect struct{ value string }

// variable is the sequential model. Its state is the value, "" for none.
var variable = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		old, in := state.(string), input.(access)
		next := old
		switch in.kind {
		case "set":
			next = in.tag
		case "update":
			next = old + in.tag
		case "delete", "take":
			next = ""
		}
		if output == nil { // unknown
			return true, next
		}
		want := next
		if in.kind == "take" {
			want = old
		}
		return output.(effect).value == want, next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprint(input, " ", output) },
}

// perform does what a says and commits it.
func perform(a access) handler {
	return func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		var taken string
		var err error
		switch a.kind {
		case "set":
			shared.Set(s, a.tag)
		case "update":
			shared.Update(s, func(old string) string { return old + a.tag })
		case "delete":
			shared.Delete(s)
		case "take":
			taken, _, err = shared.Take(r.Context(), s)
		case "rotate":
			s.Rotate()
		}
		if err = errors.Join(err, s.Save(r.Context())); err != nil {
			http.Error(w, "not kept", statusOf(err))
			return
		}
		if a.kind != "take" {
			taken, _ = shared.Get(s)
		}
		fmt.Fprint(w, taken)
	}
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, redsession.ErrGone):
		return http.StatusConflict
	case errors.Is(err, redsession.ErrUnavailable):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// pair is two servers on one Redis, the first behind a proxy.
type pair struct {
	servers [2]*redsession.Manager
	proxy   *redistest.Proxy
}

func newPair(t *testing.T, change func(*redsession.Config)) *pair {
	t.Helper()
	srv := redistest.Start(t)
	p := &pair{proxy: redistest.NewProxy(t, srv.Addr)}
	for i, addr := range []string{p.proxy.Addr, srv.Addr} {
		client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
		t.Cleanup(func() { client.Close() })
		c := settings(client, "linear:", time.Now)
		change(&c)
		p.servers[i] = newManager(t, c)
	}
	return p
}

// losses is which scripts lose their reply, or do not arrive; 0 for none.
type losses struct{ reply, request int64 }

func (p *pair) lose(l losses) {
	nth := func(n int64) func([]string) bool {
		if n == 0 {
			return nil
		}
		var seen atomic.Int64
		return func(args []string) bool { return strings.HasPrefix(args[0], "EVAL") && seen.Add(1)%n == 0 }
	}
	p.proxy.CutReply(nth(l.reply))
	p.proxy.CutRequest(nth(l.request))
}

// awaitCalm waits until the breaker that earlier losses opened is closed again.
func (p *pair) awaitCalm(rt *rapid.T, cookie string) {
	for deadline := time.Now().Add(20 * time.Second); look(p.servers[0], cookie).status != 200; {
		if time.Now().After(deadline) {
			rt.Fatal("the first server does not find Redis again")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// step is one request of a script, to one of the servers.
type step struct {
	access
	server int
}

// drawScripts draws what each of several browsers does, one request after the other.
func drawScripts(rt *rapid.T) [][]step {
	kinds := rapid.SampledFrom([]string{"get", "get", "set", "update", "update", "update", "delete", "take", "rotate"})
	one := rapid.Custom(func(rt *rapid.T) step {
		return step{access{kind: kinds.Draw(rt, "kind")}, rapid.IntRange(0, 1).Draw(rt, "server")}
	})
	scripts := rapid.SliceOfN(rapid.SliceOfN(one, 2, 8), 2, 5).Draw(rt, "scripts")
	for i := range scripts {
		for j := range scripts[i] {
			scripts[i][j].tag = "[" + strconv.Itoa(i) + "." + strconv.Itoa(j) + "]"
		}
	}
	return scripts
}

// history collects operations of several goroutines.
type history struct {
	began time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

func (h *history) now() int64 { return int64(time.Since(h.began)) }

func (h *history) add(op porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
}

// observed leaves out the writes with an unknown outcome that nobody saw. Every answer between such a write and the next
// that makes it void would show its tag, so that it explains nothing; but it would make the search long.
func (h *history) observed() []porcupine.Operation {
	var seen strings.Builder
	for _, op := range h.ops {
		if out, ok := op.Output.(effect); ok {
			seen.WriteString(out.value)
		}
	}
	return slices.DeleteFunc(slices.Clone(h.ops), func(op porcupine.Operation) bool {
		in := op.Input.(access)
		return op.Output == nil && (in.kind == "set" || in.kind == "update") && !strings.Contains(seen.String(), in.tag)
	})
}

func TestOneKeyIsLinearizable(t *testing.T) {
	p := newPair(t, func(c *redsession.Config) { c.Outage = redsession.FailClosed })
	var histories, requests, unknown atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		scripts := drawScripts(rt)
		lost := losses{
			rapid.SampledFrom([]int64{0, 0, 2, 3, 5}).Draw(rt, "nth reply lost"),
			rapid.SampledFrom([]int64{0, 0, 3, 5}).Draw(rt, "nth request lost"),
		}
		var owner browser
		if a := owner.send(context.Background(), p.servers[1], all(login("alice"), set("other", "1"))); a.status != 200 {
			rt.Fatalf("login: got status %d, want 200", a.status)
		}
		p.awaitCalm(rt, owner.cookie)
		p.lose(lost)
		h := &history{began: time.Now()}
		var all sync.WaitGroup
		var faults sync.Map
		for i, script := range scripts {
			all.Go(func() {
				b := browser{cookie: owner.cookie}
				for _, st := range script {
					if fault := h.run(&b, p.servers[st.server], i, st.access, &unknown); fault != "" {
						faults.Store(fault, true)
					}
				}
			})
		}
		all.Wait()
		p.lose(losses{})
		final := browser{cookie: owner.cookie}
		if fault := h.run(&final, p.servers[1], len(scripts), access{kind: "get"}, &unknown); fault != "" {
			faults.Store(fault, true)
		}
		faults.Range(func(fault, _ any) bool {
			rt.Errorf("%s", fault)
			return true
		})
		histories.Add(1)
		requests.Add(int64(len(h.ops)))
		if got := porcupine.CheckOperationsTimeout(variable, h.observed(), 20*time.Second); got != porcupine.Ok {
			rt.Errorf("got a history that is %s, want one that is linearizable: %v", got, h.ops)
		}
	})
	t.Logf("%d histories of %d requests, %d of them with an unknown outcome", histories.Load(), requests.Load(), unknown.Load())
}

// run performs one request, notes it, and says what is wrong with the answer by itself.
func (h *history) run(b *browser, m *redsession.Manager, client int, in access, unknown *atomic.Int64) string {
	op := porcupine.Operation{ClientId: client, Input: in, Call: h.now()}
	a := b.send(context.Background(), m, perform(in))
	op.Return = h.now()
	switch {
	case len(a.ours) > 1:
		return fmt.Sprintf("%s: got %d cookies of ours, want one at most", in.kind, len(a.ours))
	case in.kind == "rotate" && (a.status == 200 || a.status == 503), in.kind == "get" && a.status == 503:
		return ""
	case a.status == 503:
		unknown.Add(1)
		op.Return = math.MaxInt64
	case a.status == 200:
		op.Output = effect{a.body}
	default:
		return fmt.Sprintf("%s: got status %d, want 200 or 503", in.kind, a.status)
	}
	h.add(op)
	return ""
}
