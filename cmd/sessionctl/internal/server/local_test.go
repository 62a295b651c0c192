package server_test

import (
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/cmd/sessionctl/internal/server"
)

func TestIsLocal(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, host string
		want       bool
	}{
		{"the loopback address is local", "127.0.0.1", true},
		{"every address of the loopback network is local", "127.8.9.10", true},
		{"the loopback address of IPv6 is local", "::1", true},
		{"the loopback address of IPv6 with a zone is local", "::1%lo", true},
		{"the loopback address written as IPv6 is local", "::ffff:127.0.0.1", true},
		{"localhost is local", "localhost", true},
		{"the unspecified address leads to this machine", "0.0.0.0", true},
		{"a private address is not local", "10.0.0.1", false},
		{"a link-local address is not local", "fe80::1%eth0", false},
		{"a public address is not local", "203.0.113.7", false},
		{"a name that leads nowhere is not local", "nowhere.invalid", false},
		{"no host is not local", "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := server.IsLocal(t.Context(), row.host); got != row.want {
				t.Errorf("got %t, want %t", got, row.want)
			}
		})
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, url string
		node      redis.Options
		want      []string
	}{
		{"one server has its host", "redis://h1:6379/0", redis.Options{}, []string{"h1"}},
		{"a password is no host", "redis://u:h2,h3@h1:6379/0", redis.Options{}, []string{"h1"}},
		{"an IPv6 address has no brackets", "rediss://[::1]:6379?ca=x", redis.Options{}, []string{"::1"}},
		{"a cluster has the hosts that the URL names", "redis+cluster://h1:1,h2", redis.Options{}, []string{"h1", "h2"}},
		{"a cluster has those of its nodes too", "redis+cluster://h1:1", redis.Options{Addr: "h9:7"}, []string{"h9", "h1"}},
		{"sentinels have theirs, and a node behind them has none", "redis+sentinel://h1,h2/m/0", redis.Options{Addr: "FailoverClient"}, []string{"h1", "h2"}},
		{"a unix socket has none", "unix:///run/a:1.sock?db=1", redis.Options{Network: "unix", Addr: "/run/a:1.sock"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			client := redis.NewClient(&row.node)
			defer client.Close()
			var nodes []server.Node
			if row.node.Addr != "" {
				nodes = []server.Node{{Addr: row.node.Addr, Client: client}}
			}
			if got := server.Hosts(row.url, nodes); !slices.Equal(got, row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}
