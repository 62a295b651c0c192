package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/batch"
	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/rediserr"
)

const (
	// maxInFlight is how many pipelines of loads may be under way to one primary. How many
	// are is a matter of what a round trip takes: see internal/batch.
	maxInFlight = 4
	// maxShared bounds how much one pipeline asks for: Redis answers others in between,
	// and a record may be large.
	maxShared = 64
)

// loads lets concurrent loads share pipelines: one group for each primary, so that one
// that is slow holds up its own sessions alone.
type loads struct {
	store  *Store
	pool   bool     // commands are used again, as nobody else gets to see them
	groups sync.Map // of *batch.Group[*loading], by the primary's address
	spare  sync.Pool
	pipes  sync.Pool // of redis.Pipeliner
}

func (l *loads) init(s *Store, pool bool) { l.store, l.pool = s, pool }

func (l *loads) of(primary string) *batch.Group[*loading] {
	if g, ok := l.groups.Load(primary); ok {
		return g.(*batch.Group[*loading])
	}
	g, _ := l.groups.LoadOrStore(primary, batch.New(maxInFlight, maxShared, l.run))
	return g.(*batch.Group[*loading])
}

// loading is the GET and the EXPIRE of one load.
type loading struct {
	key     string
	seconds int64
	get     *redis.StringCmd
	expire  *redis.BoolCmd
	both    [2]redis.Cmder
	err     error // of the exchange with Redis
	shared  int   // how many went in the same pipeline
}

var loadNames = []string{"GET", "EXPIRE"}

func (l *loads) newLoading(key string, ttl time.Duration) *loading {
	if !l.pool {
		ctx := context.Background()
		get, expire := redis.NewStringCmd(ctx, "get", key), redis.NewBoolCmd(ctx, "expire", key, seconds(ttl))
		return &loading{key: key, seconds: seconds(ttl), get: get, expire: expire, both: [2]redis.Cmder{get, expire}}
	}
	op, ok := l.spare.Get().(*loading)
	if !ok {
		op = new(loading)
		op.get = redis.NewStringCmd(context.Background(), "get", &op.key)
		op.expire = redis.NewBoolCmd(context.Background(), "expire", &op.key, &op.seconds)
		op.both = [2]redis.Cmder{op.get, op.expire}
	}
	op.key, op.seconds, op.err = key, seconds(ttl), nil
	return op
}

// Load reads what lies under key, a session's, and makes it live for ttl from now on, in
// one round trip, which concurrent loads share: so it runs under no caller's context, and ends by
// deadline. refused is Redis's refusal to prolong, as of a read-only replica or a full
// memory.
func (s *Store) Load(ctx context.Context, deadline time.Time, key string, ttl time.Duration) (v record.Value, refused, err error) {
	primary := ""
	e := exchange{command: "GET", key: key, side: breaker.Read}
	if s.breaker != nil {
		if err := s.breaker.Allow(ctx, key, breaker.Read); err != nil {
			return v, nil, s.newError(e, err)
		}
		primary = s.topology.Primary(ctx, key)
	}
	op := s.loads.newLoading(key, ttl)
	if err := s.loads.do(ctx, primary, deadline, op); err != nil {
		return v, nil, s.wrap(e, err)
	}
	v, refused = stringValue(op.get.Val(), op.get.Err()), op.expire.Err()
	if refused != nil {
		refused = s.wrap(exchange{command: "EXPIRE", key: key, side: breaker.Write}, refused)
	} else if s.loads.pool && !v.Absent() {
		op.get.SetVal("")
		op.get.SetErr(nil)
		s.loads.spare.Put(op)
	}
	return v, refused, nil
}

// do performs op in a pipeline that it shares. After an error op must not be looked at.
func (l *loads) do(ctx context.Context, primary string, deadline time.Time, op *loading) (err error) {
	shared := 1
	if l.store.trace != nil {
		var done func(int, error)
		ctx, done = l.store.trace(ctx, loadNames)
		defer func() { done(shared, err) }()
	}
	if err := l.of(primary).Do(ctx, deadline, op); err != nil {
		return err
	}
	shared = op.shared
	return op.err
}

// run performs ops in one pipeline.
func (l *loads) run(deadline time.Time, ops []*loading) {
	s := l.store
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	pipe, ok := l.pipes.Get().(redis.Pipeliner)
	if !ok || !l.pool {
		pipe = s.client.Pipeline()
	}
	for _, op := range ops {
		op.shared = len(ops)
		_ = pipe.BatchProcess(ctx, op.both[:]...)
	}
	sent := time.Now()
	err := s.execute(ctx, pipe)
	if unsettled := s.unbounded && ctx.Err() != nil; unsettled || errors.Is(err, rediserr.ErrNotSent) {
		for _, op := range ops { // the commands themselves tell nothing, or not yet
			op.err = err
		}
	} else {
		err = nil
		for _, op := range ops {
			if op.err = foreignIsNoError(op.get.Err()); op.err != nil {
				err = op.err
			}
		}
		if l.pool {
			l.pipes.Put(pipe) // executed, it is empty again
		}
	}
	s.report(ctx, exchange{command: "GET", key: ops[0].key, side: breaker.Read}, sent, err)
}

// execute runs pipe, and returns when ctx is over even where the client does not.
func (s *Store) execute(ctx context.Context, pipe redis.Pipeliner) error {
	if !s.unbounded {
		return execute(ctx, pipe)
	}
	return s.topology.Bounded(ctx, func(ctx context.Context) error { return execute(ctx, pipe) })
}

// execute runs pipe. Each command has its own error then; but for ErrNotSent: no
// connection could be had, for a wrong password for example, which go-redis does not
// tell the commands.
func execute(ctx context.Context, pipe redis.Pipeliner) error {
	cmds, err := pipe.Exec(ctx)
	if err == nil {
		return nil
	}
	for _, cmd := range cmds {
		if cmd.Err() != nil {
			return cmds[0].Err()
		}
	}
	return fmt.Errorf("%w: %w", rediserr.ErrNotSent, err)
}
