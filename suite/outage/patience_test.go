package outage_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// One browser with many tabs does not take the room of all others.
func TestOutageHoldsBackAFewRequestsOfOneSession(t *testing.T) {
	t.Parallel()
	const most, more = 32, 8
	o := stage.NewOutage(t, patient)
	o.Here.Must("login:alice")
	o.Down(t)
	answers := make(chan stage.Answer, most+more)
	for range most + more {
		go func() { answers <- o.Here.Do("add:n") }()
	}
	promptly(t, "those who are too many", func() {
		for range more {
			if a := <-answers; stage.Outcome(a) != "503 retry" {
				t.Errorf("got %q, want 503 retry", stage.Outcome(a))
			}
		}
	})
	other := o.Here.Fork("")
	single := make(chan stage.Answer, 1)
	go func() { single <- other.Do("login:bob") }()
	o.Up(t)
	for range most {
		if a := <-answers; a.StatusCode != http.StatusOK {
			t.Errorf("got %d once Redis is back, want 200", a.StatusCode)
		}
	}
	if a := <-single; a.StatusCode != http.StatusOK {
		t.Errorf("got %d for another client, want 200", a.StatusCode)
	}
	if got := o.Other.Fork(o.Here.Cookie()).Must().Text; got != "alice n=32" {
		t.Errorf("got %q, want alice n=32: what was answered 200, and no more", got)
	}
}

// An outage that lasts longer than requests wait costs them nothing any more.
func TestOutageThatIsOldSparesRequestsTheWait(t *testing.T) {
	t.Parallel()
	const wait, requests = 400 * time.Millisecond, 100
	e := stage.NewMini(t)
	p := redistest.NewProxy(t, strings.TrimPrefix(e.URL, "redis://"))
	behind := *e
	behind.URL = p.URL
	m, sent := behind.Counted(t, func(c *redsession.Config) { c.RedisTimeout, c.OutageWait = wait, wait })
	st, other := stage.NewOutageScripted(t, m), stage.NewScripted(t, e.Manager(t))
	st.Must("login:alice")
	other.Must("login:bob")
	p.Blackhole(true)
	t.Cleanup(func() { p.Blackhole(false) })
	if got := stage.Outcome(st.Do("add:n")); got != "503 retry" {
		t.Errorf("got %q while the outage is young, want 503 retry", got)
	}
	stage.Until(t, "the outage to be confirmed by a probe", func() bool { return len(e.Events.Of(redsession.EventOutageBegan)) == 1 })
	sent.Take()
	begun := time.Now()
	for range requests / 2 {
		st.Do("add:n")
		st.Fork(other.Cookie()).Do()
	}
	if took := time.Since(begun); took > requests*wait/4 {
		t.Errorf("%d requests took %s, want each answered at once", requests, took)
	}
	if got := sent.Take(); got != " in 0" {
		t.Errorf("got %q sent, want nothing", got)
	}
	p.Blackhole(false)
	stage.Until(t, "the end of the outage, without any request", func() bool { return len(e.Events.Of(redsession.EventOutageEnded)) == 1 })
	if got := stage.Outcome(st.Do("add:n")); got != "200 alice n=1" {
		t.Errorf("after the outage: got %q, want 200 alice n=1", got)
	}
}

// All that one request waits for Redis is bounded together: its load and each of its
// commits.
func TestOutageWaitIsOneForAllOfARequest(t *testing.T) {
	t.Parallel()
	const wait, timeout, saves = time.Second, 500 * time.Millisecond, 20
	o := stage.NewOutage(t, func(c *redsession.Config) { c.OutageWait, c.RedisTimeout = wait, timeout })
	o.Here.Must("login:alice")
	o.Proxy.Reply(refusing("LOADING Redis is loading the dataset in memory", isScript)) // probes find nothing wrong
	begun := time.Now()
	o.Here.Do(strings.Repeat("add:n try ", saves))
	// Without a wait each Save may still take RedisTimeout.
	if took, most := time.Since(begun), 3*wait+2*timeout; took > most {
		t.Errorf("got an answer after %s, want it within about OutageWait and two RedisTimeout", took)
	}
	o.Proxy.Reply(nil)
}

func TestOutageWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	o := stage.NewOutage(t, patient)
	o.Here.Must("login:alice")
	o.Other.Must("login:carol")
	id := strings.Repeat("x", 32)
	o.Down(t)
	for _, row := range []struct {
		name string
		call func(ctx context.Context)
	}{
		{"a load", func(ctx context.Context) {
			if code := serve(o, ctx, o.Other.Cookie(), nil); code != http.StatusServiceUnavailable {
				t.Errorf("a load: got %d, want 503", code)
			}
		}},
		{"Save", func(ctx context.Context) {
			serve(o, t.Context(), o.Here.Cookie(), func(s *redsession.Session) {
				redsession.Key[int]("n").Set(s, 1)
				wantUnavailable(t, "Save", s.Save(ctx))
			})
		}},
		{"Sessions", func(ctx context.Context) {
			wantUnavailable(t, "Sessions", stage.ErrorOf(o.M.Sessions(ctx, "alice")))
		}},
		{"Count", func(ctx context.Context) { wantUnavailable(t, "Count", stage.ErrorOf(o.M.Count(ctx))) }},
		{"All", func(ctx context.Context) {
			for _, err := range o.M.All(ctx) {
				wantUnavailable(t, "All", err)
			}
		}},
		{"Revoke", func(ctx context.Context) { wantUnavailable(t, "Revoke", o.M.Revoke(ctx, id)) }},
		{"RevokeOf", func(ctx context.Context) {
			wantUnavailable(t, "RevokeOf", stage.ErrorOf(o.M.RevokeOf(ctx, "alice", id)))
		}},
		{"RevokeUser", func(ctx context.Context) {
			wantUnavailable(t, "RevokeUser", stage.ErrorOf(o.M.RevokeUser(ctx, "alice")))
		}},
		{"RevokeAll", func(ctx context.Context) { wantUnavailable(t, "RevokeAll", stage.ErrorOf(o.M.RevokeAll(ctx))) }},
		{"Import", func(ctx context.Context) {
			wantUnavailable(t, "Import", stage.ErrorOf(o.M.Import(ctx, []redsession.LegacyRecord{{Source: "old", ID: "one", UserID: "alice"}}, false)))
		}},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		stop := context.AfterFunc(t.Context(), cancel)
		promptly(t, row.name, func() {
			time.AfterFunc(10*time.Millisecond, cancel)
			row.call(ctx)
		})
		stop()
	}
}

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, redsession.ErrUnavailable) {
		t.Errorf("%s: got %v, want ErrUnavailable", what, err)
	}
}

// serve has the server that Redis is away from serve one request, and returns its status.
func serve(o *stage.Outage, ctx context.Context, cookie string, do func(s *redsession.Session)) int {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: "session", Value: cookie})
	}
	w := httptest.NewRecorder()
	o.M.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s := redsession.FromContext(r.Context()); do != nil {
			do(s)
		}
	})).ServeHTTP(w, r)
	return w.Code
}

func TestOutageAdministrationWaitsForItsEnd(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		call func(ctx context.Context, m *redsession.Manager, id string) (int, error)
		want int
		left int // records
	}{
		{"Sessions", func(ctx context.Context, m *redsession.Manager, _ string) (int, error) {
			infos, err := m.Sessions(ctx, "alice")
			return len(infos), err
		}, 2, 2},
		{"Count", func(ctx context.Context, m *redsession.Manager, _ string) (int, error) { return m.Count(ctx) }, 2, 2},
		{"All", func(ctx context.Context, m *redsession.Manager, _ string) (n int, err error) {
			for _, e := range m.All(ctx) {
				n, err = n+1, errors.Join(err, e)
			}
			return n, err
		}, 2, 2},
		{"Revoke", func(ctx context.Context, m *redsession.Manager, id string) (int, error) {
			return 1, m.Revoke(ctx, id)
		}, 1, 1},
		{"RevokeOf", func(ctx context.Context, m *redsession.Manager, id string) (int, error) {
			was, err := m.RevokeOf(ctx, "alice", id)
			return map[bool]int{true: 1}[was], err
		}, 1, 1},
		{"RevokeUser", func(ctx context.Context, m *redsession.Manager, _ string) (int, error) {
			return m.RevokeUser(ctx, "alice")
		}, 2, 0},
		{"RevokeAll", func(ctx context.Context, m *redsession.Manager, _ string) (int, error) { return m.RevokeAll(ctx) }, 2, 0},
		{"Import", func(ctx context.Context, m *redsession.Manager, _ string) (int, error) {
			outcomes, err := m.Import(ctx, []redsession.LegacyRecord{{Source: "old", ID: "one", UserID: "alice"}}, false)
			return len(outcomes), err
		}, 1, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			o := stage.NewOutage(t, patient)
			id := o.Here.Must("login:alice").Header.Get("X-Id")
			o.Here.Fork("").Must("login:alice")
			o.Down(t)
			type result struct {
				n   int
				err error
			}
			done := make(chan result, 1)
			go func() {
				n, err := row.call(context.WithoutCancel(t.Context()), o.M, id)
				done <- result{n, err}
			}()
			o.Up(t)
			if got := <-done; got.n != row.want || got.err != nil {
				t.Errorf("got %d and %v, want %d", got.n, got.err, row.want)
			}
			stage.Until(t, "the records that are to be left", func() bool { return o.Living(t) == row.left })
		})
	}
}

// A request whose client has gone makes no login any more: nobody would get its cookie.
// What needs no cookie is made.
func TestOutageWaitOfAClientThatHasGone(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		do   func(s *redsession.Session)
		code int
		want string // at another server, under the cookie from before
	}{
		{"a write is made", func(s *redsession.Session) { redsession.Key[int]("n").Set(s, 1) }, 200, "alice n=1"},
		{"a logout is made", (*redsession.Session).Logout, 200, ""},
		{"a login is not", func(s *redsession.Session) { s.Login("bob") }, 503, "alice"},
		{"a new id is not", (*redsession.Session).Rotate, 503, "alice"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			o := stage.NewOutage(t, patient)
			o.Here.Must("login:alice")
			var refused atomic.Int64
			o.Proxy.Reply(refusing("LOADING Redis is loading the dataset in memory", func(args []string) bool {
				return isScript(args) && refused.Add(1) > 0
			}))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			code := make(chan int, 1)
			go func() { code <- serve(o, ctx, o.Here.Cookie(), row.do) }()
			stage.Until(t, "a try that is refused", func() bool { return refused.Load() > 0 })
			cancel()
			if row.code == http.StatusOK {
				o.Proxy.Reply(nil)
			}
			if got := <-code; got != row.code {
				t.Errorf("got %d, want %d", got, row.code)
			}
			o.Proxy.Reply(nil)
			if got := o.Other.Fork(o.Here.Cookie()).Do().Text; got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}
