package redsession

import (
	"cmp"
	"context"
	"math"
	"time"

	"github.com/redsession/redsession/internal/record"
)

// verdict is what a session token turned out to be.
type verdict int

const (
	missing     verdict = iota // nothing lies there, or it is past its end
	live                       // a session
	endedLately                // ended by a login or a logout a moment ago
	rejected                   // not to be believed
	replayed                   // a rotated id after its grace
	leadsOn                    // to the successor, by a timed rotation
)

// candidate is what one session token of a request led to.
type candidate struct {
	at       *stored
	verdict  verdict
	raw      string // of a live one
	stamp    string // that a live one is to take
	known    bool   // those bytes were verified before
	followed bool   // the client still has a rotated id
	claim    claim  // of the token that led to a live one, unless it was followed
	ended    ending // of one that ended lately
	late     lateUse
}

// claim is what a token says of the session's end, and for how long the load has asked Redis
// to keep that on its word: 0 for not at all. The zero value is that of no token.
type claim struct {
	idle, deadline int64
	hit            time.Duration
}

// ending is the end of an id by a login or a logout a moment ago.
type ending struct {
	id   string
	at   int64  // Unix seconds
	next string // public id of the session that a login put in its place
}

// refusesFor is how long writes under an id that has ended are refused: long enough for
// requests that were on their way. Later the id counts as an unknown one.
const refusesFor = 10 * time.Second

// refuses tells whether what is written under the id is ErrGone.
func (e ending) refuses(now time.Time) bool {
	return e.id == "" || now.Sub(time.Unix(e.at, 0)) <= refusesFor
}

// judge says what becomes of a request under whose id rec or tomb lies. followed says
// that a rotated id led there.
func judge(rec *record.Record, tomb *record.Tombstone, followed bool, now time.Time, grace time.Duration) verdict {
	switch {
	case rec == nil && tomb == nil:
		return missing
	case followed && graceOver(rec, tomb, now, grace):
		return replayed
	case rec != nil && rec.TTL(now) > 0:
		return live
	case rec != nil || tomb.Expired(now):
		return missing
	case tomb.Kind.Leads():
		return leadsOn
	}
	return endedLately
}

// graceOver tells whether the client has been using what a rotated id leads to
// for longer than the grace.
func graceOver(rec *record.Record, tomb *record.Tombstone, now time.Time, grace time.Duration) bool {
	var seen int64
	if rec != nil {
		seen = rec.Seen
	} else {
		seen = tomb.Seen
	}
	return seen != 0 && now.Sub(time.Unix(seen, 0)) > grace
}

// choose says which of the live sessions that a request named is its session: one that a
// user has logged in to before an anonymous one, and of one user's the latest login, half
// of one only if there is no whole one. Sessions of two users are nobody's, or a sibling domain could plant the attacker's
// newer session beside its victim's: then an anonymous one is left, or none. A login and a
// logout end the others too, or the planted one would keep its victim out.
func choose(alive []candidate) (winner *candidate, others []*stored, twoUsers bool) {
	var guest *candidate
	for i := range alive {
		c := &alive[i]
		switch {
		case c.at.rec.User == "" && guest != nil && guest.rank() <= c.rank():
		case c.at.rec.User == "":
			guest = c
		case winner == nil:
			winner = c
		case c.at.rec.User != winner.at.rec.User || c.at.rec.Actor != winner.at.rec.Actor:
			twoUsers = true
		case c.better(winner):
			winner = c
		}
	}
	if winner == nil || twoUsers {
		winner = guest
	}
	for i := range alive {
		if c := &alive[i]; winner == nil || c != winner && c.at.id != winner.at.id {
			others = append(others, c.at)
		}
	}
	return winner, others, twoUsers
}

// better tells whether c is to be gone on from rather than other, a session of the same
// user.
func (c *candidate) better(other *candidate) bool {
	a, b := c.at.rec, other.at.rec
	if a.Pending != b.Pending {
		return b.Pending
	}
	return cmp.Or(cmp.Compare(a.Auth, b.Auth), cmp.Compare(other.rank(), c.rank())) > 0
}

// rank puts an id that is still in use before one that a rotation has replaced.
func (c *candidate) rank() int {
	if c.followed {
		return 1
	}
	return 0
}

// resolve finds out what at names, over the tombstones of timed rotations. v is what lies
// there, and said what led there.
func (s *Session) resolve(bounded *lazyContext, at *stored, said claim, v record.Value, now time.Time) (candidate, error) {
	m, first := s.m, at.id
	for hop := range maxHops {
		c, tomb := s.inspect(at, v, hop > 0, now)
		if tomb != nil && hop == 0 && said.hit > 0 { // whose life is its own
			if ttl := max(record.TTL(now, said.idle, tomb.Deadline), time.Second); ttl != said.hit {
				_ = m.store.Expire(bounded.get(), at.id, ttl)
			}
		}
		if hop == 0 {
			c.claim = said
		}
		switch c.verdict {
		case leadsOn:
		case replayed:
			c.late = lateUse{id: first, origin: origin(at.id, at.rec), at: at.id}
			if tomb != nil {
				c.late.origin = cmp.Or(tomb.Origin, at.id)
			}
			return c, nil
		case missing:
			if at.rec != nil { // Redis would let it live on for as long as hits come
				_, _ = m.end(bounded.get(), at.id, false)
			}
			return c, nil
		default:
			return c, nil
		}
		next, err := m.follow(at, tomb)
		if err != nil {
			s.note(Event{Kind: EventRefused, ID: at.id, Reason: err.Error()})
			return candidate{verdict: rejected}, nil
		}
		at = next
		if v, at.left, err = s.look(bounded.get(), at.id); err != nil {
			return candidate{}, err
		}
	}
	s.note(Event{Kind: EventRefused, ID: first, Reason: "rotated too often"})
	return candidate{verdict: rejected}, nil
}

// inspect opens what lies at at and judges it.
func (s *Session) inspect(at *stored, v record.Value, followed bool, now time.Time) (candidate, *record.Tombstone) {
	m := s.m
	c := candidate{at: at, raw: v.Raw(), followed: followed}
	if m.cache.Blocked(at.id) {
		c.verdict = endedLately
		return c, nil
	}
	var tomb *record.Tombstone
	if at.rec = m.cache.Same(at.id, c.raw); at.rec != nil {
		c.known = true
	} else {
		var err error
		if at.rec, tomb, err = v.Open(m.ring, m.keys.Session(at.id)); err != nil {
			s.note(Event{Kind: EventRefused, ID: at.id, Reason: err.Error()})
			c.verdict = rejected
			return c, nil
		}
	}
	grace := m.cfg.RotateGrace
	if s.proving { // a thief cannot, so that it is the owner's, however late
		grace = math.MaxInt64
	}
	c.verdict = judge(at.rec, tomb, followed, now, grace)
	if c.verdict != live && c.verdict != replayed { // its own cookie may come as well
		m.cache.Forget(at.id)
	}
	if c.verdict == endedLately {
		c.ended = ending{id: at.id, at: tomb.EndedAt, next: tomb.Next}
	}
	return c, tomb
}

// lazyContext is made when the first command needs it: a hit does not.
type lazyContext struct {
	parent   context.Context
	deadline time.Time
	ctx      context.Context
	stop     context.CancelFunc
}

func (l *lazyContext) get() context.Context {
	if l.ctx == nil {
		l.ctx, l.stop = context.WithDeadline(context.WithoutCancel(l.parent), l.deadline)
	}
	return l.ctx
}

// pause moves the deadline, as d was spent on something else.
func (l *lazyContext) pause(d time.Duration) {
	l.cancel()
	l.ctx, l.stop, l.deadline = nil, nil, l.deadline.Add(d)
}

func (l *lazyContext) cancel() {
	if l.stop != nil {
		l.stop()
	}
}
