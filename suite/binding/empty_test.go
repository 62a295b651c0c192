package binding_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/redsessiontest"
)

const (
	name  = redsession.Key[string]("name")
	toast = redsession.FlashKey[int]("toast")
)

// within lets fn see the session of a request of b's.
func (s *site) within(b *redsessiontest.Browser, fn func(r *http.Request, session *redsession.Session)) *http.Response {
	return b.Get(s.m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fn(r, s.m.FromContext(r.Context()))
	})), "/")
}

// full returns the owner of a bound session that has one of everything, and a thief who comes too
// late with both cookies.
func (s *site) full(t *testing.T) (owner, thief *redsessiontest.Browser) {
	t.Helper()
	owner = s.bound(t)
	s.within(owner, func(_ *http.Request, session *redsession.Session) {
		name.Set(session, "Alice")
		number.Set(session, 7)
		session.Flash("hello")
		toast.Add(session, 1)
		session.Login("alice", redsession.Label("laptop"), redsession.Tag("team"), redsession.Proved(2, "pwd"), redsession.RememberFor(24*time.Hour))
	})
	s.want(t, owner, "/", "200 alice 7 bound")
	s.m.Advance(11 * time.Minute)
	return owner, owner.Thief()
}

func TestBindingShowsNothingOfALockedSession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	owner, thief := s.full(t)
	csrf := ""
	s.within(owner, func(_ *http.Request, session *redsession.Session) { csrf = session.CSRFToken() })
	shown := func(r *http.Request, session *redsession.Session) map[string]string {
		all := map[string]any{
			"UserID": session.UserID(), "PendingUserID": session.PendingUserID(), "LoggedIn": session.LoggedIn(), "ID": session.ID(), "Token": session.Token(),
			"Keys": session.Keys(), "Label": session.Label(), "Tags": session.Tags(), "Level": session.Level(), "Methods": session.Methods(), "ActorID": session.ActorID(),
			"Remembered": session.Remembered(), "AuthTime": session.AuthTime().IsZero(), "DeviceBound": session.DeviceBound(), "Degraded": session.Degraded(),
			"Flashes": session.Flashes(), "toasts": toast.Take(session), "CSRF": session.VerifyCSRF(csrf),
		}
		all["Get"], all["there"] = name.Get(session)
		text := map[string]string{}
		for what, v := range all {
			text[what] = fmt.Sprint(v)
		}
		return text
	}
	var empty, locked, open map[string]string
	s.within(s.m.Browser(), func(r *http.Request, session *redsession.Session) { empty = shown(r, session) })
	res := s.within(thief, func(r *http.Request, session *redsession.Session) {
		if !session.Locked() {
			t.Error("got a session that is not locked")
		}
		locked = shown(r, session)
	})
	s.within(owner, func(r *http.Request, session *redsession.Session) { open = shown(r, session) })
	same := 0
	for what, want := range empty {
		if locked[what] != want {
			t.Errorf("%s: got %s of a locked session, want %s as of an empty one", what, locked[what], want)
		}
		if open[what] == want {
			same++
		}
	}
	if same > 3 { // who is pending, who acts, from memory
		t.Errorf("got %v of the owner's session, which says too little to tell it from an empty one", open)
	}
	if len(res.Cookies()) != 0 || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got cookies %v and Cache-Control %q, want none and no-store", res.Cookies(), res.Header.Get("Cache-Control"))
	}
}

// TestBindingChangesNothingOfALockedSession tries every change there is.
func TestBindingChangesNothingOfALockedSession(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	save := func(do func(session *redsession.Session)) func(*site, *redsession.Session) error {
		return func(_ *site, session *redsession.Session) error {
			do(session)
			return session.Save(ctx)
		}
	}
	for _, row := range []struct {
		name string
		do   func(s *site, session *redsession.Session) error
		want error // nil: it is of no effect
	}{
		{"Set", save(func(session *redsession.Session) { name.Set(session, "Eve") }), redsession.ErrLocked},
		{"Update", save(func(session *redsession.Session) { number.Update(session, func(n int) int { return n + 1 }) }), redsession.ErrLocked},
		{"Flash", save(func(session *redsession.Session) { session.Flash("boo") }), redsession.ErrLocked},
		{"Add", save(func(session *redsession.Session) { toast.Add(session, 2) }), redsession.ErrLocked},
		{"Extend", save(func(session *redsession.Session) { session.Extend() }), redsession.ErrLocked},
		{"LimitTo", save(func(session *redsession.Session) { session.LimitTo(time.Minute) }), redsession.ErrLocked},
		{"Take", func(_ *site, session *redsession.Session) error {
			_, ok, err := name.Take(ctx, session)
			if ok {
				return errors.New("took a value")
			}
			return err
		}, nil},
		{"Refresh", func(_ *site, session *redsession.Session) error {
			_, err := number.Refresh(ctx, session, func(int) bool { return true }, func(context.Context, int) (int, error) { return 99, nil })
			return err
		}, redsession.ErrLocked},
		{"RevokeOthers", func(s *site, session *redsession.Session) error {
			_, err := s.m.RevokeOthers(ctx, session)
			return err
		}, redsession.ErrLocked},
		{"Promote", save(func(session *redsession.Session) { session.Promote() }), errAny},
		{"Login by the user as somebody else", save(func(session *redsession.Session) { session.Login("bob", redsession.By("alice")) }), errAny},
		{"Delete", save(func(session *redsession.Session) { name.Delete(session) }), nil},
		{"Clear", save(func(session *redsession.Session) { session.Clear() }), nil},
		{"Rotate", save(func(session *redsession.Session) { session.Rotate() }), nil},
		{"Save", save(func(*redsession.Session) {}), nil},
		{"KeepID and Context", save(func(session *redsession.Session) {
			session.KeepID()
			session.Context()
		}), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			owner, thief := s.full(t)
			before := s.dump()
			res := s.within(thief, func(_ *http.Request, session *redsession.Session) {
				err := row.do(s, session)
				if row.want == errAny && err == nil || row.want != errAny && !errors.Is(err, row.want) {
					t.Errorf("got %v, want %v", err, row.want)
				}
			})
			if after := s.dump(); after != before {
				t.Errorf("got in Redis\n%s\nwant as before\n%s", after, before)
			}
			if len(res.Cookies()) != 0 {
				t.Errorf("got cookies %v, want none", res.Cookies())
			}
			s.want(t, owner, "/", "200 alice 7 bound")
		})
	}
}

var errAny = errors.New("any")

// sent is what cookies b sends now. It renews none of them for that.
func sent(b *redsessiontest.Browser) (list []*http.Cookie) {
	b.Get(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { list = r.Cookies() }), "/session-binding/none")
	return list
}

// sessionOf and secondOf are the fields of b's two cookies.
func sessionOf(b *redsessiontest.Browser) string { return cookieOf(b, false) }
func secondOf(b *redsessiontest.Browser) string  { return cookieOf(b, true) }

func cookieOf(b *redsessiontest.Browser, second bool) string {
	for _, c := range sent(b) {
		if strings.Contains(c.Name, "-bound-") == second {
			return c.Name + "=" + c.Value
		}
	}
	return ""
}

// dump is what lies in Redis, TTLs included.
func (s *site) dump() string {
	var b strings.Builder
	for _, key := range s.m.Redis.Keys() {
		value, _ := s.m.Redis.Get(key)
		fmt.Fprintln(&b, key, s.m.Redis.TTL(key), value)
	}
	return b.String()
}

// TestBindingPrefersAUsableSession has a browser that keeps two cookies of the session's name.
func TestBindingPrefersAUsableSession(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		order func(locked, usable string) string
		want  string
	}{
		{"the locked one first", func(locked, usable string) string { return locked + "; " + usable }, "200 alice 3"},
		{"the usable one first", func(locked, usable string) string { return usable + "; " + locked }, "200 alice 3"},
		{"the locked one alone", func(locked, _ string) string { return locked }, "200 nobody 0 locked"},
		{"the locked one twice", func(locked, _ string) string { return locked + "; " + locked }, "200 nobody 0 locked"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			locked := sessionOf(s.bound(t))
			unable := s.m.Browser().Thief()
			s.see(unable, "/login?user=alice")
			for range 3 {
				s.see(unable, "/add")
			}
			r := httptest.NewRequest(http.MethodGet, "https://example.com/", nil)
			r.Header.Set("Cookie", row.order(locked, sessionOf(unable)))
			w := httptest.NewRecorder()
			s.h.ServeHTTP(w, r)
			if got := fmt.Sprintf("%d %s", w.Code, w.Body); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}
