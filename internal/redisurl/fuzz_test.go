package redisurl_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/redisurl"
	"github.com/redsession/redsession/internal/topology"
)

// password is what no error may show. It could not come from anywhere else.
const password = "hunter2%2Fhunter2"

// FuzzClient reads any URL with a password in it.
func FuzzClient(f *testing.F) {
	for _, row := range []struct{ scheme, user, hosts, tail string }{
		{"redis", "", "localhost:6379", "/1?read_timeout=200ms&max_retries=-1&pool_size=5"},
		{"rediss", "alice", "[::1]:6380", "?server_name=x&insecure_skip_verify=true"},
		{"rediss", "alice", "h", "?ca=missing.pem&cert=c&key=k"},
		{"unix", "", "", "/run/redis.sock?db=1"},
		{"redis+cluster", "alice", "h1:6379,h2:6379", "/0?db=3"},
		{"rediss+cluster", "", "h1", "?color=red"},
		{"redis+sentinel", "alice", "h1:26379,h2:26379", "/main/0?sentinel_password=" + password},
		{"rediss+sentinel", "", "h1,", "/main/zero"},
		{"redis", "a/b", "h", "/-1"},
		{"redis", "a?b", "h", "#x"},
		{"redis", "a@b", "h:port", "?db=x"},
		{"redis", "%zz", "h", "?db=%zz"},
		{"", "", "", ""},
		{"redis+ring", "", "[", "?pool_size=99999999999999999999"},
		{"redis", "", "h", "?pool_size=-7&protocol=9&read_timeout=99999999999h"},
		// go-redis panics, and an unencoded password with an @ and a ? is taken for an option.
		{"redis", "", "h", "?pool_size=-7"},
		{"redis", "", "h", "?pool_size=4000000000000"},
		{"redis", "alice:p@1?x", "h", ""},
		{"redis+cluster", "alice", "h1,alice:" + password + "@h2", ""},
		{"redis+cluster", "alice", "h1,bob:" + password + "@h2", "\n"},
		{"redis+cluster", "h1,alice", "h2,h 3", ""},
	} {
		f.Add(row.scheme, row.user, row.hosts, row.tail)
	}
	f.Fuzz(func(t *testing.T, scheme, user, hosts, tail string) {
		// The one begins to connect, the other reads a device without end.
		if folded := strings.ToLower(tail); strings.Contains(folded, "min_idle") || strings.Contains(folded, "/dev") {
			return
		}
		client, err := redisurl.Client(scheme+"://"+user+":"+password+"@"+hosts+tail, time.Second)
		if (client == nil) != (err != nil) {
			t.Fatalf("got client %v and error %v, want one of them", client, err)
		}
		if err == nil {
			defer client.Close()
			topo, err := topology.Of(client)
			if err != nil || !topo.HonoursContext() {
				t.Fatalf("got error %v, want a client that honours deadlines", err)
			}
			showsNone(t, topo.String())
			return
		}
		showsNone(t, err.Error())
	})
}

// showsNone wants no password in text, encoded or not.
func showsNone(t *testing.T, text string) {
	t.Helper()
	if strings.Contains(strings.ToLower(text), "hunter2") {
		t.Errorf("got %q, want no password in it", text)
	}
}
