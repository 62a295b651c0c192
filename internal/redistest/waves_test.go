package redistest_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redistest"
)

func TestWavesOfOneServer(t *testing.T) {
	t.Parallel()
	p, _ := startProxy(t)
	client := dial(t, p.URL)
	get := func() { client.Get(t.Context(), "a") }
	for _, row := range []struct {
		name string
		do   func()
		want []int // commands in each
	}{
		{"nothing is no wave", func() {}, nil},
		{"a handshake and a PING are no wave", func() { dial(t, p.URL).Ping(t.Context()) }, nil},
		{"one command is a wave", get, []int{1}},
		{"what waits for a reply is another wave", func() { get(); get() }, []int{1, 1}},
		{"a pipeline is a wave", func() { pipeline(t, client, 3, 1) }, []int{3}},
		{"a pipeline that takes many reads is a wave", func() { pipeline(t, client, 200, 10_000) }, []int{200}},
		{"what goes over several connections side by side is a wave", func() { together(get, get, get) }, []int{3}},
		{"a command of the proxy's own answer is a wave that Redis does not see", func() {
			p.Reply(func(args []string) (string, bool) { return loading, args[0] == "STRLEN" })
			defer p.Reply(nil)
			dial(t, p.URL).StrLen(t.Context(), "a")
			get()
		}, []int{0, 1}},
		{"what is sent again after a lost reply is another wave", func() {
			p.CutReply(named("INCR"))
			if err := dial(t, p.URL).Incr(t.Context(), "n").Err(); !errors.Is(err, io.EOF) {
				t.Errorf("got %v, want EOF", err)
			}
			p.CutReply(nil)
			client.Incr(t.Context(), "n")
		}, []int{1, 1}},
	} {
		t.Run(row.name, func(t *testing.T) { checkWaves(t, redistest.Waves(row.do, p), row.want) })
	}
}

func TestWavesOfAClusterCountWhatGoesToSeveralNodesAtOnceOnce(t *testing.T) {
	t.Parallel()
	c := redistest.StartProxiedCluster(t)
	keys := keyOfEachNode(t, c)
	client := c.Client()
	get := func(key string) func() { return func() { client.Get(t.Context(), key) } }
	for _, row := range []struct {
		name string
		do   func()
		want []int
	}{
		{"learning the slots is no wave, a command is one", get(keys[0]), []int{1}},
		{"three nodes side by side, over new connections, are a wave", func() { together(get(keys[0]), get(keys[1]), get(keys[2])) }, []int{3}},
		{"three nodes one after the other are three waves", func() { get(keys[0])(); get(keys[1])(); get(keys[2])() }, []int{1, 1, 1}},
		{"a pipeline over three nodes is a wave", func() {
			_, _ = client.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
				for _, key := range keys {
					pipe.Get(t.Context(), key)
					pipe.Get(t.Context(), key)
				}
				return nil
			})
		}, []int{6}},
		{"side by side, and then two nodes side by side, are two waves", func() {
			together(get(keys[0]), get(keys[1]), get(keys[2]))
			together(get(keys[1]), get(keys[2]))
		}, []int{3, 2}},
	} {
		t.Run(row.name, func(t *testing.T) { checkWaves(t, c.Waves(row.do), row.want) })
	}
}

func TestEachProxyOfAClusterCountsItsOwnRoundTrips(t *testing.T) {
	t.Parallel()
	c := redistest.StartProxiedCluster(t)
	if want := "redis+cluster://" + strings.Join(c.Addrs, ","); c.URL != want {
		t.Errorf("URL: got %q, want %q", c.URL, want)
	}
	keys := keyOfEachNode(t, c)
	client := c.Client()
	for _, p := range c.Proxies {
		p.Reset()
	}
	_, err := client.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		for _, key := range keys {
			pipe.Set(t.Context(), key, "value", 0)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, key := range keys {
		p := c.ProxyOf(key)
		if p != c.Proxies[i] {
			t.Errorf("ProxyOf(%q) is not the proxy of node %d", key, i)
		}
		want := []string{"SET", key, "value"}
		if got := p.Commands(); len(got) != 1 || !slices.Equal(got[0], want) || p.RoundTrips() != 1 {
			t.Errorf("node %d: got %q in %d round trips, want %q in one", i, got, p.RoundTrips(), want)
		}
		if got := value(t, c.Nodes[i], key); got != "value" {
			t.Errorf("node %d: got %q, want value", i, got)
		}
	}
}

func TestFaultOfOneNodeOfACluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartProxiedCluster(t)
	keys := keyOfEachNode(t, c)
	client := c.Client()
	c.ProxyOf(keys[1]).Reply(func([]string) (string, bool) { return "-ERR own\r\n", true })
	if err := client.Set(t.Context(), keys[1], "1", 0).Err(); !isRefusal(err, "ERR own") {
		t.Errorf("got %v, want the proxy's own answer", err)
	}
	if err := client.Set(t.Context(), keys[0], "1", 0).Err(); err != nil {
		t.Errorf("another node: got %v", err)
	}
}

func checkWaves(t *testing.T, got []redistest.Wave, want []int) {
	t.Helper()
	var sizes []int
	for _, w := range got {
		sizes = append(sizes, len(w))
	}
	if !slices.Equal(sizes, want) {
		t.Errorf("got %.500q, want waves of %v commands", got, want)
	}
}

func together(calls ...func()) {
	var group sync.WaitGroup
	for _, call := range calls {
		group.Go(call)
	}
	group.Wait()
}

// keyOfEachNode returns one key for each node, in the order of c.Nodes.
func keyOfEachNode(t *testing.T, c *redistest.Cluster) []string {
	t.Helper()
	keys := make([]string, len(c.Nodes))
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		keys[slices.Index(c.Nodes, c.PrimaryOf(key))] = key
	}
	if slices.Contains(keys, "") {
		t.Fatalf("a node stores none of the keys: %q", keys)
	}
	return keys
}
