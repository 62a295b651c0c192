package refresh_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// Replies that are lost have nobody asked twice.
func TestRefreshWithLostReplies(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for _, nth := range []int64{1, 2} { // the lease's, the value's
			m, p := e.Behind(t)
			st, pr := newSite(t, m).login(t), newProvider()
			var hits atomic.Int64
			p.CutReply(func(args []string) bool { return stage.IsScript(args) && hits.Add(1) == nth })
			if got, err := st.refresh(before(1), pr.renew); err != nil || got.Access != 1 {
				t.Errorf("got %v, %v with reply %d lost, want a token", got, err, nth)
			}
			p.CutReply(nil)
			if got, err := st.refresh(before(1), pr.renew); err != nil || got.Access != 1 || hits.Load() < 2 {
				t.Errorf("got %v, %v afterwards, want the same token", got, err)
			}
			pr.want(t, 1)
		}
	})
}

// While Redis is away nobody is asked, and what is not stale is there.
func TestRefreshInAnOutage(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	st, p := newSite(t, o.M).login(t), newProvider()
	show(st)
	o.Down(t)
	if _, err := st.refresh(before(1), p.renew); !errors.Is(err, redsession.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if got, err := st.refresh(before(0), p.renew); err != nil || got.Refresh != "r0" {
		t.Errorf("got %v, %v of a value that is not stale, want it", got, err)
	}
	o.Up(t)
	if _, err := st.refresh(before(1), p.renew); err != nil {
		t.Error(err)
	}
	p.want(t, 1)
	got, err := st.refresh(before(2), func(ctx context.Context, old token) (token, error) {
		o.Down(t)
		return p.renew(ctx, old)
	})
	if !errors.Is(err, redsession.ErrUnavailable) || got.Access != 2 {
		t.Errorf("got %v, %v where the answer cannot be kept, want it, and ErrUnavailable", got, err)
	}
	o.Up(t)
}

// The write-back waits for Redis while an outage is young: a failover loses no token.
func TestRefreshWaitsForRedis(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t, func(c *redsession.Config) { c.OutageWait = time.Minute })
	st, p := newSite(t, o.M).login(t), newProvider()
	got, err := st.refresh(before(1), func(ctx context.Context, old token) (token, error) {
		o.Down(t)
		time.AfterFunc(50*time.Millisecond, func() { o.Proxy.Refuse(false) })
		return p.renew(ctx, old)
	})
	if err != nil || got.Access != 1 {
		t.Errorf("got %v, %v, want the token once Redis is back", got, err)
	}
	if v := show(st); !strings.Contains(v, "oauth={1 r1}") {
		t.Errorf("got %q, want the token kept", v)
	}
}

// A request that a page sends by itself refreshes without prolonging the session.
func TestRefreshInAPassiveRequest(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, func(c *redsession.Config) {
			c.Passive = func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/run") }
		})
		st, p := newSite(t, m), newProvider()
		st.Must("login:alice")
		e.Advance(t, time.Hour)
		before := left(t, m)
		st.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
			got, err := key.Refresh(r.Context(), s, func(t token) bool { return t.Access < 1 }, func(ctx context.Context, _ token) (token, error) {
				return p.renew(ctx, token{Refresh: "r0"})
			})
			if err != nil || got.Access != 1 {
				t.Errorf("got %v, %v, want a token", got, err)
			}
		})
		if after := left(t, m); after > before || after < before-time.Minute {
			t.Errorf("got %s left, want the %s from before", after, before)
		}
	})
}

// left is how long alice's one session lives.
func left(t *testing.T, m *redsession.Manager) time.Duration {
	t.Helper()
	list, err := m.Sessions(t.Context(), "alice")
	if err != nil || len(list) != 1 {
		t.Fatalf("got %v, %v, want one session", list, err)
	}
	return list[0].TTL
}
