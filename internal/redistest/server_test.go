package redistest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redistest"
)

func TestEveryFlavourAnswers(t *testing.T) {
	t.Parallel()
	flavours := []struct {
		name string
		open func(testing.TB) redis.UniversalClient
	}{
		{"a plain server", func(t testing.TB) redis.UniversalClient { return redistest.Start(t).Client() }},
		{"a server with an ACL", func(t testing.TB) redis.UniversalClient {
			return redistest.StartACL(t, "app", "p w/:@#é").Client()
		}},
		{"a server on a unix socket", func(t testing.TB) redis.UniversalClient { return redistest.StartUnix(t).Client() }},
		{"a server with TLS", func(t testing.TB) redis.UniversalClient { return redistest.StartTLS(t).Client() }},
		{"a cluster", func(t testing.TB) redis.UniversalClient { return redistest.StartCluster(t).Client() }},
		{"sentinels", func(t testing.TB) redis.UniversalClient { return redistest.StartSentinel(t).Client() }},
		{"a proxy", func(t testing.TB) redis.UniversalClient {
			return dial(t, redistest.NewProxy(t, redistest.Start(t).Addr).URL)
		}},
		{"a proxy to a unix socket", func(t testing.TB) redis.UniversalClient {
			return dial(t, redistest.NewProxy(t, redistest.StartUnix(t).Addr).URL)
		}},
	}
	for _, flavour := range flavours {
		t.Run(flavour.name, func(t *testing.T) {
			t.Parallel()
			client := flavour.open(t)
			if err := client.Ping(t.Context()).Err(); err != nil {
				t.Errorf("PING: %v", err)
			}
			if err := client.Set(t.Context(), "key", "value", time.Minute).Err(); err != nil {
				t.Errorf("SET: %v", err)
			}
			if got, err := client.Get(t.Context(), "key").Result(); got != "value" || err != nil {
				t.Errorf("GET: got %q, %v, want value", got, err)
			}
		})
	}
}

func TestArgumentsOverrideTheOwnOnes(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t, "--maxmemory", "3mb", "--appendonly", "yes").Client()
	for name, want := range map[string]string{"maxmemory": "3145728", "appendonly": "yes", "save": ""} {
		if got := client.ConfigGet(t.Context(), name).Val()[name]; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestKilledServerRefusesAndRestartsEmptyOnItsAddress(t *testing.T) {
	t.Parallel()
	for _, end := range []struct {
		name string
		call func(*redistest.Server)
	}{
		{"after Kill", (*redistest.Server).Kill},
		{"after Stop", (*redistest.Server).Stop},
		{"after Stop while paused", func(s *redistest.Server) { s.Pause(); s.Stop() }},
		{"after Kill while paused", func(s *redistest.Server) { s.Pause(); s.Kill() }},
		{"after Kill twice", func(s *redistest.Server) { s.Kill(); s.Kill() }},
	} {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			client := s.Client()
			set(t, client, "key", "value")
			end.call(s)
			if conn, err := net.Dial("tcp", s.Addr); err == nil {
				conn.Close()
				t.Error("the server still accepts connections")
			}
			s.Restart()
			if err := s.Client().Get(t.Context(), "key").Err(); !errors.Is(err, redis.Nil) {
				t.Errorf("GET after the restart: got %v, want redis.Nil", err)
			}
		})
	}
}

func TestRestartEndsARunningServerFirst(t *testing.T) {
	t.Parallel()
	s := redistest.StartUnix(t)
	before := pidOf(t, s)
	s.Restart()
	if after := pidOf(t, s); after == before {
		t.Errorf("process %d still runs", before)
	}
}

func TestRestartKeepsWhatAppendOnlyFilesHold(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	set(t, s.Client(), "key", "value")
	s.Kill()
	s.Restart()
	if got := s.Client().Get(t.Context(), "key").Val(); got != "value" {
		t.Errorf("got %q, want value", got)
	}
}

func TestPausedServerAnswersOnlyAfterResume(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	options, err := redis.ParseURL(s.URL + "?read_timeout=50ms&max_retries=-1")
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	set(t, s.Client(), "key", "value")
	s.Pause()
	if err := client.Get(t.Context(), "key").Err(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("GET while paused: got %v, want a timeout", err)
	}
	s.Resume()
	if got, err := s.Client().Get(t.Context(), "key").Result(); got != "value" {
		t.Errorf("GET after Resume: got %q, %v, want value", got, err)
	}
}

func TestACLLetsNobodyElseInAndNothingElseThrough(t *testing.T) {
	t.Parallel()
	s := redistest.StartACL(t, "app", "secret", "~session:*", "+get", "+set")
	client := s.Client()
	set(t, client, "session:1", "value")
	if err := client.Set(t.Context(), "other", "value", 0).Err(); !isRefusal(err, "NOPERM") {
		t.Errorf("a key outside the rules: got %v, want NOPERM", err)
	}
	if err := client.Del(t.Context(), "session:1").Err(); !isRefusal(err, "NOPERM") {
		t.Errorf("a command outside the rules: got %v, want NOPERM", err)
	}
	if err := dial(t, "redis://"+s.Addr).Get(t.Context(), "session:1").Err(); !isRefusal(err, "NOAUTH") {
		t.Errorf("the default user: got %v, want NOAUTH", err)
	}
}

func TestUnixSocketPathIsShort(t *testing.T) {
	t.Parallel()
	t.Run(strings.Repeat("a test with a long name ", 8), func(t *testing.T) {
		t.Parallel()
		s := redistest.StartUnix(t)
		if len(s.Addr) > 103 || s.URL != "unix://"+s.Addr {
			t.Errorf("got %q and %q", s.Addr, s.URL)
		}
	})
}

func TestServerThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	_, port, _ := net.SplitHostPort(redistest.Start(t).Addr)
	for name, row := range map[string]struct {
		args []string
		want string
	}{
		"an unknown argument":      {[]string{"--no-such-option", "1"}, "Bad directive"},
		"ports that are all taken": {[]string{"--port", port}, "5 ports that were free were taken"},
	} {
		got := record(t, func(t testing.TB) { redistest.Start(t, row.args...) })
		if !strings.Contains(got.fatal, row.want) {
			t.Errorf("%s: got %q, want %q in it", name, got.fatal, row.want)
		}
	}
}

func TestMissingBinarySkipsExceptInCI(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	const hint = "apt-get install redis-server"
	t.Setenv("CI", "")
	if got := record(t, func(t testing.TB) { redistest.Start(t) }); !strings.Contains(got.skipped, hint) {
		t.Errorf("got %+v, want it skipped with %q", got, hint)
	}
	t.Setenv("CI", "true")
	if got := record(t, func(t testing.TB) { redistest.Start(t) }); !strings.Contains(got.fatal, hint) {
		t.Errorf("in CI: got %+v, want it failed with %q", got, hint)
	}
}

// recorder stands in for a test that may fail or be skipped.
type recorder struct {
	testing.TB
	fatal, skipped string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func record(t *testing.T, test func(testing.TB)) *recorder {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(r)
	}()
	<-done
	return r
}

func TestNoProcessIsLeftAfterASubtest(t *testing.T) {
	t.Parallel()
	var pids []int
	var socket string
	t.Run("starts servers and leaves them in every state", func(t *testing.T) {
		paused, resumed, restarted, unix := redistest.Start(t), redistest.Start(t), redistest.Start(t), redistest.StartUnix(t)
		socket = unix.Addr
		servers := []*redistest.Server{paused, resumed, restarted, unix, redistest.StartTLS(t).Server}
		servers = append(servers, redistest.StartCluster(t).Nodes...)
		sentinel := redistest.StartSentinel(t)
		servers = append(servers, sentinel.Primary(), sentinel.Replica())
		servers = append(servers, sentinel.Sentinels...)
		for _, s := range servers {
			pids = append(pids, pidOf(t, s))
		}
		restarted.Restart()
		pids = append(pids, pidOf(t, restarted))
		resumed.Pause()
		resumed.Resume()
		paused.Pause()
	})
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d still runs", pid)
		}
	}
	if _, err := os.Stat(filepath.Dir(socket)); !os.IsNotExist(err) {
		t.Errorf("folder of the socket: got %v, want it removed", err)
	}
}

func dial(t testing.TB, url string) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	options.MaxRetries = -1
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	return client
}

func set(t testing.TB, client redis.UniversalClient, key, value string) {
	t.Helper()
	if err := client.Set(context.Background(), key, value, 0).Err(); err != nil {
		t.Fatalf("SET: %v", err)
	}
}

func isRefusal(err error, code string) bool {
	return err != nil && strings.HasPrefix(err.Error(), code)
}

func pidOf(t testing.TB, s *redistest.Server) int {
	t.Helper()
	info, err := s.Client().InfoMap(t.Context(), "server").Result()
	if err != nil {
		t.Fatalf("INFO: %v", err)
	}
	pid, err := strconv.Atoi(info["Server"]["process_id"])
	if err != nil {
		t.Fatalf("process_id: %v", err)
	}
	return pid
}

func alive(pid int) bool {
	process, err := os.FindProcess(pid)
	return err == nil && process.Signal(syscall.Signal(0)) == nil
}
