package outage_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

func TestOutageDoesNotConcernVisitorsWithoutACookie(t *testing.T) {
	t.Parallel()
	const visits, most = 20_000, 5 * time.Millisecond
	e := stage.NewMini(t)
	m, p := e.Behind(t)
	h := m.Handler(stage.Handlers{"/": stage.ShowNumber}.Mux())
	stage.Sent(p)
	for _, row := range []struct {
		name   string
		before func()
	}{
		{"Redis is there", func() {}},
		{"Redis swallows everything", func() { p.Blackhole(true) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.before()
			begun := time.Now()
			for range visits / 2 {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
				if w.Code != http.StatusOK || w.Header().Get("Set-Cookie") != "" {
					t.Fatalf("got %d and Set-Cookie %q, want 200 and none", w.Code, w.Header().Get("Set-Cookie"))
				}
			}
			if each := time.Since(begun) / (visits / 2); each > most {
				t.Errorf("a visit took %s, want under %s", each, most)
			}
		})
	}
	if got := stage.Sent(p); got != " in 0" || len(e.Keys(t)) != 0 {
		t.Errorf("got commands %.200q and keys %q from %d visits, want none", got, e.Keys(t), visits)
	}
}

// An outage must not let requests wait for each other: 40 of them, one after another,
// would take 12 seconds.
func TestOutageTarpitCostsEachRequestItsTimeoutAtMost(t *testing.T) {
	t.Parallel()

	// A load and a commit, on a slow machine.
	const timeout, most = 300 * time.Millisecond, 3 * time.Second
	for _, row := range []struct {
		name string
		trap func(p *redistest.Proxy)
	}{
		{"Redis swallows everything", func(p *redistest.Proxy) { p.Blackhole(true) }},
		{"Redis answers when the client has long gone", func(p *redistest.Proxy) { p.Delay(time.Hour) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := stage.NewMini(t)
			p := redistest.NewProxy(t, e.Mini.Addr())
			behind := *e
			behind.URL = p.URL
			// With a client whose own timeouts are ten times as long.
			m, _ := behind.Counted(t, func(c *redsession.Config) { c.RedisTimeout = timeout })
			known, stranger := stage.NewScripted(t, m), stage.NewScripted(t, e.Manager(t))
			known.Must("login:alice")
			stranger.Must("login:bob")
			row.trap(p)
			took := make([]time.Duration, 40)
			stage.Parallel(len(took), func(i int) {
				begun := time.Now()
				switch st := known.Fork(stranger.Cookie()); i % 4 {
				case 0:
					st.Do()
				case 1:
					st.Do("logout")
				case 2:
					st.Fork("").Do("login:carol")
				case 3:
					known.Do("add:n")
				}
				took[i] = time.Since(begun)
			})
			if slowest := slices.Max(took); slowest > most {
				t.Errorf("got an answer after %s, want each within %s", slowest, most)
			}
			p.Delay(0)
			p.Blackhole(false)
			stage.Until(t, "an answer by itself", func() bool { return bodyAs(stranger, known) == "bob" })
		})
	}
}

// bodyAs is what the server of other says to the cookie of st.
func bodyAs(st *stage.Scripted, other *stage.Scripted) string {
	return other.Fork(st.Cookie()).Do().Text
}
