package redisurl_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redistest"
)

// forgetful is a router between client and server that can forget the connections that
// it has: what is sent on them is lost, and nobody hears of it. New ones work.
type forgetful struct {
	listener net.Listener
	target   string
	epoch    atomic.Int64
}

func newForgetful(t *testing.T, target string) *forgetful {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forgetful{listener: listener, target: target}
	ctx, cancel := context.WithCancel(context.Background())
	var open sync.WaitGroup
	open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { f.serve(ctx, client) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		open.Wait()
	})
	return f
}

func (f *forgetful) serve(ctx context.Context, client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", f.target)
	if err != nil {
		return
	}
	defer server.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() { _, _ = client.Close(), server.Close() })
	epoch := f.epoch.Load()
	known := func(to io.Writer) io.Writer {
		return writerFunc(func(b []byte) (int, error) {
			if f.epoch.Load() != epoch {
				return len(b), nil
			}
			return to.Write(b)
		})
	}
	go func() {
		_, _ = io.Copy(known(client), server)
		cancel()
	}()
	_, _ = io.Copy(known(server), client)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestConnectionsThatLeadNowhere(t *testing.T) {
	t.Parallel()
	const pool = 40
	secure, plain := redistest.StartTLS(t), redistest.Start(t)
	for _, row := range []struct {
		name, url string
		server    *redistest.Server
	}{
		{"TCP", "redis://ADDR?pool_size=40", plain},
		{"TLS", "rediss://ADDR?pool_size=40&ca=" + secure.CAFile, secure.Server},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			router := newForgetful(t, row.server.Addr)
			client, conns := open(t, strings.Replace(row.url, "ADDR", router.listener.Addr().String(), 1))
			fill(t, client, row.server, pool)
			waiting := make(chan error, 1)
			router.epoch.Add(1)
			go func() { waiting <- client.Get(t.Context(), "k").Err() }()
			until(t, "a command that waits for nothing", func() bool { return client.PoolStats().IdleConns < client.PoolStats().TotalConns })

			begun := time.Now()
			conns.CloseAll()
			if failed := send(t, client, pool, 1); len(failed) > 0 {
				t.Errorf("got %d errors of %d, first %v", len(failed), pool, failed[0])
			}
			if err := <-waiting; err != nil && !errors.Is(err, redis.Nil) && !errors.Is(err, net.ErrClosed) {
				t.Errorf("the command that waited: got error %v, want its answer or a closed connection", err)
			}
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("took %v, want less than a read's timeout of 10 s", took)
			}
		})
	}
}

// count returns how many connections the server has, without the one that asks.
func count(t *testing.T, s *redistest.Server) int {
	t.Helper()
	return strings.Count(s.Client().ClientList(t.Context()).Val(), "\n") - 1
}

func TestConnsOfAClusterCloseTo(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	client, conns := open(t, c.URL)
	cluster := client.(*redis.ClusterClient)
	ping := func(ctx context.Context, node *redis.Client) error { return node.Ping(ctx).Err() }
	if err := cluster.ForEachMaster(t.Context(), ping); err != nil {
		t.Fatal(err)
	}
	ids := func() map[string]int64 {
		found, mu := map[string]int64{}, sync.Mutex{}
		if err := cluster.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
			id, err := node.ClientID(ctx).Result()
			mu.Lock()
			defer mu.Unlock()
			found[node.Options().Addr] = id
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return found
	}
	before := ids()
	conns.CloseTo(c.Nodes[1].Addr)
	after := ids()
	for i, node := range c.Nodes[:3] {
		if changed := before[node.Addr] != after[node.Addr]; changed != (i == 1) {
			t.Errorf("node %d: got another connection %t, want %t", i, changed, i == 1)
		}
	}
}

func TestConnsLeaveSentinelsAlone(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	client, conns := open(t, s.URL)
	id := client.ClientID(t.Context()).Val()
	watched := func() (n int) {
		for _, sentinel := range s.Sentinels {
			n += strings.Count(sentinel.Client().ClientList(t.Context()).Val(), "cmd=subscribe")
		}
		return n
	}
	until(t, "the client to hear the sentinels", func() bool { return watched() > 0 })
	before := watched()
	conns.CloseAll()
	if again, err := client.ClientID(t.Context()).Result(); err != nil || again == id {
		t.Errorf("got connection %d and error %v, want another one than %d", again, err, id)
	}
	if n := watched(); n != before {
		t.Errorf("got %d subscriptions, want %d as before", n, before)
	}
}

func TestConnsThatWereClosedAreForgotten(t *testing.T) {
	t.Parallel()
	s := redistest.StartUnix(t)
	client, conns := open(t, s.URL)
	fill(t, client, s, 3)
	conns.CloseAll()
	until(t, "the server to see them closed", func() bool { return count(t, s) == 0 })
	conns.CloseAll()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
	_ = client.Close()
	conns.CloseAll()
}
