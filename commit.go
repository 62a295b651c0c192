package redsession

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
)

// commit carries one set of changes to Redis. It works on what it took from
// the session, so that other goroutines can go on changing that.
type commit struct {
	changes
	s        *Session
	m        *Manager
	sent     bool
	dead     bool // the client's id was ended before, and no other took its place
	ended    ending
	due      bool           // a timed rotation is
	base     *stored        // what the changes go on top of
	others   []*stored      // further live sessions whose cookies came
	toEnd    []string       // sessions that have to end before anything is written
	merged   bool           // base is not what the handler saw
	fields   []record.Field // what the handler saw
	head     record.Record  // of the record that a login, logout or first write creates
	next     keyspace.SID   // of that record
	spared   []string       // entries of the user's index that do not count towards MaxPerUser
	looked   int            // how often those were looked for
	orphaned []string       // ids under which tries of unknown outcome may have left one
	inserted string         // revision stored under next by a try that got no further
	keyless  bool           // the key of the session's device is gone: nothing prolongs it
	open     *attempt       // that may have been performed: nobody can tell yet
	refusal  error          // why open failed, if that does not pass by itself
	before   cookieAction   // what the response was to do with the cookie
	out      outcome
}

// outcome is what a commit came to. apply changes the session by it, and nothing else
// does.
type outcome struct {
	result *stored // what lies in Redis now; nil if that is as before
	cookie cookieAction
	ended  bool  // the session that the commit began from has been logged out
	toEnd  bool  // it is to be, and Redis could not be told
	short  error // what was made of the changes falls short of them
	err    error
}

var (
	// errUnsettled is an outcome that nobody can tell: the reply was lost, and what lies in
	// Redis now is neither what was before nor what was written.
	errUnsettled = errors.New("reply lost, outcome unknown")
	errPanicked  = errors.New("redsession: committing: a function of the caller's panicked")
	errWithin    = errors.New("redsession: committing: a commit within the commit of the same session: the function given to Update must not call Save")
)

// commit brings the pending changes, and those that add records, to Redis and returns nil
// once they are there. Of several goroutines one commits at a time. ctx has the values
// for exchanges with Redis, and waiting for an outage to end is over with waits, if that is
// not nil.
func (s *Session) commit(ctx, waits context.Context, add func()) error {
	err := s.settle(ctx, waits, add)
	if reason := refusal(err); reason != "" && waits != nil && s.broken == nil { // the operator hears of it, whatever the handler answers
		s.mu.Lock()
		e := Event{Kind: EventFailed, UserID: s.head.User, ActorID: s.head.Actor, Reason: reason, Err: err}
		if s.base != nil {
			e.ID = s.base.id
		}
		s.mu.Unlock()
		s.note(e)
	}
	s.tell()
	return err
}

// settle is commit without the events, which stay noted.
func (s *Session) settle(ctx, waits context.Context, add func()) error {
	c, waited := s.begin(add)
	if c == nil {
		return waited
	}
	settled := false
	ctx, traced := s.m.trace(ctx, OperationCommit)
	defer func() {
		if !settled { // a function of the caller's panicked
			c.out = outcome{err: errPanicked}
			traced(errPanicked)
			s.apply(c)
		}
	}()
	c.out.err = c.perform(s.m.collecting(ctx, &s.events), waits)
	settled = true
	traced(errors.Join(c.out.err, c.out.short))
	if c.out.err != nil {
		if c.inserted != "" && c.open == nil {
			c.beginAgain()
		}
		s.m.takeAway(ctx, c.orphaned)
	}
	if c.out.err != nil && !c.any() && !errors.Is(c.out.err, ErrHeadersSent) {
		s.m.tellUpkeep(c.out.err, func(e Event) {
			e.ID, e.UserID, e.ActorID = c.id(), c.head.User, c.head.Actor
			s.note(e)
		})
		c.out = outcome{cookie: c.before} // bookkeeping that the next hit does again
	}
	err := c.out.err
	s.apply(c)
	return errors.Join(waited, err, c.out.short)
}

// begin waits for the commit under way and takes the pending changes. It
// returns nil if there is nothing to do, with the error of the commit that it
// waited for: that one had the caller's changes.
func (s *Session) begin(add func()) (*commit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waited := s.waitLocked()
	switch {
	case s.saving != nil:
		return nil, errWithin
	case s.broken != nil:
		s.forget()
		return nil, s.broken
	}
	if add != nil {
		add()
		waited = nil // none of those had it
	}
	p := &s.pending
	due := s.base != nil && !s.sent && !s.keepID && !s.degraded && !s.passive && s.turns() && !s.late()
	adopt := p.stamp != "" && s.base.rec.Stamp == ""
	if !due {
		p.bind = "" // the next request begins it
	}
	if !p.any() && !due && p.seen == 0 && !adopt {
		return nil, waited
	}
	first := s.base == nil && !p.fresh
	if p.err == nil && first && !p.store && len(s.view()) == 0 {
		p.ops = nil // nobody wrote, or all of it was taken back
		return nil, waited
	}
	if err := s.forbidden(first); err != nil {
		s.forget()
		return nil, err
	}
	if s.base != nil {
		s.base.rec.Fields() // decoded here, so that nobody changes the record from now on
	}
	others := s.others
	for _, at := range s.locked { // a thief may end the session, as may whoever logs in anew
		if p.logout || p.login && at.rec.User == s.head.User {
			others = append(slices.Clip(others), at)
		}
	}
	c := &commit{
		changes: *p, s: s, m: s.m, sent: s.sent, dead: s.dead, ended: s.ended, due: due,
		base: s.base, others: others, toEnd: s.toEnd, merged: s.stale, head: s.head,
		before: s.cookie, out: outcome{cookie: s.cookie},
	}
	if len(p.ops) > 0 || p.fresh || first {
		c.fields = s.view()
	}
	if p.fresh || first || p.rotate || due {
		c.next = s.nextSID()
		s.next = keyspace.SID{}
	}
	s.pending, s.saving = changes{}, &saving{done: make(chan struct{})}
	return c, waited
}

// forbidden tells why the pending changes must not even be tried.
func (s *Session) forbidden(first bool) error {
	p := &s.pending
	switch {
	case first && s.isLocked && !p.logout: // before an error that is for want of what is locked
		return errLocked
	case p.err != nil && !p.logout:
		return p.err
	case first && s.dead:
		return s.gone()
	case s.sent && (first || p.fresh || p.rotate) && !p.logout:
		return fmt.Errorf("redsession: a change needs a cookie: %w", ErrHeadersSent)
	}
	return nil
}

func (s *Session) gone() error {
	s.m.count.gone.Add(1)
	return fmt.Errorf("redsession: committing: %w", ErrGone)
}

func unavailable(err error) error {
	return fmt.Errorf("redsession: committing: %w: %w", ErrUnavailable, err)
}

// forget drops the pending changes: the session is as it was stored last.
func (s *Session) forget() {
	s.pending, s.next, s.stale = changes{}, keyspace.SID{}, false
	s.fields, s.parsed = nil, false
	if s.base != nil {
		s.use(s.base)
	} else {
		s.head = s.m.anonymous()
	}
}

// apply makes the outcome of c what the session goes on from.
func (s *Session) apply(c *commit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &c.out
	s.saving.err = errors.Join(o.err, o.short)
	close(s.saving.done)
	s.saving = nil
	switch {
	case o.ended && o.result == nil:
		s.base = nil
	case o.err == nil && o.result != nil:
		s.base, s.dead = o.result, false
	case errors.Is(o.err, ErrGone):
		s.base, s.dead = nil, true
	}
	switch {
	case o.err != nil && o.ended:
		s.cookie, s.owed = cookieExpire, true
	case o.err != nil && o.toEnd:
		s.cookie, s.owed = cookieEnding, true
	case o.err == nil:
		s.owed = s.owed || c.login || s.cookie != o.cookie
		s.cookie = o.cookie
		s.degraded = s.degraded && o.result == nil
	}
	if len(c.toEnd) == 0 {
		s.toEnd = nil
	}
	s.quits = s.quits || c.logout && !c.sent
	if o.ended {
		s.locked, s.isLocked = nil, false
	}
	if o.err == nil && c.fresh {
		s.stream, s.others, s.expires = nil, nil, time.Time{} // they were of the id that was
		s.locked, s.isLocked = nil, false
		s.offered = c.login
	}
	p := &s.pending
	if !p.any() { // nothing by another goroutine, meanwhile
		s.forget()
		return
	}
	s.stale = true // what the handler sees is not what is stored plus its changes
	if s.base != nil && !p.fresh {
		s.head = *s.base.rec
		s.head.SetFields(nil)
	}
}

// id is the public id of the session that the commit is about.
func (c *commit) id() string {
	if c.base != nil {
		return c.base.id
	}
	return c.next.ID()
}

func (c *commit) run(ctx context.Context) error {
	if len(c.toEnd) > 0 {
		if err := c.s.endAll(ctx, c.toEnd); err != nil {
			return unavailable(err)
		}
		c.toEnd, c.out.cookie = nil, cookieExpire
	}
	switch {
	case c.logout:
		return c.commitLogout(ctx)
	case c.fresh:
		return c.commitLogin(ctx)
	case c.base == nil:
		return c.create(ctx)
	case c.rotate || c.due:
		return c.commitRotation(ctx)
	default:
		return c.write(ctx)
	}
}

// write replaces the record by one with the changes, on top of whatever other
// requests have written to it meanwhile.
func (c *commit) write(ctx context.Context) error {
	ends := c.base.rec.Deadline
	done, err := c.carryOut(ctx, func() (attempt, error) {
		if c.guard != nil {
			if err := c.guard(c.base); err != nil {
				return attempt{}, err
			}
		}
		rec, err := c.onTop(*c.base.rec, c.base.rec)
		if err != nil {
			return attempt{}, err
		}
		as, err := c.seal(rec, c.base.id)
		if err != nil {
			return attempt{}, err
		}
		a := planWrite(c.base, rec, as, c.m.entryLife(rec))
		c.lasting(&a, c.base)
		return a, nil
	})
	if err != nil {
		return err
	}
	c.accept(done)
	if done.result.rec.Deadline != ends && !c.sent {
		c.out.cookie = cookieSet // it says when the session ends; later the next request does it
	}
	c.m.count.commits.Add(1)
	return nil
}

// accept makes what a made the outcome.
func (c *commit) accept(a *attempt) {
	c.out.result = a.result
	if c.s.outside != nil {
		c.m.cache.Rewrite(a.result.id, a.raw, a.result.rec)
		return
	}
	c.s.confirm(a.result.id, a.raw, a.result.rec, c.prolongs())
}
