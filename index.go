package redsession

import (
	"context"
	"errors"
	"time"

	"github.com/redsession/redsession/internal/record"
)

// enlist stores a new record of a user's, and then enters it in the user's
// index, in this order: an entry without a record is taken for dead. With a
// limit it takes dead entries out first and returns the ids of the oldest logins
// beyond it. An entry that does not count is revoked with the others, and no
// login to the limit. old is the id that this one replaces.
func (m *Manager) enlist(ctx context.Context, at *stored, raw, old string, ttl time.Duration, counts bool, limit int) ([]string, error) {
	user, score := at.rec.User, at.rec.Auth
	if limit > 0 {
		if err := m.prune(ctx, user, 0); err != nil {
			return nil, err
		}
	}
	if err := m.store.create(ctx, at.id, raw, ttl); err != nil {
		return nil, err
	}
	if !counts {
		score = min(-score, -1) // that of an imported login of an unknown time is 0
	}
	// The deadline may have passed since the record was encoded; an index whose life is
	// negative would be one without an end.
	life := max(time.Duration(at.rec.Deadline-m.cfg.Now().Unix())*time.Second, time.Second)
	length, evicted, err := m.store.enlist(ctx, user, at.id, old, score, life, limit)
	if err == nil && limit == 0 && length > longIndex {
		err = m.prune(ctx, user, longIndex)
	}
	return evicted, err
}

// longIndex is how many entries an index may have before a login looks whether
// the oldest are dead: an account that logs in by the minute and never out must
// not fill Redis.
const longIndex = 50

// prune takes entries of sessions that have ended out of user's index, looking
// at the oldest most of them (0 for all).
func (m *Manager) prune(ctx context.Context, user string, most int) error {
	ids, scores, err := m.store.ranked(ctx, user, most)
	if err != nil {
		return err
	}
	heads, err := m.store.heads(ctx, ids)
	if err != nil {
		return err
	}
	var dead []string
	for i, head := range heads {
		switch isRecord, next := record.Peek(head); {
		case isRecord:
		case next == "":
			dead = append(dead, ids[i])
		case scores[i] >= 0:
			// Who rotated it has died before the successor's entry took the place
			// of this one, or is just about to do the same.
			if err := m.store.relist(ctx, user, ids[i], next, scores[i]); err != nil {
				return err
			}
		}
	}
	if len(dead) == 0 {
		return nil
	}
	return m.store.unlist(ctx, user, dead...)
}

// unlist takes a record that is gone out of its user's index. If that fails,
// whoever reads the index does it.
func (m *Manager) unlist(ctx context.Context, at *stored) {
	if at.rec.User != "" {
		_ = m.store.unlist(ctx, at.rec.User, at.id)
	}
}

// relist lets the entry of a rotated session take the place of the old one. If
// that fails again and again, the session counts by the old one for as long as
// that leads on.
func (m *Manager) relist(ctx context.Context, old, at *stored) {
	switch {
	case at.rec.User == "":
	case at.rec.Pending:
		m.unlist(ctx, old)
	default:
		for try := range 3 { // doing it twice does no harm
			if err := m.store.relist(ctx, at.rec.User, old.id, at.id, at.rec.Auth); err == nil || pause(ctx, try) != nil {
				return
			}
		}
	}
}

// evict ends logins beyond Config.MaxPerUser. One that cannot be ended now is
// found again at the next login.
func (m *Manager) evict(ctx context.Context, user string, ids []string) {
	found, err := m.store.entries(ctx, ids)
	if err != nil {
		m.emit(ctx, Event{Kind: EventFailed, UserID: user, Err: err})
		return
	}
	for i, id := range ids {
		if rec, err := m.open(found[i]); err == nil && rec != nil && rec.User != user {
			_ = m.store.unlist(ctx, user, id) // an import has made it another's
			continue
		}
		if _, err := m.revoke(ctx, id, "more logins than MaxPerUser"); err != nil {
			m.emit(ctx, Event{Kind: EventFailed, ID: id, UserID: user, Err: err})
			return
		}
		_ = m.store.unlist(ctx, user, id)
	}
}

// maxEndHops is how many rotations an ending follows: a stream opened long ago
// may be the one that logs out.
const maxEndHops = 128

// endSession takes away the session at id and whatever rotations have made of
// it, the last first, and returns the record that was alive, if there was one: an
// empty one if the reply that told was lost.
// With tombstone something stays that tells requests still on their way that it
// ended.
func (a *Admin) endSession(ctx context.Context, id string, tombstone bool) (*record.Record, error) {
	return a.endChain(ctx, id, tombstone, maxEndHops)
}

func (a *Admin) endChain(ctx context.Context, id string, tombstone bool, hops int) (*record.Record, error) {
	var with burial
	if tombstone {
		with = a.bury(id, a.cfg.RotateGrace)
	}
	grave := a.grave(id)
	a.tell(id)
	found, err := a.store.end(ctx, id, with, grave, false)
	switch {
	case err != nil || found == "":
		return nil, err
	case found == vanished: // a session, as far as anybody knows: better told of twice than never
		return new(record.Record), nil
	case !record.IsTombstone(found):
		return a.taken(ctx, id, found), nil
	}
	_, next := record.Peek(found)
	if next == "" {
		return nil, nil
	}
	if hops == 0 {
		return nil, errors.New("rotated too often to be followed")
	}
	rec, err := a.endChain(ctx, next, tombstone, hops-1)
	if err != nil {
		return nil, err
	}
	_, err = a.store.end(ctx, id, with, grave, true)
	return rec, err
}

// taken does what is left when found has been taken away from id, and returns the
// record, nil if it is not to be believed.
func (a *Admin) taken(ctx context.Context, id, found string) *record.Record {
	rec, err := a.open(entry{id: id, raw: found})
	if err != nil || rec == nil {
		return nil
	}
	if rec.Origin != "" {
		a.tell(rec.Origin)
	}
	if rec.User != "" {
		_ = a.store.unlist(ctx, rec.User, id) // else whoever reads the index does it
	}
	return rec
}

// tell tells the memory of a Manager that a session ended.
func (a *Admin) tell(id string) {
	if a.onEnd != nil {
		a.onEnd(id)
	}
}
