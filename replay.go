package redsession

import (
	"context"
	"slices"
	"time"
)

// ReplayPolicy says what happens when a rotated id comes after its grace and without the
// session's present cookie beside it. That cookie may be stolen, or the present one: nobody
// can tell. The zero value leaves it to Config.Assurance.
type ReplayPolicy int

const (
	// RefuseReplay refuses the id and tells of it (EventReplayed). The session goes on.
	RefuseReplay ReplayPolicy = iota + 1
	// EndSession also ends what the session has become, as OAuth 2.0 does with refresh tokens
	// (RFC 9700, section 4.14.2): whoever has a stolen cookie is logged out, and the user
	// has to log in again. It tells of it with EventRevoked. While Redis cannot be told, this process serves the session no
	// more, and ends it when Redis is back. A session that belongs to a device (see
	// Config.DeviceBinding) does not end: an old cookie is of no use to a thief there, who must
	// not be able to log the owner out with it. If the second cookie of the device came along, the browser
	// is sent back to the same address without it, proves itself and is led on, which a thief
	// cannot. An old cookie of Config.Adopt does so
	// unless its Legacy is SideBySide, where browsers keep it.
	EndSession
)

// or is p, or what befits a level.
func (p ReplayPolicy) or(level Assurance) ReplayPolicy {
	switch {
	case p != 0:
		return p
	case level >= AAL2:
		return EndSession
	}
	return RefuseReplay
}

// lateUse is the use of a rotated id after its grace.
type lateUse struct {
	id     string // that came
	origin string // of its session
	at     string // id that it has led to, which may be another rotated one
}

// noteReplays tells of rotated ids that came after their grace, and returns them. There are
// none where the client shows what the session has become as well, locked or not: a browser
// may keep two cookies.
func (s *Session) noteReplays(late []lateUse, alive []candidate) []lateUse {
	return slices.DeleteFunc(late, func(l lateUse) bool {
		beside := slices.ContainsFunc(alive, func(c candidate) bool { return origin(c.at.id, c.at.rec) == l.origin }) ||
			slices.ContainsFunc(s.locked, func(at *stored) bool { return origin(at.id, at.rec) == l.origin })
		if !beside {
			s.note(Event{Kind: EventReplayed, ID: l.id, Reason: "rotated id after its grace"})
		}
		return beside
	})
}

// endReplayed ends what replayed ids have become, if Config.OnReplay says so. The error is
// that of a read: it is not known yet whose the session is.
func (s *Session) endReplayed(bounded *lazyContext, replays []lateUse, now time.Time) error {
	m := s.m
	for _, l := range replays {
		device, err := s.isOfDevice(bounded, l, now)
		if err != nil {
			return err
		}
		if device || m.cfg.OnReplay != EndSession {
			continue
		}
		rec, err := m.endForGood(bounded.get(), l.id, nil, true)
		switch {
		case err != nil:
			m.block(&stored{id: l.id})
			m.blockAll(bounded.get(), l.at)
			m.forgetEnded(l.origin)
		case rec != nil:
			s.note(Event{Kind: EventRevoked, ID: l.id, UserID: rec.User, ActorID: rec.Actor, Reason: "a rotated id came after its grace"})
		}
	}
	return nil
}

// blockAll blocks a rotated id and, as far as Redis tells, all that it leads to.
func (m *Manager) blockAll(ctx context.Context, id string) {
	for range maxEndHops {
		m.block(&stored{id: id})
		v, err := m.store.Get(ctx, id)
		if err != nil {
			return
		}
		if id = v.Head().Leads(); id == "" {
			return
		}
	}
}

// isOfDevice tells whether what a replayed id has become is for a device to claim, or gone.
// If the second cookie of that device came along, the request may be its owner's, whose last
// answer was lost, or of a thief who has copied both cookies and was led on before the owner:
// a proof will tell.
func (s *Session) isOfDevice(bounded *lazyContext, l lateUse, now time.Time) (bool, error) {
	if s.m.binding == nil {
		return false, nil
	}
	id := l.at
	for range maxEndHops {
		v, err := s.m.store.Get(bounded.get(), id)
		if err != nil {
			return false, err
		}
		if rec, err := s.m.open(id, v); err != nil {
			return true, nil
		} else if rec != nil {
			s.unproven = s.unproven || s.showsDeviceOf(rec, now)
			return s.unproven || rec.Bound(), nil
		}
		if id = v.Head().Leads(); id == "" {
			break
		}
	}
	return true, nil
}
