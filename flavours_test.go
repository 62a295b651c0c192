package redsession_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

// smallestACL is all that the package needs of a Redis user. Scripts need the
// commands that they call as well. The README shows it; a database other than
// 0 needs +select besides, and a client_name in the URL +client|setname.
const smallestACL = "~session:* +ping +get +getrange +expire +setex +del +ttl +pttl +eval +evalsha +scan " +
	"+zadd +zrem +zcard +zcount +zscore +zrange +zrangebyscore"

// clusterACL is what a cluster's nodes must allow besides: who has which slots,
// and to follow a slot that moves.
const clusterACL = smallestACL + " +cluster|slots +command +asking"

// flavour is one way to run Redis. Its servers are started by the first test
// that asks for them and live as long as the test binary.
type flavour struct {
	name  string
	start func(testing.TB) *env

	mu   sync.Mutex // held while a test uses the servers
	once *env       // nil until they are started
}

var flavours = []*flavour{
	{name: "acl", start: startACL},
	{name: "unix socket", start: startUnix},
	{name: "tls", start: startTLS},
	{name: "cluster", start: startCluster},
	{name: "sentinel", start: startSentinel},
}

// flavoursAsked returns the flavours that REDSESSION_TEST_FLAVOURS names: "all",
// or some with commas between them.
func flavoursAsked(t *testing.T) []*flavour {
	t.Helper()
	asked := os.Getenv("REDSESSION_TEST_FLAVOURS")
	switch asked {
	case "":
		return nil
	case "all":
		return flavours
	}
	var found []*flavour
	for _, name := range strings.Split(asked, ",") {
		found = append(found, flavourNamed(t, name))
	}
	return found
}

func flavourNamed(t *testing.T, name string) *flavour {
	t.Helper()
	i := slices.IndexFunc(flavours, func(f *flavour) bool { return f.name == name })
	if i < 0 {
		t.Fatalf("there is no flavour of Redis named %q", name)
	}
	return flavours[i]
}

// env returns the flavour's Redis, empty, with a clock and events of the test's
// own. No other test has it until this one ends.
func (f *flavour) env(t *testing.T) *env {
	t.Helper()
	f.mu.Lock()
	t.Cleanup(f.mu.Unlock)
	if f.once == nil {
		f.once = f.start(&lasting{TB: t})
	}
	if err := f.once.client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	return &env{url: f.once.url, client: f.once.client, dial: f.once.dial, clock: newClock(), events: &eventLog{}}
}

// lasting is the test that starts a flavour, except that what it starts stays
// until all tests are over.
type lasting struct{ testing.TB }

var atExit []func()

func (b *lasting) Cleanup(f func())         { atExit = append(atExit, f) }
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

func TestMain(m *testing.M) {
	code := m.Run()
	if err := leaked(); err != nil {
		fmt.Println("FAIL:", err)
		code = 1
	}
	for _, f := range slices.Backward(atExit) {
		f()
	}
	os.Exit(code)
}

const aclPassword = "p@ss:w/o?r#d%&+="

func startACL(t testing.TB) *env {
	// Nobody else can look into this Redis: a second line makes a user for the test itself.
	srv := redistest.StartACL(t, "app", aclPassword, smallestACL, "\nuser admin on nopass ~* &* +@all")
	admin := redis.NewClient(&redis.Options{Addr: srv.Addr, Username: "admin", Password: "any"})
	t.Cleanup(func() { admin.Close() })
	return &env{url: srv.URL, client: admin, dial: func() redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: srv.Addr, Username: "app", Password: aclPassword, DisableIdentity: true, ContextTimeoutEnabled: true})
	}}
}

func startUnix(t testing.TB) *env {
	srv := redistest.StartUnix(t)
	return &env{url: srv.URL, client: srv.Client()}
}

func startTLS(t testing.TB) *env {
	srv := redistest.StartTLS(t)
	return &env{url: srv.URL + "?ca=" + srv.CAFile, client: srv.Client(), dial: func() redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: srv.Addr, TLSConfig: &tls.Config{RootCAs: srv.Config.RootCAs, ServerName: "localhost"}, ContextTimeoutEnabled: true})
	}}
}

func startCluster(t testing.TB) *env {
	c := redistest.StartCluster(t)
	return &env{url: c.URL, client: wholeCluster{c.Client()}, dial: func() redis.UniversalClient {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs, ContextTimeoutEnabled: true})
	}}
}

// wholeCluster asks all masters where a ClusterClient asks any one.
type wholeCluster struct{ *redis.ClusterClient }

func (c wholeCluster) Keys(ctx context.Context, pattern string) *redis.StringSliceCmd {
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

func (c wholeCluster) FlushAll(ctx context.Context) *redis.StatusCmd {
	return c.each(ctx, func(node *redis.Client) error { return node.FlushAll(ctx).Err() })
}

func (c wholeCluster) FlushDB(ctx context.Context) *redis.StatusCmd { return c.FlushAll(ctx) }

func (c wholeCluster) ScriptFlush(ctx context.Context) *redis.StatusCmd {
	return c.each(ctx, func(node *redis.Client) error { return node.ScriptFlush(ctx).Err() })
}

func (c wholeCluster) each(ctx context.Context, fn func(*redis.Client) error) *redis.StatusCmd {
	status := redis.NewStatusCmd(ctx)
	status.SetErr(c.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error { return fn(node) }))
	return status
}

func startSentinel(t testing.TB) *env {
	s := redistest.StartSentinel(t)
	return &env{url: s.URL, client: s.Client(), dial: func() redis.UniversalClient {
		return redis.NewFailoverClient(&redis.FailoverOptions{MasterName: redistest.MasterName, SentinelAddrs: s.Addrs, ContextTimeoutEnabled: true})
	}}
}

// flavourPages is what the whole life of some sessions is made of.
func flavourPages(m *redsession.Manager) handlers {
	return handlers{
		"/add": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			wholeCount.Update(s, func(n int) int { return n + 1 })
			wholeNote.Set(s, "written in clear")
		},
		"/state": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			n, _ := wholeCount.Get(s)
			fmt.Fprintf(w, "%q %d", s.UserID(), n)
		},
		"/login":  func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Login("alice") },
		"/logout": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Logout() },
		"/others": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			n, err := m.RevokeOthers(r.Context(), s)
			fmt.Fprint(w, n, err)
		},
	}
}

const (
	wholeCount = redsession.Key[int]("count")
	wholeNote  = redsession.Key[string]("note")
)

// liveThrough lets sessions be written, logged in, rotated, listed, limited,
// revoked and logged out on e.
func liveThrough(t *testing.T, e *env) {
	t.Helper()
	m := e.manager(t, func(c *redsession.Config) { c.MaxPerUser, c.Encrypt = 2, true })
	srv := serve(t, m, flavourPages(m))
	first, second, third := newBrowser(t, srv), newBrowser(t, srv), newBrowser(t, srv)
	want := func(b *browser, path string, status int, body string) {
		t.Helper()
		if a := b.get(path); a.StatusCode != status || body != "" && a.body != body {
			t.Errorf("%s: got %d %q, want %d %q", path, a.StatusCode, a.body, status, body)
		}
	}
	want(first, "/add", 200, "")
	var parallel sync.WaitGroup
	for range 10 {
		parallel.Go(func() { want(first, "/add", 200, "") })
	}
	parallel.Wait()
	want(first, "/state", 200, `"" 11`)
	anonymous := first.cookie()
	want(first, "/login", 200, "")
	login := first.cookie()
	want(first, "/state", 200, `"alice" 11`)
	e.advance(t, 3*time.Hour)
	want(first, "/state", 200, `"alice" 11`)
	if anonymous == login || login == first.cookie() {
		t.Error("got the same cookie after a login, or after the rotation was due, want another")
	}
	want(first, "/state", 200, `"alice" 11`)
	want(first.with(login), "/state", 200, `"alice" 11`) // within the grace
	wantMortal(t, e)
	for key, value := range e.dump(t) {
		if strings.Contains(value, "written in clear") {
			t.Errorf("%s: got a value that can be read, want it encrypted", key)
		}
	}
	want(second, "/login", 200, "")
	wantDevices(t, m, 2)
	want(third, "/login", 200, "")
	want(first, "/state", 200, `"" 0`) // MaxPerUser
	wantDevices(t, m, 2)
	want(third, "/others", 200, "1 <nil>")
	want(second, "/state", 200, `"" 0`)
	wantDevices(t, m, 1)
	wantMortal(t, e)
	want(third, "/logout", 200, "")
	want(third, "/state", 200, `"" 0`)
	wantDevices(t, m, 0)
	want(third, "/login", 200, "")
	if n, err := m.RevokeAll(t.Context()); n != 1 || err != nil {
		t.Errorf("RevokeAll: got %d, %v, want 1", n, err)
	}
	want(third, "/state", 200, `"" 0`)
	wantMortal(t, e)
	if failed := e.events.of(redsession.EventFailed); len(failed) > 0 {
		t.Errorf("got failures %v, want none", failed)
	}
}

// wantDevices checks that n sessions of alice's, and no others, are listed by
// user, listed and counted.
func wantDevices(t *testing.T, m *redsession.Manager, n int) {
	t.Helper()
	devices, err := m.Sessions(t.Context(), "alice")
	if len(devices) != n || err != nil {
		t.Errorf("Sessions: got %d, %v, want %d", len(devices), err, n)
	}
	if got, err := m.Count(t.Context()); got != n || err != nil {
		t.Errorf("Count: got %d, %v, want %d", got, err, n)
	}
	all := 0
	for info, err := range m.All(t.Context()) {
		if all++; err != nil || info.UserID != "alice" {
			t.Errorf("All: got %q, %v, want alice", info.UserID, err)
		}
	}
	if all != n {
		t.Errorf("All: got %d, want %d", all, n)
	}
}

// wantMortal checks that every key ends by itself.
func wantMortal(t *testing.T, e *env) {
	t.Helper()
	for _, key := range e.keys(t) {
		if ttl := e.client.TTL(t.Context(), key).Val(); ttl == -1 {
			t.Errorf("%s: got no TTL, want one", key)
		}
	}
}

func TestTheWholeLifeOnEveryRedis(t *testing.T) {
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			e := f.env(t)
			liveThrough(t, e)
			wantRefusedStranger(t, e)
		})
	}
}

// wantRefusedStranger checks that a wrong password is an error that says so and
// does not show it.
func wantRefusedStranger(t *testing.T, e *env) {
	t.Helper()
	u, err := url.Parse(e.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("stranger", "hunter2")
	wantRefusal(t, u.String(), "WRONGPASS")
}

// wantRefusal checks that a list says why Redis cannot be had at url, and that
// the log of New does.
func wantRefusal(t *testing.T, url, want string) {
	t.Helper()
	e := &env{url: url, clock: newClock(), events: &eventLog{}}
	m := e.manager(t)
	_, err := m.Count(t.Context())
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Count: got error %v, want one that says %q and no password", err, want)
	}
	if log := e.events.log(); !strings.Contains(log, "cannot be reached") || !strings.Contains(log, want) || strings.Contains(log, "hunter2") {
		t.Errorf("got log %q, want %q and no password", log, want)
	}
}

func TestAuthorityThatSignedNothingHereIsRefused(t *testing.T) {
	tlsEnv := flavourNamed(t, "tls").env(t)
	other := redistest.StartTLS(t)
	base, _, _ := strings.Cut(tlsEnv.url, "?")
	wantRefusal(t, strings.Replace(base, "rediss://", "rediss://:hunter2@", 1)+"?ca="+other.CAFile, "certificate signed by unknown authority")
}

func TestTheSmallestACLIsEnough(t *testing.T) {
	for _, row := range []struct {
		name, flavour, rules string
	}{
		{"one server", "unix socket", smallestACL},
		{"a cluster", "cluster", clusterACL},
		{"the primary that sentinels watch", "sentinel", smallestACL},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := flavourNamed(t, row.flavour).env(t)
			e.restrict(t, row.rules)
			liveThrough(t, e)
			if refused := e.onEachNode(t, "acl", "log"); refused != "" {
				t.Errorf("got refusals %s, want none", refused)
			}
			e.onEachNode(t, "acl", "deluser", "app")
		})
	}
}

// restrict makes a user who may do what rules say, and lets e.url be that user's.
func (e *env) restrict(t *testing.T, rules string) {
	t.Helper()
	u, err := url.Parse(e.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("app", aclPassword)
	e.url = u.String()
	e.onEachNode(t, append([]any{"acl", "setuser", "app", "reset", "on", ">" + aclPassword}, words(rules)...)...)
	e.onEachNode(t, "acl", "log", "reset")
}

func words(text string) []any {
	var all []any
	for w := range strings.FieldsSeq(text) {
		all = append(all, w)
	}
	return all
}

// onEachNode sends a command to the server, or to all nodes of the cluster, and
// returns the lists that are not empty.
func (e *env) onEachNode(t *testing.T, args ...any) string {
	t.Helper()
	nodes := []redis.UniversalClient{e.client}
	if c, ok := e.client.(wholeCluster); ok {
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

func TestNoCommandOfTheSmallestACLCanGo(t *testing.T) {
	e := flavourNamed(t, "acl").env(t)
	for rule := range strings.FieldsSeq(smallestACL) {
		command, ok := strings.CutPrefix(rule, "+")
		if !ok {
			continue
		}
		t.Run("without "+command, func(t *testing.T) {
			e.onEachNode(t, "acl", "setuser", "app", "-"+command)
			e.onEachNode(t, "script", "flush")
			e.onEachNode(t, "acl", "log", "reset")
			bustle(t, e)
			if refused := e.onEachNode(t, "acl", "log"); !strings.Contains(refused, "object:"+command+" ") {
				t.Errorf("got refusals %q, want one of %s", refused, command)
			}
			e.onEachNode(t, "acl", "setuser", "app", rule)
		})
	}
}

// bustle does something of everything, whether it works or not.
func bustle(t *testing.T, e *env) {
	t.Helper()
	m := e.manager(t, func(c *redsession.Config) { c.MaxPerUser = 1 })
	srv := serve(t, m, flavourPages(m))
	first, second := newBrowser(t, srv), newBrowser(t, srv)
	for _, path := range []string{"/add", "/add", "/login", "/add", "/others"} {
		first.get(path)
	}
	second.get("/login")
	second.get("/logout")
	second.get("/login")
	_, _ = m.Sessions(t.Context(), "alice")
	_, _ = m.RevokeAll(t.Context())
}
