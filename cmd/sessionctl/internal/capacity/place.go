package capacity

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redisurl"
)

// place is a Redis to measure: one server, or all primaries of a cluster.
type place struct{ client redis.UniversalClient }

func connect(url string) (*place, error) {
	client, err := redisurl.Client(url, patience)
	if err != nil {
		return nil, usageError("the URL " + err.Error())
	}
	return &place{client}, nil
}

func (p *place) close() { _ = p.client.Close() }

// state is what INFO tells, summed over the primaries.
type state struct {
	Version   string
	Policy    string // maxmemory-policy
	Keys      int    // in all databases
	Used, RSS uint64
	Evicted   uint64
	// Room is what there is to fill: up to maxmemory, or else to the machine's memory,
	// of which Redis does not know what others use.
	Room    uint64
	Limited bool // by maxmemory
}

func (p *place) state(ctx context.Context) (state, error) {
	var sum state
	err := p.each(ctx, func(node *redis.Client) error {
		info, err := node.InfoMap(ctx).Result()
		if err != nil {
			return err
		}
		sum.add(info)
		return nil
	})
	if err != nil {
		return state{}, fmt.Errorf("asking Redis for its memory: %w", err)
	}
	return sum, nil
}

// each calls fn for every primary, one at a time.
func (p *place) each(ctx context.Context, fn func(*redis.Client) error) error {
	switch c := p.client.(type) {
	case *redis.ClusterClient:
		var one sync.Mutex
		return c.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
			one.Lock()
			defer one.Unlock()
			return fn(node)
		})
	case *redis.Client:
		return fn(c)
	}
	return errors.New("neither a server nor a cluster")
}

func (s *state) add(info map[string]map[string]string) {
	memory := info["Memory"]
	number := func(text string) uint64 {
		n, _ := strconv.ParseUint(text, 10, 64)
		return n
	}
	used, rss := number(memory["used_memory"]), number(memory["used_memory_rss"])
	s.Version, s.Policy = info["Server"]["redis_version"], memory["maxmemory_policy"]
	s.Used += used
	s.RSS += rss
	s.Evicted += number(info["Stats"]["evicted_keys"])
	if limit := number(memory["maxmemory"]); limit > 0 {
		s.Limited = true
		s.Room += limit - min(limit, used)
	} else if system := number(memory["total_system_memory"]); system > 0 {
		s.Room += system - min(system, rss)
	}
	for _, database := range info["Keyspace"] { // keys=1,expires=0,avg_ttl=0
		keys, _, _ := strings.Cut(strings.TrimPrefix(database, "keys="), ",")
		s.Keys += int(number(keys))
	}
}

const (
	settleInterval = 100 * time.Millisecond // how often Redis takes its own RSS
	settleTries    = 30
	settleNoise    = 32 << 10
)

// settled returns the state once memory stays the same: buffers of closed
// connections are gone, tables are resized.
func (p *place) settled(ctx context.Context) (state, error) {
	var last state
	for try := range settleTries {
		select {
		case <-ctx.Done():
			return state{}, context.Cause(ctx)
		case <-time.After(settleInterval):
		}
		now, err := p.state(ctx)
		if err != nil {
			return state{}, err
		}
		if try > 1 && max(now.Used, last.Used)-min(now.Used, last.Used) <= settleNoise {
			return now, nil
		}
		last = now
	}
	return last, nil
}
