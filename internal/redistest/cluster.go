package redistest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

const (
	primaries = 3
	lastSlot  = 16383
)

// Cluster is a Redis Cluster of three primaries. With replicas, a primary that is gone for a second is replaced by its
// replica.
type Cluster struct {
	// Nodes are the three servers that are primaries at first, then their replicas in the same order.
	Nodes []*Server
	// Proxies stand in front of Nodes, in the same order; none without StartProxiedCluster.
	Proxies []*Proxy
	// Addrs are the addresses that the nodes announce: of Proxies, or else their own.
	Addrs []string
	// URL names the first three nodes: redis+cluster://host:port,host:port,host:port.
	URL string

	t testing.TB
}

// StartCluster starts a cluster with one replica of each primary, and returns when every node sees it whole and every
// replica is in sync.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	for range 2 * primaries {
		node := launch(t, func(port int) flavour { return clustered(t, port) })
		c.Nodes = append(c.Nodes, node)
		c.Addrs = append(c.Addrs, node.Addr)
	}
	c.join()
	return c
}

// StartProxiedCluster starts a cluster without replicas whose nodes announce the addresses of proxies, so that all that
// clients send passes them. It returns when every node sees the cluster whole.
func StartProxiedCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	for range primaries {
		var proxy *Proxy
		node := launch(t, func(port int) flavour {
			proxy = NewProxy(t, loopback(port))
			_, announced, _ := strings.Cut(proxy.Addr, ":")
			return clustered(t, port, "--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", announced,
				"--cluster-announce-bus-port", fmt.Sprint(port+busPortDistance))
		})
		c.Nodes = append(c.Nodes, node)
		c.Proxies = append(c.Proxies, proxy)
		c.Addrs = append(c.Addrs, proxy.Addr)
	}
	c.join()
	return c
}

func clustered(t testing.TB, port int, args ...string) flavour {
	t.Helper()
	own := []string{
		"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
		"--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0",
		"--repl-diskless-sync-delay", "0",
	}
	return plain(t, port, append(own, args...)...)
}

// Client returns a new client with go-redis's default options; the end of the test closes it.
func (c *Cluster) Client() *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs})
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}

// PrimaryOf returns the server that stores the key at present: the old primary until its failure is noticed. It waits
// while the cluster is down.
func (c *Cluster) PrimaryOf(key string) *Server {
	c.t.Helper()
	var primary *Server
	await(c.t, "a node that knows the primary", func() error {
		addr, err := ask(c.Nodes, func(ctx context.Context, node *redis.Client) (string, error) {
			return ownerOf(ctx, node, key)
		})
		if err != nil {
			return err
		}
		i := slices.Index(c.Addrs, addr)
		if i < 0 {
			i = slices.IndexFunc(c.Nodes, func(s *Server) bool { return s.Addr == addr })
		}
		if i < 0 {
			return fmt.Errorf("%s is no node of the cluster", addr)
		}
		primary = c.Nodes[i]
		return nil
	})
	return primary
}

// ProxyOf returns the proxy in front of PrimaryOf.
func (c *Cluster) ProxyOf(key string) *Proxy {
	c.t.Helper()
	return c.Proxies[slices.Index(c.Nodes, c.PrimaryOf(key))]
}

// Waves is the package's Waves for all Proxies.
func (c *Cluster) Waves(do func()) []Wave { return Waves(do, c.Proxies...) }

// ownerOf returns the address to which the node redirects, or its own.
func ownerOf(ctx context.Context, node *redis.Client, key string) (string, error) {
	err := node.Exists(ctx, key).Err()
	if addr, moved := redis.IsMovedError(err); moved {
		return addr, nil
	}
	return node.Options().Addr, err
}

// join does what redis-cli --cluster create does, without its pauses.
func (c *Cluster) join() {
	c.t.Helper()
	c.URL = "redis+cluster://" + strings.Join(c.Addrs[:primaries], ",")
	ctx := c.t.Context()
	admins := make([]*redis.Client, len(c.Nodes))
	for i, node := range c.Nodes {
		admins[i] = node.Client()
		// Different epochs from the start spare the nodes the resolution of conflicts.
		c.must(admins[i].Do(ctx, "cluster", "set-config-epoch", i+1).Err())
		if i < primaries {
			first, last := i*(lastSlot+1)/primaries, (i+1)*(lastSlot+1)/primaries-1
			c.must(admins[i].ClusterAddSlotsRange(ctx, first, last).Err())
		}
		c.must(c.meet(ctx, admins[0], i))
	}
	for i, replica := range admins[primaries:] {
		primary, err := admins[i].ClusterMyID(ctx).Result()
		c.must(err)
		await(c.t, "a replica to know its primary", func() error { return replica.ClusterReplicate(ctx, primary).Err() })
	}
	for i, admin := range admins {
		await(c.t, "the cluster to form", func() error { return c.whole(ctx, admin) })
		if i >= primaries {
			awaitSync(c.t, admin)
		}
	}
}

// meet introduces the ith node to admin's: where clients find it, and its own bus.
func (c *Cluster) meet(ctx context.Context, admin *redis.Client, i int) error {
	host, announced, _ := strings.Cut(c.Addrs[i], ":")
	_, own, _ := strings.Cut(c.Nodes[i].Addr, ":")
	port, err := strconv.Atoi(own)
	if err != nil {
		return err
	}
	return admin.Do(ctx, "cluster", "meet", host, announced, port+busPortDistance).Err()
}

func (c *Cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("redistest: creating the cluster: %v", err)
	}
}

// whole returns an error that says what the node still misses.
func (c *Cluster) whole(ctx context.Context, node *redis.Client) error {
	info, err := node.ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	if !strings.Contains(info, "cluster_state:ok") {
		return errors.New("a node's cluster_state is not ok")
	}
	nodes, err := node.ClusterNodes(ctx).Result()
	if err != nil {
		return err
	}
	n := len(c.Nodes)
	if strings.Count(nodes, "slave ") != n-primaries || strings.Count(nodes, "\n") != n || strings.Contains(nodes, "fail") {
		return fmt.Errorf("a node does not see all others: %s", nodes)
	}
	return nil
}

func awaitSync(t testing.TB, replica *redis.Client) {
	t.Helper()
	await(t, "a replica to be in sync", func() error {
		info, err := replica.Info(t.Context(), "replication").Result()
		if err == nil && !strings.Contains(info, "master_link_status:up") {
			err = errors.New("master_link_status is not up")
		}
		return err
	})
}
