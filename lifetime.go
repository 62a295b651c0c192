//lint:file-ignore ST1005 a mistake begins with the name of the field that it is in

package redsession

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/redsession/redsession/internal/lifetime"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/store"
	"github.com/redsession/redsession/internal/tuning"
)

// Assurance is an authentication assurance level of NIST SP 800-63B-4. A level sets the
// timeouts, and bounds what may be configured instead: New refuses longer ones, and so does
// Login for RememberFor; what is imported from another package keeps no more. Sessions that
// were there before the level was set keep what they have; RevokeAll ends them.
type Assurance int

// The levels, with the reauthentication timeouts of sections 2.1.3, 2.2.3 and 2.3.3.
const (
	AAL1 Assurance = iota + 1 // 30 days
	AAL2                      // 24 hours, 1 hour without a request
	AAL3                      // 12 hours, 15 minutes without a request
)

// String returns the name of the level as NIST writes it.
func (a Assurance) String() string {
	if a == 0 {
		return "none"
	}
	return fmt.Sprintf("AAL%d", int(a))
}

func (a Assurance) limits() lifetime.Limits { return lifetime.Of(int(a)) }

// withLifetimes fills the timeouts that are zero: with what Assurance allows, and with no
// idle timeout beyond the absolute one.
func (c Config) withLifetimes() Config {
	most := c.Assurance.limits()
	if c.AbsoluteTimeout == 0 {
		c.AbsoluteTimeout = lifetime.Within(defaultAbsolute, most.Absolute)
		c.IdleTimeout = min(c.IdleTimeout, c.AbsoluteTimeout) // one that was chosen is as long as can be
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = min(lifetime.Within(defaultIdle, most.Idle), c.AbsoluteTimeout)
	}
	if c.AnonymousTimeout == 0 {
		c.AnonymousTimeout = min(defaultAnonymous, c.IdleTimeout)
	}
	return c
}

// checkLifetimes reports timeouts that contradict each other, or Assurance.
func (c Config) checkLifetimes() error {
	if c.Assurance < 0 || int(c.Assurance) > lifetime.Highest {
		return fmt.Errorf("Config.Assurance is %d, want AAL1, AAL2, AAL3, or none", int(c.Assurance))
	}
	var errs []error
	if c.IdleTimeout > c.AbsoluteTimeout {
		errs = append(errs, fmt.Errorf("Config.IdleTimeout (%s) is longer than AbsoluteTimeout (%s): no session lives to see it; make one of them the other", c.IdleTimeout, c.AbsoluteTimeout))
	}
	most := c.Assurance.limits()
	for _, f := range []struct {
		name         string
		value, limit time.Duration
	}{
		{"AbsoluteTimeout", c.AbsoluteTimeout, most.Absolute},
		{"IdleTimeout", c.IdleTimeout, most.Idle},
	} {
		if lifetime.Exceeds(f.value, f.limit) {
			errs = append(errs, fmt.Errorf("Config.%s is %s, and Assurance is %s, which allows %s (NIST SP 800-63B-4)", f.name, f.value, c.Assurance, f.limit))
		}
	}
	return errors.Join(errs...)
}

func (c Config) checkTimes() error {
	var errs []error
	least := tuning.Current().LeastTimeout
	for _, f := range []struct {
		name  string
		value time.Duration
		least time.Duration
	}{
		{"IdleTimeout", c.IdleTimeout, least},
		{"AnonymousTimeout", c.AnonymousTimeout, least},
		{"AbsoluteTimeout", c.AbsoluteTimeout, least},
		{"RotateGrace", c.RotateGrace, least},
		{"OutageMaxStale", c.OutageMaxStale, least},
		{"RedisTimeout", c.RedisTimeout, time.Millisecond},
	} {
		if f.value > mostTime {
			errs = append(errs, fmt.Errorf("Config.%s is %s, want at most 100 years", f.name, f.value))
		}
		if f.value < f.least {
			errs = append(errs, fmt.Errorf("Config.%s is %s, want at least %s", f.name, f.value, f.least))
		}
	}
	if c.RotateEvery > 0 && c.RotateEvery < least {
		errs = append(errs, fmt.Errorf("Config.RotateEvery is %s, want at least %s, or negative for never", c.RotateEvery, least))
	}
	if c.OutageWait > mostWait {
		errs = append(errs, fmt.Errorf("Config.OutageWait is %s, want at most %s: clients and balancers give up long before", c.OutageWait, mostWait))
	}
	if c.AnonymousTimeout > c.IdleTimeout {
		errs = append(errs, fmt.Errorf("Config.AnonymousTimeout (%s) is longer than IdleTimeout (%s): sessions nobody logged in to may not live longer than those of users", c.AnonymousTimeout, c.IdleTimeout))
	}
	return errors.Join(append(errs, c.checkLifetimes())...)
}

// mayRemember tells why a login must not last for d.
func (a Assurance) mayRemember(d time.Duration) error {
	most := a.limits()
	switch {
	case lifetime.Exceeds(d, most.Idle):
		return fmt.Errorf("redsession: RememberFor(%s): it is the idle timeout too, and Config.Assurance is %s, which allows %s", d, a, most.Idle)
	case lifetime.Exceeds(d, most.Absolute):
		return fmt.Errorf("redsession: RememberFor(%s): Config.Assurance is %s, which allows %s", d, a, most.Absolute)
	}
	return nil
}

// left is how much of ttl a user's session of another package may keep.
func (a Assurance) left(lr *LegacyRecord, now time.Time, ttl time.Duration) time.Duration {
	most := a.limits()
	if lr.UserID == "" {
		return ttl
	}
	if most.Absolute > 0 && lr.CreatedAt.Unix() > 0 && lr.CreatedAt.Before(now) {
		ttl = min(ttl, lr.CreatedAt.Add(most.Absolute).Sub(now))
	}
	return lifetime.Within(lifetime.Within(ttl, most.Absolute), most.Idle)
}

var (
	errExtendLocked  = fmt.Errorf("redsession: Extend: %w", ErrLocked)
	errExtendEnded   = fmt.Errorf("redsession: Extend: %w", ErrGone)
	errExtendHalf    = errors.New("redsession: Extend of a login whose second factor is missing: it has 10 minutes, and Promote gives it a time of its own")
	errExtendActing  = errors.New("redsession: Extend of a session in which somebody acts as its user: it ends when its time is over")
	errExtendPassive = errors.New("redsession: Extend in a request that Config.Passive names: its user may be absent, so it must prolong nothing")
)

// Extend begins the session's absolute lifetime anew: Config.AbsoluteTimeout from now, or
// what RememberFor said at the login. Call it when the user has asked to stay, as by the
// button of a dialog that warns of the end (WCAG 2.2.1); not at every request, as each call
// is a write and a new id. AuthTime stays as it is, so RequireRecentLogin asks for the
// password all the same. The end is never moved past LimitTo, nor past what Config.Assurance
// allows from AuthTime, nor to an earlier time: where nothing is left to gain it stays. NIST
// SP 800-63B-4 counts the overall timeout from the authentication, as with Assurance set.
//
// The session gets a new id as by a timed rotation, in the same two round trips: of
// parallel requests all are answered, and one session is left. The end is moved without a new
// id where the client has not shown the present one yet, in a request with KeepID, once the headers have left, and
// while the session belongs to a device, whose next proof turns the id.
// A browser whose cookie tells another end than the session's gets a new one with its next
// request, so an answer that is lost logs nobody out, unless no other request comes before
// the old end.
//
// The commit is an error, and changes nothing, for a locked session (ErrLocked), one that has
// just ended (ErrGone), one that waits for its second factor, one in which somebody acts as the
// user (By), and in a request that
// Config.Passive names. The session of a visitor who has not logged in is extended like any
// other; where nothing is stored there is nothing to extend.
func (s *Session) Extend() {
	if s.refusedOutside("Extend") {
		return
	}
	s.lock()
	defer s.mu.Unlock()
	if err := s.mayExtend(); err != nil {
		if s.pending.err == nil {
			s.pending.err = err
		}
		return
	}
	if s.base == nil && !s.pending.login {
		return
	}
	m, now := s.m, s.m.cfg.Now()
	s.editLocked(func(rec *record.Record) {
		if !rec.Pending { // a login may come after it in the same request
			rec.Deadline = m.term(rec).Extended(now)
		}
	})
	if s.base == nil || s.pending.fresh {
		return
	}
	if s.base.rec.Bound() {
		s.pending.turn = s.pending.turn || !s.base.rec.TurnDue
	} else {
		s.pending.extend = true
	}
}

// mayExtend tells why the session must not be extended.
func (s *Session) mayExtend() error {
	switch {
	case s.passive:
		return errExtendPassive
	case s.isLocked && s.base == nil && !s.pending.login:
		return errExtendLocked
	case s.base == nil && s.dead && !s.pending.login:
		return errExtendEnded
	case s.head.Pending:
		return errExtendHalf
	case s.head.Actor != "":
		return errExtendActing
	}
	return nil
}

// term is what the end of rec goes by.
func (m *Manager) term(rec *record.Record) lifetime.Term {
	t := lifetime.Term{Deadline: rec.Deadline, Ceiling: rec.Ceiling, Life: m.cfg.AbsoluteTimeout, Limit: m.cfg.Assurance.limits().Absolute}
	if rec.Remember > 0 {
		t.Life = time.Duration(rec.Remember) * time.Second
	}
	if rec.User != "" {
		if t.Proved = rec.Auth / int64(time.Second/time.Microsecond); t.Proved == 0 {
			t.Proved = rec.Created // imported, and nobody knows when the user logged in
		}
	}
	return t
}

// LimitTo has the session end within d at the latest, whatever its timeouts say: when the
// token of an identity provider expires, or a shift ends. A limit is only ever made sooner.
// Rotation and Extend keep it, and so do Promote and a Login as the same user, which go on
// with the session; to begin without it, call Logout before Login. A Login as another user,
// and one from an anonymous session, begin without the limit of what was before, but for one
// set in the same request. If d is under a second the session ends now, as by Logout: nothing
// is left of what the request has set before.
//
// It is a write of one round trip, none if a limit as soon is there already. It needs no new
// id, and works once the headers have left. The cookie, and how long a browser keeps it,
// follow. For a session that is not stored it is kept with the first write of this
// request. It fails with ErrLocked for a locked session, and with ErrGone if the session has
// ended meanwhile.
func (s *Session) LimitTo(d time.Duration) {
	if d < time.Second {
		s.Logout()
		return
	}
	s.lock()
	defer s.mu.Unlock()
	to := s.m.cfg.Now().Add(min(d, mostTime)).Unix()
	switch {
	case s.isLocked && s.base == nil && !s.pending.login:
		if s.pending.err == nil {
			s.pending.err = errLocked
		}
	case s.head.Ceiling == 0 || to < s.head.Ceiling:
		s.editLocked(func(rec *record.Record) { limit(rec, to) })
	}
}

// ExpiresAt returns when the session ends if no further request comes: exactly in a request
// that Config.Passive names, otherwise as of this one, which has prolonged it.
func (s *Session) ExpiresAt() time.Time {
	s.lock()
	defer s.mu.Unlock()
	now, ttl := s.m.cfg.Now(), time.Duration(0)
	if s.pending.fresh {
		ttl = s.head.TTL(now)
	} else {
		ttl = s.left(&s.head, now)
	}
	return s.outside.earlier(now.Add(ttl)).Truncate(time.Second)
}

// limit gives rec a ceiling at to, Unix seconds, 0 for none.
func limit(rec *record.Record, to int64) {
	if to != 0 {
		t := lifetime.Term{Deadline: rec.Deadline, Ceiling: rec.Ceiling}.Limited(to)
		rec.Deadline, rec.Ceiling = t.Deadline, t.Ceiling
	}
}

// keepLimit gives the head of a login the ceiling of the session that it goes on with, which
// is the same user's.
func keepLimit(head, from *record.Record) {
	if from != nil && from.User != "" && from.User == head.User {
		limit(head, from.Ceiling)
	}
}

// limitLogin bounds the head of a login by what Config.Assurance allows, by the ceiling of the
// session that it goes on with, and by what LimitTo said in this request.
func (s *Session) limitLogin(head *record.Record) {
	if err := s.m.cfg.Assurance.mayRemember(time.Duration(head.Remember) * time.Second); err != nil && s.pending.err == nil {
		s.pending.err = err
	}
	if s.pending.carry {
		keepLimit(head, &s.head)
	}
	for _, e := range s.pending.edits {
		e(head)
	}
}

// lasting adds to the plan of a write or a rotation of old what an Extend and a passive request
// ask for. Before a session ends later, what leads to it is made to live longer: its indexes,
// which a last part that fails must not let end before, and the key of its device.
func (c *commit) lasting(a *attempt, old *stored) {
	rec, life := a.result.rec, c.m.entryLife(a.result.rec)
	if rec.Deadline <= old.rec.Deadline {
		return
	}
	if rec.LoggedIn() && old.legacy == "" {
		for _, in := range indexes(rec) {
			a.plan.Prepare = append(a.plan.Prepare, &store.Move{Index: in, ID: old.id, Score: rec.Auth, Life: life})
		}
	}
	if old.rec.Bound() && !c.keyless {
		a.plan.Prepare = append(a.plan.Prepare, &store.Keep{Identifier: rec.Device(), TTL: life})
	}
}

// change tells whether the edits are not yet in rec.
func (c *changes) change(rec *record.Record) bool {
	head := *rec
	for _, e := range c.edits {
		e(&head)
	}
	return !reflect.DeepEqual(head, *rec)
}
