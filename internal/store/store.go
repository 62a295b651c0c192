// Package store is the one door to Redis: every command and script that sessions need
// goes through it, and comes back as a typed result. At the door stand the question
// whether Redis is known to be away, the deadline for clients that do not honour one, the
// tracing hook, and the meaning of errors, once for all.
//
// The store knows keys and commands. What sessions mean is for those who call it.
package store

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/rediserr"
	"github.com/redsession/redsession/internal/topology"
)

// Config is what a Store is made of.
type Config struct {
	Client   redis.UniversalClient
	Topology *topology.Topology
	Keys     keyspace.Space
	// Timeout bounds what the store does without a caller: shared pipelines, and what is
	// tidied up in the background.
	Timeout time.Duration
	// Breaker tells when Redis is away; nil for an administrator, who waits as long as they
	// like.
	Breaker *breaker.Breaker
	// PoolCommands says that nobody but this package sees the commands that Client gets.
	PoolCommands bool
	// Apart has the parts of a plan go in round trips apart, also where one script could do
	// all of them.
	Apart bool
	// TidyFailed is told of the tidy part of a plan that failed where it is a round trip of its
	// own: Run does not return it. nil for nobody.
	TidyFailed func(error)
	// Trace is called before each exchange with Redis, unless it is nil, with a context and the
	// names of what is sent. The exchange has the context that it returns, and the function is
	// called after it. Loads share pipelines: each calls it for its own commands, and is told how
	// many shared one.
	Trace func(ctx context.Context, commands []string) (context.Context, func(shared int, err error))
}

// Store speaks to Redis. It is safe for concurrent use.
type Store struct {
	client     redis.UniversalClient
	topology   *topology.Topology
	keys       keyspace.Space
	timeout    time.Duration
	breaker    *breaker.Breaker
	trace      func(ctx context.Context, commands []string) (context.Context, func(shared int, err error))
	tidyFailed func(error)
	apart      bool
	unbounded  bool        // the client reads on when a context is over
	oneScript  atomic.Bool // a script may name keys of different slots
	unlearned  atomic.Bool // nobody could find out yet whether it may
	loads      loads

	mu         sync.Mutex // guards what follows
	closed     bool
	background sync.WaitGroup
}

// New returns a Store. Nothing is sent yet; until Check has seen that one script may
// name several keys, the parts of a plan are round trips apart.
func New(c Config) *Store {
	s := &Store{
		client: c.Client, topology: c.Topology, keys: c.Keys, timeout: c.Timeout,
		breaker: c.Breaker, trace: c.Trace, tidyFailed: c.TidyFailed, apart: c.Apart, unbounded: !c.Topology.HonoursContext(),
	}
	s.loads.init(s, c.PoolCommands && !c.Topology.Cluster()) // a cluster client keeps the slot in the command
	return s
}

// Apart tells whether the parts of a plan are round trips apart, so that an entry of an
// index may come before its record.
func (s *Store) Apart() bool { return !s.oneScript.Load() }

// Close waits for what is done in the background. The client stays open.
func (s *Store) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.background.Wait()
}

// Background runs fn within Timeout, with the values of ctx, and not after Close.
func (s *Store) Background(ctx context.Context, fn func(context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.background.Go(func() {
		ctx, cancel := context.WithTimeout(Patient(context.WithoutCancel(ctx), nil), s.timeout)
		defer cancel()
		fn(ctx)
	})
}

// Get reads what lies at id. Reading is no activity.
func (s *Store) Get(ctx context.Context, id string) (record.Value, error) {
	key := s.keys.Session(id)
	get := redis.NewStringCmd(ctx, "get", key)
	err := s.exchange(ctx, exchange{command: "GET", key: key, side: breaker.Read}, func(ctx context.Context) error {
		return foreignIsNoError(s.client.Process(ctx, get))
	})
	if err != nil {
		return record.Value{}, err
	}
	return stringValue(get.Val(), get.Err()), nil
}

// Expire makes what lies at id live for ttl from now on.
func (s *Store) Expire(ctx context.Context, id string, ttl time.Duration) error {
	key := s.keys.Session(id)
	return s.exchange(ctx, exchange{command: "EXPIRE", key: key, side: breaker.Write}, func(ctx context.Context) error {
		return s.client.Expire(ctx, key, ttl).Err()
	})
}

// Discard removes a record that nobody else knows.
func (s *Store) Discard(ctx context.Context, id string) error {
	key := s.keys.Session(id)
	return s.exchange(ctx, exchange{command: "DEL", key: key, side: breaker.Write}, func(ctx context.Context) error {
		return s.client.Del(ctx, key).Err()
	})
}

// foreignIsNoError drops the errors of a read that say what lies there, or that nothing
// does.
func foreignIsNoError(err error) error {
	if err == nil || rediserr.Absent(err) || rediserr.WrongType(err) {
		return nil
	}
	return err
}

// stringValue is what a GET that was answered found.
func stringValue(raw string, err error) record.Value {
	switch {
	case err == nil:
		return record.Present(raw)
	case rediserr.WrongType(err):
		return record.Foreign()
	}
	return record.Value{}
}
