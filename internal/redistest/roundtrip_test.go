package redistest_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestCommandsListsWhatReachedRedis(t *testing.T) {
	t.Parallel()
	p, _ := startProxy(t)
	client := dial(t, p.URL+"/1?client_name=somebody")
	client.Ping(t.Context())
	p.Reply(func(args []string) (string, bool) { return loading, args[0] == "STRLEN" })
	p.CutReply(named("INCR"))
	p.CutRequest(named("DECR"))
	set(t, client, "a", "one two")
	client.StrLen(t.Context(), "a")
	client.Incr(t.Context(), "n")
	client.Decr(t.Context(), "n")
	want := [][]string{{"SET", "a", "one two"}, {"INCR", "n"}}
	if got := p.Commands(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	p.Reset()
	if got := p.Commands(); len(got) != 0 || p.RoundTrips() != 0 {
		t.Errorf("after Reset: got %q in %d round trips", got, p.RoundTrips())
	}
}

func TestRoundTripsCountsBatchesNotCommands(t *testing.T) {
	t.Parallel()
	p, _ := startProxy(t)
	client := dial(t, p.URL)
	for _, row := range []struct {
		name string
		do   func()
		want int
	}{
		{"a handshake and a PING are none", func() { client.Ping(t.Context()) }, 0},
		{"one command is one", func() { set(t, client, "a", "1") }, 1},
		{"two commands one after the other are two", func() { client.Get(t.Context(), "a"); client.Get(t.Context(), "a") }, 2},
		{"a pipeline is one", func() { pipeline(t, client, 3, 1) }, 1},
		{"a pipeline that takes many reads is one", func() { pipeline(t, client, 200, 10_000) }, 1},
		{"a new connection's first command is one", func() { dial(t, p.URL).Get(t.Context(), "a") }, 1},
		{"a transaction is one", func() {
			_, _ = client.TxPipelined(t.Context(), func(tx redis.Pipeliner) error { return tx.Get(t.Context(), "a").Err() })
		}, 1},
	} {
		p.Reset()
		row.do()
		if got := p.RoundTrips(); got != row.want {
			t.Errorf("%s: got %d, want %d", row.name, got, row.want)
		}
	}
}

func pipeline(t testing.TB, client *redis.Client, commands, bytes int) {
	t.Helper()
	if _, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for range commands {
			p.Set(t.Context(), "a", strings.Repeat("x", bytes), 0)
		}
		return nil
	}); err != nil {
		t.Fatalf("pipeline: %v", err)
	}
}
