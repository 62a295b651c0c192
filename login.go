package redsession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redsession/redsession/internal/record"
)

// pendingLife is how long a user has to present the second factor (NIST SP
// 800-63B 5.1).
const pendingLife = 10 * time.Minute

var (
	errNotPending  = errors.New("redsession: Promote without a pending login: check PendingUserID first")
	errCookieStays = fmt.Errorf("redsession: the session has ended, its cookie stays: %w", ErrHeadersSent)
)

// LoginOption changes what Login does.
type LoginOption func(*loginOptions)

type loginOptions struct {
	remember time.Duration
	pending  bool
}

// RememberFor keeps this login for d ("remember me"): the cookie survives the
// browser, and both the idle and the absolute lifetime are d. It panics if d is
// under a second. NIST SP 800-63B advises against it for more than AAL1.
func RememberFor(d time.Duration) LoginOption {
	if d < time.Second {
		panic(fmt.Sprintf("redsession: RememberFor(%s): want at least a second", d))
	}
	return func(o *loginOptions) { o.remember = d }
}

// Pending says that the password was right and a second factor is missing:
// LoggedIn stays false, PendingUserID tells the user, and 10 minutes are left
// to call Promote.
func Pending() LoginOption { return func(o *loginOptions) { o.pending = true } }

// Login makes this the session of user. Call it once the user has proved who
// they are, again included: it ends the old id, and the browser gets a new one
// (OWASP ASVS 7.2.4). Values of an anonymous session, and of the same user's,
// come along; as another user the session starts empty. It panics if user is "".
func (s *Session) Login(user string, opts ...LoginOption) {
	if user == "" {
		panic(`redsession: Login(""): want the user's id`)
	}
	var o loginOptions
	for _, opt := range opts {
		opt(&o)
	}
	stamp, err := s.m.presentStamp(s.r.Context(), user)
	s.lock()
	defer s.mu.Unlock()
	if err != nil && s.pending.err == nil {
		s.pending.err = unavailable(err)
	}
	s.loginLocked(user, int64(o.remember/time.Second), o.pending)
	s.head.Stamp = stamp
}

// Promote completes a login that was Pending, under a new id. Without a pending
// login the commit fails.
func (s *Session) Promote() {
	s.lock()
	defer s.mu.Unlock()
	if !s.head.Pending {
		if s.pending.err == nil {
			s.pending.err = errNotPending
		}
		return
	}
	s.loginLocked(s.head.User, s.head.Remember, false)
}

func (s *Session) loginLocked(user string, remember int64, pending bool) {
	now := s.m.cfg.Now()
	keep := s.head.User == "" || s.head.User == user
	if !keep {
		s.pending.ops, s.fields, s.parsed = nil, nil, true
	} else {
		s.view() // before the base is another
	}
	s.pending.carry = keep && (!s.pending.fresh || s.pending.carry)
	s.pending.fresh, s.pending.login = true, true
	head := record.Record{
		Created: s.head.Created, Auth: now.UnixMicro(),
		User: user, Pending: pending, Remember: remember,
		Idle: seconds(s.m.cfg.IdleTimeout), Deadline: now.Add(s.m.cfg.AbsoluteTimeout).Unix(),
		Source:     s.head.Source,
		Stamp:      cmp.Or(s.pending.stamp, s.head.Stamp), // of the half-open login, for Promote
		RemoteAddr: remoteAddr(s.r, s.m.cfg.TrustedHops), UserAgent: userAgent(s.r),
	}
	if !keep {
		head.Created = now.Unix()
	}
	switch {
	case pending:
		head.Idle, head.Deadline = seconds(pendingLife), now.Add(pendingLife).Unix()
	case remember > 0:
		head.Idle, head.Deadline = remember, now.Unix()+remember
	}
	s.head = head
	s.pending.stamp, s.pending.seen = "", 0 // they were for the old record
}

// Logout ends the session, here and in Redis, and expires the client's cookie.
// Nothing of it survives but flashes; what the handler sets after Logout
// belongs to a new, anonymous session. Of a session that another request has just
// ended, as when Logout is clicked twice, nothing is kept and no cookie is touched,
// since the client may have logged in again: flashes are dropped, other values are
// ErrGone.
func (s *Session) Logout() {
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

// logIn stores the session under its new id and then puts a tombstone in the
// place of the old one. Only when both are done does the cookie leave.
func (c *commit) logIn() error {
	evicted, err := c.takePlace()
	if err != nil {
		return err
	}
	if c.base != nil {
		c.m.memory.ended(c.base.id)
		c.m.memory.ended(origin(c.base.id, c.base.rec))
		c.m.unlist(c.ctx, c.base)
	}
	c.m.evict(c.ctx, c.result.rec.User, evicted)
	c.cookie = cookieSet
	if c.head.Pending {
		c.emit(EventPending)
	} else {
		c.emit(EventLogin)
	}
	return nil
}

// takePlace does so, and returns the ids of the logins that are too many now. It
// leaves base nil if the login stands without the session that it began from.
func (c *commit) takePlace() (evicted []string, err error) {
	old := c.base
	for try := 0; ; try++ {
		var from *record.Record
		if c.base != nil && c.carry {
			from = c.base.rec
		}
		if evicted, err = c.put(from); err != nil {
			if try > 0 { // the old session surely goes on as it was
				c.withdraw()
			}
			return nil, err
		}
		if c.base == nil {
			return evicted, nil
		}
		tomb := record.NewTombstone(c.m.cfg.Now(), c.m.cfg.RotateGrace).Encode(c.m.ring, c.m.store.key(c.base.id))
		swapped, current, err := c.m.store.swap(c.ctx, c.base.id, c.base.rec.Rev, tomb, c.m.cfg.RotateGrace)
		if err != nil {
			return nil, unavailable(err) // the record stays: the tombstone may be there
		}
		if swapped {
			return evicted, nil
		}
		if err := c.rebase(current, try); errors.Is(err, ErrGone) && c.mayStartEmpty(old.rec) {
			c.base = nil // nothing of a user's has come back: the login stands, from empty
		} else if err != nil {
			c.withdraw()
			return nil, err
		}
	}
}

// mayStartEmpty tells whether a login stands though the session that it began
// from has ended. Of an anonymous one nothing of a user's comes back. Of the same
// user's it may have been another request that found the stamp changed, by the
// very handler that logs in again now; the new stamp vouches for the login.
func (c *commit) mayStartEmpty(old *record.Record) bool {
	return old.User == "" || c.m.cfg.UserStamp != nil && old.User == c.head.User && old.LoggedIn()
}

// presentStamp is what a login is sealed with. Nothing else reads it anew, and
// Login does so when it is called, right after the password was checked:
// whatever was sealed before the stamp changed stays what it was.
func (m *Manager) presentStamp(ctx context.Context, user string) (string, error) {
	if m.cfg.UserStamp == nil {
		return "", nil
	}
	stamp, err := m.cfg.UserStamp(context.WithoutCancel(ctx), user)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errStamp, err)
	}
	return m.ring[0].Stamp(user, stamp), nil
}

// logOut ends the session before anything else. What the handler set after
// Logout then begins another.
func (c *commit) logOut() error {
	known := c.base != nil
	if known {
		if _, err := c.m.endSession(c.ctx, c.base.id, true); err != nil {
			return unavailable(err)
		}
		c.over = true
		c.m.emit(c.s.r.Context(), Event{Kind: EventLogout, ID: c.base.id, UserID: c.user, RemoteAddr: c.s.remoteAddr()})
	}
	if err := c.s.endLegacy(c.ctx); err != nil {
		return unavailable(err)
	}
	c.base, c.carry = nil, false
	switch {
	case c.err != nil:
		return c.err
	case c.dead && !c.login && len(withoutFlashes(c.fields)) > 0:
		return c.s.gone()
	case c.dead && !c.login:
		return nil // its client may have logged in again since: no cookie
	case c.sent && (known || c.login || len(c.fields) > 0):
		return errCookieStays
	case c.login:
		return c.logIn()
	case len(c.fields) > 0 || c.store:
		return c.create()
	case known || c.s.came.invalid+c.s.came.overdue > 0 || c.cookie != cookieKeep:
		c.cookie = cookieExpire
	}
	return nil
}
