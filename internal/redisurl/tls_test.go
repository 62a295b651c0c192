package redisurl_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/redisurl"
)

// open returns a client of url that the end of the test closes.
func open(t *testing.T, url string) (redis.UniversalClient, *redisurl.Conns) {
	t.Helper()
	client, conns, err := redisurl.Open(url, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client, conns
}

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

// fill opens n connections by commands that wait for each other.
func fill(t *testing.T, client redis.UniversalClient, s *redistest.Server, n int) {
	t.Helper()
	ctx, admin := t.Context(), s.Client()
	defer admin.Close()
	var blocked sync.WaitGroup
	for range n {
		blocked.Go(func() { client.BLPop(ctx, 0, "nothing") })
	}
	until(t, "connections that wait", func() bool {
		return strings.Count(admin.ClientList(ctx).Val(), "cmd=blpop") >= n
	})
	for range n {
		if err := admin.RPush(ctx, "nothing", "x").Err(); err != nil {
			t.Fatal(err)
		}
	}
	blocked.Wait()
}

// send lets workers send n commands each and returns the errors.
func send(t *testing.T, client redis.UniversalClient, workers, n int) (failed []error) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	for range workers {
		all.Go(func() {
			for range n {
				if err := client.Incr(t.Context(), "counter").Err(); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return failed
}

func TestIdleConnectionsThatTheServerClosed(t *testing.T) {
	t.Parallel()
	const pool = 20
	options := "pool_size=20"
	secure, plain := redistest.StartTLS(t), redistest.Start(t)
	for _, row := range []struct {
		name, url string
		server    *redistest.Server
	}{
		{"TCP", plain.URL + "?" + options, plain},
		{"TLS 1.3", secure.URL + "?ca=" + secure.CAFile + "&" + options, secure.Server},
		{"TLS 1.3 with RESP3", secure.URL + "?protocol=3&ca=" + secure.CAFile + "&" + options, secure.Server},
		{"TLS 1.3 with idle connections from the start", secure.URL + "?min_idle_conns=20&ca=" + secure.CAFile + "&" + options, secure.Server},
	} {
		t.Run(row.name, func(t *testing.T) {
			client, _ := open(t, row.url)
			admin := row.server.Client()
			for _, end := range []struct {
				name string
				do   func()
			}{
				{"its timeout", func() {
					admin.ConfigSet(t.Context(), "timeout", "1")
					until(t, "idle connections to be closed", func() bool {
						return strings.Count(admin.ClientList(t.Context()).Val(), "\n") == 1
					})
					admin.ConfigSet(t.Context(), "timeout", "0")
				}},
				{"a restart", row.server.Restart},
			} {
				fill(t, client, row.server, pool)
				if end.do(); client.PoolStats().IdleConns < pool {
					t.Fatalf("got %d idle connections, want %d", client.PoolStats().IdleConns, pool)
				}
				// One after the other: then a retry meets the next connection that is dead.
				if failed := send(t, client, 1, pool); len(failed) > 0 {
					t.Errorf("after %s: got %d errors of %d, first %v", end.name, len(failed), pool, failed[0])
				}
				if failed := send(t, client, pool, 1); len(failed) > 0 {
					t.Errorf("after %s, at once: got %d errors of %d, first %v", end.name, len(failed), pool, failed[0])
				}
			}
		})
	}
}

// TestIdleTLSConnectionsStay holds against a check that takes a session ticket, which
// the server sends unasked, for the end of a connection.
func TestIdleTLSConnectionsStay(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, query string }{
		{"RESP2", ""},
		{"RESP3", "&protocol=3"},
		{"made before it was needed", "&min_idle_conns=1"},
		{"made before it was needed, RESP3", "&min_idle_conns=1&protocol=3"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.StartTLS(t)
			admin := s.Client()
			own := admin.ClientID(t.Context()).Val()
			client, _ := open(t, s.URL+"?pool_size=1&ca="+s.CAFile+row.query)
			var first int64
			if strings.Contains(row.query, "idle") {
				until(t, "an idle connection", func() bool {
					list := strings.Split(admin.ClientList(t.Context()).Val(), "\n")
					return len(list) == 3 && idOf(list[1], &first) > own
				})
			} else {
				first = client.ClientID(t.Context()).Val()
			}
			for range 50 {
				if id, err := client.ClientID(t.Context()).Result(); id != first || err != nil {
					t.Fatalf("got connection %d and error %v, want %d all along", id, err, first)
				}
			}
			if stats := client.PoolStats(); stats.TotalConns != 1 || stats.StaleConns != 0 {
				t.Errorf("got %d connections and %d given up, want 1 and 0", stats.TotalConns, stats.StaleConns)
			}
		})
	}
}

// idOf reads the id of a connection from a line of CLIENT LIST.
func idOf(line string, id *int64) int64 {
	_, _ = fmt.Sscanf(line, "id=%d ", id)
	return *id
}

// put replaces the content of file by that of another file, as a renewal does.
func put(t *testing.T, file string, content []byte) {
	t.Helper()
	next := file + ".next"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestCertificatesAreReadAgain(t *testing.T) {
	t.Parallel()
	right, other := redistest.StartTLS(t, "--tls-auth-clients", "yes"), redistest.StartTLS(t)
	dir := t.TempDir()
	ca, cert, key := filepath.Join(dir, "ca"), filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	goodCA, goodCert, goodKey := read(t, right.CAFile), read(t, right.CertFile), read(t, right.KeyFile)
	otherCA, otherCert, otherKey := read(t, other.CAFile), read(t, other.CertFile), read(t, other.KeyFile)
	put(t, ca, otherCA)
	put(t, cert, otherCert)
	put(t, key, otherKey)
	client, conns := open(t, right.URL+"?ca="+ca+"&cert="+cert+"&key="+key)
	overwrite := func(file string, content []byte) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		name  string
		renew func()
		works bool
	}{
		{"another authority's", func() {}, false},
		{"the right CA alone", func() { put(t, ca, goodCA) }, false},
		{"the right certificate, its key to come", func() { put(t, cert, goodCert) }, false},
		{"all of them right", func() { put(t, key, goodKey) }, true},
		{"a CA that is half written", func() { overwrite(ca, goodCA[:len(goodCA)/2]) }, true},
		{"a CA that is empty", func() { overwrite(ca, nil) }, true},
		{"a CA that is gone", func() { os.Remove(ca) }, true},
		{"a CA that is back", func() { put(t, ca, goodCA) }, true},
		{"a key that does not belong to the certificate", func() { put(t, key, otherKey) }, true},
		{"a certificate that is gone too", func() { os.Remove(cert) }, true},
		{"another authority's pair", func() { put(t, cert, otherCert) }, false},
		{"the right pair, written in place", func() { overwrite(cert, goodCert); overwrite(key, goodKey) }, true},
		{"a second CA before the right one", func() { overwrite(ca, bytes.Join([][]byte{otherCA, goodCA}, nil)) }, true},
		{"another CA alone", func() { put(t, ca, otherCA) }, false},
	} {
		row.renew()
		conns.CloseAll()
		if err := client.Ping(t.Context()).Err(); (err == nil) != row.works {
			t.Errorf("%s: got error %v, want success %t", row.name, err, row.works)
		}
	}
}

func TestCertificatesThatAreBrokenAtTheStart(t *testing.T) {
	t.Parallel()
	s := redistest.StartTLS(t)
	broken := filepath.Join(t.TempDir(), "broken.pem")
	put(t, broken, []byte("-----BEGIN CERTIFICATE-----"))
	for _, row := range []struct{ name, query, want string }{
		{"a CA that is not there", "ca=missing.pem", "ca:"},
		{"a CA that is broken", "ca=" + broken, "no PEM certificate"},
		{"a certificate that is not there", "cert=missing.pem&key=" + s.KeyFile, "cert and key:"},
		{"a key that is not there", "cert=" + s.CertFile + "&key=missing.pem", "cert and key:"},
		{"a certificate that is broken", "cert=" + broken + "&key=" + s.KeyFile, "cert and key:"},
		{"a certificate without its key", "cert=" + s.CertFile, "cert and key:"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if _, err := redisurl.Client(s.URL+"?"+row.query, time.Second); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got error %v, want %q in it", err, row.want)
			}
		})
	}
}
