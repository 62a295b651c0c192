package importer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/topology"
)

// scheme is how a source names its keys in Redis and what is in them.
type scheme interface {
	// id tells whether this can be the id of a session.
	id(id string) bool
	// decode returns the session of a value that Redis keeps for so long: 0 for ever.
	decode(id string, data []byte, ttl time.Duration) (redsession.LegacyRecord, []string, error)
	maxBytes() int
}

// place is where in Redis the keys are.
type place struct {
	client redis.UniversalClient
	prefix string
}

// page is how many keys one SCAN visits: Redis is busy for about 0.1 ms.
const page = 500

// records walks over all keys with the prefix, on every master of a cluster.
func (p place) records(ctx context.Context, s scheme) iter.Seq2[Read, error] {
	return func(yield func(Read, error) bool) {
		nodes, err := p.nodes(ctx)
		if err != nil {
			yield(nil, fmt.Errorf("finding the servers that have sessions: %w", err))
			return
		}
		for _, node := range nodes {
			for cursor, first := uint64(0), true; first || cursor != 0; first = false {
				var keys []string
				keys, cursor, err = node.Scan(ctx, cursor, keyspace.New(p.prefix).Pattern(), page).Result()
				if err != nil {
					yield(nil, fmt.Errorf("scanning for sessions: %w", err))
					return
				}
				if !p.read(ctx, s, keys, yield) {
					return
				}
			}
		}
	}
}

// ring is a client of several servers that do not know of each other, such as a
// redis.Ring. That of a cluster has no Len.
type ring interface {
	ForEachShard(ctx context.Context, fn func(ctx context.Context, node *redis.Client) error) error
	Len() int
}

// nodes returns the servers that have keys. New sessions cannot be kept on a ring, but
// old ones may lie there.
func (p place) nodes(ctx context.Context) (nodes []redis.Cmdable, err error) {
	if r, ok := p.client.(ring); ok {
		var mu sync.Mutex
		err = r.ForEachShard(ctx, func(_ context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			nodes = append(nodes, node)
			return nil
		})
		return nodes, err
	}
	t, err := topology.Of(p.client)
	if err != nil {
		return nil, fmt.Errorf("the client of the old sessions %w", err)
	}
	err = t.EachPrimary(ctx, func(_ context.Context, _ string, node redis.UniversalClient) error {
		nodes = append(nodes, node)
		return nil
	})
	return nodes, err
}

// together is how many values are fetched at once: so many times maxBytes are in memory
// here at most.
const together = 32

// read yields what keys hold. It fetches values only as they are asked for, and tells
// whether to go on.
func (p place) read(ctx context.Context, s scheme, keys []string, yield func(Read, error) bool) bool {
	slices.Sort(keys)
	var wanted []string
	for _, key := range slices.Compact(keys) { // SCAN may name one twice
		if s.id(strings.TrimPrefix(key, p.prefix)) {
			wanted = append(wanted, key)
		} else if !yield(skipping(BadID), nil) {
			return false
		}
	}
	for some := range slices.Chunk(wanted, together) {
		reads, err := p.fetch(ctx, s, some)
		if err != nil {
			yield(nil, fmt.Errorf("reading sessions: %w", err))
			return false
		}
		for _, r := range reads {
			if !yield(r, nil) {
				return false
			}
		}
	}
	return true
}

// fetch reads keys in one pipeline. GETRANGE, since GET would return half a
// gigabyte if that lies there.
func (p place) fetch(ctx context.Context, s scheme, keys []string) ([]Read, error) {
	values, ttls := make([]*redis.StringCmd, len(keys)), make([]*redis.DurationCmd, len(keys))
	_, err := p.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, key := range keys {
			values[i], ttls[i] = pipe.GetRange(ctx, key, 0, int64(s.maxBytes())), pipe.PTTL(ctx, key)
		}
		return nil
	})
	if err != nil && !isReply(err) {
		return nil, err
	}
	reads := make([]Read, len(keys))
	for i, key := range keys {
		// Anything but a key of another type concerns all keys, such as LOADING.
		for _, err := range []error{values[i].Err(), ttls[i].Err()} {
			if err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") {
				return nil, err
			}
		}
		reads[i] = p.decoding(s, key[len(p.prefix):], values[i], ttls[i])
	}
	return reads, nil
}

// isReply tells whether Redis answered.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

func (p place) decoding(s scheme, id string, value *redis.StringCmd, ttl *redis.DurationCmd) Read {
	return func() (rec redsession.LegacyRecord, notes []string, err error) {
		data, err := value.Bytes()
		switch {
		case err != nil:
			return rec, nil, skip(Foreign)
		case len(data) > s.maxBytes():
			return rec, nil, skip(Oversized)
		case len(data) == 0, ttl.Val() == -2, ttl.Val() == 0: // GETRANGE has no other word for "none"
			return rec, nil, skip(Vanished)
		case ours(data):
			return rec, nil, skip(Foreign)
		}
		return s.decode(id, data, max(0, ttl.Val()))
	}
}

// ours tells what redsession itself writes, under the same prefix perhaps.
func ours(data []byte) bool {
	return record.PeekHead(string(data[:min(len(data), record.HeadLen)])).Kind != 0
}

// adopt completes legacy, whose sessions lie here.
func (p place) adopt(s scheme, legacy redsession.Legacy) redsession.Legacy {
	legacy.Load = func(ctx context.Context, id string) (*redsession.LegacyRecord, error) { return p.load(ctx, s, id) }
	legacy.Delete = func(ctx context.Context, id string) error { return p.remove(ctx, s, id) }
	return legacy
}

// load reads one session.
func (p place) load(ctx context.Context, s scheme, id string) (*redsession.LegacyRecord, error) {
	if !s.id(id) {
		return nil, nil
	}
	reads, err := p.fetch(ctx, s, []string{p.prefix + id})
	if err != nil {
		return nil, fmt.Errorf("reading a session: %w", err)
	}
	rec, _, err := reads[0]()
	return live(rec, err)
}

// remove deletes one session.
func (p place) remove(ctx context.Context, s scheme, id string) error {
	if !s.id(id) {
		return nil
	}
	if err := p.client.Del(ctx, p.prefix+id).Err(); err != nil {
		return fmt.Errorf("removing a session: %w", err)
	}
	return nil
}

// ends returns the moment when a key expires; lifetime stands in for none.
func ends(ttl, lifetime time.Duration) time.Time {
	if ttl == 0 {
		ttl = lifetime
	}
	return time.Now().Add(ttl)
}

// estimate returns the number of keys in the database, ours or not.
func (p place) estimate(ctx context.Context) (int, error) {
	nodes, err := p.nodes(ctx)
	sum := 0
	for _, node := range nodes {
		n, dbErr := node.DBSize(ctx).Result()
		err = errors.Join(err, dbErr)
		sum += int(n)
	}
	return sum, err
}
