package redsession

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redsession/redsession/internal/lease"
	"github.com/redsession/redsession/internal/record"
)

// What a Refresh commits goes past the session's pending changes: they are the handler's, to
// be committed when it likes.

// usable tells why nothing can be refreshed in the session, nil if it can.
func (s *Session) usable() error {
	s.lock()
	defer s.mu.Unlock()
	switch {
	case s.broken != nil:
		return s.broken
	case s.isLocked && !s.pending.fresh:
		return errLocked
	}
	return nil
}

// keepPending commits what is pending, and stores a session that is not stored yet. It
// returns what lies in Redis then.
func (s *Session) keepPending(ctx context.Context) (*stored, error) {
	s.lock()
	if s.base == nil {
		s.pending.store = true
	}
	pending := s.pending.any()
	s.mu.Unlock()
	if pending && s.outside != nil {
		return nil, errOutside("Refresh after a change")
	}
	if pending {
		if err := s.commit(ctx, ctx, nil); err != nil {
			return nil, err
		}
	}
	s.lock()
	defer s.mu.Unlock()
	if s.base == nil {
		return nil, s.gone()
	}
	return s.base, nil
}

// knownFailure returns the number of the latest lease of tag, if that failed before the
// request was loaded, or the request was told of it.
func (s *Session) knownFailure(tag string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := lease.Find(s.told, tag); l.Failed {
		return l.Number
	}
	return "" // one that is held may fail yet
}

// tellFailure notes that the request was told of l, if that failed.
func (s *Session) tellFailure(l lease.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Failed {
		s.told = lease.Put(s.told, l, s.m.cfg.Now())
	}
}

// aside returns a session that goes on from at and has none of the pending changes of s. It
// never turns the id, and sends no cookie.
func (s *Session) aside(at *stored) *Session {
	s.mu.Lock()
	expires := s.expires
	s.mu.Unlock()
	own := &Session{m: s.m, r: s.r, outside: s.outside, shared: s.waits(), passive: s.passive, expires: expires, keepID: true, sent: true}
	own.use(at)
	return own
}

// maxCatchUp is how often catchUp looks again while other goroutines commit.
const maxCatchUp = 8

// catchUp has s, which was at from, go on from to, where the value called name was written:
// what the handler sees is then what lies in Redis, with its own pending changes.
func (s *Session) catchUp(ctx context.Context, from, to *stored, name string) {
	for range maxCatchUp {
		if from = s.goOnAt(from, to, name); from == nil {
			return
		}
		r := refresh{own: s.aside(from)} // another goroutine has committed meanwhile
		if r.look(ctx) != nil {
			return
		}
		to = r.own.base
	}
}

// goOnAt has s go on from to if it is at from. Otherwise it returns where it is, nil if
// that is another session, or none.
func (s *Session) goOnAt(from, to *stored, name string) *stored {
	s.lock()
	defer s.mu.Unlock()
	_ = s.waitLocked() // that error is its own caller's
	switch {
	case s.saving != nil || s.base == nil || s.pending.fresh || !s.base.rec.SameLogin(to.rec):
		return nil
	case s.base != from:
		return s.base
	}
	if to.id != s.base.id {
		if s.pending.seen = 0; !s.sent { // that was of the other id
			s.cookie, s.owed = cookieSet, true
		}
	}
	s.degraded = false
	if p := &s.pending; p.any() {
		s.mergeLocked(to, name)
	} else {
		s.use(to)
		s.stale = false
	}
	return nil
}

// mergeLocked has s go on from to, with the pending changes on top. Of the values it takes
// over the one called name, unless a pending change is about it: the others are merged at the
// commit, as ever.
func (s *Session) mergeLocked(to *stored, name string) {
	raw, _ := record.Find(to.rec.Fields(), name)
	about := func(op record.Op) bool { return op.Name == name || op.Kind == record.Clear }
	if fields := s.view(); !slices.ContainsFunc(s.pending.ops, about) {
		s.fields, _ = record.Apply(fields, []record.Op{setOp(name, raw)})
	}
	s.base, s.stale = to, true
	s.head = *to.rec
	s.head.SetFields(nil)
	for _, e := range s.pending.edits {
		e(&s.head)
	}
}

// withoutLeases returns the leases of rec without those on what ops set, deleted or took:
// who holds one must not overwrite that.
func withoutLeases(rec *record.Record, ops []record.Op) string {
	text := rec.Leases
	for i := 0; text != "" && i < len(ops); i++ {
		op := &ops[i]
		switch _, there := record.Find(rec.Fields(), op.Name); {
		case op.Kind == record.Clear:
			text = ""
		case op.Kind != record.Update || !there:
			text = lease.Remove(text, lease.Tag(op.Name))
		}
	}
	return text
}

// pause waits before the next look.
func (r *refresh) pause(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay/2 + rand.N(delay/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("redsession: waiting for another request to refresh a value: %w", ctx.Err())
	}
}

// look reads what has become of the session, by one GET.
func (r *refresh) look(ctx context.Context) error {
	own := r.own
	at, e, err := own.reach(ctx, own.base, own.m.alone)
	if err != nil {
		return fmt.Errorf("redsession: refreshing: %w", err)
	}
	rec, _, err := e.Open(own.m.ring, own.m.keys.Session(at.id))
	if err != nil || rec == nil || rec.TTL(own.m.cfg.Now()) <= 0 || own.m.cache.Blocked(at.id) || !rec.SameLogin(own.base.rec) {
		return fmt.Errorf("redsession: refreshing: %w", ErrGone)
	}
	own.use(&stored{sid: at.sid, id: at.id, rec: rec, legacy: at.legacy})
	return nil
}
