package redistest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// MasterName is the name by which the sentinels know their primary.
const MasterName = "mymaster"

const sentinels = 3

// Sentinel is a primary with one replica, watched by three sentinels that replace a primary which is gone for 300 ms.
type Sentinel struct {
	// Sentinels are the watchers, to be killed like other servers.
	Sentinels []*Server
	// Addrs are the addresses of the sentinels.
	Addrs []string
	// URL is redis+sentinel://host:port,host:port,host:port/mymaster/0.
	URL string

	t    testing.TB
	data []*Server
}

// StartSentinel returns when the replica is in sync and the sentinels agree that a failover would be possible.
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	primary := Start(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := strings.Cut(primary.Addr, ":")
	replica := Start(t, "--replicaof", host, port, "--repl-diskless-sync-delay", "0")
	awaitSync(t, replica.Client())

	s := &Sentinel{t: t, data: []*Server{primary, replica}}
	s.startWatchers()
	s.URL = "redis+sentinel://" + strings.Join(s.Addrs, ",") + "/" + MasterName + "/0"
	for _, watcher := range s.Sentinels {
		admin := watcher.Client()
		await(t, "the sentinels to see all others", func() error { return watches(t.Context(), admin) })
	}
	return s
}

// Client returns a new client that asks the sentinels for the primary; the end of the test closes it.
func (s *Sentinel) Client() *redis.Client {
	client := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: MasterName, SentinelAddrs: s.Addrs})
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// Primary returns the server that the sentinels name as primary at present. Until a failover is decided it is the old
// one.
func (s *Sentinel) Primary() *Server {
	s.t.Helper()
	var primary *Server
	await(s.t, "a sentinel that knows the primary", func() error {
		addr, err := ask(s.Sentinels, func(ctx context.Context, sentinel *redis.Client) (string, error) {
			hostPort, err := sentinel.Do(ctx, "sentinel", "get-master-addr-by-name", MasterName).StringSlice()
			return strings.Join(hostPort, ":"), err
		})
		if err != nil {
			return err
		}
		primary, err = serverAt(s.data, addr)
		return err
	})
	return primary
}

// Replica returns the server that is not the primary.
func (s *Sentinel) Replica() *Server {
	s.t.Helper()
	if s.Primary() == s.data[0] {
		return s.data[1]
	}
	return s.data[0]
}

func (s *Sentinel) startWatchers() {
	s.t.Helper()
	watchers := make([]watcher, sentinels)
	for i := range watchers {
		watchers[i] = watcher{port: reservePort(s.t), id: newRunID()}
	}
	for _, w := range watchers {
		file := filepath.Join(s.t.TempDir(), "sentinel.conf")
		if err := os.WriteFile(file, []byte(s.configOf(w, watchers)), 0o600); err != nil {
			s.t.Fatalf("redistest: writing the configuration of a sentinel: %v", err)
		}
		addr := loopback(w.port)
		server, err := launchOne(s.t, flavour{addr: addr, url: "redis://" + addr, args: []string{file, "--sentinel"}})
		if err != nil {
			s.t.Fatalf("redistest: starting a sentinel: %v", err)
		}
		s.Sentinels = append(s.Sentinels, server)
		s.Addrs = append(s.Addrs, addr)
	}
}

type watcher struct {
	port int
	id   string
}

func newRunID() string {
	var id [20]byte
	_, _ = rand.Read(id[:])
	return fmt.Sprintf("%x", id)
}

// configOf names the replica and the other sentinels, which this one would otherwise need seconds to discover.
func (s *Sentinel) configOf(w watcher, all []watcher) string {
	lines := []string{
		fmt.Sprintf("port %d", w.port),
		"bind 127.0.0.1",
		fmt.Sprintf("dir %q", s.t.TempDir()),
		"sentinel myid " + w.id,
		"sentinel monitor " + MasterName + " " + spaced(s.data[0].Addr) + " 2",
		"sentinel down-after-milliseconds " + MasterName + " 300",
		"sentinel failover-timeout " + MasterName + " 3000",
		"sentinel known-replica " + MasterName + " " + spaced(s.data[1].Addr),
	}
	for _, other := range all {
		if other != w {
			lines = append(lines, "sentinel known-sentinel "+MasterName+" "+spaced(loopback(other.port))+" "+other.id)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// spaced writes host:port the way Redis's configuration does.
func spaced(addr string) string {
	return strings.Replace(addr, ":", " ", 1)
}

// watches returns an error that says what the sentinel still misses.
func watches(ctx context.Context, sentinel *redis.Client) error {
	if err := sentinel.Do(ctx, "sentinel", "ckquorum", MasterName).Err(); err != nil {
		return err
	}
	// The quorum counts also those sentinels to which there is no connection yet.
	others, err := sentinel.Do(ctx, "sentinel", "sentinels", MasterName).Slice()
	if err != nil {
		return err
	}
	replicas, err := sentinel.Do(ctx, "sentinel", "replicas", MasterName).Slice()
	if err != nil {
		return err
	}
	seen := fmt.Sprint(others, replicas)
	if len(others) != sentinels-1 || strings.Contains(seen, "disconnected") || strings.Contains(seen, "_down") {
		return errors.New("a sentinel has no connection to another server")
	}
	if !strings.Contains(seen, "master-link-status:ok") {
		return errors.New("a sentinel has not seen the replica in sync")
	}
	return nil
}
