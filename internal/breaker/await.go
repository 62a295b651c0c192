package breaker

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redsession/redsession/internal/rediserr"
)

const (
	maxWaiting    = 10_000 // in one Breaker
	maxPerSession = 32     // so that one browser does not take all of them
)

// Why a request does not wait, or waits no longer.
var (
	errStays       = errors.New("the refusal does not pass by itself")
	errNoFailover  = errors.New("it is refused, and no failover is under way")
	errSpent       = errors.New("the request has waited as long as it may")
	errOld         = errors.New("the outage lasts longer than requests wait")
	errCrowded     = errors.New("too many requests wait already")
	errManyOfThese = errors.New("too many requests of the session wait already")
)

// waiter is a request in a queue.
type waiter struct {
	primary *primary
	side    Side
	session string
	arrival uint64
	until   time.Time     // when the budget is spent
	element *list.Element // in the queue; nil once out of it, by a place or by giving up
	placed  chan struct{} // closed when it has got a place
	poked   chan struct{} // something about the side changed that it may not outlast
}

// Await waits until the primary that owns key is back, on that side. A request calls it
// after an exchange that failed by cause (reported before) or that Allow refused. After a
// nil error it sends again, to whoever owns the key then, and calls leave when that is
// done or given up: this hands its place to the next. Calling leave again does nothing.
//
// Requests leave in the order in which they came, as many at a time as the pool has
// connections, and wait no longer than budget has left, nor beyond the age Config.Wait of
// the outage. If nothing is wrong any more there is no wait, at the cost of ProbeEvery.
// What passes only around a failover is waited for only if the primary could not be reached,
// or was reached anew, within Config.Wait. session is any name of the session, "" for none.
//
// The error wraps cause if the wait is refused or was in vain, and otherwise the error of
// ctx or [ErrClosed].
func (b *Breaker) Await(ctx context.Context, key string, side Side, session string, budget *Budget, cause error) (leave func(), err error) {
	began := time.Now()
	p := b.primary(ctx, key)
	w := &waiter{primary: p, side: side, session: session, placed: make(chan struct{}), poked: make(chan struct{}, 1)}
	patience, err := b.enter(ctx, w, budget, cause)
	if err == nil {
		err = b.wait(ctx, w, patience)
	}
	if err != nil {
		budget.spend(time.Since(began))
		return nil, explain(err, cause)
	}
	return sync.OnceFunc(func() {
		budget.spend(max(time.Since(began), b.config.ProbeEvery))
		b.leave(p)
	}), nil
}

// explain returns the error of Await.
func explain(err, cause error) error {
	switch {
	case err == ErrClosed:
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("waiting for redis: %w", err)
	default:
		return fmt.Errorf("not waiting for redis: %v: %w", err, cause)
	}
}

// situation is all that decides on a wait.
type situation struct {
	now       time.Time
	wait      time.Duration // Config.Wait
	left      time.Duration // of the budget
	recovery  rediserr.Recovery
	health    health
	disturbed time.Time
}

// admit returns how long a request may wait, or why it may not.
func (s situation) admit() (patience time.Duration, err error) {
	switch {
	case s.recovery == rediserr.Stays:
		return 0, errStays
	case s.wait <= 0:
		return 0, errSpent
	case s.recovery == rediserr.PassesAroundFailover || s.health.state != up && s.health.around:
		if s.now.Sub(s.disturbed) >= s.wait {
			return 0, errNoFailover
		}
	}
	return s.patience()
}

// patience returns how much longer a request may wait that was admitted before, or why it
// may not.
func (s situation) patience() (time.Duration, error) {
	if s.left <= 0 {
		return 0, errSpent
	}
	if s.health.state == up {
		return s.left, nil
	}
	age := s.now.Sub(s.health.began)
	if age >= s.wait {
		return 0, errOld
	}
	return min(s.left, s.wait-age), nil
}

// enter gives w a place, or puts it into the queue and returns for how long, or returns
// why neither is possible.
func (b *Breaker) enter(ctx context.Context, w *waiter, budget *Budget, cause error) (time.Duration, error) {
	recovery := rediserr.Classify(cause, false).Recovery
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed() {
		return 0, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s := b.situationLocked(w, budget.left())
	s.recovery = recovery
	patience, err := s.admit()
	if err != nil {
		return 0, err
	}
	w.until = s.now.Add(s.left)
	if p := w.primary; s.health.state == up && p.admitted < p.places {
		p.admitted++
		close(w.placed)
		return patience, nil
	}
	return patience, b.queueLocked(w)
}

func (b *Breaker) situationLocked(w *waiter, left time.Duration) situation {
	p := w.primary
	return situation{now: time.Now(), wait: b.config.Wait, left: left, health: p.sides[w.side], disturbed: p.disturbed}
}

func (b *Breaker) queueLocked(w *waiter) error {
	if b.waiting >= maxWaiting {
		return errCrowded
	}
	if w.session != "" {
		if b.perSession[w.session] >= maxPerSession {
			return errManyOfThese
		}
		b.perSession[w.session]++
	}
	b.waiting++
	b.arrivals++
	w.arrival = b.arrivals
	w.element = w.primary.queues[w.side].PushBack(w)
	return nil
}

func (b *Breaker) dequeueLocked(w *waiter) {
	w.primary.queues[w.side].Remove(w.element)
	w.element = nil
	b.waiting--
	if w.session == "" {
		return
	}
	if b.perSession[w.session]--; b.perSession[w.session] == 0 {
		delete(b.perSession, w.session)
	}
}

// wait returns nil when w has got a place.
func (b *Breaker) wait(ctx context.Context, w *waiter, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-w.placed:
			return nil
		case <-ctx.Done():
			return b.giveUp(w, ctx.Err())
		case <-b.ctx.Done():
			return b.giveUp(w, ErrClosed)
		case <-w.poked:
		case <-timer.C:
		}
		patience, err := b.lookAgain(w)
		if err != nil {
			return err
		}
		timer.Reset(patience)
	}
}

// lookAgain returns how much longer w may wait, and otherwise takes it out of the queue.
func (b *Breaker) lookAgain(w *waiter) (time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.element == nil {
		return 0, nil // it has got a place
	}
	patience, err := b.situationLocked(w, time.Until(w.until)).patience()
	if err != nil {
		b.dequeueLocked(w)
	}
	return patience, err
}

// giveUp takes w out of the queue, or hands on the place that it has got meanwhile.
func (b *Breaker) giveUp(w *waiter, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w.element != nil {
		b.dequeueLocked(w)
	} else {
		w.primary.admitted--
		b.releaseLocked(w.primary)
	}
	return err
}

func (b *Breaker) leave(p *primary) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.admitted--
	b.releaseLocked(p)
}

// releaseLocked gives the free places to those who came first, of the sides that are up.
func (b *Breaker) releaseLocked(p *primary) {
	for p.admitted < p.places {
		w := p.firstLocked()
		if w == nil {
			return
		}
		b.dequeueLocked(w)
		p.admitted++
		close(w.placed)
	}
}

func (p *primary) firstLocked() (first *waiter) {
	for side := range p.queues {
		if p.sides[side].state != up || p.queues[side].Len() == 0 {
			continue
		}
		if w := p.queues[side].Front().Value.(*waiter); first == nil || w.arrival < first.arrival {
			first = w
		}
	}
	return first
}

// pokeLocked has those who wait for side look again how long they may.
func (p *primary) pokeLocked(side Side) {
	for e := p.queues[side].Front(); e != nil; e = e.Next() {
		select {
		case e.Value.(*waiter).poked <- struct{}{}:
		default: // it is about to look
		}
	}
}
