package failover_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// unlucky is a client of a cluster that asks a frozen node first, whenever it is armed,
// who the primaries are.
type unlucky struct {
	*redis.ClusterClient
	armed atomic.Bool
	thaw  chan struct{}
}

func (u *unlucky) ForEachMaster(ctx context.Context, fn func(context.Context, *redis.Client) error) error {
	if u.armed.CompareAndSwap(true, false) {
		heeded := ctx.Done()
		if !u.Options().ContextTimeoutEnabled {
			heeded = nil
		}
		select {
		case <-u.thaw:
		case <-heeded:
			return ctx.Err()
		}
	}
	return u.ClusterClient.ForEachMaster(ctx, fn)
}

// TestFailoverOfAHungPrimaryFailsNoRequest freezes a primary of a cluster. Whoever asks
// the frozen node who owns what is not answered.
func TestFailoverOfAHungPrimaryFailsNoRequest(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		heeds bool // contexts
	}{
		{"a client that ignores contexts", false},
		{"a client that honours contexts", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t)
			client := &unlucky{
				ClusterClient: redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs, ContextTimeoutEnabled: row.heeds}),
				thaw:          make(chan struct{}),
			}
			t.Cleanup(func() { _ = client.Close() })
			m := stage.NewEnv(cluster.URL, nil).Manager(t, func(c *redsession.Config) {
				c.Now, c.URL, c.Client = nil, "", client
				c.Outage, c.OutageWait, c.RedisTimeout = redsession.FailClosed, 15*time.Second, 500*time.Millisecond
			})
			t.Cleanup(func() { close(client.thaw) }) // before the Manager is closed, which waits for whoever asks
			b := stage.NewBrowser(t, stage.Serve(t, m, strainPages()))
			if a := b.Get("/login"); a.StatusCode != http.StatusOK {
				t.Fatalf("login: got %d, want 200", a.StatusCode)
			}
			infos, err := m.Sessions(t.Context(), "alice")
			if err != nil || len(infos) != 1 {
				t.Fatalf("got %d sessions, %v, want 1", len(infos), err)
			}
			key := "session:" + infos[0].ID
			old := cluster.PrimaryOf(key)
			replicated(t, old, key)

			old.Pause()
			client.armed.Store(true)
			answers := make(chan int, 20)
			for i := range cap(answers) {
				go func() {
					a, err := b.Try([]string{"/read", "/add"}[i%2])
					if err != nil {
						t.Errorf("got no answer: %v", err)
					}
					answers <- a.StatusCode
				}()
			}
			for range cap(answers) {
				if status := <-answers; status != http.StatusOK {
					t.Errorf("got %d, want 200", status)
				}
			}
			if client.armed.Load() {
				t.Error("nobody asked the frozen node, want that it holds up whoever asks it")
			}
		})
	}
}
