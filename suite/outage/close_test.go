package outage_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
	"github.com/redsession/redsession/internal/tuning"
)

// Sessions that ended within the last minute may be many, and Redis slow.
func TestOutageCloseDoesNotWaitForWhatIsEndedAgain(t *testing.T) {
	t.Parallel()
	var closing func()
	o := stage.NewOutage(t, func(c *redsession.Config) {
		add := c.OnEvent
		c.OnEvent = func(ctx context.Context, e redsession.Event) {
			if add(ctx, e); e.Kind == redsession.EventOutageEnded {
				closing()
				<-ctx.Done()
			}
		}
	})
	for _, user := range []string{"alice", "bob", "carol"} {
		o.Here.Must("login:" + user)
	}
	o.Here.Must("logout")
	o.Down(t)
	o.Proxy.Reset()
	closed := make(chan error, 1)
	closing = func() { go func() { closed <- o.M.Close() }() }
	o.Proxy.Refuse(false)
	if err := <-closed; err != nil {
		t.Errorf("got %v from Close, want nil", err)
	}
	if slices.ContainsFunc(o.Proxy.Commands(), isScript) {
		t.Errorf("got %v after Close was called, want none of the endings", o.Proxy.Commands())
	}
}

// Whoever waits is told when the program ends, and afterwards nothing is acknowledged.
func TestOutageCloseLeavesNobodyWaiting(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(e *stage.Env, addr string) func(*redsession.Config)
	}{
		{"a connection of our own", func(*stage.Env, string) func(*redsession.Config) {
			return func(*redsession.Config) {}
		}},
		{"a client of the caller's, which stays open", func(e *stage.Env, addr string) func(*redsession.Config) {
			client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
			return func(c *redsession.Config) { c.URL, c.Client = "", client }
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := stage.NewMini(t)
			p := redistest.NewProxy(t, e.Mini.Addr())
			m := e.Manager(t, patient, func(c *redsession.Config) { c.URL = p.URL }, row.change(e, p.Addr))
			o := &stage.Outage{Env: e, M: m, Proxy: p, Here: stage.NewOutageScripted(t, m), Other: stage.NewScripted(t, e.Manager(t))}
			o.Here.Must("login:alice set:a:1")
			o.Other.Must("login:carol")
			id := o.Here.Must().Header.Get("X-Id")
			held := o.Here.Hold("hold add:n")
			o.Down(t)
			answers := make(chan stage.Answer, 2)
			go func() { answers <- held() }()
			go func() { answers <- o.Here.Fork(o.Other.Cookie()).Do() }()
			promptly(t, "Close", func() {
				if err := o.M.Close(); err != nil {
					t.Errorf("Close: got %v, want nil", err)
				}
				for range 2 {
					if got := stage.Outcome(<-answers); got != "503 retry" {
						t.Errorf("got %q for a request that waited, want 503 retry", got)
					}
				}
			})
			o.Proxy.Refuse(false)
			promptly(t, "requests after Close", func() { wantClosed(t, o, id) })
			if got := o.Other.Fork(o.Here.Cookie()).Must().Text; got != "alice a=1" {
				t.Errorf("got %q at another server, want alice a=1", got)
			}
		})
	}
}

// wantClosed checks that nothing is loaded or acknowledged any more.
func wantClosed(t *testing.T, o *stage.Outage, id string) {
	for _, row := range []struct {
		name, ops, want string
		st              *stage.Scripted
	}{
		{"no cookie and no write", "", "200", o.Here.Fork("")},
		{"a session that was known", "", "503 retry", o.Here},
		{"another server's", "", "503 retry", o.Here.Fork(o.Other.Cookie())},
		{"a write", "add:n", "503 retry", o.Here},
		{"a logout", "logout", "503 retry", o.Here},
		{"a first write", "set:a:1", "503 retry", o.Here.Fork("")},
		{"a login", "login:bob", "503 retry", o.Here.Fork("")},
	} {
		if got := stage.Outcome(row.st.Do(row.ops)); got != row.want {
			t.Errorf("after Close, %s: got %q, want %q", row.name, got, row.want)
		}
	}
	wantUnavailable(t, "after Close, Revoke", o.M.Revoke(t.Context(), id))
	wantUnavailable(t, "after Close, RevokeUser", stage.ErrorOf(o.M.RevokeUser(t.Context(), "alice")))
	wantUnavailable(t, "after Close, Sessions", stage.ErrorOf(o.M.Sessions(t.Context(), "alice")))
}

func TestOutageCloseMakesTheLogoutsThatAreLeft(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	leaver := o.Here.Fork("")
	o.Here.Must("login:alice")
	leaver.Must("login:bob")
	o.Down(t)
	leaver.Do("logout")
	o.Proxy.Refuse(false)
	if err := o.M.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
	if got, n := o.Other.Fork(o.Here.Cookie()).Must().Text, o.Living(t); got != "alice" || n != 1 {
		t.Errorf("got %q and %d records, want alice, alone", got, n)
	}
}

func TestOutageCloseGivesUpAndSaysWhatIsLeft(t *testing.T) {
	usual := tuning.Current()
	t.Cleanup(func() { tuning.Set(usual) })
	tuning.Set(tuning.Values{Close: 500 * time.Millisecond, Probe: usual.Probe})
	o := stage.NewOutage(t)
	leaver := o.Here.Fork("")
	o.Here.Must("login:alice")
	leaver.Must("login:bob")
	o.Down(t)
	o.Here.Do("set:a:1")
	leaver.Do("logout")
	var err error
	promptly(t, "Close", func() { err = o.M.Close() })
	if err == nil || !strings.Contains(err.Error(), "1 sessions whose end") {
		t.Errorf("Close: got %v, want to hear of one session whose logout was not made", err)
	}
	if err := o.M.Close(); err != nil {
		t.Errorf("Close again: got %v, want nil", err)
	}
}
