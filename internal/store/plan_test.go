package store_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/store"
)

// login is a plan with all three parts: the record n is inserted and enters its user's
// index, o is replaced by a login tombstone and leaves it.
func login() *store.Plan {
	return &store.Plan{
		Prepare: []store.Step{
			&store.Insert{ID: id("n"), Raw: raw("5", 'r'), TTL: life},
			&store.Enter{Index: store.OfUser(user), ID: id("n"), Score: 50, Life: life, Checked: 40, Latest: 90},
		},
		Decide:    &store.Replace{ID: id("o"), Rev: "11111111", Raw: raw("6", 'l'), TTL: life},
		Tidy:      []store.Step{&store.Leave{Index: store.OfUser(user), IDs: []string{id("o")}}},
		AwaitTidy: true,
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	const before, done = "nothing; 1r for 60s; o=1 for 60s", "5r for 30s; 6l for 30s; n=50 for 60s"
	none, o := index{id("o"): 1}, raw("1", 'r')
	rows := []struct {
		name                 string
		n, o                 any
		index                any
		want, script, waves  string // what came of it; what lies at n, at o and in the index then
		prepared, inWavesToo bool
	}{
		{"a plan does all of its parts", nil, o, none, "done", done, done, true, true},
		{"a plan done twice is refused by what decides", raw("5", 'r'), raw("6", 'l'), index{id("n"): 50}, "refused replace, found 6l", "5r for 60s; 6l for 60s; n=50 for 60s", "5r for 30s; 6l for 60s; n=50 for 60s", false, true},
		{"a taken id stops the plan", raw("3", 'r'), o, none, "refused insert, found 3r", "3r for 60s; 1r for 60s; o=1 for 60s", "3r for 60s; 1r for 60s; o=1 n=50 for 60s", false, false},
		{"a tombstone at the new id stops the plan", raw("3", 'e'), o, none, "refused insert, found 3e", "3e for 60s; 1r for 60s; o=1 for 60s", "3e for 60s; 1r for 60s; o=1 n=50 for 60s", false, false},
		{"a revoked user stops the plan", nil, o, index{id("o"): 1, "*": 41}, "refused enter, found nothing", "nothing; 1r for 60s; o=1 *=41 for 60s", "5r for 30s; 1r for 60s; o=1 *=41 for 60s", false, false},
		{"another revision stops what decides", nil, raw("2", 'r'), none, "refused replace, found 2r", "nothing; 2r for 60s; o=1 for 60s", "5r for 30s; 2r for 60s; o=1 n=50 for 60s", false, true},
		{"an ended session stops what decides", nil, nil, none, "refused replace, found nothing", "nothing; nothing; o=1 for 60s", "5r for 30s; nothing; o=1 n=50 for 60s", false, true},
		{"a list in place of the old session stops what decides", nil, list{}, none, "refused replace, found no string", "nothing; a list for ever; o=1 for 60s", "5r for 30s; a list for ever; o=1 n=50 for 60s", false, true},
		{"a list in place of the index is put aside", nil, o, list{}, "done", "5r for 30s; 6l for 30s; n=50 for 30s", "5r for 30s; 6l for 30s; n=50 for 30s", true, true},
	}
	eachWay(t, func(t *testing.T, e *env) {
		lie := func(t *testing.T) string {
			return strings.Join([]string{e.lies(t, space.Session(id("n"))), e.lies(t, space.Session(id("o"))), e.lies(t, space.User(user))}, "; ")
		}
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				e.put(t, space.Session(id("n")), row.n)
				e.put(t, space.Session(id("o")), row.o)
				e.put(t, space.User(user), row.index)
				after, prepared := row.script, row.prepared
				if e.waves {
					after, prepared = row.waves, row.inWavesToo
				}
				res, err := e.run(t, login())
				if got := outcome(res, err); got != row.want || res.Prepared != prepared || res.Sent {
					t.Errorf("got %s, %v, prepared %v, sent %v, want %s, prepared %v", got, err, res.Prepared, res.Sent, row.want, prepared)
				}
				if got := lie(t); got != after {
					t.Errorf("then %s lie there, want %s", got, after)
				}
			})
		}
	})
}

func TestPlanWithoutStepsSendsNothing(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	for _, change := range [][]func(*store.Config){nil, {apart}} {
		s := checked(t, client(t, proxy.Addr), change...)
		proxy.Reset()
		if res, err := s.Run(t.Context(), new(store.Plan)); err != nil || res.Refused != nil || proxy.RoundTrips() != 0 {
			t.Errorf("got %+v, error %v and %v", res, err, proxy.Commands())
		}
	}
}

// client returns a client that honours contexts and repeats nothing by itself.
func client(t testing.TB, addr string, change ...func(*redis.Options)) *redis.Client {
	t.Helper()
	o := &redis.Options{Addr: addr, ContextTimeoutEnabled: true, MaxRetries: -1, DisableIdentity: true}
	for _, f := range change {
		f(o)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

// What is tidied up in the background is done once Close returns, and nothing begins after
// it.
func TestPlanTidiesInTheBackground(t *testing.T) {
	t.Parallel()
	e := &env{client: redistest.Start(t).Client()}
	for _, row := range []struct {
		name   string
		closed bool
		want   string
	}{
		{"before Close", false, "n=50 for 60s"},
		{"not after Close", true, "o=1 n=50 for 60s"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e.client.FlushAll(t.Context())
			s := checked(t, e.client, apart)
			e.put(t, space.Session(id("o")), raw("1", 'r'))
			e.put(t, space.User(user), index{id("o"): 1})
			if row.closed {
				s.Close()
			}
			p := login()
			p.AwaitTidy = false
			ctx, cancel := context.WithCancel(t.Context())
			if res, err := s.Run(ctx, p); err != nil || res.Refused != nil {
				t.Fatal(outcome(res, err), err)
			}
			cancel() // the request is over
			s.Close()
			if got := e.lies(t, space.User(user)); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestPlanOfAScriptThatRedisForgot(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, e *env) {
		for _, row := range []struct {
			name string
			do   func() error
		}{
			{"a plan", func() error { _, err := e.run(t, login()); return err }},
			{"a pipeline", func() error {
				return e.Each(t.Context(), []store.Step{login().Prepare[0], login().Prepare[1], &store.End{ID: id("o")}})
			}},
			{"an ending of all", func() error {
				_, err := e.EndAll(t.Context(), []*store.End{{ID: id("o")}}, store.OfUser(user))
				return err
			}},
		} {
			t.Run(row.name, func(t *testing.T) {
				e.client.FlushAll(t.Context())
				e.put(t, space.Session(id("o")), raw("1", 'r'))
				e.put(t, space.User(user), index{id("o"): 1})
				if err := e.client.ScriptFlush(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
				if err := row.do(); err != nil {
					t.Fatal(err)
				}
				if got := e.lies(t, space.Session(id("o"))); got == "1r for 60s" {
					t.Errorf("got %s where it should have ended", got)
				}
			})
		}
	})
}

// A proxy may know better than one probe which keys lie together.
func TestPlanGoesInWavesOnceKeysLieApart(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	s, e := checked(t, client(t, proxy.Addr)), &env{client: client(t, proxy.Addr)}
	if s.Apart() {
		t.Fatal("one server takes plans in waves")
	}
	e.put(t, space.Session(id("o")), raw("1", 'r'))
	proxy.Reply(func(args []string) (string, bool) {
		return "-CROSSSLOT Keys in request don't hash to the same slot\r\n", strings.HasPrefix(args[0], "EVAL") && args[2] != "1"
	})
	if res, err := s.Run(t.Context(), login()); outcome(res, err) != "done" || !res.Prepared || !s.Apart() {
		t.Errorf("got %s, %v, %+v, apart %v", outcome(res, err), err, res, s.Apart())
	}
	if got := e.lies(t, space.Session(id("o"))); got != "6l for 30s" {
		t.Errorf("got %s", got)
	}
	proxy.Reply(nil)
	if err := s.LearnScripts(t.Context()); err != nil || s.Apart() {
		t.Errorf("got error %v, apart %v, want one script again", err, s.Apart())
	}
}

// What stands between us and Redis may answer anything.
func TestPlanTakesNoAnswerThatTheScriptDoesNotGive(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	s := checked(t, client(t, proxy.Addr))
	for _, row := range []struct{ name, reply string }{
		{"a status", "+OK\r\n"},
		{"a number", ":1\r\n"},
		{"no string", "$-1\r\n"},
		{"an empty list", "*0\r\n"},
		{"nothing but success", "*1\r\n:1\r\n"},
		{"too few results", "*2\r\n:1\r\n:1\r\n"},
		{"too many results", "*9\r\n" + strings.Repeat(":1\r\n", 9)},
		{"a step that there is not", "*2\r\n:0\r\n:99\r\n"},
		{"a step before the first", "*2\r\n:0\r\n:-1\r\n"},
		{"a string", "$5\r\nhello\r\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			proxy.Reply(func(args []string) (string, bool) { return row.reply, args[0] == "EVALSHA" })
			if res, err := s.Run(t.Context(), login()); err == nil || res.Refused != nil || !res.Sent || !errors.As(err, new(*store.Error)) {
				t.Errorf("got %s of a plan", outcome(res, err))
			}
			if row.name != "too few results" { // for one step they are enough
				if err := s.Each(t.Context(), []store.Step{&store.End{ID: id("a")}, &store.Leave{Index: store.OfUser(user), IDs: []string{id("a")}}}); err == nil {
					t.Error("got no error of a pipeline")
				}
			}
		})
	}
	proxy.Reply(func(args []string) (string, bool) {
		return "*5\r\n:1\r\n$-1\r\n*1\r\n:1\r\n*2\r\n$1\r\nx\r\n:1\r\n:1\r\n", args[0] == "EVALSHA"
	})
	if _, err := s.Run(t.Context(), login()); err != nil {
		t.Errorf("got %v for results of other types", err)
	}
}

// A reply that is lost leaves the outcome open: nothing is sent again.
func TestPlanIsSentOnce(t *testing.T) {
	t.Parallel()
	proxy := redistest.NewProxy(t, redistest.Start(t).Addr)
	retrying := client(t, proxy.Addr, func(o *redis.Options) { o.MaxRetries = 3 })
	s, e := checked(t, retrying), &env{client: client(t, proxy.Addr)}
	for _, row := range []struct {
		name string
		do   func() error
	}{
		{"a plan", func() error {
			res, err := s.Run(t.Context(), login())
			if !res.Sent {
				t.Error("the plan counts as not sent")
			}
			return err
		}},
		{"a pipeline with an ending", func() error {
			return s.Each(t.Context(), []store.Step{&store.End{ID: id("o")}, &store.Leave{Index: store.OfUser(user), IDs: []string{id("o")}}})
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			e.put(t, space.Session(id("o")), raw("1", 'r'))
			proxy.CutReply(func(args []string) bool { return args[0] == "EVALSHA" })
			proxy.Reset()
			err := row.do()
			proxy.CutReply(nil)
			if err == nil || proxy.RoundTrips() != 1 {
				t.Errorf("got %v after %d round trips, want an error after 1", err, proxy.RoundTrips())
			}
			if store.MeaningOf(err).Execution == 0 {
				t.Error("the script counts as not executed")
			}
			if got := e.lies(t, space.Session(id("o"))); got == "1r for 60s" {
				t.Errorf("got %s", got)
			}
		})
	}
}

func TestPlanOnAClusterIsThreeWaves(t *testing.T) {
	t.Parallel()
	c := redistest.StartProxiedCluster(t)
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs, ContextTimeoutEnabled: true, DisableIdentity: true})
	t.Cleanup(func() { cluster.Close() })
	s := checked(t, cluster)
	cluster.Set(t.Context(), space.Session(id("o")), raw("1", 'r'), time.Minute)
	var warm []store.Step // all nodes are to know the script
	for letter := range strings.SplitSeq("abcdefghijklmpqrstuvwxyz", "") {
		warm = append(warm, &store.End{ID: id(letter)})
	}
	if err := s.Each(t.Context(), warm); err != nil {
		t.Fatal(err)
	}
	var sent []string
	for _, wave := range c.Waves(func() {
		if _, err := s.Run(t.Context(), login()); err != nil {
			t.Error(err)
		}
	}) {
		var names []string
		for _, cmd := range wave {
			names = append(names, cmd[0]+" "+cmd[2])
		}
		slices.Sort(names)
		sent = append(sent, strings.Join(names, ", "))
	}
	if got, want := strings.Join(sent, "; "), "EVALSHA 1, EVALSHA 1; EVALSHA 1; EVALSHA 1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
