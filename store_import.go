package redsession

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/record"
)

// importScript stores a record where nothing lies, where its own first try left
// it, or, if ARGV[4] is 1, over another record; never over a tombstone. It tells
// by ImportStatus what it found.
var importScript = newScript(`
local found = redis.pcall('GETRANGE', KEYS[1], 0, 20)
if type(found) == 'table' then return 2 end
if string.sub(found, 16, 21) == ',"z":"' then return 3 end
if found ~= '' and string.sub(found, 7, 14) ~= ARGV[3] and ARGV[4] ~= '1' then return 2 end
redis.call('SETEX', KEYS[1], ARGV[2], ARGV[1])
return 1`)

// storeImported stores all of list in one round trip and fills in the outcomes.
func (st *store) storeImported(ctx context.Context, list []*imported, force bool) error {
	forced := 0
	if force {
		forced = 1
	}
	calls := make([]call, len(list))
	for i, im := range list {
		calls[i] = call{key: st.key(im.id), args: []any{im.raw, int64(im.ttl / time.Second), record.Rev(im.raw), forced}}
	}
	if err := st.runAll(ctx, importScript, calls); err != nil {
		return err
	}
	for i, im := range list {
		status, _ := calls[i].reply.(int64)
		im.outcome.Status = ImportStatus(status)
	}
	return nil
}

// listImported enters list in the users' indexes in one round trip.
func (st *store) listImported(ctx context.Context, list []*imported) error {
	calls := make([]call, len(list))
	for i, im := range list {
		life := max(im.rec.Deadline-im.rec.Written, 1)
		calls[i] = call{key: st.userKey(im.rec.User), args: []any{im.rec.Auth, im.id, life, 0, ""}}
	}
	return st.runAll(ctx, enlistScript, calls)
}

// call is one of many runs of a script, which must do no harm when it is run
// twice.
type call struct {
	key   string
	args  []any
	reply any
}

// runAll runs sc for all of calls in one round trip, or two if some node does not
// know the script yet.
func (st *store) runAll(ctx context.Context, sc script, calls []call) error {
	todo := make([]int, len(calls))
	for i := range calls {
		todo[i] = i
	}
	for _, form := range [...][2]string{{"evalsha", sc.sha}, {"eval", sc.src}} {
		if len(todo) == 0 {
			return nil
		}
		cmds := make([]*redis.Cmd, len(todo))
		pipe := st.client.Pipeline()
		for n, i := range todo {
			cmds[n] = redis.NewCmd(ctx, append([]any{form[0], form[1], 1, calls[i].key}, calls[i].args...)...)
			_ = pipe.Process(ctx, cmds[n])
		}
		if err := st.exec(ctx, pipe); err != nil {
			return err
		}
		var unknown []int
		for n, i := range todo {
			switch err := cmds[n].Err(); {
			case err == nil:
				calls[i].reply = cmds[n].Val()
			case redis.HasErrorPrefix(err, "NOSCRIPT"):
				unknown = append(unknown, i)
			default:
				return err
			}
		}
		todo = unknown
	}
	return nil
}
