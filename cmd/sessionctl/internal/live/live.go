// Package live tells what a running Redis does at present, from its counters.
package live

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
)

// Counters are what the servers have counted since they started, summed over
// the masters of a cluster. They count for all programs and prefixes.
type Counters struct {
	at       time.Time
	commands int64
	hits     int64 // EXPIRE: every request with a session sends one
	writes   int64 // SETEX: sessions created, written to, rotated
	logins   int64 // ZADD: logins, and rotations of logged-in sessions
	errors   int64 // replies that were errors, connections that were refused
	expired  int64
	evicted  int64

	Memory    int64         // bytes used
	MaxMemory int64         // 0 where there is no limit
	Clients   int64         // connected
	Ping      time.Duration // of the slowest master
}

// Read asks every master.
func Read(ctx context.Context, client redis.UniversalClient) (Counters, error) {
	nodes, err := server.Masters(ctx, client)
	if err != nil {
		return Counters{}, err
	}
	var c Counters
	for _, n := range nodes {
		began := time.Now()
		if err := n.Client.Ping(ctx).Err(); err != nil {
			return Counters{}, err
		}
		c.Ping = max(c.Ping, time.Since(began))
		info, err := server.ReadInfo(ctx, n.Client)
		if err != nil {
			return Counters{}, err
		}
		c.add(info)
	}
	c.at = time.Now()
	return c, nil
}

func (c *Counters) add(info server.Info) {
	c.commands += info.Int("total_commands_processed")
	c.hits += info.Part("cmdstat_expire", "calls")
	c.writes += info.Part("cmdstat_setex", "calls") + info.Part("cmdstat_psetex", "calls")
	c.logins += info.Part("cmdstat_zadd", "calls")
	c.errors += info.Int("total_error_replies") + info.Int("rejected_connections")
	c.expired += info.Int("expired_keys")
	c.evicted += info.Int("evicted_keys")
	c.Memory += info.Int("used_memory")
	c.MaxMemory += info.Int("maxmemory")
	c.Clients += info.Int("connected_clients")
}

// Rates are how often things happen, a second.
type Rates struct {
	Hits     float64 `json:"hits_per_second"`
	Writes   float64 `json:"writes_per_second"`
	Logins   float64 `json:"logins_per_second"`
	Commands float64 `json:"commands_per_second"`
	Errors   float64 `json:"errors_per_second"`
	Expired  float64 `json:"expired_per_second"`
	Evicted  float64 `json:"evicted_per_second"`
}

// Since returns the rates from before to c. A server that was restarted between
// the two, or a cluster that has other masters now, gives 0.
func (c Counters) Since(before Counters) Rates {
	seconds := c.at.Sub(before.at).Seconds()
	rate := func(now, then int64) float64 {
		if seconds <= 0 {
			return 0
		}
		return math.Round(float64(max(0, now-then))/seconds*100) / 100
	}
	return Rates{
		Hits: rate(c.hits, before.hits), Writes: rate(c.writes, before.writes), Logins: rate(c.logins, before.logins),
		Commands: rate(c.commands, before.commands), Errors: rate(c.errors, before.errors),
		Expired: rate(c.expired, before.expired), Evicted: rate(c.evicted, before.evicted),
	}
}

// Census is how many keys of ours there were when they were counted.
type Census struct {
	Sessions int // ended ones that left a trace for late requests included
	Users    int // with an index, which outlives their last session
	At       time.Time
	Err      error
}

// count counts by SCAN alone, so that the counters hardly notice.
func count(ctx context.Context, client redis.UniversalClient, prefix string) Census {
	var c Census
	nodes, err := server.Masters(ctx, client)
	for _, n := range nodes {
		if err != nil {
			break
		}
		err = n.Walk(ctx, prefix, func(keys []string) (bool, error) {
			for _, key := range keys {
				switch server.KindOf(prefix, key) {
				case server.Session:
					c.Sessions++
				case server.Index:
					c.Users++
				}
			}
			return true, nil
		})
	}
	c.At, c.Err = time.Now(), err
	return c
}

// Counting goes on in the background, at most a tenth of the time and every 30
// seconds at most.
type Counting struct {
	mu   sync.Mutex
	last Census
	done chan struct{}
}

const countEvery = 30 * time.Second

// StartCounting counts until ctx ends.
func StartCounting(ctx context.Context, client redis.UniversalClient, prefix string) *Counting {
	c := &Counting{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for ctx.Err() == nil {
			began := time.Now()
			census := count(ctx, client, prefix)
			c.mu.Lock()
			if census.Err == nil || c.last.At.IsZero() {
				c.last = census
			}
			c.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(max(countEvery, 10*time.Since(began))):
			}
		}
	}()
	return c
}

// Last returns the latest count, and false before there is one.
func (c *Counting) Last() (Census, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last, !c.last.At.IsZero() && c.last.Err == nil
}

// Wait returns when the counting has ended with its context.
func (c *Counting) Wait() { <-c.done }
