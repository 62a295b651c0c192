package measure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/benchmarks/internal/peer"
)

// Memory is what one session takes in Redis, key and TTL included.
type Memory struct {
	Subject  string  `json:"subject"`
	Sessions int     `json:"sessions"`
	Bytes    float64 `json:"bytes_per_session"`
	Ratio    float64 `json:"ratio_to_redsession"`
}

// MemoryPlan says how many sessions to store, and how often.
type MemoryPlan struct {
	Sessions, Rounds int
}

// store is one way to fill Redis.
type store struct {
	name    string
	peer    peer.Peer
	handler func(*peer.Site) http.Handler
	rounds  []float64
}

// Memories fills the Redis at addr, which it empties first, through each peer's own handlers. All sessions hold the same
// content. redsession has a second line for logged-in sessions of as many users, for which it keeps an index by user as well.
func Memories(addr string, plan MemoryPlan, progress func(string)) ([]Memory, error) {
	admin := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 1})
	defer admin.Close()
	fill := func(site *peer.Site) http.Handler { return site.Fill }
	login := func(site *peer.Site) http.Handler { return site.Login }
	var stores []*store
	for _, p := range peer.All() {
		stores = append(stores, &store{name: p.Name, peer: p, handler: fill})
		if p.Name == peer.Redsession.Name {
			stores = append(stores, &store{name: p.Name + ", logged in", peer: p, handler: login})
		}
	}
	for round := range plan.Rounds {
		progress(fmt.Sprintf("%d sessions each, round %d", plan.Sessions, round+1))
		for _, s := range stores {
			bytes, err := s.fill(admin, plan.Sessions)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			s.rounds = append(s.rounds, bytes)
		}
	}
	var memories []Memory
	for _, s := range stores {
		m := Memory{Subject: s.name, Sessions: plan.Sessions, Bytes: medianOf(s.rounds, func(b float64) float64 { return b })}
		m.Ratio = 1
		if len(memories) > 0 {
			m.Ratio = m.Bytes / memories[0].Bytes
		}
		memories = append(memories, m)
	}
	return memories, admin.FlushAll(context.Background()).Err()
}

// fill returns the growth of Redis for each session. The peer's connections are closed before Redis is asked, because
// their buffers count.
func (s *store) fill(admin *redis.Client, sessions int) (float64, error) {
	const workers = 16
	if err := admin.FlushAll(context.Background()).Err(); err != nil {
		return 0, err
	}
	before, clients, err := usedMemory(admin)
	if err != nil {
		return 0, err
	}
	site, err := s.peer.Open(peer.Settings{Addr: admin.Options().Addr})
	if err != nil {
		return 0, err
	}
	// The fill is not timed: let it spend less on collections.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	err = put(s.handler(site), workers, sessions)
	if err := errors.Join(err, site.Close()); err != nil {
		return 0, err
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		after, left, err := usedMemory(admin)
		switch {
		case err != nil:
			return 0, err
		case left <= clients:
			return float64(after-before) / float64(sessions), nil
		case time.Now().After(end):
			return 0, fmt.Errorf("%d connections stay open", left-clients)
		}
	}
}

const tries = 50

func put(h http.Handler, workers, sessions int) error {
	var jobs []func() error
	for i := range workers {
		n := 0
		jobs = append(jobs, func() error {
			n++
			c := newClient(fmt.Sprintf("ada-%d-%d", i, n))
			// A machine that is busy with other things makes a timeout now and then; what counts is what lies in Redis.
			for try := 0; ; try++ {
				err := c.send(h)
				if err == nil || try == tries {
					return err
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	return Times(jobs, sessions)
}

var (
	used      = regexp.MustCompile(`used_memory:(\d+)`)
	connected = regexp.MustCompile(`connected_clients:(\d+)`)
)

func usedMemory(admin *redis.Client) (bytes, clients int, err error) {
	info, err := admin.Info(context.Background(), "memory", "clients").Result()
	if err != nil {
		return 0, 0, err
	}
	u, c := used.FindStringSubmatch(info), connected.FindStringSubmatch(info)
	if u == nil || c == nil {
		return 0, 0, errors.New("INFO has no used_memory or connected_clients")
	}
	bytes, err = strconv.Atoi(u[1])
	if err != nil {
		return 0, 0, err
	}
	clients, err = strconv.Atoi(c[1])
	return bytes, clients, err
}
