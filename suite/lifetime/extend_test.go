package lifetime_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestExtendBeginsTheAbsoluteTimeoutAnew(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(*redsession.Config)
		steps  []string
		left   time.Duration // afterwards
	}{
		{"of a login", nil, []string{"/login?user=alice", "+48h", "/who", "+1h", "/who", "/extend"}, 30 * day},
		{"of one with RememberFor, by what that said", nil, []string{"/remember?for=48h", "+24h", "/extend"}, 2 * day},
		{"of one whose RememberFor is longer than the rest", nil, []string{"/remember?for=1440h", "+24h", "/extend"}, 60 * day},
		{"of a visitor", nil, []string{"/set?v=1", "+2h", "/extend"}, 30 * day},
		{"of a login a moment ago", nil, []string{"/login?user=alice", "/extend"}, 30 * day},
		{"but not of half a login in the same request", nil, []string{"/set?v=1", "/extend-half"}, 10 * time.Minute},
		{"not past LimitTo", nil, []string{"/login?user=alice", "/limit?to=50h", "+48h", "/extend"}, 2 * time.Hour},
		{"not past a LimitTo that was later than its end", func(c *redsession.Config) { c.AbsoluteTimeout = 10 * time.Hour }, []string{"/login?user=alice", "/limit?to=15h", "+8h", "/extend"}, 7 * time.Hour},
		{"up to what AAL2 allows from the login", func(c *redsession.Config) {
			c.Assurance, c.AbsoluteTimeout, c.IdleTimeout, c.RotateEvery = redsession.AAL2, 10*time.Hour, time.Hour, -1
		}, append(append([]string{"/login?user=alice"}, hours(9)...), "/extend"), 10 * time.Hour},
		{"and no further than that", func(c *redsession.Config) {
			c.Assurance, c.AbsoluteTimeout, c.IdleTimeout, c.RotateEvery = redsession.AAL2, 18*time.Hour, time.Hour, -1
		}, append(append([]string{"/login?user=alice"}, hours(15)...), "/extend"), 9 * time.Hour},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
				m := e.Manager(t, func(c *redsession.Config) {
					c.Cookie.Persistent = true
					if row.change != nil {
						row.change(c)
					}
				})
				b := browse(t, m)
				b.Play(e, row.steps[:len(row.steps)-1]...)
				before := b.State()
				a := b.Play(e, row.steps[len(row.steps)-1])
				set := a.SetCookies()
				if a.StatusCode != http.StatusOK || len(set) != 1 {
					t.Fatalf("got %d %q and cookies %v, want 200 and one", a.StatusCode, a.Text, set)
				}
				if got := deadline(t, e, set[0].Value); !near(got, row.left) {
					t.Errorf("got %s left by the cookie, want %s", got, row.left)
				}
				if got := time.Duration(set[0].MaxAge) * time.Second; !near(got, row.left) {
					t.Errorf("got Max-Age %s, want %s", got, row.left)
				}
				after := b.State()
				if after.ID == before.ID || after.Pending == "" && !after.Auth.Equal(before.Auth) || !after.Created.Equal(before.Created) || after.Note != before.Note {
					t.Errorf("got %+v, want %+v under another id", after, before)
				}
			})
		})
	}
}

// hours are n hits, one an hour but for a minute.
func hours(n int) (steps []string) {
	for range n {
		steps = append(steps, "+1h", "/who")
		steps[len(steps)-2] = "+59m59s"
	}
	return append(steps, fmt.Sprintf("+%ds", n))
}

func TestExtendByParallelRequestsLeavesOneSession(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range ways(e) {
			const n = 10
			meet := meeting(n, func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
				s.Extend()
				if r.FormValue("v") != "0" {
					redsession.Key[int](r.FormValue("v")).Set(s, 1)
				}
			})
			servers := []*stage.Browser{browse(t, maker(t, stage.Patient), meet), browse(t, maker(t, stage.Patient), meet)}
			servers[0].Play(e, "/login?user=alice", "+40h", "/who", "/who")
			old := servers[0].Cookie()
			cookies := make(map[string]bool)
			for i, a := range stage.AtOnce(n, func(i int) stage.Answer { return servers[i%2].With(old).Get(fmt.Sprintf("/meet?v=%d", i/2)) }) {
				set := a.SetCookies()
				if a.StatusCode != http.StatusOK || len(set) != 1 {
					t.Errorf("%s, request %d: got %d %q and cookies %v, want 200 and one", way, i, a.StatusCode, a.Text, set)
					continue
				}
				sid, _ := stage.ParseCookie(t, set[0].Value)
				if got := deadline(t, e, set[0].Value); got != 30*day {
					t.Errorf("%s, request %d: got %s left, want 30 days", way, i, got)
				}
				cookies[string(sid)] = true
			}
			if living := e.Living(t); len(cookies) != 1 || living != 1 {
				t.Errorf("%s: got %d SIDs and %d sessions, want one of each", way, len(cookies), living)
			}
			if st := servers[1].With(old).State(); st.User != "alice" || st.Keys != 4 {
				t.Errorf("%s: got %+v, want alice and the 4 values", way, st)
			}
			e.Client.FlushAll(t.Context())
		}
	})
}

// ways are those in which a plan is carried out, where one server has all keys.
func ways(e *stage.Env) map[string]stage.Maker {
	if e.Dial != nil { // a flavour has its own
		return map[string]stage.Maker{"as it is": e.Manager}
	}
	return e.BothWays()
}

// TestExtendWithoutANewIDGivesTheBrowserItsEnd is what moves the end where the id stays.
func TestExtendWithoutANewIDGivesTheBrowserItsEnd(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		path  string
		setup func(b *stage.Browser, e *stage.Env) *stage.Browser // whose cookie is the one that asks
		now   bool                                                // the answer itself has the cookie
	}{
		{"a successor that was not seen yet", "/extend", func(b *stage.Browser, _ *stage.Env) *stage.Browser {
			late := b.With(b.Cookie())
			b.Get("/rotate") // its answer is lost
			return late
		}, true},
		{"a request that takes no new id", "/extend-keep", func(b *stage.Browser, _ *stage.Env) *stage.Browser { return b }, true},
		{"after the headers have left", "/extend-late", func(b *stage.Browser, _ *stage.Env) *stage.Browser { return b }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
				b := browse(t, e.Manager(t))
				b.Play(e, "/login?user=alice", "+100h", "/who", "/who", "+100h", "/who", "/who")
				before := b.State().ID
				b = row.setup(b, e)
				e.Advance(t, time.Hour)
				a := b.Get(row.path)
				if a.StatusCode != http.StatusOK || (len(a.SetCookies()) == 1) != row.now {
					t.Fatalf("got %d and cookies %v", a.StatusCode, a.SetCookies())
				}
				if !row.now {
					if a := b.Get("/who"); len(a.SetCookies()) != 1 {
						t.Errorf("the next request: got cookies %v, want one", a.SetCookies())
					}
				}
				if got := deadline(t, e, b.Cookie()); got != 30*day {
					t.Errorf("got %s left by the cookie, want 30 days", got)
				}
				if got := ttl(t, e, b.Cookie()); !near(got, 7*day) {
					t.Errorf("got %s left in Redis, want the idle timeout", got)
				}
				if row.path != "/extend" && b.State().ID != before {
					t.Error("got another id")
				}
				if a := b.Get("/who"); a.Text != "alice" || len(a.SetCookies()) != 0 {
					t.Errorf("got %q and cookies %v, want alice and none", a.Text, a.SetCookies())
				}
			})
		})
	}
}

func TestExtendWhoseAnswerIsLostLogsNobodyOut(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/extend", "/extend-keep", "/extend-late", "/extend-set?v=x"} {
		t.Run(path, func(t *testing.T) {
			stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
				b := browse(t, e.Manager(t, func(c *redsession.Config) { c.AbsoluteTimeout, c.IdleTimeout = 10*time.Hour, 4*time.Hour }))
				b.Play(e, "/login?user=alice", "+3h", "/who", "/who", "+3h", "/who", "/who", "+3h", "/who", "/who")
				b.With(b.Cookie()).Get(path) // its answer is lost
				e.Advance(t, 50*time.Minute)
				if a := b.Get("/who"); a.Text != "alice" || len(a.SetCookies()) != 1 {
					t.Fatalf("got %q and cookies %v ten minutes before the old end, want alice and a new one", a.Text, a.SetCookies())
				}
				if got := ttl(t, e, b.Cookie()); !near(got, 4*time.Hour) {
					t.Errorf("got %s left in Redis, want the idle timeout: the old cookie must not cut it short", got)
				}
				b.Play(e, "+3h", "/who", "/who", "+3h", "/who", "/who")
				if got := b.State().User; got != "alice" {
					t.Errorf("got %q past the old end, want alice", got)
				}
				if b.Play(e, "+3h10m"); b.State().User != "" {
					t.Error("got the session alive past the new end")
				}
			})
		})
	}
}

func TestExtendIsRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		before []string
		path   string
		status int
		want   string
	}{
		{"for a login whose second factor is missing", []string{"/half?user=alice"}, "/extend", 500, "second factor is missing"},
		{"in a passive request", []string{"/login?user=alice"}, "/poll/extend", 500, "Config.Passive"},
		{"for a session that has just ended", []string{"/login?user=alice"}, "/extend", 409, "Extend: session has ended"},
		{"not for a visitor without a session, where there is nothing to do", nil, "/extend", 200, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
				b := browse(t, e.Manager(t, passive))
				b.Play(e, row.before...)
				if row.status == http.StatusConflict {
					b.With(b.Cookie()).Get("/logout")
				}
				before := e.Dump(t)
				a := b.Get(row.path)
				if a.StatusCode != row.status || !strings.Contains(a.Text, row.want) {
					t.Errorf("got %d %q, want %d and %q", a.StatusCode, a.Text, row.status, row.want)
				}
				if after := e.Dump(t); len(after) != len(before) {
					t.Errorf("got %d values in Redis, want the %d of before", len(after), len(before))
				}
			})
		})
	}
}

func TestExtendOfWhatEndsMeanwhileIsGone(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		gate := make(stage.Gate)
		b := browse(t, e.Manager(t), stage.Handlers{"/held": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			s.Extend()
			gate.Pass()
		}})
		b.Play(e, "/login?user=alice", "+1h")
		cookie, done := b.Cookie(), make(chan stage.Answer)
		go func() { done <- b.With(cookie).Get("/held") }()
		leave := <-gate
		b.Get("/logout")
		close(leave)
		if a := <-done; a.StatusCode != http.StatusConflict || e.Living(t) != 0 {
			t.Errorf("got %d and %d sessions, want 409 and none", a.StatusCode, e.Living(t))
		}
	})
}

// TestExtendKeepsTheSessionInItsUsersList has whatever leads to an extended session live as long as that, in whichever
// way the end was moved, and also where the last part of the plan was lost.
func TestExtendKeepsTheSessionInItsUsersList(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/extend", "/extend-keep"} {
		t.Run(path, func(t *testing.T) {
			stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
				for way, maker := range ways(e) {
					m := maker(t, func(c *redsession.Config) { c.AbsoluteTimeout = 10 * time.Hour })
					b := browse(t, m)
					b.Play(e, "/login?user=alice", "+9h", "/who", "/who")
					old := stage.KeyOf(t, b.Cookie())
					b.Get(path)
					if got := e.Client.TTL(t.Context(), e.Index(t)).Val(); !near(got, 10*time.Hour) {
						t.Errorf("%s: got an index that lives for %s, want 10 hours", way, got)
					}
					if got := e.Client.TTL(t.Context(), old).Val(); !near(got, 10*time.Hour) {
						t.Errorf("%s: got %s left under the old id, want 10 hours", way, got)
					}
					e.Advance(t, 2*time.Hour)
					if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != 1 {
						t.Errorf("%s: got %d sessions (%v) past the old end, want 1", way, len(infos), err)
					}
					if n, err := m.RevokeUser(t.Context(), "alice"); err != nil || n != 1 || b.State().User != "" {
						t.Errorf("%s: got %d revoked, %v", way, n, err)
					}
					e.Client.FlushAll(t.Context())
				}
			})
		})
	}
}

// TestExtendLeadsOnFromTheOldID is a browser that got no answer for hours, shortly before the old end.
func TestExtendLeadsOnFromTheOldID(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		b := browse(t, e.Manager(t, func(c *redsession.Config) { c.AbsoluteTimeout, c.RotateEvery = 10*time.Hour, -1 }))
		b.Play(e, "/login?user=alice", "+1h", "/extend-keep") // the cookie says 11 hours
		late := b.With(b.Cookie())
		b.Play(e, "+8h", "/extend") // whose answer is lost
		e.Advance(t, 90*time.Minute)
		if got := late.Get("/who"); got.Text != "alice" || len(got.SetCookies()) != 1 {
			t.Errorf("got %q and cookies %v, want alice by the old id", got.Text, got.SetCookies())
		}
		if got := deadline(t, e, late.Cookie()); !near(got, 8*time.Hour+30*time.Minute) {
			t.Errorf("got %s left, want 8.5 hours", got)
		}
	})
}

// TestExtendLeadsOnFromTheOldIDWhateverItsCookieSays has two cookies of one id, as the answer with the later end was
// lost once: the older must not cut short the way that the newer takes.
func TestExtendLeadsOnFromTheOldIDWhateverItsCookieSays(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		b := browse(t, e.Manager(t, func(c *redsession.Config) { c.AbsoluteTimeout, c.RotateEvery = 10*time.Hour, -1 }))
		b.Get("/login?user=alice")
		older := b.With(b.Cookie())
		b.Play(e, "+1h", "/extend-keep")
		newer := b.With(b.Cookie())
		b.Get("/rotate") // its answer is lost
		e.Advance(t, 8*time.Hour+45*time.Minute)
		if got := older.With(older.Cookie()).Get("/who").Text; got != "alice" {
			t.Errorf("the older cookie: got %q, want alice", got)
		}
		if got := ttl(t, e, newer.Cookie()); !near(got, 75*time.Minute) {
			t.Errorf("got %s left under the old id, want 75 minutes", got)
		}
		e.Advance(t, 30*time.Minute)
		if got := newer.Get("/who").Text; got != "alice" {
			t.Errorf("the newer cookie: got %q, want alice", got)
		}
	})
}

func TestExtendCostsAsMuchAsARotation(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		m, p := e.Behind(t, passive)
		b := browse(t, m)
		b.Play(e, "/login?user=alice", "+1h", "/who")
		for _, row := range []struct{ name, path, want string }{
			{"an extension", "/extend", "GET EXPIRE EVALSHA in 2"},
			{"its first hit", "/who", "GET EXPIRE EVALSHA in 2"},
			{"its second hit", "/who", "GET EXPIRE in 1"},
			{"an extension that keeps the id", "/extend-keep", "GET EXPIRE EVALSHA in 2"},
			{"a limit", "/limit?to=100h", "GET EXPIRE EVALSHA in 2"},
			{"a later limit changes nothing", "/limit?to=101h", "GET EXPIRE in 1"},
			{"a passive hit", "/poll", "GET PTTL in 1"},
			{"a passive write", "/poll/set?v=1", "GET PTTL EVALSHA in 2"},
			{"how much time is left", "/poll/left", "GET PTTL in 1"},
		} {
			stage.Sent(p)
			b.Get(row.path)
			if got := stage.Sent(p); got != row.want {
				t.Errorf("%s: got %q, want %q", row.name, got, row.want)
			}
		}
	})
}
