package outage_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// lost puts back what a failover to a replica that lagged behind would have: the record of a session that has ended
// since. It returns the session's key and its browser.
func lost(t *testing.T, o *stage.Outage, end func()) (key string, old *stage.Scripted) {
	t.Helper()
	key = "session:" + o.Here.Must("login:alice").Header.Get("X-Id")
	raw, old := o.Client.Get(t.Context(), key).Val(), o.Here.Fork(o.Here.Cookie())
	end()
	if err := o.Client.Set(t.Context(), key, raw, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	return key, old
}

// A server with little to do may see fewer failures in a failover than make an outage.
func TestOutageEndsAgainWhatEndedLatelyAfterASingleFailure(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	key, old := lost(t, o, func() { o.Here.Must("logout") })
	var failures atomic.Int64
	o.Proxy.CutRequest(stage.AtMost(1, &failures, isScript))
	o.Here.Fork("").Must("login:bob")
	if n := len(o.Events.Of(redsession.EventOutageBegan)); n != 0 || failures.Load() == 0 {
		t.Fatalf("got %d outages after %d failures, want none after one", n, failures.Load())
	}
	stage.Until(t, "the second ending", func() bool { return stage.Tombstone(o.Client.Get(t.Context(), key).Val()) })
	if got := old.Do().Text; got != "" {
		t.Errorf("got the session of %q, want an anonymous one", got)
	}
}

func TestOutageEndsAgainWhatEndedShortlyBeforeIt(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	key, old := lost(t, o, func() { o.Here.Must("logout") })
	o.Clock.Add(30 * time.Second)
	o.Down(t)
	o.Clock.Add(10 * time.Minute)
	o.Up(t)
	stage.Until(t, "the second ending", func() bool { return stage.Tombstone(o.Client.Get(t.Context(), key).Val()) })
	if got := old.Do().Text; got != "" {
		t.Errorf("got the session of %q, want an anonymous one", got)
	}
}

// Redis comes back, and is away again before everything is ended once more.
func TestOutageTriesWhatTheLastOneCouldNotEndAgain(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	key, old := lost(t, o, func() { o.Here.Must("logout") })
	o.Clock.Add(30 * time.Second)
	o.Down(t)
	var refused atomic.Int32
	o.Proxy.Reply(func(args []string) (string, bool) {
		if !isScript(args) {
			return "", false
		}
		refused.Add(1)
		return "-LOADING Redis is loading the dataset in memory\r\n", true
	})
	o.Up(t)
	stage.Until(t, "an ending to be refused", func() bool { return refused.Load() > 0 })
	o.Clock.Add(10 * time.Minute)
	o.Proxy.Reply(nil)
	stage.Until(t, "the second ending", func() bool {
		_, _ = o.M.Sessions(t.Context(), "nobody")
		return stage.Tombstone(o.Client.Get(t.Context(), key).Val())
	})
	if got := old.Do().Text; got != "" {
		t.Errorf("got the session of %q, want an anonymous one", got)
	}
}

// What neither a failover nor memory can bring back any more is not ended again.
func TestOutageDoesNotEndAgainWhatEndedLongAgo(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	long, _ := lost(t, o, func() { o.Here.Must("logout") })
	o.Clock.Add(2 * time.Minute)
	late, _ := lost(t, o, func() { o.Here.Must("logout") })
	o.Down(t)
	o.Up(t)
	stage.Until(t, "the second ending", func() bool { return stage.Tombstone(o.Client.Get(t.Context(), late).Val()) })
	if stage.Tombstone(o.Client.Get(t.Context(), long).Val()) {
		t.Error("got the session of two minutes ago ended again, want it left alone")
	}
}
