package capacity

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redisurl"
)

const (
	// workers each encode a pipeline while others are on their way: with more,
	// Redis is no faster.
	workers = 4
	// A pipeline has up to 1500 commands, and not more bytes than this, so that the
	// program's own memory stays small whatever a session holds.
	sessionsPerPipeline = 500
	bytesPerPipeline    = 4 << 20
	// patience is for one pipeline; Redis may stop for seconds to fork.
	patience = 30 * time.Second
)

// filler writes the sessions of made to the Redis at url, each once.
type filler struct {
	url      string
	made     *source
	progress *progress
	next     atomic.Int64 // the first session that no worker has taken
}

func (f *filler) written() int { return int(f.next.Load()) }

// fillTo writes until there are n sessions.
func (f *filler) fillTo(ctx context.Context, n int) error {
	batch := min(sessionsPerPipeline, max(1, bytesPerPipeline/f.made.recordBytes()))
	return f.spread(ctx, "filling to", n, batch, &f.next, f.send)
}

// clear deletes what was written, or may have been.
func (f *filler) clear(ctx context.Context) error {
	var next atomic.Int64
	if err := f.spread(ctx, "deleting", f.written(), sessionsPerPipeline, &next, f.remove); err != nil {
		return fmt.Errorf("deleting what was written under %s: %w; it expires within %s", f.made.keys.Prefix(), err, life)
	}
	return nil
}

// spread lets workers do the sessions from next to n, a pipeline each time.
func (f *filler) spread(ctx context.Context, what string, n, batch int, next *atomic.Int64, do func(ctx context.Context, pipe redis.Pipeliner, from, to int) error) error {
	// The connections go before memory is measured, with their buffers.
	client, err := redisurl.Client(f.url, patience)
	if err != nil {
		return err
	}
	defer client.Close()
	f.progress.begin(what, int(next.Load()), n)
	defer f.progress.end()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			pipe := client.Pipeline()
			for ctx.Err() == nil {
				from, to, ok := take(next, batch, n)
				if !ok {
					return
				}
				if err := do(ctx, pipe, from, to); err != nil {
					fail(err)
					return
				}
				f.progress.add(to - from)
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// take moves next on by up to batch, but not beyond n.
func take(next *atomic.Int64, batch, n int) (from, to int, ok bool) {
	for {
		old := next.Load()
		from, to = int(old), min(n, int(old)+batch)
		if from >= n {
			return 0, 0, false
		}
		if next.CompareAndSwap(old, int64(to)) {
			return from, to, true
		}
	}
}

// send writes sessions as a login does: the record, then the entry in the index.
func (f *filler) send(ctx context.Context, pipe redis.Pipeliner, from, to int) error {
	now := time.Now()
	for i := from; i < to; i++ {
		e, err := f.made.entry(i, now)
		if err != nil {
			return err
		}
		pipe.SetEx(ctx, e.key, e.raw, life)
		if e.index != "" {
			pipe.ZAdd(ctx, e.index, redis.Z{Score: float64(e.login), Member: e.id})
			pipe.Expire(ctx, e.index, life)
		}
	}
	return flush(ctx, pipe)
}

func (f *filler) remove(ctx context.Context, pipe redis.Pipeliner, from, to int) error {
	for i := from; i < to; i++ {
		e := f.made.place(i)
		pipe.Del(ctx, e.key)
		if e.index != "" {
			pipe.Del(ctx, e.index)
		}
	}
	return flush(ctx, pipe)
}

func flush(ctx context.Context, pipe redis.Pipeliner) error {
	_, err := pipe.Exec(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	if redis.HasErrorPrefix(err, "OOM") {
		return errors.New("it is full: its maxmemory is reached")
	}
	return err
}
