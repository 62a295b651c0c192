package store_test

import (
	"math"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/store"
)

const life = 30 * time.Second

// buried is a tombstone that an ending leaves, for half a minute.
var buried = store.Burial{Raw: raw("8", record.Ended), Life: life}

// grave is what it leaves of an imported session, for twenty seconds.
var grave = store.Burial{Raw: raw("9", record.Ended), Life: 20 * time.Second}

type stepRow struct {
	name   string
	before any // what lies there for a minute
	step   store.Step
	want   string // what came of it
	after  string // what lies there then
}

func stepsOnSessions() []stepRow {
	a, r1, r2 := id("a"), raw("1", 'r'), raw("2", 'r')
	end := func(change func(*store.End)) *store.End {
		e := &store.End{ID: a, With: buried, Grave: grave}
		if change != nil {
			change(e)
		}
		return e
	}
	force := func(e *store.End) { e.Force = true }
	bury := func(e *store.End) { e.Bury = true }
	without := func(e *store.End) { e.With = store.Burial{} }
	return []stepRow{
		{"an insert stores where nothing lies", nil, &store.Insert{ID: a, Raw: r1, TTL: life}, "done", "1r for 30s"},
		{"an insert stores its own record once more", r1, &store.Insert{ID: a, Raw: r1, TTL: life}, "done", "1r for 30s"},
		{"an insert takes the place of an earlier try", r1, &store.Insert{ID: a, Raw: r2, TTL: life, Earlier: "11111111"}, "done", "2r for 30s"},
		{"an insert leaves another record", r1, &store.Insert{ID: a, Raw: r2, TTL: life}, "refused insert, found 1r", "1r for 60s"},
		{"an insert leaves what is neither it nor the earlier try", raw("3", 'r'), &store.Insert{ID: a, Raw: r2, TTL: life, Earlier: "11111111"}, "refused insert, found 3r", "3r for 60s"},
		{"an insert leaves a tombstone", raw("3", 'e'), &store.Insert{ID: a, Raw: r2, TTL: life}, "refused insert, found 3e", "3e for 60s"},
		{"an insert leaves a short string of somebody else's", "x", &store.Insert{ID: a, Raw: r2, TTL: life}, `refused insert, found "x"`, `"x" for 60s`},
		{"an insert leaves an empty string", "", &store.Insert{ID: a, Raw: r2, TTL: life}, `refused insert, found ""`, `"" for 60s`},
		{"an insert leaves a list", list{}, &store.Insert{ID: a, Raw: r2, TTL: life}, "refused insert, found no string", "a list for ever"},

		{"a replacement stores over the revision that it names", r1, &store.Replace{ID: a, Rev: "11111111", Raw: r2, TTL: life}, "done", "2r for 30s"},
		{"a replacement may be a tombstone", r1, &store.Replace{ID: a, Rev: "11111111", Raw: raw("2", 'o'), TTL: life}, "done", "2o for 30s"},
		{"a replacement leaves another revision", raw("3", 'r'), &store.Replace{ID: a, Rev: "11111111", Raw: r2, TTL: life}, "refused replace, found 3r", "3r for 60s"},
		{"a replacement brings nothing back", nil, &store.Replace{ID: a, Rev: "11111111", Raw: r2, TTL: life}, "refused replace, found nothing", "nothing"},
		{"a replacement of no revision brings nothing back", nil, &store.Replace{ID: a, Raw: r2, TTL: life}, "refused replace, found nothing", "nothing"},
		{"a replacement leaves a tombstone", raw("3", 'e'), &store.Replace{ID: a, Rev: "11111111", Raw: r2, TTL: life}, "refused replace, found 3e", "3e for 60s"},
		{"a replacement leaves a list", list{}, &store.Replace{ID: a, Rev: "11111111", Raw: r2, TTL: life}, "refused replace, found no string", "a list for ever"},

		{"a rewrite leaves the TTL as it is", r1, &store.Replace{ID: a, Rev: "11111111", Raw: r2, TTL: 2 * time.Hour, KeepTTL: true}, "done", "2r for 60s"},
		{"a rewrite shortens the TTL to its own", r1, &store.Replace{ID: a, Rev: "11111111", Raw: r2, TTL: life, KeepTTL: true}, "done", "2r for 30s"},
		{"a rewrite leaves another revision", raw("3", 'r'), &store.Replace{ID: a, Rev: "11111111", Raw: r2, TTL: life, KeepTTL: true}, "refused replace, found 3r", "3r for 60s"},
		{"a rewrite brings nothing back", nil, &store.Replace{ID: a, Rev: "11111111", Raw: r2, TTL: life, KeepTTL: true}, "refused replace, found nothing", "nothing"},
		{"a rewrite leaves a tombstone", raw("3", 'e'), &store.Replace{ID: a, Rev: "11111111", Raw: r2, TTL: life, KeepTTL: true}, "refused replace, found 3e", "3e for 60s"},
		{"a rewrite leaves a list", list{}, &store.Replace{ID: a, Rev: "11111111", Raw: r2, TTL: life, KeepTTL: true}, "refused replace, found no string", "a list for ever"},

		{"an ending puts a tombstone in the place of a record", r1, end(nil), "done, found 1r", "8e for 30s"},
		{"an ending without a tombstone leaves nothing", r1, end(without), "done, found 1r", "nothing"},
		{"an ending puts a grave in the place of an imported record, for as long as that would have lived", raw("1", 'i'), end(without), "done, found 1i", "9e for 60s"},
		{"an ending leaves a plain tombstone", raw("1", 'e'), end(nil), "done, found 1e", "1e for 60s"},
		{"an ending leaves a login tombstone", raw("1", 'l'), end(nil), "done, found 1l", "1l for 60s"},
		{"an ending leaves a rotation tombstone", raw("1", 'o'), end(nil), "done, found 1o", "1o for 60s"},
		{"an ending with force ends a rotation tombstone", raw("1", 'o'), end(force), "done, found 1o", "8e for 30s"},
		{"an ending with force puts a grave where an imported session was taken over", raw("1", 'a'), end(force), "done, found 1a", "9e for 60s"},
		{"an ending with force leaves a plain tombstone", raw("1", 'e'), end(force), "done, found 1e", "1e for 60s"},
		{"an ending with force leaves a login tombstone", raw("1", 'l'), end(force), "done, found 1l", "1l for 60s"},
		{"an ending finds nothing", nil, end(nil), "done, found nothing", "nothing"},
		{"an ending may bury where nothing lies", nil, end(bury), "done, found nothing", "8e for 30s"},
		{"an ending leaves what this package did not write", "not ours, and long enough", end(force), `done, found "not ours, and long enough"`, `"not ours, and long enough" for 60s`},
		{"an ending leaves an empty string", "", end(force), `done, found ""`, `"" for 60s`},
		{"an ending leaves a list", list{}, end(force), "done, found no string", "a list for ever"},

		{"an import stores where nothing lies", nil, &store.Import{ID: a, Raw: raw("2", 'i'), TTL: life}, "done, stored", "2i for 30s"},
		{"an import stores its own record once more", raw("2", 'i'), &store.Import{ID: a, Raw: raw("2", 'i'), TTL: life}, "done, stored", "2i for 30s"},
		{"an import leaves another record", r1, &store.Import{ID: a, Raw: raw("2", 'i'), TTL: life}, "done, existing", "1r for 60s"},
		{"an import with force stores over another record", raw("1", 'i'), &store.Import{ID: a, Raw: raw("2", 'i'), TTL: life, Force: true}, "done, stored", "2i for 30s"},
		{"an import with force leaves a plain tombstone", raw("1", 'e'), &store.Import{ID: a, Raw: raw("2", 'i'), TTL: life, Force: true}, "done, ended", "1e for 60s"},
		{"an import with force leaves a login tombstone", raw("1", 'l'), &store.Import{ID: a, Raw: raw("2", 'i'), TTL: life, Force: true}, "done, ended", "1l for 60s"},
		{"an import with force leaves a rotation tombstone", raw("1", 'o'), &store.Import{ID: a, Raw: raw("2", 'i'), TTL: life, Force: true}, "done, ended", "1o for 60s"},
		{"an import with force leaves that a session was taken over", raw("1", 'a'), &store.Import{ID: a, Raw: raw("2", 'i'), TTL: life, Force: true}, "done, ended", "1a for 60s"},
		{"an import with force leaves what this package did not write", "not ours, and long enough", &store.Import{ID: a, Raw: raw("2", 'i'), TTL: life, Force: true}, "done, existing", `"not ours, and long enough" for 60s`},
		{"an import with force leaves a list", list{}, &store.Import{ID: a, Raw: raw("2", 'i'), TTL: life, Force: true}, "done, existing", "a list for ever"},
	}
}

func stepsOnIndexes() []stepRow {
	const latest = 1_900_000_000_000_000
	enter := func(change func(*store.Enter)) *store.Enter {
		e := &store.Enter{Index: store.OfUser(user), ID: id("n"), Score: 50, Life: life, Checked: 40, Latest: latest}
		change(e)
		return e
	}
	plain := func(*store.Enter) {}
	limit := func(n int, old string) func(*store.Enter) {
		return func(e *store.Enter) { e.Limit, e.Old = n, old }
	}
	refuse := func(n int, spared ...string) func(*store.Enter) {
		return func(e *store.Enter) { e.Limit, e.Refuse, e.Spared = n, true, spared }
	}
	three := index{id("a"): 1, id("b"): 2, id("c"): 3}
	return []stepRow{
		{"a login enters an index of its own", nil, enter(plain), "done, length 1", "n=50 for 30s"},
		{"a login does not shorten the index's life", three, enter(plain), "done, length 4", "a=1 b=2 c=3 n=50 for 60s"},
		{"a login prolongs the index", three, enter(func(e *store.Enter) { e.Life = 2 * time.Minute }), "done, length 4", "a=1 b=2 c=3 n=50 for 120s"},
		{"a login within the limit is over by nothing", three, enter(limit(4, "")), "done, length 4", "a=1 b=2 c=3 n=50 for 60s"},
		{"a login beyond the limit tells the oldest", three, enter(limit(2, "")), "done, length 4, over 2 a=1 b=2 c=3 n=50", "a=1 b=2 c=3 n=50 for 60s"},
		{"the id that it replaces does not count", three, enter(limit(2, id("b"))), "done, length 4, over 1 a=1 b=2 c=3 n=50", "a=1 b=2 c=3 n=50 for 60s"},
		{"an id that it replaces and that is not there does not matter", three, enter(limit(2, id("x"))), "done, length 4, over 2 a=1 b=2 c=3 n=50", "a=1 b=2 c=3 n=50 for 60s"},
		{"a mark does not count, and is not told", index{"*": 9, id("a"): 1, id("b"): 2}, enter(limit(2, "")), "done, length 4, over 1 a=1 b=2 n=50", "a=1 b=2 *=9 n=50 for 60s"},
		{"members without the form of an id are told as well", index{"x": 1, id("b"): 2}, enter(limit(1, "")), "done, length 3, over 2 x=1 b=2 n=50", "x=1 b=2 n=50 for 60s"},
		{"a login is refused where the limit is reached", three, enter(refuse(3)), "refused enter, found no string", "a=1 b=2 c=3 for 60s"},
		{"a login has the last place", three, enter(refuse(4)), "done, length 4", "a=1 b=2 c=3 n=50 for 60s"},
		{"the same login once more has its place already", index{id("n"): 50, id("b"): 2}, enter(refuse(2)), "done, length 2", "b=2 n=50 for 60s"},
		{"those that are spared do not count, however often they are named", three, enter(refuse(2, id("a"), id("a"), id("c"), id("x"))), "done, length 4", "a=1 b=2 c=3 n=50 for 60s"},
		{"what the login replaces does not count", three, enter(func(e *store.Enter) { e.Limit, e.Refuse, e.Old = 3, true, id("c") }), "done, length 4", "a=1 b=2 c=3 n=50 for 60s"},
		{"a mark takes no place", index{"*": 9, id("a"): 1}, enter(refuse(2)), "done, length 3", "a=1 *=9 n=50 for 60s"},
		{"a revocation comes before the limit", index{"*": 41, id("a"): 1}, enter(refuse(1)), "refused enter, found nothing", "a=1 *=41 for 60s"},
		{"a login that may be refused puts aside what is no index", list{}, enter(refuse(1)), "done, length 1, aside", "n=50 for 30s"},
		{"a login after the revocation enters", index{"*": 39}, enter(plain), "done, length 2", "*=39 n=50 for 60s"},
		{"a login checked before the revocation is refused", index{"*": 41}, enter(plain), "refused enter, found nothing", "*=41 for 60s"},
		{"a login checked at the moment of the revocation is refused", index{"*": 40}, enter(plain), "refused enter, found nothing", "*=40 for 60s"},
		{"microseconds of our days are compared exactly", index{"*": 1_800_000_000_000_001}, enter(func(e *store.Enter) { e.Checked = 1_800_000_000_000_001 }), "refused enter, found nothing", "*=1800000000000001 for 60s"},
		{"a microsecond later is later", index{"*": 1_800_000_000_000_001}, enter(func(e *store.Enter) { e.Checked = 1_800_000_000_000_002 }), "done, length 2", "n=50 *=1800000000000001 for 60s"},
		{"a revocation that claims to be as late as it may is one", index{"*": latest}, enter(plain), "refused enter, found nothing", "*=1900000000000000 for 60s"},
		{"a revocation that claims to be later is none", index{"*": latest + 1}, enter(plain), "done, length 2", "n=50 *=1900000000000001 for 60s"},
		{"a revocation at the end of all time is none", index{"*": math.Inf(1)}, enter(plain), "done, length 2", "n=50 *=+Inf for 60s"},
		{"a revocation at the beginning of all time refuses nobody", index{"*": math.Inf(-1)}, enter(plain), "done, length 2", "*=-Inf n=50 for 60s"},
		{"a login puts aside what is no index", list{}, enter(plain), "done, length 1, aside", "n=50 for 30s"},
		{"a login puts aside a string", "x", enter(plain), "done, length 1, aside", "n=50 for 30s"},

		{"a rotation moves the entry", three, &store.Move{Index: store.OfUser(user), ID: id("n"), Old: id("b"), Score: 2, Life: life}, "done", "a=1 n=2 c=3 for 60s"},
		{"a rotation whose entry is missing enters", nil, &store.Move{Index: store.OfUser(user), ID: id("n"), Old: id("b"), Score: 2, Life: life}, "done", "n=2 for 30s"},
		{"a rotation done twice is done once", index{id("n"): 2}, &store.Move{Index: store.OfUser(user), ID: id("n"), Old: id("b"), Score: 2, Life: life}, "done", "n=2 for 60s"},
		{"a move without an old id enters", three, &store.Move{Index: store.OfUser(user), ID: id("b"), Score: 2, Life: life}, "done", "a=1 b=2 c=3 for 60s"},
		{"a move puts aside what is no index", list{}, &store.Move{Index: store.OfUser(user), ID: id("n"), Score: 2, Life: life}, "done", "n=2 for 30s"},

		{"those who leave are out", three, &store.Leave{Index: store.OfUser(user), IDs: []string{id("a"), id("c"), id("x")}}, "done", "b=2 for 60s"},
		{"the last to leave takes the index along", index{id("a"): 1}, &store.Leave{Index: store.OfUser(user), IDs: []string{id("a")}}, "done", "nothing"},
		{"nobody leaves", three, &store.Leave{Index: store.OfUser(user)}, "done", "a=1 b=2 c=3 for 60s"},
		{"those who leave what is no index leave it", list{}, &store.Leave{Index: store.OfUser(user), IDs: []string{id("a")}}, "done", "a list for ever"},

		{"a mark makes an index", nil, &store.Mark{Index: store.OfUser(user), At: 7, Latest: latest, Life: life}, "done", "*=7 for 30s"},
		{"a mark lies beside the entries", index{id("a"): 1}, &store.Mark{Index: store.OfUser(user), At: 7, Latest: latest, Life: life}, "done", "a=1 *=7 for 60s"},
		{"a later mark takes the place of an earlier one", index{"*": 3}, &store.Mark{Index: store.OfUser(user), At: 7, Latest: latest, Life: life}, "done", "*=7 for 60s"},
		{"an earlier mark leaves a later one", index{"*": 9}, &store.Mark{Index: store.OfUser(user), At: 7, Latest: latest, Life: life}, "done", "*=9 for 60s"},
		{"an earlier mark leaves one that is as late as it may be", index{"*": latest}, &store.Mark{Index: store.OfUser(user), At: 7, Latest: latest, Life: life}, "done", "*=1900000000000000 for 60s"},
		{"a mark takes the place of one that is later than that", index{"*": latest + 1}, &store.Mark{Index: store.OfUser(user), At: 7, Latest: latest, Life: life}, "done", "*=7 for 60s"},
		{"a mark takes the place of one at the end of all time", index{"*": math.Inf(1)}, &store.Mark{Index: store.OfUser(user), At: 7, Latest: latest, Life: life}, "done", "*=7 for 60s"},
		{"a mark prolongs the index", index{"*": 3}, &store.Mark{Index: store.OfUser(user), At: 7, Latest: latest, Life: 2 * time.Minute}, "done", "*=7 for 120s"},
		{"a mark puts aside what is no index", list{}, &store.Mark{Index: store.OfUser(user), At: 7, Latest: latest, Life: life}, "done", "*=7 for 30s"},
	}
}

func stepsOnDevices() []stepRow {
	r1, device := raw("1", 'r'), "abcdefgh.thumbprint"
	keep := func(d time.Duration) *store.Keep { return &store.Keep{Identifier: device, TTL: d} }
	return []stepRow{
		{"a device is introduced where nothing lies", nil, &store.Introduce{Identifier: device, Raw: r1, TTL: life}, "done", "1r for 30s"},
		{"a device introduced twice stays", raw("2", 'r'), &store.Introduce{Identifier: device, Raw: r1, TTL: life}, "refused introduce, found 2r", "2r for 60s"},
		{"a device is kept for longer", r1, keep(2 * time.Minute), "done", "1r for 120s"},
		{"a device is never kept for less", r1, keep(time.Second), "done", "1r for 60s"},
		{"a device that is gone cannot be kept", nil, keep(life), "refused keep, found nothing", "nothing"},
		{"a device that is dismissed is gone", r1, &store.Dismiss{Identifier: device}, "done", "nothing"},
		{"a device dismissed twice is gone", nil, &store.Dismiss{Identifier: device}, "done", "nothing"},
	}
}

func TestStep(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, e *env) {
		for key, rows := range map[string][]stepRow{space.Session(id("a")): stepsOnSessions(), space.User(user): stepsOnIndexes(), space.Binding("abcdefgh.thumbprint"): stepsOnDevices()} {
			for _, row := range rows {
				t.Run(row.name, func(t *testing.T) {
					e.put(t, key, row.before)
					res, err := e.run(t, &store.Plan{Decide: row.step})
					if got := outcome(res, err, row.step); got != row.want {
						t.Errorf("got %s, %v, want %s", got, err, row.want)
					}
					if got := e.lies(t, key); got != row.after {
						t.Errorf("then %s lies there, want %s", got, row.after)
					}
				})
			}
		}
	})
}

// Each sends the same steps in pipelines of their own.
func TestStepInAPipeline(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, e *env) {
		for key, rows := range map[string][]stepRow{space.Session(id("a")): stepsOnSessions(), space.User(user): stepsOnIndexes(), space.Binding("abcdefgh.thumbprint"): stepsOnDevices()} {
			for _, row := range rows {
				t.Run(row.name, func(t *testing.T) {
					e.put(t, key, row.before)
					if err := e.Each(t.Context(), []store.Step{row.step}); err != nil {
						t.Error(err)
					}
					if got := e.lies(t, key); got != row.after {
						t.Errorf("%s lies there, want %s", got, row.after)
					}
				})
			}
		}
	})
}

func TestStepEndShowsTheHeadAlone(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, e *env) {
		long := raw("1", 'o') + "and a lot more"
		for _, row := range []struct {
			name string
			head bool
			want string
		}{
			{"all of it", false, long},
			{"the head", true, long[:record.HeadLen]},
		} {
			t.Run(row.name, func(t *testing.T) {
				e.put(t, space.Session(id("a")), long)
				end := &store.End{ID: id("a"), Force: true, HeadOnly: row.head}
				if _, err := e.run(t, &store.Plan{Decide: end}); err != nil || end.Found.Raw() != row.want {
					t.Errorf("got %q and error %v, want %q", end.Found.Raw(), err, row.want)
				}
				if next := end.Found.Head().Leads(); next != id("z") {
					t.Errorf("got the successor %q", next)
				}
			})
		}
	})
}
