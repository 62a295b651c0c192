package admin_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestAdminRevokeTakesIDsAndNothingElse(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	b := stage.LifeBrowser(t, e.Manager(t), nil)
	b.Get("/login?user=alice")
	a, index := e.Operator(t, ""), strings.TrimPrefix(e.Client.Keys(t.Context(), "session:user:*").Val()[0], "session:")
	for _, tt := range []struct {
		name, id string
		ok       bool
	}{
		{"an unknown id", strings.Repeat("A", 32), true},
		{"nothing", "", false},
		{"a pattern", strings.Repeat("*", 32), false},
		{"an id that is too short", strings.Repeat("A", 31), false},
		{"an id with a line break", strings.Repeat("A", 31) + "\n", false},
		{"the index of the user's sessions", index, false},
		{"the cookie", b.Cookie(), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := a.Revoke(t.Context(), tt.id); (err == nil) != tt.ok {
				t.Errorf("got %v, want success %v", err, tt.ok)
			}
			if ok, err := a.RevokeOf(t.Context(), "alice", tt.id); ok || err != nil {
				t.Errorf("of alice: got %v, %v, want false and no error", ok, err)
			}
		})
	}
	if got := b.Get("/who").Text; got != "alice" {
		t.Errorf("got user %q, want alice's session unharmed", got)
	}
}

func TestAdminGuessingAnIDEndsNobodyElsesSession(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		b := stage.LifeBrowser(t, e.Manager(t), nil)
		alice, rotated, visitor := b.Fresh(), b.Fresh(), b.Fresh()
		alice.Get("/login?user=alice")
		rotated.Get("/login?user=alice")
		before := rotated.State().ID
		rotated.Get("/rotate")
		visitor.Get("/set?v=1")
		for _, a := range []*redsession.Admin{e.Operator(t, ""), e.Manager(t).Admin} {
			for _, id := range []string{alice.State().ID, before, rotated.State().ID, visitor.State().ID} {
				for _, user := range []string{"mallory", ""} {
					if ok, err := a.RevokeOf(t.Context(), user, id); ok || err != nil {
						t.Errorf("got %v, %v as %q, want false", ok, err, user)
					}
				}
			}
			if alive := alives([]*stage.Browser{alice, rotated}); alive != "11" || visitor.State().Note != "1" {
				t.Fatalf("got sessions alive %s, want all", alive)
			}
		}
		for _, id := range []string{alice.State().ID, before} {
			if ok, err := e.Operator(t, "").RevokeOf(t.Context(), "alice", id); !ok || err != nil {
				t.Errorf("got %v, %v as alice, want true", ok, err)
			}
			if ok, err := e.Operator(t, "").RevokeOf(t.Context(), "alice", id); ok || err != nil {
				t.Errorf("got %v, %v the second time, want false", ok, err)
			}
		}
		if alive := alives([]*stage.Browser{alice, rotated}); alive != "00" {
			t.Errorf("got sessions alive %s, want none", alive)
		}
	})
}

func TestAdminRevokeUserAndOthersCount(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		b := stage.LifeBrowser(t, m, stage.OthersHandlers(t, m))
		bs, bob := logins(t, e, b, "alice", 5), logins(t, e, b, "bob", 1)
		half := b.Fresh()
		half.Get("/half?user=alice")
		if got := half.Fresh().Get("/others").Text; got != "0" {
			t.Errorf("got %s sessions ended by somebody who has not logged in, want 0", got)
		}
		if a := bob[0].Get("/others"); a.StatusCode != http.StatusOK || a.Text != "0" {
			t.Errorf("got %d and %s others ended of a user with one session, want 200 and 0", a.StatusCode, a.Text)
		}
		bs[2].Get("/rotate")
		if got := bs[2].Get("/others").Text; got != "4" || alives(bs) != "00100" {
			t.Errorf("got %s others ended and %s alive, want 4, as the half-open login is in no index, and 00100", got, alives(bs))
		}
		e.Advance(t, time.Second)
		if n, err := m.RevokeUser(t.Context(), "alice"); n != 1 || err != nil || alives(append(bs, bob...)) != "000001" {
			t.Errorf("got %d, %v and %s alive, want 1 and only bob's", n, err, alives(append(bs, bob...)))
		}
		if a := half.Get("/second"); a.StatusCode != http.StatusConflict || half.State().User != "" {
			t.Errorf("got %d and user %q for the second factor of a password checked before the revocation, want 409 and nobody", a.StatusCode, half.State().User)
		}
		e.Advance(t, time.Second)
		if a := half.Play(e, "/half?user=alice", "/second", "/who"); a.Text != "alice" {
			t.Errorf("got %q after a login that began afterwards, want alice", a.Text)
		}
		if n, err := m.RevokeUser(t.Context(), "alice"); n != 1 || err != nil {
			t.Errorf("got %d, %v, want that login ended", n, err)
		}
		if n, err := m.RevokeUser(t.Context(), "alice"); n != 0 || err != nil {
			t.Errorf("got %d, %v the second time, want 0", n, err)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.RevokeUser(cancelled, "bob"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v after ctx was cancelled, want its error", err)
		}
	})
}

func TestAdminRevokeAllWhileSessionsRotateAndOthersLogIn(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		b := stage.LifeBrowser(t, e.Manager(t), nil)
		bs := append(logins(t, e, b, "alice", 4), logins(t, e, b, "bob", 4)...)
		over := make(chan struct{})
		var begun sync.WaitGroup
		begun.Add(len(bs))
		var done sync.WaitGroup
		for _, b := range bs {
			done.Go(func() {
				b.Get("/rotate")
				begun.Done()
				for !isClosed(over) {
					b.Get("/rotate")
				}
			})
		}
		done.Go(func() { logins(t, e, b, "carol", 5) })
		begun.Wait()
		n, err := e.Operator(t, "").RevokeAll(t.Context())
		close(over)
		done.Wait()
		if got := alives(bs); got != "00000000" || err != nil || n < len(bs) {
			t.Errorf("got %d, %v and %s alive, want all 8 ended", n, err, got)
		}
	})
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A connection that is cut while it carries many commands is one failure, not as many.
func TestAdminRevokeUserWithALostReplyIsNoOutage(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		m, p := e.Behind(t)
		b := stage.LifeBrowser(t, m, nil)
		bs := logins(t, e, b, "alice", 20)
		var cut atomic.Int64
		p.CutReply(stage.AtMost(1, &cut, stage.SetsTombstone))
		if n, err := m.RevokeUser(t.Context(), "alice"); n != 20 || err != nil || cut.Load() == 0 {
			t.Errorf("got %d, %v after %d cuts, want 20 after one", n, err, cut.Load())
		}
		if alive := alives(bs); strings.Contains(alive, "1") {
			t.Errorf("got %s alive, want none", alive)
		}
		if began := e.Events.Of(redsession.EventOutageBegan); len(began) != 0 {
			t.Errorf("got the outage %v, want none", began)
		}
	})
}
