package redsession

import (
	"context"
	"errors"
	"time"
)

// perform tries until the changes are in Redis, or cannot be brought there. While an
// outage is young it waits for its end.
func (c *commit) perform(ctx, waits context.Context) error {
	for leave := func() {}; ; {
		err := c.try(ctx, leave)
		if c.withoutSeen(err) {
			leave = func() {}
			continue
		}
		if !c.worthWaiting(err) {
			return err
		}
		if waits == nil {
			waits = context.WithoutCancel(ctx)
		}
		again, inVain := c.m.await(waits, err, c.id(), c.s.waits())
		if inVain != nil {
			return err
		}
		if leave = again; c.s.r.Context().Err() == nil {
			continue
		}
		if !c.logout && (c.fresh || c.rotate) { // nobody is there to take the cookie
			leave()
			return err
		}
		c.due = c.due && c.open != nil
	}
}

// try runs once, and gives up the place among those who waited also if a function of the
// caller's panics.
func (c *commit) try(ctx context.Context, leave func()) error {
	defer leave()
	bounded, cancel := c.m.bounded(ctx)
	defer cancel()
	return c.run(bounded)
}

// withoutSeen has what the handler changed go on without noting that a rotated id was seen,
// which the next hit does, where nodes of its indexes alone cannot be reached.
func (c *commit) withoutSeen(err error) bool {
	e := asStoreError(err)
	if e == nil || c.seen == 0 || !c.any() || !c.m.store.Apart() || c.base == nil || !c.m.store.InIndexes(e.Key, indexes(c.base.rec)) {
		return false
	}
	c.seen = 0
	return true
}

// worthWaiting tells whether err may pass by itself. Bookkeeping waits for nothing.
func (c *commit) worthWaiting(err error) bool {
	return errors.Is(err, ErrUnavailable) && c.any() && !errors.Is(err, errStamp) && !errors.Is(err, errUnsettled) && !errors.Is(err, errTooLate)
}

// late tells whether the request's deadline is over.
func (s *Session) late() bool {
	deadline, ok := s.r.Context().Deadline()
	return ok && !time.Now().Before(deadline)
}

// waitLocked waits, without the lock, for the commits under way, and returns their
// errors. Each is over within OutageWait and two RedisTimeout, but for one whose Update
// function waits for this commit: then it gives up, and saving stays.
func (s *Session) waitLocked() (errs error) {
	for s.saving != nil {
		running := s.saving
		s.mu.Unlock()
		most := time.NewTimer(s.m.wait() + 4*s.m.cfg.RedisTimeout)
		select {
		case <-running.done:
			errs = errors.Join(errs, running.err)
		case <-most.C:
		}
		over := !most.Stop()
		s.mu.Lock()
		if over && s.saving == running {
			return errs
		}
	}
	return errs
}
