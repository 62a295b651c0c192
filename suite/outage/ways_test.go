package outage_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// arena is a server that Redis can go away from, in one way of several.
type arena struct {
	*stage.Outage
	srv   *redistest.Server // nil on miniredis
	stuck chan error        // the end of a script that does not end by itself
}

// way is how Redis is away.
type way struct {
	name       string
	real       bool // it takes a redis-server
	away, back func(t *testing.T, a *arena)
}

// ways are the faults of Redis and of the network that pass by themselves.
var ways = []way{
	{
		"dials are refused", false,
		func(_ *testing.T, a *arena) { a.Proxy.Refuse(true) },
		func(_ *testing.T, a *arena) { a.Proxy.Refuse(false) },
	},
	{
		"everything is swallowed", false,
		func(_ *testing.T, a *arena) { a.Proxy.Blackhole(true) },
		func(_ *testing.T, a *arena) { a.Proxy.Blackhole(false) },
	},
	replying("LOADING Redis is loading the dataset in memory"),
	replying("CLUSTERDOWN The cluster is down"),
	replying("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
	{
		"it was killed", true,
		func(_ *testing.T, a *arena) { a.srv.Kill() },
		func(_ *testing.T, a *arena) { a.srv.Restart() },
	},
	{
		"it is frozen", true,
		func(_ *testing.T, a *arena) { a.srv.Pause() },
		func(_ *testing.T, a *arena) { a.srv.Resume() },
	},
	{"a script does not end", true, beginEndless, endEndless},
}

func replying(reply string) way {
	code, _, _ := strings.Cut(reply, " ")
	return way{
		"it replies " + code, false,
		func(_ *testing.T, a *arena) { a.Proxy.Reply(refusing(reply, every)) },
		func(_ *testing.T, a *arena) { a.Proxy.Reply(nil) },
	}
}

// beginEndless has Redis answer BUSY to everybody.
func beginEndless(t *testing.T, a *arena) {
	if err := a.Client.ConfigSet(t.Context(), "lua-time-limit", "1").Err(); err != nil {
		t.Fatal(err)
	}
	a.stuck = make(chan error, 1)
	go func() { a.stuck <- a.Client.Eval(t.Context(), "while true do end", nil).Err() }()
	stage.Until(t, "Redis to be busy", func() bool {
		err := a.NewClient(t).Ping(t.Context()).Err()
		return err != nil && strings.HasPrefix(err.Error(), "BUSY")
	})
}

func endEndless(t *testing.T, a *arena) {
	if err := a.Client.ScriptKill(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := <-a.stuck; err == nil {
		t.Error("got no error from the script, want it killed")
	}
}

// eachWay runs test side by side for each way.
func eachWay(t *testing.T, test func(t *testing.T, w way)) {
	t.Parallel()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

// arena makes the servers of one test.
func (w way) arena(t *testing.T, change ...func(*redsession.Config)) *arena {
	t.Helper()
	a := &arena{}
	short := func(c *redsession.Config) { c.RedisTimeout = 600 * time.Millisecond }
	change = append([]func(*redsession.Config){short}, change...)
	if !w.real {
		a.Outage = stage.NewOutage(t, change...)
		t.Cleanup(func() { a.Proxy.Blackhole(false); a.Proxy.Reply(nil) })
		return a
	}
	a.srv = redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	e := stage.NewEnv(a.srv.URL, a.srv.Client())
	m := e.Manager(t, change...)
	a.Outage = &stage.Outage{Env: e, M: m, Here: stage.NewOutageScripted(t, m), Other: stage.NewScripted(t, e.Manager(t, change...))}
	return a
}

// goAway takes Redis away and returns once the server has noticed.
func (a *arena) goAway(t *testing.T, w way) {
	t.Helper()
	w.away(t, a)
	a.Fail(t)
	a.Began++
	stage.Until(t, "the beginning of the outage", func() bool { return len(a.Events.Of(redsession.EventOutageBegan)) >= a.Began })
}

// comeBack brings Redis back and returns once the server has noticed.
func (a *arena) comeBack(t *testing.T, w way) {
	t.Helper()
	w.back(t, a)
	a.UntilNoOutage(t)
}

// promptly fails the test if fn does not return soon, where it might wait for minutes.
func promptly(t *testing.T, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		stacks := make([]byte, 1<<20)
		t.Fatalf("%s: got nothing within 20 s, want an answer at once\n%s", what, stacks[:runtime.Stack(stacks, true)])
	}
}

// patient has requests wait for longer than any test takes.
func patient(c *redsession.Config) { c.OutageWait = 5 * time.Minute }
