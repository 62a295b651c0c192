package redsession_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/record"
	"github.com/redsession/redsession/internal/redistest"
)

// mortalRedis is eachRedis, and fails if a key is left that never ends.
func mortalRedis(t *testing.T, test func(t *testing.T, e *env)) {
	t.Helper()
	eachRedis(t, mortal(test))
}

// mortalPlain is plainRedis, and fails if a key is left that never ends.
func mortalPlain(t *testing.T, test func(t *testing.T, e *env)) {
	t.Helper()
	plainRedis(t, mortal(test))
}

func mortal(test func(t *testing.T, e *env)) func(t *testing.T, e *env) {
	return func(t *testing.T, e *env) {
		t.Cleanup(func() {
			for _, key := range e.keys(t) {
				if ttl := e.client.TTL(context.Background(), key).Val(); ttl == -1 {
					t.Errorf("%s has no TTL", key)
				}
			}
		})
		test(t, e)
	}
}

// ttl is how long key lives unless somebody touches it.
func (e *env) ttl(t *testing.T, key string) time.Duration {
	t.Helper()
	ttl, err := e.client.PTTL(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	return ttl
}

func TestIdleTimeoutStartsAgainAtEachHit(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		root := newStage(t, e.manager(t, func(c *redsession.Config) { c.IdleTimeout, c.AnonymousTimeout = 3*time.Hour, time.Hour }))
		for _, row := range []struct {
			name, ops, want string
			idle            time.Duration
		}{
			{"an anonymous session ends after AnonymousTimeout", "set:a:1", "a=1", time.Hour},
			{"a login ends after IdleTimeout", "login:alice", "alice", 3 * time.Hour},
			{"a remembered login lives as long as it is remembered", "remember:alice", "alice", 2 * time.Hour},
		} {
			st := root.fork("")
			key := "session:" + st.must(row.ops).Header.Get("X-Id")
			if ttl := e.ttl(t, key); ttl > row.idle || ttl < row.idle-time.Minute {
				t.Errorf("%s: got a TTL of %s, want %s", row.name, ttl, row.idle)
			}
			e.advance(t, row.idle-time.Minute)
			if got := st.do().body; got != row.want {
				t.Errorf("%s: got %q a minute before, want %q", row.name, got, row.want)
			}
			if ttl := e.ttl(t, key); !strings.HasPrefix(row.ops, "remember") && ttl < row.idle-time.Minute {
				t.Errorf("%s: a hit left a TTL of %s, want %s again", row.name, ttl, row.idle)
			}
			e.advance(t, row.idle+time.Second)
			if a := st.do(); a.body != "" || len(a.setCookies()) != 1 || a.setCookies()[0].MaxAge >= 0 {
				t.Errorf("%s: got %q and cookies %v afterwards, want nothing and the cookie expired", row.name, a.body, a.setCookies())
			}
		}
	})
}

func TestActivityNeverExtendsTheAbsoluteTimeout(t *testing.T) {
	const idle, absolute = 2 * time.Hour, 5*time.Hour + 30*time.Minute
	mortalRedis(t, func(t *testing.T, e *env) {
		root := newStage(t, e.manager(t, func(c *redsession.Config) {
			c.IdleTimeout, c.AnonymousTimeout, c.AbsoluteTimeout, c.RotateEvery = idle, idle, absolute, -1
		}))
		for _, ops := range []string{"", "set:a:2", "login:alice", "login:alice rotate"} {
			st := root.fork("")
			st.must("set:a:1")
			e.advance(t, time.Hour)
			deadline := e.clock.Now().Add(absolute) // of a login, which starts it again
			if !strings.HasPrefix(ops, "login") {
				deadline = deadline.Add(-time.Hour)
			}
			key := "session:" + st.must(ops).Header.Get("X-Id")
			for e.clock.Now().Before(deadline) {
				if a := st.must(strings.TrimPrefix(ops, "login:alice")); a.body == "" {
					t.Fatalf("%q: the session ended %s too early", ops, deadline.Sub(e.clock.Now()))
				} else if id := a.Header.Get("X-Id"); id != "" {
					key = "session:" + id
				}
				left := deadline.Sub(e.clock.Now())
				if ttl := e.ttl(t, key); ttl > left+time.Second || ttl > idle {
					t.Errorf("%q: got a TTL of %s, want at most %s", ops, ttl, min(idle, left))
				}
				e.advance(t, idle/2)
			}
			if a := st.do(); a.body != "" || len(a.setCookies()) != 1 || a.setCookies()[0].MaxAge >= 0 {
				t.Errorf("%q: got %q and cookies %v after the deadline, want nothing and the cookie expired", ops, a.body, a.setCookies())
			}
			if n := e.client.Exists(t.Context(), key).Val(); n != 0 {
				t.Errorf("%q: the record outlives its deadline", ops)
			}
		}
	})
}

func TestARecordPastItsDeadlineIsDeletedThoughRedisKeepsIt(t *testing.T) {
	ring, err := record.NewRing([][]byte{secret})
	if err != nil {
		t.Fatal(err)
	}
	mortalRedis(t, func(t *testing.T, e *env) {
		st := newStage(t, e.manager(t))
		key := "session:" + st.must("login:alice").Header.Get("X-Id")
		rec, _, err := record.Open(ring, key, e.dump(t)[key])
		if err != nil {
			t.Fatal(err)
		}
		rec.Deadline = e.clock.Now().Unix() // earlier than the cookie says
		raw, err := rec.Encode(ring, key, false)
		if err != nil {
			t.Fatal(err)
		}
		e.client.Set(t.Context(), key, raw, time.Hour)
		if a := st.do(); a.body != "" || len(a.setCookies()) != 1 || a.setCookies()[0].MaxAge >= 0 {
			t.Errorf("got %q and cookies %v, want nothing and the cookie expired", a.body, a.setCookies())
		}
		if n := e.client.Exists(t.Context(), key).Val(); n != 0 {
			t.Error("the record is still there")
		}
	})
}

func TestAHandlerThatOutlivesTheDeadlineStoresNothing(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		root := newStage(t, e.manager(t, func(c *redsession.Config) { c.AbsoluteTimeout = time.Hour }))
		for _, ops := range []string{"set:a:late", "add:n", "set:a:late save", "rotate", "flash:late"} {
			st := root.fork("")
			key := "session:" + st.must("login:alice set:a:1").Header.Get("X-Id")
			release := st.hold("hold " + ops)
			before, ttl := e.content(t, key), e.ttl(t, key)
			e.clock.add(time.Hour) // Redis's own clock is late
			if a := release(); a.StatusCode != http.StatusConflict || len(a.setCookies()) != 0 {
				t.Errorf("%q: got %d and cookies %v, want 409 and none", ops, a.StatusCode, a.setCookies())
			}
			if got := e.content(t, key); got != before || e.ttl(t, key) > ttl {
				t.Errorf("%q: the record was written anew: %s", ops, got)
			}
			if got := st.do().body; got != "" {
				t.Errorf("%q: got %q after the deadline, want an anonymous session", ops, got)
			}
		}
	})
}

func TestAHitIsServedThoughRedisRefusesToProlongIt(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		m, p := e.behind(t)
		st := newStage(t, m)
		st.must("login:alice")
		for _, refusal := range []string{
			"-READONLY You can't write against a read only replica.\r\n",
			"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
			"-NOPERM this user has no permissions to run the 'expire' command\r\n",
		} {
			before := m.Stats().ExpireFailed
			p.Reply(func(args []string) (string, bool) { return refusal, args[0] == "EXPIRE" })
			if a := st.must(); a.body != "alice" || len(a.setCookies()) != 0 {
				t.Errorf("%s: got %q and cookies %v, want alice and none", refusal, a.body, a.setCookies())
			}
			if got := m.Stats().ExpireFailed - before; got != 1 {
				t.Errorf("%s: counted %d times, want once", refusal, got)
			}
		}
	})
}

func TestAFailingLoadIsNeverAnEmptySession(t *testing.T) {
	mortalPlain(t, func(t *testing.T, e *env) {
		direct := newStage(t, e.manager(t))
		direct.must("login:alice set:memo:real")
		before := e.dump(t)
		whole := len(fmt.Sprintf("$%d\r\n%s\r\n", 123, slices.Collect(maps.Values(before))[0]))
		for _, fault := range []struct {
			name string
			set  func(p *redistest.Proxy)
		}{
			{"LOADING", func(p *redistest.Proxy) { p.Reply(toGET("-LOADING Redis is loading the dataset in memory\r\n")) }},
			{"an error", func(p *redistest.Proxy) { p.Reply(toGET("-ERR something is wrong\r\n")) }},
			{"no permission", func(p *redistest.Proxy) { p.Reply(toGET("-NOPERM this user has no permissions\r\n")) }},
			{"a connection cut before Redis hears of it", func(p *redistest.Proxy) { p.CutRequest(isGET) }},
			{"a connection cut before the reply", func(p *redistest.Proxy) { p.CutReply(isGET) }},
			{"half a reply", func(p *redistest.Proxy) {
				p.Truncate(func(args []string) (int, bool) { return 40, isGET(args) })
			}},
			{"a reply without its last byte", func(p *redistest.Proxy) {
				p.Truncate(func(args []string) (int, bool) { return whole - 1, isGET(args) })
			}},
			{"a refused connection", func(p *redistest.Proxy) { p.Refuse(true) }},
		} {
			for _, policy := range []redsession.OutagePolicy{redsession.ServeKnown, redsession.FailClosed} {
				m, p := e.behind(t, func(c *redsession.Config) { c.Outage = policy }) // which does not know the session
				fault.set(p)
				newStage(t, m).fork(direct.cookie()).unavailable(fault.name)
				if got := direct.must().body; got != "alice memo=real" {
					t.Errorf("%s, afterwards: got %q, want alice memo=real", fault.name, got)
				}
				if got := e.dump(t); !maps.Equal(got, before) {
					t.Errorf("%s: got %v in Redis, want %v", fault.name, got, before)
				}
			}
		}
	})
}

// unavailable expects that requests with a cookie are refused for a moment, and
// those without one are served.
func (st *stage) unavailable(fault string) {
	st.t.Helper()
	for _, ops := range []string{"set:memo:empty", "", "login:bob", "logout"} {
		a := st.do(ops)
		if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || len(a.setCookies()) != 0 {
			st.t.Errorf("%s, %q: got %d, Retry-After %q, cookies %v, want 503 with Retry-After and no cookie",
				fault, ops, a.StatusCode, a.Header.Get("Retry-After"), a.setCookies())
		}
	}
	if got := st.fork("").must().body; got != "" {
		st.t.Errorf("%s, without a cookie: got %q, want an anonymous session", fault, got)
	}
}

func isGET(args []string) bool { return args[0] == "GET" }

func toGET(reply string) func([]string) (string, bool) {
	return func(args []string) (string, bool) { return reply, isGET(args) }
}

func TestAMissingRecordExpiresTheCookieWithItsAttributes(t *testing.T) {
	e := newMini(t)
	for _, row := range []struct {
		name   string
		cookie redsession.Cookie
	}{
		{"the default", redsession.Cookie{}},
		{"plain HTTP", redsession.Cookie{InsecurePlainHTTP: true}},
		{"a domain", redsession.Cookie{Domain: "example.com"}},
		{"a path and a name", redsession.Cookie{Name: "sid", Path: "/app"}},
		{"another site's frame", redsession.Cookie{SameSite: http.SameSiteNoneMode, Partitioned: true}},
		{"persistent and strict", redsession.Cookie{Persistent: true, SameSite: http.SameSiteStrictMode}},
	} {
		h := e.manager(t, func(c *redsession.Config) { c.Cookie = row.cookie }).Handler(handlers{"/": make(gate).play}.mux())
		set := recorded(h, "/?ops=set:a:1", nil)
		if len(set) != 1 {
			t.Fatalf("%s: got cookies %v, want one", row.name, set)
		}
		e.client.FlushAll(t.Context())
		expired := recorded(h, "/", set[0])
		if len(expired) != 1 || expired[0].MaxAge >= 0 || !expired[0].Expires.Before(time.Now().Add(-time.Hour)) || expired[0].Value != "" {
			t.Fatalf("%s: got cookies %v, want one that has expired", row.name, expired)
		}
		a, b := *set[0], *expired[0]
		a.Value, a.MaxAge, a.Expires, a.RawExpires, a.Raw = "", b.MaxAge, b.Expires, b.RawExpires, b.Raw
		if got, want := fmt.Sprintf("%+v", b), fmt.Sprintf("%+v", a); got != want {
			t.Errorf("%s: got the attributes %s, want those that it was set with: %s", row.name, got, want)
		}
	}
}

// recorded returns the cookies that h sets in answer to path.
func recorded(h http.Handler, path string, c *http.Cookie) []*http.Cookie {
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)
	if c != nil {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	h.ServeHTTP(w, r)
	return w.Result().Cookies()
}

func TestOnlyAMissingRecordExpiresTheCookie(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		root := newStage(t, e.manager(t))
		for _, row := range []struct {
			name    string
			end     func(key string, st *stage)
			expired int
		}{
			{"a record that is gone", func(key string, _ *stage) { e.client.Del(t.Context(), key) }, 1},
			{"an idle timeout", func(string, *stage) { e.advance(t, 8*24*time.Hour) }, 1},
			{"a deadline", func(string, *stage) { e.clock.add(31 * 24 * time.Hour) }, 1},
			{"a tombstone past its end", func(_ string, st *stage) { st.must("logout"); e.clock.add(2 * time.Minute) }, 1},
			{"a logout", func(_ string, st *stage) { st.must("logout") }, 0},
			{"a login", func(_ string, st *stage) { st.must("login:alice") }, 0},
			{"a refused record", func(key string, _ *stage) { e.client.Set(t.Context(), key, "planted", time.Hour) }, 0},
		} {
			st := root.fork("")
			key := "session:" + st.must("login:alice").Header.Get("X-Id")
			old := st.cookie()
			row.end(key, st)
			if a := root.fork(old).must(); a.body != "" || len(a.setCookies()) != row.expired {
				t.Errorf("%s: got %q and cookies %v, want nothing and %d", row.name, a.body, a.setCookies(), row.expired)
			}
		}
		if a := root.fork("garbage").must(); len(a.setCookies()) != 0 {
			t.Errorf("a cookie that nobody signed: got cookies %v, want none", a.setCookies())
		}
	})
}

func TestAClientThatGoesAwayLosesNoWrite(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t)
		st := newStage(t, m)
		st.must("set:a:0")
		for _, row := range []struct{ name, cookie, ops, want string }{
			{"a first write", "", "set:a:1", "a=1"},
			{"a write", st.cookie(), "set:a:1", "a=1"},
			{"a Save", st.cookie(), "set:a:2 save", "a=2"},
			{"a login", "", "login:alice set:a:3", "alice a=3"},
			{"a login with a session", st.cookie(), "login:bob", "bob a=2"},
		} {
			ctx, goAway := context.WithCancel(t.Context())
			h := m.Handler(handlers{"/": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
				goAway()
				make(gate).play(w, r, s)
			}}.mux())
			r := httptest.NewRequest(http.MethodGet, "/?ops="+url.QueryEscape(row.ops), nil).WithContext(ctx)
			r.AddCookie(&http.Cookie{Name: "session", Value: row.cookie})
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			cookie := row.cookie
			for _, c := range w.Result().Cookies() {
				cookie = c.Value
			}
			if got := st.fork(cookie).do().body; w.Code != http.StatusOK || got != row.want {
				t.Errorf("%s: got %d, and then %q, want 200 and %q", row.name, w.Code, got, row.want)
			}
		}
	})
}

// telling is what a session says of itself.
type telling struct {
	ID, Token              string
	Created, Auth, Expires time.Time
}

func tell(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
	_ = json.NewEncoder(w).Encode(telling{s.ID(), s.Token(), s.CreatedAt(), s.AuthTime(), s.ExpiresAt()})
}

const never = -1

// hours is a session's life: one request an hour, and what it then tells, in
// hours since the beginning. The timeouts are 3, 6 and 10 hours.
var hours = []struct {
	ops                    string
	newID, newToken        bool
	created, auth, expires time.Duration
}{
	{"", false, false, 0, never, 3},
	{"set:a:1", true, true, 1, never, 4},
	{"only:a", false, false, 1, never, 5},
	{"set:a:2", false, true, 1, never, 6},
	{"login:alice", true, true, 1, 4, 10},
	{"only:a", false, false, 1, 4, 11},
	{"login:alice", true, true, 1, 6, 12},
	{"rotate", true, true, 1, 6, 13},
	{"set:a:3", false, true, 1, 6, 14},
	{"", false, false, 1, 6, 15},
	{"", false, false, 1, 6, 16},
	{"", false, false, 1, 6, 16},
	{"set:a:4", false, true, 1, 6, 16},
	{"login:bob", true, true, 13, 13, 19},
	{"remember:bob", true, true, 13, 14, 16},
	{"logout", true, true, 15, never, 18},
}

func TestWhatASessionTellsOfItself(t *testing.T) {
	mortalRedis(t, func(t *testing.T, e *env) {
		st := newStage(t, e.manager(t, func(c *redsession.Config) {
			c.AnonymousTimeout, c.IdleTimeout, c.AbsoluteTimeout, c.RotateEvery = 3*time.Hour, 6*time.Hour, 10*time.Hour, -1
		}), handlers{"/tell": tell})
		began := e.clock.Now()
		hour := func(n, unit time.Duration) time.Time { return began.Add(n * time.Hour).Truncate(unit) }
		var before telling
		for at, row := range hours {
			promised := st.must(row.ops).Header.Get("X-Id")
			st.must() // a rotated id is seen, which writes
			var now telling
			if err := json.Unmarshal([]byte(st.get("/tell").body), &now); err != nil {
				t.Fatal(err)
			}
			want := telling{now.ID, now.Token, hour(row.created, time.Second), time.Time{}, hour(row.expires, time.Second)}
			if row.auth != never {
				want.Auth = hour(row.auth, time.Microsecond)
			}
			if !now.Created.Equal(want.Created) || !now.Auth.Equal(want.Auth) || !now.Expires.Equal(want.Expires) {
				t.Errorf("hour %d, %q: got %+v, want %+v", at, row.ops, now, want)
			}
			if gotID, gotToken := now.ID != before.ID, now.Token != before.Token; gotID != row.newID || gotToken != row.newToken {
				t.Errorf("hour %d, %q: got another id %t and token %t, want %t and %t", at, row.ops, gotID, gotToken, row.newID, row.newToken)
			}
			if raw := e.dump(t)["session:"+now.ID]; !strings.HasSuffix(raw, now.Token+`"}`) && now.ID != "" {
				t.Errorf("hour %d, %q: got the token %s, want that of the record: %s", at, row.ops, now.Token, raw)
			}
			if promised != "" && promised != now.ID && row.ops != "rotate" { // only its commit draws that
				t.Errorf("hour %d, %q: ID was %s before the commit, want %s", at, row.ops, promised, now.ID)
			}
			before = now
			e.advance(t, time.Hour)
		}
	})
}

// A client that the caller passes may carry hooks, for traces and metrics.
func TestTheCallersHooksSeeEveryCommand(t *testing.T) {
	e := newMini(t)
	m, count := e.counted(t)
	st := newStage(t, m)
	st.must("set:a:1")
	st.must("only:a")
	if got, want := count.take(), "SETEX GET EXPIRE in 2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
