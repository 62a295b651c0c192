package redsession

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redsession/redsession/internal/record"
)

const (
	tombstoneLife = 24 * time.Hour // the longest that a timed rotation leads on
	maxHops       = 8              // rotations followed in one request; one is usual
)

func newSID() (s sid) {
	rand.Read(s[:]) // never fails: crypto/rand crashes the program instead
	return s
}

// Rotate gives the session a new id, as a timed rotation does: requests on
// their way with the old one are led to the new. A new id that the client has
// not shown yet is not replaced by yet another.
func (s *Session) Rotate() {
	s.lock()
	defer s.mu.Unlock()
	if s.base != nil && (s.base.rec.Issued == 0 || s.base.rec.Seen != 0 || s.pending.seen != 0) {
		s.pending.rotate = true
	}
}

// KeepID says that this request must not be the one that rotates the id,
// because its client takes no cookie from the response: a websocket, or a
// download. All checks stay.
func (s *Session) KeepID() {
	s.lock()
	defer s.mu.Unlock()
	s.keepID = true
}

// anonymous returns the head of a session that nobody has logged in to.
func (m *Manager) anonymous() record.Record {
	now := m.cfg.Now()
	return record.Record{
		Created: now.Unix(), Idle: seconds(m.cfg.AnonymousTimeout),
		Deadline: now.Add(m.cfg.AbsoluteTimeout).Unix(),
	}
}

// rotationDue tells whether the timed rotation of rec is due. A new id that
// the client has not shown yet is not replaced by yet another.
func (m *Manager) rotationDue(rec *record.Record) bool {
	if m.cfg.RotateEvery < 0 || !rec.LoggedIn() || rec.Issued != 0 && rec.Seen == 0 {
		return false
	}
	issued := time.UnixMicro(rec.Auth)
	if rec.Issued != 0 {
		issued = time.Unix(rec.Issued, 0)
	}
	return m.cfg.Now().Sub(issued) >= m.cfg.RotateEvery
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// follow steps from a tombstone to what it leads to.
func (m *Manager) follow(at *stored, tomb *record.Tombstone) (*stored, error) {
	b, err := tomb.Follow(m.store.key(at.id), at.bearer())
	if err != nil || len(b) != sidLen {
		return nil, errors.New("tombstone does not decrypt")
	}
	next := &stored{sid: sid(b)}
	if next.id = publicID(next.sid); next.id != tomb.Next {
		return nil, errors.New("tombstone leads to another id than it names")
	}
	return next, nil
}

// create stores a session that was not stored before.
func (c *commit) create() error {
	if _, err := c.put(nil); err != nil {
		return err
	}
	c.emit(EventCreated)
	return nil
}

// put stores the record that the changes make of head and of the values of
// from, under the new id, and enters a user's in the index. It may be called
// again with other values: nobody else knows the id yet. It returns the ids of
// the logins that are too many now.
func (c *commit) put(from *record.Record) (evicted []string, err error) {
	at := &stored{sid: c.next, id: publicID(c.next)}
	if at.rec, err = c.onTop(c.head, from); err != nil {
		return nil, err
	}
	raw, ttl, err := c.encode(at.rec, at.id)
	if err != nil {
		return nil, err
	}
	if at.rec.User == "" {
		err = c.m.store.create(c.ctx, at.id, raw, ttl)
	} else {
		counts, limit, old := c.login && !at.rec.Pending, 0, ""
		if c.base != nil && c.base.rec.User == at.rec.User {
			old = c.base.id
		}
		if counts {
			limit = c.m.cfg.MaxPerUser
		}
		evicted, err = c.m.enlist(c.ctx, at, raw, old, ttl, counts, limit)
	}
	if err != nil {
		return nil, unavailable(err)
	}
	c.result, c.cookie = at, cookieSet
	c.m.memory.confirm(at.id, raw, at.rec, c.m.cfg.Now())
	return evicted, nil
}

// withdraw removes the record that put stored, since it is not to be used.
func (c *commit) withdraw() {
	if c.result == nil || c.result.id != publicID(c.next) {
		return
	}
	// If this fails, a record stays whose SID nobody has; it ends by itself.
	_ = c.m.store.discard(c.ctx, c.result.id)
	c.m.unlist(c.ctx, c.result)
	c.m.memory.purge(c.result.id)
	c.result, c.cookie = nil, c.s.cookie
}

// turn gives the session a new id: the new record first, then its entry in the
// index, then the tombstone that leads to it. A request that comes second finds
// the tombstone and goes on from there.
func (c *commit) turn() error {
	now := c.m.cfg.Now()
	seen := c.seen // of the old id; the new one has yet to be seen
	c.seen = 0
	for try := 0; ; try++ {
		old := c.base
		life, ttl := c.succeed(old, now)
		if _, err := c.put(old.rec); err != nil {
			if try > 0 {
				c.withdraw()
			}
			return err
		}
		lead, err := c.lead(old, cmp.Or(old.rec.Seen, seen), now.Add(life))
		if err != nil {
			return fmt.Errorf("redsession: rotating: %w", err)
		}
		swapped, current, err := c.m.store.swap(c.ctx, old.id, old.rec.Rev, lead, ttl)
		if err != nil {
			return unavailable(err)
		}
		if swapped {
			c.turned(old)
			return nil
		}
		err = c.rebase(current, try)
		if err == nil && c.base.id == old.id {
			continue // with what another request wrote
		}
		c.withdraw()
		if err != nil {
			return err
		}
		c.cookie, c.result = cookieSet, c.base // another request has rotated it
		if len(c.ops) > 0 {
			return c.write()
		}
		return nil
	}
}

// succeed makes head that of the successor of old, and returns how long the
// tombstone of old leads there, and how long Redis keeps it without a hit.
func (c *commit) succeed(old *stored, now time.Time) (life, ttl time.Duration) {
	left := time.Duration(old.rec.Deadline-now.Unix()) * time.Second
	life = min(left, tombstoneLife)
	ttl = min(life, old.rec.TTL(now))
	c.head = *old.rec
	c.head.Issued, c.head.Seen = now.Unix(), 0
	c.head.Origin = cmp.Or(old.rec.Origin, old.id)
	if old.legacy != "" {
		life = max(left, c.m.cfg.AbsoluteTimeout)
		ttl = life
		c.head.Source += ":" + old.id
		c.head.RemoteAddr, c.head.UserAgent = c.s.remoteAddr(), userAgent(c.s.r)
	}
	return life, ttl
}

// lead returns the tombstone that leads from old, first seen then, to what put stored.
func (c *commit) lead(old *stored, seen int64, until time.Time) (string, error) {
	key := c.m.store.key(old.id)
	tomb, err := record.Lead(c.m.ring, key, seen, old.bearer(), c.next[:], c.result.id, until.Unix())
	if err != nil {
		return "", err
	}
	tomb.Imported = old.legacy != ""
	return tomb.Encode(c.m.ring, key), nil
}

// turned does what is left once the tombstone leads from old to the successor.
func (c *commit) turned(old *stored) {
	c.m.memory.purge(old.id)
	c.m.relist(c.ctx, old, c.result)
	if old.legacy != "" {
		c.emit(EventImported)
	} else {
		c.emit(EventRotated)
	}
}

func (c *commit) emit(kind EventKind) {
	c.m.count.commits.Add(1)
	c.m.emit(c.s.r.Context(), Event{Kind: kind, ID: c.result.id, UserID: c.result.rec.User, RemoteAddr: c.s.remoteAddr()})
}
