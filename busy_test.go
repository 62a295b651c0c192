package redsession_test

import (
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/redistest"
)

// TestAScriptThatNeverEndsLosesNoChange runs somebody's endless script in Redis, which
// answers BUSY to everybody until it is killed.
func TestAScriptThatNeverEndsLosesNoChange(t *testing.T) {
	srv := redistest.Start(t)
	e := &env{url: srv.URL, client: srv.Client(), clock: newClock(), events: &eventLog{}}
	ctx := t.Context()
	if err := e.client.ConfigSet(ctx, "lua-time-limit", "1").Err(); err != nil {
		t.Fatal(err)
	}
	m := e.manager(t)
	st := newStage(t, m)
	st.must("login:alice set:a:1")
	ended := make(chan error)
	go func() { ended <- e.client.Eval(ctx, "while true do end", nil).Err() }()
	until(t, "Redis to be busy", func() bool {
		err := e.newClient(t).Ping(ctx).Err()
		return err != nil && strings.HasPrefix(err.Error(), "BUSY")
	})
	if got, want := outcome(st.do("set:b:2")), "200 alice a=1 b=2"; got != want || m.Stats().Degraded == 0 {
		t.Errorf("got %q of a session that this process knows, want %q, from memory", got, want)
	}
	if got, want := outcome(st.fork("").do("login:bob")), "503 retry"; got != want {
		t.Errorf("got %q for a login, want %q", got, want)
	}
	if err := e.client.ScriptKill(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("got no error from the script, want it killed")
	}
	other := newStage(t, e.manager(t)).fork(st.cookie())
	until(t, "the change to be seen at another server", func() bool { return other.must().body == "alice a=1 b=2" })
}
