package redsession_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/redsession/redsession"
)

// Sessions that ended within the last minute may be many, and Redis slow.
func TestCloseDoesNotWaitForWhatIsEndedAgain(t *testing.T) {
	var closing func()
	o := newOutage(t, func(c *redsession.Config) {
		add := c.OnEvent
		c.OnEvent = func(ctx context.Context, e redsession.Event) {
			if add(ctx, e); e.Kind == redsession.EventOutageEnded {
				closing()
				<-ctx.Done()
			}
		}
	})
	for _, user := range []string{"alice", "bob", "carol"} {
		o.st.must("login:" + user)
	}
	o.st.must("logout")
	o.down(t)
	o.proxy.Reset()
	closed := make(chan error, 1)
	closing = func() { go func() { closed <- o.m.Close() }() }
	o.up(t)
	if err := <-closed; err != nil {
		t.Errorf("got %v from Close, want nil", err)
	}
	again := func(c []string) bool { return strings.EqualFold(c[0], "evalsha") }
	if slices.ContainsFunc(o.proxy.Commands(), again) {
		t.Errorf("got %v after Close was called, want none of the endings", o.proxy.Commands())
	}
}
