package store_test

import (
	"context"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/store"
)

// full is a Redis that takes nothing more; what lay there stays.
func full(t *testing.T, c redis.UniversalClient) {
	t.Helper()
	if err := c.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.ConfigSet(context.Background(), "maxmemory", "0") })
}

func TestPlanOnAFullRedis(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--maxmemory-policy", "noeviction")
	insert := &store.Insert{ID: id("n"), Raw: raw("5", 'r'), TTL: life}
	for _, row := range []struct {
		name string
		plan *store.Plan
		want string // n; o; the index
	}{
		{"a login leaves nothing", login(), "error: nothing; 1r for 60s; o=1 for 60s"},
		{"a write leaves what was", &store.Plan{Decide: login().Decide}, "error: nothing; 1r for 60s; o=1 for 60s"},
		{"a first write leaves nothing", &store.Plan{Prepare: []store.Step{insert}}, "error: nothing; 1r for 60s; o=1 for 60s"},
		{"a rotation leaves what was", &store.Plan{Prepare: []store.Step{insert}, Decide: login().Decide, Tidy: []store.Step{&store.Move{Index: store.OfUser(user), ID: id("n"), Old: id("o"), Score: 1, Life: life}}}, "error: nothing; 1r for 60s; o=1 for 60s"},
		{"an import leaves nothing", &store.Plan{Decide: &store.Import{ID: id("n"), Raw: raw("5", 'i'), TTL: life}}, "error: nothing; 1r for 60s; o=1 for 60s"},
		{"a logout is done", &store.Plan{Decide: &store.End{ID: id("o"), With: buried}, Tidy: login().Tidy, AwaitTidy: true}, "done: nothing; 8e for 30s; nothing"},
		{"a revocation is done", &store.Plan{Decide: &store.End{ID: id("o")}}, "done: nothing; nothing; o=1 for 60s"},
		{"a tombstone is put where nothing lies", &store.Plan{Decide: &store.End{ID: id("n"), With: buried, Bury: true}}, "done: 8e for 30s; 1r for 60s; o=1 for 60s"},
		{"a mark is made in an index", &store.Plan{Decide: &store.Mark{Index: store.OfUser(user), At: 7, Life: life}}, "done: nothing; 1r for 60s; o=1 *=7 for 60s"},
		{"an index is made for a mark", &store.Plan{Decide: &store.Mark{Index: store.OfUser("bob"), At: 7, Life: life}}, "done: nothing; 1r for 60s; o=1 for 60s"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for name, change := range map[string][]func(*store.Config){"in one script": nil, "in waves": {apart}} {
				t.Run(name, func(t *testing.T) {
					e := &env{client: srv.Client()}
					e.client.FlushAll(t.Context())
					e.Store = checked(t, client(t, srv.Addr), change...)
					e.put(t, space.Session(id("o")), raw("1", 'r'))
					e.put(t, space.User(user), index{id("o"): 1})
					full(t, e.client)
					res, err := e.run(t, row.plan)
					got := outcome(res, err) + ": " + e.lies(t, space.Session(id("n"))) + "; " + e.lies(t, space.Session(id("o"))) + "; " + e.lies(t, space.User(user))
					if got = strings.Replace(got, "done, found 1r:", "done:", 1); strings.Replace(got, "done, found nothing:", "done:", 1) != row.want {
						t.Errorf("got %s, %v, want %s", got, err, row.want)
					}
					if err != nil && !strings.Contains(err.Error(), "OOM") {
						t.Errorf("got %v, want Redis's words", err)
					}
				})
			}
		})
	}
}
