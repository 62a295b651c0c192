package requirements_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestLoginLeavesAnOldIDThatNamesNobody(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		root := stage.NewScripted(t, e.Manager(t))
		for _, row := range []struct{ name, before, ops string }{
			{"a login from an anonymous session", "set:cart:teapot", "login:alice-liddell"},
			{"a login again", "login:alice-liddell set:cart:teapot", "login:alice-liddell"},
			{"a login as another user", "login:alice-liddell set:cart:teapot", "login:robert-browning"},
			{"a logout", "login:alice-liddell set:cart:teapot", "logout"},
			{"a rotation", "login:alice-liddell set:cart:teapot", "rotate"},
		} {
			t.Run(row.name, func(t *testing.T) {
				st := root.Fork("")
				st.Must(row.before)
				old := stage.KeyOf(t, st.Cookie())
				st.Must(row.ops)
				left := e.Dump(t)[old]
				if !stage.Tombstone(left) || strings.Contains(left, "alice-liddell") || strings.Contains(left, "robert-browning") || strings.Contains(left, "teapot") {
					t.Errorf("got %q under the old id, want a tombstone that names nobody", left)
				}
			})
		}
	})
}

// Whatever a browser does once it has the answer, the session is over before.
func TestLogoutEndsTheSessionBeforeTheCookieGoes(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		left := -1 // records when the headers leave
		h := m.Handler(stage.Handlers{"/login": stage.AccountHandlers["/login"], "/logout": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			s.Logout()
			io.WriteString(w, "bye")
		}}.Mux())
		b := stage.Browse(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(&stage.FirstByte{ResponseWriter: w, Opening: func() { left = e.Living(t) }}, r)
		}), false)
		b.Get("/login")
		key := stage.KeyOf(t, b.Cookie())
		if a := b.Get("/logout"); left != 0 || len(a.SetCookies()) != 1 || a.SetCookies()[0].MaxAge >= 0 {
			t.Errorf("got %d records when the headers left, and cookies %v, want none and the cookie expired", left, a.SetCookies())
		}
		if raw := e.Dump(t)[key]; raw != "" && !stage.Tombstone(raw) {
			t.Errorf("got %q after the logout, want nothing or a tombstone", raw)
		}
	})
}

func TestExpiryIsALogoutToTheBrowser(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		root := stage.NewScripted(t, e.Manager(t))
		headers := func(a stage.Answer) string {
			return fmt.Sprint(a.Header.Values("Set-Cookie"), a.Header.Values("Cache-Control"), a.Header.Values("Vary"))
		}
		leaver := root.Fork("")
		leaver.Must("login:alice")
		want := headers(leaver.Must("logout"))
		for _, row := range []struct {
			name   string
			expire func()
		}{
			{"the idle timeout", func() { e.Advance(t, 8*24*time.Hour) }},
			{"the absolute timeout", func() { e.Advance(t, 31*24*time.Hour) }},
			{"the absolute timeout, by a slow clock in Redis", func() { e.Clock.Add(31 * 24 * time.Hour) }},
		} {
			t.Run(row.name, func(t *testing.T) {
				st := root.Fork("")
				st.Must("login:alice set:memo:old")
				row.expire()
				before := len(e.Events.Of(redsession.EventExpired))
				a := st.Must()
				if got := headers(a); got != want || a.Text != "" {
					t.Errorf("got session %q and headers %s, want none and those of a logout, %s", a.Text, got, want)
				}
				if got := len(e.Events.Of(redsession.EventExpired)) - before; got != 1 {
					t.Errorf("got %d events, want one", got)
				}
			})
		}
	})
}

func TestStampMakesTheRevocationThatTheIndexMisses(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for _, row := range []struct {
			name   string
			revoke func(m *redsession.Manager, st *stage.Stamps) (int, error)
			want   string
		}{
			{"RevokeUser alone", func(m *redsession.Manager, _ *stage.Stamps) (int, error) { return m.RevokeUser(t.Context(), "alice") }, "alice"},
			{"another stamp", func(_ *redsession.Manager, st *stage.Stamps) (int, error) { st.Set("v2", nil); return 0, nil }, ""},
			{"RevokeAll", func(m *redsession.Manager, _ *stage.Stamps) (int, error) { return m.RevokeAll(t.Context()) }, ""},
		} {
			t.Run(row.name, func(t *testing.T) {
				st := stage.NewStamps("v1")
				m := e.Manager(t, st.Configure)
				b := stage.LifeBrowser(t, m, nil)
				b.Get("/login?user=alice")
				e.Client.Del(t.Context(), e.Index(t))
				_, err := row.revoke(m, st)
				if got := b.Get("/who").Text; got != row.want || err != nil {
					t.Errorf("got the session of %q, %v, want %q", got, err, row.want)
				}
			})
		}
	})
}

func TestReplayMayEndTheWholeFamily(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		var m *redsession.Manager
		m = e.Manager(t, func(c *redsession.Config) {
			c.OnEvent = func(ctx context.Context, ev redsession.Event) {
				if ev.Kind == redsession.EventReplayed {
					if err := m.Revoke(ctx, ev.ID); err != nil {
						t.Error(err)
					}
				}
			}
		})
		b := stage.LifeBrowser(t, m, nil)
		b.Get("/login?user=alice")
		thief := b.With(b.Cookie())
		b.Play(e, "+3h", "/who", "/who", "+2m")
		thief.Get("/who")
		if got := b.Get("/who").Text; got != "" {
			t.Errorf("got the successor of %q after a replay, want it ended", got)
		}
	})
}

// An index whose life is computed from a deadline that has just passed must not
// stay for ever.
func TestIndexEndsThoughTheDeadlinePassesDuringTheLogin(t *testing.T) {
	t.Parallel()
	for _, late := range []time.Duration{0, time.Second, 2 * time.Second, time.Hour} {
		t.Run(late.String()+" late", func(t *testing.T) {
			stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
				held := &stage.Latch{}
				b := stage.LifeBrowser(t, e.Hooked(t, held, func(c *redsession.Config) { c.AbsoluteTimeout = time.Second }), nil)
				if !held.Between(1, func() { b.Get("/login?user=alice") }, func() { e.Clock.Add(late) }) {
					t.Error("got no exchange with Redis at a login, want one to hold")
				}
			})
		})
	}
}

func TestIndexLosesTenThousandDeadSessionsAtTheFirstRead(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		b := stage.LifeBrowser(t, m, nil)
		b.Get("/login?user=alice")
		dead := make([]redis.Z, 10_000) // as Redis leaves them when their keys expire
		for i := range dead {
			dead[i] = redis.Z{Score: float64(i), Member: fmt.Sprintf("%032d", i)}
		}
		if err := e.Client.ZAdd(t.Context(), e.Index(t), dead...).Err(); err != nil {
			t.Fatal(err)
		}
		infos, err := m.Sessions(t.Context(), "alice")
		if n := e.Client.ZCard(t.Context(), e.Index(t)).Val(); len(infos) != 1 || n != 1 || err != nil {
			t.Errorf("got %d sessions and %d entries, %v, want the one that lives", len(infos), n, err)
		}
	})
}
