package redsession

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/batch"
)

const (
	// maxFlights is how many pipelines of loads may be under way to one primary.
	// One alone halves the rate where the network takes a millisecond; on loopback
	// two to four are best, and with eight fewer callers share one.
	maxFlights = 4
	// maxTogether bounds how much one pipeline asks for: Redis answers others
	// in between, and a record may have MaxBytes.
	maxTogether = 64
)

// loads lets concurrent loads share pipelines: one group for each primary, so
// that one that is slow holds up its own sessions alone.
type loads struct {
	run    func(context.Context, []*loading)
	groups sync.Map // of *batch.Group[*loading], by the primary's address
	spare  sync.Pool
}

func (l *loads) of(primary string) *batch.Group[*loading] {
	if g, ok := l.groups.Load(primary); ok {
		return g.(*batch.Group[*loading])
	}
	g, _ := l.groups.LoadOrStore(primary, batch.New(maxFlights, maxTogether, l.run))
	return g.(*batch.Group[*loading])
}

// loading is the GET and the EXPIRE of one load.
type loading struct {
	key     string
	seconds int64
	get     *redis.StringCmd
	expire  *redis.BoolCmd
	err     error // of the exchange with Redis
}

// newLoading returns the commands of a load. Those for a client of our own are
// used again, as nobody else gets to see them.
func (st *store) newLoading(ctx context.Context, key string, ttl time.Duration) *loading {
	seconds := int64(ttl / time.Second)
	if !st.reuse {
		return &loading{
			key: key, seconds: seconds,
			get: redis.NewStringCmd(ctx, "get", key), expire: redis.NewBoolCmd(ctx, "expire", key, seconds),
		}
	}
	op, ok := st.loads.spare.Get().(*loading)
	if !ok {
		op = new(loading)
		op.get = redis.NewStringCmd(context.Background(), "get", &op.key)
		op.expire = redis.NewBoolCmd(context.Background(), "expire", &op.key, &op.seconds)
	}
	op.key, op.seconds, op.err = key, seconds, nil
	return op
}

// load reads the value under key ("" if there is none) and makes it live for
// ttl from now on, in one round trip, which concurrent loads share. touchErr is
// Redis's refusal to prolong, as of a read-only replica or a full memory.
func (st *store) load(ctx context.Context, key string, ttl time.Duration) (raw string, touchErr, err error) {
	primary := ""
	if st.guard != nil {
		if err := st.guard.enter(ctx, key); err != nil {
			return "", nil, err
		}
		primary = st.guard.primaryOf(ctx, key)
	}
	op := st.newLoading(ctx, key, ttl)
	if err := st.loads.of(primary).Do(ctx, op); err != nil {
		return "", nil, err
	}
	if raw, err = op.get.Val(), op.err; err != nil {
		raw, err = absent(err)
		return raw, nil, err
	}
	touchErr = op.expire.Err()
	if st.reuse && touchErr == nil {
		op.get.SetVal("")
		st.loads.spare.Put(op)
	}
	if raw == "" {
		raw = garbage
	}
	return raw, touchErr, nil
}

// loadTogether performs ops in one pipeline.
func (st *store) loadTogether(ctx context.Context, ops []*loading) {
	pipe, ok := st.pipes.Get().(redis.Pipeliner)
	if !ok {
		pipe = st.client.Pipeline()
	}
	for _, op := range ops {
		_ = pipe.BatchProcess(ctx, op.get, op.expire)
	}
	var err error
	if st.heedless {
		err = inTime(ctx, func() error { return execute(ctx, pipe) })()
	} else {
		err = execute(ctx, pipe)
	}
	if unsettled := st.heedless && ctx.Err() != nil; unsettled || errors.Is(err, errNotSent) {
		for _, op := range ops { // the commands themselves tell nothing, or not yet
			op.err = err
		}
	} else {
		err = nil
		for _, op := range ops {
			if op.err = op.get.Err(); outage(op.err) {
				err = op.err
			}
		}
		st.pipes.Put(pipe) // executed, it is empty again
	}
	if st.guard != nil {
		st.guard.leave(ctx, ops[0].key, err)
	}
}

// execute runs pipe. Each command has its own error then; but for errNotSent:
// no connection could be had, for a wrong password for example, which go-redis
// does not tell the commands.
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
	return fmt.Errorf("%w: %w", errNotSent, err)
}

// errNotSent is that no connection could be had.
var errNotSent = errors.New("no connection")
