package redsession_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

// Redis takes one postponed change and then no more, as if it went away again.
func TestAReplayCutShortHidesNoPostponedChange(t *testing.T) {
	o := newOutage(t)
	o.st.must("login:alice")
	o.st.must("set:a:1") // Redis knows the script from here on
	var room atomic.Int32
	o.proxy.Reply(func(args []string) (string, bool) {
		writes := strings.HasPrefix(strings.ToUpper(args[0]), "EVAL")
		return "-OOM command not allowed when used memory > 'maxmemory'\r\n", writes && room.Add(-1) < 0
	})
	for range 3 {
		o.st.must("add:n")
	}
	room.Store(1)
	for _, row := range []struct{ ops, want string }{
		{"", "200 degraded alice a=1 n=3"},
		{"add:n", "200 degraded alice a=1 n=4"},
		{"", "200 degraded alice a=1 n=4"},
	} {
		if got := outcome(o.st.do(row.ops)); got != row.want {
			t.Errorf("%q: got %q, want %q", row.ops, got, row.want)
		}
	}
	o.proxy.Reply(nil)
	o.flushed(t)
	if got := o.other.fork(o.st.cookie()).must().body; got != "alice a=1 n=4" {
		t.Errorf("afterwards: got %q, want alice a=1 n=4", got)
	}
}

// Each of the changes has RedisTimeout, all of them together must not.
func TestALoadDoesNotWaitForAllThatWasPostponed(t *testing.T) {
	const delay, changes = 40 * time.Millisecond, 100
	o := newOutage(t, func(c *redsession.Config) { c.RedisTimeout = 10 * delay })
	o.st.must("login:alice")
	o.down(t)
	for range changes {
		o.st.must("add:n")
	}
	o.proxy.Delay(delay)
	o.up(t)
	if got := o.st.must().body; got != "alice n=100" {
		t.Errorf("got %q, want alice n=100", got)
	}
	if got := o.other.fork(o.st.cookie()).must().body; got == "alice n=100" {
		t.Errorf("got %q at another server as soon as the load was answered, want the replay to go on", got)
	}
	o.proxy.Delay(0)
	o.flushed(t)
	if got := o.other.fork(o.st.cookie()).must().body; got != "alice n=100" {
		t.Errorf("afterwards: got %q, want alice n=100", got)
	}
}

// turnstile is a hook that keeps scripts waiting while it is closed, whatever their context says.
type turnstile struct{ open atomic.Pointer[chan struct{}] }

func (ts *turnstile) close() (open func()) {
	held := make(chan struct{})
	ts.open.Store(&held)
	return sync.OnceFunc(func() { ts.open.Store(nil); close(held) })
}

func (ts *turnstile) DialHook(next redis.DialHook) redis.DialHook { return next }

func (ts *turnstile) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (ts *turnstile) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if held := ts.open.Load(); held != nil && strings.HasPrefix(cmd.Name(), "eval") {
			<-*held
		}
		return next(ctx, cmd)
	}
}

func TestALoadDoesNotWaitForAReplayThatTakesLonger(t *testing.T) {
	e := newMini(t)
	p := redistest.NewProxy(t, strings.TrimPrefix(e.url, "redis://"))
	client := redis.NewClient(&redis.Options{Addr: p.Addr, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { client.Close() })
	var gate turnstile
	client.AddHook(&gate)
	m := e.manager(t, func(c *redsession.Config) {
		c.URL, c.Client, c.RedisTimeout = "", client, 200*time.Millisecond
	})
	o := &outage{env: e, m: m, proxy: p, st: outageStage(t, m), other: newStage(t, e.manager(t))}
	o.st.must("login:alice")
	o.down(t)
	o.st.must("add:n")
	open := gate.close()
	t.Cleanup(open) // before Close, which waits for the replay
	o.up(t)
	if got := outcome(o.st.do()); got != "200 degraded alice n=1" {
		t.Errorf("while the replay is under way: got %q, want the session from memory", got)
	}
	open()
	o.flushed(t)
	if got := o.other.fork(o.st.cookie()).must().body; got != "alice n=1" {
		t.Errorf("afterwards: got %q, want alice n=1", got)
	}
}
