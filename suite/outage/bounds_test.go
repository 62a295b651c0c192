package outage_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

func TestOutageOfARedisThatDoesNotAnswerIsBounded(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		direct := stage.NewScripted(t, e.Manager(t))
		direct.Must("set:memo:real")
		for _, row := range []struct {
			name   string
			hang   func(p *redistest.Proxy)
			atLoad bool
		}{
			{"a delay at the load", func(p *redistest.Proxy) { p.Delay(time.Hour) }, true}, // longer than any test
			{"a black hole at the commit", func(p *redistest.Proxy) { p.Blackhole(true) }, false},
		} {
			t.Run(row.name, func(t *testing.T) {
				failures := len(e.Events.Of(redsession.EventFailed))
				m, p := e.Behind(t, func(c *redsession.Config) { c.RedisTimeout = 500 * time.Millisecond })
				st := stage.NewScripted(t, m).Fork(direct.Cookie())
				var a stage.Answer
				if row.atLoad {
					row.hang(p)
					a = st.Do("set:memo:late")
				} else {
					release := st.Hold("hold set:memo:late")
					row.hang(p)
					a = release()
				}
				failed := e.Events.Of(redsession.EventFailed)[failures:]
				if len(failed) != 1 || !errors.Is(failed[0].Err, redsession.ErrUnavailable) {
					t.Errorf("got the failures %v, want one that is ErrUnavailable", failed)
				}
				if a.StatusCode != http.StatusServiceUnavailable || len(a.SetCookies()) != 0 {
					t.Errorf("got %d and cookies %v, want 503 and none", a.StatusCode, a.SetCookies())
				}
				p.Delay(0)
				p.Blackhole(false)
				if got := st.Must().Text; got != "memo=real" {
					t.Errorf("afterwards: got %q, want memo=real", got)
				}
			})
		}
	})
}

func TestOutageIsNotWhatACallerGivesUp(t *testing.T) {
	t.Parallel()
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	late, stop := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer stop()
	for _, row := range []struct {
		name string
		ctx  context.Context
	}{{"cancelled", cancelled}, {"past the caller's own deadline", late}} {
		t.Run(row.name, func(t *testing.T) {
			o := stage.NewOutage(t)
			id := o.Here.Must("login:alice").Header.Get("X-Id")
			for _, call := range []func(){
				func() {
					r, _ := http.NewRequestWithContext(row.ctx, http.MethodGet, "/", nil)
					r.AddCookie(&http.Cookie{Name: "session", Value: o.Here.Cookie()})
					o.M.Handler(http.NotFoundHandler()).ServeHTTP(&stage.Discarded{}, r)
				},
				func() { _, _ = o.M.Sessions(row.ctx, "alice") },
				func() { _, _ = o.M.RevokeOf(row.ctx, "bob", id) },
				func() { _ = o.M.Revoke(row.ctx, strings.Repeat("x", 32)) },
			} {
				for range 5 {
					call()
				}
			}
			if began := o.Events.Of(redsession.EventOutageBegan); len(began) != 0 {
				t.Errorf("got %v, want no outage", began)
			}
			if got := stage.Outcome(o.Here.Do("add:n")); got != "200 alice n=1" {
				t.Errorf("got %q, want 200 alice n=1", got)
			}
		})
	}
}

func TestOutageIsBoundedForAClientThatIgnoresContextsToo(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	e := stage.NewEnv(srv.URL, srv.Client())
	heedless := redis.NewClient(&redis.Options{Addr: srv.Addr})
	defer heedless.Close()
	config := func(c *redsession.Config) { c.URL, c.Client, c.RedisTimeout = "", heedless, 300*time.Millisecond }
	m := e.Manager(t, config)
	idle := e.Manager(t, config)
	st, other := stage.NewOutageScripted(t, m), stage.NewScripted(t, e.Manager(t))
	st.Must("login:alice")
	other.Must("login:bob")
	srv.Pause()
	defer srv.Resume()
	for _, row := range []struct {
		name string
		most time.Duration
		do   func()
	}{
		{"a known session's hit", 2 * time.Second, func() { st.Must() }},
		{"an unknown cookie", 2 * time.Second, func() { st.Fork(other.Cookie()).Do() }},
		{"a login", 2 * time.Second, func() { st.Fork("").Do("login:carol") }},
		{"a logout", 2 * time.Second, func() { st.Fork(other.Cookie()).Do("logout") }},
		{"Close with nothing to flush", 2 * time.Second, func() { _ = idle.Close() }},
		{"New", 2 * time.Second, func() { e.Manager(t, config) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			done, begin := make(chan struct{}), time.Now()
			go func() {
				defer close(done)
				row.do()
			}()
			select {
			case <-done:
			case <-time.After(row.most):
				t.Errorf("got nothing within %s, want an end soon after RedisTimeout (300ms)", row.most)
				<-done
				t.Logf("it took %s", time.Since(begin))
			}
		})
	}
}
