package redsession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/jsonvalue"
	"github.com/redsession/redsession/internal/lease"
	"github.com/redsession/redsession/internal/record"
)

// ErrNotRefreshed is that Key.Refresh has no new value: another request, for which it waited,
// failed to make one, or its own took longer than its lease, and another request's failed.
// To try again is a new call of Refresh. Status 503 fits.
var ErrNotRefreshed = errors.New("value not refreshed")

const (
	leaseMost = 30 * time.Second // what a server that dies can hold others up
	firstPoll = 20 * time.Millisecond
	mostPoll  = 400 * time.Millisecond
)

// Refresh returns the value, and if it is stale, what fn makes of it, which it keeps at once.
// fn runs once, whichever requests and servers find the value stale together: use it for what
// has side effects, such as an OAuth refresh token, which is good for one use (RFC 9700,
// 4.14.2). For what has none, Update is enough.
//
//	token, err := token.Refresh(ctx, s,
//		func(t Token) bool { return time.Until(t.Expiry) < time.Minute },
//		func(ctx context.Context, t Token) (Token, error) { return renew(ctx, t.Refresh) })
//
// Who finds the value stale takes a lease on this key of the session and runs fn; the others
// wait for the outcome, until ctx is done, and return the new value. Keys do not wait for each
// other. stale and fn get the zero T if there is no value. stale is called several times, and
// must be pure. The value is in Redis when Refresh returns, and what s shows is up to date.
//
// fn may use s, and gets a context with the values and the deadline of ctx, and 30 seconds at
// most, that the client's going away does not cancel: the answer of a provider must not be
// lost. With that context, a Refresh of the same key within fn is an error; with another it
// waits until the lease is over.
//
// A lease ends with the deadline of that context. Then the next one runs fn, and what the
// first one still makes of it is not kept: Refresh returns the value that the next one made.
// What another request sets or deletes meanwhile stands in the same way; what it updates is
// overwritten. If fn fails its error is returned as it is, and those who wait, or were loaded
// before that (10 seconds at most), get ErrNotRefreshed, so that a provider that refuses is
// asked once; later calls, of the same requests too, try again. If the deadline is why it
// failed, the next one tries at once.
//
// If a server dies while fn runs, the next one runs it when the lease is over; a token that
// the provider had replaced by then is used up, and the new one lost. So it is, with the new
// value returned beside the error, when that cannot be kept: ErrGone if the session has ended
// or its user has logged in anew meanwhile, ErrUnavailable, ErrTooLarge. Servers' clocks have
// to agree within what fn leaves of its time.
//
// What is pending in s is committed first if the value is stale, as by Save, with Save's
// errors. A session that is not stored yet is stored, which needs a cookie: ErrHeadersSent
// once the response has begun. It is ErrLocked for a locked session, ErrUnavailable while
// Redis is away. A value that is not stale costs nothing, a stale one two round trips; each
// who waits sends one write that is refused, or none, and GETs, the first after some 20
// milliseconds and then ever fewer, down to three a second.
func (k Key[T]) Refresh(ctx context.Context, s *Session, stale func(T) bool, fn func(context.Context, T) (T, error)) (T, error) {
	var zero, made, seen T // seen is what the last look decoded
	name := k.name()
	if !utf8.ValidString(name) {
		return zero, errKeyNotUTF8
	}
	r := refresh{s: s, name: name, tag: lease.Tag(name)}
	r.stale = func(raw string) (is bool, err error) {
		seen, err = k.decodeOrZero(raw)
		return err == nil && stale(seen), err
	}
	r.fn = func(ctx context.Context, raw string) (string, error) {
		old, err := k.decodeOrZero(raw)
		if err != nil {
			return "", err
		}
		fresh, err := fn(ctx, old)
		if err != nil {
			return "", err
		}
		made = fresh
		if raw, err = jsonvalue.Encode(fresh); err != nil {
			return "", k.failed("encoding", err)
		}
		return raw, nil
	}
	raw, current, err := r.run(ctx)
	switch {
	case err != nil:
		return made, err
	case current:
		return seen, nil
	}
	return k.decodeOrZero(raw)
}

// decodeOrZero returns what raw holds, the zero T if that is nothing.
func (k Key[T]) decodeOrZero(raw string) (v T, err error) {
	if raw == "" {
		return v, nil
	}
	if v, err = jsonvalue.Decode[T](raw); err != nil {
		var zero T
		return zero, k.failed("decoding", err)
	}
	return v, nil
}

// refresh is one call of Key.Refresh.
type refresh struct {
	s         *Session
	name, tag string
	stale     func(raw string) (bool, error)
	fn        func(ctx context.Context, raw string) (string, error)

	own    *Session // commits the lease and the value: what is pending in s stays there
	known  string   // number of a lease that failed before
	origin string
	raw    string      // the value as it was seen last
	mine   lease.Lease // the latest one taken
	ends   time.Time   // when that ends, by the clock of contexts
	waited bool        // for another's lease, or for nothing once its own was lost
	before string      // the value when that began
	lost   bool        // fn has run, and another's outcome counts
}

var (
	errCurrent = errors.New("the value is not stale")
	errLeased  = errors.New("another request holds the lease")
	errLost    = errors.New("the lease is another's now")
	errNested  = errors.New("redsession: Refresh within the function of a Refresh of the same key")
)

// refreshing finds, in the context that fn gets, what is being refreshed.
type refreshing struct {
	m            *Manager
	origin, name string
}

// run returns the value that is kept now. current says that it was not stale at all.
func (r *refresh) run(ctx context.Context) (raw string, current bool, err error) {
	raw, _ = r.s.value(r.name)
	if err := r.s.usable(); err != nil {
		return "", false, err
	}
	if stale, err := r.stale(raw); err != nil || !stale {
		return raw, true, err
	}
	from, err := r.s.keepPending(ctx)
	if err != nil {
		return "", false, err
	}
	r.origin = origin(from.id, from.rec)
	if ctx.Value(refreshing{r.s.m, r.origin, r.name}) != nil {
		return "", false, errNested
	}
	r.own = r.s.aside(from)
	r.known = r.s.knownFailure(r.tag)
	defer func() {
		if at := r.own.base; at != nil && at != from {
			r.s.catchUp(ctx, from, at, r.name)
			r.s.tellFailure(lease.Find(at.rec.Leases, r.tag))
		}
	}()
	raw, err = r.settle(ctx)
	return raw, false, err
}

// settle takes the lease and runs fn, or waits for the outcome of another.
func (r *refresh) settle(ctx context.Context) (string, error) {
	for delay := firstPoll; ; delay = min(2*delay, mostPoll) {
		err := r.take(ctx)
		switch {
		case errors.Is(err, errCurrent):
			return r.raw, nil
		case errors.Is(err, errLeased):
			if err = r.pause(ctx, delay); err == nil {
				err = r.look(ctx)
			}
		case err == nil:
			if err = r.work(ctx); err == nil {
				return r.raw, nil
			}
			if errors.Is(err, errLost) {
				r.waited, r.before, r.lost, err = true, r.raw, true, nil
			}
		}
		if err != nil {
			return "", err
		}
	}
}

// judge says of what lies at at why fn must not run now.
func (r *refresh) judge(at *stored) error {
	raw, there := record.Find(at.rec.Fields(), r.name)
	r.raw = raw
	if r.waited && there && raw != r.before { // as it is: who waits must not run fn once more
		return errCurrent
	}
	stale, err := r.stale(raw)
	switch {
	case err != nil:
		return err
	case !stale:
		return errCurrent
	}
	switch lease.Find(at.rec.Leases, r.tag).StateAt(r.s.m.cfg.Now(), r.known) {
	case lease.Held:
		if !r.waited {
			r.waited, r.before = true, raw
		}
		return errLeased
	case lease.Failed:
		return fmt.Errorf("redsession: %w: another request failed to", ErrNotRefreshed)
	}
	if r.lost {
		return fmt.Errorf("redsession: %w: the lease was lost, as it took too long, or the value was deleted", ErrNotRefreshed)
	}
	return nil
}

// take takes the lease, unless judge says why not.
func (r *refresh) take(ctx context.Context) error {
	if err := r.judge(r.own.base); err != nil {
		return err
	}
	left := leaseMost
	if deadline, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(deadline))
	}
	if err := ctx.Err(); err != nil || left <= 0 {
		return fmt.Errorf("redsession: refreshing: %w", cmp.Or(err, context.DeadlineExceeded))
	}
	now := r.s.m.cfg.Now()
	r.mine, r.ends = lease.New(r.tag, now.Add(left)), time.Now().Add(left)
	return r.commit(ctx, ctx, r.judge, func() { r.put(r.mine) })
}

// put has the commit write l.
func (r *refresh) put(l lease.Lease) {
	now := r.s.m.cfg.Now()
	r.own.editLocked(func(rec *record.Record) { rec.Leases = lease.Put(rec.Leases, l, now) })
}

// commit brings what add records to Redis, unless guard says of what lies there why not.
func (r *refresh) commit(ctx, waits context.Context, guard func(*stored) error, add func()) error {
	latest := r.own.base
	err := r.own.commit(ctx, waits, func() {
		r.own.pending.guard = func(at *stored) error {
			latest = at
			return guard(at)
		}
		add()
	})
	if err != nil && r.own.base != nil {
		r.own.use(latest)
	}
	return err
}

// work runs fn and keeps what it returns, if the lease is still there.
func (r *refresh) work(ctx context.Context) error {
	value, err := r.ask(ctx)
	if err != nil {
		return err
	}
	was := r.raw
	err = r.keep(context.WithoutCancel(ctx), value)
	switch {
	case err == nil:
		r.raw = value
	case errors.Is(err, errLost):
		r.raw = was
	case !errors.Is(err, ErrGone) && !errors.Is(err, ErrUnavailable):
		r.release(ctx, true)
	}
	return err
}

// maxKeep is how often keep tries: many writers may have used up RedisTimeout, and nobody can
// make the value once more.
const maxKeep = 4

// keep writes value. To try again does no harm: what was written has taken the lease away.
func (r *refresh) keep(ctx context.Context, value string) (err error) {
	op := setOp(r.name, value)
	for range maxKeep {
		err = r.commit(ctx, ctx, r.fence, func() { r.own.recordLocked(op, op) })
		if !errors.Is(err, ErrUnavailable) || refusal(err) != "" && !passes(err) {
			return err
		}
	}
	return err
}

// fence says whether the lease is another's, or nobody's, now.
func (r *refresh) fence(at *stored) error {
	if l := lease.Find(at.rec.Leases, r.tag); l.Number != r.mine.Number || l.Failed {
		return errLost
	}
	return nil
}

// ask runs fn. If that fails, or panics, it gives the lease back.
func (r *refresh) ask(ctx context.Context) (value string, err error) {
	within, cancel := context.WithDeadline(
		context.WithValue(context.WithoutCancel(ctx), refreshing{r.s.m, r.origin, r.name}, true), r.ends)
	defer cancel()
	failed := true
	defer func() {
		if failed {
			r.release(ctx, within.Err() == nil)
		}
	}()
	value, err = r.fn(within, r.raw)
	failed = err != nil
	return value, err
}

// release gives the lease back, and tells those who wait if what they wait for failed. If
// Redis does not take it, the lease ends by itself: nothing waits for that.
func (r *refresh) release(ctx context.Context, failed bool) {
	r.own.shared = new(breaker.Budget)
	l := r.mine
	l.Failed, l.Until = failed, r.s.m.cfg.Now()
	detached := context.WithoutCancel(ctx)
	_ = r.commit(detached, detached, r.fence, func() { r.put(l) })
}
