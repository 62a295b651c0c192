// Package batch lets concurrent callers share round trips.
//
// There is no goroutine and no timer of its own, so a caller that is alone waits
// for nobody: it runs its own round trip. Callers that come while as many round
// trips are in flight as are allowed queue up, and the next one to end has one of
// them, the leader, take all of them along.
package batch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrAbandoned is that the caller whose round trip this was panicked in it.
// Nobody can tell how far it had got.
var ErrAbandoned = errors.New("the round trip was abandoned")

// Group shares round trips among the callers of Do. It is safe for concurrent
// use.
type Group[T any] struct {
	run         func(time.Time, []T)
	maxInFlight int
	maxSize     int

	mu       sync.Mutex // guards what follows
	inFlight int
	queue    []*waiter[T]

	batches sync.Pool // of *batch[T]
	waiters sync.Pool // of *waiter[T]
}

// New returns a Group that has at most maxInFlight calls of run under way, each with
// at most maxSize operations. run performs them all in one round trip, which ends by
// the time given, under a context of its own: several callers share it. It leaves in
// each operation what became of it.
func New[T any](maxInFlight, maxSize int, run func(deadline time.Time, ops []T)) *Group[T] {
	return &Group[T]{run: run, maxInFlight: maxInFlight, maxSize: maxSize}
}

// waiter is one caller in the queue, or in the batch of another caller.
type waiter[T any] struct {
	op    T
	wake  chan error
	batch *batch[T] // to be led by this caller; guarded by Group.mu
	gone  bool      // gave up, and can lead no more; guarded by Group.mu
}

// errLead wakes a caller who is to lead.
var errLead = errors.New("lead")

// batch is one round trip.
type batch[T any] struct {
	ops     []T
	waiters []*waiter[T] // all callers but the leader
}

// Do performs op, together with what others are waiting for. It returns nil once
// run has performed it, context.DeadlineExceeded after deadline, the error of ctx once
// that is over before the round trip, and ErrAbandoned. After an error op may still be in
// use by run, and must not be looked at.
func (g *Group[T]) Do(ctx context.Context, deadline time.Time, op T) error {
	g.mu.Lock()
	if g.inFlight < g.maxInFlight {
		g.inFlight++
		g.mu.Unlock()
		b := g.newBatch()
		b.ops = append(b.ops, op)
		g.lead(deadline, b)
		return nil
	}
	w := g.newWaiter(op)
	g.queue = append(g.queue, w)
	g.mu.Unlock()
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	select {
	case err := <-w.wake:
		return g.awake(deadline, w, err)
	case <-timer.C:
		g.giveUp(w)
		return context.DeadlineExceeded
	case <-ctx.Done():
		g.giveUp(w)
		return ctx.Err()
	}
}

// awake goes on with w, who was told err.
func (g *Group[T]) awake(deadline time.Time, w *waiter[T], err error) error {
	b := w.batch
	g.freeWaiter(w)
	if err != errLead {
		return err
	}
	g.lead(deadline, b)
	return nil
}

// giveUp lets w go, as its time is over: out of the queue, or out of the lead. In the
// middle of a round trip the others go on without it.
func (g *Group[T]) giveUp(w *waiter[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.queue, w); i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
		return
	}
	w.gone = true
	if b := w.batch; b != nil {
		waiting := slices.DeleteFunc(b.waiters, func(o *waiter[T]) bool { return o.gone })
		g.queue = append(waiting, g.queue...) // they came first
		g.nextLocked()
	}
}

// lead runs b, whose leader the caller is, tells the waiters, and hands the place
// among the round trips in flight to the next leader.
func (g *Group[T]) lead(deadline time.Time, b *batch[T]) {
	outcome := ErrAbandoned
	defer func() {
		for _, w := range b.waiters {
			w.wake <- outcome
		}
		g.mu.Lock()
		g.nextLocked()
		g.mu.Unlock()
		if outcome == nil {
			g.freeBatch(b)
		}
	}()
	g.run(deadline, b.ops)
	outcome = nil
}

// nextLocked hands on the place of a round trip that has ended. The leader is who
// came last: that caller has most time left, so that nobody's end cuts another one
// short.
func (g *Group[T]) nextLocked() {
	n := min(len(g.queue), g.maxSize)
	if n == 0 {
		g.inFlight--
		return
	}
	b := g.newBatch()
	for _, w := range g.queue[:n] {
		b.ops = append(b.ops, w.op)
	}
	leader := g.queue[n-1]
	b.waiters = append(b.waiters, g.queue[:n-1]...)
	g.queue = slices.Delete(g.queue, 0, n)
	leader.batch = b
	leader.wake <- errLead
}

func (g *Group[T]) newWaiter(op T) *waiter[T] {
	w, ok := g.waiters.Get().(*waiter[T])
	if !ok {
		w = &waiter[T]{wake: make(chan error, 1)}
	}
	w.op = op
	return w
}

func (g *Group[T]) freeWaiter(w *waiter[T]) {
	var none T
	w.op, w.batch = none, nil
	g.waiters.Put(w)
}

func (g *Group[T]) newBatch() *batch[T] {
	if b, ok := g.batches.Get().(*batch[T]); ok {
		return b
	}
	return new(batch[T])
}

func (g *Group[T]) freeBatch(b *batch[T]) {
	clear(b.ops)
	clear(b.waiters)
	b.ops, b.waiters = b.ops[:0], b.waiters[:0]
	g.batches.Put(b)
}
