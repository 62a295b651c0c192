// Package outage keeps what a process needs while Redis is away: the sessions that Redis
// confirmed to it lately, to be read from for a bounded time, and the ids of sessions
// that ended, which are never read again and are ended once more when Redis is back. It
// keeps no changes: what was acknowledged lies in Redis.
package outage

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redsession/redsession/internal/record"
)

// Config says what is remembered, and for how long. All of it is required.
type Config struct {
	// MaxEntries and MaxBytes bound the sessions that are cached, MaxBytes about what they
	// take in memory. Anonymous and large ones are the first to be forgotten. With 0 none
	// is cached.
	MaxEntries, MaxBytes int
	// MaxStale is how long a session may be read after Redis confirmed it. With 0 it may
	// not.
	MaxStale time.Duration
	// MaxEnded bounds the ids that ended, and those that are blocked, each by itself.
	MaxEnded int
	// EndAgainFor is how long before an outage an ending may have been to be made again: a
	// failover loses what was written shortly before.
	EndAgainFor time.Duration
	// Now is the clock.
	Now func() time.Time
	// End ends the session at id in Redis, and what rotations have made of it, within a
	// bound of its own. It does no harm to an id that has ended. It is called concurrently.
	End func(ctx context.Context, id string) error
	// Again is the time between two tries to end what is blocked. A refusal that does not
	// pass by itself is no outage, of which EndAgain would be told.
	Again time.Duration
}

// Cache is what one process remembers. It is safe for concurrent use. It never calls End
// with its lock held. Its goroutines are those that EndAgain waits for and, while sessions
// are blocked, one that Close ends.
type Cache struct {
	cfg        Config
	ctx        context.Context // ends with Close
	stop       context.CancelFunc
	background sync.WaitGroup // entered under mu

	mu       sync.Mutex // guards what follows
	sessions *segments
	ended    map[string]time.Time // ids and origins, and when they ended
	swept    time.Time            // when ended last was
	blocked  map[string]struct{}
	retrying bool      // a goroutine ends what is blocked
	began    time.Time // when Redis went away; zero while it is there and all is ended again
	closed   bool

	someBlocked atomic.Bool // saves each load the lock
}

// New returns an empty Cache.
func New(cfg Config) *Cache {
	ctx, stop := context.WithCancel(context.Background())
	return &Cache{
		cfg: cfg, ctx: ctx, stop: stop, sessions: newSegments(cfg.MaxEntries, cfg.MaxBytes),
		ended: make(map[string]time.Time), blocked: make(map[string]struct{}),
	}
}

// Confirm remembers that Redis has raw at id, which says rec. A session that ended in
// this process is not remembered: its end has overtaken the load.
func (c *Cache) Confirm(id, raw string, rec *record.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.overLocked(id, rec) {
		s := &session{raw: raw, rec: rec}
		s.confirm(c.cfg.Now())
		c.sessions.put(id, s)
	}
}

// confirm notes that Redis has s now, and that a request has just prolonged it.
func (s *session) confirm(now time.Time) {
	s.confirmed, s.until = now, now.Add(time.Duration(s.rec.Idle)*time.Second)
}

// Until says that the session at id, just confirmed, was not prolonged by that: it may be
// read until end at the latest.
func (c *Cache) Until(id string, end time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.sessions.get(id); ok && end.Before(s.until) {
		s.until = end
	}
}

// Rewrite takes raw, which says rec, in the place of what was remembered of id, if something
// was: nobody has used the session, so how long that may be read stays as it was.
func (c *Cache) Rewrite(id, raw string, rec *record.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.sessions.get(id); ok {
		c.sessions.put(id, &session{raw: raw, rec: rec, confirmed: s.confirmed, until: s.until})
	}
}

// Same returns what raw says if Redis had the same bytes at id when this process last
// looked: then the seal need not be checked nor the members be decoded again. It
// returns nil otherwise. It counts as Confirm.
func (c *Cache) Same(id, raw string) *record.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sessions.get(id)
	if !ok || s.raw != raw {
		return nil
	}
	s.confirm(c.cfg.Now())
	return s.rec
}

// Recall returns what Redis had at id, when it last confirmed that, and when the session ends
// there, as far as this process knows, if it may still be read: for MaxStale, within its idle
// timeout and deadline, and unless it ended in this process under this id or its origin.
func (c *Cache) Recall(id string) (raw string, confirmed, until time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sessions.get(id)
	if !ok || c.overLocked(id, s.rec) {
		return "", time.Time{}, time.Time{}, false
	}
	now := c.cfg.Now()
	if c.cfg.MaxStale <= 0 || now.Sub(s.confirmed) > c.cfg.MaxStale || now.After(s.until) || s.rec.TTL(now) <= 0 {
		return "", time.Time{}, time.Time{}, false
	}
	return s.raw, s.confirmed, s.until, true
}

// overLocked tells whether the session at id is blocked, or ended.
func (c *Cache) overLocked(id string, rec *record.Record) bool {
	for _, id := range [...]string{id, cmp.Or(rec.Origin, id)} {
		_, ended := c.ended[id]
		_, blocked := c.blocked[id]
		if ended || blocked {
			return true
		}
	}
	return false
}

// Forget drops what Redis had at id: it is gone, or goes on under another id.
func (c *Cache) Forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions.remove(id)
}
