package stage

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/tuning"
)

// Secret is Config.Secrets of every Manager that does not set its own.
var Secret = []byte("0123456789abcdef0123456789abcdef")

// NewerSecret is for tests that rotate secrets.
var NewerSecret = []byte("fedcba9876543210fedcba9876543210")

// Env is one Redis and a clock that moves its TTLs and Config.Now together.
type Env struct {
	URL    string
	Client redis.UniversalClient        // may do everything, on all masters
	Dial   func() redis.UniversalClient // connects to what the URL names; nil if redis.ParseURL knows it
	Mini   *miniredis.Miniredis         // nil on a real server
	Clock  *Clock
	Events *EventLog
}

// NewEnv returns the Redis at url with a clock and an event log of its own. client may be nil, then methods that look into
// Redis cannot be used.
func NewEnv(url string, client redis.UniversalClient) *Env {
	return &Env{URL: url, Client: client, Clock: NewClock(), Events: &EventLog{}}
}

// NewMini returns a miniredis that ends with the test.
func NewMini(t *testing.T) *Env {
	t.Helper()
	mr := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: mr.Addr()})
	t.Cleanup(func() { client.Close() })
	e := NewEnv("redis://"+mr.Addr(), client)
	e.Mini = mr
	return e
}

// EachRedis runs test side by side on miniredis, on a redis-server that it starts, and on
// the flavours that REDSESSION_TEST_FLAVOURS names. It returns before they have ended, and test starts no parallel
// subtests of its own: those that use the same servers of a flavour wait for each other.
func EachRedis(t *testing.T, test func(t *testing.T, e *Env)) {
	t.Helper()
	PlainRedis(t, test)
	for _, f := range flavoursAsked(t) {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			test(t, f.Env(t))
		})
	}
}

// PlainRedis is EachRedis for a test that puts a proxy before the one server,
// or needs a database or keys of its own choosing.
func PlainRedis(t *testing.T, test func(t *testing.T, e *Env)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		test(t, NewMini(t))
	})
	t.Run("redis-server", func(t *testing.T) {
		t.Parallel()
		srv := redistest.Start(t)
		test(t, NewEnv(srv.URL, srv.Client()))
	})
}

// Manager returns a Manager on e. It waits long for Redis, as these machines
// are slow under -race; a test of RedisTimeout sets it.
func (e *Env) Manager(t *testing.T, change ...func(*redsession.Config)) *redsession.Manager {
	t.Helper()
	c := e.config(change...)
	making.RLock()
	m, err := redsession.New(c)
	making.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// config is what the Managers of e are made of.
func (e *Env) config(change ...func(*redsession.Config)) redsession.Config {
	c := redsession.Config{
		URL: e.URL, Secrets: [][]byte{Secret}, RedisTimeout: 10 * time.Second,
		OutageWait: -1, // a test of waiting sets it
		Cookie:     redsession.Cookie{InsecurePlainHTTP: true},
		Logger:     slog.New(slog.NewTextHandler(e.Events, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:        e.Clock.Now, OnEvent: e.Events.Add,
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

// making keeps the tuning of one Manager from others that are made meanwhile.
var making sync.RWMutex

// ApartManager is Manager, but the parts of its plans are round trips apart, as on a
// cluster.
func (e *Env) ApartManager(t *testing.T, change ...func(*redsession.Config)) *redsession.Manager {
	t.Helper()
	c := e.config(change...)
	making.Lock()
	usual := tuning.Current()
	apart := usual
	apart.Apart = true
	tuning.Set(apart)
	m, err := redsession.New(c)
	tuning.Set(usual)
	making.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// Maker makes a Manager on an Env.
type Maker = func(t *testing.T, change ...func(*redsession.Config)) *redsession.Manager

// BothWays are the ways in which a plan is carried out: in one script, and in parts that
// are round trips apart.
func (e *Env) BothWays() map[string]Maker {
	return map[string]Maker{
		"in one script": e.Manager, "in parts": e.ApartManager,
	}
}

// Advance moves the clock and every TTL in Redis by d.
func (e *Env) Advance(t *testing.T, d time.Duration) {
	t.Helper()
	e.Clock.Add(d)
	if e.Mini != nil {
		e.Mini.FastForward(d)
		return
	}
	ctx := context.Background()
	for _, key := range e.Keys(t) {
		ttl, err := e.Client.PTTL(ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if ttl < 0 {
			continue // no TTL, or gone meanwhile
		}
		if err := e.Client.PExpire(ctx, key, ttl-d).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// Keys returns all keys in Redis.
func (e *Env) Keys(t *testing.T) []string {
	t.Helper()
	keys, err := e.Client.Keys(context.Background(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// NewClient returns a client of e's, which the caller may change; the end of
// the test closes it.
func (e *Env) NewClient(t *testing.T) redis.UniversalClient {
	t.Helper()
	var client redis.UniversalClient
	if e.Dial != nil {
		client = e.Dial()
	} else {
		o, err := redis.ParseURL(e.URL)
		if err != nil {
			t.Fatal(err)
		}
		o.ContextTimeoutEnabled = true
		client = redis.NewClient(o)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// Dump returns every string key with its value.
func (e *Env) Dump(t *testing.T) map[string]string {
	t.Helper()
	values := make(map[string]string)
	for _, key := range e.Keys(t) {
		if v, err := e.Client.Get(context.Background(), key).Result(); err == nil {
			values[key] = v
		}
	}
	return values
}

// Operator returns an Admin without secrets, as an operator's tool has it.
func (e *Env) Operator(t *testing.T, prefix string) *redsession.Admin {
	t.Helper()
	a, err := redsession.NewAdmin(redsession.Config{URL: e.URL, Prefix: prefix, Now: e.Clock.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// Listed returns the ids that a lists, in order.
func Listed(t *testing.T, a *redsession.Admin) (ids []string) {
	t.Helper()
	for i, err := range a.All(context.Background()) {
		if err != nil {
			t.Error(err)
		}
		ids = append(ids, i.ID)
	}
	slices.Sort(ids)
	return ids
}

// Index returns the name of the one user's index.
func (e *Env) Index(t *testing.T) string {
	t.Helper()
	keys := e.Client.Keys(t.Context(), "session:user:*").Val()
	if len(keys) != 1 {
		t.Fatalf("got indexes %v, want one", keys)
	}
	return keys[0]
}

// EachRedisWithTTLs is EachRedis, and fails if a key is left that never ends.
func EachRedisWithTTLs(t *testing.T, test func(t *testing.T, e *Env)) {
	t.Helper()
	EachRedis(t, mortal(test))
}

// PlainRedisWithTTLs is PlainRedis, and fails if a key is left that never ends.
func PlainRedisWithTTLs(t *testing.T, test func(t *testing.T, e *Env)) {
	t.Helper()
	PlainRedis(t, mortal(test))
}

func mortal(test func(t *testing.T, e *Env)) func(t *testing.T, e *Env) {
	return func(t *testing.T, e *Env) {
		t.Cleanup(func() {
			for _, key := range e.Keys(t) {
				if ttl := e.Client.TTL(context.Background(), key).Val(); ttl == -1 {
					t.Errorf("%s has no TTL", key)
				}
			}
		})
		test(t, e)
	}
}

// Tombstone tells whether raw is a tombstone.
func Tombstone(raw string) bool { return record.PeekHead(raw).Kind.Tombstone() }

// Living counts the records in Redis that are no tombstones.
func (e *Env) Living(t *testing.T) (n int) {
	t.Helper()
	for _, raw := range e.Dump(t) {
		if !Tombstone(raw) {
			n++
		}
	}
	return n
}

// Content is what lies under key, whatever its type.
func (e *Env) Content(t *testing.T, key string) string {
	t.Helper()
	ctx := t.Context()
	switch kind := e.Client.Type(ctx, key).Val(); kind {
	case "hash":
		return fmt.Sprint(kind, e.Client.HGetAll(ctx, key).Val())
	case "list":
		return fmt.Sprint(kind, e.Client.LRange(ctx, key, 0, -1).Val())
	default:
		return kind + " " + e.Client.Get(ctx, key).Val()
	}
}
