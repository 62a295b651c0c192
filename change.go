package redsession

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/store"
)

// outside is what a session has that is used outside of its requests.
type outside struct {
	until time.Time // when Redis lets it end, as it was loaded; zero if nobody knows
}

// earlier returns t, or when Redis lets the session end if that is before.
func (o *outside) earlier(t time.Time) time.Time {
	if o == nil || o.until.IsZero() || t.Before(o.until) {
		return t
	}
	return o.until
}

// Change runs fn on the session with this public id, whoever's it is, half-open and
// anonymous ones too, and brings what fn changed to Redis: for an operator's job. It is as if
// fn were a request of the session: changes of other requests meanwhile are kept, what fn
// sees may be older than what its changes are applied to, and Key.Update is exact. fn must be
// ready to run again. If fn returns an error, that is returned, and if it panics, nothing is
// kept.
//
// It is no activity: the session ends when it would have ended, and its LastSeen stays. The
// id may be an older one, of a list say, that timed rotation has replaced. The session may
// be bound to a device. Flash works; Flashes shows the messages and leaves them for the
// user's next page.
//
// Login, Promote, Logout, Rotate and Extend need the client: they fail the change. Save and Take are
// errors, as all changes are kept together once fn returns. Key.Refresh works, before fn
// changes anything, and keeps the new value at once.
//
// Errors are ErrGone if the session has ended, also because the stamp of its user has
// changed (see Config.UserStamp), ErrTooLarge, ErrUnavailable, or that a value did not
// encode. Waiting while an outage of Redis is young ends with ctx; nothing is read from
// memory. It costs one round trip, one more for each rotation that it follows, and one if fn
// changes something. It may be called concurrently, and within fn.
func (m *Manager) Change(ctx context.Context, id string, fn func(*Session) error) error {
	if !keyspace.IsID(id) {
		return errBadID
	}
	return m.changeIf(ctx, id, func(*record.Record) bool { return true }, fn)
}

// ChangeOf is Change for a session of user, who has logged in, all factors included. For
// another's session, and for what is no id, it is ErrGone, so that a user can be let to name
// a session of theirs.
func (m *Manager) ChangeOf(ctx context.Context, user, id string, fn func(*Session) error) error {
	if !keyspace.IsID(id) || user == "" {
		return fmt.Errorf("redsession: changing session: %w", ErrGone)
	}
	return m.changeIf(ctx, id, isOf(user), fn)
}

// isOf tells which records are sessions that user has logged in to.
func isOf(user string) func(*record.Record) bool {
	return func(rec *record.Record) bool { return rec.LoggedIn() && rec.User == user }
}

func (m *Manager) changeIf(ctx context.Context, id string, match func(*record.Record) bool, fn func(*Session) error) error {
	s, leave := m.newOutside(ctx, m.purse(ctx))
	defer leave()
	_, e, err := s.reach(ctx, &stored{id: id}, m.withTTL)
	if err == nil {
		err = s.enter(ctx, e, match)
	}
	if err != nil {
		return fmt.Errorf("redsession: changing session: %w", err)
	}
	_, err = s.changeBy(ctx, fn)
	return err
}

// ChangeUser is Change for every session that user has logged in to, one after the other,
// the oldest login first, and returns how many were changed. Those that end meanwhile are
// no error. An error of fn keeps none of the others from being changed; it is returned
// with all others, each with the id of its session. It stops when ctx is done or Redis does
// not answer, which is ErrUnavailable, and when fn panics; what was changed by then stays
// changed. It costs two round trips for each 128 sessions, and one for each that fn changes.
func (m *Manager) ChangeUser(ctx context.Context, user string, fn func(*Session) error) (n int, err error) {
	if user == "" {
		return 0, nil
	}
	purse, known := m.purse(ctx), make(map[string]bool) // by origin: a session that is just rotating has two ids
	var failed []error
	for skip := 0; ; {
		read, kept, found, err := m.userPage(store.Patient(ctx, purse), user, skip)
		if err != nil {
			return n, errors.Join(append(failed, fmt.Errorf("redsession: listing the user's sessions: %w: %w", ErrUnavailable, err))...)
		}
		for _, e := range found {
			if ctx.Err() != nil {
				return n, errors.Join(append(failed, fmt.Errorf("redsession: changing the user's sessions: %w", ctx.Err()))...)
			}
			changed, stop, err := m.changeListed(ctx, purse, user, e.Entry, known, fn)
			if changed {
				n++
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("redsession: changing session %s: %w", e.ID, err))
			}
			if stop {
				return n, errors.Join(failed...)
			}
		}
		if skip += kept; read < store.Page {
			return n, errors.Join(failed...)
		}
	}
}

// userPage reads a page of user's index and what has become of its entries, the dead ones of
// which it takes out. It returns how many entries it read, and how many of those it left.
func (k *core) userPage(ctx context.Context, user string, skip int) (read, kept int, found []living, err error) {
	in := store.OfUser(user)
	entries, err := k.store.Index(ctx, in, skip, store.Page)
	if err != nil {
		return 0, 0, nil, err
	}
	found, dead, err := k.current(ctx, in, entries)
	if err == nil {
		err = k.leaveIndex(ctx, in, dead)
	}
	return len(entries), len(entries) - len(dead), found, err
}

// changeListed runs fn on the session that e, of user's index, is, unless that is among the
// known or has ended. stop says that there is no use in going on to others.
func (m *Manager) changeListed(ctx context.Context, purse *breaker.Budget, user string, e store.Entry, known map[string]bool, fn func(*Session) error) (changed, stop bool, err error) {
	s, leave := m.newOutside(ctx, purse)
	defer leave()
	err = s.enter(ctx, e, isOf(user))
	if err == nil {
		of := origin(e.ID, s.base.rec)
		if known[of] {
			return false, false, nil
		}
		known[of] = true
		var own error
		changed, err = s.changeBy(ctx, func(s *Session) error { own = fn(s); return own })
		if own != nil {
			return false, false, own
		}
	}
	if errors.Is(err, ErrGone) {
		return false, false, nil
	}
	return changed, errors.Is(err, ErrUnavailable), err
}

// purse is what work under ctx may wait for Redis: within a request as long as that may.
func (m *Manager) purse(ctx context.Context) *breaker.Budget {
	if s, ok := m.Lookup(ctx); ok {
		return s.waits()
	}
	return breaker.NewBudget(m.wait())
}

// newOutside returns an empty session for use outside of its requests, and what is to be
// called after that. The request that it has is nobody's.
func (m *Manager) newOutside(ctx context.Context, purse *breaker.Budget) (s *Session, leave func()) {
	ctx, cancel := context.WithCancel(ctx)
	s = &Session{m: m, r: (&http.Request{Header: http.Header{}}).WithContext(ctx), outside: &outside{}, shared: purse, keepID: true}
	s.confirmed, s.head = m.cfg.Now(), m.anonymous()
	s.loadedAt = s.confirmed.UnixMicro()
	return s, func() {
		s.tell()
		cancel()
	}
}

// waits is what s may still wait for Redis.
func (s *Session) waits() *breaker.Budget {
	if s.shared != nil {
		return s.shared
	}
	return &s.budget
}

// reach finds what has become of the session at at, over timed rotations, however late, and
// what read finds there. Reading is no activity.
func (s *Session) reach(ctx context.Context, at *stored, read func(context.Context, string) (store.Entry, error)) (*stored, store.Entry, error) {
	for range maxEndHops {
		e, err := s.readPatiently(ctx, at.id, read)
		if err != nil {
			return nil, e, err
		}
		_, tomb, err := e.Open(s.m.ring, s.m.keys.Session(at.id))
		if err != nil || tomb == nil || !tomb.Kind.Leads() {
			return at, e, nil
		}
		if at, err = s.follow(at, tomb); err != nil {
			return nil, e, ErrGone
		}
	}
	return nil, store.Entry{}, ErrGone
}

// readPatiently reads what lies at id. While an outage is young it waits for its end.
func (s *Session) readPatiently(ctx context.Context, id string, read func(context.Context, string) (store.Entry, error)) (store.Entry, error) {
	for leave := func() {}; ; {
		if err := ctx.Err(); err != nil {
			leave()
			return store.Entry{}, err
		}
		bounded, cancel := s.m.bounded(ctx)
		e, err := read(bounded, id)
		cancel()
		leave()
		if err == nil {
			return e, nil
		}
		again, inVain := s.m.await(ctx, err, id, s.waits())
		if inVain != nil {
			return store.Entry{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		leave = again
	}
}

// withTTL reads what lies at id and for how much longer.
func (k *core) withTTL(ctx context.Context, id string) (store.Entry, error) {
	found, err := k.store.Entries(ctx, []string{id})
	if err != nil {
		return store.Entry{}, err
	}
	return found[0], nil
}

// alone reads what lies at id, by one GET.
func (k *core) alone(ctx context.Context, id string) (store.Entry, error) {
	v, err := k.store.Get(ctx, id)
	return store.Entry{ID: id, Value: v}, err
}

// follow steps from a tombstone to what it leads to. Outside of requests nobody has shown
// the SID that the successor's is encrypted for, and the public id will do.
func (s *Session) follow(at *stored, tomb *record.Tombstone) (*stored, error) {
	if s.outside == nil {
		return s.m.follow(at, tomb)
	}
	s.m.cache.Forget(at.id)
	return &stored{id: tomb.Next}, nil
}

// enter goes on from the session that lies in e, if it lives, matches, and its user's
// credentials are as they were.
func (s *Session) enter(ctx context.Context, e store.Entry, match func(*record.Record) bool) error {
	m, now := s.m, s.m.cfg.Now()
	rec, _, err := e.Open(m.ring, m.keys.Session(e.ID))
	if err != nil {
		s.note(Event{Kind: EventRefused, ID: e.ID, Reason: err.Error()})
	}
	if err != nil || rec == nil || rec.TTL(now) <= 0 || m.cache.Blocked(e.ID) || !match(rec) {
		return ErrGone
	}
	_, why, err := s.checkStamp(rec) // one that it is to take is for its next hit to write
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case why != "":
		bounded, cancel := m.bounded(ctx)
		defer cancel()
		if ended, err := m.endForGood(bounded, e.ID, rec, false); err == nil && ended != nil {
			s.note(Event{Kind: EventRevoked, ID: e.ID, UserID: rec.User, ActorID: rec.Actor, Reason: why})
		}
		return ErrGone
	}
	if e.TTL > 0 {
		s.outside.until = now.Add(e.TTL)
	}
	s.use(&stored{id: e.ID, rec: rec})
	return nil
}

// changeBy brings what fn does to s to Redis, and tells whether that was anything.
func (s *Session) changeBy(ctx context.Context, fn func(*Session) error) (changed bool, err error) {
	was := s.base
	if err := fn(s); err != nil {
		return false, err
	}
	err = s.commit(ctx, ctx, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	return err == nil && s.base != was, err
}

// errOutside is that what needs the session's client was asked for outside of its requests.
func errOutside(what string) error {
	return fmt.Errorf("redsession: %s within Manager.Change: it needs a request of the session's client", what)
}

// refusedOutside fails the change if s is used outside of its requests.
func (s *Session) refusedOutside(what string) bool {
	if s.outside == nil {
		return false
	}
	s.fail(errOutside(what))
	return true
}
