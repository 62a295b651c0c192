package redsession

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// postpone keeps ops, which surely did not reach Redis, on top of at, and
// remembers after, the record that they make. It reports false if there is no
// room: an acknowledged change is never dropped for a new one.
func (k *memory) postpone(at, after *stored, raw string, ops []record.Op) bool {
	size := len(raw)
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.known.Peek(at.id)
	if !ok || k.closed || k.held+size > maxPostponed {
		return false
	}
	p := k.postponed[at.id]
	if p == nil {
		p = &postponed{at: at}
		k.postponed[at.id] = p
	}
	if p.ended {
		return false
	}
	p.ops = append(p.ops, ops...)
	p.size += size
	k.held += size
	s.raw = raw
	k.put(at.id, s)
	k.flushSoonLocked()
	return true
}

// postponeEnd blocks a session and ends it once Redis is back.
func (k *memory) postponeEnd(at *stored) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.postponed[at.id]
	if p == nil {
		if k.closed || len(k.postponed) >= maxEndings {
			return false
		}
		p = &postponed{at: at}
		k.postponed[at.id] = p
	}
	k.purgeLocked(at.id)
	p.ended = true
	k.flushSoonLocked()
	return true
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

func (k *memory) flushAll(ctx context.Context) {
	k.mu.Lock()
	ids := slices.Collect(maps.Keys(k.postponed))
	k.mu.Unlock()
	for _, id := range ids {
		if ctx.Err() != nil {
			return
		}
		if !k.m.breakers.down(ctx, k.m.store.key(id)) {
			_ = k.flush(ctx, id)
		}
	}
}

// flush brings what is postponed for id to Redis, and waits for a flush that
// is under way. It returns an error if something is still postponed.
func (k *memory) flush(ctx context.Context, id string) error {
	if !k.some.Load() {
		return nil
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
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return k.flush(ctx, id)
	}
	p.busy = make(chan struct{})
	taken := *p
	k.mu.Unlock()

	err := k.replay(ctx, taken)

	k.mu.Lock()
	defer k.mu.Unlock()
	close(p.busy)
	p.busy = nil
	if err != nil && (taken.ended || !maybeSent(err)) {
		return err // it surely did not happen, or may happen twice
	}
	if p.cleared == taken.cleared {
		p.ops = p.ops[len(taken.ops):]
		p.size -= taken.size
		k.held -= taken.size
	}
	if len(p.ops) == 0 && p.ended == taken.ended {
		delete(k.postponed, id)
	}
	return nil
}

// replay does what was postponed by the normal way, so that nothing comes back
// that has ended meanwhile. What cannot be kept any more is an event.
func (k *memory) replay(ctx context.Context, p postponed) (err error) {
	defer func() {
		if v := recover(); v != nil { // of an update function
			err = fmt.Errorf("redsession: replaying: update function panicked: %v", v)
		}
		if err != nil && (p.ended || !maybeSent(err)) {
			return
		}
		if err != nil {
			k.m.count.dropped.Add(1)
			k.m.emit(ctx, Event{Kind: EventFailed, ID: p.at.id, UserID: p.at.rec.User, Reason: "a postponed change is lost", Err: err})
		}
	}()
	if p.ended {
		bounded, cancel := k.m.bounded(ctx)
		defer cancel()
		_, err := k.m.endSession(bounded, p.at.id, true)
		return err
	}
	s := &Session{m: k.m, r: (&http.Request{}).WithContext(ctx), sent: true, keepID: true, replay: true, stale: true}
	s.use(p.at)
	s.pending.ops = p.ops
	return s.commit(ctx)
}

// endAgain ends once more what ended lately, since a failover may have lost
// that. Ids are never used twice, so it hits nothing else.
func (k *memory) endAgain(ctx context.Context) {
	k.mu.Lock()
	k.sweepLocked()
	ids := slices.Collect(maps.Keys(k.recent))
	k.mu.Unlock()
	for _, id := range ids {
		bounded, cancel := k.m.bounded(ctx)
		_, err := k.m.endSession(bounded, id, true)
		cancel()
		if err != nil {
			return
		}
	}
}

// close flushes what is left and says what it could not.
func (k *memory) close() error {
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
		return fmt.Errorf("redsession: closing: Redis did not come back: changes of %d sessions and %d logouts are lost", changes, ends)
	}
	return nil
}

var errNoRoom = errors.New("too much is postponed already")

// outageChanged is told by the breakers.
func (m *Manager) outageChanged(down bool, err error) {
	ctx := context.Background()
	if down {
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
	if m.cfg.Outage != ServeKnown || c.base == nil || c.s.replay || c.login || c.rotate {
		return reason
	}
	if c.logout {
		if !m.memory.postponeEnd(c.base) || len(withoutFlashes(c.fields)) > 0 {
			return reason
		}
		m.emit(c.s.r.Context(), Event{Kind: EventLogout, ID: c.base.id, UserID: c.user, RemoteAddr: c.s.remoteAddr(), Reason: "kept in memory"})
		c.result, c.cookie = nil, cookieExpire
		return nil
	}
	if len(c.ops) == 0 || maybeSent(reason) {
		return reason
	}
	after, err := c.onTop(*c.base.rec, c.base.rec)
	if err != nil {
		return err
	}
	raw, _, err := c.encode(after, c.base.id)
	if err != nil {
		return err
	}
	at := &stored{c.base.sid, c.base.id, after}
	if !m.memory.postpone(c.base, at, raw, c.ops) {
		return errors.Join(reason, errNoRoom)
	}
	m.count.postponed.Add(1)
	c.result, c.fromMemory = at, true
	return nil
}

func withoutFlashes(fields []record.Field) []record.Field {
	return slices.DeleteFunc(slices.Clone(fields), func(f record.Field) bool { return f.Name == flashKey })
}
