package importer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/importstate"
	"github.com/redsession/redsession/internal/keyspace"
)

// ErrElsewhere tells that another server is importing at the moment.
var ErrElsewhere = errors.New("importer: another server is importing")

// Once imports a source the first time it is called, whatever restarts, and in
// one of the servers that call it at the same time. It is for the start of a
// program:
//
//   - No error means that the import is done, here, elsewhere or earlier. The
//     report is that of the one that did it, Elsewhere if that was not this call.
//   - While another server imports, Once waits, as long as ctx lasts; with
//     Options.NoWait it returns ErrElsewhere. A server that died is replaced
//     after 15 seconds. Its successor walks over everything again; what is there
//     already stays as it is.
//   - To import again, set Options.Force, which overwrites sessions that were
//     imported before, or the environment variable REDSESSION_REIMPORT to true,
//     which adds what is new. Set them for one start and one server.
//
// Where a start must not wait for millions of files, call Once in a goroutine,
// and give the same source to redsession.Config.Adopt, so that nobody who comes
// before the import has reached his session is logged out. The state is a hash in
// Redis, named <prefix>import:<source>.
func Once(ctx context.Context, m *redsession.Manager, source Source, o Options) (Report, error) {
	client, prefix := importstate.Of(m)
	return once(ctx, m, newState(client, prefix, source, lease), source, o)
}

// lease is how long an owner that does not report counts as alive. It must
// outlast a short outage of Redis, and a server that stands still for garbage
// collection or a full disk.
const lease = 15 * time.Second

func once(ctx context.Context, to target, st *state, source Source, o Options) (Report, error) {
	if o.DryRun {
		return run(ctx, to, source, o)
	}
	again := o.Force
	if v := os.Getenv("REDSESSION_REIMPORT"); v != "" {
		env, err := strconv.ParseBool(v)
		if err != nil {
			return Report{}, fmt.Errorf("importer: REDSESSION_REIMPORT is %q, want true or false", v)
		}
		again = again || env
	}
	for {
		status, report, err := st.claim(ctx, again)
		switch {
		case err != nil:
			return Report{}, fmt.Errorf("importer: claiming the import of %s: %w", source.Name(), err)
		case status == doneAlready:
			report.Elsewhere = true
			return report, nil
		case status == claimed:
			report, err := st.own(ctx, to, source, o)
			if !errors.Is(err, errLost) {
				return report, err
			}
		case o.NoWait:
			report.Elsewhere = true
			return report, ErrElsewhere
		}
		again = false // what others are doing, or did, since we began is the repetition
		if err := sleep(ctx, st.lease/30); err != nil {
			return report, fmt.Errorf("importer: waiting for another server's import of %s: %w", source.Name(), err)
		}
	}
}

// errLost stops an import that another server has taken over, since this one
// could not report for too long.
var errLost = errors.New("another server has taken the import over")

// state is the hash in Redis. It has an owner and expires while an import runs,
// and has neither afterwards: nothing is left of an owner that died.
type state struct {
	client redis.UniversalClient
	key    string
	lease  time.Duration
	owner  string
}

// newState is the state of the import of source into the sessions under prefix.
func newState(client redis.UniversalClient, prefix string, source Source, lease time.Duration) *state {
	return &state{client: client, key: keyspace.New(prefix).Import(source.Name()), lease: lease}
}

type claim int

const (
	claimed claim = iota
	doneAlready
	busy
)

// claimScript makes ARGV[1] the owner for ARGV[2] ms, unless there is another or
// the import is done and ARGV[3] does not say again.
var claimScript = redis.NewScript(`
local owner, done = redis.call('HGET', KEYS[1], 'owner'), redis.call('HGET', KEYS[1], 'done')
if owner then return {2, redis.call('HGET', KEYS[1], 'report') or ''} end
if done and ARGV[3] ~= '1' then return {1, redis.call('HGET', KEYS[1], 'report') or ''} end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'began', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {0, ''}`)

// claim tries to become the owner.
func (st *state) claim(ctx context.Context, again bool) (claim, Report, error) {
	st.owner = rand.Text()
	flag := 0
	if again {
		flag = 1
	}
	reply, err := claimScript.Run(ctx, st.client, []string{st.key},
		st.owner, st.lease.Milliseconds(), flag, time.Now().UTC().Format(time.RFC3339)).Slice()
	if err != nil {
		return busy, Report{}, err
	}
	var report Report
	status, _ := reply[0].(int64)
	if text, _ := reply[1].(string); text != "" {
		_ = json.Unmarshal([]byte(text), &report) // an unreadable report is an empty one
	}
	return claim(status), report, nil
}

// beatScript writes fields and begins the lease of the owner ARGV[1] again, or,
// if ARGV[2] is 0, ends it for good.
var beatScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
if ARGV[2] ~= '0' then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
redis.call('HDEL', KEYS[1], 'owner')
redis.call('PERSIST', KEYS[1])
return 1`)

// releaseScript removes the state of the owner ARGV[1], so that another need not
// wait for the end of its lease.
var releaseScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`)

// beat reports as the owner. It returns errLost if it is not.
func (st *state) beat(ctx context.Context, lease time.Duration, r Report, more ...any) error {
	args := append([]any{st.owner, lease.Milliseconds()}, fields(r)...)
	still, err := beatScript.Run(ctx, st.client, []string{st.key}, append(args, more...)...).Int()
	if err == nil && still == 0 {
		return errLost
	}
	return err
}

// fields are the counts, for redis-cli HGETALL, and the whole report.
func fields(r Report) []any {
	text, _ := json.Marshal(r) // a Report always encodes
	return []any{
		"found", r.Found, "imported", r.Imported, "existing", r.Existing, "ended", r.Ended,
		"expired", r.Expired, "skipped", r.SkippedTotal(), "failed", r.Failed, "report", text,
	}
}

// own imports as the owner.
func (st *state) own(ctx context.Context, to target, source Source, o Options) (Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	latest := &watched{next: o.Progress}
	o.Progress = latest.set
	var group sync.WaitGroup
	group.Go(func() { st.keepAlive(ctx, latest, cancel) })
	report, err := run(ctx, to, source, o)
	lost := context.Cause(ctx)
	cancel(nil)
	group.Wait()
	if errors.Is(lost, errLost) {
		return report, errLost
	}
	// What has been done should be known even if the caller has given up.
	ctx, end := context.WithTimeout(context.WithoutCancel(ctx), st.lease/3)
	defer end()
	if err != nil {
		_ = releaseScript.Run(ctx, st.client, []string{st.key}, st.owner).Err() // or else it expires
		return report, err
	}
	err = st.beat(ctx, 0, report, "done", time.Now().UTC().Format(time.RFC3339))
	if err != nil && !errors.Is(err, errLost) {
		return report, fmt.Errorf("importer: %s is imported, but it could not be noted: %w", source.Name(), err)
	}
	return report, err
}

// keepAlive reports until ctx ends, and cancels the import if it is another's now.
// A Redis that is away is the import's own business.
func (st *state) keepAlive(ctx context.Context, latest *watched, cancel context.CancelCauseFunc) {
	for sleep(ctx, st.lease/3) == nil {
		if err := st.beat(ctx, st.lease, latest.get()); errors.Is(err, errLost) {
			cancel(errLost)
			return
		}
	}
}

// watched keeps the latest report.
type watched struct {
	next func(Report)

	mu     sync.Mutex
	report Report
}

func (w *watched) set(r Report) {
	w.mu.Lock()
	w.report = r
	w.mu.Unlock()
	if w.next != nil {
		w.next(r)
	}
}

func (w *watched) get() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.report
}
