package redsession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redsession/redsession/internal/clientinfo"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/store"
)

// pendingLife is how long a user has to present the second factor (NIST SP
// 800-63B 5.1).
const pendingLife = 10 * time.Minute

var (
	errNotPending  = errors.New("redsession: Promote without a pending login: check PendingUserID first")
	errCookieStays = fmt.Errorf("redsession: the session has ended, its cookie stays: %w", ErrHeadersSent)
)

// Login makes this the session of user. Call it once the user has proved who
// they are, again included: it ends the old id, and the browser gets a new one
// (OWASP ASVS 7.2.4). Values of an anonymous session, and of the same user's,
// come along; as another user the session starts empty. It stands, from empty, though the
// old session has ended meanwhile, and is ErrGone if the user's sessions, those beside
// another one, or those with one of its tags, were revoked after the request began. It panics
// if user is "".
func (s *Session) Login(user string, opts ...LoginOption) {
	if user == "" {
		panic(`redsession: Login(""): want the user's id`)
	}
	if s.refusedOutside("Login") {
		return
	}
	o := collect(opts)
	s.warnOfLate("login", "")
	stamp, err := s.presentUser(user)
	s.lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failLocked(err)
	}
	if err := s.checkFacts(user, &o.facts); err != nil {
		s.failLocked(err)
		return
	}
	s.loginLocked(user, int64(o.remember/time.Second), o.pending, o.facts)
	s.head.Stamp, s.pending.checked, s.pending.said.marks = stamp, s.loadedAt, maps.Clone(s.marks)
	if o.pending { // Promote goes by it: the password may have been checked long before this call
		s.head.Auth = s.marks.after(s.loadedAt, &s.head)
	}
}

// Promote completes a login that was Pending, under a new id. Without a pending
// login the commit fails; it is ErrGone if that login has ended, or the user's sessions, or
// those beside another one or with one of its tags, were revoked, since the password was
// checked. Of the options it takes Proved alone, and panics on others: the rest is what that
// login said.
//
// It also completes a login that was refused for want of a place (Config.RefuseAtLimit): it is
// ErrTooManySessions again, and all stays as it is, unless there is one now. Such a login has
// all its factors, any other may not: ask AtLimit before you promote one without a factor.
func (s *Session) Promote(opts ...LoginOption) {
	if s.refusedOutside("Promote") {
		return
	}
	o := collect(opts)
	if o.remember != 0 || o.pending || o.label != nil || len(o.tags) > 0 || o.actor != "" {
		panic("redsession: Promote takes Proved alone: give the other options to the Login that is Pending")
	}
	s.lock()
	defer s.mu.Unlock()
	switch {
	case !s.head.Pending:
		s.failLocked(errNotPending)
		return
	case o.err != nil:
		s.failLocked(o.err)
		return
	}
	checked := s.head.Auth // of the password
	if s.head.AtLimit {
		checked = max(checked, s.marks[store.OfUser(s.head.User)])
	}
	s.loginLocked(s.head.User, s.head.Remember, false, o.facts)
	s.pending.promote, s.pending.checked = true, checked
}

func (s *Session) loginLocked(user string, remember int64, pending bool, said facts) {
	now := s.m.cfg.Now()
	keep := s.head.User == "" || s.head.User == user && s.head.Actor == ""
	if !keep {
		s.pending.ops, s.fields, s.parsed = nil, nil, true
	} else {
		s.view() // before the base is another
	}
	s.pending.carry = keep && (!s.pending.fresh || s.pending.carry)
	s.pending.fresh, s.pending.login, s.pending.promote = true, true, false
	head := record.Record{
		Created: s.head.Created, Auth: now.UnixMicro(),
		User: user, Pending: pending, Remember: remember,
		Idle: seconds(s.m.cfg.IdleTimeout), Deadline: now.Add(s.m.cfg.AbsoluteTimeout).Unix(),
		Source:     s.head.Source,
		Stamp:      cmp.Or(s.pending.stamp, s.head.Stamp), // of the half-open login, for Promote
		RemoteAddr: clientinfo.RemoteAddr(s.r, s.m.cfg.TrustedHops), UserAgent: clientinfo.UserAgent(s.r),
	}
	if !keep {
		head.Created = now.Unix()
	}
	s.bindLogin(&head)
	s.stateLocked(&head, said, keep)
	switch {
	case pending:
		head.Idle, head.Deadline = seconds(pendingLife), now.Add(pendingLife).Unix()
	case remember > 0:
		head.Idle, head.Deadline = remember, now.Unix()+remember
	}
	s.limitLogin(&head)
	limitActor(&head, &s.head)
	s.head = head
	s.pending.stamp, s.pending.seen = "", 0 // they were for the old record
}

// Logout ends the session, here and in Redis, and expires the client's cookie.
// Nothing of it survives but flashes; what the handler sets after Logout
// belongs to a new, anonymous session. Of a session that another request has just
// ended, as when Logout is clicked twice, nothing is kept and no cookie is touched,
// since the client may have logged in again: flashes are dropped, other values are
// ErrGone.
//
// If Redis cannot be reached in time the commit is ErrUnavailable, as the session has not
// ended yet. This process then serves it no more and ends it when Redis is back, and the
// client gets a cookie in its place by which any server that gets it does so.
func (s *Session) Logout() {
	if s.refusedOutside("Logout") {
		return
	}
	s.warnOfLate("logout", "")
	s.lock()
	defer s.mu.Unlock()
	flashes, there := record.Find(s.view(), flashKey)
	s.pending = changes{fresh: true, logout: true, user: cmp.Or(s.pending.user, s.head.User)}
	s.fields, s.parsed = nil, true
	s.head = s.m.anonymous()
	if there {
		op := setOp(flashKey, flashes)
		s.recordLocked(op, op)
	}
}

// commitLogin stores the session under its new id, enters it in the user's index and puts
// a tombstone in the place of the old one. Only when that is decided does the cookie
// leave.
func (c *commit) commitLogin(ctx context.Context) error {
	began := c.base
	if began == nil && c.ended.next != "" {
		if err := c.goOnFromLogin(ctx, c.ended.next); err != nil && !errors.Is(err, errEnded) {
			return err
		}
	}
	done, err := c.carryOut(ctx, c.loginAttempt)
	if errors.Is(err, ErrTooManySessions) && c.waitForPlace() {
		done, err = c.carryOut(ctx, c.loginAttempt)
	}
	if err != nil {
		return err
	}
	if c.accept(done); c.head.AtLimit {
		c.out.short = errAtLimit
	}
	for _, old := range []*stored{began, c.base} { // which may be the same
		if old != nil {
			c.m.tellEnded(old.id, origin(old.id, old.rec))
		}
	}
	if done.end != nil && done.end.Found.Head().Leads() != "" { // rotated since it was loaded
		c.endLeft(ctx, began)
	}
	c.endOthers(ctx)
	for _, entered := range done.entered {
		c.m.trim(ctx, entered, c.orphaned)
	}
	if c.head.Pending {
		c.replaced(EventPending)
	} else {
		c.replaced(EventLogin)
	}
	return nil
}

// loginAttempt is the plan of a login on top of base.
func (c *commit) loginAttempt() (attempt, error) {
	m := c.m
	var from *record.Record
	if c.base != nil && c.carry {
		from = c.base.rec
	}
	if c.base != nil { // which another request may have limited since
		limitActor(&c.head, c.base.rec)
	}
	at, as, err := c.newRecord(from)
	if err != nil {
		return attempt{}, err
	}
	p := loginPlan{
		at: at, as: as, earlier: c.inserted, old: c.base,
		life: m.entryLife(at.rec), limit: m.cfg.MaxPerUser, refuse: m.cfg.RefuseAtLimit, spared: c.spared, checked: c.checked, marks: c.said.marks, latest: m.latestMark(),
	}
	if old := c.base; old != nil {
		same := old.rec.User == "" || old.rec.User == at.rec.User && old.rec.Actor == ""
		p.keep = same || at.rec.Actor != "" // who acts must be logged in
		key, life := m.keys.Session(old.id), m.cfg.RotateGrace
		tomb := record.NewTombstone(m.cfg.Now(), life)
		if same {
			tomb = record.NewLoginTombstone(m.cfg.Now(), life, at.id)
		}
		p.over = sealed{id: old.id, raw: tomb.Encode(m.ring, key), ttl: life}
	}
	return planLogin(p), nil
}

// goOnFromLogin has a login go on from the session at id, which an earlier login of the
// same user put in the place of the client's: it is the same browser, whose answer was
// lost. Half of a login does not go on from a whole one. The error is errEnded if there is
// no such session.
func (c *commit) goOnFromLogin(ctx context.Context, id string) error {
	for range maxHops {
		v, err := c.m.store.Get(ctx, id)
		if err != nil {
			return unavailable(err)
		}
		rec, tomb, err := v.Open(c.m.ring, c.m.keys.Session(id))
		switch {
		case err != nil:
			return errEnded
		case tomb != nil && tomb.Kind == record.LoggedIn:
			id = tomb.Next
			continue
		case rec == nil || rec.User != c.head.User || rec.Actor != c.head.Actor || rec.Pending != c.head.Pending || rec.TTL(c.m.cfg.Now()) <= 0:
			return errEnded
		}
		c.base, c.merged = &stored{id: id, rec: rec}, true
		return nil
	}
	return errEnded
}

// startEmpty lets a login stand though the session that it began from has ended: nothing
// of a user's comes back, nor what it had proved. A promotion does not stand, as what
// proved the first factor is gone, nor a login By somebody whose session has ended.
func (c *commit) startEmpty() bool {
	if !c.login || c.promote || c.said.actor != "" || c.said.state(c.m.ring, &c.head, &record.Record{}) != nil {
		return false
	}
	c.base, c.carry, c.fields, c.merged = nil, false, nil, true
	return true
}

// endOthers ends the further sessions whose cookies came: what is left of them must not
// be found once the client has a new cookie, or none.
func (c *commit) endOthers(ctx context.Context) {
	for _, at := range c.others {
		c.endLeft(ctx, at)
	}
}

// endLeft ends a session that the client had beside the one that it has now. If Redis does
// not, this process serves it no more, and ends it later.
func (c *commit) endLeft(ctx context.Context, at *stored) {
	_, err := c.m.endOf(ctx, at.id, at.rec, true)
	if err == nil {
		return
	}
	c.m.block(at)
	c.s.note(Event{Kind: EventFailed, ID: at.id, UserID: at.rec.User, ActorID: at.rec.Actor, Err: fmt.Errorf("redsession: ending another session of the same client: %w", err)})
}

// commitLogout ends the session before anything else. What the handler set after
// Logout then begins another.
func (c *commit) commitLogout(ctx context.Context) error {
	if err := c.endSessions(ctx); err != nil {
		return err
	}
	if err := c.s.endLegacy(ctx); err != nil {
		return unavailable(err)
	}
	known := c.out.ended
	dead := c.dead && !known
	switch {
	case c.err != nil:
		return c.err
	case dead && !c.login && len(withoutFlashes(c.fields)) > 0:
		return c.s.gone()
	case dead && !c.login:
		return nil // its client may have logged in again since: no cookie
	case c.sent && (known || c.login || len(c.fields) > 0):
		return errCookieStays
	case c.login:
		return c.commitLogin(ctx)
	case len(c.fields) > 0 || c.store:
		return c.create(ctx)
	case known || c.s.came.Invalid+c.s.came.Overdue+len(c.s.came.Ending) > 0 || c.before != cookieKeep:
		c.out.cookie = cookieExpire
	}
	return nil
}

// endSessions ends all sessions whose cookies came. Until Redis has done that, this process
// serves them no more, and an ending cookie asks for it, whatever kept Redis from it.
func (c *commit) endSessions(ctx context.Context) error {
	m, all := c.m, c.others
	if c.base != nil {
		all = append([]*stored{c.base}, all...)
	}
	for _, at := range all {
		if _, err := m.endForGood(ctx, at.id, at.rec, true); err != nil {
			c.out.toEnd = !c.sent
			for _, at := range all {
				m.block(at)
			}
			return unavailable(err)
		}
	}
	for _, at := range all {
		m.cache.Unblock(at.id)
		m.tellEnded(at.id, origin(at.id, at.rec))
		if at == c.base || c.base == nil {
			c.s.note(Event{Kind: EventLogout, ID: at.id, UserID: cmp.Or(c.user, at.rec.User), ActorID: at.rec.Actor})
		}
	}
	c.out.ended = c.out.ended || len(all) > 0
	c.base, c.others, c.carry = nil, nil, false
	return nil
}

func withoutFlashes(fields []record.Field) []record.Field {
	return slices.DeleteFunc(slices.Clone(fields), func(f record.Field) bool { return f.Name == flashKey })
}
