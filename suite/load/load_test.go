package load_test

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
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

func TestLoadIsServedThoughRedisRefusesToProlongIt(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m, p := e.Behind(t)
		st := stage.NewScripted(t, m)
		st.Must("login:alice")
		for _, refusal := range []string{
			"-READONLY You can't write against a read only replica.\r\n",
			"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
			"-NOPERM this user has no permissions to run the 'expire' command\r\n",
		} {
			before := m.Stats().ExpireFailed
			p.Reply(func(args []string) (string, bool) { return refusal, args[0] == "EXPIRE" })
			if a := st.Must(); a.Text != "alice" || len(a.SetCookies()) != 0 {
				t.Errorf("%s: got %q and cookies %v, want alice and none", refusal, a.Text, a.SetCookies())
			}
			if got := m.Stats().ExpireFailed - before; got != 1 {
				t.Errorf("%s: counted %d times, want once", refusal, got)
			}
		}
	})
}

// TestLoadThatFindsAReplicaBehindTheSameAddressIsToldOnce has a connection that still leads
// to a server which is a replica by now: a new one finds the primary, and prolongs the session.
func TestLoadThatFindsAReplicaBehindTheSameAddressIsToldOnce(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m, p := e.Behind(t)
		st := stage.NewScripted(t, m)
		st.Must("login:alice")
		before := len(e.Events.Of(redsession.EventFailed))
		for _, refusal := range []string{"-READONLY You can't write against a read only replica.\r\n", "-ERR READONLY You can't write against a read only replica.\r\n"} {
			var seen atomic.Int64
			p.Reply(func(args []string) (string, bool) { return refusal, args[0] == "EXPIRE" && seen.Add(1) == 1 })
			e.Advance(t, time.Hour)
			st.Must()
			if seen.Load() != 2 {
				t.Errorf("%s: got %d tries to prolong, want 2", refusal, seen.Load())
			}
		}
		told := e.Events.Of(redsession.EventFailed)[before:]
		if len(told) != 2 || !strings.Contains(told[0].Reason, "READONLY") || m.Stats().ExpireFailed != 0 {
			t.Errorf("got %v told in two hours and %d hits that were not prolonged, want one for each hour and none", told, m.Stats().ExpireFailed)
		}
	})
}

func TestLoadThatFailsIsNeverAnEmptySession(t *testing.T) {
	t.Parallel()
	stage.PlainRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		direct := stage.NewScripted(t, e.Manager(t))
		direct.Must("login:alice set:memo:real")
		before := e.Dump(t)
		whole := len(fmt.Sprintf("$%d\r\n%s\r\n", 123, slices.Collect(maps.Values(before))[0]))
		for _, fault := range []struct {
			name string
			set  func(p *redistest.Proxy)
		}{
			{"LOADING", func(p *redistest.Proxy) {
				p.Reply(stage.ReplyToGET("-LOADING Redis is loading the dataset in memory\r\n"))
			}},
			{"an error", func(p *redistest.Proxy) { p.Reply(stage.ReplyToGET("-ERR something is wrong\r\n")) }},
			{"no permission", func(p *redistest.Proxy) { p.Reply(stage.ReplyToGET("-NOPERM this user has no permissions\r\n")) }},
			{"a connection cut before Redis hears of it", func(p *redistest.Proxy) { p.CutRequest(stage.IsGET) }},
			{"a connection cut before the reply", func(p *redistest.Proxy) { p.CutReply(stage.IsGET) }},
			{"half a reply", func(p *redistest.Proxy) {
				p.Truncate(func(args []string) (int, bool) { return 40, stage.IsGET(args) })
			}},
			{"a reply without its last byte", func(p *redistest.Proxy) {
				p.Truncate(func(args []string) (int, bool) { return whole - 1, stage.IsGET(args) })
			}},
			{"a refused connection", func(p *redistest.Proxy) { p.Refuse(true) }},
		} {
			t.Run(fault.name, func(t *testing.T) {
				for _, policy := range []redsession.OutagePolicy{redsession.ServeKnown, redsession.FailClosed} {
					m, p := e.Behind(t, func(c *redsession.Config) { c.Outage = policy }) // which does not know the session
					fault.set(p)
					unavailable(stage.NewScripted(t, m).Fork(direct.Cookie()), fault.name)
					if got := direct.Must().Text; got != "alice memo=real" {
						t.Errorf("afterwards: got %q, want alice memo=real", got)
					}
					if got := e.Dump(t); !maps.Equal(got, before) {
						t.Errorf("got %v in Redis, want %v", got, before)
					}
				}
			})
		}
	})
}

// unavailable expects that requests with a cookie are refused for a moment, and
// those without one are served.
func unavailable(st *stage.Scripted, fault string) {
	st.T.Helper()
	for _, ops := range []string{"set:memo:empty", "", "login:bob", "logout"} {
		a := st.Do(ops)
		if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || len(a.SetCookies()) != 0 {
			st.T.Errorf("%s, %q: got %d, Retry-After %q, cookies %v, want 503 with Retry-After and no cookie",
				fault, ops, a.StatusCode, a.Header.Get("Retry-After"), a.SetCookies())
		}
	}
	if got := st.Fork("").Must().Text; got != "" {
		st.T.Errorf("%s, without a cookie: got %q, want an anonymous session", fault, got)
	}
}

func TestLoadOfAMissingRecordExpiresTheCookieWithItsAttributes(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
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
		t.Run(row.name, func(t *testing.T) {
			h := e.Manager(t, func(c *redsession.Config) { c.Cookie = row.cookie }).Handler(stage.Handlers{"/": make(stage.Gate).Play}.Mux())
			set := recorded(h, "/?ops=set:a:1", nil)
			if len(set) != 1 {
				t.Fatalf("got cookies %v, want one", set)
			}
			e.Client.FlushAll(t.Context())
			expired := recorded(h, "/", set[0])
			if len(expired) != 1 || expired[0].MaxAge >= 0 || !expired[0].Expires.Before(time.Now().Add(-time.Hour)) || expired[0].Value != "" {
				t.Fatalf("got cookies %v, want one that has expired", expired)
			}
			a, b := *set[0], *expired[0]
			a.Value, a.MaxAge, a.Expires, a.RawExpires, a.Raw = "", b.MaxAge, b.Expires, b.RawExpires, b.Raw
			if got, want := fmt.Sprintf("%+v", b), fmt.Sprintf("%+v", a); got != want {
				t.Errorf("got the attributes %s, want those that it was set with: %s", got, want)
			}
		})
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

func TestLoadOfNothingButAMissingRecordExpiresTheCookie(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		root := stage.NewScripted(t, e.Manager(t))
		for _, row := range []struct {
			name    string
			end     func(key string, st *stage.Scripted)
			expired int
		}{
			{"a record that is gone", func(key string, _ *stage.Scripted) { e.Client.Del(t.Context(), key) }, 1},
			{"an idle timeout", func(string, *stage.Scripted) { e.Advance(t, 8*24*time.Hour) }, 1},
			{"a deadline", func(string, *stage.Scripted) { e.Clock.Add(31 * 24 * time.Hour) }, 1},
			{"a tombstone past its end", func(_ string, st *stage.Scripted) { st.Must("logout"); e.Clock.Add(2 * time.Minute) }, 1},
			{"a logout", func(_ string, st *stage.Scripted) { st.Must("logout") }, 0},
			{"a login", func(_ string, st *stage.Scripted) { st.Must("login:alice") }, 0},
			{"a refused record", func(key string, _ *stage.Scripted) { e.Client.Set(t.Context(), key, "planted", time.Hour) }, 0},
		} {
			t.Run(row.name, func(t *testing.T) {
				st := root.Fork("")
				key := "session:" + st.Must("login:alice").Header.Get("X-Id")
				old := st.Cookie()
				row.end(key, st)
				if a := root.Fork(old).Must(); a.Text != "" || len(a.SetCookies()) != row.expired {
					t.Errorf("got %q and cookies %v, want nothing and %d", a.Text, a.SetCookies(), row.expired)
				}
			})
		}
		if a := root.Fork("garbage").Must(); len(a.SetCookies()) != 0 {
			t.Errorf("a cookie that nobody signed: got cookies %v, want none", a.SetCookies())
		}
	})
}

func TestWritesOfAClientThatGoesAwayAreKept(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		st := stage.NewScripted(t, m)
		st.Must("set:a:0")
		for _, row := range []struct{ name, cookie, ops, want string }{
			{"a first write", "", "set:a:1", "a=1"},
			{"a write", st.Cookie(), "set:a:1", "a=1"},
			{"a Save", st.Cookie(), "set:a:2 save", "a=2"},
			{"a login", "", "login:alice set:a:3", "alice a=3"},
			{"a login with a session", st.Cookie(), "login:bob", "bob a=2"},
		} {
			t.Run(row.name, func(t *testing.T) {
				ctx, goAway := context.WithCancel(t.Context())
				h := m.Handler(stage.Handlers{"/": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
					goAway()
					make(stage.Gate).Play(w, r, s)
				}}.Mux())
				r := httptest.NewRequest(http.MethodGet, "/?ops="+url.QueryEscape(row.ops), nil).WithContext(ctx)
				r.AddCookie(&http.Cookie{Name: "session", Value: row.cookie})
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				cookie := row.cookie
				for _, c := range w.Result().Cookies() {
					cookie = c.Value
				}
				if got := st.Fork(cookie).Do().Text; w.Code != http.StatusOK || got != row.want {
					t.Errorf("got %d, and then %q, want 200 and %q", w.Code, got, row.want)
				}
			})
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

func TestLoadTellsOfTheSession(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		st := stage.NewScripted(t, e.Manager(t, func(c *redsession.Config) {
			c.AnonymousTimeout, c.IdleTimeout, c.AbsoluteTimeout, c.RotateEvery = 3*time.Hour, 6*time.Hour, 10*time.Hour, -1
		}), stage.Handlers{"/tell": tell})
		began := e.Clock.Now()
		hour := func(n, unit time.Duration) time.Time { return began.Add(n * time.Hour).Truncate(unit) }
		var before telling
		for at, row := range hours {
			promised := st.Must(row.ops).Header.Get("X-Id")
			st.Must() // a rotated id is seen, which writes
			var now telling
			if err := json.Unmarshal([]byte(st.Get("/tell").Text), &now); err != nil {
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
			if raw := e.Dump(t)["session:"+now.ID]; !strings.HasSuffix(raw, now.Token+`"}`) && now.ID != "" {
				t.Errorf("hour %d, %q: got the token %s, want that of the record: %s", at, row.ops, now.Token, raw)
			}
			if promised != "" && promised != now.ID && row.ops != "rotate" { // only its commit draws that
				t.Errorf("hour %d, %q: ID was %s before the commit, want %s", at, row.ops, promised, now.ID)
			}
			before = now
			e.Advance(t, time.Hour)
		}
	})
}

// A client that the caller passes may carry hooks, for traces and metrics.
func TestLoadShowsTheCallersHooksEveryCommand(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m, count := e.Counted(t)
	st := stage.NewScripted(t, m)
	st.Must("set:a:1")
	st.Must("only:a")
	if got, want := count.Take(), "EVALSHA GET EXPIRE in 2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
