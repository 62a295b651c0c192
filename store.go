package redsession

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/record"
)

// idLen is the length of a public id: base64url of 24 bytes.
const idLen = 32

// publicID is the name under which the session of s is kept, listed and
// revoked. It cannot be turned back into s, so that what Redis, a log or a list
// holds is no use as a cookie.
func publicID(s sid) string { return hashed(s[:]) }

func hashed(secret []byte) string {
	sum := sha256.Sum256(secret)
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

// store speaks to Redis. It knows the keys and the commands, and nothing of
// what sessions mean.
type store struct {
	client   redis.UniversalClient
	prefix   string
	heedless bool // client reads on when a context is over
	reuse    bool // nobody else sees the commands that client gets
	loads    loads
	pipes    sync.Pool // of redis.Pipeliner
	guard    *breakers // nil for an Admin alone, whose callers wait as long as they like
}

// ask lets fn ask Redis about key, unless its primary is known to be away, and
// returns the error. Once ctx is over, what fn fills must not be looked at: fn
// may still be running.
func (st *store) ask(ctx context.Context, key string, fn func() error) error {
	if st.heedless && ctx.Done() != nil {
		fn = inTime(ctx, fn)
	}
	if st.guard == nil {
		return fn()
	}
	if err := st.guard.enter(ctx, key); err != nil {
		return err
	}
	err := fn()
	st.guard.leave(ctx, key, err)
	return err
}

// ping asks Redis for a sign of life.
func (st *store) ping(ctx context.Context) error {
	ping := func() error { return st.client.Ping(ctx).Err() }
	if st.heedless {
		ping = inTime(ctx, ping)
	}
	return ping()
}

func (st *store) key(id string) string { return st.prefix + id }

// garbage stands for an empty string, a list, a hash and the like under a
// session's key: no record, and neither nothing nor a failure of Redis.
const garbage = "garbage"

// absent sorts out the errors of a GET that are none.
func absent(err error) (raw string, failed error) {
	switch {
	case errors.Is(err, redis.Nil):
		return "", nil
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return garbage, nil
	}
	return "", err
}

// setTTL makes the value under key live for ttl from now on. If it fails, a
// tombstone only takes memory for longer, and a session waits for its next hit.
func (st *store) setTTL(ctx context.Context, key string, ttl time.Duration) {
	_ = st.ask(ctx, key, func() error { return st.client.Expire(ctx, key, ttl).Err() })
}

// get reads the value at id, "" if there is none.
func (st *store) get(ctx context.Context, id string) (string, error) {
	return st.read(ctx, st.key(id))
}

func (st *store) read(ctx context.Context, key string) (string, error) {
	get := redis.NewStringCmd(ctx, "get", key)
	if err := st.ask(ctx, key, func() error { return st.client.Process(ctx, get) }); err != nil {
		return absent(err)
	}
	return cmp.Or(get.Val(), garbage), nil
}

// create stores a record under an id that nobody else knows yet.
func (st *store) create(ctx context.Context, id, raw string, ttl time.Duration) error {
	for try := 0; ; try++ {
		err := st.ask(ctx, st.key(id), func() error {
			return st.client.Process(ctx, once{redis.NewCmd(ctx, "setex", st.key(id), int64(ttl/time.Second), raw)})
		})
		if err == nil || isReply(err) || late(err) || ctx.Err() != nil || try == 1 {
			return err
		}
	}
}

// late tells whether what was sent may yet be executed: sent again, it could
// come a second time when the session has long changed or ended.
func late(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// discard removes a record that nobody else knows.
func (st *store) discard(ctx context.Context, id string) error {
	return st.ask(ctx, st.key(id), func() error { return st.client.Del(ctx, st.key(id)).Err() })
}

// once keeps go-redis from sending a command again after a lost reply: only
// the caller can tell whether a second one would do harm.
type once struct{ *redis.Cmd }

func (once) NoRetry() bool { return true }

// script is Lua that touches one key alone, and so runs on any node of a
// cluster that has it.
type script struct{ src, sha string }

func newScript(src string) script {
	return script{src, redis.NewScript(src).Hash()}
}

// run sends sc once.
func (st *store) run(ctx context.Context, sc script, key string, args ...any) (any, error) {
	var reply any
	err := st.ask(ctx, key, func() error {
		cmd := redis.NewCmd(ctx, append([]any{"evalsha", sc.sha, 1, key}, args...)...)
		err := st.client.Process(ctx, once{cmd})
		if redis.HasErrorPrefix(err, "NOSCRIPT") { // a restart, or SCRIPT FLUSH
			cmd = redis.NewCmd(ctx, append([]any{"eval", sc.src, 1, key}, args...)...)
			err = st.client.Process(ctx, once{cmd})
		}
		reply = cmd.Val()
		return err
	})
	if err != nil {
		return nil, err
	}
	return reply, nil
}

// swapScript replaces a value whose revision is the expected one. Otherwise it
// changes nothing and returns what is there.
var swapScript = newScript(`
local rev = redis.pcall('GETRANGE', KEYS[1], 6, 13)
if type(rev) == 'table' then return '' end
if rev == ARGV[1] then
  redis.call('SETEX', KEYS[1], ARGV[3], ARGV[2])
  return 1
end
return redis.call('GET', KEYS[1])`)

// errUnsettled is an outcome that nobody can tell: the reply was lost, and
// what lies in Redis now is neither what was before nor what was written.
var errUnsettled = errors.New("reply lost, outcome unknown")

// swap replaces the value at id if its revision is rev. Otherwise it returns
// what is there now, "" if nothing is. It settles a lost reply by reading the
// revision that lies there, and sends the same bytes again only over the
// revision that they replace: they can be applied at most once.
func (st *store) swap(ctx context.Context, id, rev, raw string, ttl time.Duration) (swapped bool, current string, err error) {
	key, own := st.key(id), record.Rev(raw)
	lost := false
	for try := 0; ; try++ {
		reply, err := st.run(ctx, swapScript, key, rev, raw, int64(ttl/time.Second))
		switch text, isText := reply.(string); {
		case errors.Is(err, redis.Nil):
			current = ""
		case err == nil && !isText:
			return true, "", nil
		case err == nil:
			current = cmp.Or(text, garbage)
		case !maybeSent(err) && !lost:
			return false, "", err
		case !maybeSent(err): // this try was not sent, an earlier one may have been
			return false, "", fmt.Errorf("%w: %w", errUnsettled, err)
		default:
			lost = true
			if current, err = st.get(ctx, id); err != nil {
				return false, "", fmt.Errorf("%w: %w", errUnsettled, err)
			}
		}
		switch now := record.Rev(current); {
		case current != "" && now == own:
			return true, "", nil
		case current != "" && now == rev:
			if err := pause(ctx, try); err != nil {
				return false, "", errUnsettled
			}
		case lost && current != "" && !ended(current):
			return false, "", errUnsettled
		default:
			return false, current, nil
		}
	}
}

// ended tells a tombstone from which nothing leads on.
func ended(raw string) bool {
	t, err := record.DecodeTombstone(raw)
	return err == nil && t.Next == ""
}

// endScript takes a session away: it puts a tombstone in its place, or nothing
// if ARGV[1] is empty. In the place of an imported session, which might be found
// again where it came from, it puts ARGV[4]. A tombstone is left alone, as it keeps late requests from
// harm, unless it leads to a successor and ARGV[3] is 1: the successor has to be
// ended first. It returns what it found. DEL comes first because Redis allows it when
// its memory is full, and then also what the same script does after it: a session must
// end in any case, and its tombstone is smaller.
var endScript = newScript(`
local found = redis.pcall('GET', KEYS[1])
if type(found) == 'table' then found = '' end
if not found then return false end
local imported, data
if string.sub(found, 16, 21) == ',"z":"' then
  if string.sub(found, 22, 22) == '"' or ARGV[3] ~= '1' then return found end
  imported, data = string.find(found, ',"m":1', 1, true), #found
else
  imported, data = string.find(found, ',"m":"[^":]*"'), string.find(found, ',"d":', 1, true)
end
local ttl = redis.call('TTL', KEYS[1])
redis.call('DEL', KEYS[1])
if imported and data and imported < data then
  redis.call('SETEX', KEYS[1], math.max(ARGV[5], ttl), ARGV[4])
elseif ARGV[1] ~= '' then
  redis.call('SETEX', KEYS[1], ARGV[2], ARGV[1])
end
return found`)

// buryScript puts a tombstone where nothing lies. It returns 0 if something does
// that has to be ended first.
var buryScript = newScript(`
local found = redis.pcall('GETRANGE', KEYS[1], 0, 21)
if type(found) == 'string' then
  if string.sub(found, 16, 22) == ',"z":""' then return 1 end
  if found ~= '' then return 0 end
end
redis.call('SETEX', KEYS[1], ARGV[2], ARGV[1])
return 1`)

// bury puts grave at id, and tells whether it or another tombstone is there now.
func (st *store) bury(ctx context.Context, id string, grave burial) (bool, error) {
	for try := 0; ; try++ {
		reply, err := st.run(ctx, buryScript, st.key(id), grave.tombstone, seconds(grave.life))
		if err == nil {
			return reply == int64(1), nil
		}
		if isReply(err) || try == 2 || pause(ctx, try) != nil { // doing it twice does no harm
			return false, err
		}
	}
}

// burial is a tombstone and how long it stays; the zero value leaves nothing.
type burial struct {
	tombstone string
	life      time.Duration
}

// vanished is what end found if the reply that told was lost, and nothing is there
// any more.
const vanished = "vanished"

// end takes away what lies at id and returns it, "" if nothing does. If that is
// a tombstone with a successor it stays, unless force is set. Ending twice does
// no harm, so a lost reply is simply asked for again.
func (st *store) end(ctx context.Context, id string, with, grave burial, force bool) (string, error) {
	forced, lost := 0, false
	if force {
		forced = 1
	}
	for try := 0; ; try++ {
		reply, err := st.run(ctx, endScript, st.key(id), with.tombstone, seconds(with.life), forced, grave.tombstone, seconds(grave.life))
		switch {
		case errors.Is(err, redis.Nil) && lost:
			return vanished, nil
		case errors.Is(err, redis.Nil):
			return "", nil
		case err == nil:
			found, _ := reply.(string)
			return cmp.Or(found, garbage), nil
		}
		lost = lost || maybeSent(err)
		if isReply(err) || try == 2 || pause(ctx, try) != nil {
			return "", err
		}
	}
}

// isReply tells an error that Redis answered from one of the way to it.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// maybeSent tells whether the command may have been executed though err came
// back. An error that Redis answered, or a dial that failed, says no.
func maybeSent(err error) bool {
	var op *net.OpError
	if errors.Is(err, errUnsettled) {
		return true
	}
	return !isReply(err) && !errors.Is(err, errDown) && !errors.Is(err, errNotSent) && !errors.Is(err, redis.ErrPoolTimeout) && !errors.Is(err, redis.ErrClosed) &&
		(!errors.As(err, &op) || op.Op != "dial")
}

// pause waits before another try, longer and more scattered each time, so that
// many writers of one session do not collide for ever.
func pause(ctx context.Context, try int) error {
	const least, most = 500 * time.Microsecond, 16 * time.Millisecond
	wait := rand.N(min(least<<min(try, 8), most))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
