package redsession_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/redistest"
)

func TestTheOldIDOfALoginNamesNobody(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		root := newStage(t, e.manager(t))
		for _, row := range []struct{ name, before, ops string }{
			{"a login from an anonymous session", "set:cart:1", "login:alice"},
			{"a login again", "login:alice set:cart:1", "login:alice"},
			{"a login as another user", "login:alice set:cart:1", "login:bob"},
			{"a logout", "login:alice set:cart:1", "logout"},
			{"a rotation", "login:alice set:cart:1", "rotate"},
		} {
			st := root.fork("")
			st.must(row.before)
			old := keyOf(t, st.cookie())
			st.must(row.ops)
			left := e.dump(t)[old]
			if !record.IsTombstone(left) || strings.Contains(left, "alice") || strings.Contains(left, "bob") || strings.Contains(left, "cart") {
				t.Errorf("%s: got %q under the old id, want a tombstone that names nobody", row.name, left)
			}
		}
	})
}

// Whatever a browser does once it has the answer, the session is over before.
func TestLogoutEndsTheSessionBeforeTheCookieGoes(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t)
		left := -1 // records when the headers leave
		h := m.Handler(handlers{"/login": accountHandlers["/login"], "/logout": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			s.Logout()
			io.WriteString(w, "bye")
		}}.mux())
		b := browse(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(&firstByte{ResponseWriter: w, opening: func() { left = e.living(t) }}, r)
		}), false)
		b.get("/login")
		key := keyOf(t, b.cookie())
		if a := b.get("/logout"); left != 0 || len(a.setCookies()) != 1 || a.setCookies()[0].MaxAge >= 0 {
			t.Errorf("got %d records when the headers left, and cookies %v, want none and the cookie expired", left, a.setCookies())
		}
		if raw := e.dump(t)[key]; raw != "" && !record.IsTombstone(raw) {
			t.Errorf("got %q after the logout, want nothing or a tombstone", raw)
		}
	})
}

func TestExpiryIsALogoutToTheBrowser(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		root := newStage(t, e.manager(t))
		headers := func(a answer) string {
			return fmt.Sprint(a.Header.Values("Set-Cookie"), a.Header.Values("Cache-Control"), a.Header.Values("Vary"))
		}
		leaver := root.fork("")
		leaver.must("login:alice")
		want := headers(leaver.must("logout"))
		for _, row := range []struct {
			name   string
			expire func()
		}{
			{"the idle timeout", func() { e.advance(t, 8*24*time.Hour) }},
			{"the absolute timeout", func() { e.advance(t, 31*24*time.Hour) }},
			{"the absolute timeout, by a slow clock in Redis", func() { e.clock.add(31 * 24 * time.Hour) }},
		} {
			st := root.fork("")
			st.must("login:alice set:memo:old")
			row.expire()
			before := len(e.events.of(redsession.EventExpired))
			a := st.must()
			if got := headers(a); got != want || a.body != "" {
				t.Errorf("%s: got session %q and headers %s, want none and those of a logout, %s", row.name, a.body, got, want)
			}
			if got := len(e.events.of(redsession.EventExpired)) - before; got != 1 {
				t.Errorf("%s: got %d events, want one", row.name, got)
			}
		}
	})
}

func TestARevocationThatTheIndexMissesIsMadeByTheStamp(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		for _, row := range []struct {
			name   string
			revoke func(m *redsession.Manager, st *stamps) (int, error)
			want   string
		}{
			{"RevokeUser alone", func(m *redsession.Manager, _ *stamps) (int, error) { return m.RevokeUser(t.Context(), "alice") }, "alice"},
			{"another stamp", func(_ *redsession.Manager, st *stamps) (int, error) { st.set("v2", nil); return 0, nil }, ""},
			{"RevokeAll", func(m *redsession.Manager, _ *stamps) (int, error) { return m.RevokeAll(t.Context()) }, ""},
		} {
			st := &stamps{stamp: "v1"}
			m := e.manager(t, st.configure)
			b := alive(t, m, nil)
			b.get("/login?user=alice")
			e.client.Del(t.Context(), e.index(t))
			_, err := row.revoke(m, st)
			if got := b.get("/who").body; got != row.want || err != nil {
				t.Errorf("%s: got the session of %q, %v, want %q", row.name, got, err, row.want)
			}
		}
	})
}

func TestAReplayMayEndTheWholeFamily(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		var m *redsession.Manager
		m = e.manager(t, func(c *redsession.Config) {
			c.OnEvent = func(ctx context.Context, ev redsession.Event) {
				if ev.Kind == redsession.EventReplayed {
					if err := m.Revoke(ctx, ev.ID); err != nil {
						t.Error(err)
					}
				}
			}
		})
		b := alive(t, m, nil)
		b.get("/login?user=alice")
		thief := b.with(b.cookie())
		b.play(e, "+3h", "/who", "/who", "+2m")
		thief.get("/who")
		if got := b.get("/who").body; got != "" {
			t.Errorf("got the successor of %q after a replay, want it ended", got)
		}
	})
}

// An index whose life is computed from a deadline that has just passed must not
// stay for ever.
func TestAnIndexEndsThoughTheDeadlinePassesDuringTheLogin(t *testing.T) {
	for _, late := range []time.Duration{0, time.Second, 2 * time.Second, time.Hour} {
		mortalRedis(t, func(t *testing.T, e *env) {
			held := &latch{}
			b := alive(t, e.hooked(t, held, func(c *redsession.Config) { c.AbsoluteTimeout = time.Second }), nil)
			if !held.between(1, func() { b.get("/login?user=alice") }, func() { e.clock.add(late) }) {
				t.Error("got no exchange with Redis at a login, want one to hold")
			}
		})
	}
}

func TestTenThousandDeadSessionsLeaveTheIndexAtTheFirstRead(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t)
		b := alive(t, m, nil)
		b.get("/login?user=alice")
		dead := make([]redis.Z, 10_000) // as Redis leaves them when their keys expire
		for i := range dead {
			dead[i] = redis.Z{Score: float64(i), Member: fmt.Sprintf("%032d", i)}
		}
		if err := e.client.ZAdd(t.Context(), e.index(t), dead...).Err(); err != nil {
			t.Fatal(err)
		}
		infos, err := m.Sessions(t.Context(), "alice")
		if n := e.client.ZCard(t.Context(), e.index(t)).Val(); len(infos) != 1 || n != 1 || err != nil {
			t.Errorf("got %d sessions and %d entries, %v, want the one that lives", len(infos), n, err)
		}
	})
}

func TestAHundredMegabytesAreRefusedOnWriteAndOnRead(t *testing.T) {
	const size = 100 << 20
	srv := redistest.Start(t)
	e := &env{url: srv.URL, client: srv.Client(), clock: newClock(), events: &eventLog{}}
	b := alive(t, e.manager(t, patient), handlers{"/large": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		lifeNote.Set(s, strings.Repeat("x", size))
	}})
	b.play(e, "/login?user=alice", "/set?v=kept")
	if a := b.get("/large"); a.StatusCode != http.StatusInternalServerError || b.state().Note != "kept" {
		t.Errorf("got %d for a value of %d bytes, want 500 and the one from before kept", a.StatusCode, size)
	}
	key := keyOf(t, b.cookie())
	head := e.dump(t)[key][:100]
	e.client.Set(t.Context(), key, head, time.Hour)
	if err := e.client.SetRange(t.Context(), key, size, "x").Err(); err != nil {
		t.Fatal(err)
	}
	a := b.get("/who")
	if refused := len(e.events.of(redsession.EventRefused)); a.StatusCode != http.StatusOK || a.body != "" || refused != 1 {
		t.Errorf("got %d, user %q and %d refusals for %d bytes that begin with %q, want 200, nobody and one", a.StatusCode, a.body, refused, size, head)
	}
}

func TestVisitorsWithoutACookieNeedNoRedis(t *testing.T) {
	const visits, most = 20_000, 5 * time.Millisecond
	e := newMini(t)
	m, p := e.behind(t)
	h := m.Handler(handlers{"/": showNumber}.mux())
	sent(p)
	for _, row := range []struct {
		name   string
		before func()
	}{
		{"Redis is there", func() {}},
		{"Redis swallows everything", func() { p.Blackhole(true) }},
	} {
		row.before()
		begun := time.Now()
		for range visits / 2 {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
			if w.Code != http.StatusOK || w.Header().Get("Set-Cookie") != "" {
				t.Fatalf("%s: got %d and Set-Cookie %q, want 200 and none", row.name, w.Code, w.Header().Get("Set-Cookie"))
			}
		}
		if each := time.Since(begun) / (visits / 2); each > most {
			t.Errorf("%s: a visit took %s, want under %s", row.name, each, most)
		}
	}
	if got := sent(p); got != " in 0" || len(e.keys(t)) != 0 {
		t.Errorf("got commands %.200q and keys %q from %d visits, want none", got, e.keys(t), visits)
	}
}

// An outage must not let requests wait for each other: 40 of them, one after another,
// would take 12 seconds.
func TestATarpitCostsEachRequestItsTimeoutAtMost(t *testing.T) {
	t.Parallel() // waits for timeouts

	// A load and a commit, on a slow machine.
	const timeout, most = 300 * time.Millisecond, 3 * time.Second
	for _, row := range []struct {
		name string
		trap func(p *redistest.Proxy)
	}{
		{"Redis swallows everything", func(p *redistest.Proxy) { p.Blackhole(true) }},
		{"Redis answers when the client has long gone", func(p *redistest.Proxy) { p.Delay(time.Hour) }},
	} {
		e := newMini(t)
		p := redistest.NewProxy(t, e.mini.Addr())
		behind := *e
		behind.url = p.URL
		// With a client whose own timeouts are ten times as long.
		m, _ := behind.counted(t, func(c *redsession.Config) { c.RedisTimeout = timeout })
		known, stranger := newStage(t, m), newStage(t, e.manager(t))
		known.must("login:alice")
		stranger.must("login:bob")
		row.trap(p)
		took := make([]time.Duration, 40)
		parallel(len(took), func(i int) {
			begun := time.Now()
			switch st := known.fork(stranger.cookie()); i % 4 {
			case 0:
				st.do()
			case 1:
				st.do("logout")
			case 2:
				st.fork("").do("login:carol")
			case 3:
				known.do("add:n")
			}
			took[i] = time.Since(begun)
		})
		if slowest := slices.Max(took); slowest > most {
			t.Errorf("%s: got an answer after %s, want each within %s", row.name, slowest, most)
		}
		p.Delay(0)
		p.Blackhole(false)
		inTheEnd(t, "an answer by itself", func() bool { return stranger.body(known) == "bob" })
	}
}

// body is what the server of other says to the cookie of st.
func (st *stage) body(other *stage) string { return other.fork(st.cookie()).do().body }

func TestEveryEventIsALineOfTheLog(t *testing.T) {
	e := newMini(t)
	m := e.manager(t)
	wholeLife(t, e, m, alive(t, m, guarded(m)))
	log := e.events.log()
	for _, ev := range e.events.list {
		level := "DEBUG"
		switch ev.Kind {
		case redsession.EventRefused, redsession.EventReplayed, redsession.EventFailed:
			level = "WARN"
		case redsession.EventLogin, redsession.EventPending, redsession.EventLogout, redsession.EventRevoked:
			level = "INFO"
		}
		want := fmt.Sprintf("level=%s msg=\"session %s\"", level, ev.Kind)
		for _, attr := range [][2]string{{"id", ev.ID}, {"user", ev.UserID}, {"reason", ev.Reason}, {"remote", ev.RemoteAddr}} {
			if strings.Contains(attr[1], " ") {
				attr[1] = `"` + attr[1] + `"`
			}
			if attr[1] != "" {
				want += " " + attr[0] + "=" + attr[1]
			}
		}
		var found bool
		if _, log, found = strings.Cut(log, want); !found {
			t.Errorf("got no line %q in the log, in its order", want)
		}
	}
}

func TestGuessingIsSeenBySource(t *testing.T) {
	e := newMini(t)
	m := e.manager(t, func(c *redsession.Config) { c.TrustedHops = 1 })
	good := issue(t, m, "/login")
	guesses := map[string]int{"198.51.100.7": 20, "2001:db8::1": 3, "203.0.113.9": 1}
	for source, n := range guesses {
		for i := range n {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("X-Forwarded-For", "10.6.6.6, "+source) // the first is what the guesser sent
			r.Header.Set("Cookie", fmt.Sprintf("session=%s%04d", good[:len(good)-4], i))
			m.Handler(accountHandlers.mux()).ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	seen := make(map[string]int)
	for _, ev := range e.events.of(redsession.EventRefused) {
		seen[ev.RemoteAddr]++
	}
	if total := m.Stats().Refused; !maps.Equal(seen, guesses) || total != 24 {
		t.Errorf("got refusals %v and a count of %d, want %v and 24", seen, total, guesses)
	}
}
