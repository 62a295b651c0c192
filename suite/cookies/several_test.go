package cookies_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/keyspace"
	"github.com/redsession/redsession/internal/stage"
)

// TestCookiesOfSeveralSessions sends the cookies of several live sessions, as a browser does after a change of
// Domain or Path, or when a sibling domain has planted one.
func TestCookiesOfSeveralSessions(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		a := newAsker(t, e)
		for _, row := range []struct {
			name     string
			sessions []string // how they began, the oldest first
			want     string
			refused  int // events
		}{
			{"of one user's the latest login wins", []string{"login:alice set:a:1", "login:alice set:b:1"}, "alice b=1", 0},
			{"a login wins over a newer anonymous one", []string{"login:alice", "set:a:1"}, "alice", 0},
			{"a login wins over an older anonymous one", []string{"set:a:1", "login:alice"}, "alice", 0},
			{"a login wins over a later half of one", []string{"login:alice set:a:1", "half:alice"}, "alice a=1", 0},
			{"a login wins over an earlier half of one", []string{"half:alice", "login:alice set:a:1"}, "alice a=1", 0},
			{"of two halves the later wins", []string{"half:alice set:a:1", "half:alice set:b:1"}, "b=1", 0},
			{"half a login wins over an anonymous one", []string{"half:alice set:a:1", "set:b:1"}, "a=1", 0},
			{"half a login of another user makes them nobody's", []string{"login:alice", "half:mallory set:a:1"}, "", 1},
			{"those of two users are nobody's", []string{"login:alice set:a:1", "login:mallory set:b:1"}, "", 1},
			{"those of two users and of a third", []string{"login:alice", "login:mallory", "login:bob"}, "", 1},
			{"beside those of two users the anonymous one is left", []string{"login:alice", "set:c:1", "login:mallory"}, "c=1", 1},
		} {
			t.Run(row.name, func(t *testing.T) {
				cookies := a.begin(t, row.sessions)
				for range 2 {
					slices.Reverse(cookies)
					before := len(e.Events.Of(redsession.EventRefused))
					a := a.ask("", cookies...)
					if a.Text != row.want || len(a.SetCookies()) != 0 {
						t.Errorf("got %q and %v, want %q and no cookie", a.Text, a.SetCookies(), row.want)
					}
					if n := len(e.Events.Of(redsession.EventRefused)) - before; n != row.refused {
						t.Errorf("got %d events of refused cookies, want %d", n, row.refused)
					}
				}
			})
		}
	})
}

// TestCookiesOfSeveralSessionsAllEnd: what a sibling domain planted must not keep its victim out.
func TestCookiesOfSeveralSessionsAllEnd(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		a := newAsker(t, e)
		for _, sessions := range [][]string{
			{"login:alice", "login:alice"},
			{"login:alice", "half:alice"},
			{"half:mallory", "login:alice"},
			{"login:alice", "login:mallory"},
			{"login:mallory", "set:a:1", "login:alice"},
			{"set:a:1", "set:b:1"},
		} {
			for _, ops := range []string{"logout", "login:alice", "login:carol"} {
				t.Run(strings.Join(sessions, ", ")+", and a "+ops, func(t *testing.T) {
					cookies := a.begin(t, sessions)
					end := a.ask(ops, cookies...)
					if end.StatusCode != http.StatusOK || len(end.SetCookies()) != 1 {
						t.Fatalf("got %d and cookies %v, want 200 and one", end.StatusCode, end.SetCookies())
					}
					for i, c := range cookies {
						if got := a.ask("", c).Text; got != "" {
							t.Errorf("cookie %d reads %q, want an empty session", i, got)
						}
					}
					user := strings.TrimPrefix(ops, "login:")
					if ops == "logout" {
						return
					}
					if got := a.ask("", append(cookies, end.SetCookies()[0].Value)...).Text; !strings.HasPrefix(got, user) {
						t.Errorf("with the new cookie among the old: got %q, want %s", got, user)
					}
				})
			}
		}
	})
}

// TestCookiesOfSeveralSessionsInAnOutage: of two sessions, this server knows one alone, and nobody can tell whose the
// other is.
func TestCookiesOfSeveralSessionsInAnOutage(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t)
	a := asker{o.M.Handler(stage.Handlers{"/": make(stage.Gate).Play}.Mux()), o.Env}
	known := a.begin(t, []string{"login:alice", "login:alice", "login:mallory"})
	o.Other.Must("login:bob")
	o.Down(t)
	for _, row := range []struct {
		name    string
		cookies []string
		want    string
	}{
		{"one that is known", known[:1], "200 alice"},
		{"two of one user's", known[:2], "200 alice"},
		{"two users'", known[1:], "503 retry"},
		{"one that is known and one that is not", []string{known[0], o.Other.Cookie()}, "503 retry"},
		{"one that is not known and one that is", []string{o.Other.Cookie(), known[0]}, "503 retry"},
	} {
		if got := stage.Outcome(a.ask("", row.cookies...)); got != row.want {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
	o.Up(t)
}

// asker sends requests with any cookies, whose handler does what ops say.
type asker struct {
	http.Handler
	*stage.Env
}

func newAsker(t *testing.T, e *stage.Env) asker {
	t.Helper()
	return askerOf(e.Manager(t), e)
}

func askerOf(m *redsession.Manager, e *stage.Env) asker {
	return asker{m.Handler(stage.Handlers{"/": make(stage.Gate).Play}.Mux()), e}
}

func (a asker) ask(ops string, cookies ...string) stage.Answer {
	r := httptest.NewRequest(http.MethodGet, "/?ops="+url.QueryEscape(ops), nil)
	for _, c := range cookies {
		r.AddCookie(&http.Cookie{Name: "session", Value: c})
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return stage.Answer{Response: w.Result(), Text: w.Body.String()}
}

// begin returns the cookies of new sessions, each begun by such ops a second after the one before.
func (a asker) begin(t *testing.T, sessions []string) (cookies []string) {
	t.Helper()
	for _, ops := range sessions {
		a.Advance(t, time.Second)
		cookies = append(cookies, a.ask(ops).SetCookies()[0].Value)
	}
	return cookies
}

// TestCookiesOfSeveralSessionsTellOnceWhatTheyEnd: a look-up that has to be made again, as Redis was away for a moment,
// neither forgets nor repeats that the stamp has ended a session.
func TestCookiesOfSeveralSessionsTellOnceWhatTheyEnd(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		stamps := stage.NewStamps("before")
		here := func(c *redsession.Config) { c.OutageWait = 10 * time.Second }
		m, p := e.Behind(t, stamps.Configure, here)
		a := askerOf(m, e)
		ended := func() string { stamps.Set("before", nil); return a.begin(t, []string{"login:alice"})[0] }
		rotated := func(cookie string) (successor string) { return a.ask("rotate", cookie).SetCookies()[0].Value }
		for _, row := range []struct {
			name    string
			cookies func() (cookies []string, successor string)
			want    string
		}{
			{"the one that ends comes first", func() ([]string, string) {
				other := a.begin(t, []string{"login:bob"})[0]
				successor := rotated(other)
				return []string{ended(), other}, successor
			}, "bob"},
			{"the one that ends comes last", func() ([]string, string) {
				other := a.begin(t, []string{"login:bob"})[0]
				successor := rotated(other)
				return []string{other, ended()}, successor
			}, "bob"},
			{"it comes twice, by its rotated id as well", func() ([]string, string) {
				old := ended()
				successor := rotated(old)
				return []string{old, successor}, successor
			}, ""},
		} {
			t.Run(row.name, func(t *testing.T) {
				stamps.Set("after", nil)
				cookies, successor := row.cookies()
				stamps.Set("after", nil)
				sid, _ := stage.ParseCookie(t, successor)
				key := "session:" + keyspace.HashID(sid)
				before := len(e.Events.Of(redsession.EventRevoked))
				var cut atomic.Int64
				p.CutReply(stage.AtMost(2, &cut, func(args []string) bool { return stage.IsGET(args) && args[1] == key }))
				if got := a.ask("", cookies...); got.StatusCode != http.StatusOK || got.Text != row.want || cut.Load() < 2 {
					t.Errorf("got %d %q after %d cuts, want 200 %q", got.StatusCode, got.Text, cut.Load(), row.want)
				}
				p.CutReply(nil)
				if n := len(e.Events.Of(redsession.EventRevoked)) - before; n != 1 {
					t.Errorf("got %d events of a session that was revoked, want 1", n)
				}
			})
		}
	})
}

// TestCookiesOfOneSessionAreNoReplay is a browser that has kept a cookie of long ago beside the one that follows each
// rotation, as after a change of Domain.
func TestCookiesOfOneSessionAreNoReplay(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range e.BothWays() {
			for _, stale := range []int{0, 1, 3} { // rotations before the one that is kept
				for _, first := range []bool{true, false} {
					t.Run(fmt.Sprintf("kept after %d rotations, sent first %v, %s", stale, first, way), func(t *testing.T) {
						e.Client.FlushAll(t.Context())
						a := askerOf(maker(t), e)
						now := a.begin(t, []string{"login:alice"})[0]
						kept, rotations := now, 0
						before := len(e.Events.Of(redsession.EventReplayed))
						for range 20 {
							e.Advance(t, time.Hour)
							cookies := []string{kept, now}
							if !first {
								slices.Reverse(cookies)
							}
							got := a.ask("", cookies...)
							if got.Text != "alice" {
								t.Fatalf("got %q, want alice", got.Text)
							}
							for _, c := range got.SetCookies() {
								now = c.Value
								if rotations++; rotations <= stale {
									kept = now
								}
							}
						}
						if n := len(e.Events.Of(redsession.EventReplayed)) - before; n != 0 || rotations < 5 {
							t.Errorf("got %d events of a replay after %d rotations, want none", n, rotations)
						}
						if got := a.ask("", kept).Text; got != "" || len(e.Events.Of(redsession.EventReplayed)) != before+1 {
							t.Errorf("got %q for the old one alone, and %d events, want nobody and one", got, len(e.Events.Of(redsession.EventReplayed))-before)
						}
						other := a.begin(t, []string{"login:alice"})[0]
						if got := a.ask("", kept, other).Text; got != "alice" || len(e.Events.Of(redsession.EventReplayed)) != before+2 {
							t.Errorf("got %q beside another session, and %d events, want alice and another event", got, len(e.Events.Of(redsession.EventReplayed))-before)
						}
					})
				}
			}
		}
	})
}
