package lifetime_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestLimitToIsACeiling(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		steps []string
		left  time.Duration // by the cookie, afterwards
	}{
		{"a login ends sooner", []string{"/login?user=alice", "/limit?to=2h"}, 2 * time.Hour},
		{"a later limit changes nothing", []string{"/login?user=alice", "/limit?to=2h", "/limit?to=3h"}, 2 * time.Hour},
		{"a sooner one does", []string{"/login?user=alice", "/limit?to=2h", "/limit?to=1h"}, time.Hour},
		{"one beyond the end changes nothing for now", []string{"/login?user=alice", "/limit?to=10000h"}, 30 * day},
		{"hits do not move it", []string{"/login?user=alice", "/limit?to=2h", "+1h", "/who"}, time.Hour},
		{"rotation keeps it", []string{"/login?user=alice", "/limit?to=2h", "+1h", "/rotate"}, time.Hour},
		{"a rotation in the same way by time", []string{"/login?user=alice", "/limit?to=4h", "+3h", "/who"}, time.Hour},
		{"the second factor keeps it", []string{"/half?user=alice", "/limit?to=1h", "+5m", "/second"}, 55 * time.Minute},
		{"a login as the same user keeps it", []string{"/login?user=alice", "/limit?to=2h", "+1h", "/login?user=alice"}, time.Hour},
		{"and one that is remembered", []string{"/login?user=alice", "/limit?to=2h", "+1h", "/remember?for=48h"}, time.Hour},
		{"a login as another user begins without it", []string{"/login?user=alice", "/limit?to=2h", "/login?user=bob"}, 30 * day},
		{"a login after a logout begins without it", []string{"/login?user=alice", "/limit?to=2h", "/fresh-login"}, 30 * day},
		{"a login of a visitor begins without the visitor's", []string{"/set?v=1", "/limit?to=2h", "/login?user=alice"}, 30 * day},
		{"but not without that of the same request", []string{"/set?v=1", "/limit-login?to=2h"}, 2 * time.Hour},
		{"nor where nothing was stored", []string{"/limit-login?to=2h"}, 2 * time.Hour},
		{"after the headers, the next request tells the browser", []string{"/login?user=alice", "/limit-late?to=2h", "/who"}, 2 * time.Hour},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
				b := browse(t, e.Manager(t, func(c *redsession.Config) { c.Cookie.Persistent = true }))
				a := b.Play(e, row.steps...)
				if a.StatusCode != http.StatusOK {
					t.Fatalf("got %d %q", a.StatusCode, a.Text)
				}
				if got := deadline(t, e, b.Cookie()); !near(got, row.left) {
					t.Errorf("got %s left by the cookie, want %s", got, row.left)
				}
				for _, c := range a.SetCookies() {
					if got := time.Duration(c.MaxAge) * time.Second; !near(got, row.left) {
						t.Errorf("got Max-Age %s, want %s", got, row.left)
					}
				}
				if got := ttl(t, e, b.Cookie()); !near(got, min(row.left, 7*day)) {
					t.Errorf("got %s left in Redis, want %s", got, min(row.left, 7*day))
				}
				if e.Advance(t, row.left+time.Second); b.Get("/who").Text != "" {
					t.Error("got the session alive past its end")
				}
			})
		})
	}
}

func TestLimitToUnderASecondEndsTheSession(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for _, to := range []string{"0s", "-1h", "999ms"} {
			b := browse(t, e.Manager(t))
			b.Get("/login?user=alice")
			a := b.Get("/limit?to=" + to)
			if a.StatusCode != http.StatusOK || e.Living(t) != 0 || len(a.SetCookies()) != 1 || a.SetCookies()[0].MaxAge >= 0 {
				t.Errorf("%s: got %d, %d sessions and cookies %v, want 200, none and an expired one", to, a.StatusCode, e.Living(t), a.SetCookies())
			}
		}
	})
}

// TestLimitToHoldsForACookieThatDoesNotKnowOfIt is a client that keeps its old cookie, whose end is later, whatever it is
// sent: EXPIRE goes along with GET, by what the cookie says.
func TestLimitToHoldsForACookieThatDoesNotKnowOfIt(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		b := browse(t, m)
		b.Get("/login?user=alice")
		old := b.Cookie()
		b.Get("/limit?to=2h")
		for range 3 {
			if a := b.With(old).Get("/ends"); a.Text != "alice 2h0m0s" || len(a.SetCookies()) != 1 {
				t.Fatalf("got %q and cookies %v, want the limit and a new one", a.Text, a.SetCookies())
			}
			if got := ttl(t, e, old); !near(got, 2*time.Hour) {
				t.Errorf("got %s left in Redis, want what is left until the limit", got)
			}
			infos, err := m.Sessions(t.Context(), "alice")
			if err != nil || len(infos) != 1 || !near(infos[0].ExpiresAt.Sub(e.Clock.Now()), 2*time.Hour) {
				t.Errorf("got %+v, %v in the list, want the limit", infos, err)
			}
		}
		e.Clock.Add(2*time.Hour + time.Second) // Redis's clock is late
		if got := b.With(old).Get("/who").Text; got != "" {
			t.Errorf("got %q past the limit, want nobody", got)
		}
		if e.Living(t) != 0 {
			t.Error("got the record kept")
		}
	})
}

// TestLimitToByParallelRequestsTakesTheSoonest has them all write to the one record.
func TestLimitToByParallelRequestsTakesTheSoonest(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		const n = 10
		meet := meeting(n, func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
			d, _ := time.ParseDuration(r.FormValue("to"))
			if s.LimitTo(d); d == 3*time.Hour {
				s.Extend()
			}
		})
		servers := []*stage.Browser{browse(t, e.Manager(t, stage.Patient), meet), browse(t, e.Manager(t, stage.Patient), meet)}
		servers[0].Get("/login?user=alice")
		old := servers[0].Cookie()
		limits := []string{"9h", "8h", "7h", "6h", "5h", "4h", "3h", "3h", "2h", "10h"}
		for i, a := range stage.AtOnce(n, func(i int) stage.Answer { return servers[i%2].With(old).Get("/meet?to=" + limits[i]) }) {
			if a.StatusCode != http.StatusOK {
				t.Errorf("%s: got %d %q", limits[i], a.StatusCode, a.Text)
			}
		}
		last := servers[1].With(old)
		last.Get("/who")
		if got := deadline(t, e, last.Cookie()); got != 2*time.Hour || e.Living(t) != 1 {
			t.Errorf("got %s left and %d sessions, want 2 hours and 1", got, e.Living(t))
		}
	})
}
