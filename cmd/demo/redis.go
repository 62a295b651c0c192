package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redisurl"
)

// infoTimeout bounds asking a Redis for its memory.
const infoTimeout = time.Second

// place is the Redis behind the demo: one inside this program, which can be
// taken away, or another, which can be asked for its memory.
type place struct {
	name   string                // for people
	url    string                // "" unless inside this program
	mini   *miniredis.Miniredis  // nil unless inside this program
	client redis.UniversalClient // nil if inside: miniredis knows no memory
}

// embeddedRedis starts a Redis in this process, on a free port of the loopback
// interface.
func embeddedRedis() (*place, error) {
	mr := miniredis.NewMiniRedis()
	mr.ClockTTL(true) // or no key would ever expire: it is made for tests
	if err := mr.Start(); err != nil {
		return nil, fmt.Errorf("starting the embedded Redis: %w", err)
	}
	slog.Info("started an embedded Redis, which ends with this program; set REDSESSION_URL to use another", "url", "redis://"+mr.Addr())
	return &place{name: "a Redis inside this program (miniredis)", url: "redis://" + mr.Addr(), mini: mr}, nil
}

// otherRedis returns the Redis that url names.
func otherRedis(url string) (*place, error) {
	client, err := redisurl.Client(url, infoTimeout)
	if err != nil {
		return nil, fmt.Errorf("REDSESSION_URL %w", err)
	}
	return &place{name: "the Redis that REDSESSION_URL names", client: client}, nil
}

func (p *place) close() {
	if p.mini != nil {
		p.mini.Close()
	}
	if p.client != nil {
		_ = p.client.Close()
	}
}

// setAway makes an embedded Redis refuse every command, as a real one does
// while it starts, or answer again. What it holds stays.
func (p *place) setAway(away bool) {
	if away {
		p.mini.SetError("LOADING Redis is loading the dataset in memory")
		return
	}
	p.mini.SetError("")
}

// memory returns how many bytes Redis uses, if it can tell.
func (p *place) memory(ctx context.Context) (int64, bool) {
	if p.client == nil {
		return 0, false
	}
	info, err := p.client.Info(ctx, "memory").Result()
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(info) {
		if digits, ok := strings.CutPrefix(line, "used_memory:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
