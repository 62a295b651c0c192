package outage_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestOutageServesFromMemoryNothingElse(t *testing.T) {
	t.Parallel()
	stamp := stage.NewStamps("")
	for _, row := range []struct {
		name   string
		config func(*redsession.Config)
		before func(o *stage.Outage)
		moved  time.Duration
		want   string
	}{
		{"what is as old as OutageMaxStale is served", nil, nil, 5 * time.Minute, "200 degraded alice"},
		{"what is older than OutageMaxStale is not", nil, nil, 5*time.Minute + time.Second, "503 retry"},
		{"the idle timeout is not over", func(c *redsession.Config) { c.IdleTimeout = 2 * time.Minute }, nil, 119 * time.Second, "200 degraded alice"},
		{"the idle timeout is over", func(c *redsession.Config) { c.IdleTimeout = 2 * time.Minute }, nil, 121 * time.Second, "503 retry"},
		{"the absolute deadline is not over", func(c *redsession.Config) { c.AbsoluteTimeout = 2 * time.Minute }, nil, 118 * time.Second, "200 degraded alice"},
		{"the absolute deadline is over, which the cookie tells", func(c *redsession.Config) { c.AbsoluteTimeout = 2 * time.Minute }, nil, 121 * time.Second, "200 expired"},
		{"it was logged out", nil, func(o *stage.Outage) { o.Here.Fork(o.Here.Cookie()).Must("logout") }, 0, "503 retry"},
		{"its user was revoked", nil, func(o *stage.Outage) { _, _ = o.M.RevokeUser(context.Background(), "alice") }, 0, "503 retry"},
		{"all were revoked", nil, func(o *stage.Outage) { _, _ = o.M.RevokeAll(context.Background()) }, 0, "503 retry"},
		{"its id was logged in from", nil, func(o *stage.Outage) { o.Here.Fork(o.Here.Cookie()).Must("login:alice") }, 0, "503 retry"},
		{"its id was rotated", nil, func(o *stage.Outage) { o.Here.Fork(o.Here.Cookie()).Must("rotate") }, 0, "503 retry"},
		{"another server ended it and this one saw that", nil, func(o *stage.Outage) {
			o.Other.Fork(o.Here.Cookie()).Must("logout")
			o.Here.Fork(o.Here.Cookie()).Must()
		}, 0, "503 retry"},
		{"its user's stamp is the same", stamp.Configure, nil, 0, "200 degraded alice"},
		{"its user's stamp has changed", stamp.Configure, func(*stage.Outage) { stamp.Set("changed", nil) }, 0, "200"},
		{"its user's stamp cannot be had", stamp.Configure, func(*stage.Outage) { stamp.Set("", errors.New("no database")) }, 0, "503 retry"},
		{"the policy is FailClosed", func(c *redsession.Config) { c.Outage = redsession.FailClosed }, nil, 0, "503 retry"},
	} {
		t.Run(row.name, func(t *testing.T) {
			stamp.Set("", nil)
			if row.config == nil {
				row.config = func(*redsession.Config) {}
			}
			o := stage.NewOutage(t, row.config)
			o.Here.Must("login:alice")
			if row.before != nil {
				row.before(o)
			}
			o.Proxy.Refuse(true)
			o.Clock.Add(row.moved)
			if got := stage.Outcome(o.Here.Do()); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestOutageLogoutIsNotUndoneInMemoryByALoadThatItOvertook(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	type slow struct{}
	o := stage.NewOutage(t, func(c *redsession.Config) {
		c.UserStamp = func(ctx context.Context, _ string) (string, error) {
			if s, ok := ctx.Value(slow{}).(bool); ok && s {
				close(entered)
				<-leave
			}
			return "", nil
		}
	})
	o.Here.Must("login:alice")
	cookie, done := o.Here.Cookie(), make(chan struct{})
	go func() { // between Redis's reply and what it is remembered for
		defer close(done)
		r, _ := http.NewRequestWithContext(context.WithValue(context.Background(), slow{}, true), http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: "session", Value: cookie})
		o.M.Handler(http.NotFoundHandler()).ServeHTTP(&stage.Discarded{}, r)
	}()
	<-entered
	o.Here.Must("logout")
	close(leave)
	<-done
	o.Proxy.Refuse(true)
	if got := stage.Outcome(o.Here.Fork(cookie).Do()); got != "503 retry" {
		t.Errorf("a session logged out before the outage: got %q, want 503 retry", got)
	}
}
