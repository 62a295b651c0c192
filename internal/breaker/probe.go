package breaker

import (
	"context"
	"slices"
	"time"
)

// watch probes p until both sides are up.
func (b *Breaker) watch(p *primary) {
	for b.untilDue(p) {
		b.dropIdle(p)
		if successor, gone := b.replaced(p); gone {
			b.retire(p, successor)
		} else {
			b.probe(p)
		}
		b.dropIdle(p)
		if b.rest(p) {
			return
		}
	}
}

// untilDue waits until p may be probed again, which is at once after a while without
// probes. It returns false when the Breaker is closed.
func (b *Breaker) untilDue(p *primary) bool {
	timer := time.NewTimer(time.Until(p.probedAt.Add(b.config.ProbeEvery)))
	defer timer.Stop()
	select {
	case <-b.ctx.Done():
		return false
	case <-timer.C:
		p.probedAt = time.Now()
		return !b.closed()
	}
}

// rest tells whether there is nothing left to probe, and if so that nobody does.
func (b *Breaker) rest(p *primary) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.probing = p.unwell
	return !p.probing
}

// dropIdle calls Config.DropIdle if an outage of p began since it was called last.
func (b *Breaker) dropIdle(p *primary) {
	b.mu.Lock()
	due := p.dropIdle && b.config.DropIdle != nil
	if p.dropIdle = false; due {
		b.dropping++
	}
	b.mu.Unlock()
	if !due {
		return
	}
	b.config.DropIdle()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropping--
	b.dropped = time.Now()
}

// probe sends what failed, reading first: what cannot be reached at all needs no probe
// of writing.
func (b *Breaker) probe(p *primary) {
	for side := range Write + 1 {
		key, failing := b.failing(p, side)
		if !failing {
			continue
		}
		sent := time.Now()
		err := b.ask(side, key)
		b.dropIdle(p) // before anybody is let through
		if b.learn(p, side, sent, err) == away {
			return
		}
	}
}

func (b *Breaker) failing(p *primary, side Side) (key string, failing bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return p.keys[side], p.sides[side].state != up
}

// ask sends one probe over a connection of its own.
func (b *Breaker) ask(side Side, key string) error {
	ctx, cancel := context.WithTimeout(b.ctx, b.config.Timeout)
	defer cancel()
	conn, err := b.config.Topology.Connect(ctx, key)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // what is to be learnt from it is known
	return b.config.Probe(ctx, conn, side, key)
}

// learn records the outcome of a probe and returns what it says.
func (b *Breaker) learn(p *primary, side Side, sent time.Time, err error) effect {
	is := effectOf(err)
	if is == nothing {
		is = away // it does not prove that it works
	}
	f := newFailure(sent, time.Now(), err)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed() {
		return away
	}
	if is == away {
		p.disturbLocked(sent)
	}
	failed := is.sides()
	if !slices.Contains(failed, side) {
		b.proveLocked(p, side)
	}
	for _, s := range failed {
		f.answered = p.lastAnswerOf(s)
		if p.sides[s].failProbe(f) {
			b.openLocked(p, s)
		}
	}
	b.settleLocked(p)
	return is
}

// replaced tells whether p is no primary any more, or not that of the key that failed,
// and the one that took its place, if that is known.
func (b *Breaker) replaced(p *primary) (successor *primary, gone bool) {
	topology := b.config.Topology
	if !topology.Cluster() {
		return nil, false
	}
	key, failing := b.failing(p, Read)
	if !failing {
		key, _ = b.failing(p, Write)
	}
	ctx, cancel := context.WithTimeout(b.ctx, b.config.Timeout)
	defer cancel()
	topology.Reload(b.ctx)
	if owner := topology.Primary(ctx, key); owner != "" && owner != p.addr {
		return b.at(owner, key), true
	}
	if p.addr == "" {
		return nil, false // no primary is known for the key
	}
	primary, err := topology.IsPrimary(ctx, p.addr)
	return nil, err == nil && !primary
}

// retire ends the outages of p, since another node took its place. There, too, a failover
// is under way.
func (b *Breaker) retire(p *primary, successor *primary) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for side := range Write + 1 {
		b.proveLocked(p, side)
	}
	if successor != nil {
		successor.disturbLocked(p.disturbed)
	}
	b.forgetLocked(p)
	b.settleLocked(p)
}
