package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/devredis"
	"github.com/redsession/redsession/internal/redisurl"
)

// infoTimeout bounds asking a Redis for its memory.
const infoTimeout = time.Second

// place is the Redis behind the demo: one inside this program, which can be
// taken away, or another, which can be asked for its memory.
type place struct {
	name   string                // for people
	inside inside                // nil unless inside this program
	client redis.UniversalClient // nil if inside: miniredis knows no memory
}

// inside is a *devredis.Server.
type inside interface {
	SetAway(away bool)
	Close()
}

// embeddedRedis starts a Redis in this process, and returns its URL too.
func embeddedRedis() (*place, string, error) {
	dev, err := devredis.Start()
	if err != nil {
		return nil, "", err
	}
	slog.Info("started an embedded Redis, which ends with this program; set REDSESSION_URL to use another", "url", dev.URL())
	return &place{name: "a Redis inside this program (miniredis)", inside: dev}, dev.URL(), nil
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
	if p.inside != nil {
		p.inside.Close()
	}
	if p.client != nil {
		_ = p.client.Close()
	}
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
