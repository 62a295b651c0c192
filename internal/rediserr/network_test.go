package rediserr_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/rediserr"
	"github.com/redsession/redsession/internal/redistest"
)

func makeDir(t *testing.T, parent, name string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(parent, name), 0o700); err != nil {
		t.Fatal(err)
	}
}

// listen accepts connections, handles each and closes it.
func listen(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			handle(conn)
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

func once(t *testing.T, options redis.Options) *redis.Client {
	t.Helper()
	options.MaxRetries, options.DialerRetries, options.DisableIdentity = -1, 1, true
	client := redis.NewClient(&options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// TestNetworkErrors has the errors that go-redis really returns when it does not get
// through.
func TestNetworkErrors(t *testing.T) {
	t.Parallel()
	encrypted := redistest.StartTLS(t, "--tls-auth-clients", "yes")
	anonymous := encrypted.Config.Clone()
	anonymous.Certificates = nil
	gone := listen(t, func(net.Conn) {})
	nobody := redistest.Start(t)
	nobody.Kill()
	for _, row := range []struct {
		name    string
		options redis.Options
		want    rediserr.Meaning
	}{
		{"nobody listens", redis.Options{Addr: nobody.Addr}, refused(passes, connection)},
		{"there is no socket", redis.Options{Network: "unix", Addr: filepath.Join(t.TempDir(), "none")}, refused(passes, connection)},
		{"the address has no port", redis.Options{Addr: "127.0.0.1"}, refused(stays, connection)},
		{"the server hangs up", redis.Options{Addr: gone}, maybe(passes, connection)},
		{"nobody vouches for the certificate", redis.Options{Addr: encrypted.Addr, TLSConfig: &tls.Config{}}, refused(stays, connection)},
		{"the server wants a certificate", redis.Options{Addr: encrypted.Addr, TLSConfig: anonymous}, maybe(stays, connection)},
		{"the port does not speak TLS", redis.Options{Addr: listen(t, func(c net.Conn) { _, _ = c.Write([]byte("-ERR Protocol error\r\n")); _, _ = c.Read(make([]byte, 4096)) }), TLSConfig: &tls.Config{}}, refused(stays, connection)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			check(t, once(t, row.options).Get(t.Context(), "k").Err(), false, row.want)
		})
	}
}

func TestNetworkErrorsOfAFrozenServer(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := once(t, redis.Options{Addr: server.Addr, PoolSize: 1, ReadTimeout: 50 * time.Millisecond, ContextTimeoutEnabled: true})
	do(t, client, "PING")
	server.Pause()
	err := client.Get(t.Context(), "k").Err()
	check(t, err, false, maybe(passes, connection))
	check(t, err, true, partly(passes, connection))
	if !rediserr.TimedOut(err) {
		t.Errorf("%v is no timeout", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	check(t, client.Get(ctx, "k").Err(), false, maybe(passes, connection))
	server.Resume()
	cancelled, cancelNow := context.WithCancel(t.Context())
	cancelNow()
	if got := rediserr.Classify(client.Get(cancelled, "k").Err(), false).Scope; got != caller {
		t.Errorf("cancelled: got scope %v", got)
	}
	_ = client.Close()
	check(t, client.Get(t.Context(), "k").Err(), false, refused(stays, caller))
}

func TestNetworkErrorsOfThePool(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := once(t, redis.Options{Addr: server.Addr, PoolSize: 1, PoolTimeout: time.Millisecond})
	held := client.Conn()
	defer held.Close()
	do(t, client, "PING")
	if err := held.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	err := client.Get(t.Context(), "k").Err()
	if !errors.Is(err, redis.ErrPoolTimeout) || !rediserr.TimedOut(err) {
		t.Errorf("got %v", err)
	}
	check(t, err, true, refused(passes, connection))
}

func TestNetworkErrorsOfSentinelsAndClusters(t *testing.T) {
	t.Parallel()
	nobody := redistest.Start(t)
	nobody.Kill()
	failover := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "main", SentinelAddrs: []string{nobody.Addr}, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = failover.Close() })
	err := failover.Get(t.Context(), "k").Err()
	if got := rediserr.Absent(err); got {
		t.Error("an absent sentinel is taken for an absent key")
	}
	check(t, err, true, refused(passes, connection))
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nobody.Addr}, MaxRedirects: -1, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { _ = cluster.Close() })
	check(t, cluster.Get(t.Context(), "k").Err(), true, refused(passes, connection))
}
