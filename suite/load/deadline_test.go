package load_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/stage"
)

// ttlOf is how long key lives unless somebody touches it.
func ttlOf(t *testing.T, e *stage.Env, key string) time.Duration {
	t.Helper()
	ttl, err := e.Client.PTTL(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	return ttl
}

func TestLoadStartsTheIdleTimeoutAgain(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		root := stage.NewScripted(t, e.Manager(t, func(c *redsession.Config) { c.IdleTimeout, c.AnonymousTimeout = 3*time.Hour, time.Hour }))
		for _, row := range []struct {
			name, ops, want string
			idle            time.Duration
		}{
			{"an anonymous session ends after AnonymousTimeout", "set:a:1", "a=1", time.Hour},
			{"a login ends after IdleTimeout", "login:alice", "alice", 3 * time.Hour},
			{"a remembered login lives as long as it is remembered", "remember:alice", "alice", 2 * time.Hour},
		} {
			t.Run(row.name, func(t *testing.T) {
				st := root.Fork("")
				key := "session:" + st.Must(row.ops).Header.Get("X-Id")
				if ttl := ttlOf(t, e, key); ttl > row.idle || ttl < row.idle-time.Minute {
					t.Errorf("got a TTL of %s, want %s", ttl, row.idle)
				}
				e.Advance(t, row.idle-time.Minute)
				if got := st.Do().Text; got != row.want {
					t.Errorf("got %q a minute before, want %q", got, row.want)
				}
				if ttl := ttlOf(t, e, key); !strings.HasPrefix(row.ops, "remember") && ttl < row.idle-time.Minute {
					t.Errorf("a hit left a TTL of %s, want %s again", ttl, row.idle)
				}
				e.Advance(t, row.idle+time.Second)
				if a := st.Do(); a.Text != "" || len(a.SetCookies()) != 1 || a.SetCookies()[0].MaxAge >= 0 {
					t.Errorf("got %q and cookies %v afterwards, want nothing and the cookie expired", a.Text, a.SetCookies())
				}
			})
		}
	})
}

func TestLoadNeverExtendsTheAbsoluteTimeout(t *testing.T) {
	t.Parallel()
	const idle, absolute = 2 * time.Hour, 5*time.Hour + 30*time.Minute
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		root := stage.NewScripted(t, e.Manager(t, func(c *redsession.Config) {
			c.IdleTimeout, c.AnonymousTimeout, c.AbsoluteTimeout, c.RotateEvery = idle, idle, absolute, -1
		}))
		for _, ops := range []string{"", "set:a:2", "login:alice", "login:alice rotate"} {
			st := root.Fork("")
			st.Must("set:a:1")
			e.Advance(t, time.Hour)
			deadline := e.Clock.Now().Add(absolute) // of a login, which starts it again
			if !strings.HasPrefix(ops, "login") {
				deadline = deadline.Add(-time.Hour)
			}
			key := "session:" + st.Must(ops).Header.Get("X-Id")
			for e.Clock.Now().Before(deadline) {
				if a := st.Must(strings.TrimPrefix(ops, "login:alice")); a.Text == "" {
					t.Fatalf("%q: the session ended %s too early", ops, deadline.Sub(e.Clock.Now()))
				} else if id := a.Header.Get("X-Id"); id != "" {
					key = "session:" + id
				}
				left := deadline.Sub(e.Clock.Now())
				if ttl := ttlOf(t, e, key); ttl > left+time.Second || ttl > idle {
					t.Errorf("%q: got a TTL of %s, want at most %s", ops, ttl, min(idle, left))
				}
				e.Advance(t, idle/2)
			}
			if a := st.Do(); a.Text != "" || len(a.SetCookies()) != 1 || a.SetCookies()[0].MaxAge >= 0 {
				t.Errorf("%q: got %q and cookies %v after the deadline, want nothing and the cookie expired", ops, a.Text, a.SetCookies())
			}
			if n := e.Client.Exists(t.Context(), key).Val(); n != 0 {
				t.Errorf("%q: the record outlives its deadline", ops)
			}
		}
	})
}

func TestLoadDeletesARecordPastItsDeadlineThatRedisKeeps(t *testing.T) {
	t.Parallel()
	ring, err := record.NewRing([][]byte{stage.Secret})
	if err != nil {
		t.Fatal(err)
	}
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		st := stage.NewScripted(t, e.Manager(t))
		key := "session:" + st.Must("login:alice").Header.Get("X-Id")
		rec, _, err := record.Open(ring, key, e.Dump(t)[key])
		if err != nil {
			t.Fatal(err)
		}
		rec.Deadline = e.Clock.Now().Unix() // earlier than the cookie says
		raw, err := rec.Encode(ring, key, false)
		if err != nil {
			t.Fatal(err)
		}
		e.Client.Set(t.Context(), key, raw, time.Hour)
		if a := st.Do(); a.Text != "" || len(a.SetCookies()) != 1 || a.SetCookies()[0].MaxAge >= 0 {
			t.Errorf("got %q and cookies %v, want nothing and the cookie expired", a.Text, a.SetCookies())
		}
		if n := e.Client.Exists(t.Context(), key).Val(); n != 0 {
			t.Error("the record is still there")
		}
	})
}

func TestLoadWhoseHandlerOutlivesTheDeadlineStoresNothing(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		root := stage.NewScripted(t, e.Manager(t, func(c *redsession.Config) { c.AbsoluteTimeout = time.Hour }))
		for _, ops := range []string{"set:a:late", "add:n", "set:a:late save", "rotate", "flash:late"} {
			st := root.Fork("")
			key := "session:" + st.Must("login:alice set:a:1").Header.Get("X-Id")
			release := st.Hold("hold " + ops)
			before, ttl := e.Content(t, key), ttlOf(t, e, key)
			e.Clock.Add(time.Hour) // Redis's own clock is late
			if a := release(); a.StatusCode != http.StatusConflict || len(a.SetCookies()) != 0 {
				t.Errorf("%q: got %d and cookies %v, want 409 and none", ops, a.StatusCode, a.SetCookies())
			}
			if got := e.Content(t, key); got != before || ttlOf(t, e, key) > ttl {
				t.Errorf("%q: the record was written anew: %s", ops, got)
			}
			if got := st.Do().Text; got != "" {
				t.Errorf("%q: got %q after the deadline, want an anonymous session", ops, got)
			}
		}
	})
}
