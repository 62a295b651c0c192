package redsession_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
)

var secret = []byte("0123456789abcdef0123456789abcdef")

// env is one Redis and a clock that moves its TTLs and Config.Now together.
type env struct {
	url    string
	client redis.UniversalClient        // may do everything, on all masters
	dial   func() redis.UniversalClient // connects to what the URL names; nil if redis.ParseURL knows it
	mini   *miniredis.Miniredis         // nil on a real server
	clock  *clock
	events *eventLog
}

// eachRedis runs test on miniredis, on a redis-server that it starts, and on
// the flavours that REDSESSION_TEST_FLAVOURS names.
func eachRedis(t *testing.T, test func(t *testing.T, e *env)) {
	t.Helper()
	plainRedis(t, test)
	for _, f := range flavoursAsked(t) {
		t.Run(f.name, func(t *testing.T) { test(t, f.env(t)) })
	}
}

// plainRedis is eachRedis for a test that puts a proxy before the one server,
// or needs a database or keys of its own choosing.
func plainRedis(t *testing.T, test func(t *testing.T, e *env)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) { test(t, newMini(t)) })
	t.Run("redis-server", func(t *testing.T) {
		srv := redistest.Start(t)
		test(t, &env{url: srv.URL, client: srv.Client(), clock: newClock(), events: &eventLog{}})
	})
}

func newMini(t *testing.T) *env {
	t.Helper()
	mr := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: mr.Addr()})
	t.Cleanup(func() { client.Close() })
	return &env{url: "redis://" + mr.Addr(), client: client, mini: mr, clock: newClock(), events: &eventLog{}}
}

// manager returns a Manager on e. It waits long for Redis, as these machines
// are slow under -race; a test of RedisTimeout sets it.
func (e *env) manager(t *testing.T, change ...func(*redsession.Config)) *redsession.Manager {
	t.Helper()
	c := redsession.Config{
		URL: e.url, Secrets: [][]byte{secret}, RedisTimeout: 10 * time.Second,
		Cookie: redsession.Cookie{InsecurePlainHTTP: true},
		Logger: slog.New(slog.NewTextHandler(e.events, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:    e.clock.Now, OnEvent: e.events.add,
	}
	for _, f := range change {
		f(&c)
	}
	m, err := redsession.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// advance moves the clock and every TTL in Redis by d.
func (e *env) advance(t *testing.T, d time.Duration) {
	t.Helper()
	e.clock.add(d)
	if e.mini != nil {
		e.mini.FastForward(d)
		return
	}
	ctx := context.Background()
	for _, key := range e.keys(t) {
		ttl, err := e.client.PTTL(ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if ttl < 0 {
			continue // no TTL, or gone meanwhile
		}
		if err := e.client.PExpire(ctx, key, ttl-d).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// keys returns all keys in Redis.
func (e *env) keys(t *testing.T) []string {
	t.Helper()
	keys, err := e.client.Keys(context.Background(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// newClient returns a client of e's, which the caller may change; the end of
// the test closes it.
func (e *env) newClient(t *testing.T) redis.UniversalClient {
	t.Helper()
	var client redis.UniversalClient
	if e.dial != nil {
		client = e.dial()
	} else {
		o, err := redis.ParseURL(e.url)
		if err != nil {
			t.Fatal(err)
		}
		o.ContextTimeoutEnabled = true
		client = redis.NewClient(o)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// dump returns every string key with its value.
func (e *env) dump(t *testing.T) map[string]string {
	t.Helper()
	values := make(map[string]string)
	for _, key := range e.keys(t) {
		if v, err := e.client.Get(context.Background(), key).Result(); err == nil {
			values[key] = v
		}
	}
	return values
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// eventLog collects events, and is a sink for the log.
type eventLog struct {
	mu   sync.Mutex
	list []redsession.Event
	text strings.Builder
}

func (l *eventLog) add(_ context.Context, e redsession.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, e)
}

func (l *eventLog) Write(p []byte) (int, error) {
	sinkLog(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// log returns what was logged.
func (l *eventLog) log() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// of returns the events of one kind.
func (l *eventLog) of(kind redsession.EventKind) []redsession.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []redsession.Event
	for _, e := range l.list {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// handlers maps a path to what its handler does with the session.
type handlers map[string]func(w http.ResponseWriter, r *http.Request, s *redsession.Session)

// serve starts an HTTP server whose handlers run inside m.
func serve(t *testing.T, m *redsession.Manager, hs handlers) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(m.Handler(hs.mux()))
	t.Cleanup(srv.Close)
	return srv
}

func (hs handlers) mux() *http.ServeMux {
	mux := http.NewServeMux()
	for path, h := range hs {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { h(w, r, redsession.FromContext(r.Context())) })
	}
	return mux
}

// browser is a client with a cookie jar.
type browser struct {
	t    *testing.T
	base string
	http *http.Client
}

func newBrowser(t *testing.T, srv *httptest.Server) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, srv.URL, &http.Client{
		Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

// get fetches path. It may be called by several goroutines; it fails the test
// if there is no response at all.
func (b *browser) get(path string) answer {
	b.t.Helper()
	a, err := b.try(path)
	if err != nil {
		b.t.Error(err)
		return answer{Response: &http.Response{Header: http.Header{}}}
	}
	return a
}

func (b *browser) try(path string) (answer, error) {
	res, err := b.http.Get(b.base + path)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	sinkCookies(res)
	body, err := io.ReadAll(res.Body)
	return answer{res, string(body)}, err
}

// cookie returns the value of the session cookie in the jar, "" if there is none.
func (b *browser) cookie() string {
	u, err := url.Parse(b.base)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.http.Jar.Cookies(u) {
		if strings.HasSuffix(c.Name, "session") {
			return c.Value
		}
	}
	return ""
}

// with returns a browser of its own whose jar holds cookie as the session.
func (b *browser) with(cookie string) *browser {
	b.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	u, _ := url.Parse(b.base)
	jar.SetCookies(u, []*http.Cookie{{Name: "session", Value: cookie, Path: "/"}})
	return &browser{b.t, b.base, &http.Client{Jar: jar, Transport: b.http.Transport, CheckRedirect: b.http.CheckRedirect}}
}

// setCookies returns the session's Set-Cookie headers of a response.
func (a answer) setCookies() []*http.Cookie {
	var found []*http.Cookie
	for _, c := range a.Cookies() {
		if strings.HasSuffix(c.Name, "session") {
			found = append(found, c)
		}
	}
	return found
}

// counter counts what a client sends to Redis.
type counter struct {
	mu       sync.Mutex
	commands []string
	trips    int
}

func (c *counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.count(cmd)
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.count(cmds...)
		return next(ctx, cmds)
	}
}

func (c *counter) count(cmds ...redis.Cmder) {
	names := make([]string, 0, len(cmds))
	for _, cmd := range cmds {
		switch name := cmd.Name(); name {
		case "hello", "client", "ping", "select", "auth", "cluster", "command", "asking": // of the connection
		default:
			names = append(names, strings.ToUpper(name))
		}
	}
	if len(names) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commands = append(c.commands, names...)
	c.trips++
}

// take returns what was sent since the last call, as "GET EXPIRE in 1".
func (c *counter) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := fmt.Sprintf("%s in %d", strings.Join(c.commands, " "), c.trips)
	c.commands, c.trips = nil, 0
	return s
}

// counted makes a Manager whose commands are counted.
func (e *env) counted(t *testing.T, change ...func(*redsession.Config)) (*redsession.Manager, *counter) {
	t.Helper()
	client := e.newClient(t)
	c := &counter{}
	client.AddHook(c)
	m := e.manager(t, append(change, func(cfg *redsession.Config) { cfg.URL, cfg.Client = "", client })...)
	c.take()
	return m, c
}
