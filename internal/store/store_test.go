package store_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/stage"
	"github.com/redsession/redsession/internal/store"
	"github.com/redsession/redsession/internal/topology"
)

func TestMain(m *testing.M) { stage.Main(m) }

// space holds all keys of these tests.
var space = keyspace.New("session:")

// user has the index of the tests.
const user = "ada@example.org"

// env is a Redis, a Store on it, and a client that sees what lies there.
type env struct {
	*store.Store
	client redis.UniversalClient
	waves  bool // the parts of a plan are round trips apart
}

// newStore returns a Store on client, before its Check.
func newStore(t testing.TB, client redis.UniversalClient, change ...func(*store.Config)) *store.Store {
	t.Helper()
	topo, err := topology.Of(client)
	if err != nil {
		t.Fatal(err)
	}
	c := store.Config{Client: client, Topology: topo, Keys: space, Timeout: 10 * time.Second}
	for _, f := range change {
		f(&c)
	}
	s := store.New(c)
	t.Cleanup(s.Close)
	return s
}

// checked returns a Store on client that knows what Redis can do.
func checked(t testing.TB, client redis.UniversalClient, change ...func(*store.Config)) *store.Store {
	t.Helper()
	s := newStore(t, client, change...)
	if refused, err := s.Check(t.Context()); err != nil || len(refused) > 0 {
		t.Fatalf("got %v and error %v, want a Redis that can do everything", refused, err)
	}
	return s
}

func apart(c *store.Config) { c.Apart = true }

// eachWay runs test on miniredis and on a redis-server, with plans in one script and in
// waves, and on a cluster of three primaries, side by side.
func eachWay(t *testing.T, test func(t *testing.T, e *env)) {
	t.Helper()
	both := func(t *testing.T, e *stage.Env) {
		for name, change := range map[string][]func(*store.Config){"in one script": nil, "in waves": {apart}} {
			t.Run(name, func(t *testing.T) {
				e.Client.FlushAll(t.Context())
				test(t, &env{checked(t, e.NewClient(t), change...), e.Client, change != nil})
			})
		}
	}
	stage.PlainRedis(t, both)
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		e := stage.FlavourNamed(t, "cluster").Env(t)
		test(t, &env{checked(t, e.NewClient(t)), e.Client, true})
	})
}

// id is the public id that consists of one letter.
func id(letter string) string { return strings.Repeat(letter, keyspace.IDLen) }

// raw is the value of a kind with a revision of eight times the same digit; one that leads
// on or names its successor names the id of z.
func raw(rev string, kind record.Kind) string {
	rest := `,"d":{}`
	if kind.Tombstone() {
		rest = `,"z":"` + id("z") + `"`
	}
	return `{"v":"` + strings.Repeat(rev, 8) + string(rune(kind)) + `"` + rest + `,"t":"----------------------"}`
}

// show says what a value is: its revision and kind, or the value itself.
func show(v record.Value) string {
	switch {
	case v.Absent():
		return "nothing"
	case v.Raw() == "" && v == record.Foreign():
		return "no string"
	case v.Ours():
		return record.Rev(v.Raw())[:1] + string(rune(v.Head().Kind))
	}
	return fmt.Sprintf("%q", v.Raw())
}

// list is a key of the wrong type.
type list struct{}

// index is a user's index, for a minute.
type index map[string]float64

// put lays something under key: a string for a minute, an index, a list, or nothing.
func (e *env) put(t *testing.T, key string, what any) {
	t.Helper()
	ctx, err := t.Context(), error(nil)
	e.client.Del(ctx, key)
	switch what := what.(type) {
	case string:
		err = e.client.Set(ctx, key, what, time.Minute).Err()
	case list:
		err = e.client.RPush(ctx, key, "x").Err()
	case index:
		for member, score := range what {
			err = cmp.Or(err, e.client.ZAdd(ctx, key, redis.Z{Member: member, Score: score}).Err())
		}
		e.client.Expire(ctx, key, time.Minute)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// lies says what lies under key and for how long, in steps of ten seconds.
func (e *env) lies(t *testing.T, key string) string {
	t.Helper()
	ctx, what := t.Context(), ""
	switch kind := e.client.Type(ctx, key).Val(); kind {
	case "none":
		return "nothing"
	case "string":
		what = show(record.Present(e.client.Get(ctx, key).Val()))
	case "zset":
		for _, z := range e.client.ZRangeWithScores(ctx, key, 0, -1).Val() {
			what += fmt.Sprintf("%.1s=%.0f ", z.Member, z.Score)
		}
		what = strings.TrimSpace(what)
	default:
		what = "a " + kind
	}
	ttl, err := e.client.TTL(ctx, key).Result()
	if err != nil {
		t.Fatal(err)
	}
	if ttl < 0 {
		return what + " for ever"
	}
	return fmt.Sprintf("%s for %ds", what, (int(ttl.Seconds())+9)/10*10)
}

// outcome says what came of a plan, and what its steps found.
func outcome(res store.Result, err error, steps ...store.Step) string {
	switch {
	case err != nil:
		return "error"
	case res.Refused != nil:
		return "refused " + name(res.Refused) + ", found " + show(res.Found)
	}
	what := "done"
	for _, st := range steps {
		switch st := st.(type) {
		case *store.End:
			what += ", found " + show(st.Found)
		case *store.Import:
			what += ", " + [...]string{"?", "stored", "existing", "ended"}[st.Status]
		case *store.Enter:
			what += fmt.Sprintf(", length %d", st.Length)
			if st.Aside {
				what += ", aside"
			}
			if st.Over > 0 {
				what += fmt.Sprintf(", over %d", st.Over)
			}
			for _, i := range st.Oldest {
				what += fmt.Sprintf(" %.1s=%d", i.ID, i.Score)
			}
		}
	}
	return what
}

func name(st store.Step) string {
	return strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", st), "*store."))
}

// keys are all keys that lie in Redis, in order.
func (e *env) keys(t *testing.T) []string {
	t.Helper()
	found, err := e.client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// run performs a plan, and waits for what it does in the background.
func (e *env) run(t *testing.T, p *store.Plan) (store.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return e.Run(ctx, p)
}
