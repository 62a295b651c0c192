package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/breaker"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/store"
	"github.com/redsession/redsession/internal/topology"
)

func TestListEntriesAndHeads(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, e *env) {
		lying := []struct {
			name        string
			lies        any
			entry, head string
		}{
			{"a record", raw("1", 'r'), "1r for 60s", "r"},
			{"an imported record", raw("1", 'i'), "1i for 60s", "i"},
			{"a rotation tombstone", raw("1", 'o'), "1o for 60s", "o to z"},
			{"a login tombstone", raw("1", 'l'), "1l for 60s", "l to z"},
			{"nothing", nil, "nothing", "none"},
			{"a string of somebody else's", "x", `"x" for 60s`, "none"},
			{"a list", list{}, "no string", "none"},
		}
		var ids []string
		for i, row := range lying {
			ids = append(ids, id(string(rune('a'+i))))
			e.put(t, space.Session(ids[i]), row.lies)
		}
		entries, err := e.Entries(t.Context(), ids)
		heads, err2 := e.Heads(t.Context(), ids)
		if err != nil || err2 != nil || len(entries) != len(ids) || len(heads) != len(ids) {
			t.Fatalf("got %d entries, %v, and %d heads, %v", len(entries), err, len(heads), err2)
		}
		for i, row := range lying {
			entry, head := show(entries[i].Value), "none"
			if entries[i].TTL > 0 {
				entry += fmt.Sprintf(" for %ds", (int(entries[i].TTL.Seconds())+9)/10*10)
			}
			if h := heads[i]; h.Kind != 0 {
				head = string(rune(h.Kind))
				if h.Next != "" {
					head += " to " + h.Next[:1]
				}
			}
			if entry != row.entry || head != row.head || entries[i].ID != ids[i] {
				t.Errorf("%s: got the entry %q and the head %q, want %q and %q", row.name, entry, head, row.entry, row.head)
			}
			if row.lies != nil && row.lies != (list{}) && e.lies(t, space.Session(ids[i])) != row.entry {
				t.Errorf("%s: looking at it was an activity", row.name)
			}
			if v, err := e.Get(t.Context(), ids[i]); err != nil || v != entries[i].Value {
				t.Errorf("%s: Get found %s, %v", row.name, show(v), err)
			}
		}
		if none, err := e.Entries(t.Context(), nil); len(none) != 0 || err != nil {
			t.Errorf("got %v and %v for no ids", none, err)
		}
	})
}

func letters(entries []store.Indexed) string {
	var all []string
	for _, i := range entries {
		all = append(all, fmt.Sprintf("%.1s=%d", i.ID, i.Score))
	}
	return strings.Join(all, " ")
}

func TestListIndex(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, e *env) {
		for _, row := range []struct {
			name    string
			lies    any
			skip, n int
			want    string
		}{
			{"the oldest login comes first", index{id("b"): 1, id("a"): 2, id("c"): 3}, 0, 9, "b=1 a=2 c=3"},
			{"a page begins after those before it", index{id("b"): 1, id("a"): 2, id("c"): 3}, 1, 1, "a=2"},
			{"the mark of a revocation is no entry", index{"*": 1, id("c"): 3}, 0, 9, "c=3"},
			{"a mark takes no place on a page", index{id("a"): 1, "*": 2, id("b"): 3, id("c"): 4}, 0, 2, "a=1 b=3"},
			{"a mark behind a page takes none either", index{id("a"): 1, id("b"): 2, "*": 3}, 0, 2, "a=1 b=2"},
			{"a mark among those before a page lets one of them come again", index{"*": 1, id("a"): 2, id("b"): 3}, 1, 2, "a=2 b=3"},
			{"what has no form of an id is shown, to be taken out", index{"x": 2, id("c"): 3}, 0, 9, "x=2 c=3"},
			{"scores are exact to the microsecond", index{id("c"): 1_800_000_000_000_001}, 0, 9, "c=1800000000000001"},
			{"no index has no entries", nil, 0, 9, ""},
			{"what is no index has none", list{}, 0, 9, ""},
		} {
			t.Run(row.name, func(t *testing.T) {
				e.put(t, space.User(user), row.lies)
				entries, err := e.Index(t.Context(), store.OfUser(user), row.skip, row.n)
				if got := letters(entries); got != row.want || err != nil {
					t.Errorf("got %q and %v, want %q", got, err, row.want)
				}
			})
		}
	})
}

func TestListScan(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, e *env) {
		const n = 1200 // several pages on each node
		pipe := e.client.Pipeline()
		want := make(map[string]bool)
		for i := range n {
			want[fmt.Sprintf("%032d", i)] = true
			pipe.Set(t.Context(), space.Session(fmt.Sprintf("%032d", i)), "x", time.Minute)
		}
		for _, other := range []string{space.User(user), space.Import("scs"), space.Probe(1), "session:a:" + id("a"), "other:" + id("a"), space.Session(id(":"))} {
			pipe.Set(t.Context(), other, "x", time.Minute)
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := make(map[string]bool)
		if err := e.Scan(t.Context(), func(ids []string) error {
			for _, id := range ids {
				got[id] = true
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for id := range got {
			if !want[id] {
				t.Errorf("got %q, which is no session", id)
			}
		}
		if len(got) != n {
			t.Errorf("got %d sessions, want %d", len(got), n)
		}
		pages, enough := 0, errors.New("enough")
		if err := e.Scan(t.Context(), func([]string) error { pages++; return enough }); !errors.Is(err, enough) || pages != 1 {
			t.Errorf("got %v after %d pages, want the caller's error after the first", err, pages)
		}
	})
}

func TestManyEndAllAndMarkRevoked(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, e *env) {
		e.put(t, space.User(user), index{id("a"): 1, id("b"): 2, id("c"): 3, id("d"): 4})
		for _, letter := range []string{"a", "b", "c"} {
			e.put(t, space.Session(id(letter)), raw("1", 'r'))
		}
		page, err := e.MarkRevoked(t.Context(), &store.Mark{Index: store.OfUser(user), At: 9, Life: life})
		if got := letters(page); got != "a=1 b=2 c=3 d=4" || err != nil {
			t.Errorf("got %s and %v of the mark", got, err)
		}
		ends := []*store.End{{ID: id("a")}, {ID: id("b"), With: buried}, {ID: id("d"), With: buried, Bury: true}}
		for range 2 { // ending twice does no harm
			rest, err := e.EndAll(t.Context(), ends, store.OfUser(user))
			if got := letters(rest); got != "c=3" || err != nil {
				t.Errorf("got %s and %v of the rest", got, err)
			}
			for letter, want := range map[string]string{"a": "nothing", "b": "8e for 30s", "c": "1r for 60s", "d": "8e for 30s"} {
				if got := e.lies(t, space.Session(id(letter))); got != want {
					t.Errorf("got %s at %s, want %s", got, letter, want)
				}
			}
			if got := e.lies(t, space.User(user)); got != "c=3 *=9 for 60s" {
				t.Errorf("got the index %s", got)
			}
		}
		if rest, err := e.EndAll(t.Context(), nil, store.OfUser(user)); letters(rest) != "c=3" || err != nil {
			t.Errorf("got %s and %v of an ending of none", letters(rest), err)
		}
		if err := e.Each(t.Context(), nil); err != nil {
			t.Errorf("got %v of no steps", err)
		}
	})
}

// What a refusal of one command says is found wherever it stands in a pipeline.
func TestManyTellsARefusal(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	s := checked(t, client(t, proxy.Addr))
	ids := []string{id("a"), id("b"), id("c")}
	for _, row := range []struct {
		name, command string
		do            func() error
	}{
		{"of a list", "GET", func() error { _, err := s.Entries(t.Context(), ids); return err }},
		{"of heads", "GETRANGE", func() error { _, err := s.Heads(t.Context(), ids); return err }},
		{"of an index", "ZRANGE", func() error { _, err := s.Index(t.Context(), store.OfUser(user), 0, 9); return err }},
		{"of a scan", "SCAN", func() error { return s.Scan(t.Context(), func([]string) error { return nil }) }},
		{"of a script in a pipeline", "EVALSHA", func() error {
			return s.Each(t.Context(), []store.Step{&store.End{ID: ids[0]}, &store.End{ID: ids[2]}})
		}},
		{"of the index after that", "ZRANGE", func() error {
			_, err := s.EndAll(t.Context(), []*store.End{{ID: ids[2]}}, store.OfUser(user))
			return err
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			proxy.Reply(func(args []string) (string, bool) {
				last := strings.Contains(strings.Join(args, " "), id("c")) || args[0] == "ZRANGE" || args[0] == "SCAN"
				return "-NOPERM User app has no permissions to run the '" + args[0] + "' command\r\n", args[0] == row.command && last
			})
			err := row.do()
			if err == nil || !strings.Contains(err.Error(), "NOPERM") || strings.Contains(err.Error(), ids[2]) {
				t.Errorf("got %v, want Redis's words and no key", err)
			}
		})
	}
}

// Of a cluster with a node that is away, the others are served.
func TestManyOnAClusterBlamesTheNodeThatIsAway(t *testing.T) {
	t.Parallel()
	c := redistest.StartProxiedCluster(t)
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs, ContextTimeoutEnabled: true, MaxRedirects: 1, MaxRetries: -1})
	t.Cleanup(func() { cluster.Close() })
	s := checked(t, cluster)
	here, there := id("a"), ""
	for letter := range strings.SplitSeq("bcdefghijk", "") {
		if there == "" && c.ProxyOf(space.Session(id(letter))) != c.ProxyOf(space.Session(here)) {
			there = id(letter)
		}
	}
	c.ProxyOf(space.Session(there)).Blackhole(true)
	for name, do := range map[string]func(context.Context) error{
		"a list": func(ctx context.Context) error { _, err := s.Entries(ctx, []string{here, there}); return err },
		"a pipeline": func(ctx context.Context) error {
			return s.Each(ctx, []store.Step{&store.End{ID: here}, &store.End{ID: there}})
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		err := do(ctx)
		cancel()
		var failed *store.Error
		if !errors.As(err, &failed) || failed.Key != space.Session(there) {
			t.Errorf("%s: got %v, want an error of the key whose node is away", name, err)
		}
	}
	if _, _, err := s.Load(t.Context(), soon(), space.Session(here), time.Minute); err != nil {
		t.Errorf("got %v of a load from a node that is well", err)
	}
}

// However many commands share it, one pipeline that is cut is one failure, and no outage.
func TestManyThatFailTogetherAreOneFailure(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	c := client(t, proxy.Addr)
	topo, err := topology.Of(c)
	if err != nil {
		t.Fatal(err)
	}
	var outages atomic.Int32
	b := breaker.New(breaker.Config{
		Topology: topo, Timeout: time.Second, ProbeEvery: time.Millisecond,
		Probe:    func(context.Context, redis.UniversalClient, breaker.Side, string) error { return nil },
		OnChange: func(context.Context, breaker.Change) { outages.Add(1) },
		OnBlink:  func(context.Context) {},
	})
	defer b.Close()
	s := checked(t, c, func(c *store.Config) { c.Breaker = b })
	var ids []string
	for i := range store.Page {
		ids = append(ids, fmt.Sprintf("%032d", i))
	}
	proxy.CutReply(func(args []string) bool { return args[0] == "GET" })
	if _, err := s.Entries(t.Context(), ids); err == nil {
		t.Error("got no error of a pipeline that was cut")
	}
	proxy.CutReply(nil)
	if _, err := s.Entries(t.Context(), ids); err != nil {
		t.Errorf("then got %v", err)
	}
	b.Close()
	if n := outages.Load(); n != 0 {
		t.Errorf("got %d outages told of, want none", n)
	}
}

func TestTraceShowsNamesAlone(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	var began, ended []string
	s := checked(t, client(t, srv.Addr), func(c *store.Config) {
		c.Trace = func(ctx context.Context, commands []string) (context.Context, func(int, error)) {
			began = append(began, strings.Join(commands, " "))
			return ctx, func(_ int, err error) { ended = append(ended, fmt.Sprint(err)) }
		}
	})
	ctx := t.Context()
	for _, row := range []struct {
		name string
		do   func()
		want string
	}{
		{"a load", func() { _, _, _ = s.Load(ctx, soon(), space.Session(id("a")), time.Minute) }, "GET EXPIRE"},
		{"a read", func() { _, _ = s.Get(ctx, id("a")) }, "GET"},
		{"a plan", func() { _, _ = s.Run(ctx, login()) }, "EVALSHA"},
		{"a list", func() { _, _ = s.Entries(ctx, []string{id("a"), id("b")}) }, "GET PTTL GET PTTL"},
		{"heads", func() { _, _ = s.Heads(ctx, []string{id("a"), id("b")}) }, "GETRANGE GETRANGE"},
		{"an ending of all", func() { _, _ = s.EndAll(ctx, []*store.End{{ID: id("a")}}, store.OfUser(user)) }, "EVALSHA EVALSHA ZRANGE"},
		{"an index", func() { _, _ = s.Index(ctx, store.OfUser(user), 0, 9) }, "ZRANGE"},
		{"a scan", func() { _ = s.Scan(ctx, func([]string) error { return nil }) }, "SCAN"},
		{"a prolongation", func() { _ = s.Expire(ctx, id("a"), time.Minute) }, "EXPIRE"},
		{"a removal", func() { _ = s.Discard(ctx, id("a")) }, "DEL"},
	} {
		began, ended = nil, nil
		row.do()
		if !slices.Equal(began, []string{row.want}) || !slices.Equal(ended, []string{"<nil>"}) {
			t.Errorf("%s: got %q, ended with %q, want %q", row.name, began, ended, row.want)
		}
	}
}
