package redsession

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/rediserr"
	"github.com/redsession/redsession/internal/store"
)

// sealed is a record or tombstone as it is to lie in Redis.
type sealed struct {
	id, raw string
	ttl     time.Duration
}

// attempt is one plan of a commit, and what tells afterwards whether it was performed.
type attempt struct {
	plan   store.Plan
	result *stored // what the session goes on from
	raw    string  // of result
	// What decides: under the id on, the revision own takes the place of old. on is "" for
	// a plan without a compare-and-set.
	on, own, old string
	enter        *store.Enter
	end          *store.End
}

// compareAndSet is an attempt that r decides.
func compareAndSet(r *store.Replace) attempt {
	return attempt{plan: store.Plan{Decide: r}, on: r.ID, own: record.Rev(r.Raw), old: r.Rev}
}

// planWrite replaces a record by one with changes. A session that is seen under a rotated
// id enters its user's index again before that is noted, in case its rotation could not.
func planWrite(old *stored, rec *record.Record, as sealed, life time.Duration) attempt {
	a := compareAndSet(&store.Replace{ID: as.id, Rev: old.rec.Rev, Raw: as.raw, TTL: as.ttl})
	if rec.LoggedIn() && rec.Seen != 0 && old.rec.Seen == 0 {
		a.plan.Prepare = []store.Step{&store.Move{User: rec.User, ID: as.id, Score: rec.Auth, Life: life}}
	}
	a.result = &stored{sid: old.sid, id: old.id, rec: rec}
	a.raw = as.raw
	return a
}

// planCreate stores the record of a session that has none.
func planCreate(at *stored, as sealed, earlier string) attempt {
	return attempt{
		plan:   store.Plan{Prepare: []store.Step{&store.Insert{ID: as.id, Raw: as.raw, TTL: as.ttl, Earlier: earlier}}},
		result: at, raw: as.raw,
	}
}

// loginPlan is what a login or promotion goes by.
type loginPlan struct {
	at      *stored // the new session
	as      sealed
	earlier string        // revision that an earlier try stored
	old     *stored       // the session that it takes the place of; nil for none
	over    sealed        // what is to lie in the place of old
	keep    bool          // old is anonymous or the same user's: it must be as it was read
	life    time.Duration // of the entry in the user's index
	limit   int
	checked int64
	latest  int64 // mark of a revocation that counts
}

// planLogin stores the new record and enters it in its user's index, unless it is
// half-open; then it puts a tombstone in the place of the old one, or ends that, if it is
// another user's; then it takes out the old entries.
func planLogin(p loginPlan) attempt {
	rec, a := p.at.rec, planCreate(p.at, p.as, p.earlier)
	if !rec.Pending {
		a.enter = &store.Enter{User: rec.User, ID: p.at.id, Score: rec.Auth, Life: p.life, Limit: p.limit, Checked: p.checked, Latest: p.latest}
		a.plan.Prepare = append(a.plan.Prepare, a.enter)
	}
	if p.old != nil {
		user := p.old.rec.User
		switch {
		case p.keep:
			r := &store.Replace{ID: p.old.id, Rev: p.old.rec.Rev, Raw: p.over.raw, TTL: p.over.ttl}
			a.plan.Decide, a.on, a.own, a.old = r, r.ID, record.Rev(r.Raw), r.Rev
		default:
			a.end = &store.End{ID: p.old.id, With: store.Burial{Raw: p.over.raw, Life: p.over.ttl}}
			a.end.Grave = a.end.With
			a.plan.Decide = a.end
		}
		if p.old.rec.LoggedIn() {
			a.plan.Tidy = append(a.plan.Tidy, &store.Leave{User: user, IDs: []string{p.old.id}})
			if a.enter != nil && user == rec.User {
				a.enter.Old = p.old.id
			}
		}
	}
	return a
}

// planRotation stores the successor, then puts a tombstone that leads there in the place of
// the old record, and then lets the successor's entry take the place of the old one. What
// is taken over from another package enters its user's index before, as a login does: that
// is refused if the user was revoked since the old login.
func planRotation(at *stored, as sealed, earlier string, old *stored, over sealed, life time.Duration, latest int64) attempt {
	a := planCreate(at, as, earlier)
	r := &store.Replace{ID: old.id, Rev: old.rec.Rev, Raw: over.raw, TTL: over.ttl}
	a.plan.Decide, a.on, a.own, a.old = r, r.ID, record.Rev(r.Raw), r.Rev
	switch rec := at.rec; {
	case !rec.LoggedIn():
	case old.legacy != "":
		// Whoever was revoked since that login, or perhaps since, is not taken over. It is the
		// old id that is entered: a revocation from now on finds that, and the new one would
		// count for a session that nobody has if this process died before it decides.
		a.plan.Prepare = append(a.plan.Prepare, &store.Enter{User: rec.User, ID: old.id, Score: rec.Auth, Life: life, Checked: rec.Auth, Latest: latest})
		fallthrough
	default:
		a.plan.Tidy = []store.Step{&store.Move{User: rec.User, ID: at.id, Old: old.id, Score: rec.Auth, Life: life}}
	}
	return a
}

// planEnding takes the session at id away, and its entry out of its user's index ("" for
// none that is known).
func planEnding(end *store.End, user string) store.Plan {
	p := store.Plan{Decide: end}
	if user != "" {
		p.Tidy = []store.Step{&store.Leave{User: user, IDs: []string{end.ID}}}
	}
	return p
}

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
		a.plan.Tidy = append(a.plan.Tidy, &store.Leave{User: rec.User, IDs: ids})
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
	if a.enter != nil && a.enter.Limit > 0 {
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
	case *store.Enter: // revoked since the password was checked
		if c.m.store.Apart() { // the record was stored beside it
			c.inserted = record.Rev(a.raw)
		}
		c.withdraw(ctx)
		return errors.Join(errRevoked, c.s.gone())
	case *store.Replace:
		return c.goOnFrom(ctx, res.Found, try)
	}
	return unavailable(errUnsettled)
}

// errRevoked is that all that the user had was revoked after the password was checked.
var errRevoked = errors.New("redsession: the user was revoked meanwhile")

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
		_, _ = c.m.store.Run(ctx, &store.Plan{Tidy: []store.Step{&store.Leave{User: c.head.User, IDs: []string{id}}}})
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
