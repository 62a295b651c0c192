package redistest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// ask puts a question to the running servers in turn, until one answers.
func ask(servers []*Server, question func(context.Context, *redis.Client) (string, error)) (string, error) {
	err := errors.New("no server runs")
	for _, s := range servers {
		if !s.running() {
			continue
		}
		var answer string
		if answer, err = askOne(s, question); err == nil {
			return answer, nil
		}
	}
	return "", err
}

func askOne(s *Server, question func(context.Context, *redis.Client) (string, error)) (string, error) {
	// A paused server among them must not hold up the question.
	const enough = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), enough)
	defer cancel()
	client := redis.NewClient(&redis.Options{Addr: s.Addr, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	return question(ctx, client)
}

func serverAt(servers []*Server, addr string) (*Server, error) {
	for _, s := range servers {
		if s.Addr == addr {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%s is none of the servers that were started", addr)
}
