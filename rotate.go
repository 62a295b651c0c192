package redsession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redsession/redsession/internal/clientinfo"
	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/store"
)

const (
	tombstoneLife = 24 * time.Hour // the longest that a timed rotation leads on
	maxHops       = 8              // rotations followed in one request; one is usual
)

// Rotate gives the session a new id, as a timed rotation does: requests on
// their way with the old one are led to the new. A new id that the client has
// not shown yet is not replaced by yet another. The id of a session that is bound to a
// device turns when the device proves itself the next time.
func (s *Session) Rotate() {
	if s.refusedOutside("Rotate") {
		return
	}
	s.lock()
	defer s.mu.Unlock()
	switch {
	case s.base == nil, s.base.rec.Issued != 0 && s.base.rec.Seen == 0 && s.pending.seen == 0:
	case s.base.rec.Bound() && !s.proving:
		s.pending.turn = !s.base.rec.TurnDue
	default:
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

// turns tells whether the id is to turn with the commit that is due: with a timed rotation,
// or as the session begins to belong to a device. Once it does, its id turns in the answer
// to a proof alone: a thief who holds both cookies must not make a replay of their owner.
func (s *Session) turns() bool {
	rec := s.base.rec
	if rec.Bound() {
		return s.proving && (rec.TurnDue && (rec.Issued == 0 || rec.Seen != 0) || s.m.rotationDue(rec))
	}
	shown := rec.Issued == 0 || rec.Seen != 0 || s.pending.seen != 0
	return s.pending.bind != "" || s.pending.extend && shown || s.m.rotationDue(rec)
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
	b, err := tomb.Follow(m.keys.Session(at.id), at.bearer())
	if err != nil || len(b) != keyspace.SIDLen {
		return nil, errors.New("tombstone does not decrypt")
	}
	next := &stored{sid: keyspace.SID(b)}
	if next.id = next.sid.ID(); next.id != tomb.Next {
		return nil, errors.New("tombstone leads to another id than it names")
	}
	return next, nil
}

// create stores a session that was not stored before.
func (c *commit) create(ctx context.Context) error {
	done, err := c.carryOut(ctx, func() (attempt, error) {
		at, as, err := c.newRecord(nil)
		if err != nil {
			return attempt{}, err
		}
		return planCreate(at, as, c.inserted), nil
	})
	if err != nil {
		return err
	}
	c.accept(done)
	c.replaced(EventCreated)
	return nil
}

// newRecord is what the changes make of head and of the values of from (nil for none),
// under the new id. It may be called again with other values: nobody else knows the id.
func (c *commit) newRecord(from *record.Record) (*stored, sealed, error) {
	at := &stored{sid: c.next, id: c.next.ID()}
	var err error
	if at.rec, err = c.onTop(c.head, from); err != nil {
		return nil, sealed{}, err
	}
	as, err := c.seal(at.rec, at.id)
	return at, as, err
}

// replaced notes that the session has a new id, which the client is to get.
func (c *commit) replaced(kind EventKind) { c.replacedBy(kind, "") }

// replacedBy is replaced with a reason.
func (c *commit) replacedBy(kind EventKind, reason string) {
	c.out.cookie = cookieSet
	c.m.count.commits.Add(1)
	c.s.note(Event{Kind: kind, ID: c.out.result.id, UserID: c.out.result.rec.User, ActorID: c.out.result.rec.Actor, Reason: reason})
}

// entryLife is how long the index of a user must be kept for the entry of rec. The
// deadline may have passed since the record was encoded; an index whose life is negative
// would be one without an end.
func (k *core) entryLife(rec *record.Record) time.Duration {
	return max(time.Duration(rec.Deadline-k.cfg.Now().Unix())*time.Second, time.Second)
}

// commitRotation gives the session a new id. A request that comes second finds the
// tombstone and goes on from there.
func (c *commit) commitRotation(ctx context.Context) error {
	began := c.base
	seen := c.seen // of the old id; the new one has yet to be seen
	c.seen = 0
	done, err := c.carryOut(ctx, func() (attempt, error) {
		if c.base.id != began.id {
			return attempt{}, errRotatedMeanwhile
		}
		return c.rotation(seen)
	})
	switch {
	case errors.Is(err, errRotatedMeanwhile):
		c.out.cookie, c.out.result, c.bind = cookieSet, c.base, ""
		c.rotate, c.due = false, false // what is tried again later is the write alone
		if c.open = nil; len(c.ops) > 0 || c.change(c.base.rec) {
			return c.write(ctx)
		}
		return nil
	case errors.Is(err, errTooLate) && !c.rotate && c.any(): // the changes need no cookie
		c.seen, c.due = seen, false
		return c.write(ctx)
	case err != nil:
		c.seen = seen
		return err
	}
	c.accept(done)
	c.m.cache.Forget(began.id)
	if began.legacy != "" {
		c.replacedBy(EventImported, "by its old cookie, of "+began.rec.Source)
	} else if c.bind != "" {
		c.replaced(EventBound)
	} else {
		c.replaced(EventRotated)
	}
	return nil
}

// errRotatedMeanwhile is that another request was first to rotate the session.
var errRotatedMeanwhile = errors.New("another request has rotated the session")

// rotation is the plan that gives base a successor. seen is when the client first showed
// the present id.
func (c *commit) rotation(seen int64) (attempt, error) {
	m, old, now := c.m, c.base, c.m.cfg.Now()
	c.head = c.successor(old, now)
	at, as, err := c.newRecord(old.rec)
	if err != nil {
		return attempt{}, err
	}
	left := time.Duration(at.rec.Deadline-now.Unix()) * time.Second
	life := min(left, tombstoneLife)  // how long the tombstone leads on
	ttl := min(life, at.rec.TTL(now)) // how long Redis keeps it without a hit
	if old.legacy != "" {             // for as long as the old session may be found where it came from
		life = max(left, m.cfg.AbsoluteTimeout)
		ttl = life
	}
	key := m.keys.Session(old.id)
	tomb, err := record.NewRotationTombstone(m.ring, record.Rotation{
		Key: key, Old: old.bearer(), Next: at.sid[:], NextID: at.id, Origin: old.rec.Origin,
		Seen: cmp.Or(old.rec.Seen, seen), Deadline: now.Add(life).Unix(), Adopted: old.legacy != "",
	})
	if err != nil {
		return attempt{}, fmt.Errorf("redsession: rotating: %w", err)
	}
	over := sealed{id: old.id, raw: tomb.Encode(m.ring, key), ttl: ttl}
	a := planRotation(at, as, c.inserted, old, over, m.entryLife(at.rec), m.latestMark())
	if old.inside && at.rec.User != "" {
		a.plan.Prepare = append(a.plan.Prepare, unmarked(at.rec, old, m.entryLife(at.rec), m.latestMark()))
	}
	c.lasting(&a, old)
	if c.bind != "" {
		a.plan.Prepare = append(a.plan.Prepare, &store.Keep{Identifier: at.rec.Device(), TTL: left})
	}
	return a, nil
}

// successor is the head of what takes the place of old.
func (c *commit) successor(old *stored, now time.Time) record.Record {
	head := *old.rec
	head.Issued, head.Seen = now.Unix(), 0
	head.Origin = cmp.Or(old.rec.Origin, old.id)
	head.TurnDue = false
	head.Tags = c.m.renewTags(head.Tags)
	if c.bind != "" {
		head.Thumbprint = c.bind
	}
	if old.legacy != "" {
		head.Source += map[bool]string{false: ":", true: insideMark}[old.inside] + old.id
		head.RemoteAddr, head.UserAgent = clientinfo.RemoteAddr(c.s.r, c.m.cfg.TrustedHops), clientinfo.UserAgent(c.s.r)
	}
	return head
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
	if from != nil { // a login takes them along with the values
		head.Leases = from.Leases
	}
	head.TurnDue = head.TurnDue || c.turn && head.Bound()
	keepLimit(&head, from)
	for _, e := range c.edits {
		e(&head)
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
	head.Leases = withoutLeases(&head, c.ops)
	return &head, nil
}

// seal encodes rec for id. What would be past its end, or is too large, is not
// stored. MaxBytes bounds what handlers store, so that what protects the session never
// fails for lack of room; a lowered one keeps only what grows from being stored.
func (c *commit) seal(rec *record.Record, id string) (sealed, error) {
	now := c.m.cfg.Now()
	if rec.TTL(now) <= 0 {
		return sealed{}, c.s.gone()
	}
	if size := rec.DataLen(); size > c.m.cfg.MaxBytes && (c.base == nil || len(c.ops) > 0 && size > c.base.rec.DataLen()) {
		return sealed{}, fmt.Errorf("redsession: committing: %w: its values take %d bytes, Config.MaxBytes allows %d", ErrTooLarge, size, c.m.cfg.MaxBytes)
	}
	ttl := c.life(rec, id, now)
	raw, err := rec.Encode(c.m.ring, c.m.keys.Session(id), c.m.cfg.Encrypt)
	if err != nil {
		return sealed{}, fmt.Errorf("redsession: encoding session: %w", err)
	}
	return sealed{id, raw, ttl, !c.prolongs() && id == c.base.id}, nil
}

// goOnFrom goes on from what another request left instead of base. If that has ended it,
// a login stands, from empty; all else is ErrGone.
func (c *commit) goOnFrom(ctx context.Context, current record.Value, try int) error {
	c.m.count.conflicts.Add(1)
	c.merged = true
	err := c.rebase(ctx, current, try)
	if errors.Is(err, errEnded) && !c.startEmpty() {
		c.withdraw(ctx)
		return c.s.gone()
	}
	if errors.Is(err, errEnded) {
		return nil
	}
	return err
}

// errEnded is that the session that a commit began from has ended meanwhile.
var errEnded = errors.New("ended meanwhile")

// rebase finds what base has become, over the tombstones of timed rotations, however
// late: grace is judged when a request loads.
func (c *commit) rebase(ctx context.Context, current record.Value, try int) error {
	for range maxHops {
		rec, tomb, err := current.Open(c.m.ring, c.m.keys.Session(c.base.id))
		switch {
		case err != nil:
			c.s.note(Event{Kind: EventRefused, ID: c.base.id, Reason: err.Error()})
			return errEnded
		case rec != nil && !rec.SameLogin(c.base.rec):
			return errEnded
		case rec != nil:
			c.base = &stored{sid: c.base.sid, id: c.base.id, rec: rec, legacy: c.base.legacy, inside: c.base.inside}
			if err := pause(ctx, try); err != nil {
				return unavailable(err)
			}
			return nil
		case tomb != nil && tomb.Kind == record.LoggedIn && c.login && !c.promote:
			return c.goOnFromLogin(ctx, tomb.Next)
		case tomb == nil || !tomb.Kind.Leads():
			return errEnded
		}
		next, err := c.s.follow(c.base, tomb)
		if err != nil {
			return errEnded
		}
		next.rec = c.base.rec
		c.base, c.seen = next, 0 // that was of another id
		if !c.sent {
			c.out.cookie = cookieSet
		}
		if current, err = c.m.store.Get(ctx, next.id); err != nil {
			return unavailable(err)
		}
	}
	return errEnded
}
