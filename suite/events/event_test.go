package events_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// Whoever hands an event on, as to a queue, keeps its context beyond the request.
func TestEventContextStaysTheRequestsOwn(t *testing.T) {
	t.Parallel()
	type requestNumber struct{}
	var stamp atomic.Value
	stamp.Store("first")
	var kept context.Context
	m := stage.NewMini(t).Manager(t, func(c *redsession.Config) {
		c.UserStamp = func(_ context.Context, user string) (string, error) {
			if user == "alice" {
				return stamp.Load().(string), nil
			}
			return "", nil
		}
		c.OnEvent = func(ctx context.Context, e redsession.Event) {
			if e.Kind == redsession.EventRevoked {
				kept = ctx
			}
		}
	})
	alice := stage.NewScripted(t, m)
	alice.Must("login:alice")
	bob := alice.Fork("")
	bob.Must("login:bob")
	stamp.Store("second")
	for n := range 2 {
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), requestNumber{}, n), http.MethodGet, "/", nil)
		if n == 0 { // the first cookie's session ends, the second one's is served
			r.AddCookie(&http.Cookie{Name: "session", Value: alice.Cookie()})
		}
		r.AddCookie(&http.Cookie{Name: "session", Value: bob.Cookie()})
		m.Handler(http.NotFoundHandler()).ServeHTTP(&stage.Discarded{}, r)
	}
	if kept == nil {
		t.Fatal("got no event, want that of the revoked session")
	}
	if got := kept.Value(requestNumber{}); got != 0 {
		t.Errorf("got the values of request %v in the event's context, want those of request 0", got)
	}
}

// wholeLife leads a session through everything that is an event, and returns
// what may not be seen of it.
func wholeLife(t *testing.T, e *stage.Env, m *redsession.Manager, b *stage.Browser) (cookies []string) {
	t.Helper()
	see := func(b *stage.Browser, steps ...string) {
		b.Play(e, steps...)
		cookies = append(cookies, b.Cookie())
	}
	see(b, "/set?v=confidential")
	see(b, "/login?user=alice")
	old := b.With(b.Cookie())
	see(b, "+3h", "/who")
	see(b, "/who", "+2m")
	old.Get("/who") // replayed
	b.With(b.Cookie()[:60] + "AAAA" + b.Cookie()[64:]).Get("/who")
	b.Get("/second") // fails
	see(b, "/half?user=bob")
	see(b, "/second")
	see(b, "/token", "/logout")
	see(b, "/login?user=carol")
	if err := m.Revoke(t.Context(), b.State().ID); err != nil {
		t.Error(err)
	}
	b.Get("/who") // expired
	return cookies
}

func TestEventsAndStatsOfAWholeLife(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	wholeLife(t, e, m, stage.LifeBrowser(t, m, stage.GuardedHandlers(m)))
	want := []string{
		"created", "login alice", "rotated alice", "replayed rotated id after its grace", "refused cookie not signed by us",
		"failed alice", "pending bob", "login bob", "logout bob", "login carol", "revoked carol revoked", "expired",
	}
	var got []string
	for _, ev := range e.Events.All() {
		got = append(got, strings.Join(strings.Fields(fmt.Sprint(ev.Kind, " ", ev.UserID, " ", ev.Reason)), " "))
		if needsID := ev.Kind != redsession.EventExpired && ev.Reason != "cookie not signed by us"; needsID && len(ev.ID) != 32 {
			t.Errorf("got id %q in %s, want a public id", ev.ID, ev.Kind)
		}
		if ev.RemoteAddr != "127.0.0.1" && ev.Kind != redsession.EventRevoked {
			t.Errorf("got remote address %q in %s, want the request's", ev.RemoteAddr, ev.Kind)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got events %q, want %q", got, want)
	}
	st := m.Stats()
	st.Hits, st.Misses, st.Commits = 0, 0, 0
	counted := redsession.Stats{Created: 1, Logins: 3, Rotated: 1, Replayed: 1, Refused: 1, Failed: 1, Logouts: 1, Revoked: 1, Expired: 1}
	if st != counted {
		t.Errorf("got %+v, want %+v", st, counted)
	}
	if lines := strings.Count(e.Events.Log(), "session "); lines < len(want) {
		t.Errorf("got %d lines in the log, want one for each of %d events", lines, len(want))
	}
}

func TestEventsLogHoldsNothingToLogInWith(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, func(c *redsession.Config) {
			c.UserStamp = func(context.Context, string) (string, error) { return "hash-of-a-password", nil }
			c.MaxBytes = 4096
		})
		more := stage.GuardedHandlers(m)
		maps.Copy(more, stage.Handlers{
			"/bad": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				redsession.Key[unsavable]("bad").Set(s, unsavable{})
			},
			"/big": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				stage.LifeNote.Set(s, strings.Repeat("confidential", 1000))
			},
		})
		b := stage.LifeBrowser(t, m, more)
		cookies := wholeLife(t, e, m, b)
		b.Play(e, "/login?user=alice", "/bad", "/big")
		cookies = append(cookies, b.Cookie())
		text := e.Events.Log() + fmt.Sprintf("%+v", e.Events.All())
		if !strings.Contains(text, b.State().ID) {
			t.Errorf("got no public id in the log, want what happened to be found there")
		}
		for _, value := range append(cookies, "confidential", "hash-of-a-password", string(stage.Secret)) {
			if value != "" && strings.Contains(text, value) {
				t.Errorf("got a secret of %d characters in the log, want none", len(value))
			}
			if len(value) > 100 {
				sid, _ := stage.ParseCookie(t, value)
				if form := stage.FindSecret(text, sid); form != "" {
					t.Errorf("got an SID in the log as %s, want none", form)
				}
			}
		}
	})
}

// unsavable does not encode.
type unsavable struct{}

func (unsavable) MarshalJSON() ([]byte, error) { return nil, errors.New("no JSON for this") }

func TestEventsAreLinesOfTheLog(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	wholeLife(t, e, m, stage.LifeBrowser(t, m, stage.GuardedHandlers(m)))
	log := e.Events.Log()
	for _, ev := range e.Events.All() {
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

func TestEventsShowGuessingBySource(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t, func(c *redsession.Config) { c.TrustedHops = 1 })
	good := stage.Issue(t, m, "/login")
	guesses := map[string]int{"198.51.100.7": 20, "2001:db8::1": 3, "203.0.113.9": 1}
	for source, n := range guesses {
		for i := range n {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("X-Forwarded-For", "10.6.6.6, "+source) // the first is what the guesser sent
			r.Header.Set("Cookie", fmt.Sprintf("session=%s%04d", good[:len(good)-4], i))
			m.Handler(stage.AccountHandlers.Mux()).ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	seen := make(map[string]int)
	for _, ev := range e.Events.Of(redsession.EventRefused) {
		seen[ev.RemoteAddr]++
	}
	if total := m.Stats().Refused; !maps.Equal(seen, guesses) || total != 24 {
		t.Errorf("got refusals %v and a count of %d, want %v and 24", seen, total, guesses)
	}
}
