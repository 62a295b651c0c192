package redsession

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redsession/redsession/internal/dbsc"
	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/rediserr"
	"github.com/redsession/redsession/internal/store"
)

// carryOut brings the plan that build makes to Redis, again on top of what is there as
// often as that has changed, and returns it once it is known to be done.
func (c *commit) carryOut(ctx context.Context, build func() (attempt, error)) (*attempt, error) {
	for try := 0; ; try++ {
		a, done, err := c.reopen(ctx, try)
		if done || err != nil {
			return a, err
		}
		if a == nil {
			fresh, err := build()
			if err != nil {
				c.withdraw(ctx)
				return nil, err
			}
			a = &fresh
			a.endOrphans(c.orphaned)
			a.plan.Until = c.until(a)
		}
		res, err := c.m.store.Run(ctx, &a.plan)
		if res.Prepared && a.result.id != a.on {
			c.inserted = record.Rev(a.raw)
		}
		switch {
		case errors.Is(err, store.ErrLate):
			return nil, c.tooLate(ctx, a)
		case err != nil:
			if err := c.failed(ctx, a, res, err, try); err != nil {
				return nil, err
			}
		case res.Refused == nil:
			c.inserted = ""
			return a, nil
		case a.on != "" && res.Refused == a.plan.Decide && record.Rev(res.Found.Raw()) == a.own:
			return c.finish(ctx, a), nil // sent before, it has come late
		default:
			c.open = nil
			if err := c.refused(ctx, a, res, try); err != nil {
				return nil, err
			}
		}
	}
}

// until is when it is too late for a: a change that needs a cookie is of no use, and a login
// harmful, once the request's deadline is over, as nobody answers then who would pass the
// cookie on (http.TimeoutHandler answers by itself). That a client has gone away is no
// deadline.
func (c *commit) until(a *attempt) time.Time {
	if a.result.id == a.on {
		return time.Time{}
	}
	deadline, _ := c.s.r.Context().Deadline()
	return deadline
}

// tooLate gives a up, of which nothing was decided.
func (c *commit) tooLate(ctx context.Context, a *attempt) error {
	if c.open == a { // an earlier try may have stored the record
		c.giveUp(a)
	}
	c.withdraw(ctx)
	return unavailable(errTooLate)
}

// errTooLate is that a change needed a cookie after the request's deadline.
var errTooLate = errors.New("the request's deadline is over, and the change needs a cookie")

// endOrphans has a take away, once it is decided, what earlier tries may have left under
// these ids.
func (a *attempt) endOrphans(ids []string) {
	if len(ids) == 0 {
		return
	}
	for _, id := range ids {
		a.plan.Tidy = append(a.plan.Tidy, &store.End{ID: id, HeadOnly: true})
	}
	if rec := a.result.rec; rec.LoggedIn() {
		a.plan.Tidy = append(a.plan.Tidy, leaves(rec, ids...)...)
	}
}

// maxOrphaned bounds how often a commit begins again under another SID.
const maxOrphaned = 4

// failed goes on after an error of a try. It returns one if there is nothing to go on with
// for now.
func (c *commit) failed(ctx context.Context, a *attempt, res store.Result, err error, try int) error {
	meaning := store.MeaningOf(err)
	stays := meaning.Recovery == rediserr.Stays
	switch {
	case meaning.Execution == rediserr.NotExecuted:
		if !res.Prepared && len(a.plan.Prepare) > 1 && c.m.store.Apart() {
			c.beginAgain() // a step beside the one that failed may have been executed
		}
		return unavailable(err)
	case !res.Sent || a.on == "":
		c.beginAgain()
		if stays || len(c.orphaned) >= maxOrphaned || pause(ctx, try) != nil {
			return unavailable(err)
		}
		return nil
	}
	c.open, c.refusal = a, nil
	if stays || meaning.Recovery == rediserr.PassesAroundFailover && try > 1 { // executed in part, perhaps: what decides tells
		c.refusal = err
	} else if ctx.Err() != nil {
		return unavailable(err)
	}
	return nil
}

// reopen looks at what came of a try whose outcome nobody could tell. It returns the
// attempt and true if that was performed, the attempt if it is to be sent once more: it
// compares and sets, so that it can be applied once at most.
func (c *commit) reopen(ctx context.Context, try int) (a *attempt, done bool, err error) {
	if a = c.open; a == nil {
		return nil, false, nil
	}
	current, err := c.m.store.Get(ctx, a.on)
	if err != nil {
		return nil, false, unavailable(fmt.Errorf("%w: %w", errOpen, err))
	}
	switch rev := record.Rev(current.Raw()); {
	case rev != "" && rev == a.own:
		return c.finish(ctx, a), true, nil
	case rev != "" && rev == a.old && c.refusal != nil:
		c.giveUp(a)
		return nil, false, unavailable(c.refusal)
	case rev != "" && rev == a.old:
		if err := pause(ctx, try); err != nil {
			return nil, false, unavailable(err)
		}
		return a, false, nil
	case current.Head().Kind.Live() || current.Head().Leads() != "":
		c.giveUp(a)
		return nil, false, unavailable(errUnsettled)
	}
	c.open = nil
	return nil, false, c.goOnFrom(ctx, current, try)
}

// finish does what is left of a, which was performed though its reply was lost: what is
// tidied up where its parts are round trips apart, and what entering the user's index tells
// of logins beyond the limit. None of these steps does harm when it is done twice.
func (c *commit) finish(ctx context.Context, a *attempt) *attempt {
	c.open, c.inserted = nil, ""
	rest := store.Plan{Tidy: a.plan.Tidy}
	if a.enter != nil && a.enter.Limit > 0 && !a.enter.Refuse {
		rest.Prepare = []store.Step{a.enter}
	}
	if len(rest.Prepare) > 0 || c.m.store.Apart() {
		_, _ = c.m.store.Run(ctx, &rest)
	}
	return a
}

// giveUp drops a, which was not performed and cannot be any more. What it may have
// prepared is taken away.
func (c *commit) giveUp(a *attempt) {
	c.open = nil
	if a.result.id != a.on {
		c.beginAgain()
	}
}

// errOpen is that a reply was lost, and what it said cannot be found out yet.
var errOpen = errors.New("reply lost")

// nextSID is that of the record that the next commit creates.
func (s *Session) nextSID() keyspace.SID {
	if s.next == (keyspace.SID{}) {
		s.next = keyspace.NewSID()
	}
	return s.next
}

// beginAgain goes on under another SID, as nobody can tell what the last try left under
// the present one: a record that nobody can use.
func (c *commit) beginAgain() {
	if c.next == (keyspace.SID{}) {
		return
	}
	id := c.next.ID()
	if c.head.Origin == "" {
		c.head.Origin = id // CSRF tokens were derived from it
	}
	c.orphaned = append(c.orphaned, id)
	c.next, c.inserted, c.open = keyspace.NewSID(), "", nil
}

// refused goes on after a condition of a plan did not hold.
func (c *commit) refused(ctx context.Context, a *attempt, res store.Result, try int) error {
	switch res.Refused.(type) {
	case *store.Insert:
		if res.Found.Head().Kind == record.Ended { // revoked before it was there
			c.withdraw(ctx)
			return c.s.gone()
		}
		c.beginAgain()
		return nil
	case *store.Enter: // all in that index was revoked since the password was checked
		if c.m.store.Apart() { // the record was stored beside it
			c.inserted = record.Rev(a.raw)
		}
		if a.enter != nil && a.enter.Full {
			return c.findPlace(ctx, a.enter)
		}
		c.withdraw(ctx)
		return errors.Join(errRevoked, c.s.gone())
	case *store.Keep: // the device's key has expired, and with it the binding
		if c.m.store.Apart() {
			c.inserted = record.Rev(a.raw)
		}
		if c.keyless = true; a.result.id == a.on {
			return nil
		}
		if c.bind = ""; c.head.Bound() {
			c.head.Binding, c.head.Thumbprint = dbsc.NewBindingID(), ""
		}
		return nil
	case *store.Replace:
		return c.goOnFrom(ctx, res.Found, try)
	}
	return unavailable(errUnsettled)
}

// errRevoked is that all that the user had, or all with the same tag, was revoked after the
// password was checked.
var errRevoked = errors.New("redsession: the user, or a tag, was revoked meanwhile")

// withdraw removes the record that a try stored and that is not to be used.
func (c *commit) withdraw(ctx context.Context) {
	if c.inserted == "" {
		return
	}
	c.inserted = ""
	id := c.next.ID()
	// If this fails, a record stays whose SID nobody has; it ends by itself.
	_ = c.m.store.Discard(ctx, id)
	if c.head.User != "" {
		_, _ = c.m.store.Run(ctx, &store.Plan{Tidy: leaves(&c.head, id)})
	}
	c.m.cache.Forget(id)
}

// pause waits before another try, longer and more scattered each time, so that
// many writers of one session do not collide for ever.
func pause(ctx context.Context, try int) error {
	const least, most = 500 * time.Microsecond, 16 * time.Millisecond
	timer := time.NewTimer(rand.N(min(least<<min(try, 8), most)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
