package lifetime_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// TestExtendWithALostReply loses the answer of each command of an extension in turn: it is made, or refused, and one
// session is left whose end the browser knows after its next request.
func TestExtendWithALostReply(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range e.BothWays() {
			for _, path := range []string{"/extend", "/extend-keep", "/limit?to=5h"} {
				for lost := int64(1); ; lost++ {
					m, p := e.BehindBy(t, maker, func(c *redsession.Config) { c.AbsoluteTimeout = 20 * time.Hour })
					b := browse(t, m)
					b.Play(e, "/login?user=alice", "+10h", "/who", "/who")
					var hits atomic.Int64
					p.CutReply(func(args []string) bool { return stage.IsScript(args) && hits.Add(1) == lost })
					a := b.Get(path)
					p.CutReply(nil)
					name := fmt.Sprintf("%s, %s, answer %d", way, path, lost)
					if a.StatusCode != http.StatusOK && a.StatusCode != http.StatusServiceUnavailable {
						t.Errorf("%s: got %d %q", name, a.StatusCode, a.Text)
					}
					if st := b.State(); st.User != "alice" {
						t.Errorf("%s: got %+v afterwards, want alice", name, st)
					}
					b.Get("/who")
					ends := deadline(t, e, b.Cookie())
					moved := map[string]time.Duration{"/limit?to=5h": 5 * time.Hour}[path]
					if moved == 0 {
						moved = 20 * time.Hour
					}
					if ends != moved && (a.StatusCode == http.StatusOK || ends != 10*time.Hour) {
						t.Errorf("%s: got %d and %s left, want %s", name, a.StatusCode, ends, moved)
					}
					stage.Until(t, "one session, whose end the cookie tells", func() bool { return e.Living(t) == 1 })
					e.Client.FlushAll(t.Context())
					if hits.Load() < lost {
						break
					}
				}
			}
		}
	})
}

func TestExtendInAnOutageIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t, passive)
	b := browse(t, o.M)
	b.Play(o.Env, "/login?user=alice", "+10h", "/who", "/who")
	o.Down(t)
	for _, path := range []string{"/extend", "/extend-keep", "/limit?to=5h"} {
		if a := b.Get(path); a.StatusCode != http.StatusServiceUnavailable || len(a.SetCookies()) != 0 {
			t.Errorf("%s: got %d and cookies %v, want 503 and none", path, a.StatusCode, a.SetCookies())
		}
	}
	o.Proxy.Refuse(false)
	stage.Until(t, "the end of the outage", func() bool { return len(o.Events.Of(redsession.EventOutageEnded)) == 1 })
	if got := deadline(t, o.Env, b.Cookie()); b.State().User != "alice" || got != 30*day-10*time.Hour {
		t.Errorf("got %s left afterwards, want what there was", got)
	}
	if a := b.Get("/extend"); a.StatusCode != http.StatusOK || deadline(t, o.Env, b.Cookie()) != 30*day {
		t.Errorf("got %d %q once Redis is back, want 30 days", a.StatusCode, a.Text)
	}
}

func TestExtendThatWaitsOutAnOutageIsMade(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t, func(c *redsession.Config) { c.OutageWait = time.Minute })
	b := browse(t, o.M)
	b.Play(o.Env, "/login?user=alice", "+10h", "/who", "/who")
	o.Down(t)
	done := make(chan stage.Answer)
	go func() { done <- b.Get("/extend") }()
	o.Proxy.Refuse(false)
	if a := <-done; a.StatusCode != http.StatusOK {
		t.Errorf("got %d %q, want 200", a.StatusCode, a.Text)
	}
	if b.Get("/who"); deadline(t, o.Env, b.Cookie()) != 30*day {
		t.Errorf("got %s left, want 30 days", deadline(t, o.Env, b.Cookie()))
	}
	stage.Until(t, "one session: what a try may have left is taken away in the background", func() bool { return o.Living(t) == 1 })
}

// TestLimitToDuringALoginIsKept is a limit that another request sets while its user logs in again, or passes the second
// factor.
func TestLimitToDuringALoginIsKept(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]struct {
		before string
		do     func(*redsession.Session)
	}{
		"a login as the same user": {"/login?user=alice", func(s *redsession.Session) { s.Login("alice") }},
		"the second factor":        {"/half?user=alice", func(s *redsession.Session) { s.Promote() }},
		"a rotation":               {"/login?user=alice", (*redsession.Session).Rotate},
		"an extension":             {"/login?user=alice", (*redsession.Session).Extend},
	} {
		t.Run(name, func(t *testing.T) {
			stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
				gate := make(stage.Gate)
				b := browse(t, e.Manager(t), stage.Handlers{"/held": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
					then.do(s)
					gate.Pass()
				}})
				b.Get(then.before)
				done := make(chan stage.Answer)
				other := b.With(b.Cookie())
				go func() { done <- b.Get("/held") }()
				leave := <-gate
				other.Get("/limit?to=5m")
				close(leave)
				if a := <-done; a.StatusCode != http.StatusOK || deadline(t, e, b.Cookie()) != 5*time.Minute {
					t.Errorf("got %d and %s left, want the limit", a.StatusCode, deadline(t, e, b.Cookie()))
				}
			})
		})
	}
}

// TestExtendAndATimedRotationAtOnce is what loses the race for the new id: it moves the end of what the other has made.
func TestExtendAndATimedRotationAtOnce(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range ways(e) {
			gate := make(stage.Gate)
			b := browse(t, maker(t), stage.Handlers{"/held": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				s.Extend()
				gate.Pass()
			}})
			b.Play(e, "/login?user=alice", "+3h")
			old, done := b.With(b.Cookie()), make(chan stage.Answer)
			go func() { done <- b.Get("/held") }()
			leave := <-gate
			old.Get("/who")
			close(leave)
			a := <-done
			if a.StatusCode != http.StatusOK || b.Cookie() == "" || deadline(t, e, b.Cookie()) != 30*day || e.Living(t) != 1 {
				t.Errorf("%s: got %d, %s left and %d sessions, want the extension on the one session", way, a.StatusCode, deadline(t, e, b.Cookie()), e.Living(t))
			}
			if string(stage.SIDOf(t, b.Cookie())) != string(stage.SIDOf(t, old.Cookie())) {
				t.Errorf("%s: got two ids", way)
			}
			e.Client.FlushAll(t.Context())
		}
	})
}
