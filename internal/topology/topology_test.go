package topology_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/topology"
)

// Types of a caller's own.
type (
	embedsClient  struct{ *redis.Client }
	embedsCluster struct{ *redis.ClusterClient }
	embedsRing    struct{ *redis.Ring }
	nested        struct{ embedsCluster }
	hides         struct{ redis.UniversalClient }
)

// halfCluster has a method of a cluster and the options of a single server.
type halfCluster struct{ *redis.Client }

func (halfCluster) ForEachMaster(context.Context, func(context.Context, *redis.Client) error) error {
	return nil
}

func newClient(t *testing.T) *redis.Client {
	t.Helper()
	return closing(t, redis.NewClient(&redis.Options{Addr: "h:7000", DB: 2, PoolSize: 7}))
}

func newCluster(t *testing.T, o redis.ClusterOptions) *redis.ClusterClient {
	t.Helper()
	o.Addrs = []string{"h1:1", "h2:2"}
	return closing(t, redis.NewClusterClient(&o))
}

func closing[C redis.UniversalClient](t *testing.T, client C) C {
	t.Helper()
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func topologyOf(t *testing.T, client redis.UniversalClient) *topology.Topology {
	t.Helper()
	topo, err := topology.Of(client)
	if err != nil {
		t.Fatalf("got error %v, want a topology", err)
	}
	return topo
}

func TestTopologyOfAcceptedClients(t *testing.T) {
	t.Parallel()
	single, cluster := newClient(t), newCluster(t, redis.ClusterOptions{PoolSize: 9})
	sentinel := closing(t, redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "main", SentinelAddrs: []string{"h:1"}, DB: 4, PoolSize: 3}))
	found := closing(t, redis.NewFailoverClusterClient(&redis.FailoverOptions{MasterName: "main", SentinelAddrs: []string{"h:1"}, PoolSize: 3}))
	for _, row := range []struct {
		name    string
		client  redis.UniversalClient
		cluster bool
		pool    int
		where   string
	}{
		{"a client", single, false, 7, "h:7000 database 2"},
		{"a type that embeds a client", embedsClient{single}, false, 7, "h:7000 database 2"},
		{"a pointer to a type that embeds a client", &embedsClient{single}, false, 7, "h:7000 database 2"},
		{"a cluster client", cluster, true, 9, "cluster h1:1,h2:2"},
		{"a type that embeds a cluster client", embedsCluster{cluster}, true, 9, "cluster h1:1,h2:2"},
		{"a pointer to a type that embeds a cluster client", &embedsCluster{cluster}, true, 9, "cluster h1:1,h2:2"},
		{"a type that embeds one that embeds a cluster client", nested{embedsCluster{cluster}}, true, 9, "cluster h1:1,h2:2"},
		{"a client of sentinels", sentinel, false, 3, "the primary that sentinels name, database 4"},
		{"a cluster client of sentinels", found, true, 3, "a cluster that the client finds by itself"},
		{"fewer connections than the pool has room for", newCluster(t, redis.ClusterOptions{PoolSize: 9, MaxActiveConns: 4}), true, 4, "cluster h1:1,h2:2"},
		{"a socket", closing(t, redis.NewClient(&redis.Options{Addr: "/run/a@b", PoolSize: 1})), false, 1, "/run/a@b database 0"},
		{"a URL in place of an address", closing(t, redis.NewClient(&redis.Options{Addr: "u:hunter2@h:1", PoolSize: 1})), false, 1, "h:1 database 0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			topo := topologyOf(t, row.client)
			if topo.Cluster() != row.cluster || topo.PoolSize("k") != row.pool || topo.String() != row.where {
				t.Errorf("got cluster %t, pool of %d, %q, want %t, %d, %q", topo.Cluster(), topo.PoolSize("k"), topo, row.cluster, row.pool, row.where)
			}
		})
	}
}

func TestTopologyOfRefusedClients(t *testing.T) {
	t.Parallel()
	ring := closing(t, redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "h:1"}}))
	const ask, replicas = "does not tell which servers", "unset ReadOnly"
	for _, row := range []struct {
		name   string
		client redis.UniversalClient
		want   string
	}{
		{"nothing", nil, "is nil"},
		{"a client that is nil", (*redis.Client)(nil), "is nil"},
		{"a cluster client that is nil", (*redis.ClusterClient)(nil), "is nil"},
		{"a ring", ring, "use a cluster"},
		{"a type that embeds a ring", embedsRing{ring}, "use a cluster"},
		{"a type that hides a client", hides{newClient(t)}, ask},
		{"a type that hides a cluster client", &hides{newCluster(t, redis.ClusterOptions{})}, ask},
		{"a type that hides a ring", hides{ring}, ask},
		{"half a cluster", halfCluster{newClient(t)}, ask},
		{"a cluster read from replicas", newCluster(t, redis.ClusterOptions{ReadOnly: true}), replicas},
		{"a cluster read by latency", newCluster(t, redis.ClusterOptions{RouteByLatency: true}), replicas},
		{"a cluster read at random", embedsCluster{newCluster(t, redis.ClusterOptions{RouteRandomly: true})}, replicas},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			topo, err := topology.Of(row.client)
			if topo != nil || err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v and error %v, want %q in it", topo, err, row.want)
			}
		})
	}
}

func TestTopologyHonoursContext(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		client redis.UniversalClient
		want   bool
	}{
		{"go-redis's default", newClient(t), false},
		{"go-redis's default for clusters", newCluster(t, redis.ClusterOptions{}), false},
		{"set for one server", embedsClient{closing(t, redis.NewClient(&redis.Options{ContextTimeoutEnabled: true}))}, true},
		{"set for a cluster", embedsCluster{newCluster(t, redis.ClusterOptions{ContextTimeoutEnabled: true})}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := topologyOf(t, row.client).HonoursContext(); got != row.want {
				t.Errorf("got %t, want %t", got, row.want)
			}
		})
	}
}

// fakeCluster is a cluster whose primaries are made up.
type fakeCluster struct {
	redis.UniversalClient
	nodes   []*redis.Client
	err     error
	reloads int
}

func (f *fakeCluster) Options() *redis.ClusterOptions { return &redis.ClusterOptions{} }
func (f *fakeCluster) ReloadState(context.Context)    { f.reloads++ }

func (f *fakeCluster) MasterForKey(_ context.Context, key string) (*redis.Client, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.nodes[len(key)%len(f.nodes)], nil
}

// ForEachMaster calls fn for all at once, as go-redis does.
func (f *fakeCluster) ForEachMaster(ctx context.Context, fn func(context.Context, *redis.Client) error) error {
	var all sync.WaitGroup
	for _, node := range f.nodes {
		all.Go(func() { _ = fn(ctx, node) })
	}
	all.Wait()
	return f.err
}

func newFake(t *testing.T, addrs ...string) *fakeCluster {
	t.Helper()
	f := &fakeCluster{}
	for _, addr := range addrs {
		f.nodes = append(f.nodes, closing(t, redis.NewClient(&redis.Options{Addr: addr})))
	}
	return f
}

var errAway = errors.New("away")

func TestTopologyEachPrimary(t *testing.T) {
	t.Parallel()
	away := newFake(t, "b:1", "a:1")
	away.err = errAway
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, row := range []struct {
		name   string
		client redis.UniversalClient
		ctx    context.Context
		failAt string // the address for which fn fails
		want   []string
		err    error
	}{
		{"all, in the order of addresses", newFake(t, "c:1", "a:1", "b:1"), t.Context(), "", []string{"a:1", "b:1", "c:1"}, nil},
		{"none after the first error", newFake(t, "c:1", "a:1", "b:1"), t.Context(), "b:1", []string{"a:1", "b:1"}, errAway},
		{"none once the context has ended", newFake(t, "c:1"), ended, "", nil, context.Canceled},
		{"none of a cluster that cannot tell", away, t.Context(), "", nil, errAway},
		{"a single one has no address", newClient(t), t.Context(), "", []string{""}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			err := topologyOf(t, row.client).EachPrimary(row.ctx, func(_ context.Context, addr string, node redis.UniversalClient) error {
				if got = append(got, addr); addr == "" && node != row.client {
					t.Errorf("got node %v, want the client itself", node)
				}
				if addr != "" && addr == row.failAt {
					return errAway
				}
				return nil
			})
			if !slices.Equal(got, row.want) || !errors.Is(err, row.err) {
				t.Errorf("got %q and error %v, want %q and %v", got, err, row.want, row.err)
			}
		})
	}
	if err := topologyOf(t, newFake(t)).EachPrimary(t.Context(), nil); err == nil {
		t.Error("a cluster without a primary: got no error")
	}
}

func TestTopologyIsPrimary(t *testing.T) {
	t.Parallel()
	away := newFake(t, "a:1")
	away.err = errAway
	for _, row := range []struct {
		name   string
		client redis.UniversalClient
		addr   string
		want   bool
		err    error
	}{
		{"one of the cluster", newFake(t, "a:1", "b:1"), "b:1", true, nil},
		{"one that is none any more", newFake(t, "a:1", "b:1"), "c:1", false, nil},
		{"a cluster that cannot tell", away, "a:1", false, errAway},
		{"the single one", newClient(t), "", true, nil},
		{"another than the single one", newClient(t), "a:1", false, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := topologyOf(t, row.client).IsPrimary(t.Context(), row.addr)
			if got != row.want || !errors.Is(err, row.err) {
				t.Errorf("got %t and error %v, want %t and %v", got, err, row.want, row.err)
			}
		})
	}
}

func TestTopologyOfAClusterThatCannotTell(t *testing.T) {
	t.Parallel()
	away := newFake(t, "a:1")
	away.err = errAway
	topo := topologyOf(t, away)
	if got := topo.Primary(t.Context(), "k"); got != "" {
		t.Errorf("got primary %q, want none", got)
	}
	if client, err := topo.Connect(t.Context(), "k"); client != nil || !errors.Is(err, errAway) {
		t.Errorf("got connection %v and error %v, want that it is away", client, err)
	}
	if topo.Reload(t.Context()); away.reloads != 1 {
		t.Errorf("got %d reloads, want 1", away.reloads)
	}
}

func TestTopologyOfOneServerCostsNothing(t *testing.T) {
	topo := topologyOf(t, newClient(t))
	topo.Reload(t.Context())
	if n := testing.AllocsPerRun(100, func() {
		if topo.Primary(t.Context(), "key") != "" {
			t.Error("got an address, want none")
		}
	}); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func TestTopologyExplainsNothingElse(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, errAway, redis.Nil, fmt.Errorf("loading: %w", errAway)} {
		if got := topologyOf(t, newClient(t)).Explain(err); got != err { // the very same
			t.Errorf("got %v, want %v unchanged", got, err)
		}
	}
}
