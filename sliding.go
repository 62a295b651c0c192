package redsession

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/rediserr"
	"github.com/redsession/redsession/internal/sessioncookie"
	"github.com/redsession/redsession/internal/store"
)

// load makes s the session that the request's cookie names. A cookie that is
// not ours or past its end costs Redis nothing. The only error is
// ErrUnavailable: nobody knows then what the session is. What happens under ctx is
// collected.
func (s *Session) load(ctx context.Context) error {
	m, now := s.m, s.m.cfg.Now()
	s.passive = m.cfg.Passive != nil && m.cfg.Passive(s.r)
	s.loadedAt, s.confirmed = now.UnixMicro(), now
	s.head = m.anonymous()
	s.budget.Grant(m.wait())
	var tokens sessioncookie.Tokens
	s.came, tokens = m.cookies.Read(s.r, m.cookies.Insecure(s.r), now)
	found, err := s.loadTokens(ctx, tokens.All(), now)
	if err == nil && len(m.cfg.Adopt) > 0 && !s.degraded && !found.locked && !found.twoUsers {
		var taken bool
		if taken, err = s.adoptPatiently(ctx, found.live, now); taken {
			found.live = true
		}
	}
	if err != nil {
		return fmt.Errorf("redsession: loading session: %w: %w", ErrUnavailable, err)
	}
	s.endAsked(ctx, found.live)
	if found.locked && !found.live {
		if err := s.lockOut(); err != nil {
			return fmt.Errorf("redsession: loading session: %w: %w", ErrUnavailable, err)
		}
		return nil
	}
	if found.live {
		m.count.hits.Add(1)
		return nil
	}
	m.count.misses.Add(1)
	if s.came.Invalid > 0 || found.missing {
		s.lookForNeighbours(now)
	}
	if s.came.Invalid > 0 {
		s.noteOfInvalid()
	}
	s.dead = found.endedLately && s.ended.refuses(now)
	overdue := s.came.Overdue > 0 && !s.passive // whose user may be extending the session at this moment
	if (found.missing || overdue) && !found.endedLately && !found.rejected {
		s.cookie = cookieExpire
		s.note(Event{Kind: EventExpired})
	}
	return nil
}

// endAsked ends the sessions that ending cookies ask to end, without waiting for Redis.
// What cannot be ended now stays to be done before anything is written.
func (s *Session) endAsked(ctx context.Context, live bool) {
	if len(s.came.Ending) == 0 {
		return
	}
	for _, tk := range s.came.Ending {
		s.toEnd = append(s.toEnd, tk.SID.ID())
	}
	bounded, cancel := s.m.bounded(ctx)
	defer cancel()
	if err := s.endAll(bounded, s.toEnd); err != nil {
		return
	}
	if s.toEnd = nil; !live {
		s.cookie = cookieExpire
	}
}

// endAll makes logouts that an outage or a refusal kept from Redis.
func (s *Session) endAll(ctx context.Context, ids []string) error {
	for _, id := range ids {
		rec, err := s.m.endForGood(ctx, id, nil, true)
		if err != nil {
			return err
		}
		s.m.cache.Unblock(id)
		if rec != nil {
			s.note(Event{Kind: EventLogout, ID: id, UserID: rec.User, ActorID: rec.Actor, Reason: "by an ending cookie"})
		}
	}
	return nil
}

// verdicts is what the session tokens of a request turned out to be, all together.
type verdicts struct{ live, missing, endedLately, rejected, twoUsers, locked bool }

func (v *verdicts) add(one verdict) {
	switch one {
	case live:
		v.live = true
	case missing:
		v.missing = true
	case endedLately:
		v.endedLately = true
	default:
		v.rejected = true
	}
}

// loadTokens finds the session that the tokens name, and goes on from it. While Redis
// is away it goes on from what this process remembers, or waits.
func (s *Session) loadTokens(ctx context.Context, tokens []sessioncookie.Token, now time.Time) (found verdicts, err error) {
	all := len(tokens)
	if s.m.cache.SomeBlocked() { // a logout that Redis does not have yet: it comes before any write
		tokens = slices.DeleteFunc(tokens, func(tk sessioncookie.Token) bool {
			id := tk.SID.ID()
			blocked := s.m.cache.Blocked(id)
			if blocked {
				s.toEnd = append(s.toEnd, id)
			}
			return blocked
		})
	}
	if len(tokens) == 0 {
		return verdicts{endedLately: all > 0}, nil
	}
	for leave := func() {}; ; {
		s.events.take() // of a try that came to nothing
		found, err = s.lookUpAll(ctx, tokens, now, leave)
		if err == nil || errors.Is(err, errStamp) || errors.Is(err, breaker.ErrClosed) {
			return found, err
		}
		if known, v, stampErr := s.recall(tokens, now); known || stampErr != nil {
			s.tellRefusedRead(err)
			return v, stampErr
		}
		if leave, err = s.m.await(ctx, err, tokens[0].SID.ID(), &s.budget); err != nil {
			return found, err
		}
	}
}

// lookUpAll asks Redis for all of tokens, and goes on from the one that wins. It gives up
// the place among those who waited also if Config.LoadUser panics.
func (s *Session) lookUpAll(ctx context.Context, tokens []sessioncookie.Token, now time.Time, leave func()) (found verdicts, err error) {
	defer leave()
	deadline := time.Now().Add(s.m.cfg.RedisTimeout)
	bounded := lazyContext{parent: ctx, deadline: deadline}
	defer bounded.cancel()
	var first [1]candidate // what one token needs is allocated with the session
	var one [1]named
	list := one[:0]
	for i := range tokens {
		at := &s.named
		if i > 0 {
			at = new(stored)
		}
		*at = stored{sid: tokens[i].SID}
		n := named{Token: tokens[i], at: at}
		n.key, at.id = s.m.keys.OfSID(at.sid)
		list = append(list, n)
	}
	s.locked = nil
	if err := s.read(ctx, &bounded, list, now); err != nil {
		return found, err
	}
	alive, found, err := s.resolveAll(&bounded, list, first[:0], now)
	if err != nil {
		return found, err
	}
	winner, others, twoUsers := choose(alive)
	s.others, found.twoUsers = others, twoUsers
	if twoUsers {
		s.note(Event{Kind: EventRefused, ID: alive[0].at.id, Reason: "cookies of two users"})
		found.rejected = true
	}
	if winner != nil {
		s.admit(&bounded, winner, now, len(tokens) > 1)
		found.live = true
	}
	return found, nil
}

// named is a session that a token of the request names.
type named struct {
	sessioncookie.Token
	record.Value
	at  *stored
	key string
}

// ttl is how long a hit makes it live.
func (n *named) ttl(now time.Time) time.Duration { return record.TTL(now, n.Idle, n.Deadline) }

// read fetches the values of list, in one round trip. It prolongs a single one on the way.
func (s *Session) read(ctx context.Context, bounded *lazyContext, list []named, now time.Time) (err error) {
	if len(list) == 1 && s.seemsLocked(&list[0].Token, now) { // no activity of its owner
		list[0].Value, err = s.m.store.Get(bounded.get(), list[0].at.id)
		return err
	}
	if len(list) == 1 && !s.passive {
		n, refused := &list[0], error(nil)
		n.Value, refused, err = s.m.store.Load(ctx, bounded.deadline, n.key, n.ttl(now))
		if refused != nil {
			s.expireRefused(bounded.get(), n, refused, now)
		}
		return err
	}
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].at.id
	}
	entries, err := s.m.store.Entries(bounded.get(), ids)
	for i, e := range entries {
		list[i].Value, list[i].at.left = e.Value, e.TTL
	}
	return err
}

// expireRefused goes on though Redis answered and did not prolong the session, as the
// user is served. A read-only answer means that the primary has become a replica behind
// the same address: the command alone makes the client drop that connection, and try a
// new one.
func (s *Session) expireRefused(ctx context.Context, n *named, refused error, now time.Time) {
	m := s.m
	again := refused
	if store.MeaningOf(refused).Recovery == rediserr.PassesAroundFailover {
		again = m.store.Expire(ctx, n.at.id, n.ttl(now))
	}
	if again != nil {
		refused = again
		m.count.expireFailed.Add(1)
	}
	m.expireTold.tell(m.cfg.Now(), func() {
		s.note(Event{Kind: EventFailed, Reason: cmp.Or(refusal(refused), refused.Error()), Err: fmt.Errorf("redsession: prolonging session: %w", refused)})
	})
}

// resolveAll finds out what list names, and appends to alive the live sessions whose users'
// credentials are as they were.
func (s *Session) resolveAll(bounded *lazyContext, list []named, alive []candidate, now time.Time) (_ []candidate, found verdicts, err error) {
	var late []lateUse
	for i := range list {
		n := &list[i]
		c, err := s.resolve(bounded, n.at, s.claim(n, len(list) == 1, now), n.Value, now)
		if err != nil {
			return nil, found, err
		}
		switch {
		case c.verdict == live && !s.hasProof(c.at.rec, now):
			s.locked, found.locked = append(s.locked, c.at), true
			continue
		case c.verdict == live:
			alive = append(alive, c)
			continue
		case c.verdict == replayed:
			late = append(late, c.late)
		}
		found.add(c.verdict)
		if c.ended.at > s.ended.at {
			s.ended = c.ended
		}
	}
	late = s.noteReplays(late, alive)
	if alive, err = s.vouchForAll(bounded, alive, &found); err == nil {
		err = s.endReplayed(bounded, late, now)
	}
	return alive, found, err
}

// vouchForAll returns those of alive whose users' credentials are as they were. It comes
// after all that may have to be asked once more, which would find what it has ended missing.
func (s *Session) vouchForAll(bounded *lazyContext, alive []candidate, found *verdicts) ([]candidate, error) {
	kept := alive[:0]
	for i := range alive {
		c := &alive[i]
		if err := s.vouch(bounded, c); err != nil {
			return nil, err
		}
		if c.verdict == live {
			kept = append(kept, *c)
		} else {
			found.add(c.verdict)
		}
	}
	return kept, nil
}

// vouch ends a live session whose user's credentials have changed since its login. What the
// program takes to tell is not taken from Redis's time.
func (s *Session) vouch(bounded *lazyContext, c *candidate) (err error) {
	if !s.m.cfg.asksFor(c.at.rec) {
		return nil
	}
	began := time.Now()
	var why string
	c.stamp, why, err = s.checkStamp(c.at.rec)
	bounded.pause(time.Since(began))
	if why == "" || err != nil {
		return err
	}
	c.verdict = rejected
	if rec, err := s.m.endForGood(bounded.get(), c.at.id, c.at.rec, false); err == nil && rec != nil {
		s.note(Event{Kind: EventRevoked, ID: c.at.id, UserID: c.at.rec.User, ActorID: c.at.rec.Actor, Reason: why})
	}
	return nil
}

// admit goes on from a live session, one of several perhaps.
func (s *Session) admit(bounded *lazyContext, c *candidate, now time.Time, several bool) {
	m, at := s.m, c.at
	s.use(at)
	s.pending.stamp = c.stamp
	switch {
	case c.followed:
		s.cookie = cookieSet
	case at.rec.Issued != 0 && at.rec.Seen == 0:
		s.pending.seen = now.Unix()
	}
	if m.binding != nil {
		s.beginBinding(at.rec, now)
		if several { // s has the proof of the last
			s.hasProof(at.rec, now)
		}
	}
	s.prolong(bounded, c, now)
	switch {
	case at.legacy != "":
	case !c.known:
		s.confirm(at.id, c.raw, at.rec, !s.passive)
	case s.passive:
		m.cache.Until(at.id, s.expires)
	}
}
