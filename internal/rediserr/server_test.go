package rediserr_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/rediserr"
	"github.com/redsession/redsession/internal/redistest"
)

const (
	setScript = "return redis.call('SET', KEYS[1], 'v')"
	getScript = "return redis.call('GET', KEYS[1])"
)

// single returns a client that tries once: its errors are those of the server.
func single(t *testing.T, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: addr, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true, ReadTimeout: 10 * time.Second,
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func do(t *testing.T, client redis.UniversalClient, args ...any) {
	t.Helper()
	if err := client.Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args[0], err)
	}
}

type command []any

func eval(src string, keys ...any) command {
	return append(command{"EVAL", src, len(keys)}, keys...)
}

// refuses asks until the client gets a reply that begins with code.
func refuses(t *testing.T, client *redis.Client, code string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		err := client.Do(ctx, args...).Err()
		if redis.HasErrorPrefix(err, code) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("got %v, want %s", err, code)
		}
	}
}

// expect sends a command, and as a script when it is one, and compares what the
// error says and what it means.
func expect(t *testing.T, client redis.UniversalClient, send command, words string, want rediserr.Meaning) {
	t.Helper()
	err := client.Do(t.Context(), send...).Err()
	if text, ok := rediserr.Reply(err); !ok || !strings.HasPrefix(text, words) {
		t.Errorf("%v: got reply %q, %v of %v, want %q", send, text, ok, err, words)
	}
	check(t, err, send[0] == "EVAL" || send[0] == "EVALSHA", want)
}

func TestRedis7Replies(t *testing.T) {
	t.Parallel()
	var (
		full    = []command{{"CONFIG", "SET", "maxmemory", "1"}}
		alone   = []command{{"CONFIG", "SET", "min-replicas-to-write", "1"}}
		replica = []command{{"REPLICAOF", "127.0.0.1", "1"}}
		stale   = []command{{"CONFIG", "SET", "replica-serve-stale-data", "no"}, {"REPLICAOF", "127.0.0.1", "1"}}
		list    = []command{{"RPUSH", "k", "v"}}
		text    = []command{{"SET", "k", "v"}}
	)
	for _, row := range []struct {
		name  string
		setup []command
		send  command
		words string
		want  rediserr.Meaning
	}{
		{"OOM", full, command{"SET", "k", "v"}, "OOM command not allowed", refused(stays, writes)},
		{"OOM inside a script", full, eval(setScript, "k"), "OOM command not allowed", partly(stays, writes)},
		{"OOM returned by a script", full, eval("return redis.pcall('SET', KEYS[1], 'v')", "k"), "OOM command not allowed", partly(stays, writes)},
		{"NOREPLICAS", alone, command{"SET", "k", "v"}, "NOREPLICAS", refused(aroundFailover, writes)},
		{"NOREPLICAS inside a script", alone, eval(setScript, "k"), "NOREPLICAS", partly(aroundFailover, writes)},
		{"READONLY", replica, command{"SET", "k", "v"}, "READONLY You can't write", refused(aroundFailover, writes)},
		{"READONLY inside a script", replica, eval(setScript, "k"), "READONLY You can't write", partly(aroundFailover, writes)},
		{"MASTERDOWN", stale, command{"GET", "k"}, "MASTERDOWN", refused(passes, node)},
		{"MASTERDOWN for a script", stale, eval(getScript, "k"), "MASTERDOWN", refused(passes, node)},
		{"WRONGTYPE", list, command{"GET", "k"}, "WRONGTYPE", refused(stays, key)},
		{"WRONGTYPE inside a script", list, eval(getScript, "k"), "WRONGTYPE", partly(stays, key)},
		{"NOSCRIPT", nil, command{"EVALSHA", strings.Repeat("0", 40), 0}, "NOSCRIPT", refused(passes, key)},
		{"a script does not compile", nil, eval("retur"), "ERR Error compiling script", refused(stays, bug)},
		{"a script fails", nil, eval("error('secret')"), "ERR user_script:1: ", partly(stays, bug)},
		{"a script uses a global variable", nil, eval("return secret"), "ERR user_script:1: Script attempted to access nonexistent global variable …", partly(stays, bug)},
		{"a script calls what is not there", nil, eval("return redis.call('NIX')"), "ERR Unknown Redis command called from script", partly(stays, node)},
		{"a script calls with wrong arguments", nil, eval("return redis.call('GET')"), "ERR Wrong number of args", partly(stays, bug)},
		{"an unknown command", nil, command{"NIX", "secret"}, "ERR unknown command 'NIX'", refused(stays, node)},
		{"wrong arguments", nil, command{"GET"}, "ERR wrong number of arguments for 'get' command", refused(stays, bug)},
		{"no integer", text, command{"INCR", "k"}, "ERR value is not an integer", refused(stays, bug)},
		{"no integer inside a script", text, eval("return redis.call('INCR', KEYS[1])", "k"), "ERR value is not an integer", partly(stays, bug)},
		{"a wrong expiry", nil, command{"SETEX", "k", "0", "v"}, "ERR invalid expire time in 'setex' command", refused(stays, bug)},
		{"no such database", nil, command{"SELECT", "99"}, "ERR DB index is out of range", refused(stays, connection)},
		{"no such protocol", nil, command{"HELLO", "9"}, "NOPROTO", refused(stays, connection)},
		{"a password that nobody wants", nil, command{"AUTH", "secret"}, "ERR AUTH <password> called", refused(stays, connection)},
		{"no script to kill", nil, command{"SCRIPT", "KILL"}, "NOTBUSY", refused(stays, node)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			client := single(t, redistest.Start(t).Addr)
			for _, before := range row.setup {
				do(t, client, before...)
			}
			expect(t, client, row.send, row.words, row.want)
		})
	}
}

func TestRedis7RefusesWithoutPermission(t *testing.T) {
	t.Parallel()
	server := redistest.StartACL(t, "alice", "password", "~a:*", "+@all", "-set")
	client := server.Client()
	expect(t, client, command{"SET", "a:k", "v"}, "NOPERM this user has no permissions to run the 'set' command", refused(stays, node))
	expect(t, client, command{"GET", "b"}, "NOPERM", refused(stays, node))
	expect(t, client, eval(setScript, "a:k"), "ERR The user executing the script can't run this command", partly(stays, node))
	expect(t, client, eval("return redis.call('GET', 'b')"), "ERR The user executing the script can't access", partly(stays, node))

	expect(t, single(t, server.Addr), command{"GET", "a:k"}, "NOAUTH", refused(stays, connection))
	stranger := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "alice", Password: "wrong"})
	t.Cleanup(func() { _ = stranger.Close() })
	expect(t, stranger, command{"GET", "a:k"}, "WRONGPASS", refused(stays, connection))
}

func TestRedis7TakesNoWritesAfterAFailedSnapshot(t *testing.T) {
	t.Parallel()
	// A snapshot cannot take the place of a directory.
	dir := t.TempDir()
	client := single(t, redistest.Start(t, "--dir", dir, "--dbfilename", "taken", "--save", "3600 1").Addr)
	makeDir(t, dir, "taken")
	do(t, client, "SET", "k", "v")
	do(t, client, "BGSAVE")
	refuses(t, client, "MISCONF", "SET", "k", "v")
	expect(t, client, command{"SET", "k", "v"}, "MISCONF Redis is configured to save RDB snapshots", refused(stays, writes))
	expect(t, client, eval(setScript, "k"), "MISCONF", partly(stays, writes))
}

func TestRedis7IsBusyWithAScript(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--busy-reply-threshold", "1")
	client, looping := single(t, server.Addr), single(t, server.Addr)
	killed := make(chan error, 1)
	go func() { killed <- looping.Do(t.Context(), eval("while true do end")...).Err() }()
	refuses(t, client, "BUSY", "GET", "k")
	expect(t, client, command{"GET", "k"}, "BUSY Redis is busy running a script", refused(passes, node))
	expect(t, client, eval(getScript, "k"), "BUSY", refused(passes, node))
	do(t, client, "SCRIPT", "KILL")
	err := <-killed
	if text, _ := rediserr.Reply(err); !strings.HasPrefix(text, "ERR Script killed by user with SCRIPT KILL") {
		t.Errorf("got %v", err)
	}
	check(t, err, true, partly(passes, node))

	go func() {
		killed <- looping.Do(t.Context(), eval("redis.call('SET', KEYS[1], 'v') while true do end", "k")...).Err()
	}()
	refuses(t, client, "BUSY", "GET", "k")
	expect(t, client, command{"SCRIPT", "KILL"}, "UNKILLABLE", refused(stays, node))
	server.Kill()
	check(t, <-killed, true, partly(passes, connection)) // written, and the reply is lost
}

func TestRedis7IsLoading(t *testing.T) {
	t.Parallel()
	server := redistest.Start(
		t, "--enable-debug-command", "yes", "--rdbcompression", "no",
		"--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024",
	)
	client, loading := single(t, server.Addr), single(t, server.Addr)
	for k := range 50 {
		do(t, client, "SET", k, strings.Repeat("v", 2000))
	}
	done := make(chan struct{})
	go func() { defer close(done); loading.Do(t.Context(), "DEBUG", "RELOAD") }()
	refuses(t, client, "LOADING", "GET", "k")
	expect(t, client, command{"GET", "k"}, "LOADING Redis is loading the dataset in memory", refused(passes, node))
	expect(t, client, eval(getScript, "k"), "LOADING", refused(passes, node))
	server.Kill()
	<-done
}

func TestRedis7Cluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	first := single(t, cluster.PrimaryOf("bar").Addr) // slot 5061; foo is in 12182, of another node
	second, err := single(t, cluster.PrimaryOf("foo").Addr).ClusterMyID(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	expect(t, first, command{"GET", "foo"}, "MOVED 12182 127.0.0.1:", refused(aroundFailover, bug))
	expect(t, first, eval(getScript, "foo"), "MOVED", refused(aroundFailover, bug))
	expect(t, first, command{"MGET", "foo", "bar"}, "CROSSSLOT", refused(stays, bug))
	expect(t, first, eval(getScript, "foo", "bar"), "CROSSSLOT", refused(stays, bug))
	expect(t, first, eval("return redis.call('GET', 'foo')", "bar"), "ERR Script attempted to access a non local key", partly(stays, bug))

	do(t, first, "SET", "bar", "v")
	do(t, first, "CLUSTER", "SETSLOT", 5061, "MIGRATING", second)
	expect(t, first, command{"GET", "{bar}:gone"}, "ASK 5061 127.0.0.1:", refused(aroundFailover, bug))
	expect(t, first, command{"MGET", "bar", "{bar}:gone"}, "TRYAGAIN", refused(passes, key))
}

func TestRedis7ClusterWithoutSlots(t *testing.T) {
	t.Parallel()
	client := single(t, redistest.Start(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf").Addr)
	expect(t, client, command{"GET", "k"}, "CLUSTERDOWN", refused(passes, node))
	expect(t, client, eval(getScript, "k"), "CLUSTERDOWN", refused(passes, node))
}
