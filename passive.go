package redsession

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/redsession/redsession/internal/record"
)

// look reads what lies at id, and on behalf of a passive request for how much longer: that
// is how long its session lives.
func (s *Session) look(ctx context.Context, id string) (v record.Value, left time.Duration, err error) {
	if !s.passive {
		v, err = s.m.store.Get(ctx, id)
		return v, 0, err
	}
	entries, err := s.m.store.Entries(ctx, []string{id})
	if err != nil {
		return v, 0, err
	}
	return entries[0].Value, entries[0].TTL, nil
}

// claim is what n says of its end. A hit of a single session has prolonged that on its word,
// as it is without doubt an activity of the owner's.
func (s *Session) claim(n *named, single bool, now time.Time) claim {
	said := claim{idle: n.Idle, deadline: n.Deadline}
	if single && !s.passive && !s.seemsLocked(&n.Token, now) {
		said.hit = n.ttl(now)
	}
	return said
}

// prolong has the session that a hit goes on from live for as long as its record says, which
// the cookie may not know yet: it can be older than an Extend or a LimitTo, and then the client
// gets a new one. A passive request prolongs nothing.
func (s *Session) prolong(bounded *lazyContext, c *candidate, now time.Time) {
	m, at := s.m, c.at
	ttl, came := at.rec.TTL(now), c.claim != claim{}
	if came && (c.claim.deadline != at.rec.Deadline || c.claim.idle != at.rec.Idle) {
		s.cookie = cookieSet
	}
	switch {
	case s.passive:
		s.expires = at.ends(now)
		return
	case !c.followed && (!came || c.claim.hit == ttl):
		return
	}
	if err := m.store.Expire(bounded.get(), at.id, ttl); err != nil { // the next hit does it
		m.count.expireFailed.Add(1)
		m.tellUpkeep(err, s.note)
	}
}

// ends is when the session ends if no other request comes, as a passive one has found it.
func (at *stored) ends(now time.Time) time.Time {
	ttl := at.rec.TTL(now)
	if at.left > 0 { // else it has ended since, or has no end there
		ttl = min(at.left, ttl)
	}
	return now.Add(ttl)
}

// left is how long the session lives if no other request comes, which is what a write of a
// passive request leaves it.
func (s *Session) left(rec *record.Record, now time.Time) time.Duration {
	ttl := rec.TTL(now)
	if s.passive && !s.expires.IsZero() {
		return min(ttl, s.expires.Sub(now))
	}
	return ttl
}

// prolongs tells whether what the commit stores lives as long as after any hit: that of a
// passive request, and of a job, leaves a session what that has left.
func (c *commit) prolongs() bool {
	return c.s.outside == nil && (!c.s.passive || c.fresh || c.base == nil)
}

// life is how long the record rec is to lie at id. It notes in rec the last activity where the
// TTL does not tell that.
func (c *commit) life(rec *record.Record, id string, now time.Time) time.Duration {
	ttl := rec.TTL(now)
	short := seconds(ttl) < rec.Idle // the TTL no longer tells
	switch {
	case !c.prolongs() && short:
		rec.Written = max(rec.Written, c.s.expires.Unix()-rec.Idle)
	case short:
		rec.Written = now.Unix()
	case c.prolongs():
		rec.Written = 0
	}
	if !c.prolongs() && id != c.base.id { // under its own id the key says it: others may have prolonged it
		return max(c.s.left(rec, now), time.Second)
	}
	return ttl
}

// confirm remembers for an outage what Redis has at id. What a passive request has found or
// written may be read for no longer than it lives.
func (s *Session) confirm(id, raw string, rec *record.Record, prolonged bool) {
	s.m.cache.Confirm(id, raw, rec)
	if !prolonged && !s.expires.IsZero() {
		s.m.cache.Until(id, s.expires)
	}
}

// TimeLeft returns a handler that answers how long the session of its request lives if no
// other request comes, for a page that counts down and offers to stay (WCAG 2.2.1):
//
//	{"loggedIn":true,"idle":840,"absolute":41000}
//
// idle is how many seconds are left until the idle timeout, or the end whatever happens if
// that is sooner; absolute until the latter. Both are rounded down. loggedIn is false, and the
// seconds are those of what there is, while the second factor is missing and for a visitor who
// has not logged in; they are 0 where no session is stored, where it has ended, and where it
// is locked. So a page should ask whoever gets loggedIn false to log in. While Redis is away nobody
// knows, and Config.ErrorHandler answers with ErrUnavailable.
//
// Config.Passive must name its requests, or asking would prolong what it tells of: otherwise
// they are answered 500, and the log says so once. It takes GET and HEAD, belongs inside
// Handler, and costs the one round trip of the load. No cache stores the answer.
func (m *Manager) TimeLeft() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := m.FromContext(r.Context())
		neverStore(w.Header())
		switch {
		case !s.passive:
			if m.notPassive.CompareAndSwap(false, true) {
				m.cfg.Logger.Error("Manager.TimeLeft is asked by requests that Config.Passive does not name: asking would prolong the session", "path", r.URL.Path)
			}
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
		case s.Degraded():
			m.answer(w, r, fmt.Errorf("redsession: reading the time left: %w: %w", ErrUnavailable, errFromMemory))
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(s.timeLeft())
		}
	})
}

var errFromMemory = errors.New("the session comes from memory, as Redis is away")

// timeLeft is what TimeLeft answers. Times are seconds.
type timeLeft struct {
	LoggedIn bool  `json:"loggedIn"`
	Idle     int64 `json:"idle"`
	Absolute int64 `json:"absolute"`
}

func (s *Session) timeLeft() timeLeft {
	s.lock()
	defer s.mu.Unlock()
	if s.base == nil {
		return timeLeft{}
	}
	now := s.m.cfg.Now()
	return timeLeft{
		LoggedIn: s.head.LoggedIn(),
		Idle:     max(0, seconds(s.left(&s.head, now))),
		Absolute: max(0, seconds(time.Unix(s.head.Deadline, 0).Sub(now))),
	}
}
