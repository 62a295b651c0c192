package redsession

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redsession/redsession/internal/record"
)

// errStamp is that Config.UserStamp failed: no matter of Redis.
var errStamp = errors.New("asking for the user's stamp")

// finding is what a ticket turned out to be.
type finding int

const (
	foundNothing   finding = iota // missing, or past its end
	foundLive                     // a session
	foundTombstone                // ended by a login or a logout a moment ago
	foundRefused                  // not to be believed, or a rotated id after its grace
	findings
)

// load makes s the session that the request's cookie names. A cookie that is
// not ours or past its end costs Redis nothing. The only error is
// ErrUnavailable: nobody knows then what the session is.
func (s *Session) load(ctx context.Context) error {
	m := s.m
	now := m.cfg.Now()
	var came tickets
	s.came, came = m.transport.read(s.r, now)
	found, err := s.try(ctx, came.list[:came.n], now)
	if err != nil {
		return fmt.Errorf("redsession: loading session: %w: %w", ErrUnavailable, err)
	}
	live := found[foundLive]
	if len(m.cfg.Adopt) > 0 && !s.memory {
		taken, err := s.adopt(ctx, live, now)
		if err != nil {
			return fmt.Errorf("redsession: taking over session: %w: %w", ErrUnavailable, err)
		}
		live = live || taken
	}
	if live {
		m.count.hits.Add(1)
		return nil
	}
	s.head = m.anonymous()
	m.count.misses.Add(1)
	if s.came.invalid > 0 {
		m.emit(ctx, Event{Kind: EventRefused, Reason: "cookie not signed by us", RemoteAddr: s.remoteAddr()})
	}
	s.dead = found[foundTombstone]
	if (found[foundNothing] || s.came.overdue > 0) && !found[foundTombstone] && !found[foundRefused] {
		s.cookie = cookieExpire
		m.emit(ctx, Event{Kind: EventExpired, RemoteAddr: s.remoteAddr()})
	}
	return nil
}

// try looks the tickets up, one after the other, until one leads to a session,
// and tells what was found.
func (s *Session) try(ctx context.Context, came []ticket, now time.Time) (found [findings]bool, err error) {
	if len(came) == 0 {
		return found, nil
	}
	bounded, settled := s.m.bounded(ctx), false
	defer func() { bounded.end(settled) }()
	for _, tk := range came {
		f, err := s.lookUp(bounded, &stored{sid: tk.sid, id: publicID(tk.sid)}, tk, now)
		settled = f == foundLive && err == nil // nothing is still under way
		if err != nil {
			if f, err = s.recall(tk, err); err != nil {
				return found, err
			}
		}
		if found[f] = true; f == foundLive {
			break
		}
	}
	return found, nil
}

// recall goes on from what this process knows of the session of tk, as err says
// that Redis cannot tell.
func (s *Session) recall(tk ticket, err error) (finding, error) {
	if errors.Is(err, errStamp) {
		return foundNothing, err
	}
	at, ok := s.m.memory.recall(tk)
	if !ok {
		return foundNothing, err
	}
	if at.rec.User != "" && s.m.cfg.UserStamp != nil {
		ok, err := s.checkStamp(at.rec)
		if err != nil {
			return foundNothing, err
		}
		if !ok {
			return foundRefused, nil
		}
	}
	s.use(at)
	s.pending.stamp, s.memory = "", true
	s.m.count.degraded.Add(1)
	return foundLive, nil
}

// lookUp asks Redis for the session of tk, over the tombstones of timed
// rotations, and goes on from it if it lives.
func (s *Session) lookUp(ctx context.Context, at *stored, tk ticket, now time.Time) (finding, error) {
	m, first, ttl := s.m, at, record.TTL(now, tk.idle, tk.deadline)
	for hop := range maxHops {
		if m.memory.blocked(at.id) {
			return foundTombstone, nil
		}
		key := m.store.key(at.id)
		raw, err := s.fetch(ctx, at, key, ttl, hop > 0)
		if raw == "" || err != nil {
			return foundNothing, err
		}
		rec, tomb := m.memory.same(at.id, raw, now), (*record.Tombstone)(nil)
		known := rec != nil
		if !known {
			if rec, tomb, err = record.Open(m.ring, key, raw); err != nil {
				return s.refuse(EventRefused, at.id, err.Error()), nil
			}
		}
		if hop > 0 && graceOver(rec, tomb, now, m.cfg.RotateGrace) {
			return s.refuse(EventReplayed, first.id, "rotated id after its grace"), nil
		}
		if rec != nil {
			at.rec = rec
			f, err := s.admit(ctx, at, now, hop > 0)
			if f == foundLive && !known && at.legacy == "" {
				m.memory.confirm(at.id, raw, rec, now)
			}
			return f, err
		}
		next, f := s.passOn(ctx, at, tomb, ttl, now)
		if next == nil {
			return f, nil
		}
		at = next
	}
	return s.refuse(EventRefused, first.id, "rotated too often"), nil
}

// passOn goes from the tombstone at at, which the hit has prolonged to ttl, to what
// it leads to. Without that it tells what was found.
func (s *Session) passOn(ctx context.Context, at *stored, tomb *record.Tombstone, ttl time.Duration, now time.Time) (*stored, finding) {
	m := s.m
	m.memory.purge(at.id)
	if tomb.Expired(now) {
		return nil, foundNothing
	}
	if left := time.Duration(tomb.Deadline-now.Unix()) * time.Second; left < ttl {
		m.store.setTTL(ctx, m.store.key(at.id), left)
	}
	if tomb.Next == "" {
		return nil, foundTombstone
	}
	next, err := m.follow(at, tomb)
	if err != nil {
		return nil, s.refuse(EventRefused, at.id, err.Error())
	}
	return next, foundLive
}

// fetch reads what lies at at, under key, once what an outage left for it is there,
// and prolongs it unless a rotated id led there: who replays one after its grace
// must not keep the session from ending.
func (s *Session) fetch(ctx context.Context, at *stored, key string, ttl time.Duration, followed bool) (raw string, err error) {
	m := s.m
	if err := m.memory.flush(ctx, at.id); err != nil {
		return "", err
	}
	if followed || at.legacy != "" {
		raw, err = m.store.read(ctx, key)
	} else {
		var touchErr error
		if raw, touchErr, err = m.store.load(ctx, key, ttl); touchErr != nil {
			m.count.expireFailed.Add(1)
		}
	}
	if raw == "" && err == nil {
		m.memory.purge(at.id)
	}
	return raw, err
}

// graceOver tells whether the client has been using what a rotated id leads to
// for longer than the grace.
func graceOver(rec *record.Record, tomb *record.Tombstone, now time.Time, grace time.Duration) bool {
	var seen int64
	if rec != nil {
		seen = rec.Seen
	} else {
		seen = tomb.Seen
	}
	return seen != 0 && now.Sub(time.Unix(seen, 0)) > grace
}

// admit checks what only the record of a live session tells, and goes on from
// it. followed says that the client still has a rotated id.
func (s *Session) admit(ctx context.Context, at *stored, now time.Time, followed bool) (finding, error) {
	m := s.m
	if at.rec.TTL(now) <= 0 {
		// Redis would let it live on for as long as hits come.
		_, _ = m.store.end(ctx, at.id, burial{}, m.grave(at.id), false)
		return foundNothing, nil
	}
	if at.rec.User != "" && m.cfg.UserStamp != nil {
		ok, err := s.checkStamp(at.rec)
		if err != nil {
			return foundNothing, err
		}
		if !ok {
			if _, err := m.endSession(ctx, at.id, false); err == nil {
				m.emit(ctx, Event{Kind: EventRevoked, ID: at.id, UserID: at.rec.User, Reason: "the user's stamp changed", RemoteAddr: s.remoteAddr()})
			}
			return foundRefused, nil
		}
	}
	s.use(at)
	switch {
	case followed:
		s.cookie = cookieSet
		m.store.setTTL(ctx, m.store.key(at.id), at.rec.TTL(now)) // a hit after all
	case at.rec.Issued != 0 && at.rec.Seen == 0:
		s.pending.seen = now.Unix()
	}
	return foundLive, nil
}

// checkStamp tells whether the user's stamp is the one that rec was sealed
// with. A record without one takes the present one.
func (s *Session) checkStamp(rec *record.Record) (bool, error) {
	stamp, err := s.m.cfg.UserStamp(s.r.Context(), rec.User)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errStamp, err)
	}
	newest := s.m.ring[0].Stamp(rec.User, stamp)
	if rec.Stamp == newest {
		return true, nil
	}
	for _, k := range s.m.ring {
		if rec.Stamp == "" || rec.Stamp == k.Stamp(rec.User, stamp) {
			s.pending.stamp = newest
			return true, nil
		}
	}
	return false, nil
}

func (s *Session) refuse(kind EventKind, id, reason string) finding {
	s.m.emit(s.r.Context(), Event{Kind: kind, ID: id, Reason: reason, RemoteAddr: s.remoteAddr()})
	return foundRefused
}

func (s *Session) remoteAddr() string { return remoteAddr(s.r, s.m.cfg.TrustedHops) }
