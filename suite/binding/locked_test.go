package binding_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

const note = redsession.FlashKey[string]("note")

// account is what Config.LoadUser returns.
type account struct{ name string }

// stateOf is all that lies in Redis, and for how long.
func (s *site) stateOf() map[string]string {
	all := map[string]string{}
	for _, key := range s.m.Redis.Keys() {
		raw, err := s.m.Redis.Get(key)
		if err != nil {
			members, _ := s.m.Redis.SortedSet(key)
			raw = fmt.Sprint(members)
		}
		all[key] = raw + " for " + s.m.Redis.TTL(key).String()
	}
	return all
}

// full is a site with a bound session that has everything a session can have, and what its
// thief gets from do once the second cookie has ended.
func full(t *testing.T, do func(s *site, r *http.Request, session *redsession.Session) error) (res *http.Response, changed bool) {
	t.Helper()
	var asked atomic.Int64
	s := newSite(t, func(c *redsession.Config) {
		c.LoadUser = func(_ context.Context, id string) (any, string, error) {
			asked.Add(1)
			return account{id}, "stamp", nil
		}
	})
	var failed error
	h := s.m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		session := redsession.FromContext(r.Context())
		switch r.URL.Path {
		case "/login":
			session.Login("alice", redsession.Label("laptop"), redsession.Tag("org:7"), redsession.Proved(2, "pwd", "otp"), redsession.RememberFor(48*time.Hour))
			number.Set(session, 7)
			session.Flash("welcome")
			note.Add(session, "read this")
		case "/do":
			failed = do(s, r, session)
		}
	}))
	owner := s.m.Browser()
	for _, path := range []string{"/login", "/", "/"} {
		owner.Get(h, path)
	}
	s.m.Advance(11 * time.Minute)
	before, askedBefore := s.stateOf(), asked.Load()
	res = owner.Thief().Get(h, "/do")
	if failed != nil {
		t.Error(failed)
	}
	if got := asked.Load(); got != askedBefore {
		t.Errorf("the program was asked for the user %d times, want never", got-askedBefore)
	}
	changed = !maps.Equal(before, s.stateOf())
	s.want(t, owner, "/", "200 alice 7 bound")
	return res, changed
}

func TestBindingLockedSessionLooksEmpty(t *testing.T) {
	t.Parallel()
	_, changed := full(t, func(site *site, _ *http.Request, s *redsession.Session) error {
		n, found := number.Get(s)
		_, loaded, err := number.Load(s)
		user, known := redsession.UserAs[account](s)
		for what, got := range map[string]bool{
			"Locked":        s.Locked(),
			"DeviceBound":   !s.DeviceBound(),
			"UserID":        s.UserID() == "",
			"PendingUserID": s.PendingUserID() == "",
			"LoggedIn":      !s.LoggedIn(),
			"UserAs":        !known && user == account{},
			"Get":           !found && n == 0,
			"Load":          !loaded && err == nil,
			"Keys":          len(s.Keys()) == 0,
			"Flashes":       len(s.Flashes()) == 0,
			"FlashKey.Take": len(note.Take(s)) == 0,
			"Label":         s.Label() == "",
			"Tags":          len(s.Tags()) == 0,
			"Level":         s.Level() == 0,
			"Methods":       len(s.Methods()) == 0,
			"ActorID":       s.ActorID() == "",
			"AuthTime":      s.AuthTime().IsZero(),
			"AuthAge":       s.AuthAge() == 0,
			"Remembered":    !s.Remembered(),
			"ID":            s.ID() == "",
			"Token":         s.Token() == "",
			"ExpiresAt":     s.ExpiresAt().Before(site.m.Now().Add(25 * time.Hour)), // as anybody's
		} {
			if !got {
				t.Errorf("%s says something of a locked session", what)
			}
		}
		return nil
	})
	if changed {
		t.Error("reading a locked session has changed what lies in Redis")
	}
}

func TestBindingLockedSessionTakesNoChange(t *testing.T) {
	t.Parallel()
	ran := func(int) int { t.Error("the function was called"); return 0 }
	for name, change := range map[string]func(s *site, r *http.Request, session *redsession.Session) error{
		"Set": func(_ *site, _ *http.Request, s *redsession.Session) error { number.Set(s, 8); return nil },
		"Save, by its error": func(_ *site, r *http.Request, s *redsession.Session) error {
			number.Set(s, 8)
			return wantLocked(s.Save(r.Context()))
		},
		"Update": func(_ *site, _ *http.Request, s *redsession.Session) error {
			number.Update(s, func(int) int { return 8 })
			return nil
		},
		"Flash":        func(_ *site, _ *http.Request, s *redsession.Session) error { s.Flash("hello"); return nil },
		"FlashKey.Add": func(_ *site, _ *http.Request, s *redsession.Session) error { note.Add(s, "hello"); return nil },
		"Extend":       func(_ *site, _ *http.Request, s *redsession.Session) error { s.Extend(); return nil },
		"LimitTo":      func(_ *site, _ *http.Request, s *redsession.Session) error { s.LimitTo(time.Hour); return nil },
		"Promote":      func(_ *site, _ *http.Request, s *redsession.Session) error { s.Promote(); return nil },
		"Take, of nothing": func(_ *site, r *http.Request, s *redsession.Session) error {
			if v, ok, err := number.Take(r.Context(), s); v != 0 || ok || err != nil {
				return fmt.Errorf("got %d, %v and the error %v, want nothing", v, ok, err)
			}
			return nil
		},
		"Refresh, by its error": func(_ *site, r *http.Request, s *redsession.Session) error {
			_, err := number.Refresh(r.Context(), s, func(int) bool { return true }, func(context.Context, int) (int, error) { return ran(0), nil })
			return wantLocked(err)
		},
		"RevokeOthers, by its error": func(site *site, r *http.Request, s *redsession.Session) error {
			_, err := site.m.RevokeOthers(r.Context(), s)
			return wantLocked(err)
		},
		"Clear, of nothing":          func(_ *site, _ *http.Request, s *redsession.Session) error { s.Clear(); return nil },
		"Delete, of nothing":         func(_ *site, _ *http.Request, s *redsession.Session) error { number.Delete(s); return nil },
		"Rotate, of nothing":         func(_ *site, _ *http.Request, s *redsession.Session) error { s.Rotate(); return nil },
		"Flashes, of nothing":        func(_ *site, _ *http.Request, s *redsession.Session) error { s.Flashes(); return nil },
		"CSRFToken, of a login form": func(_ *site, _ *http.Request, s *redsession.Session) error { s.CSRFToken(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, changed := full(t, change)
			if changed {
				t.Error("what lies in Redis has changed")
			}
			if want := map[bool]int{false: 403, true: 200}[strings.Contains(name, ",")]; res.StatusCode != want {
				t.Errorf("got %d, want %d", res.StatusCode, want)
			}
			if len(res.Cookies()) != 0 || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("got the cookies %v and Cache-Control %q, want none and no-store", res.Cookies(), res.Header.Get("Cache-Control"))
			}
		})
	}
}

func wantLocked(err error) error {
	if !errors.Is(err, redsession.ErrLocked) {
		return fmt.Errorf("got the error %v, want ErrLocked", err)
	}
	return nil
}
