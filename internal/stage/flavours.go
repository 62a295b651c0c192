package stage

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redistest"
)

// SmallestACL is all that the package needs of a Redis user. Scripts need the
// commands that they call as well. The README shows it; a database other than
// 0 needs +select besides, and a client_name in the URL +client|setname.
const SmallestACL = "~session:* +ping +get +getrange +expire +setex +psetex +del +exists +ttl +pttl +eval +evalsha +scan " +
	"+zadd +zrem +zcard +zscore +zrange"

// ClusterACL is what a cluster's nodes must allow besides: who has which slots,
// and to follow a slot that moves.
const ClusterACL = SmallestACL + " +cluster|slots +command +asking"

// Flavour is one way to run Redis. Its servers are started by the first test
// that asks for them and live as long as the test binary.
type Flavour struct {
	Name  string
	start func(testing.TB) *Env

	mu   sync.Mutex // held while a test uses the servers
	once *Env       // nil until they are started
}

// Flavours are all ways to run Redis that the tests know.
var Flavours = []*Flavour{
	{Name: "acl", start: startACL},
	{Name: "unix socket", start: startUnix},
	{Name: "tls", start: startTLS},
	{Name: "cluster", start: startCluster},
	{Name: "sentinel", start: startSentinel},
}

// flavoursAsked returns the flavours that REDSESSION_TEST_FLAVOURS names: "all",
// or some with commas between them.
func flavoursAsked(t *testing.T) []*Flavour {
	t.Helper()
	asked := os.Getenv("REDSESSION_TEST_FLAVOURS")
	switch asked {
	case "":
		return nil
	case "all":
		return Flavours
	}
	var found []*Flavour
	for _, name := range strings.Split(asked, ",") {
		found = append(found, FlavourNamed(t, name))
	}
	return found
}

// FlavourNamed returns the flavour with that name, and fails the test if there is none.
func FlavourNamed(t *testing.T, name string) *Flavour {
	t.Helper()
	i := slices.IndexFunc(Flavours, func(f *Flavour) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("there is no flavour of Redis named %q", name)
	}
	return Flavours[i]
}

// Env returns the flavour's Redis, empty, with a clock and events of the test's
// own. No other test has it until this one ends.
func (f *Flavour) Env(t *testing.T) *Env {
	t.Helper()
	f.mu.Lock()
	t.Cleanup(f.mu.Unlock)
	if f.once == nil {
		f.once = f.start(&lasting{TB: t})
	}
	if err := f.once.Client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	return &Env{URL: f.once.URL, Client: f.once.Client, Dial: f.once.Dial, Clock: NewClock(), Events: &EventLog{}}
}

// lasting is the test that starts a flavour, except that what it starts stays
// until all tests are over.
type lasting struct{ testing.TB }

// atExit is what Main calls when all tests are over, the last one first.
var atExit struct {
	mu   sync.Mutex // guards list
	list []func()
}

func (b *lasting) Cleanup(f func()) {
	atExit.mu.Lock()
	defer atExit.mu.Unlock()
	atExit.list = append(atExit.list, f)
}

func (b *lasting) Context() context.Context { return context.Background() }

func (b *lasting) TempDir() string {
	b.Helper()
	dir, err := os.MkdirTemp("", "redsession")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

const aclPassword = "p@ss:w/o?r#d%&+="

func startACL(t testing.TB) *Env {
	// Nobody else can look into this Redis: a second line makes a user for the test itself.
	srv := redistest.StartACL(t, "app", aclPassword, SmallestACL, "\nuser admin on nopass ~* &* +@all")
	admin := redis.NewClient(&redis.Options{Addr: srv.Addr, Username: "admin", Password: "any"})
	t.Cleanup(func() { admin.Close() })
	return &Env{URL: srv.URL, Client: admin, Dial: func() redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: srv.Addr, Username: "app", Password: aclPassword, DisableIdentity: true, ContextTimeoutEnabled: true})
	}}
}

func startUnix(t testing.TB) *Env {
	srv := redistest.StartUnix(t)
	return &Env{URL: srv.URL, Client: srv.Client()}
}

func startTLS(t testing.TB) *Env {
	srv := redistest.StartTLS(t)
	return &Env{URL: srv.URL + "?ca=" + srv.CAFile, Client: srv.Client(), Dial: func() redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: srv.Addr, TLSConfig: &tls.Config{RootCAs: srv.Config.RootCAs, ServerName: "localhost"}, ContextTimeoutEnabled: true})
	}}
}

func startCluster(t testing.TB) *Env {
	c := redistest.StartCluster(t)
	return &Env{URL: c.URL, Client: WholeCluster{c.Client()}, Dial: func() redis.UniversalClient {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs, ContextTimeoutEnabled: true})
	}}
}

// WholeCluster asks all masters where a ClusterClient asks any one.
type WholeCluster struct{ *redis.ClusterClient }

// Keys returns the keys of all masters.
func (c WholeCluster) Keys(ctx context.Context, pattern string) *redis.StringSliceCmd {
	var mu sync.Mutex
	all := redis.NewStringSliceCmd(ctx, "keys", pattern)
	all.SetErr(c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		keys, err := node.Keys(ctx, pattern).Result()
		mu.Lock()
		defer mu.Unlock()
		all.SetVal(append(all.Val(), keys...))
		return err
	}))
	return all
}

// FlushAll empties all masters.
func (c WholeCluster) FlushAll(ctx context.Context) *redis.StatusCmd {
	return c.each(ctx, func(node *redis.Client) error { return node.FlushAll(ctx).Err() })
}

// FlushDB is FlushAll: a cluster has one database.
func (c WholeCluster) FlushDB(ctx context.Context) *redis.StatusCmd { return c.FlushAll(ctx) }

// ScriptFlush has all masters forget their scripts.
func (c WholeCluster) ScriptFlush(ctx context.Context) *redis.StatusCmd {
	return c.each(ctx, func(node *redis.Client) error { return node.ScriptFlush(ctx).Err() })
}

func (c WholeCluster) each(ctx context.Context, fn func(*redis.Client) error) *redis.StatusCmd {
	status := redis.NewStatusCmd(ctx)
	status.SetErr(c.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error { return fn(node) }))
	return status
}

func startSentinel(t testing.TB) *Env {
	s := redistest.StartSentinel(t)
	return &Env{URL: s.URL, Client: s.Client(), Dial: func() redis.UniversalClient {
		return redis.NewFailoverClient(&redis.FailoverOptions{MasterName: redistest.MasterName, SentinelAddrs: s.Addrs, ContextTimeoutEnabled: true})
	}}
}

// Restrict makes a user who may do what rules say, and lets e.url be that user's.
func (e *Env) Restrict(t *testing.T, rules string) {
	t.Helper()
	u, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("app", aclPassword)
	e.URL = u.String()
	e.OnEachNode(t, append([]any{"acl", "setuser", "app", "reset", "on", ">" + aclPassword}, words(rules)...)...)
	e.OnEachNode(t, "acl", "log", "reset")
}

func words(text string) []any {
	var all []any
	for w := range strings.FieldsSeq(text) {
		all = append(all, w)
	}
	return all
}

// OnEachNode sends a command to the server, or to all nodes of the cluster, and
// returns the lists that are not empty.
func (e *Env) OnEachNode(t *testing.T, args ...any) string {
	t.Helper()
	nodes := []redis.UniversalClient{e.Client}
	if c, ok := e.Client.(WholeCluster); ok {
		nodes = nil
		for _, addr := range c.Options().Addrs {
			node := redis.NewClient(&redis.Options{Addr: addr})
			defer node.Close()
			nodes = append(nodes, node)
		}
	}
	var replies string
	for _, node := range nodes {
		reply, err := node.Do(t.Context(), args...).Result()
		if err != nil {
			t.Fatal(err)
		}
		if list, isList := reply.([]any); isList && len(list) > 0 {
			replies += fmt.Sprint(reply)
		}
	}
	return replies
}
