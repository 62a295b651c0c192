package redsession

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/redsession/redsession/internal/record"
)

// blocked tells whether this process knows that the session has ended, though
// Redis does not yet.
func (k *memory) blocked(id string) bool {
	if !k.some.Load() {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.postponed[id]
	return p != nil && p.ended
}

func (k *memory) flushSoonLocked() {
	k.some.Store(true)
	if k.flushing {
		return
	}
	k.flushing = true
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	k.done.Go(func() { k.run(ctx) })
}

// run flushes until nothing is postponed.
func (k *memory) run(ctx context.Context) {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		k.flushAll(ctx)
		k.mu.Lock()
		if len(k.postponed) == 0 {
			k.flushing = false
			k.some.Store(false)
			k.mu.Unlock()
			return
		}
		k.mu.Unlock()
	}
}

// flushAll flushes what can be, endings first: until then other servers serve
// the sessions.
func (k *memory) flushAll(ctx context.Context) {
	k.mu.Lock()
	var ids []string
	for _, ends := range []bool{true, false} {
		for id, p := range k.postponed {
			if p.ended == ends {
				ids = append(ids, id)
			}
		}
	}
	k.mu.Unlock()
	together(ids, func(id string) {
		if ctx.Err() == nil && !k.m.breakers.down(ctx, k.m.store.key(id)) {
			_ = k.flush(ctx, id) // what fails stays postponed
		}
	})
}

// flush brings what is postponed for id to Redis, and waits for a flush that
// is under way. It returns an error if something is still postponed. What is under
// way when ctx ends goes on without it, as it has RedisTimeout to itself: cut short,
// nobody could tell its outcome.
func (k *memory) flush(ctx context.Context, id string) error {
	for k.some.Load() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		k.mu.Lock()
		p := k.postponed[id]
		if p == nil {
			k.mu.Unlock()
			return nil
		}
		if busy := p.busy; busy != nil {
			k.mu.Unlock()
			select {
			case <-busy:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		if k.closed {
			k.mu.Unlock()
			return errDown
		}
		p.busy = make(chan struct{})
		flushed := make(chan error, 1)
		k.done.Go(func() { flushed <- k.flushOne(context.WithoutCancel(lasting(ctx)), id, p) })
		k.mu.Unlock()
		select {
		case err := <-flushed:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// flushOne does the next thing that is postponed in p, which is busy for it.
func (k *memory) flushOne(ctx context.Context, id string, p *postponed) (err error) {
	k.mu.Lock()
	ended, attempt := p.ended, p.tries
	var next []record.Op
	if len(p.batches) > 0 {
		next = p.batches[0].ops
	}
	k.mu.Unlock()
	if ended {
		bounded := k.m.bounded(ctx)
		_, err = k.m.endSession(bounded, id, true)
		bounded.end(false)
	} else if next != nil {
		err = k.replay(ctx, p.at, next, &attempt)
	}

	k.mu.Lock()
	defer k.mu.Unlock()
	close(p.busy)
	p.busy = nil
	switch {
	case ended && err != nil:
		return err
	case ended:
		delete(k.postponed, id)
		return nil
	case len(p.batches) > 0 && next != nil: // else it has ended meanwhile
		if p.tries = attempt; errors.Is(err, ErrUnavailable) {
			return err
		}
		k.held -= p.batches[0].size
		p.batches, p.tries = p.batches[1:], tries{}
	}
	if len(p.batches) == 0 && !p.ended {
		delete(k.postponed, id)
	}
	return nil
}

// replay writes a batch by the normal way, so that nothing comes back that has
// ended meanwhile. An ErrUnavailable may be tried again; what cannot be kept any
// more is an event.
func (k *memory) replay(ctx context.Context, at *stored, ops []record.Op, attempt *tries) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = errPanicked
		}
		if err != nil && !errors.Is(err, ErrUnavailable) {
			k.m.count.dropped.Add(1)
			k.m.emit(ctx, Event{Kind: EventFailed, ID: at.id, UserID: at.rec.User, Reason: "a postponed change is lost", Err: err})
		}
	}()
	s := &Session{m: k.m, r: (&http.Request{}).WithContext(ctx), sent: true, keepID: true, replay: attempt, stale: true}
	s.use(at)
	s.pending.ops = ops
	return s.commit(ctx)
}

// endAgain ends once more what ended shortly before the outage, or the lost
// connection, that has just ended, and since: a failover may have lost that. Ids are
// never used twice, so it hits nothing else.
func (k *memory) endAgain(ctx context.Context) {
	k.mu.Lock()
	away, since := k.away, k.m.cfg.Now()
	if !away.IsZero() {
		since = away
	}
	since = since.Add(-endAgainFor)
	var ids []string
	for id, at := range k.recent {
		if !at.Before(since) {
			ids = append(ids, id)
		}
	}
	k.mu.Unlock()
	for _, id := range ids {
		if ctx.Err() != nil {
			return // Close waits for this
		}
		bounded := k.m.bounded(ctx)
		_, err := k.m.endSession(bounded, id, true)
		bounded.end(false)
		if err != nil {
			return // Redis is away again, or still: what ended before it went stays to be done
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.away.Equal(away) {
		k.away = time.Time{}
	}
}

// close flushes what is left and says what it could not.
func (k *memory) close() error {
	k.mu.Lock()
	again := k.closed
	k.mu.Unlock()
	if again {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	for k.some.Load() && ctx.Err() == nil {
		k.flushAll(ctx)
		k.mu.Lock()
		if len(k.postponed) == 0 {
			k.some.Store(false)
		}
		k.mu.Unlock()
		if k.some.Load() {
			_ = pause(ctx, 8)
		}
	}
	k.mu.Lock()
	k.closed = true
	changes, ends := 0, 0
	for _, p := range k.postponed {
		if p.ended {
			ends++
		} else {
			changes++
		}
	}
	if k.stop != nil {
		k.stop()
	}
	k.mu.Unlock()
	k.done.Wait()
	if changes+ends > 0 {
		return fmt.Errorf("redsession: closing: gave up after %s: what an outage left of %d sessions' changes and of %d logouts is lost", closeWithin, changes, ends)
	}
	return nil
}

var errNoRoom = errors.New("too much is postponed already")

// outageChanged is told by the breakers.
func (m *Manager) outageChanged(down bool, err error) {
	ctx := m.breakers.ctx // ends with Close
	if down {
		m.memory.outageBegan()
		m.emit(ctx, Event{Kind: EventOutageBegan, Err: err})
		return
	}
	m.emit(ctx, Event{Kind: EventOutageEnded})
	m.memory.endAgain(ctx)
}

// postpone keeps what could not reach Redis for reason in memory, if that can be
// promised: a change that surely did not reach it, to a session that is known,
// or a logout.
func (c *commit) postpone(reason error) error {
	m := c.m
	if m.cfg.Outage != ServeKnown || c.base == nil || c.s.replay != nil || c.login || c.rotate || c.once {
		return reason
	}
	if c.logout {
		return c.postponeLogout(reason)
	}
	if len(c.ops) == 0 || maybeSent(reason) {
		return reason
	}
	base := c.base
	for {
		last, _ := m.memory.lastKnown(base.id)
		rec, _, err := record.Open(m.ring, m.store.key(base.id), last.raw)
		if err != nil || rec == nil || !rec.SameLogin(base.rec) {
			return reason
		}
		c.merged = c.merged || rec.Rev != base.rec.Rev
		after, err := c.onTop(*rec, rec)
		if err != nil {
			return err
		}
		raw, _, err := c.encode(after, base.id)
		if err != nil {
			return err
		}
		kept, err := m.memory.postpone(base, last.raw, raw, c.ops)
		if err != nil {
			return errors.Join(reason, err)
		}
		if kept {
			m.count.postponed.Add(1)
			c.result, c.fromMemory = &stored{sid: base.sid, id: base.id, rec: after}, true
			return nil
		}
	}
}

// postponeLogout blocks the session in this process, and ends it once Redis is back.
func (c *commit) postponeLogout(reason error) error {
	// What old cookies stand for is not postponed: it would go on elsewhere.
	if c.over || !c.m.memory.postponeEnd(c.base) || len(withoutFlashes(c.fields)) > 0 || c.s.hasOldCookie() {
		return reason
	}
	c.m.emit(c.s.r.Context(), Event{Kind: EventLogout, ID: c.base.id, UserID: c.user, RemoteAddr: c.s.remoteAddr(), Reason: "kept in memory"})
	c.over, c.fromMemory, c.result, c.cookie = true, false, nil, cookieExpire
	if c.sent {
		return errCookieStays
	}
	return nil
}

func withoutFlashes(fields []record.Field) []record.Field {
	return slices.DeleteFunc(slices.Clone(fields), func(f record.Field) bool { return f.Name == flashKey })
}

func unavailable(err error) error {
	return fmt.Errorf("redsession: committing: %w: %w", ErrUnavailable, err)
}
