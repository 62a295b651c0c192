package refresh_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// What other requests do to the session while the provider is asked.
func TestRefreshMeanwhile(t *testing.T) {
	t.Parallel()
	type req func(st *site) stage.Answer
	do := func(fn func(s *redsession.Session)) req {
		return func(st *site) stage.Answer {
			return st.run(func(_ *http.Request, _ http.ResponseWriter, s *redsession.Session) { fn(s) })
		}
	}
	linked := token{9, "another grant"}
	rows := []struct {
		name      string
		meanwhile req
		access    int // that Refresh returns
		err       error
		then      string // what the session holds afterwards
	}{
		{"nothing", func(*site) stage.Answer { return stage.Answer{} }, 1, nil, `oauth={1 r1}`},
		{"another key is written", do(func(s *redsession.Session) { count.Set(s, 7) }), 1, nil, `n=7 oauth={1 r1}`},
		{"the id rotates", do(func(s *redsession.Session) { s.Rotate(); count.Set(s, 7) }), 1, nil, `n=7 oauth={1 r1}`},
		{"what another request sets stands", do(func(s *redsession.Session) { key.Set(s, linked) }), 9, nil, `oauth={9 another grant}`},
		{"what another request updates is overwritten", do(func(s *redsession.Session) {
			key.Update(s, func(t token) token { t.Access = -1; return t })
		}), 1, nil, `oauth={1 r1}`},
		{"what another request deletes stays away", do(func(s *redsession.Session) { key.Delete(s) }), 1, redsession.ErrNotRefreshed, ``},
		{"what another request clears stays away", do((*redsession.Session).Clear), 1, redsession.ErrNotRefreshed, ``},
		{"what another request takes stays away", func(st *site) stage.Answer {
			return st.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
				_, _, _ = key.Take(r.Context(), s)
			})
		}, 1, redsession.ErrNotRefreshed, ``},
		{"a logout", do((*redsession.Session).Logout), 1, redsession.ErrGone, ``},
		{"a login anew", do(func(s *redsession.Session) { s.Login("alice") }), 1, redsession.ErrGone, `oauth={0 r0}`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := stage.NewMini(t)
			for way, make := range e.BothWays() {
				m := make(t)
				st, p := newSite(t, m).login(t), newProvider()
				st.run(func(_ *http.Request, _ http.ResponseWriter, s *redsession.Session) { other.Delete(s) })
				beside := st.at(t, m)
				beside.HTTP.Jar = st.HTTP.Jar
				got, err := st.refresh(before(1), func(ctx context.Context, old token) (token, error) {
					row.meanwhile(beside)
					return p.renew(ctx, old)
				})
				if got.Access != row.access || !errors.Is(err, row.err) {
					t.Errorf("%s: got %v, %v, want access %d and %v", way, got, err, row.access, row.err)
				}
				if then := strings.TrimSpace(strings.TrimPrefix(show(st), "alice")); then != row.then {
					t.Errorf("%s: got %q in the session, want %q", way, then, row.then)
				}
				p.want(t, 1)
			}
		})
	}
}

// show is what a session holds.
func show(st *site) (text string) {
	st.run(func(_ *http.Request, _ http.ResponseWriter, s *redsession.Session) {
		words := []string{s.UserID()}
		for _, k := range s.Keys() {
			switch k {
			case "n":
				n, _ := count.Get(s)
				words = append(words, "n="+string(rune('0'+n)))
			default:
				v, _ := redsession.Key[token](k).Get(s)
				words = append(words, k+"={"+string(rune('0'+v.Access))+" "+v.Refresh+"}")
			}
		}
		text = strings.TrimSpace(strings.Join(words, " "))
	})
	return text
}

// A holder that takes longer than its lease overwrites nothing, and returns what the next one made.
func TestRefreshLosesItsLease(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name   string
		next   func(context.Context, token) (token, error)
		access int
		err    error
	}{
		{"the next one's value counts", func(context.Context, token) (token, error) { return token{5, "next"}, nil }, 5, nil},
		{"the next one fails as well", func(context.Context, token) (token, error) { return token{}, errGrant }, 1, redsession.ErrNotRefreshed},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
				here := newSite(t, e.Manager(t)).login(t)
				there := here.at(t, e.Manager(t))
				got, err := here.refresh(before(1), func(context.Context, token) (token, error) {
					e.Advance(t, 31*time.Second)
					_, _ = there.refresh(before(1), row.next)
					return token{1, "r1"}, nil
				})
				if got.Access != row.access || !errors.Is(err, row.err) {
					t.Errorf("got %v, %v, want access %d, %v", got, err, row.access, row.err)
				}
				if v := show(here); strings.Contains(v, "r1") {
					t.Errorf("got %q, want nothing of the lost lease", v)
				}
			})
		})
	}
}

// Whoever finds the lease of a server that died waits until it is over, and no longer than its own context.
func TestRefreshAfterAHolderThatDied(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	p := newProvider()
	here := newSite(t, e.Manager(t)).login(t)
	there := here.at(t, e.Manager(t))
	_, _ = here.refresh(before(1), func(context.Context, token) (token, error) {
		there.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
			ctx, cancel := context.WithTimeout(r.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := key.Refresh(ctx, s, before(1), p.renew); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v of one who waits for 100 ms, want DeadlineExceeded", err)
			}
		})
		p.want(t, 0)
		time.AfterFunc(50*time.Millisecond, func() { e.Clock.Add(31 * time.Second) })
		if got, err := there.refresh(before(1), p.renew); err != nil || got.Access != 1 {
			t.Errorf("got %v, %v of one who waits until the lease is over, want a token", got, err)
		}
		return token{}, errGrant
	})
	p.want(t, 1)
}

// The deadline of a context is the end of its lease, and no failure of the provider.
func TestRefreshWithADeadline(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	p := newProvider()
	here := newSite(t, e.Manager(t)).login(t)
	there := here.at(t, e.Manager(t))
	held := make(chan struct{})
	results := stage.AtOnce(2, func(i int) (err error) {
		if i == 0 {
			here.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
				ctx, cancel := context.WithTimeout(r.Context(), 200*time.Millisecond)
				defer cancel()
				_, err = key.Refresh(ctx, s, before(1), func(ctx context.Context, _ token) (token, error) {
					close(held)
					<-ctx.Done()
					return token{}, ctx.Err()
				})
			})
			return err
		}
		<-held
		_, err = there.refresh(before(1), p.renew)
		return err
	})
	if !errors.Is(results[0], context.DeadlineExceeded) || results[1] != nil {
		t.Errorf("got %v, want DeadlineExceeded of the first alone", results)
	}
	p.want(t, 1)
}

// The client may go away while the provider is asked: its answer is kept.
func TestRefreshOutlivesItsClient(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	p := newProvider()
	st := newSite(t, e.Manager(t)).login(t)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	path := st.page(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
		_, err := key.Refresh(r.Context(), s, before(1), func(within context.Context, old token) (token, error) {
			cancel()
			<-r.Context().Done()
			if within.Err() != nil {
				t.Errorf("got %v in the context of fn, want it to go on", within.Err())
			}
			return p.renew(within, old)
		})
		done <- err
	})
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, st.Base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := st.HTTP.Do(r); err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := show(st); !strings.Contains(got, "oauth={1 r1}") {
		t.Errorf("got %q, want the new token kept", got)
	}
}

// A stale function that always says so runs fn once for all who wait together.
func TestRefreshThatIsForced(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t, stage.Patient)
	st, p := newSite(t, m).login(t), newProvider()
	var waiting atomic.Int64
	begin := make(chan struct{})
	stage.Parallel(20, func(int) {
		st.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
			if waiting.Add(1) == 20 {
				close(begin)
			}
			<-begin
			_, err := key.Refresh(r.Context(), s, always, func(ctx context.Context, old token) (token, error) {
				stage.Until(t, "the others to be refused the lease", func() bool { return m.Stats().Conflicts >= 19 })
				return p.renew(ctx, old)
			})
			if err != nil {
				t.Error(err)
			}
		})
	})
	p.want(t, 1)
}

// Many writers may keep the new value from Redis for longer than RedisTimeout: it is tried again, as nobody can make it
// once more.
func TestRefreshAmongManyWriters(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	hook := &crowd{other: e.Manager(t), lasts: 250 * time.Millisecond}
	m := e.Hooked(t, hook, func(c *redsession.Config) {
		c.RedisTimeout, c.OutageWait = 100*time.Millisecond, 10*time.Second
	})
	st, p := newSite(t, m).login(t), newProvider()
	list, err := m.Sessions(t.Context(), "alice")
	if err != nil || len(list) != 1 {
		t.Fatalf("got %v, %v, want one session", list, err)
	}
	hook.id = list[0].ID
	got, err := st.refresh(before(1), func(ctx context.Context, old token) (token, error) {
		hook.until.Store(time.Now().Add(hook.lasts).UnixNano())
		return p.renew(ctx, old)
	})
	if err != nil || got.Access != 1 || hook.came.Load() == 0 {
		t.Errorf("got %v, %v among %d writers, want the token", got, err, hook.came.Load())
	}
}

// crowd writes to a session before each write of another server, for a while.
type crowd struct {
	other *redsession.Manager
	id    string
	lasts time.Duration
	until atomic.Int64
	came  atomic.Int64
}

// DialHook is one of redis.Hook.
func (c *crowd) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook is one of redis.Hook.
func (c *crowd) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") && time.Now().UnixNano() < c.until.Load() {
			c.came.Add(1)
			_ = c.other.Change(context.WithoutCancel(ctx), c.id, func(s *redsession.Session) error {
				count.Update(s, func(n int) int { return n + 1 })
				return nil
			})
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook is one of redis.Hook.
func (c *crowd) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
