package stage

import (
	"context"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
)

// Latch is a go-redis hook that holds back one exchange with Redis.
type Latch struct {
	mu      sync.Mutex
	left    int // exchanges until the one that is held back
	reached chan struct{}
	open    chan struct{}
}

// DialHook is one of redis.Hook.
func (l *Latch) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook is one of redis.Hook.
func (l *Latch) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		l.pass(cmd)
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook is one of redis.Hook.
func (l *Latch) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		l.pass(cmds[0])
		return next(ctx, cmds)
	}
}

func (l *Latch) pass(cmd redis.Cmder) {
	switch cmd.Name() {
	case "hello", "client", "ping", "select", "auth", "cluster", "command", "asking": // of the connection
		return
	}
	l.mu.Lock()
	l.left--
	hold, reached, open := l.left == 0, l.reached, l.open
	l.mu.Unlock()
	if hold {
		close(reached)
		<-open
	}
}

// Between runs first, and second before first's nth exchange with Redis. It
// reports false if first has fewer, and has then run first alone. What first leaves to the background may come too late
// to be held back.
func (l *Latch) Between(n int, first, second func()) bool {
	l.mu.Lock()
	l.left, l.reached, l.open = n, make(chan struct{}), make(chan struct{})
	l.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		first()
	}()
	select {
	case <-l.reached:
	case <-done:
	}
	l.mu.Lock()
	held := l.left <= 0
	l.left = 0
	l.mu.Unlock()
	if held {
		second()
		close(l.open)
		<-done
	}
	return held
}

// Hooked makes a Manager whose exchanges with Redis pass through hook.
func (e *Env) Hooked(t *testing.T, hook redis.Hook, change ...func(*redsession.Config)) *redsession.Manager {
	t.Helper()
	return e.HookedBy(t, e.Manager, hook, change...)
}

// HookedBy is Hooked for a Manager that make makes: one of BothWays.
func (e *Env) HookedBy(t *testing.T, make Maker, hook redis.Hook, change ...func(*redsession.Config)) *redsession.Manager {
	t.Helper()
	client := e.NewClient(t)
	client.AddHook(hook)
	return make(t, append(change, func(c *redsession.Config) { c.URL, c.Client = "", client })...)
}
