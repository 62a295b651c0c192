package topology_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/topology"
)

// loopback is an address that no client resolves: a bubble of synctest cannot.
const loopback = "127.0.0.1:1"

// hungCluster is a cluster whose nodes do not answer, with a client that waits for them
// whatever a context says.
type hungCluster struct {
	*fakeCluster
	answer chan struct{} // closed when the nodes answer
	asked  atomic.Int32
}

func newHung(t *testing.T) *hungCluster {
	t.Helper()
	return &hungCluster{fakeCluster: newFake(t, loopback), answer: make(chan struct{})}
}

func (h *hungCluster) MasterForKey(ctx context.Context, key string) (*redis.Client, error) {
	h.asked.Add(1)
	<-h.answer
	return h.fakeCluster.MasterForKey(ctx, key)
}

func (h *hungCluster) ForEachMaster(ctx context.Context, fn func(context.Context, *redis.Client) error) error {
	<-h.answer
	return h.fakeCluster.ForEachMaster(ctx, fn)
}

func TestTopologyIsBoundedThoughTheClientIgnoresContexts(t *testing.T) {
	t.Parallel()
	const most = 100 * time.Millisecond
	for _, row := range []struct {
		name string
		call func(ctx context.Context, topo *topology.Topology) error
	}{
		{"who owns a key", func(ctx context.Context, topo *topology.Topology) error {
			if got := topo.Primary(ctx, "k"); got != "" {
				return errors.New("got " + got)
			}
			return ctx.Err()
		}},
		{"whether a node is a primary", func(ctx context.Context, topo *topology.Topology) error {
			_, err := topo.IsPrimary(ctx, loopback)
			return err
		}},
		{"all primaries", func(ctx context.Context, topo *topology.Topology) error {
			return topo.EachPrimary(ctx, func(context.Context, string, redis.UniversalClient) error { return nil })
		}},
		{"a connection", func(ctx context.Context, topo *topology.Topology) error {
			_, err := topo.Connect(ctx, "k")
			return err
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hung := newHung(t)
				defer close(hung.answer)
				ctx, cancel := context.WithTimeout(t.Context(), most)
				defer cancel()
				began := time.Now()
				err := row.call(ctx, topologyOf(t, hung))
				if took := time.Since(began); took != most || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v after %s, want the deadline after %s", err, took, most)
				}
			})
		})
	}
}

func TestTopologyPrimaryWaitsOnceForNodesThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := newHung(t)
		topo := topologyOf(t, hung)
		for _, row := range []struct {
			name string
			want time.Duration
		}{
			{"those who come first", 500 * time.Millisecond},
			{"whoever comes later", 0},
		} {
			began := time.Now()
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					if got := topo.Primary(t.Context(), "k"); got != "" {
						t.Errorf("%s: got %q, want none", row.name, got)
					}
				})
			}
			all.Wait()
			if took := time.Since(began); took != row.want {
				t.Errorf("%s: waited %s, want %s", row.name, took, row.want)
			}
		}
		if n := hung.asked.Load(); n != 1 {
			t.Errorf("the client was asked %d times at once, want 1", n)
		}
		close(hung.answer)
		synctest.Wait()
		if got := topo.Primary(t.Context(), "k"); got != loopback {
			t.Errorf("once the nodes answer: got %q, want %q", got, loopback)
		}
	})
}

func TestTopologyPrimaryIsFoundAfterAttemptsThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(t, loopback)
		fake.err = errAway
		topo := topologyOf(t, fake)
		for range 3 {
			if got := topo.Primary(t.Context(), "k"); got != "" {
				t.Errorf("while the nodes are away: got %q, want none", got)
			}
			synctest.Wait()
		}
		fake.err = nil
		topo.Primary(t.Context(), "k") // which waits for nobody
		synctest.Wait()
		if got := topo.Primary(t.Context(), "k"); got != loopback {
			t.Errorf("once they are back: got %q, want %q", got, loopback)
		}
	})
}
