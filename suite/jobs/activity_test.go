package jobs_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// infoOf is what a list says of the one session of user's.
func infoOf(t *testing.T, m *redsession.Manager, user string) redsession.Info {
	t.Helper()
	list, err := m.Sessions(t.Context(), user)
	if err != nil || len(list) != 1 {
		t.Fatalf("got %d sessions of %s, %v, want one", len(list), user, err)
	}
	return list[0]
}

// A job that writes for days keeps nobody logged in, and makes nobody look present.
func TestChangeIsNoActivity(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name   string
		change func(c *redsession.Config)
		ops    string
		before time.Duration // passes, with a hit every hour
	}{
		{"within the idle timeout", func(c *redsession.Config) { c.IdleTimeout = 10 * time.Hour }, "login:alice", 0},
		{"long after the login", func(c *redsession.Config) { c.IdleTimeout = 10 * time.Hour }, "login:alice", 5 * time.Hour},
		{"where the deadline cuts the idle timeout", func(c *redsession.Config) { c.IdleTimeout, c.AbsoluteTimeout = 10*time.Hour, 14*time.Hour }, "login:alice", 5 * time.Hour},
		{"a remembered login", func(*redsession.Config) {}, "remember:alice", time.Hour},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
				m := e.Manager(t, row.change, func(c *redsession.Config) { c.RotateEvery = -1 })
				b := stage.NewScripted(t, m)
				id := b.Must(row.ops, "save").Header.Get("X-Id")
				for range row.before / time.Hour {
					e.Advance(t, time.Hour)
					b.Must("add:hits")
				}
				seen := e.Clock.Now().Truncate(time.Second)
				first := infoOf(t, m, "alice")
				for i := range 200 {
					e.Advance(t, 17*time.Minute+123*time.Millisecond)
					now, left := e.Clock.Now(), time.Duration(0)
					err := m.ChangeOf(t.Context(), "alice", id, func(s *redsession.Session) error {
						left = s.ExpiresAt().Sub(now)
						return add(s)
					})
					if errors.Is(err, redsession.ErrGone) {
						if d := e.Clock.Now().Sub(first.ExpiresAt); d < -time.Second || d > 18*time.Minute {
							t.Errorf("got the session gone %s after it was to end, want then", d)
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					info := infoOf(t, m, "alice")
					if d := info.ExpiresAt.Sub(first.ExpiresAt).Abs(); d > time.Second {
						t.Fatalf("got an end that is %s off after %d changes, want it as it was", d, i+1)
					}
					if d := now.Add(left).Sub(first.ExpiresAt).Abs(); d > 2*time.Second {
						t.Errorf("got an ExpiresAt that is %s off within the job", d)
					}
					if d := info.LastSeen.Sub(seen).Abs(); d > time.Second {
						t.Errorf("got a LastSeen that is %s off after %d changes, want it as it was", d, i+1)
					}
				}
				t.Error("got the session alive after 56 hours without its user")
			})
		})
	}
}

// Many changes within a second neither stretch nor shrink the TTL, which Redis keeps to the millisecond.
func TestChangeKeepsTheTTLExactly(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		_, id := login(t, m, "alice")
		pttl := func() time.Duration { return e.Client.PTTL(t.Context(), "session:"+id).Val() }
		e.Advance(t, time.Hour+300*time.Millisecond)
		began, before := time.Now(), pttl()
		for range 300 {
			if err := m.ChangeOf(t.Context(), "alice", id, add); err != nil {
				t.Fatal(err)
			}
		}
		passed := time.Duration(0)
		if e.Mini == nil {
			passed = time.Since(began)
		}
		if after := pttl(); after > before || after < before-passed-100*time.Millisecond {
			t.Errorf("got %s left after 300 changes in %s, want %s less that", after, passed, before)
		}
	})
}

// A hit while the job runs counts: the job does not take it back.
func TestChangeKeepsWhatAHitProlonged(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, func(c *redsession.Config) { c.RotateEvery = -1 })
		b, id := login(t, m, "alice")
		e.Advance(t, 7*24*time.Hour-10*time.Second)
		err := m.ChangeOf(t.Context(), "alice", id, func(s *redsession.Session) error {
			b.Must()
			return add(s)
		})
		e.Advance(t, time.Hour)
		if got := b.Must().Text; err != nil || got != "alice n=1" {
			t.Errorf("got %q, %v, want the user, who was here an hour ago", got, err)
		}
	})
}

func TestChangeWhileRequestsWrite(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m, jobs := e.Manager(t, stage.Patient), e.Manager(t, stage.Patient)
		b, id := login(t, m, "alice")
		b.Must("set:a:1")
		before := e.Client.TTL(t.Context(), "session:"+id).Val()
		stage.Parallel(60, func(i int) {
			if i%6 > 0 {
				b.Must("add:n", fmt.Sprintf("set:k%d:%d", i, i))
			} else if err := jobs.ChangeOf(t.Context(), "alice", id, add); err != nil {
				t.Error(err)
			}
		})
		if got := b.Must().Text; !strings.Contains(got, " n=60") || strings.Count(got, "k") != 50 {
			t.Errorf("got %q, want n=60 and 50 keys", got)
		}
		if d := before - e.Client.TTL(t.Context(), "session:"+id).Val(); d < 0 || d > time.Minute {
			t.Errorf("got a TTL %s shorter, want it as it was", d)
		}
	})
}

func TestChangeUser(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		var browsers []*stage.Scripted
		for range 5 {
			e.Clock.Add(time.Second)
			b, _ := login(t, m, "alice")
			browsers = append(browsers, b)
		}
		bob, _ := login(t, m, "bob")
		half := stage.NewScripted(t, m)
		half.Must("half:alice", "save")
		browsers[1].Must("rotate")
		browsers[2].Must("rotate")
		browsers[2].Must()
		var order []string
		n, err := m.ChangeUser(t.Context(), "alice", func(s *redsession.Session) error {
			order = append(order, s.AuthTime().String())
			switch len(order) {
			case 3: // it rotates meanwhile
				browsers[2].Must("rotate", "set:a:1")
			case 4: // it ends meanwhile
				browsers[3].Must("logout")
			case 5: // nothing to be kept
				return nil
			}
			return add(s)
		})
		if err != nil || n != 3 || !slices.IsSorted(order) || len(order) != 5 {
			t.Errorf("got %d changed, %v, in the order %v, want 3 of 5, the oldest login first", n, err, order)
		}
		var got []string
		for _, b := range append(browsers, bob, half) {
			got = append(got, b.Must().Text)
		}
		if want := []string{"alice n=1", "alice n=1", "alice a=1 n=1", "", "alice", "bob", ""}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestChangeUserErrors(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	var browsers []*stage.Scripted
	for range 4 {
		e.Clock.Add(time.Second)
		b, _ := login(t, m, "alice")
		browsers = append(browsers, b)
	}
	calls := 0
	n, err := m.ChangeUser(t.Context(), "alice", func(s *redsession.Session) error {
		calls++
		if calls%2 == 0 {
			return errOwn
		}
		return add(s)
	})
	if n != 2 || calls != 4 || !errors.Is(err, errOwn) || strings.Count(err.Error(), errOwn.Error()) != 2 {
		t.Errorf("got %d changed in %d calls, %v, want 2 in 4, and both errors", n, calls, err)
	}
	if id := browsers[1].Must().Header.Get("X-Id"); !strings.Contains(err.Error(), id) {
		t.Errorf("got %v, want it to name %s", err, id)
	}
	n, err = m.ChangeUser(t.Context(), "alice", func(*redsession.Session) error { return redsession.ErrGone })
	if n != 0 || !errors.Is(err, redsession.ErrGone) {
		t.Errorf("got %d, %v, want fn's own ErrGone returned", n, err)
	}
	if n, err = m.ChangeUser(t.Context(), "nobody", add); n != 0 || err != nil {
		t.Errorf("got %d, %v for nobody, want nothing", n, err)
	}
}

// More sessions than one page has.
func TestChangeUserWithManySessions(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	const many = 300
	h := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { redsession.FromContext(r.Context()).Login("alice") }))
	for range many {
		h.ServeHTTP(&stage.Discarded{}, stageRequest(t))
	}
	n, err := m.ChangeUser(t.Context(), "alice", add)
	counted := 0
	for _, raw := range e.Dump(t) {
		counted += strings.Count(raw, `"d":{"n":1}`)
	}
	if n != many || err != nil || counted != many {
		t.Errorf("got %d changed, %d in Redis, %v, want %d", n, counted, err, many)
	}
}

func stageRequest(t *testing.T) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
