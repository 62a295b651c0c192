package breaker

import (
	"container/list"
	"context"
	"maps"
	"sync/atomic"
	"time"
)

// primary is what is known of one primary, and who waits for it.
type primary struct {
	addr   string
	places int       // how many who waited may be under way at a time
	since  time.Time // when it became known

	answered [2]atomic.Int64          // when each side last answered an exchange: nanoseconds after since, 0 for never
	troubled atomic.Bool              // an answer is news
	down     [2]atomic.Pointer[error] // why each side is refused; nil unless its state is down

	// What follows is guarded by Breaker.mu.

	sides     [2]health
	keys      [2]string // an exchange with it failed
	disturbed time.Time // when a failure to reach it, or a reconnect, last began
	unwell    bool      // some side was not up when last seen
	opened    bool      // an outage came of it
	dropIdle  bool      // Config.DropIdle is still to be called
	probing   bool      // a goroutine probes it
	probedAt  time.Time
	queues    [2]list.List // of *waiter, in order of arrival
	admitted  int          // places taken
}

// answer notes that side answered now. Who answered a write can be read.
func (p *primary) answer(side Side, now time.Time) {
	for s := range side + 1 {
		p.answered[s].Store(max(1, int64(now.Sub(p.since))))
	}
}

// lastAnswerOf returns when side last answered an exchange, zero if it never did.
func (p *primary) lastAnswerOf(side Side) (at time.Time) {
	if after := p.answered[side].Load(); after != 0 {
		at = p.since.Add(time.Duration(after))
	}
	return at
}

func (p *primary) lastAnswer() time.Time {
	return later(p.lastAnswerOf(Read), p.lastAnswerOf(Write))
}

func (p *primary) disturbLocked(at time.Time) { p.disturbed = later(p.disturbed, at) }

// known returns what is known of the primary at addr, nil if nothing is.
func (b *Breaker) known(addr string) *primary { return (*b.primaries.Load())[addr] }

// primary returns what is known of the primary that owns key.
func (b *Breaker) primary(ctx context.Context, key string) *primary {
	return b.at(b.config.Topology.Primary(ctx, key), key)
}

// at returns what is known of the primary at addr, which owns key.
func (b *Breaker) at(addr, key string) *primary {
	if p := b.known(addr); p != nil {
		return p
	}
	fresh := &primary{addr: addr, places: max(1, b.config.Topology.PoolSize(key)), since: time.Now()}
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.known(addr); p != nil {
		return p
	}
	all := maps.Clone(*b.primaries.Load())
	all[addr] = fresh
	b.primaries.Store(&all)
	return fresh
}

// forgetLocked forgets a primary that is none any more. Who waits for it still leaves in
// order.
func (b *Breaker) forgetLocked(p *primary) {
	if b.known(p.addr) != p {
		return
	}
	all := maps.Clone(*b.primaries.Load())
	delete(all, p.addr)
	b.primaries.Store(&all)
}
