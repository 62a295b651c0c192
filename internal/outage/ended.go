package outage

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	endAtOnce  = 8                      // calls of End at a time
	closePause = 100 * time.Millisecond // between tries of Close
)

// Ended forgets sessions that ended, and remembers for a while that they did: they are
// not recalled, and ended once more after an outage. It is told of the id and of the
// origin, by which Recall finds the session under ids that it had in between. A blocked
// session stays blocked.
func (c *Cache) Ended(ids ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		c.endedLocked(id)
	}
}

// endedLocked notes the first end of a session; to end it again tells nothing new.
func (c *Cache) endedLocked(id string) {
	c.sessions.remove(id)
	now := c.cfg.Now()
	if len(c.ended) >= c.cfg.MaxEnded && now.Sub(c.swept) >= time.Second {
		c.sweepLocked(now)
	}
	if _, there := c.ended[id]; !there && len(c.ended) < c.cfg.MaxEnded {
		c.ended[id] = now
	}
}

// sweepLocked forgets endings that neither a failover can undo any more nor what is
// cached. If these are too few, it forgets all that a failover cannot undo.
func (c *Cache) sweepLocked(now time.Time) {
	c.swept = now
	for _, age := range []time.Duration{max(c.cfg.EndAgainFor, c.cfg.MaxStale), c.cfg.EndAgainFor} {
		if len(c.ended) >= c.cfg.MaxEnded {
			maps.DeleteFunc(c.ended, func(_ string, at time.Time) bool { return now.Sub(at) > age })
		}
	}
}

// HasEnded tells whether Ended was told of id lately.
func (c *Cache) HasEnded(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ended := c.ended[id]
	return ended
}

// Block keeps the session at id from being used in this process, as its user logged out
// and Redis does not have that yet. It is ended every Config.Again, by EndAgain and by
// Close, until that succeeds. It returns false, and blocks nothing, if too many are blocked
// already or the Cache is closed.
func (c *Cache) Block(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.blocked[id]; there {
		return true
	}
	if c.closed || len(c.blocked) >= c.cfg.MaxEnded {
		return false
	}
	c.sessions.remove(id)
	c.blocked[id] = struct{}{}
	c.someBlocked.Store(true)
	if !c.retrying && c.ctx.Err() == nil {
		c.retrying = true
		c.background.Go(c.retry)
	}
	return true
}

// retry ends what is blocked until nothing is.
func (c *Cache) retry() {
	ticker := time.NewTicker(c.cfg.Again)
	defer ticker.Stop()
	for c.stillBlocked() {
		select {
		case <-c.ctx.Done():
		case <-ticker.C:
			ids := c.blockedIDs()
			some := min(len(ids), endAtOnce) // any of them, as the order is that of a map
			if c.endBlocked(c.ctx, ids[:some]) > 0 {
				c.endBlocked(c.ctx, ids[some:])
			}
		}
	}
}

// stillBlocked tells whether retry has to go on, and otherwise that it does not.
func (c *Cache) stillBlocked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retrying = len(c.blocked) > 0 && c.ctx.Err() == nil
	return c.retrying
}

// SomeBlocked tells whether any session is blocked.
func (c *Cache) SomeBlocked() bool { return c.someBlocked.Load() }

// Blocked tells whether the session at id is blocked.
func (c *Cache) Blocked(id string) bool {
	if !c.someBlocked.Load() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, blocked := c.blocked[id]
	return blocked
}

// Unblock tells that the ending of a blocked session has reached Redis.
func (c *Cache) Unblock(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unblockLocked(id)
}

// unblockLocked leaves the session among those that ended.
func (c *Cache) unblockLocked(id string) {
	if _, blocked := c.blocked[id]; !blocked {
		return
	}
	c.endedLocked(id)
	delete(c.blocked, id)
	c.someBlocked.Store(len(c.blocked) > 0)
}

// OutageBegan notes when Redis went away. It may be told of one outage several times.
func (c *Cache) OutageBegan() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.began.IsZero() {
		c.began = c.cfg.Now()
	}
}

// EndAgain is for when Redis is back after an outage, or after a connection was lost. It
// ends what is blocked, and then once more what ended in this process shortly before and
// since: a failover may have lost that. Ids are never used twice, so it hits nothing
// else. What fails, as one server of several may still be away, keeps nothing else from
// being ended and is tried again the next time. It returns when all is tried or ctx done.
func (c *Cache) EndAgain(ctx context.Context) {
	ids, began := c.endedSinceOutage()
	c.endBlocked(ctx, c.blockedIDs())
	ended := c.end(ctx, ids)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(ended) == len(ids) && c.began.Equal(began) {
		c.began = time.Time{}
	}
}

// endedSinceOutage returns what ended shortly before Redis went away and since, and when
// that was: zero, and so what ended just now, if no outage was told of.
func (c *Cache) endedSinceOutage() (ids []string, began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := c.began
	if since.IsZero() {
		since = c.cfg.Now()
	}
	since = since.Add(-c.cfg.EndAgainFor)
	for id, at := range c.ended {
		if !at.Before(since) {
			ids = append(ids, id)
		}
	}
	return ids, c.began
}

// Close ends what is blocked, again and again until all is or ctx is done, and returns
// how many sessions are left that Redis does not know to have ended. Block returns false
// afterwards, and another Close returns 0.
func (c *Cache) Close(ctx context.Context) (left int) {
	c.mu.Lock()
	again := c.closed
	c.mu.Unlock()
	if again {
		return 0
	}
	c.mu.Lock()
	c.stop()
	c.mu.Unlock()
	c.background.Wait()
	ticker := time.NewTicker(closePause)
	defer ticker.Stop()
	for c.endBlocked(ctx, c.blockedIDs()); c.someBlocked.Load() && ctx.Err() == nil; c.endBlocked(ctx, c.blockedIDs()) {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return len(c.blocked)
}

// blockedIDs returns what is blocked, in any order.
func (c *Cache) blockedIDs() []string {
	if !c.someBlocked.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.blocked))
}

// endBlocked ends blocked sessions, and returns how many that succeeded for.
func (c *Cache) endBlocked(ctx context.Context, ids []string) int {
	ended := c.end(ctx, ids)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ended {
		c.unblockLocked(id)
	}
	return len(ended)
}

// end calls End for ids, several at a time, until ctx is done, and returns those for
// which it succeeded.
func (c *Cache) end(ctx context.Context, ids []string) (ended []string) {
	var mu sync.Mutex // guards ended
	var workers sync.WaitGroup
	queue := make(chan string)
	for range min(endAtOnce, len(ids)) {
		workers.Go(func() {
			for id := range queue {
				if ctx.Err() == nil && c.cfg.End(ctx, id) == nil {
					mu.Lock()
					ended = append(ended, id)
					mu.Unlock()
				}
			}
		})
	}
	for _, id := range ids {
		queue <- id
	}
	close(queue)
	workers.Wait()
	return ended
}
