package outage_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
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
	wantAdminClosed(t, t.Context(), o, id)
}

// wantAdminClosed checks that nothing is listed, ended or imported any more.
func wantAdminClosed(t *testing.T, ctx context.Context, o *stage.Outage, id string) {
	t.Helper()
	for name, err := range map[string]error{
		"Revoke":     o.M.Revoke(ctx, id),
		"RevokeOf":   stage.ErrorOf(o.M.RevokeOf(ctx, "alice", id)),
		"RevokeUser": stage.ErrorOf(o.M.RevokeUser(ctx, "alice")),
		"RevokeAll":  stage.ErrorOf(o.M.RevokeAll(ctx)),
		"Sessions":   stage.ErrorOf(o.M.Sessions(ctx, "alice")),
		"Count":      stage.ErrorOf(o.M.Count(ctx)),
		"Import":     stage.ErrorOf(o.M.Import(ctx, []redsession.LegacyRecord{stage.OldSession(o.Env, "old", "alice")}, false)),
		"forced":     stage.ErrorOf(o.M.Import(ctx, []redsession.LegacyRecord{stage.OldSession(o.Env, "old", "alice")}, true)),
		"All":        listing(ctx, o.M),
	} {
		wantUnavailable(t, "after Close, "+name, err)
	}
}

func listing(ctx context.Context, m *redsession.Manager) error {
	for _, err := range m.All(ctx) {
		if err != nil {
			return err
		}
	}
	return nil
}

// A handler that is still running when the Manager is closed is told so by all that it tries,
// its streams end, and its answer is an error if it changes something.
func TestOutageCloseRefusesWhatIsStillRunning(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(s *redsession.Session){
		"a write":     func(s *redsession.Session) { stage.Number.Set(s, 2) },
		"a login":     func(s *redsession.Session) { s.Login("bob") },
		"a promotion": func(s *redsession.Session) { s.Promote() },
		"a logout":    (*redsession.Session).Logout,
		"a new id":    (*redsession.Session).Rotate,
	} {
		for _, saves := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, Save: %t", name, saves), func(t *testing.T) {
				t.Parallel()
				o := stage.NewOutage(t)
				closeInside := func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
					stream := s.Context()
					if err := o.M.Close(); err != nil {
						t.Errorf("Close: got %v, want nil", err)
					}
					if stream.Err() == nil || s.Context().Err() == nil {
						t.Error("got a stream that goes on after Close, want it ended")
					}
					wantAdminClosed(t, r.Context(), o, s.ID())
					stage.Number.Set(s, 3)
					wantUnavailable(t, "RevokeOthers, which saves first", stage.ErrorOf(o.M.RevokeOthers(r.Context(), s)))
					_, _, err := stage.Number.Take(r.Context(), s)
					wantUnavailable(t, "Take", err)
					if change(s); saves {
						wantUnavailable(t, "Save", s.Save(r.Context()))
						w.WriteHeader(http.StatusServiceUnavailable)
					}
				}
				b := stage.NewBrowser(t, stage.Serve(t, o.M, stage.Handlers{
					"/begin": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
						s.Login("alice", redsession.Pending())
						stage.Number.Set(s, 1)
					},
					"/close": closeInside,
				}))
				b.Get("/begin")
				held := o.Dump(t)
				if a := b.Get("/close"); a.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("got status %d, want 503", a.StatusCode)
				}
				if got := o.Dump(t); !maps.Equal(got, held) {
					t.Errorf("got %v in Redis, want it as before: %v", got, held)
				}
			})
		}
	}
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
