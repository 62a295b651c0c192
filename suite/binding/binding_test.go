// Package binding_test holds sessions that are bound to devices against their owners and
// against thieves.
package binding_test

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

const number = redsession.Key[int]("number")

var secret = bytes.Repeat([]byte("s"), 32)

// site is a program whose sessions are bound to devices.
type site struct {
	m *redsessiontest.Manager
	h http.Handler
}

func newSite(t *testing.T, change ...func(*redsession.Config)) *site {
	t.Helper()
	enabled := true
	all := append([]func(*redsession.Config){func(c *redsession.Config) {
		c.Cookie, c.Secrets = redsession.Cookie{}, [][]byte{secret}
		c.DeviceBinding.Enabled = true
	}}, change...)
	m := redsessiontest.New(t, append(all, func(c *redsession.Config) { enabled = c.DeviceBinding.Enabled })...)
	mux := http.NewServeMux()
	on := func(path string, fn func(w http.ResponseWriter, r *http.Request, s *redsession.Session)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { fn(w, r, m.FromContext(r.Context())) })
	}
	on("/", func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		n, _ := number.Get(s)
		state := ""
		if s.DeviceBound() {
			state = " bound"
		}
		if s.Locked() {
			state = " locked"
		}
		fmt.Fprintf(w, "%s %d%s", cmp.Or(s.UserID(), "nobody"), n, state)
	})
	on("/login", func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
		s.Login(r.FormValue("user"))
	})
	on("/half", func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		s.Login("alice", redsession.Pending())
	})
	on("/promote", func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Promote() })
	on("/add", func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		number.Update(s, func(n int) int { return n + 1 })
	})
	on("/logout", func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Logout() })
	on("/rotate", func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Rotate() })
	on("/others", func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		if _, err := m.RevokeOthers(r.Context(), s); err != nil {
			http.Error(w, "refused", http.StatusForbidden)
		}
	})
	mux.Handle("/guarded", m.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "let in") })))
	if !enabled {
		return &site{m, m.Handler(mux)}
	}
	mux.Handle("/proof", m.RequireProof(time.Minute)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "proved") })))
	return &site{m, m.Handler(mux)}
}

// see is what a browser gets of path: "200 alice 1 bound".
func (s *site) see(b *redsessiontest.Browser, path string, fields ...string) string {
	res := b.Get(s.h, path, fields...)
	body, _ := io.ReadAll(res.Body)
	text := strings.TrimSpace(string(body))
	if len(text) > 40 {
		text = text[:40]
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", res.StatusCode, text))
}

// follow is what a browser gets that follows a redirect to the same address.
func (s *site) follow(b *redsessiontest.Browser, path string, fields ...string) string {
	got := s.see(b, path, fields...)
	if strings.HasPrefix(got, "307") {
		got = s.see(b, path, fields...)
	}
	return got
}

func (s *site) want(t *testing.T, b *redsessiontest.Browser, path, want string, fields ...string) {
	t.Helper()
	if got := s.see(b, path, fields...); got != want {
		t.Errorf("%s: got %q, want %q", path, got, want)
	}
}

// bound returns the browser of alice's bound session, whose cookies are fresh.
func (s *site) bound(t *testing.T) *redsessiontest.Browser {
	t.Helper()
	b := s.m.Browser()
	s.want(t, b, "/login?user=alice", "200")
	s.want(t, b, "/", "200 alice 0") // its commit begins the binding
	s.want(t, b, "/", "200 alice 0 bound")
	return b
}

func TestBindingBeginsWithTheFirstRequestAfterTheRegistration(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.m.Browser()
	s.want(t, b, "/login?user=alice", "200")
	early := b.Thief() // both cookies, while nothing is bound yet
	s.want(t, b, "/", "200 alice 0")
	s.want(t, b, "/", "200 alice 0 bound")
	if got := b.Cookies(); len(got) != 2 || !strings.HasPrefix(got[0], "__Host-session") || !strings.HasPrefix(got[1], "__Host-session-bound-") {
		t.Errorf("got cookies %v, want the session's and the second one", got)
	}
	s.m.Advance(2 * time.Minute) // the grace is over, the second cookie is not: a proof is asked for
	s.want(t, early, "/", "307 <a href=\"/\">Temporary Redirect</a>.")
	s.want(t, early, "/", "200 nobody 0")
	s.want(t, b, "/", "200 alice 0 bound")
}

func TestBindingOutlivesManyLifetimesOfTheSecondCookie(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.bound(t)
	for i := range 40 {
		s.m.Advance(25 * time.Minute)
		s.want(t, b, "/add", "200")
		s.want(t, b, "/", fmt.Sprintf("200 alice %d bound", i+1))
	}
	if st := s.m.Stats(); st.Rotated < 3 || st.Proofs < 40 || st.Locked != 0 {
		t.Errorf("got %d rotations, %d proofs and %d locked requests in 16 hours, want 3 and 40 at least, and none", st.Rotated, st.Proofs, st.Locked)
	}
}

func TestBindingMakesACopiedCookieUseless(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		wait time.Duration
		want string
	}{
		{"at once, with both cookies", 0, "200 alice 0 bound"},
		{"just before the second cookie ends", 10*time.Minute - time.Second, "200 alice 0 bound"},
		{"when it has ended", 10 * time.Minute, "200 nobody 0 locked"},
		{"a day later", 24 * time.Hour, "200 nobody 0 locked"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			owner := s.bound(t)
			thief := owner.Thief()
			s.m.Advance(row.wait)
			s.want(t, thief, "/", row.want)
			s.want(t, owner, "/", "200 alice 0 bound")
		})
	}
}

// TestBindingLocksWhatComesWithoutTheSecondCookie holds everything that a locked session can
// and cannot.
func TestBindingLocksWhatComesWithoutTheSecondCookie(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, path, want, owner string }{
		{"it looks empty", "/", "200 nobody 0 locked", "200 alice 0 bound"},
		{"it writes nothing", "/add", "403 Please load the page again, or log in.", "200 alice 0 bound"},
		{"it is no login", "/guarded", "401 Please log in.", "200 alice 0 bound"},
		{"it proves nothing", "/proof", "401 Please log in.", "200 alice 0 bound"},
		{"it ends no other session", "/others", "403 refused", "200 alice 0 bound"},
		{"it can be ended", "/logout", "200", "200 nobody 0"},
		{"a login as the same user ends it", "/login?user=alice", "200", "200 nobody 0"},
		{"a login as another user leaves it alone", "/login?user=bob", "200", "200 alice 0 bound"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			owner := s.bound(t)
			thief := owner.Thief()
			s.m.Advance(11 * time.Minute)
			res := thief.Get(s.h, row.path)
			if got := res.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("got Cache-Control %q, want no-store", got)
			}
			thief = owner.Thief()
			s.want(t, thief, row.path, row.want)
			if got := s.see(owner, "/"); got != row.owner {
				t.Errorf("the owner: got %q, want %q", got, row.owner)
			}
		})
	}
}

func TestBindingIsNotProlongedByAThief(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) { c.IdleTimeout = time.Hour })
	owner := s.bound(t)
	thief := owner.Thief()
	for range 5 {
		s.m.Advance(13 * time.Minute)
		s.see(thief, "/")
	}
	s.want(t, owner, "/", "200 nobody 0")
}

func TestBindingOffersItAtALoginAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.m.Browser().Thief() // which takes no offer
	offers := func(path string) bool { return b.Get(s.h, path).Header.Get("Secure-Session-Registration") != "" }
	for _, step := range []struct {
		path string
		want bool
	}{
		{"/add", false},
		{"/half", false},
		{"/", false},
		{"/promote", true},
		{"/", false},
		{"/add", false},
		{"/rotate", false},
		{"/login?user=alice", true},
		{"/login?user=bob", true},
		{"/logout", false},
	} {
		if got := offers(step.path); got != step.want {
			t.Errorf("%s: got an offer: %v, want %v", step.path, got, step.want)
		}
	}
}

func TestBindingStaysWithALoginOfTheSameUser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.bound(t)
	before := b.Cookies()
	if b.Get(s.h, "/login?user=alice").Header.Get("Secure-Session-Registration") != "" {
		t.Error("got an offer, want the binding kept")
	}
	s.want(t, b, "/", "200 alice 0 bound")
	if got := b.Cookies(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("got cookies %v, want %v", got, before)
	}
	s.m.Advance(time.Hour)
	s.want(t, b, "/", "200 alice 0 bound")
}

func TestBindingOfAnotherLoginTakesThePlaceOfTheOlder(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.bound(t)
	s.want(t, b, "/login?user=bob", "200")
	s.want(t, b, "/", "200 bob 0")
	s.m.Advance(time.Hour)
	s.want(t, b, "/", "200 bob 0 bound")
	if got := b.Cookies(); len(got) != 2 {
		t.Errorf("got cookies %v, want the session's and the second one of bob", got)
	}
}

func TestBindingOfTwoLoginsWithAClosedBrowserInBetween(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.bound(t)
	b.Close() // the session's cookie is gone, the key stays
	s.want(t, b, "/", "200 nobody 0")
	s.want(t, b, "/login?user=alice", "200")
	s.want(t, b, "/", "200 alice 0")
	for range 3 {
		s.want(t, b, "/", "200 alice 0 bound")
		s.m.Advance(30 * time.Minute)
	}
}

func TestBindingEndsWithTheSession(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *site, b *redsessiontest.Browser){
		"by a logout":     func(s *site, b *redsessiontest.Browser) { b.Get(s.h, "/logout") },
		"by a revocation": func(s *site, _ *redsessiontest.Browser) { _, _ = s.m.RevokeUser(s.context(), "alice") },
		"by Revoke": func(s *site, _ *redsessiontest.Browser) {
			list, _ := s.m.Sessions(s.context(), "alice")
			_ = s.m.Revoke(s.context(), list[0].ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := s.bound(t)
			end(s, b)
			until(t, "the key of the device gone with the session", func() bool { return len(s.keys("bind:")) == 0 })
			s.m.Advance(11 * time.Minute)
			s.want(t, b, "/", "200 nobody 0")
			if got := b.Cookies(); len(got) != 0 {
				t.Errorf("got cookies %v, want none: the browser was told to forget them", got)
			}
		})
	}
}

// TestBindingTurnsTheIDWithAProofAlone has a thief hold both cookies for minutes, which must
// not make a replay of the owner.
func TestBindingTurnsTheIDWithAProofAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner := s.bound(t)
	s.m.Advance(3*time.Hour + time.Minute)
	s.want(t, owner, "/", "200 alice 0 bound") // turns, with the proof before it
	thief := owner.Thief()
	s.m.Advance(2 * time.Minute)
	turned := s.m.Stats().Rotated
	s.want(t, thief, "/rotate", "200")
	s.want(t, thief, "/", "200 alice 0 bound")
	s.m.Advance(5 * time.Minute)
	s.want(t, thief, "/rotate", "200")
	s.want(t, owner, "/", "200 alice 0 bound")
	if got := s.m.Stats().Rotated; got != turned {
		t.Errorf("got %d rotations without a proof", got-turned)
	}
	s.m.Advance(5 * time.Minute)
	s.want(t, owner, "/", "200 alice 0 bound")
	if got := s.m.Stats().Rotated; got != turned+1 {
		t.Errorf("got %d rotations with the proof, want one", got-turned)
	}
	s.want(t, thief, "/", "200 nobody 0 locked")
	if n := s.m.Stats().Replayed; n != 0 {
		t.Errorf("got %d replays, want none", n)
	}
}

func TestBindingWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.bound(t)
	s.want(t, b, "/add", "200")
	s.m.TakeRedisAway()
	s.want(t, b, "/", "200 alice 1 bound")
	s.m.Advance(4 * time.Minute)
	thief := b.Thief()
	s.want(t, b, "/", "200 alice 1 bound")
	s.m.BringRedisBack()
	s.m.Advance(7 * time.Minute)
	s.want(t, thief, "/", "200 nobody 0 locked")
	s.m.TakeRedisAway()
	s.want(t, b, "/", "200 alice 1 bound") // after a proof that was answered from memory
	s.want(t, b, "/add", "503 The service is unavailable for a moment.")
	s.m.BringRedisBack()
	s.want(t, b, "/", "200 alice 1 bound")
}
