package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
	"github.com/redsession/redsession/internal/store"
)

func soon() time.Time { return time.Now().Add(10 * time.Second) }

func pooling(c *store.Config) { c.PoolCommands = true }

func TestLoad(t *testing.T) {
	t.Parallel()
	a := space.Session(id("a"))
	eachWay(t, func(t *testing.T, e *env) {
		pools := checked(t, e.client, pooling)
		for _, row := range []struct {
			name        string
			lies        any
			want, after string
		}{
			{"a record is found and prolonged", raw("1", 'r'), "1r", "1r for 120s"},
			{"a tombstone is found", raw("1", 'o'), "1o", "1o for 120s"},
			{"nothing is found", nil, "nothing", "nothing"},
			{"an empty string is found", "", `""`, `"" for 120s`},
			{"a list is found", list{}, "no string", "a list for 120s"},
		} {
			t.Run(row.name, func(t *testing.T) {
				for _, s := range []*store.Store{e.Store, pools, pools} {
					e.put(t, a, row.lies)
					v, refused, err := s.Load(t.Context(), soon(), a, 2*time.Minute)
					if got := show(v); got != row.want || refused != nil || err != nil {
						t.Errorf("got %s, %v and %v, want %s", got, refused, err, row.want)
					}
					if got := e.lies(t, a); got != row.after {
						t.Errorf("%s lies there, want %s", got, row.after)
					}
				}
			})
		}
	})
}

// Commands that are used again, and pipelines that are shared, give nobody the value of
// somebody else.
func TestLoadGivesEveryCallerItsOwn(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, e *env) {
		for i := range 20 {
			e.put(t, space.Session(fmt.Sprintf("%032d", 2*i)), fmt.Sprint("value of ", 2*i)) // nothing lies at the odd ones
		}
		s := checked(t, e.client, pooling)
		var callers sync.WaitGroup
		for c := range 32 {
			callers.Go(func() {
				for n := range 20 {
					i := (c + 7*n) % 40
					want := fmt.Sprintf("%q", fmt.Sprint("value of ", i))
					if i%2 == 1 {
						want = "nothing"
					}
					v, _, err := s.Load(t.Context(), soon(), space.Session(fmt.Sprintf("%032d", i)), time.Minute)
					if got := show(v); got != want || err != nil {
						t.Errorf("got %s and error %v, want %s", got, err, want)
					}
				}
			})
		}
		callers.Wait()
	})
}

func TestLoadTellsARefusalToProlong(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	for _, change := range [][]func(*store.Config){nil, {pooling}} {
		s, e := checked(t, client(t, proxy.Addr), change...), &env{client: client(t, proxy.Addr)}
		e.put(t, space.Session(id("a")), raw("1", 'r'))
		proxy.Reply(func(args []string) (string, bool) {
			return "-READONLY You can't write against a read only replica.\r\n", args[0] == "EXPIRE"
		})
		v, refused, err := s.Load(t.Context(), soon(), space.Session(id("a")), time.Minute)
		if show(v) != "1r" || err != nil || refused == nil || !strings.HasPrefix(refused.Error(), "EXPIRE: READONLY") {
			t.Errorf("got %s, %v and %v", show(v), refused, err)
		}
		proxy.Reply(func(args []string) (string, bool) {
			return "-NOPERM User app has no permissions to run the 'get' command\r\n", args[0] == "GET"
		})
		if v, _, err = s.Load(t.Context(), soon(), space.Session(id("a")), time.Minute); err == nil || !v.Absent() || !strings.HasPrefix(err.Error(), "GET: NOPERM") {
			t.Errorf("got %s and %v", show(v), err)
		}
		proxy.Reply(nil)
		if v, refused, err = s.Load(t.Context(), soon(), space.Session(id("a")), time.Minute); show(v) != "1r" || refused != nil || err != nil {
			t.Errorf("then got %s, %v and %v, want what lies there", show(v), refused, err)
		}
	}
}

// A silent Redis is waited for until the deadline, whether or not the client honours it.
func TestLoadEndsByItsDeadline(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	for _, row := range []struct {
		name    string
		honours bool
	}{
		{"a client that honours contexts", true},
		{"a client that does not", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			proxy := redistest.NewProxy(t, srv.Addr)
			s := checked(t, client(t, proxy.Addr, func(o *redis.Options) {
				o.ContextTimeoutEnabled, o.ReadTimeout = row.honours, 20*time.Second
			}))
			proxy.Blackhole(true)
			defer proxy.Blackhole(false)
			began := time.Now()
			var callers sync.WaitGroup
			for range 12 { // more than may be in flight
				callers.Go(func() {
					if _, _, err := s.Load(t.Context(), began.Add(200*time.Millisecond), space.Session(id("a")), time.Minute); err == nil {
						t.Error("got no error")
					}
				})
			}
			callers.Wait()
			ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(200*time.Millisecond))
			defer cancel()
			if _, err := s.Run(ctx, login()); err == nil {
				t.Error("got no error of a plan")
			}
			if _, err := s.Entries(ctx, []string{id("a")}); err == nil {
				t.Error("got no error of a list")
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// Whoever gives up takes nobody along, not even those who share a pipeline with it.
func TestLoadOfACallerWhoLeavesHurtsNobody(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	s, e := checked(t, client(t, proxy.Addr)), &env{client: client(t, proxy.Addr)}
	e.put(t, space.Session(id("a")), raw("1", 'r'))
	proxy.Delay(100 * time.Millisecond)
	var callers sync.WaitGroup
	for i := range 24 {
		leaves := i%2 == 0
		callers.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if leaves {
				cancel()
			}
			v, _, err := s.Load(ctx, soon(), space.Session(id("a")), time.Minute)
			switch {
			case err == nil && show(v) == "1r":
			case leaves && errors.Is(err, context.Canceled) && v.Absent():
			default:
				t.Errorf("got %s and error %v, leaves: %v", show(v), err, leaves)
			}
		})
	}
	callers.Wait()
}

// keeper is a hook of the caller's that keeps what it sees, as an asynchronous tracer does.
type keeper struct {
	mu   sync.Mutex // guards what follows
	kept []kept
}

type kept struct {
	ctx  context.Context
	cmd  redis.Cmder
	said string
}

func (k *keeper) DialHook(next redis.DialHook) redis.DialHook { return next }

func (k *keeper) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		k.keep(ctx, cmd)
		return err
	}
}

func (k *keeper) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		k.keep(ctx, cmds...)
		return err
	}
}

func (k *keeper) keep(ctx context.Context, cmds ...redis.Cmder) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, cmd := range cmds {
		if name := cmd.Name(); name == "hello" || name == "client" {
			continue // go-redis's own, when it opens a connection
		}
		k.kept = append(k.kept, kept{ctx, cmd, cmd.String()})
	}
}

func TestLoadPoolsNothingThatACallersHookCanSee(t *testing.T) {
	t.Parallel()
	c, k := client(t, redistest.Start(t).Addr), &keeper{}
	c.AddHook(k)
	s, e := checked(t, c), &env{client: c}
	values := stage.Secret // a value for each round, told apart by its length
	for i := range 8 {
		e.put(t, space.Session(id("a")), string(values[:i+1]))
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() { _, _, _ = s.Load(t.Context(), soon(), space.Session(id("a")), time.Minute) })
		}
		callers.Wait()
		_, _ = s.Run(t.Context(), login())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	seen := make(map[redis.Cmder]bool)
	for _, kept := range k.kept {
		if got := kept.cmd.String(); got != kept.said && (kept.cmd.Err() == nil || !strings.HasPrefix(got, kept.said)) { // go-redis tells an error after its hooks
			t.Errorf("a command that said %q says %q later", kept.said, got)
		}
		if seen[kept.cmd] {
			t.Errorf("%q was sent twice", kept.said)
		}
		seen[kept.cmd] = true
		_, _ = kept.ctx.Deadline()
		_ = kept.ctx.Value("any")
		if name := fmt.Sprintf("%T", kept.ctx); !strings.HasPrefix(name, "*context.") && !strings.HasPrefix(name, "context.") {
			t.Errorf("a hook got a context of the type %s, want a standard one", name)
		}
	}
}
