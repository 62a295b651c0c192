// Package lifetime_test tests package redsession from outside: how long sessions live, what moves their end, and what of
// a request that a page sends by itself does not.
package lifetime_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }

const day = 24 * time.Hour

// handlers are what the tests let a browser do, besides stage.LifeHandlers. What is below /poll is passive, as passive
// says.
func handlers(m *redsession.Manager) stage.Handlers {
	type (
		W = http.ResponseWriter
		R = *http.Request
		S = *redsession.Session
	)
	span := func(r R, name string) time.Duration {
		d, _ := time.ParseDuration(r.FormValue(name))
		return d
	}
	tell := func(w W, s S) {
		fmt.Fprintf(w, "%s %s", s.UserID(), s.ExpiresAt().Sub(s.CreatedAt()))
	}
	return stage.Handlers{
		"/extend":      func(w W, r R, s S) { s.Extend(); tell(w, s) },
		"/extend-keep": func(w W, r R, s S) { s.Extend(); s.KeepID(); tell(w, s) },
		"/extend-late": func(w W, _ R, s S) {
			fmt.Fprint(w, "begun ")
			_ = http.NewResponseController(w).Flush()
			s.Extend()
		},
		"/extend-set":  func(_ W, r R, s S) { s.Extend(); stage.LifeNote.Set(s, r.FormValue("v")) },
		"/extend-half": func(_ W, _ R, s S) { s.Extend(); s.Login("alice", redsession.Pending()) },
		"/limit":       func(w W, r R, s S) { s.LimitTo(span(r, "to")); tell(w, s) },
		"/limit-late": func(w W, r R, s S) {
			fmt.Fprint(w, "begun ")
			_ = http.NewResponseController(w).Flush()
			s.LimitTo(span(r, "to"))
		},
		"/limit-login": func(w W, r R, s S) { s.LimitTo(span(r, "to")); s.Login("alice"); tell(w, s) },
		"/fresh-login": func(w W, r R, s S) { s.Logout(); s.Login("alice"); tell(w, s) },
		"/remember":    func(w W, r R, s S) { s.Login("alice", redsession.RememberFor(span(r, "for"))); tell(w, s) },
		"/ends":        func(w W, _ R, s S) { tell(w, s) },
		"/left":        func(w W, r R, _ S) { m.TimeLeft().ServeHTTP(w, r) },
		"/poll":        func(w W, _ R, s S) { tell(w, s) },
		"/poll/left":   func(w W, r R, _ S) { m.TimeLeft().ServeHTTP(w, r) },
		"/poll/set":    func(w W, r R, s S) { stage.LifeNote.Set(s, r.FormValue("v")); tell(w, s) },
		"/poll/rotate": func(w W, _ R, s S) { s.Rotate(); tell(w, s) },
		"/poll/limit":  func(w W, r R, s S) { s.LimitTo(span(r, "to")); tell(w, s) },
		"/poll/extend": func(_ W, _ R, s S) { s.Extend() },
		"/poll/login":  func(w W, _ R, s S) { s.Login("alice"); tell(w, s) },
	}
}

func passive(c *redsession.Config) {
	c.Passive = func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/poll") }
	c.ErrorHandler = tellError
}

// tellError answers with the error's text, for tests of what it says.
func tellError(w http.ResponseWriter, _ *http.Request, err error) {
	code := http.StatusInternalServerError
	for sentinel, status := range map[error]int{redsession.ErrGone: 409, redsession.ErrLocked: 403, redsession.ErrUnavailable: 503} {
		if errors.Is(err, sentinel) {
			code = status
		}
	}
	http.Error(w, err.Error(), code)
}

// browse starts a server of m with a browser on it. A handler at /meet waits for all of n requests before it goes on.
func browse(t *testing.T, m *redsession.Manager, more ...stage.Handlers) *stage.Browser {
	t.Helper()
	hs := handlers(m)
	for _, h := range more {
		for path, fn := range h {
			hs[path] = fn
		}
	}
	return stage.LifeBrowser(t, m, hs)
}

// meeting holds requests until n have come.
func meeting(n int, then func(w http.ResponseWriter, r *http.Request, s *redsession.Session)) stage.Handlers {
	var all sync.WaitGroup
	all.Add(n)
	return stage.Handlers{"/meet": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		all.Done()
		all.Wait()
		then(w, r, s)
	}}
}

// ttl is how long the session of a cookie lives in Redis.
func ttl(t *testing.T, e *stage.Env, cookie string) time.Duration {
	t.Helper()
	left, err := e.Client.PTTL(t.Context(), stage.KeyOf(t, cookie)).Result()
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// near tells whether got is want, but for the seconds that a slow machine takes and the one that rounding does.
func near(got, want time.Duration) bool { return got <= want+time.Second && got > want-20*time.Second }

// deadline is when the session of a cookie ends, by what the cookie says, as seen from the env's clock.
func deadline(t *testing.T, e *stage.Env, cookie string) time.Duration {
	t.Helper()
	_, at := stage.ParseCookie(t, cookie)
	return time.Unix(at, 0).Sub(e.Clock.Now().Truncate(time.Second))
}
