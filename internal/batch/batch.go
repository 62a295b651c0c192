// Package batch lets concurrent callers share round trips.
//
// There is no goroutine and no timer of its own, so a caller that is alone waits
// for nobody: it runs its own round trip. Callers that come while as many round
// trips are under way as are allowed queue up, and the next one to end has one of
// them, the leader, take all of them along.
package batch

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// ErrAbandoned is that the caller whose round trip this was panicked in it.
// Nobody can tell how far it had got.
var ErrAbandoned = errors.New("the round trip was abandoned")

// Group shares round trips among the callers of Do. It is safe for concurrent
// use.
type Group[T any] struct {
	run     func(context.Context, []T)
	flights int
	load    int

	mu     sync.Mutex // guards what follows
	flying int
	queue  []*call[T]

	trips sync.Pool // of *trip[T]
	calls sync.Pool // of *call[T]
}

// New returns a Group that has at most flights calls of run under way, each with
// at most load operations. run performs them all in one round trip, bounded by
// its context, which is that of one of the callers, and leaves in each what became
// of it.
func New[T any](flights, load int, run func(context.Context, []T)) *Group[T] {
	return &Group[T]{run: run, flights: flights, load: load}
}

// call is one caller who waits.
type call[T any] struct {
	op   T
	wake chan error
	trip *trip[T] // to be led by this caller; guarded by Group.mu
	gone bool     // gave up, and can lead no more; guarded by Group.mu
}

// errLead wakes a caller who is to lead.
var errLead = errors.New("lead")

// trip is one round trip.
type trip[T any] struct {
	ops        []T
	passengers []*call[T] // all callers but the leader
}

// Do performs op, together with what others are waiting for. It returns nil once
// run has performed it, the context's error once ctx is over, and ErrAbandoned.
// After an error op may still be in use by run, and must not be looked at.
func (g *Group[T]) Do(ctx context.Context, op T) error {
	g.mu.Lock()
	if g.flying < g.flights {
		g.flying++
		g.mu.Unlock()
		t := g.newTrip()
		t.ops = append(t.ops, op)
		g.lead(ctx, t)
		return nil
	}
	c := g.newCall(op)
	g.queue = append(g.queue, c)
	g.mu.Unlock()
	select {
	case err := <-c.wake:
		return g.awake(ctx, c, err)
	case <-ctx.Done():
		return g.giveUp(ctx, c)
	}
}

// awake goes on with c, who was told err.
func (g *Group[T]) awake(ctx context.Context, c *call[T], err error) error {
	t := c.trip
	g.freeCall(c)
	if err != errLead {
		return err
	}
	g.lead(ctx, t)
	return nil
}

// giveUp lets c go, as its context is over: out of the queue, or out of the lead.
// In the middle of a round trip the others go on without it.
func (g *Group[T]) giveUp(ctx context.Context, c *call[T]) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.queue, c); i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
		return ctx.Err()
	}
	c.gone = true
	if t := c.trip; t != nil {
		waiting := slices.DeleteFunc(t.passengers, func(p *call[T]) bool { return p.gone })
		g.queue = append(waiting, g.queue...) // they came first
		g.nextLocked()
	}
	return ctx.Err()
}

// lead runs t, whose leader the caller is, tells the passengers, and hands the
// place among the round trips under way to the next leader.
func (g *Group[T]) lead(ctx context.Context, t *trip[T]) {
	outcome := ErrAbandoned
	defer func() {
		for _, c := range t.passengers {
			c.wake <- outcome
		}
		g.mu.Lock()
		g.nextLocked()
		g.mu.Unlock()
		if outcome == nil {
			g.freeTrip(t)
		}
	}()
	g.run(ctx, t.ops)
	outcome = nil
}

// nextLocked hands on the place of a round trip that has ended. The leader is
// who came last: its context lasts longest, so that nobody's end cuts another
// one short.
func (g *Group[T]) nextLocked() {
	n := min(len(g.queue), g.load)
	if n == 0 {
		g.flying--
		return
	}
	t := g.newTrip()
	for _, c := range g.queue[:n] {
		t.ops = append(t.ops, c.op)
	}
	leader := g.queue[n-1]
	t.passengers = append(t.passengers, g.queue[:n-1]...)
	g.queue = slices.Delete(g.queue, 0, n)
	leader.trip = t
	leader.wake <- errLead
}

func (g *Group[T]) newCall(op T) *call[T] {
	c, ok := g.calls.Get().(*call[T])
	if !ok {
		c = &call[T]{wake: make(chan error, 1)}
	}
	c.op = op
	return c
}

func (g *Group[T]) freeCall(c *call[T]) {
	var none T
	c.op, c.trip = none, nil
	g.calls.Put(c)
}

func (g *Group[T]) newTrip() *trip[T] {
	if t, ok := g.trips.Get().(*trip[T]); ok {
		return t
	}
	return new(trip[T])
}

func (g *Group[T]) freeTrip(t *trip[T]) {
	clear(t.ops)
	clear(t.passengers)
	t.ops, t.passengers = t.ops[:0], t.passengers[:0]
	g.trips.Put(t)
}
