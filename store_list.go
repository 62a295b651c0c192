package redsession

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/record"
)

// userKey is the sorted set of the ids of user's sessions. The user's name is
// hashed, as it may be an address or hold any character.
func (st *store) userKey(user string) string {
	sum := sha256.Sum256([]byte(user))
	return st.prefix + "user:" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// enlistScript adds ARGV[2] with the score ARGV[1] to the index, keeps the
// index for ARGV[3] seconds at least, and returns the oldest ids beyond the
// limit ARGV[4], if there is one, but never the new one. The first of what it
// returns is how long the index is. Half-open logins, and
// new ids that a rotation has not led to yet, have negative scores: they neither
// count nor are returned. Nor does ARGV[5], which the new one replaces.
var enlistScript = newScript(`
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
local limit, excess = tonumber(ARGV[4]), {redis.call('ZCARD', KEYS[1])}
if limit == 0 then return excess end
local over = redis.call('ZCOUNT', KEYS[1], 0, '+inf') - limit
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[5]) or -1) >= 0 then over = over - 1 end
if over <= 0 then return excess end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], 0, '+inf', 'LIMIT', 0, over + 2)) do
  if id ~= ARGV[2] and id ~= ARGV[5] and #excess <= over then excess[#excess + 1] = id end
end
return excess`)

// enlist enters id in user's index, where it is going to replace old ("" for
// none), and returns how long the index is and the ids that are too many.
func (st *store) enlist(ctx context.Context, user, id, old string, score int64, life time.Duration, limit int) (int64, []string, error) {
	for try := 0; ; try++ {
		reply, err := st.run(ctx, enlistScript, st.userKey(user), score, id, int64(life/time.Second), limit, old)
		if err == nil {
			list, _ := reply.([]any)
			var length int64
			ids := make([]string, 0, len(list))
			for _, v := range list {
				switch v := v.(type) {
				case string:
					ids = append(ids, v)
				case int64:
					length = v
				}
			}
			return length, ids, nil
		}
		if isReply(err) || try == 2 || pause(ctx, try) != nil { // doing it twice does no harm
			return 0, nil, err
		}
	}
}

// unlist removes ids from user's index.
func (st *store) unlist(ctx context.Context, user string, ids ...string) error {
	members := make([]any, len(ids))
	for i, id := range ids {
		members[i] = id
	}
	return st.ask(ctx, st.userKey(user), func() error { return st.client.ZRem(ctx, st.userKey(user), members...).Err() })
}

// relistScript gives the entry ARGV[2], if it is there, the score ARGV[1], and takes
// out ARGV[3], in whose place it is. In between a login would see both.
var relistScript = newScript(`
redis.call('ZADD', KEYS[1], 'XX', ARGV[1], ARGV[2])
return redis.call('ZREM', KEYS[1], ARGV[3])`)

// relist puts id, which has been in user's index, in the place of old.
func (st *store) relist(ctx context.Context, user, old, id string, score int64) error {
	_, err := st.run(ctx, relistScript, st.userKey(user), score, id, old)
	return err
}

// listed returns the ids in user's index, the oldest login first, and the first
// most of them (0 for all).
func (st *store) listed(ctx context.Context, user string, most int) ([]string, error) {
	list := redis.NewStringSliceCmd(ctx, "zrange", st.userKey(user), 0, most-1)
	if err := st.ask(ctx, st.userKey(user), func() error { return st.client.Process(ctx, list) }); err != nil {
		return nil, err
	}
	return list.Val(), nil
}

// ranked is listed with the scores.
func (st *store) ranked(ctx context.Context, user string, most int) (ids []string, scores []int64, err error) {
	list := redis.NewZSliceCmd(ctx, "zrange", st.userKey(user), 0, most-1, "withscores")
	if err := st.ask(ctx, st.userKey(user), func() error { return st.client.Process(ctx, list) }); err != nil {
		return nil, nil, err
	}
	for _, z := range list.Val() {
		id, _ := z.Member.(string)
		ids, scores = append(ids, id), append(scores, int64(z.Score))
	}
	return ids, scores, nil
}

// exec runs pipe, each command of which then has its own error.
func (st *store) exec(ctx context.Context, pipe redis.Pipeliner) error {
	run := func() error {
		err := execute(ctx, pipe)
		if errors.Is(err, redis.Nil) || isReply(err) && !errors.Is(err, errNotSent) {
			return nil
		}
		return err
	}
	if st.heedless && ctx.Done() != nil {
		run = inTime(ctx, run)
	}
	return run()
}

// entry is what lies at an id and for how much longer.
type entry struct {
	id, raw string
	ttl     time.Duration
}

// page is how many sessions one pipeline reads.
const page = 500

// entries reads ids, a page in one round trip (one for each node of a cluster).
// What does not exist has no raw.
func (st *store) entries(ctx context.Context, ids []string) ([]entry, error) {
	var all []entry
	for ids := range slices.Chunk(ids, page) {
		found, err := st.entriesOf(ctx, ids)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (st *store) entriesOf(ctx context.Context, ids []string) ([]entry, error) {
	gets, ttls := make([]*redis.StringCmd, len(ids)), make([]*redis.DurationCmd, len(ids))
	pipe := st.client.Pipeline()
	for i, id := range ids {
		gets[i], ttls[i] = pipe.Get(ctx, st.key(id)), pipe.PTTL(ctx, st.key(id))
	}
	if err := st.exec(ctx, pipe); err != nil {
		return nil, err
	}
	found := make([]entry, len(ids))
	for i, id := range ids {
		raw, err := gets[i].Result()
		if err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") {
			return nil, err
		}
		if err == nil {
			raw = cmp.Or(raw, garbage)
		}
		found[i] = entry{id: id, raw: raw, ttl: max(0, ttls[i].Val())}
	}
	return found, nil
}

// heads reads the first bytes of what lies at ids, which is no activity: enough
// to tell a record, a tombstone with the successor's id, and nothing.
func (st *store) heads(ctx context.Context, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	cmds := make([]*redis.StringCmd, len(ids))
	pipe := st.client.Pipeline()
	for i, id := range ids {
		cmds[i] = pipe.GetRange(ctx, st.key(id), 0, record.HeadLen-1)
	}
	if err := st.exec(ctx, pipe); err != nil {
		return nil, err
	}
	heads := make([]string, len(ids))
	for i, cmd := range cmds {
		head, err := cmd.Result()
		if err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") {
			return nil, err
		}
		heads[i] = head
	}
	return heads, nil
}

// scanCount is how many keys one SCAN visits: among a million, Redis is busy for
// about 1.3 ms.
const scanCount = 500

// scan calls fn with the ids of all records and tombstones, page by page, until
// it returns false. An id may come twice if Redis resizes its table meanwhile.
func (st *store) scan(ctx context.Context, fn func(ids []string) bool) error {
	nodes := []redis.Cmdable{st.client}
	if cluster, ok := st.client.(*redis.ClusterClient); ok {
		nodes = nil
		var mu sync.Mutex
		err := cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			nodes = append(nodes, node)
			return nil
		})
		if err != nil {
			return err
		}
	}
	pattern := globEscaper.Replace(st.prefix) + strings.Repeat("?", idLen)
	for _, node := range nodes {
		for cursor := uint64(0); ; {
			keys, next, err := node.Scan(ctx, cursor, pattern, scanCount).Result()
			if err != nil {
				return err
			}
			ids := keys[:0]
			for _, key := range keys {
				if id := key[len(st.prefix):]; isID(id) {
					ids = append(ids, id)
				}
			}
			if !fn(ids) {
				return nil
			}
			if cursor = next; cursor == 0 {
				break
			}
		}
	}
	return nil
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `^`, `\^`, `-`, `\-`)

// isID tells whether s has the form of a public id.
func isID(s string) bool {
	return len(s) == idLen && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}
