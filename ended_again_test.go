package redsession_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/record"
)

// lost puts back what a failover to a replica that lagged behind would have: the record of a session that has ended
// since. It returns the session's key and its browser.
func (o *outage) lost(t *testing.T, end func()) (key string, old *stage) {
	t.Helper()
	key = "session:" + o.st.must("login:alice").Header.Get("X-Id")
	raw, old := o.client.Get(t.Context(), key).Val(), o.st.fork(o.st.cookie())
	end()
	if err := o.client.Set(t.Context(), key, raw, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	return key, old
}

// A server with little to do may see fewer failures in a failover than make an outage.
func TestWhatEndedLatelyIsEndedAgainAfterASingleFailure(t *testing.T) {
	o := newOutage(t)
	key, old := o.lost(t, func() { o.st.must("logout") })
	o.proxy.Refuse(true)
	_, _ = o.m.RevokeUser(t.Context(), "nobody")
	o.proxy.Refuse(false)
	if n := len(o.events.of(redsession.EventOutageBegan)); n != 0 {
		t.Fatalf("got %d outages, want none of a single failure", n)
	}
	if _, err := o.m.Sessions(t.Context(), "nobody"); err != nil {
		t.Fatal(err)
	}
	inTheEnd(t, "the second ending", func() bool { return record.IsTombstone(o.client.Get(t.Context(), key).Val()) })
	if got := old.do().body; got != "" {
		t.Errorf("got the session of %q, want an anonymous one", got)
	}
}

func TestWhatEndedShortlyBeforeALongOutageIsEndedAgain(t *testing.T) {
	o := newOutage(t)
	key, old := o.lost(t, func() { o.st.must("logout") })
	o.clock.add(30 * time.Second)
	o.down(t)
	o.clock.add(10 * time.Minute)
	o.up(t)
	inTheEnd(t, "the second ending", func() bool { return record.IsTombstone(o.client.Get(t.Context(), key).Val()) })
	if got := old.do().body; got != "" {
		t.Errorf("got the session of %q, want an anonymous one", got)
	}
}

// Redis comes back, and is away again before everything is ended once more.
func TestWhatCouldNotBeEndedAgainIsTriedAfterTheNextOutage(t *testing.T) {
	o := newOutage(t)
	key, old := o.lost(t, func() { o.st.must("logout") })
	o.clock.add(30 * time.Second)
	o.down(t)
	var refused atomic.Int32
	o.proxy.Reply(func(args []string) (string, bool) {
		if !strings.HasPrefix(args[0], "EVAL") {
			return "", false
		}
		refused.Add(1)
		return "-LOADING Redis is loading the dataset in memory\r\n", true
	})
	o.up(t)
	inTheEnd(t, "an ending to be refused", func() bool { return refused.Load() > 0 })
	o.clock.add(10 * time.Minute)
	o.proxy.Reply(nil)
	inTheEnd(t, "the second ending", func() bool {
		_, _ = o.m.Sessions(t.Context(), "nobody")
		return record.IsTombstone(o.client.Get(t.Context(), key).Val())
	})
	if got := old.do().body; got != "" {
		t.Errorf("got the session of %q, want an anonymous one", got)
	}
}

// What neither a failover nor memory can bring back any more is not ended again.
func TestWhatEndedLongAgoIsNotEndedAgain(t *testing.T) {
	o := newOutage(t)
	long, _ := o.lost(t, func() { o.st.must("logout") })
	o.clock.add(2 * time.Minute)
	late, _ := o.lost(t, func() { o.st.must("logout") })
	o.down(t)
	o.up(t)
	inTheEnd(t, "the second ending", func() bool { return record.IsTombstone(o.client.Get(t.Context(), late).Val()) })
	if record.IsTombstone(o.client.Get(t.Context(), long).Val()) {
		t.Error("got the session of two minutes ago ended again, want it left alone")
	}
}

// A logout that is clicked twice, of which the second answer comes late, must not take the cookie of a login in between.
func TestALogoutClickedTwiceLeavesANewerLoginItsCookie(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		st := newStage(t, e.manager(t))
		for _, row := range []struct {
			ops     string
			status  int
			cookies int
		}{
			{"logout", 200, 0},
			{"logout flash:bye", 200, 0},
			{"logout csrf", 200, 0},
			{"logout set:a:1", 409, 0},
			{"logout flash:bye login:bob", 200, 1},
		} {
			st.must("login:alice")
			twice := st.fork(st.cookie())
			st.must("logout flash:bye")
			again := twice.do(row.ops)
			if again.StatusCode != row.status || len(again.setCookies()) != row.cookies {
				t.Errorf("%s: got %d and %d cookies, want %d and %d", row.ops, again.StatusCode, len(again.setCookies()), row.status, row.cookies)
			}
		}
	})
}
