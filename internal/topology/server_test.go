package topology_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/topology"
)

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// connected returns a connection by topo, and the id that Redis gave it.
func connected(t *testing.T, topo *topology.Topology, key string) (*redis.Client, int64) {
	t.Helper()
	own, err := topo.Connect(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, own)
	id, err := own.ClientID(t.Context()).Result()
	if err != nil {
		t.Fatalf("got error %v, want a connection", err)
	}
	return own, id
}

func TestTopologyConnect(t *testing.T) {
	t.Parallel()
	tcp, secret := redistest.Start(t), redistest.StartACL(t, "alice", "hunter2")
	secure, socket, sentinel := redistest.StartTLS(t, "--tls-auth-clients", "yes"), redistest.StartUnix(t), redistest.StartSentinel(t)
	provided := closing(t, redis.NewClient(&redis.Options{Addr: secret.Addr, CredentialsProviderContext: func(context.Context) (string, string, error) {
		return "alice", "hunter2", nil
	}}))
	for _, row := range []struct {
		name   string
		client redis.UniversalClient
	}{
		{"TCP", tcp.Client()},
		{"RESP2 and another database", closing(t, redis.NewClient(&redis.Options{Addr: tcp.Addr, DB: 3, Protocol: 2}))},
		{"a type that embeds a client", embedsClient{tcp.Client()}},
		{"user and password", secret.Client()},
		{"a provider of credentials", provided},
		{"TLS with a certificate of the client's", secure.Client()},
		{"a unix socket", socket.Client()},
		{"sentinels", sentinel.Client()},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ctx, topo := t.Context(), topologyOf(t, row.client)
			if err := row.client.Set(ctx, "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			before := row.client.PoolStats().TotalConns
			own, id := connected(t, topo, "k")
			if got, err := own.Get(ctx, "k").Result(); got != "v" || err != nil {
				t.Errorf("got %q and error %v, want the value that the client set", got, err)
			}
			if again := own.ClientID(ctx).Val(); again != id || own.PoolStats().TotalConns != 1 {
				t.Errorf("got connection %d, then %d, %d in all, want one", id, again, own.PoolStats().TotalConns)
			}
			if pooled := row.client.PoolStats().TotalConns; pooled != before || row.client.ClientID(ctx).Val() == id {
				t.Errorf("got %d connections in the pool, want %d and another one than its own", pooled, before)
			}
		})
	}
}

func TestTopologyConnectNeedsNothingOfThePool(t *testing.T) {
	t.Parallel()
	s, limiter := redistest.Start(t), &breaker{}
	client := closing(t, redis.NewClient(&redis.Options{Addr: s.Addr, PoolSize: 1, PipelinePoolSize: -1, Limiter: limiter}))
	conn := client.Conn() // all that the pool has
	defer conn.Close()
	if err := conn.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	limiter.open.Store(true)
	connected(t, topologyOf(t, client), "k")
}

// breaker is a circuit breaker of the caller's.
type breaker struct{ open atomic.Bool }

func (*breaker) ReportResult(error) {}

func (b *breaker) Allow() error {
	if b.open.Load() {
		return errAway
	}
	return nil
}

func TestTopologyConnectIsBoundedByItsContext(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	client := closing(t, redis.NewClient(&redis.Options{Addr: s.Addr, ReadTimeout: -2, WriteTimeout: -2, MaxRetries: 5}))
	own, _ := connected(t, topologyOf(t, client), "k")
	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := own.Ping(ctx).Err(); err == nil || time.Since(begun) > 3*time.Second {
		t.Errorf("got error %v after %v, want one when the context ends", err, time.Since(begun))
	}
}

func TestTopologyConnectFollowsSentinels(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	topo := topologyOf(t, s.Client())
	connected(t, topo, "k")
	old := s.Primary()
	old.Kill()
	until(t, "a connection to the new primary", func() bool {
		own, err := topo.Connect(t.Context(), "k")
		if err != nil {
			return false
		}
		defer own.Close()
		return own.Set(t.Context(), "k", "v", 0).Err() == nil
	})
}

func TestTopologyOfACluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	for _, row := range []struct {
		name   string
		client redis.UniversalClient
	}{
		{"a cluster client", c.Client()},
		{"a type that embeds one", &embedsCluster{c.Client()}},
	} {
		t.Run(row.name, func(t *testing.T) {
			ctx, topo := t.Context(), topologyOf(t, row.client)
			for i := range 20 {
				key := fmt.Sprint("key", i)
				want := c.PrimaryOf(key).Addr
				own, _ := connected(t, topo, key)
				if got := topo.Primary(ctx, key); got != want || own.Options().Addr != want {
					t.Errorf("%s: got primary %s and a connection to %s, want %s", key, got, own.Options().Addr, want)
				}
				if err := own.Set(ctx, key, "v", 0).Err(); err != nil {
					t.Errorf("%s: got error %v, want it taken", key, err)
				}
			}
			checkPrimaries(t, topo, c)
		})
	}
	t.Run("the client of one server", func(t *testing.T) { checkExplained(t, c) })
	t.Run("after a failover", func(t *testing.T) { checkFailover(t, c) })
}

func checkPrimaries(t *testing.T, topo *topology.Topology, c *redistest.Cluster) {
	t.Helper()
	var addrs []string
	var keys int64
	err := topo.EachPrimary(t.Context(), func(ctx context.Context, addr string, node redis.UniversalClient) error {
		addrs = append(addrs, addr)
		n, err := node.DBSize(ctx).Result()
		keys += n
		return err
	})
	want := slices.Sorted(slices.Values(c.Addrs[:3]))
	if err != nil || !slices.Equal(addrs, want) || keys != 20 {
		t.Errorf("got %q with %d keys and error %v, want %q with 20", addrs, keys, err, want)
	}
	for i, addr := range c.Addrs {
		if is, err := topo.IsPrimary(t.Context(), addr); is != (i < 3) || err != nil {
			t.Errorf("node %d: got primary %t and error %v", i, is, err)
		}
	}
}

// checkExplained wants to hear what to do where a client of one server meets a cluster.
func checkExplained(t *testing.T, c *redistest.Cluster) {
	single := topologyOf(t, c.Nodes[0].Client())
	moved := c.Nodes[0].Client().Get(t.Context(), keyOf(t, c, c.Nodes[1].Addr)).Err()
	got := single.Explain(fmt.Errorf("loading: %w", moved))
	if moved == nil || !errors.Is(got, moved) || !strings.Contains(got.Error(), c.Nodes[0].Addr) || !strings.Contains(got.Error(), "use redis+cluster://") {
		t.Errorf("got %v of %v, want the server and what to use", got, moved)
	}
	if got := topologyOf(t, c.Client()).Explain(moved); !errors.Is(got, moved) || got.Error() != moved.Error() {
		t.Errorf("got %v, want what a cluster client met unchanged", got)
	}
}

// keyOf returns a key that the primary at addr owns.
func keyOf(t *testing.T, c *redistest.Cluster, addr string) string {
	t.Helper()
	topo := topologyOf(t, c.Client())
	for i := range 1000 {
		if key := fmt.Sprint("key", i); topo.Primary(t.Context(), key) == addr {
			return key
		}
	}
	t.Fatalf("got no key of %s", addr)
	return ""
}

func checkFailover(t *testing.T, c *redistest.Cluster) {
	ctx, topo := t.Context(), topologyOf(t, c.Client())
	key := keyOf(t, c, c.Nodes[0].Addr)
	old := topo.Primary(ctx, key)
	c.Nodes[0].Kill()
	until(t, "another primary", func() bool {
		topo.Reload(ctx)
		return topo.Primary(ctx, key) != old
	})
	until(t, "the old one to be none", func() bool {
		is, err := topo.IsPrimary(ctx, old)
		return err == nil && !is
	})
	own, _ := connected(t, topo, key)
	if err := own.Set(ctx, key, "v", 0).Err(); err != nil {
		t.Errorf("got error %v, want the new primary to take it", err)
	}
}
