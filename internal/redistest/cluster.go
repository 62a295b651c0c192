package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

const (
	primaries = 3
	lastSlot  = 16383
)

// Cluster is a Redis Cluster of three primaries with one replica each. A primary that is gone for a second is replaced
// by its replica.
type Cluster struct {
	// Nodes are the three servers that are primaries at first, then their replicas in the same order.
	Nodes []*Server
	// Addrs are the addresses of all nodes.
	Addrs []string
	// URL names the first three nodes: redis+cluster://host:port,host:port,host:port.
	URL string

	t testing.TB
}

// StartCluster starts a cluster and returns when every node sees it whole and every replica is in sync.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	for range 2 * primaries {
		node := launch(t, func(port int) flavour {
			return plain(t, port,
				"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
				"--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0",
				"--repl-diskless-sync-delay", "0")
		})
		c.Nodes = append(c.Nodes, node)
		c.Addrs = append(c.Addrs, node.Addr)
	}
	c.URL = "redis+cluster://" + strings.Join(c.Addrs[:primaries], ",")
	c.join()
	return c
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
		primary, err = serverAt(c.Nodes, addr)
		return err
	})
	return primary
}

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
		host, port, _ := strings.Cut(node.Addr, ":")
		c.must(admins[0].ClusterMeet(ctx, host, port).Err())
	}
	for i, replica := range admins[primaries:] {
		primary, err := admins[i].ClusterMyID(ctx).Result()
		c.must(err)
		await(c.t, "a replica to know its primary", func() error { return replica.ClusterReplicate(ctx, primary).Err() })
	}
	for i, admin := range admins {
		await(c.t, "the cluster to form", func() error { return whole(ctx, admin) })
		if i >= primaries {
			awaitSync(c.t, admin)
		}
	}
}

func (c *Cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("redistest: creating the cluster: %v", err)
	}
}

// whole returns an error that says what the node still misses.
func whole(ctx context.Context, node *redis.Client) error {
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
	if strings.Count(nodes, "slave ") != primaries || strings.Count(nodes, "\n") != 2*primaries || strings.Contains(nodes, "fail") {
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
