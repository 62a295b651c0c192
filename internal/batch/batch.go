// Package batch lets concurrent callers share round trips.
//
// A caller that is alone waits for nobody: it runs its own round trip, and there is no
// goroutine but those of the callers. Callers that come while another round trip is under
// way queue up for a part of what one usually takes, unless that has been out for so long
// already: then one of them, the leader, takes all of them along. So there are few round
// trips, each of which costs every side a few system calls, where they are quick, and up to
// as many as are allowed, where the network is slow or a packet was lost.
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
	left     time.Time     // when the last round trip set out
	usual    time.Duration // what a round trip takes, averaged
	timer    *time.Timer   // for the next round trip to set out
	armed    bool          // timer runs

	batches sync.Pool // of *batch[T]
	waiters sync.Pool // of *waiter[T]
}

// New returns a Group that has at most maxInFlight calls of run under way, each with
// at most maxSize operations, and fewer where they are quick. run performs them all in one round trip, which ends by
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
	if len(g.queue) == 0 && g.inFlight < g.maxInFlight && g.pauseLocked() <= 0 {
		g.setOutLocked()
		g.mu.Unlock()
		b := g.newBatch()
		b.ops = append(b.ops, op)
		g.lead(deadline, b)
		return nil
	}
	w := g.newWaiter(op)
	g.queue = append(g.queue, w)
	g.nextLocked()
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
		g.inFlight--
		g.nextLocked()
	}
}

// lead runs b, whose leader the caller is, tells the waiters, and lets the next round trip
// set out.
func (g *Group[T]) lead(deadline time.Time, b *batch[T]) {
	outcome, took := ErrAbandoned, time.Duration(0)
	defer func() {
		for _, w := range b.waiters {
			w.wake <- outcome
		}
		g.mu.Lock()
		g.inFlight--
		if outcome == nil {
			g.usual += (took - g.usual) / 8
		}
		g.nextLocked()
		g.mu.Unlock()
		if outcome == nil {
			g.freeBatch(b)
		}
	}()
	began := time.Now()
	g.run(deadline, b.ops)
	took = time.Since(began)
	outcome = nil
}

// Over 64 connections that keep two cores busy, one round trip out of seven tenths of
// another gave 1.15 of the requests a second that four at any time did on loopback, and 1.24 with
// a millisecond of network; half and the whole of one gave less. No pause is longer than half a
// millisecond, whatever a round trip takes.
const (
	partOfTrip   = 0.7
	longestPause = 500 * time.Microsecond
)

// pause is how long the next round trip has to wait, if the last one set out since ago, and
// one usually takes so long.
func pause(usual, since time.Duration) time.Duration {
	return min(time.Duration(float64(usual)*partOfTrip), longestPause) - since
}

// pauseLocked is how long the queue has to wait for company. Who is alone does not, nor do
// those who fill a round trip.
func (g *Group[T]) pauseLocked() time.Duration {
	if g.inFlight == 0 || len(g.queue) >= g.maxSize {
		return 0
	}
	return pause(g.usual, time.Since(g.left))
}

// setOutLocked counts a round trip that sets out.
func (g *Group[T]) setOutLocked() {
	g.inFlight++
	g.left = time.Now()
}

// nextLocked lets the next round trip set out, if it is time, or has the timer do it. The
// leader is who came last: that caller has most time left, so that nobody's end cuts another one
// short.
func (g *Group[T]) nextLocked() {
	n := min(len(g.queue), g.maxSize)
	if n == 0 || g.inFlight >= g.maxInFlight {
		return
	}
	if left := g.pauseLocked(); left > 0 {
		g.armLocked(left)
		return
	}
	g.setOutLocked()
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

// armLocked has the queue looked at again: nobody else may come, and what is under way may
// never end.
func (g *Group[T]) armLocked(left time.Duration) {
	switch {
	case g.armed:
		return
	case g.timer == nil:
		g.timer = time.AfterFunc(left, g.fire)
	default:
		g.timer.Reset(left)
	}
	g.armed = true
}

func (g *Group[T]) fire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.armed = false
	g.nextLocked()
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
