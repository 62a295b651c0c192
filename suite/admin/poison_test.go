package admin_test

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// poisons are members that somebody who can write to Redis may put into a user's index, by their number.
func poisons(now time.Time) map[string]func(i int) redis.Z {
	id := func(i int) string { return fmt.Sprintf("%032d", i) }
	return map[string]func(i int) redis.Z{
		"dead ones, older than all": func(i int) redis.Z { return redis.Z{Member: id(i), Score: 1} },
		"dead ones, newer than all": func(i int) redis.Z {
			return redis.Z{Member: id(i), Score: float64(now.Add(9 * time.Minute).UnixMicro())}
		},
		"dead ones of a time to come":      func(i int) redis.Z { return redis.Z{Member: id(i), Score: float64(now.Add(time.Hour).UnixMicro())} },
		"dead ones with endless scores":    func(i int) redis.Z { return redis.Z{Member: id(i), Score: math.Inf(1)} },
		"dead ones with scores below all":  func(i int) redis.Z { return redis.Z{Member: id(i), Score: math.Inf(-1)} },
		"dead ones with negative scores":   func(i int) redis.Z { return redis.Z{Member: id(i), Score: -float64(i)} },
		"dead ones with broken scores":     func(i int) redis.Z { return redis.Z{Member: id(i), Score: 1e300 / float64(i+1)} },
		"garbage, older than all":          func(i int) redis.Z { return redis.Z{Member: fmt.Sprint("x", i), Score: 1} },
		"garbage with endless scores":      func(i int) redis.Z { return redis.Z{Member: fmt.Sprint("\x00\r\n", i), Score: math.Inf(1)} },
		"garbage with scores below all":    func(i int) redis.Z { return redis.Z{Member: strings.Repeat("*", i), Score: math.Inf(-1)} },
		"names of other keys":              func(i int) redis.Z { return redis.Z{Member: fmt.Sprint("user:", i), Score: 2} },
		"ids of another prefix's sessions": func(i int) redis.Z { return redis.Z{Member: fmt.Sprint("b:", id(i)), Score: 3} },
	}
}

// TestIndexOfPoisonLetsItsUserIn has the owner log in, list and revoke though the index is full of what nobody of ours put
// there.
func TestIndexOfPoisonLetsItsUserIn(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range e.BothWays() {
			for name, poison := range poisons(e.Clock.Now()) {
				t.Run(name+", "+way, func(t *testing.T) {
					e.Client.FlushAll(t.Context())
					neighbour := stage.LifeBrowser(t, e.Manager(t, func(c *redsession.Config) { c.Prefix = "session:b:" }), nil)
					neighbour.Get("/login?user=alice")
					m := maker(t, func(c *redsession.Config) { c.MaxPerUser = 3 })
					b := stage.LifeBrowser(t, m, nil)
					bs := logins(t, e, b, "alice", 3)
					var members []redis.Z
					for i := range 300 { // a few pages
						members = append(members, poison(i))
					}
					members = append(members, redis.Z{Member: "b:" + neighbour.State().ID, Score: 4})
					index := e.Index(t)
					e.Client.ZAdd(t.Context(), index, members...)
					for range 2 {
						last := b.Fresh()
						if a := last.Get("/login?user=alice"); a.StatusCode != http.StatusOK {
							t.Errorf("got %d, want 200", a.StatusCode)
						}
						e.Advance(t, time.Second)
						bs = append(bs, last)
					}
					if got := alives(bs); got != "00111" {
						t.Errorf("got %s alive, want the last three", got)
					}
					e.Advance(t, 20*time.Minute) // an entry that is young may be a login under way
					if infos, err := m.Sessions(t.Context(), "alice"); len(infos) != 3 || err != nil {
						t.Errorf("got %d sessions, %v, want three", len(infos), err)
					}
					left := e.Client.ZRange(t.Context(), index, 0, -1).Val()
					if left = slices.DeleteFunc(left, func(id string) bool { return id == "*" }); len(left) != 3 {
						t.Errorf("got %d entries, want those of the three sessions: the list heals the index", len(left))
					}
					e.Client.ZAdd(t.Context(), index, members...)
					if n, err := m.RevokeUser(t.Context(), "alice"); n != 3 || err != nil || alives(bs) != "00000" {
						t.Errorf("got %d, %v and %s alive, want three ended", n, err, alives(bs))
					}
					if got := neighbour.Get("/who").Text; got != "alice" {
						t.Errorf("got %q of the session of another prefix, want it unharmed", got)
					}
				})
			}
		}
	})
}

// TestMaxPerUserEndsWhatItHasSeenToBeTooMuch has more dead entries than one login looks at behind the living ones: they are
// no reason to end those.
func TestMaxPerUserEndsWhatItHasSeenToBeTooMuch(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, func(c *redsession.Config) { c.MaxPerUser = 3 })
		b := stage.LifeBrowser(t, m, nil)
		bs := logins(t, e, b, "alice", 3)
		poison := poisons(e.Clock.Now())["dead ones, newer than all"]
		var members []redis.Z
		for i := range 3000 {
			members = append(members, poison(i))
		}
		e.Client.ZAdd(t.Context(), e.Index(t), members...)
		for _, want := range []string{"0111", "00111", "000111"} {
			before := e.Client.ZCard(t.Context(), e.Index(t)).Val()
			bs = append(bs, b.Fresh())
			bs[len(bs)-1].Get("/login?user=alice")
			e.Advance(t, time.Second)
			if got := alives(bs); got != want {
				t.Errorf("got %s alive, want %s", got, want)
			}
			if gone := before - e.Client.ZCard(t.Context(), e.Index(t)).Val(); gone < 900 {
				t.Errorf("got %d entries less, want about a thousand", gone)
			}
		}
	})
}

// TestIndexBehindLivingLoginsLosesItsDead: logins that are remembered for long do not shield what lies behind them.
func TestIndexBehindLivingLoginsLosesItsDead(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		b := stage.LifeBrowser(t, m, nil)
		const living = 60
		for range living {
			b.Fresh().Get("/login?user=alice")
		}
		var members []redis.Z
		for i := range 100 {
			members = append(members, redis.Z{Member: fmt.Sprintf("%032d", i), Score: float64(e.Clock.Now().Add(time.Second).UnixMicro())})
		}
		e.Client.ZAdd(t.Context(), e.Index(t), members...)
		e.Advance(t, time.Minute)
		last := b.Fresh()
		stage.Until(t, "the dead entries to go", func() bool {
			last.Get("/login?user=alice")
			return e.Client.ZCard(t.Context(), e.Index(t)).Val() < living+10
		})
		if n := e.Client.ZCard(t.Context(), e.Index(t)).Val(); n <= living {
			t.Errorf("got %d entries, want those of the living ones kept", n)
		}
	})
}

// An entry in somebody's index that names another user's session, by its id or by one that has rotated, is taken out,
// and that session goes on.
func TestIndexThatNamesAnotherUsersSessionEndsItForNobody(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range e.BothWays() {
			t.Run(way, func(t *testing.T) {
				e.Client.FlushAll(t.Context())
				m := maker(t, func(c *redsession.Config) { c.MaxPerUser = 1 })
				b := stage.LifeBrowser(t, m, nil)
				b.Get("/login?user=alice")
				index := e.Index(t)
				other := b.Fresh()
				other.Get("/login?user=bob")
				rotated := other.State().ID
				other.Get("/rotate")
				for _, id := range []string{other.State().ID, rotated} {
					entry := redis.Z{Member: id, Score: float64(e.Clock.Now().UnixMicro())}
					for what, do := range map[string]func() error{
						"a list":       func() error { _, err := m.Sessions(t.Context(), "alice"); return err },
						"a login":      func() error { b.Fresh().Get("/login?user=alice"); return nil },
						"a revocation": func() error { _, err := m.RevokeUser(t.Context(), "alice"); return err },
					} {
						e.Client.ZAdd(t.Context(), index, entry)
						if err := do(); err != nil {
							t.Errorf("%s: %v", what, err)
						}
						if got := other.Get("/who").Text; got != "bob" {
							t.Errorf("got %q after %s, want bob", got, what)
						}
						if err := e.Client.ZScore(t.Context(), index, entry.Member.(string)).Err(); err == nil {
							t.Errorf("got the entry still there after %s", what)
						}
						e.Advance(t, time.Second)
					}
				}
			})
		}
	})
}
