package redsession

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redsession/redsession/internal/record"
)

// commit carries one set of changes to Redis. It works on what it took from
// the session, so that other goroutines can go on changing that.
type commit struct {
	changes
	s          *Session
	m          *Manager
	ctx        context.Context
	sent       bool
	due        bool           // a timed rotation is
	fromMemory bool           // base is from memory, as Redis is away
	base       *stored        // what the changes go on top of
	merged     bool           // base is not what the handler saw
	fields     []record.Field // what the handler saw
	head       record.Record  // of the record that a login, logout or first write creates
	next       sid            // of that record
	result     *stored        // what is stored now; nil if that is as before
	cookie     cookieAction
	over       bool // the session that base was has been logged out
	dead       bool // the client's id was ended before, and no other took its place
}

// commit brings the pending changes to Redis and returns nil once they are
// there. Of several goroutines one commits at a time.
func (s *Session) commit(ctx context.Context) error { return s.commitWith(ctx, nil) }

// commitWith is commit with what add records under the lock, which no other
// goroutine's commit can carry then.
func (s *Session) commitWith(ctx context.Context, add func()) error {
	c, waited := s.begin(add)
	if c == nil {
		return waited
	}
	returned := false
	defer func() {
		if !returned { // a function of the caller's panicked
			s.finish(c, errPanicked)
		}
	}()
	bounded := s.m.bounded(ctx)
	defer bounded.end(false)
	c.ctx = bounded
	err := c.run()
	if errors.Is(err, ErrUnavailable) && !errors.Is(err, errStamp) {
		err = c.postpone(err)
	}
	returned = true
	if err != nil && !c.any() && !errors.Is(err, ErrHeadersSent) {
		c.result, c.cookie, err = nil, s.cookie, nil // bookkeeping that the next hit does again
	}
	s.finish(c, err)
	return errors.Join(waited, err)
}

var errPanicked = errors.New("redsession: committing: a function of the caller's panicked")

// begin waits for the commit under way and takes the pending changes. It
// returns nil if there is nothing to do, with the error of the commit that it
// waited for: that one had the caller's changes.
func (s *Session) begin(add func()) (*commit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waited := s.waitLocked()
	if add != nil {
		add()
		waited = nil // none of those had it
	}
	p := &s.pending
	due := s.base != nil && !s.sent && !s.keepID && !s.memory && s.m.rotationDue(s.base.rec)
	adopt := p.stamp != "" && s.base.rec.Stamp == ""
	if !p.any() && !due && p.seen == 0 && !adopt {
		return nil, waited
	}
	first := s.base == nil && !p.fresh
	if p.err == nil && first && !p.store && len(s.view()) == 0 {
		p.ops = nil // nobody wrote, or all of it was taken back
		return nil, waited
	}
	if err := s.forbidden(first); err != nil {
		s.forget()
		return nil, err
	}
	if s.base != nil {
		s.base.rec.Fields() // decoded here, so that nobody changes the record from now on
	}
	c := &commit{changes: *p, s: s, m: s.m, sent: s.sent, dead: s.dead, due: due, fromMemory: s.memory, base: s.base, merged: s.stale, head: s.head, cookie: s.cookie}
	if len(p.ops) > 0 || p.fresh || first {
		c.fields = s.view()
	}
	if p.fresh || first || p.rotate || due {
		c.next = s.nextSID()
		s.next = sid{}
	}
	s.pending, s.saving = changes{}, &saving{done: make(chan struct{})}
	return c, waited
}

// waitLocked waits, without the lock, for the commits under way, and returns their
// errors.
func (s *Session) waitLocked() (errs error) {
	for s.saving != nil {
		running := s.saving
		s.mu.Unlock()
		<-running.done // within RedisTimeout
		errs = errors.Join(errs, running.err)
		s.mu.Lock()
	}
	return errs
}

// forbidden tells why the pending changes must not even be tried.
func (s *Session) forbidden(first bool) error {
	p := &s.pending
	switch {
	case p.err != nil && !p.logout:
		return p.err
	case first && s.dead:
		return s.gone()
	case s.sent && (first || p.fresh || p.rotate) && !p.logout:
		return fmt.Errorf("redsession: a change needs a cookie: %w", ErrHeadersSent)
	}
	return nil
}

func (s *Session) gone() error {
	s.m.count.gone.Add(1)
	return fmt.Errorf("redsession: committing: %w", ErrGone)
}

// forget drops the pending changes: the session is as it was stored last.
func (s *Session) forget() {
	s.pending, s.next, s.stale = changes{}, sid{}, false
	s.fields, s.parsed = nil, false
	if s.base != nil {
		s.use(s.base)
	} else {
		s.head = s.m.anonymous()
	}
}

// finish makes the outcome of c what the session goes on from.
func (s *Session) finish(c *commit, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saving.err = err
	close(s.saving.done)
	s.saving = nil
	p := &s.pending
	changed := p.any() // by another goroutine, meanwhile
	switch {
	case c.over && c.result == nil:
		s.base = nil
	case err == nil && c.result != nil:
		s.base = c.result
		s.dead = false
	case errors.Is(err, ErrGone):
		s.base, s.dead = nil, true
	}
	switch {
	case err != nil && c.over:
		s.cookie, s.owed = cookieExpire, true
	case err == nil:
		s.owed = s.owed || c.login || s.cookie != c.cookie
		s.cookie = c.cookie
		s.memory = c.fromMemory
	}
	if err == nil && c.fresh {
		s.stream = nil // it watches the id that was
	}
	if !changed {
		s.forget()
		return
	}
	s.stale = true // what the handler sees is not what is stored plus its changes
	if s.base != nil && !p.fresh {
		s.head = *s.base.rec
		s.head.SetFields(nil)
	}
}

func (c *commit) run() error {
	switch {
	case c.fromMemory:
		return unavailable(errDown)
	case c.logout:
		return c.logOut()
	case c.fresh:
		// What was postponed for the old id could not be kept after it ended.
		if c.base != nil {
			if err := c.m.memory.flush(c.ctx, c.base.id); err != nil {
				return unavailable(err)
			}
		}
		return c.logIn()
	case c.base == nil:
		return c.create()
	case c.rotate || c.due:
		seen := c.seen
		err := c.turn()
		if errors.Is(err, ErrTooLarge) && !c.rotate {
			// What a rotation adds to the record is no reason to lose a change.
			c.seen = seen
			return c.write()
		}
		return err
	default:
		return c.write()
	}
}

// write replaces the record by one with the changes, on top of whatever other
// requests have written to it meanwhile.
func (c *commit) write() error {
	for try := 0; ; try++ {
		rec, err := c.onTop(*c.base.rec, c.base.rec)
		if err != nil {
			return err
		}
		raw, ttl, err := c.encode(rec, c.base.id)
		if err != nil {
			return err
		}
		swapped, current, err := c.m.store.swap(c.ctx, c.base.id, c.base.rec.Rev, raw, ttl)
		if attempt := c.s.replay; attempt != nil {
			if swapped, err = attempt.settle(rec.Rev, current, swapped, err); errors.Is(err, errLost) {
				return err
			}
		}
		if err != nil {
			return unavailable(err)
		}
		if swapped {
			c.result = &stored{sid: c.base.sid, id: c.base.id, rec: rec}
			c.m.memory.confirm(c.base.id, raw, rec, c.m.cfg.Now())
			c.m.count.commits.Add(1)
			return nil
		}
		if err := c.rebase(current, try); err != nil {
			return err
		}
	}
}

// onTop returns the record with head and with the changes applied to the
// values of from, nil for none.
func (c *commit) onTop(head record.Record, from *record.Record) (*record.Record, error) {
	if c.seen != 0 && head.Seen == 0 {
		head.Seen = c.seen
	}
	if c.stamp != "" {
		head.Stamp = c.stamp
	}
	switch {
	case !c.merged && c.fields != nil:
		head.SetFields(c.fields)
	case from == nil || len(c.ops) > 0 || c.fresh:
		var fields []record.Field
		if from != nil {
			fields = from.Fields()
		}
		fields, err := record.Apply(fields, c.ops)
		if err != nil {
			return nil, err
		}
		head.SetFields(fields)
	}
	return &head, nil
}

// encode seals rec for id. What would be past its end, or is too large, is not
// stored.
func (c *commit) encode(rec *record.Record, id string) (raw string, ttl time.Duration, err error) {
	now := c.m.cfg.Now()
	ttl = rec.TTL(now)
	if ttl <= 0 {
		return "", 0, c.s.gone()
	}
	rec.Written = 0
	if seconds(ttl) < rec.Idle {
		rec.Written = now.Unix() // the TTL no longer tells
	}
	raw, err = rec.Encode(c.m.ring, c.m.store.key(id), c.m.cfg.Encrypt)
	if err != nil {
		return "", 0, fmt.Errorf("redsession: encoding session: %w", err)
	}
	if len(raw) > c.m.cfg.MaxBytes {
		return "", 0, fmt.Errorf("redsession: committing: %w: %d bytes, Config.MaxBytes allows %d", ErrTooLarge, len(raw), c.m.cfg.MaxBytes)
	}
	return raw, ttl, nil
}

// rebase goes on from what another request left instead of base, over the
// tombstones of timed rotations, however late: grace is judged when a request
// loads.
func (c *commit) rebase(current string, try int) error {
	c.m.count.conflicts.Add(1)
	c.merged = true
	for range maxHops {
		if current == "" {
			return c.s.gone()
		}
		rec, tomb, err := record.Open(c.m.ring, c.m.store.key(c.base.id), current)
		if err != nil {
			c.s.refuse(EventRefused, c.base.id, err.Error())
			return c.s.gone()
		}
		if rec != nil {
			if !rec.SameLogin(c.base.rec) {
				return c.s.gone()
			}
			c.base = &stored{sid: c.base.sid, id: c.base.id, rec: rec, legacy: c.base.legacy}
			if err := pause(c.ctx, try); err != nil {
				return unavailable(err)
			}
			return nil
		}
		if tomb.Next == "" {
			return c.s.gone()
		}
		next, err := c.m.follow(c.base, tomb)
		if err != nil {
			return c.s.gone()
		}
		next.rec = c.base.rec
		c.base, c.seen = next, 0 // that was of another id
		if !c.sent {
			c.cookie = cookieSet
		}
		if current, err = c.m.store.get(c.ctx, next.id); err != nil {
			return unavailable(err)
		}
	}
	return c.s.gone()
}
