package capacity

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
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
	nodes, err := server.Masters(ctx, p.client)
	if err != nil {
		return state{}, fmt.Errorf("finding the primaries: %w", err)
	}
	var sum state
	for _, n := range nodes {
		info, err := server.ReadInfo(ctx, n.Client)
		if err != nil {
			return state{}, fmt.Errorf("asking Redis for its memory: %w", err)
		}
		sum.add(info)
	}
	return sum, nil
}

func (s *state) add(info server.Info) {
	used, rss := uint64(info.Int("used_memory")), uint64(info.Int("used_memory_rss"))
	s.Version, s.Policy = info["redis_version"], info["maxmemory_policy"]
	s.Used += used
	s.RSS += rss
	s.Evicted += uint64(info.Int("evicted_keys"))
	if limit := uint64(info.Int("maxmemory")); limit > 0 {
		s.Limited = true
		s.Room += limit - min(limit, used)
	} else if system := uint64(info.SystemMemory()); system > 0 {
		s.Room += system - min(system, rss)
	}
	for name := range info {
		if database.MatchString(name) {
			s.Keys += int(info.Part(name, "keys"))
		}
	}
}

// database is the name of a field such as db0:keys=1,expires=0,avg_ttl=0.
var database = regexp.MustCompile(`^db\d+$`)

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
