// Package topology tells which Redis server holds which key. It asks the client, by
// interface methods and never by its concrete type, so that a type which embeds
// [redis.Client] or [redis.ClusterClient] works like what it embeds.
package topology

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Topology knows the servers behind one client: a single primary (a server, or what
// sentinels watch) or the primaries of a cluster. It is made by [Of], and its methods
// may be called concurrently.
type Topology struct {
	client  redis.UniversalClient
	options *redis.Options // nil for a cluster
	cluster clusterClient  // nil for a single primary

	learning learning
}

type singleClient interface{ Options() *redis.Options }

type clusterClient interface {
	Options() *redis.ClusterOptions
	ForEachMaster(ctx context.Context, fn func(ctx context.Context, node *redis.Client) error) error
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	ReloadState(ctx context.Context)
}

// Of returns the topology of client and asks no server for it. The error says what is
// wrong with client and what to do, as the rest of a sentence that begins with the
// client's name: "is a redis.Ring, …".
func Of(client redis.UniversalClient) (*Topology, error) {
	if v := reflect.ValueOf(client); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, errors.New("is nil")
	}
	if cluster, ok := client.(clusterClient); ok {
		if o := cluster.Options(); o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			return nil, errors.New("reads from replicas, which lag behind: a session just stored would be missing; unset ReadOnly, RouteByLatency and RouteRandomly")
		}
		return &Topology{client: client, cluster: cluster}, nil
	}
	// A method counts whatever its signature: what is like a cluster or a ring in name
	// alone must not pass for a single server. The names are constants here, or the
	// linker would keep every method of the program, which makes it twice as large.
	_, shards := reflect.TypeOf(client).MethodByName("ForEachShard")
	_, masters := reflect.TypeOf(client).MethodByName("ForEachMaster")
	if shards && !masters {
		return nil, errors.New("is a redis.Ring, or like one: no list or revocation covers its shards; use a cluster")
	}
	if single, ok := client.(singleClient); ok && !masters {
		return &Topology{client: client, options: single.Options()}, nil
	}
	return nil, fmt.Errorf("is a %T, which does not tell which servers it uses: "+
		"let it embed *redis.Client or *redis.ClusterClient, or have their methods Options, ForEachMaster, MasterForKey and ReloadState", client)
}

// Cluster tells whether keys are spread over several primaries.
func (t *Topology) Cluster() bool { return t.cluster != nil }

// Primary returns the address of the primary that owns key. It is "" for a single
// primary, and where none is known. It waits only while the client has not yet learnt the
// topology of its cluster: until ctx is over, half a second at most, and not again after
// that was in vain.
func (t *Topology) Primary(ctx context.Context, key string) string {
	if t.cluster == nil || !t.learn(ctx, key) {
		return ""
	}
	node, err := t.cluster.MasterForKey(ctx, key)
	if err != nil {
		return ""
	}
	return node.Options().Addr
}

// EachPrimary calls fn for every primary, one after the other in the order of their
// addresses. The address is as [Topology.Primary] returns it, "" for a single primary,
// whose node is the client itself. The first error of fn ends it and is returned, as is
// the end of ctx, and an error if the primaries are not known.
func (t *Topology) EachPrimary(ctx context.Context, fn func(ctx context.Context, addr string, node redis.UniversalClient) error) error {
	if t.cluster == nil {
		return fn(ctx, "", t.client)
	}
	nodes, err := t.primaries(ctx)
	for i := 0; i < len(nodes) && err == nil; i++ {
		if err = ctx.Err(); err == nil {
			err = fn(ctx, nodes[i].Options().Addr, nodes[i])
		}
	}
	return err
}

// IsPrimary tells whether addr, as [Topology.Primary] returned it, still is the address
// of a primary: in a cluster another node takes the place of one that died. It asks the
// cluster, and returns an error if nobody there can tell.
func (t *Topology) IsPrimary(ctx context.Context, addr string) (bool, error) {
	if t.cluster == nil {
		return addr == "", nil
	}
	nodes, err := t.primaries(ctx)
	return slices.ContainsFunc(nodes, func(node *redis.Client) bool { return node.Options().Addr == addr }), err
}

// primaries returns those of the cluster in the order of their addresses, at least one.
func (t *Topology) primaries(ctx context.Context) ([]*redis.Client, error) {
	var mu sync.Mutex
	var nodes []*redis.Client
	err := t.Bounded(ctx, func(ctx context.Context) error {
		return t.cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			nodes = append(nodes, node)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("learning the primaries of the cluster: %w", err)
	}
	if len(nodes) == 0 {
		return nil, errors.New("learning the primaries of the cluster: no primary is known")
	}
	slices.SortFunc(nodes, func(a, b *redis.Client) int { return cmp.Compare(a.Options().Addr, b.Options().Addr) })
	return nodes, nil
}

// Reload has the client learn anew, in the background, which primary owns what. It
// returns at once, and does nothing for a single primary.
func (t *Topology) Reload(ctx context.Context) {
	if t.cluster != nil {
		t.cluster.ReloadState(ctx)
	}
}

// PoolSize returns how many connections the client may use at a time to the primary
// that owns key. All primaries of a cluster have pools of one size.
func (t *Topology) PoolSize(_ string) int {
	size, active := 0, 0
	if t.cluster != nil {
		o := t.cluster.Options()
		size, active = o.PoolSize, o.MaxActiveConns
	} else {
		size, active = t.options.PoolSize, t.options.MaxActiveConns
	}
	if active > 0 {
		return min(size, active)
	}
	return size
}

// HonoursContext tells whether the deadline of a context bounds what the client reads.
// Otherwise only the client's own timeouts do.
func (t *Topology) HonoursContext() bool {
	if t.cluster != nil {
		return t.cluster.Options().ContextTimeoutEnabled
	}
	return t.options.ContextTimeoutEnabled
}

// sentinelAddr is what go-redis has for an address when only the dialer knows where the
// primary is.
const sentinelAddr = "FailoverClient"

// String says where sessions are stored, for a log. It shows no password.
func (t *Topology) String() string {
	if t.cluster != nil {
		addrs := slices.Clone(t.cluster.Options().Addrs)
		if len(addrs) == 0 {
			return "a cluster that the client finds by itself"
		}
		for i, addr := range addrs {
			addrs[i] = withoutCredentials(addr)
		}
		return "cluster " + strings.Join(addrs, ",")
	}
	switch o := t.options; {
	case o.Addr == sentinelAddr:
		return fmt.Sprintf("the primary that sentinels name, database %d", o.DB)
	case o.Network == "unix":
		return fmt.Sprintf("%s database %d", o.Addr, o.DB)
	default:
		return fmt.Sprintf("%s database %d", withoutCredentials(o.Addr), o.DB)
	}
}

// withoutCredentials cuts those of a URL that was taken for an address.
func withoutCredentials(addr string) string {
	return addr[strings.LastIndexByte(addr, '@')+1:]
}

// Explain returns err, and says what to do if it shows that a client of a single server
// talks to a node of a cluster.
func (t *Topology) Explain(err error) error {
	_, moved := redis.IsMovedError(err)
	_, asking := redis.IsAskError(err)
	if t.cluster != nil || !moved && !asking {
		return err
	}
	return fmt.Errorf("%v is a node of a cluster: use redis+cluster:// or a redis.ClusterClient: %w", t, err)
}
