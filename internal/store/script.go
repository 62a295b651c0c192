package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/rediserr"
)

// planScript performs steps, one for each key, each given by its name and arguments.
// It compares for all of them before it writes for any, so that a step whose condition
// does not hold leaves nothing half done: then it returns 0, the number of the step, and
// what lies there. Otherwise it returns 1 and what came of each step. It looks at fixed
// offsets of values and at nothing else: the revision at 6, the kind at 14 (from 0).
//
// A rewrite leaves the TTL as it is, to the millisecond: in whole seconds, a session that is
// written to several times a second without its user would live for ever, or end early.
//
// The first write of a plan is a SETEX wherever one is needed, so that a full memory
// refuses all of it or nothing. An ending and the mark of a revocation are to succeed with a
// full memory as well: DEL and ZREM are allowed then, and after them whatever the same
// script does.
//
// What nearly all writes are comes first: one record in the place of another needs none of
// the tables, which took Redis a quarter of the time.
const planScript = `
if #KEYS == 1 and ARGV[1] == 'replace' and ARGV[2] ~= '' and redis.pcall('GETRANGE', KEYS[1], 6, 13) == ARGV[2] then
  redis.call('SETEX', KEYS[1], ARGV[4], ARGV[3])
  return 1
end
local at, out = 1, {1}
local width = {replace = 4, rewrite = 4, insert = 5, ['end'] = 8, enter = 8, move = 5, mark = 4, import = 5, keep = 2, dismiss = 1}
local function wrongtype(reply)
  return type(reply) == 'table' and reply.err and string.find(reply.err, 'WRONGTYPE', 1, true)
end
local function full(key, arg, to)
  local limit, count = tonumber(ARGV[arg + 4]), redis.call('ZCARD', key)
  if count < limit then return false end
  local spared = {['*'] = true, [ARGV[arg + 1]] = true, [ARGV[arg + 5]] = true}
  for j = arg + 8, to do spared[ARGV[j]] = true end
  for id in pairs(spared) do
    if redis.call('ZSCORE', key, id) then count = count - 1 end
  end
  return count >= limit
end
for i, key in ipairs(KEYS) do
  local op = ARGV[at]
  if op == 'replace' or op == 'rewrite' then
    local rev = redis.pcall('GETRANGE', key, 6, 13)
    if wrongtype(rev) then return {0, i - 1, 1} end
    if type(rev) == 'table' then return rev end
    if rev == '' or rev ~= ARGV[at + 1] then return {0, i - 1, redis.call('GET', key)} end
  elseif op == 'insert' then
    if redis.call('EXISTS', key) == 1 then
      local rev = redis.pcall('GETRANGE', key, 6, 13)
      if wrongtype(rev) then return {0, i - 1, 1} end
      if type(rev) == 'table' then return rev end
      if rev ~= ARGV[at + 1] and (rev == '' or rev ~= ARGV[at + 2]) then return {0, i - 1, redis.call('GET', key)} end
    end
  elseif op == 'enter' or op == 'admit' then
    local arg = op == 'admit' and at + 1 or at
    local mark = redis.pcall('ZSCORE', key, '*')
    if type(mark) == 'table' then
      if not wrongtype(mark) then return mark end
    else
      mark = mark and tonumber(mark)
      if mark and mark >= tonumber(ARGV[arg + 6]) and mark <= tonumber(ARGV[arg + 7]) then return {0, i - 1, false} end
      if op == 'admit' and full(key, arg, at + 1 + tonumber(ARGV[at + 1])) then return {0, i - 1, true} end
    end
  elseif op == 'keep' and redis.call('EXISTS', key) == 0 then
    return {0, i - 1, false}
  end
  at = at + (width[op] or tonumber(ARGV[at + 1]) + 2)
end
local function last(key, life)
  if redis.call('TTL', key) < tonumber(life) then redis.call('EXPIRE', key, life) end
end
local function index(key)
  local size = redis.pcall('ZCARD', key)
  if not wrongtype(size) then return 0 end
  redis.call('DEL', key)
  return 1
end
at = 1
for i, key in ipairs(KEYS) do
  local op, done = ARGV[at], 1
  if op == 'replace' then
    redis.call('SETEX', key, ARGV[at + 3], ARGV[at + 2])
  elseif op == 'rewrite' then
    local most, left = 1000 * tonumber(ARGV[at + 3]), redis.call('PTTL', key)
    if left >= 0 and left < most then most = math.max(left, 1) end
    redis.call('PSETEX', key, most, ARGV[at + 2])
  elseif op == 'insert' then
    redis.call('SETEX', key, ARGV[at + 4], ARGV[at + 3])
  elseif op == 'end' then
    done = redis.pcall('GET', key)
    if wrongtype(done) then
      done = 1
    elseif type(done) == 'table' then
      return done
    elseif not done then
      if ARGV[at + 6] == '1' then
        redis.call('DEL', key)
        redis.call('SETEX', key, ARGV[at + 2], ARGV[at + 1])
      end
    else
      local kind = string.match(done, '^{"v":"........([rioa])"')
      if kind == 'r' or kind == 'i' or kind and ARGV[at + 5] == '1' then
        local ttl = redis.call('TTL', key)
        redis.call('DEL', key)
        if (kind == 'i' or kind == 'a') and ARGV[at + 3] ~= '' then
          redis.call('SETEX', key, math.max(tonumber(ARGV[at + 4]), ttl), ARGV[at + 3])
        elseif ARGV[at + 1] ~= '' then
          redis.call('SETEX', key, ARGV[at + 2], ARGV[at + 1])
        end
      end
      done = string.sub(done, 1, tonumber(ARGV[at + 7]))
    end
  elseif op == 'enter' or op == 'admit' then
    local arg = op == 'admit' and at + 1 or at
    local aside, id, limit, old = index(key), ARGV[arg + 1], tonumber(ARGV[arg + 4]), ARGV[arg + 5]
    redis.call('ZADD', key, ARGV[arg + 2], id)
    last(key, ARGV[arg + 3])
    local over, page = 0, {}
    local length = redis.call('ZCARD', key)
    if limit > 0 and op == 'enter' then over = length - limit end
    if over > 0 and redis.call('ZSCORE', key, '*') then over = over - 1 end
    if over > 0 and old ~= '' and redis.call('ZSCORE', key, old) then over = over - 1 end
    if over > 0 then page = redis.call('ZRANGE', key, 0, 128, 'WITHSCORES') end
    done = {length, aside, over, page}
  elseif op == 'move' then
    index(key)
    redis.call('ZADD', key, ARGV[at + 2], ARGV[at + 1])
    if ARGV[at + 4] ~= '' then redis.call('ZREM', key, ARGV[at + 4]) end
    last(key, ARGV[at + 3])
  elseif op == 'leave' and ARGV[at + 1] ~= '0' then
    done = redis.pcall('ZREM', key, unpack(ARGV, at + 2, at + 1 + tonumber(ARGV[at + 1])))
    if wrongtype(done) then done = 0 elseif type(done) == 'table' then return done end
  elseif op == 'keep' then
    last(key, ARGV[at + 1])
  elseif op == 'dismiss' then
    redis.call('DEL', key)
  elseif op == 'mark' then
    index(key)
    redis.call('ZREM', key, '')
    local mark = redis.call('ZSCORE', key, '*')
    mark = mark and tonumber(mark)
    if not mark or mark < tonumber(ARGV[at + 1]) or mark > tonumber(ARGV[at + 3]) then
      redis.call('ZADD', key, ARGV[at + 1], '*')
    end
    last(key, ARGV[at + 2])
  elseif op == 'import' then
    local head = redis.pcall('GETRANGE', key, 0, 15)
    if wrongtype(head) then head = 'foreign' elseif type(head) == 'table' then return head end
    local kind = string.match(head, '^{"v":"........([rieloa])"')
    local other = kind ~= nil and string.sub(head, 7, 14) ~= ARGV[at + 3] and ARGV[at + 4] ~= '1'
    if kind and kind ~= 'r' and kind ~= 'i' then
      done = 3
    elseif head ~= '' and not kind or other then
      done = 2
    else
      redis.call('SETEX', key, ARGV[at + 2], ARGV[at + 1])
    end
  end
  out[i + 1] = done
  at = at + (width[op] or tonumber(ARGV[at + 1]) + 2)
end
return out`

var planHash = redis.NewScript(planScript).Hash()

// Result tells whether a plan was performed.
type Result struct {
	// Refused is the step whose condition did not hold; nil if all was done. What came
	// before its part was done, its part and what comes after were not, but for other
	// steps of the same part where the parts are round trips apart.
	Refused Step
	// Found is what lies under the key of Refused. An Enter tells itself why it was refused.
	Found record.Value
	// Prepared tells that Prepare was done, also if an error came back or a step was refused.
	Prepared bool
	// Sent tells, of an error, that Decide may have been executed.
	Sent bool
}

// Run performs p: in one script where one node has all keys, otherwise each part in a
// round trip in which the nodes go side by side. No step is sent twice, so that an
// error of which rediserr says that the script may have been executed leaves the
// outcome open. The error is an *Error, or ErrLate.
func (s *Store) Run(ctx context.Context, p *Plan) (Result, error) {
	if p.late() {
		return Result{}, ErrLate
	}
	if s.oneScript.Load() {
		res, err := s.perform(ctx, slices.Concat(p.parts()...))
		if !errors.Is(err, errApart) {
			res.Prepared, res.Sent = err == nil && res.Refused == nil, err != nil
			return res, err
		}
		s.oneScript.Store(false) // the keys lie on several nodes; nothing was executed
	}
	res, err := s.runInWaves(ctx, p)
	if err == nil && s.unlearned.CompareAndSwap(true, false) {
		s.Background(ctx, func(ctx context.Context) { _ = s.LearnScripts(ctx) })
	}
	return res, err
}

// errApart is that keys of one plan lie on several nodes.
var errApart = errors.New("the keys of a plan lie on several nodes")

// perform runs the script once over steps.
func (s *Store) perform(ctx context.Context, steps []Step) (res Result, err error) {
	if len(steps) == 0 {
		return res, nil
	}
	var reply any
	e := exchange{command: "EVALSHA", key: steps[0].key(s.keys), side: breaker.Write, script: true}
	err = s.exchange(ctx, e, func(ctx context.Context) (err error) {
		reply, err = s.send(ctx, s.client, steps)
		return err
	})
	switch {
	case err == nil:
		res, err = settle(steps, reply)
		return res, s.wrap(e, err)
	case len(steps) > 1 && redis.HasErrorPrefix(err, "CROSSSLOT"):
		return res, fmt.Errorf("%w: %w", errApart, err)
	}
	return res, err
}

// send sends the script once, or its text where it is not known.
func (s *Store) send(ctx context.Context, client redis.UniversalClient, steps []Step) (any, error) {
	args := scriptArgs(s.keys, steps)
	cmd := redis.NewCmd(ctx, args...)
	err := client.Process(ctx, once{cmd})
	if rediserr.NoScript(err) { // a restart, or SCRIPT FLUSH
		args = append([]any{"eval", planScript}, args[2:]...) // a hook may have kept the old ones
		cmd = redis.NewCmd(ctx, args...)
		err = client.Process(ctx, once{cmd})
	}
	return cmd.Val(), err
}

func scriptArgs(keys keyspace.Space, steps []Step) []any {
	args := make([]any, 0, 3+9*len(steps))
	args = append(args, "evalsha", planHash, len(steps))
	for _, st := range steps {
		args = append(args, st.key(keys))
	}
	for _, st := range steps {
		args = st.args(args)
	}
	return args
}

// settle hands the reply of the script to the steps.
func settle(steps []Step, reply any) (Result, error) {
	if _, one := steps[0].(*Replace); one && len(steps) == 1 && reply == int64(1) {
		return Result{}, nil
	}
	list, _ := reply.([]any)
	if len(list) < 2 {
		return Result{}, errReply
	}
	if list[0] != int64(0) {
		if len(list) != len(steps)+1 {
			return Result{}, errReply
		}
		for i, st := range steps {
			st.take(list[i+1])
		}
		return Result{}, nil
	}
	n, _ := list[1].(int64)
	if n < 0 || int(n) >= len(steps) {
		return Result{}, errReply
	}
	res := Result{Refused: steps[n]}
	if len(list) > 2 {
		res.Found = value(list[2])
	}
	if e, ok := steps[n].(*Enter); ok {
		e.Full = !res.Found.Absent()
		e.Revoked = !e.Full
	}
	return res, nil
}

// errReply is an answer that the script does not give: something between us and Redis
// made it up.
var errReply = errors.New("the answer of the script is not one that it gives")

// once keeps go-redis from sending a command again after a lost reply: only the caller
// can tell whether a second one would do harm.
type once struct{ *redis.Cmd }

// NoRetry is what go-redis asks.
func (once) NoRetry() bool { return true }
