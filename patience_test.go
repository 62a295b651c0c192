package redsession

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/store"
	"github.com/redsession/redsession/internal/topology"
)

func TestRefusal(t *testing.T) {
	t.Parallel()
	mini := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: mini.Addr(), MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	topo, err := topology.Of(client)
	if err != nil {
		t.Fatal(err)
	}
	s := store.New(store.Config{Client: client, Topology: topo, Timeout: time.Second})
	asked := func(reply string) error {
		mini.SetError(reply)
		_, err := s.Get(t.Context(), letterID("a"))
		return unavailable(err)
	}
	refused, loading := asked("NOPERM User app has no permissions to run the 'get' command"), asked("LOADING Redis is loading the dataset in memory")
	mini.Close()
	away := asked("")
	for _, row := range []struct {
		name string
		err  error
		want string
	}{
		{"what Redis refuses is named with the command", refused, "GET: NOPERM User app has no permissions to run the 'get' command"},
		{"what Redis refuses for now as well", loading, "GET: LOADING Redis is loading the dataset in memory"},
		{"a Redis that is away refuses nothing", away, ""},
		{"an outcome that nobody knows is no refusal", unavailable(errUnsettled), ""},
		{"the caller's own end is none", unavailable(context.Canceled), ""},
		{"any other error is none", errors.New("a disk is full"), ""},
		{"no error is none", nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := refusal(row.err); got != row.want {
				t.Errorf("got %q of %v, want %q", got, row.err, row.want)
			}
		})
	}
}

// Whoever waited for Redis has a place that the next one waits for: it is given up also if a function of the caller's
// panics.
func TestPlaceOfAWaiterIsGivenUpByAPanic(t *testing.T) {
	t.Parallel()
	for name, panics := range map[string]func(leave func()){
		"in a load": func(leave func()) {
			_, _ = (&Session{}).lookUpAll(t.Context(), nil, time.Time{}, leave) // without a Manager it panics
		},
		"in a commit": func(leave func()) {
			_ = (&commit{m: &Manager{Admin: &Admin{&core{cfg: Config{RedisTimeout: time.Second}}}}}).try(t.Context(), leave)
		},
	} {
		t.Run(name, func(t *testing.T) {
			left := 0
			func() {
				defer func() {
					if recover() == nil {
						t.Error("got no panic")
					}
				}()
				panics(func() { left++ })
			}()
			if left != 1 {
				t.Errorf("got the place given up %d times, want once", left)
			}
		})
	}
}
