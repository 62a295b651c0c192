package redsession_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/redistest"
)

const policies = 2 // ServeKnown and FailClosed, in this order

// outage is a server whose way to Redis can be cut, and another server whose
// way cannot.
type outage struct {
	*env
	m         *redsession.Manager
	proxy     *redistest.Proxy
	st, other *stage
	began     int // outages so far
}

// newOutage makes the two servers on a miniredis.
func newOutage(t *testing.T, change ...func(*redsession.Config)) *outage {
	t.Helper()
	e := newMini(t)
	m, p := e.behind(t, change...)
	t.Cleanup(func() { p.Refuse(false) }) // so that Close need not wait
	return &outage{env: e, m: m, proxy: p, st: outageStage(t, m), other: newStage(t, e.manager(t, change...))}
}

// outageStage is newStage whose answers tell whether the session is degraded.
func outageStage(t *testing.T, m *redsession.Manager, more ...handlers) *stage {
	t.Helper()
	g := make(gate)
	play := func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		if s.Degraded() {
			w.Header().Set("X-Degraded", "true")
		}
		g.play(w, r, s)
	}
	st := newStage(t, m, append(more, handlers{"/": play})...)
	return &stage{st.browser, g}
}

// down cuts the server off Redis and has it notice.
func (o *outage) down(t *testing.T) {
	t.Helper()
	o.proxy.Refuse(true)
	o.began++
	inTheEnd(t, "the beginning of the outage", func() bool {
		_, _ = o.m.Sessions(t.Context(), "nobody")
		return len(o.events.of(redsession.EventOutageBegan)) == o.began
	})
	if n := len(o.events.of(redsession.EventOutageBegan)); n != o.began {
		t.Fatalf("after three failures: got %d outages begun, want %d", n, o.began)
	}
}

// up leads the server to Redis again and returns once it has noticed.
func (o *outage) up(t *testing.T) {
	t.Helper()
	o.proxy.Refuse(false)
	inTheEnd(t, "the end of the outage", func() bool { return len(o.events.of(redsession.EventOutageEnded)) == o.began })
}

// inTheEnd waits for what happens in the background.
func inTheEnd(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// outcome is what a browser sees: "200 degraded expired alice n=1".
func outcome(a answer) string {
	words := []string{strconv.Itoa(a.StatusCode)}
	if a.Header.Get("Retry-After") != "" {
		words = append(words, "retry")
	}
	if a.Header.Get("X-Degraded") != "" {
		words = append(words, "degraded")
	}
	for _, c := range a.setCookies() {
		if c.MaxAge < 0 {
			words = append(words, "expired")
		} else {
			words = append(words, "set")
		}
	}
	if a.StatusCode == http.StatusOK && a.body != "" {
		words = append(words, a.body)
	}
	return strings.Join(words, " ")
}

// living counts the records in Redis that are no tombstones.
func (e *env) living(t *testing.T) (n int) {
	t.Helper()
	for _, raw := range e.dump(t) {
		if !record.IsTombstone(raw) {
			n++
		}
	}
	return n
}

func TestRedisAway(t *testing.T) {
	for _, fault := range []struct {
		name     string
		away     func(srv *redistest.Server, p *redistest.Proxy)
		back     func(srv *redistest.Server, p *redistest.Proxy)
		directly bool
	}{
		{"killed", func(srv *redistest.Server, _ *redistest.Proxy) { srv.Kill() }, func(srv *redistest.Server, _ *redistest.Proxy) { srv.Restart() }, true},
		{"frozen", func(srv *redistest.Server, _ *redistest.Proxy) { srv.Pause() }, func(srv *redistest.Server, _ *redistest.Proxy) { srv.Resume() }, true},
		{"black-holed", func(_ *redistest.Server, p *redistest.Proxy) { p.Blackhole(true) }, func(_ *redistest.Server, p *redistest.Proxy) { p.Blackhole(false) }, false},
	} {
		for policy := range redsession.OutagePolicy(policies) {
			t.Run(fault.name+"/"+[policies]string{"ServeKnown", "FailClosed"}[policy], func(t *testing.T) {
				t.Parallel()
				srv := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
				e := &env{url: srv.URL, client: srv.Client(), clock: newClock(), events: &eventLog{}}
				p := redistest.NewProxy(t, srv.Addr)
				m := e.manager(t, func(c *redsession.Config) {
					c.Outage, c.RedisTimeout, c.RotateEvery = policy, 600*time.Millisecond, time.Minute
					if !fault.directly {
						c.URL = p.URL
					}
				})
				o := &outage{env: e, m: m, proxy: p, st: outageStage(t, m), other: newStage(t, e.manager(t))}
				o.section7(t, policy, func() { fault.away(srv, p) }, func() { fault.back(srv, p) })
			})
		}
	}
}

// section7 plays the table of the design's section 7.
func (o *outage) section7(t *testing.T, policy redsession.OutagePolicy, away, back func()) {
	known, leaver, visitor := o.st, o.st.fork(""), o.st.fork("")
	known.must("login:alice add:n")
	leaver.must("login:bob set:x:1")
	o.other.must("login:carol set:y:1")
	stranger := o.st.fork(o.other.cookie())
	left := leaver.fork(leaver.cookie())
	cookies := []string{known.cookie(), stranger.cookie(), ""}

	away()
	for _, row := range []struct {
		name  string
		st    *stage
		ops   string
		wants [policies]string
	}{
		{"no cookie and no write is served", visitor, "", [2]string{"200", "200"}},
		{"a known session is read while nobody knows of the outage", known, "", [2]string{"200 degraded alice n=1", "503 retry"}},
		{"a known session is read a second time", known, "", [2]string{"200 degraded alice n=1", "503 retry"}},
		{"a known session is read a third time", known, "", [2]string{"200 degraded alice n=1", "503 retry"}},
		{"a known session is written", known, "set:a:1 add:n", [2]string{"200 degraded alice a=1 n=2", "503 retry"}},
		{"the next request sees that", known, "add:n", [2]string{"200 degraded alice a=1 n=3", "503 retry"}},
		{"a login from a known session fails", known, "login:eve", [2]string{"503 retry", "503 retry"}},
		{"a login of nobody's fails", visitor, "login:dave", [2]string{"503 retry", "503 retry"}},
		{"the first write of a visitor fails", visitor, "set:a:1", [2]string{"503 retry", "503 retry"}},
		{"another server's session is not anonymous", stranger, "", [2]string{"503 retry", "503 retry"}},
		{"another server's session takes no write", stranger, "set:a:1", [2]string{"503 retry", "503 retry"}},
		{"another server's session logs nobody in", stranger, "login:mallory", [2]string{"503 retry", "503 retry"}},
		{"another server's session is not logged out", stranger, "logout", [2]string{"503 retry", "503 retry"}},
		{"a known session is logged out", leaver, "logout", [2]string{"200 degraded expired", "503 retry"}},
		{"its cookie leads nowhere", left, "", [2]string{"200", "503 retry"}},
		{"its cookie writes nothing", left, "set:x:2", [2]string{"409", "503 retry"}},
		{"a known session is still what it was", known, "", [2]string{"200 degraded alice a=1 n=3", "503 retry"}},
	} {
		if got, want := outcome(row.st.do(row.ops)), row.wants[policy]; got != want {
			t.Errorf("%s: got %q, want %q", row.name, got, want)
		}
	}
	o.clock.add(2 * time.Minute) // a rotation is due
	known.do()
	if got := []string{known.cookie(), stranger.cookie(), visitor.cookie()}; !slices.Equal(got, cookies) {
		t.Errorf("got other cookies at the end of the outage, want those from before")
	}
	if n := o.m.Stats().Rotated; n != 0 {
		t.Errorf("got %d rotations during the outage, want none", n)
	}
	back()
	o.afterwards(t, policy, left)
}

// afterwards looks at what is left of section7's outage.
func (o *outage) afterwards(t *testing.T, policy redsession.OutagePolicy, left *stage) {
	alice := [policies]string{"alice a=1 n=3", "alice n=1"}[policy]
	inTheEnd(t, "an answer from Redis", func() bool {
		a := o.st.do()
		if policy == redsession.ServeKnown && a.body != alice {
			t.Fatalf("while Redis comes back: got %q, want %q", outcome(a), alice)
		}
		return a.StatusCode == http.StatusOK && a.Header.Get("X-Degraded") == ""
	})
	records := [policies]int{2, 3}[policy]
	inTheEnd(t, "the logout in Redis", func() bool { return o.living(t) <= records })
	for _, row := range []struct{ name, got, want string }{
		{"alice", o.st.do().body, alice},
		{"alice, on another server", o.other.fork(o.st.cookie()).do().body, alice},
		{"bob", left.do().body, [policies]string{"", "bob x=1"}[policy]},
		{"bob, on another server", o.other.fork(left.cookie()).do().body, [policies]string{"", "bob x=1"}[policy]},
		{"carol", o.st.fork(o.other.cookie()).do().body, "carol y=1"},
	} {
		if row.got != row.want {
			t.Errorf("after the outage, %s: got %q, want %q", row.name, row.got, row.want)
		}
	}
	if n := o.living(t); n != records {
		t.Errorf("got %d records in Redis, want %d: no login of the outage left one", n, records)
	}
	began, ended := o.events.of(redsession.EventOutageBegan), o.events.of(redsession.EventOutageEnded)
	if len(began) != 1 || len(ended) != 1 || began[0].Err == nil {
		t.Errorf("got %v and %v, want one beginning, with its reason, and one end", began, ended)
	}
}

func TestWhatAnOutageDoesNotServeFromMemory(t *testing.T) {
	stamp := &stamps{}
	for _, row := range []struct {
		name   string
		config func(*redsession.Config)
		before func(o *outage)
		moved  time.Duration
		want   string
	}{
		{"what is as old as OutageMaxStale is served", nil, nil, 5 * time.Minute, "200 degraded alice"},
		{"what is older than OutageMaxStale is not", nil, nil, 5*time.Minute + time.Second, "503 retry"},
		{"the idle timeout is not over", func(c *redsession.Config) { c.IdleTimeout = 2 * time.Minute }, nil, 119 * time.Second, "200 degraded alice"},
		{"the idle timeout is over", func(c *redsession.Config) { c.IdleTimeout = 2 * time.Minute }, nil, 121 * time.Second, "503 retry"},
		{"the absolute deadline is not over", func(c *redsession.Config) { c.AbsoluteTimeout = 2 * time.Minute }, nil, 118 * time.Second, "200 degraded alice"},
		{"the absolute deadline is over, which the cookie tells", func(c *redsession.Config) { c.AbsoluteTimeout = 2 * time.Minute }, nil, 121 * time.Second, "200 expired"},
		{"it was logged out", nil, func(o *outage) { o.st.fork(o.st.cookie()).must("logout") }, 0, "503 retry"},
		{"its user was revoked", nil, func(o *outage) { _, _ = o.m.RevokeUser(context.Background(), "alice") }, 0, "503 retry"},
		{"all were revoked", nil, func(o *outage) { _, _ = o.m.RevokeAll(context.Background()) }, 0, "503 retry"},
		{"its id was logged in from", nil, func(o *outage) { o.st.fork(o.st.cookie()).must("login:alice") }, 0, "503 retry"},
		{"its id was rotated", nil, func(o *outage) { o.st.fork(o.st.cookie()).must("rotate") }, 0, "503 retry"},
		{"another server ended it and this one saw that", nil, func(o *outage) {
			o.other.fork(o.st.cookie()).must("logout")
			o.st.fork(o.st.cookie()).must()
		}, 0, "503 retry"},
		{"its user's stamp is the same", stamp.configure, nil, 0, "200 degraded alice"},
		{"its user's stamp has changed", stamp.configure, func(*outage) { stamp.set("changed", nil) }, 0, "200"},
		{"its user's stamp cannot be had", stamp.configure, func(*outage) { stamp.set("", errors.New("no database")) }, 0, "503 retry"},
		{"the policy is FailClosed", func(c *redsession.Config) { c.Outage = redsession.FailClosed }, nil, 0, "503 retry"},
	} {
		stamp.set("", nil)
		if row.config == nil {
			row.config = func(*redsession.Config) {}
		}
		o := newOutage(t, row.config)
		o.st.must("login:alice")
		if row.before != nil {
			row.before(o)
		}
		o.proxy.Refuse(true)
		o.clock.add(row.moved)
		if got := outcome(o.st.do()); got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
		}
	}
}

func TestALogoutIsNotUndoneInMemoryByALoadThatItOvertook(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	type slow struct{}
	o := newOutage(t, func(c *redsession.Config) {
		c.UserStamp = func(ctx context.Context, _ string) (string, error) {
			if s, ok := ctx.Value(slow{}).(bool); ok && s {
				close(entered)
				<-leave
			}
			return "", nil
		}
	})
	o.st.must("login:alice")
	cookie, done := o.st.cookie(), make(chan struct{})
	go func() { // between Redis's reply and what it is remembered for
		defer close(done)
		r, _ := http.NewRequestWithContext(context.WithValue(context.Background(), slow{}, true), http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: "session", Value: cookie})
		o.m.Handler(http.NotFoundHandler()).ServeHTTP(&discarded{}, r)
	}()
	<-entered
	o.st.must("logout")
	close(leave)
	<-done
	o.proxy.Refuse(true)
	if got := outcome(o.st.fork(cookie).do()); got != "503 retry" {
		t.Errorf("a session logged out before the outage: got %q, want 503 retry", got)
	}
}

// discarded is a response that nobody reads.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header {
	if d.header == nil {
		d.header = http.Header{}
	}
	return d.header
}
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarded) WriteHeader(int)             {}

func TestLoadsFromMemoryAreCounted(t *testing.T) {
	o := newOutage(t)
	o.st.must("login:alice")
	o.down(t)
	o.st.must()
	o.st.must("set:a:1")
	if s := o.m.Stats(); s.Degraded != 2 || s.Postponed != 1 || s.Outages != 1 {
		t.Errorf("got %d degraded, %d postponed, %d outages, want 2, 1, 1", s.Degraded, s.Postponed, s.Outages)
	}
}

func TestAnOpenBreakerSparesRequestsTheWait(t *testing.T) {
	e := newMini(t)
	o := &outage{env: e, proxy: redistest.NewProxy(t, strings.TrimPrefix(e.url, "redis://"))}
	behind := *e
	behind.url = o.proxy.URL
	m, sent := behind.counted(t, func(c *redsession.Config) { c.RedisTimeout = 300 * time.Millisecond })
	st, other := outageStage(t, m), newStage(t, e.manager(t))
	st.must("login:alice")
	other.must("login:bob")
	o.proxy.Blackhole(true)
	for range 3 {
		st.must()
	}
	sent.take()
	for range 50 {
		st.must("add:n")
		st.fork(other.cookie()).do()
	}
	if got := sent.take(); got != " in 0" {
		t.Errorf("once the breaker is open: got %q sent by 100 requests, want nothing", got)
	}
	o.proxy.Blackhole(false)
	inTheEnd(t, "the end of the outage, without any request", func() bool { return len(e.events.of(redsession.EventOutageEnded)) > 0 })
	// On a slow machine the 50 changes are not all replayed within RedisTimeout.
	if got := strings.Replace(outcome(st.do()), " degraded", "", 1); got != "200 alice n=50" {
		t.Errorf("after the outage: got %q, want 200 alice n=50", got)
	}
	if b, n := len(e.events.of(redsession.EventOutageBegan)), len(e.events.of(redsession.EventOutageEnded)); b != 1 || n != 1 {
		t.Errorf("got %d outages begun and %d ended, want 1 and 1", b, n)
	}
}

func TestWhatACallerGivesUpIsNoOutage(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	late, stop := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer stop()
	for _, row := range []struct {
		name string
		ctx  context.Context
	}{{"cancelled", cancelled}, {"past the caller's own deadline", late}} {
		o := newOutage(t)
		id := o.st.must("login:alice").Header.Get("X-Id")
		for _, call := range []func(){
			func() {
				r, _ := http.NewRequestWithContext(row.ctx, http.MethodGet, "/", nil)
				r.AddCookie(&http.Cookie{Name: "session", Value: o.st.cookie()})
				o.m.Handler(http.NotFoundHandler()).ServeHTTP(&discarded{}, r)
			},
			func() { _, _ = o.m.Sessions(row.ctx, "alice") },
			func() { _, _ = o.m.RevokeOf(row.ctx, "bob", id) },
			func() { _ = o.m.Revoke(row.ctx, strings.Repeat("x", 32)) },
		} {
			for range 5 {
				call()
			}
		}
		if began := o.events.of(redsession.EventOutageBegan); len(began) != 0 {
			t.Errorf("%s: got %v, want no outage", row.name, began)
		}
		if got := outcome(o.st.do("add:n")); got != "200 alice n=1" {
			t.Errorf("%s: got %q, want 200 alice n=1", row.name, got)
		}
	}
}

func TestAClientThatIgnoresContextsIsBoundedToo(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	e := &env{url: srv.URL, client: srv.Client(), clock: newClock(), events: &eventLog{}}
	heedless := redis.NewClient(&redis.Options{Addr: srv.Addr})
	defer heedless.Close()
	config := func(c *redsession.Config) { c.URL, c.Client, c.RedisTimeout = "", heedless, 300*time.Millisecond }
	m := e.manager(t, config)
	st, other := outageStage(t, m), newStage(t, e.manager(t))
	st.must("login:alice")
	other.must("login:bob")
	srv.Pause()
	defer srv.Resume()
	for _, row := range []struct {
		name string
		most time.Duration
		do   func()
	}{
		{"a known session's hit", 2 * time.Second, func() { st.must() }},
		{"an unknown cookie", 2 * time.Second, func() { st.fork(other.cookie()).do() }},
		{"a login", 2 * time.Second, func() { st.fork("").do("login:carol") }},
		{"a logout", 2 * time.Second, func() { st.fork(other.cookie()).do("logout") }},
		{"Close with nothing to flush", 2 * time.Second, func() { _ = m.Close() }},
		{"New", 2 * time.Second, func() { e.manager(t, config) }},
	} {
		done, begin := make(chan struct{}), time.Now()
		go func() {
			defer close(done)
			row.do()
		}()
		select {
		case <-done:
		case <-time.After(row.most):
			t.Errorf("%s: got nothing within %s, want an end soon after RedisTimeout (300ms)", row.name, row.most)
			<-done
			t.Logf("%s took %s", row.name, time.Since(begin))
		}
	}
}
