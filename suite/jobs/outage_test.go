package jobs_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
	"github.com/redsession/redsession/redsessiontest"
)

// A reply that is lost makes no change twice.
func TestChangeWithLostReplies(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m, p := e.Behind(t)
		_, id := login(t, e.Manager(t), "alice")
		var hits, acknowledged, failed atomic.Int64
		p.CutReply(func(args []string) bool { return stage.IsScript(args) && hits.Add(1)%3 == 0 })
		for range 30 {
			switch err := m.ChangeOf(t.Context(), "alice", id, add); {
			case err == nil:
				acknowledged.Add(1)
			case errors.Is(err, redsession.ErrUnavailable):
				failed.Add(1)
			default:
				t.Error(err)
			}
		}
		p.CutReply(nil)
		if err := e.Manager(t).Change(t.Context(), id, func(s *redsession.Session) error {
			if n, _ := count.Get(s); int64(n) < acknowledged.Load() || int64(n) > acknowledged.Load()+failed.Load() {
				t.Errorf("got n=%d, want %d, and %d more at most", n, acknowledged.Load(), failed.Load())
			}
			return nil
		}); err != nil || hits.Load() < 10 {
			t.Errorf("got %v, and %d replies lost", err, hits.Load()/3)
		}
	})
}

// In an outage a job fails, and what this process remembers is what the job wrote before.
func TestChangeInAnOutage(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	id := o.Here.Must("login:alice", "save").Header.Get("X-Id")
	o.Here.Must("set:a:1")
	if err := o.M.ChangeOf(t.Context(), "alice", id, add); err != nil {
		t.Fatal(err)
	}
	o.Down(t)
	if got := stage.Outcome(o.Here.Do()); got != "200 degraded alice a=1 n=1" {
		t.Errorf("got %q in the outage, want what the job wrote", got)
	}
	ran := false
	if err := o.M.ChangeOf(t.Context(), "alice", id, func(*redsession.Session) error { ran = true; return nil }); !errors.Is(err, redsession.ErrUnavailable) || ran {
		t.Errorf("got %v, and that fn ran is %t, want ErrUnavailable alone", err, ran)
	}
	if _, err := o.M.ChangeUser(t.Context(), "alice", add); !errors.Is(err, redsession.ErrUnavailable) {
		t.Errorf("got %v from ChangeUser, want ErrUnavailable", err)
	}
	o.Up(t)
	if err := o.M.ChangeOf(t.Context(), "alice", id, add); err != nil {
		t.Error(err)
	}
}

// While an outage is young a job waits, in its load and in its commit.
func TestChangeWaitsForRedis(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"before fn", "after fn"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			o := stage.NewOutage(t, func(c *redsession.Config) { c.OutageWait = time.Minute })
			id := o.Here.Must("login:alice", "save").Header.Get("X-Id")
			away := func() {
				o.Down(t)
				time.AfterFunc(50*time.Millisecond, func() { o.Proxy.Refuse(false) })
			}
			if where == "before fn" {
				away()
			}
			err := o.M.ChangeOf(t.Context(), "alice", id, func(s *redsession.Session) error {
				if where == "after fn" {
					away()
				}
				return add(s)
			})
			if err != nil {
				t.Errorf("got %v, want the job to wait", err)
			}
		})
	}
}

// A job is no thief: it needs no proof of the device.
func TestChangeOfABoundSession(t *testing.T) {
	t.Parallel()
	m := redsessiontest.New(t, func(c *redsession.Config) {
		c.Cookie, c.DeviceBinding.Enabled = redsession.Cookie{}, true
	})
	var id string
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := m.FromContext(r.Context())
		if r.URL.Path == "/login" {
			s.Login("alice")
		}
		id = s.ID()
		n, _ := count.Get(s)
		fmt.Fprintf(w, "%s %d %t", s.UserID(), n, s.DeviceBound())
	}))
	b := m.Browser()
	b.Get(h, "/login")
	b.Get(h, "/")
	err := m.ChangeOf(t.Context(), "alice", id, func(s *redsession.Session) error {
		if !s.DeviceBound() || s.Locked() || s.Context().Err() != nil {
			t.Errorf("got bound %t, locked %t, %v, want a bound session that can be used", s.DeviceBound(), s.Locked(), s.Context().Err())
		}
		return add(s)
	})
	body, _ := io.ReadAll(b.Get(h, "/").Body)
	if err != nil || string(body) != "alice 1 true" {
		t.Errorf("got %q, %v, want the change in the bound session", body, err)
	}
}
