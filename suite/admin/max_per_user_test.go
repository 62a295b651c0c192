package admin_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestMaxPerUserHoldsForParallelLogins(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		limit := func(c *redsession.Config) { c.MaxPerUser = 3 }
		servers := []*stage.Browser{stage.LifeBrowser(t, e.Manager(t, limit), nil), stage.LifeBrowser(t, e.Manager(t, limit), nil)}
		bs := stage.AtOnce(20, func(i int) *stage.Browser {
			b := servers[i%2].Fresh()
			if a := b.Get("/login?user=alice"); a.StatusCode != http.StatusOK {
				t.Errorf("got %d, want 200", a.StatusCode)
			}
			return b
		})
		if got := strings.Count(alives(bs), "1"); got != 3 {
			t.Errorf("got %d cookies alive, want 3", got)
		}
		if n := len(e.Dump(t)); n != 3 {
			t.Errorf("got %d records, want 3", n)
		}
		if n := e.Client.ZCard(t.Context(), e.Index(t)).Val(); n != 3 {
			t.Errorf("got %d entries in the index, want 3", n)
		}
	})
}

func TestMaxPerUserEndsTheOldestLogins(t *testing.T) {
	t.Parallel()
	type B = *stage.Browser
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, e *stage.Env, b B, bs []B)
		want string // of the three logins before
	}{
		{"a login too many ends the oldest", func(_ *testing.T, _ *stage.Env, b B, _ []B) { b.Get("/login?user=alice") }, "011"},
		{"another user's ends none", func(_ *testing.T, _ *stage.Env, b B, _ []B) { b.Get("/login?user=bob") }, "111"},
		{"a half-open one ends none", func(_ *testing.T, _ *stage.Env, b B, _ []B) { b.Get("/half?user=alice") }, "111"},
		{"its completion ends the oldest", func(_ *testing.T, e *stage.Env, b B, _ []B) { b.Play(e, "/half?user=alice", "/second") }, "011"},
		{"half-open ones do not count", func(_ *testing.T, _ *stage.Env, b B, _ []B) {
			for range 3 {
				b.Fresh().Get("/half?user=alice")
			}
			b.Get("/login?user=alice")
		}, "011"},
		{"a rotation ends none", func(_ *testing.T, _ *stage.Env, _ B, bs []B) { bs[0].Get("/rotate") }, "111"},
		{"a rotated one is as old as its login", func(_ *testing.T, _ *stage.Env, b B, bs []B) {
			bs[0].Get("/rotate")
			b.Get("/login?user=alice")
		}, "011"},
		{"one whose entry its rotation could not move", func(t *testing.T, e *stage.Env, b B, bs []B) {
			rotateWithoutEntry(t, e, bs[0], true)
			b.Get("/login?user=alice")
		}, "011"},
		{"one that has the entry of its old id as well", func(t *testing.T, e *stage.Env, b B, bs []B) {
			rotateWithoutEntry(t, e, bs[0], false)
			b.Get("/login?user=alice")
		}, "011"},
		{"a dead entry costs a live one nothing", func(t *testing.T, e *stage.Env, b B, bs []B) {
			e.Client.Del(t.Context(), "session:"+bs[2].State().ID)
			b.Get("/login?user=alice")
		}, "110"},
		{"a session with its old entry beside the new one counts once", func(t *testing.T, e *stage.Env, b B, bs []B) {
			bs[2].Get("/logout")
			old := bs[0].State().ID
			bs[0].Get("/rotate") // by a server that dies before it takes the old entry out
			score := e.Client.ZScore(t.Context(), e.Index(t), bs[0].State().ID).Val()
			if err := e.Client.ZAdd(t.Context(), e.Index(t), redis.Z{Score: score, Member: old}).Err(); err != nil {
				t.Error(err)
			}
			b.Get("/login?user=alice")
		}, "110"},
		{"the same browser's next login replaces its own", func(_ *testing.T, _ *stage.Env, _ B, bs []B) { bs[1].Get("/login?user=alice") }, "111"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
				b := stage.LifeBrowser(t, e.Manager(t, func(c *redsession.Config) { c.MaxPerUser = 3 }), nil)
				bs := logins(t, e, b, "alice", 3)
				if tt.do(t, e, b, bs); alives(bs) != tt.want {
					t.Errorf("got %s of the three logins alive, want %s", alives(bs), tt.want)
				}
				if b.Cookie() != "" && b.State().User+b.State().Pending == "" {
					t.Errorf("got the new login ended, want it alive")
				}
			})
		})
	}
}

// rotateWithoutEntry rotates b's session and puts the entry of its old id back, in the place of the new one's or beside it.
func rotateWithoutEntry(t *testing.T, e *stage.Env, b *stage.Browser, alone bool) {
	t.Helper()
	old := b.State()
	b.Get("/rotate")
	stage.Until(t, "the entry to be moved", func() bool { return e.Client.ZScore(t.Context(), e.Index(t), old.ID).Err() != nil })
	e.Client.ZAdd(t.Context(), e.Index(t), redis.Z{Score: float64(old.Auth.UnixMicro()), Member: old.ID})
	if alone {
		now := e.Client.ZRange(t.Context(), e.Index(t), 0, -1).Val()
		for _, id := range now {
			if id != old.ID && e.Client.ZScore(t.Context(), e.Index(t), id).Val() == float64(old.Auth.UnixMicro()) {
				e.Client.ZRem(t.Context(), e.Index(t), id)
			}
		}
	}
}

// A late answer must not take the newer login's cookie away.
func TestMaxPerUserLeavesALoginItsOwnTombstone(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	b := stage.LifeBrowser(t, e.Manager(t), nil)
	limited := stage.LifeBrowser(t, e.Manager(t, func(c *redsession.Config) { c.MaxPerUser = 1 }), nil)
	bs := logins(t, e, b, "alice", 3) // before there was a limit
	for range 2 {
		again := limited.With(bs[0].Cookie())
		again.Get("/login?user=alice")
		if a := bs[0].Get("/who"); a.Text != "" || len(a.SetCookies()) != 0 {
			t.Errorf("got user %q and Set-Cookie %v for the old id, want nobody and none", a.Text, a.SetCookies())
		}
		bs[0] = again
		if got := alives(bs); got != "100" {
			t.Errorf("got %s alive, want only the one that logged in again", got)
		}
	}
}

func TestMaxPerUserDoesNotCountWhatALostReplyLeft(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		for name, maker := range e.BothWays() {
			m, p := e.BehindBy(t, maker, func(c *redsession.Config) { c.MaxPerUser, c.Prefix = 3, strings.ReplaceAll(name, " ", "-")+":" })
			b := stage.LifeBrowser(t, m, nil)
			bs := logins(t, e, b, "alice", 2)
			var cut atomic.Int64
			p.CutReply(stage.AtMost(1, &cut, stage.EntersIndex))
			last := b.Fresh()
			if a := last.Get("/login?user=alice"); a.StatusCode != http.StatusOK || cut.Load() < 2 {
				t.Errorf("%s: got %d after %d tries, want 200 after two", name, a.StatusCode, cut.Load())
			}
			if got := alives(append(bs, last)); got != "111" {
				t.Errorf("%s: got %s alive, want all three", name, got)
			}
		}
	})
}
