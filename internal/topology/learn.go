package topology

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// learnWithin is how long one who asks for a primary waits for the client of a cluster to
// find the servers: as long as a command may take by default.
const learnWithin = 500 * time.Millisecond

// learning is how the client of a cluster comes to know who owns what. Until it does it asks
// one node after the other, for each caller anew, and may ignore a context over that: a
// request would wait for all nodes that hang.
type learning struct {
	done atomic.Bool // the client knows the servers, and answers at once from now on

	mu      sync.Mutex    // guards what follows
	attempt chan struct{} // closed when the attempt under way is over; nil if there is none
	inVain  bool          // the last attempt failed, or takes longer than learnWithin
}

// learn tells whether the client knows the servers of its cluster. Otherwise it has the
// client ask them, once for all callers, and waits for that until ctx or learnWithin is
// over. Once that was in vain, an attempt goes on in the background and nobody waits; the
// client's own timeouts bound it.
func (t *Topology) learn(ctx context.Context, key string) bool {
	l := &t.learning
	if l.done.Load() {
		return true
	}
	attempt, worthWaiting := t.try(key)
	if worthWaiting {
		timer := time.NewTimer(learnWithin)
		defer timer.Stop()
		select {
		case <-attempt:
		case <-ctx.Done():
		case <-timer.C:
			l.mu.Lock()
			l.inVain = true
			l.mu.Unlock()
		}
	}
	return l.done.Load()
}

// try begins an attempt unless one is under way.
func (t *Topology) try(key string) (attempt <-chan struct{}, worthWaiting bool) {
	l := &t.learning
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.attempt == nil {
		over := make(chan struct{})
		l.attempt = over
		go func() {
			_, err := t.cluster.MasterForKey(context.Background(), key)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.done.Store(err == nil)
			l.attempt, l.inVain = nil, err != nil
			close(over)
		}()
	}
	return l.attempt, !l.inVain
}

// Bounded runs fn, and returns when ctx is over even where the client reads on: then fn is
// still running, until the client's own timeouts end it, and what it fills must not be
// looked at.
func (t *Topology) Bounded(ctx context.Context, fn func(context.Context) error) error {
	if t.HonoursContext() || ctx.Done() == nil {
		return fn(ctx)
	}
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
