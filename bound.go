package redsession

import (
	"context"
	"sync"
	"time"
)

// boundedContext is what all Redis work of one load or commit runs under. It
// ends after RedisTimeout, and not with the caller's context, whose values it
// has: the client's going away must not cut an exchange with Redis, as that would
// cost a connection and look like an outage.
type boundedContext struct {
	values context.Context
	until  time.Time
	timer  *time.Timer
	done   chan struct{}
	err    error // written before done is closed
}

// boundedContexts are those whose end never came: each request needs one.
var boundedContexts sync.Pool

// bounded returns a context for Redis work on behalf of ctx. Call end on it.
func (a *Admin) bounded(ctx context.Context) *boundedContext {
	c, ok := boundedContexts.Get().(*boundedContext)
	if !ok {
		c = &boundedContext{done: make(chan struct{})}
	}
	c.values, c.until = ctx, time.Now().Add(a.cfg.RedisTimeout)
	if ok {
		c.timer.Reset(a.cfg.RedisTimeout)
	} else {
		c.timer = time.AfterFunc(a.cfg.RedisTimeout, func() { c.finish(context.DeadlineExceeded) })
	}
	return c
}

// end ends c. With reuse the caller promises that nobody has kept it.
func (c *boundedContext) end(reuse bool) {
	switch {
	case !c.timer.Stop(): // it is over, or just ending
	case reuse:
		c.values = nil
		boundedContexts.Put(c)
	default:
		c.finish(context.Canceled)
	}
}

func (c *boundedContext) finish(err error) {
	c.err = err
	close(c.done)
}

func (c *boundedContext) Deadline() (time.Time, bool) { return c.until, true }

func (c *boundedContext) Done() <-chan struct{} { return c.done }

func (c *boundedContext) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

func (c *boundedContext) Value(key any) any { return c.values.Value(key) }

// lasting returns the caller's context that ctx was made of: who gets it may keep
// it, while a boundedContext goes on to serve another request.
func lasting(ctx context.Context) context.Context {
	for {
		c, ours := ctx.(*boundedContext)
		if !ours {
			return ctx
		}
		ctx = c.values
	}
}
