package store

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/record"
)

// Page is how many sessions one pipeline reads, or ends.
const Page = 128

// scanCount is how many keys one SCAN visits: among a million, Redis is busy for about
// 1.3 ms.
const scanCount = 500

// Indexed is one entry of an index.
type Indexed struct {
	ID    string // of no certain form: whoever can write to Redis can put anything there
	Score int64  // of the login, Unix microseconds
}

// Index returns at most n entries of an index, the oldest login first, leaving out
// the first skip. Fewer than n are the last. The mark of a revocation is no entry; where it
// lies among those left out, the last one of them comes again.
func (s *Store) Index(ctx context.Context, of Index, skip, n int) ([]Indexed, error) {
	key := of.key(s.keys)
	list := redis.NewZSliceCmd(ctx, "zrange", key, skip, skip+n, "withscores") // one may be the mark
	err := s.exchange(ctx, exchange{command: "ZRANGE", key: key, side: breaker.Read}, func(ctx context.Context) error {
		return foreignIsNoError(s.client.Process(ctx, list))
	})
	if err != nil {
		return nil, err
	}
	return indexed(list, n), nil
}

// InIndexes tells whether key is that of one of these indexes.
func (s *Store) InIndexes(key string, in []Index) bool {
	return slices.ContainsFunc(in, func(i Index) bool { return i.key(s.keys) == key })
}

func indexed(list *redis.ZSliceCmd, n int) []Indexed {
	var entries []Indexed
	for _, z := range list.Val() {
		if id, _ := z.Member.(string); id != markMember && len(entries) < n {
			entries = append(entries, Indexed{id, int64(z.Score)})
		}
	}
	return entries
}

// Entry is what lies at an id and for how much longer.
type Entry struct {
	ID string
	record.Value
	TTL time.Duration
}

// Entries reads what lies at ids, which is no activity, in one round trip to each node.
// Callers pass a Page at most.
func (s *Store) Entries(ctx context.Context, ids []string) ([]Entry, error) {
	gets, ttls := make([]*redis.StringCmd, len(ids)), make([]*redis.DurationCmd, len(ids))
	err := s.pipeline(ctx, "GET", breaker.Read, ids, func(pipe redis.Pipeliner, i int, key string) redis.Cmder {
		gets[i], ttls[i] = pipe.Get(ctx, key), pipe.PTTL(ctx, key)
		return gets[i]
	})
	if err != nil {
		return nil, err
	}
	found := make([]Entry, len(ids))
	for i, id := range ids {
		found[i] = Entry{id, stringValue(gets[i].Result()), max(0, ttls[i].Val())}
	}
	return found, nil
}

// Device reads the key of a device, and what lies at ids, none of which it prolongs, in one
// round trip to each node.
func (s *Store) Device(ctx context.Context, identifier string, ids []string) (device record.Value, sessions []Entry, err error) {
	binding := s.keys.Binding(identifier)
	var key *redis.StringCmd
	gets, ttls := make([]*redis.StringCmd, len(ids)), make([]*redis.DurationCmd, len(ids))
	err = s.exchangePipeline(ctx, exchange{command: "GET", key: binding, side: breaker.Read}, func(e *exchange) {
		key = e.pipe.Get(ctx, binding)
		e.parts = append(e.parts, part{binding, key})
		for i, id := range ids {
			of := s.keys.Session(id)
			gets[i], ttls[i] = e.pipe.Get(ctx, of), e.pipe.PTTL(ctx, of)
			e.parts = append(e.parts, part{of, gets[i]})
		}
	})
	if err != nil {
		return device, nil, err
	}
	sessions = make([]Entry, len(ids))
	for i, id := range ids {
		sessions[i] = Entry{id, stringValue(gets[i].Result()), max(0, ttls[i].Val())}
	}
	return stringValue(key.Result()), sessions, nil
}

// Heads reads the first bytes of what lies at ids, which is no activity.
func (s *Store) Heads(ctx context.Context, ids []string) ([]record.Head, error) {
	cmds := make([]*redis.StringCmd, len(ids))
	err := s.pipeline(ctx, "GETRANGE", breaker.Read, ids, func(pipe redis.Pipeliner, i int, key string) redis.Cmder {
		cmds[i] = pipe.GetRange(ctx, key, 0, int64(record.HeadLen-1))
		return cmds[i]
	})
	if err != nil {
		return nil, err
	}
	heads := make([]record.Head, len(ids))
	for i, cmd := range cmds {
		heads[i] = record.PeekHead(cmd.Val())
	}
	return heads, nil
}

// pipeline sends what add makes of the keys of ids in one round trip to each node. Its
// error is the first that any of the commands that add returned came back with.
func (s *Store) pipeline(ctx context.Context, command string, side breaker.Side, ids []string, add func(pipe redis.Pipeliner, i int, key string) redis.Cmder) error {
	if len(ids) == 0 {
		return nil
	}
	e := exchange{command: command, key: s.keys.Session(ids[0]), side: side}
	return s.exchangePipeline(ctx, e, func(e *exchange) {
		for i, id := range ids {
			key := s.keys.Session(id)
			e.parts = append(e.parts, part{key, add(e.pipe, i, key)})
		}
	})
}

// Scan calls fn with the ids of all records and tombstones, page by page, until it
// returns an error. An id may come twice if Redis resizes its table meanwhile, or if a
// wait for Redis had it begin again.
func (s *Store) Scan(ctx context.Context, fn func(ids []string) error) error {
	return s.topology.EachPrimary(ctx, func(ctx context.Context, addr string, node redis.UniversalClient) error {
		e := exchange{command: "SCAN", side: breaker.Read, node: addr != ""}
		for cursor := uint64(0); ; {
			var keys []string
			err := s.exchange(ctx, e, func(ctx context.Context) (err error) {
				keys, cursor, err = node.Scan(ctx, cursor, s.keys.SessionPattern(), scanCount).Result()
				return err
			})
			if err != nil {
				return err
			}
			ids := keys[:0]
			for _, key := range keys {
				if id, ok := s.keys.SessionID(key); ok {
					ids = append(ids, id)
				}
			}
			if err := fn(ids); err != nil {
				return err
			}
			if cursor == 0 {
				return nil
			}
		}
	})
}
