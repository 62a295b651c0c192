package events_test

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

// failing is a server whose requests are about to fail. alice has logged in, and her cookie
// comes with each.
type failing struct {
	*stage.Env
	m       *redsession.Manager
	proxy   *redistest.Proxy
	cookies string
	noStamp atomic.Bool
}

// refuse has Redis say for now that it does not do what pick picks.
func (f *failing) refuse(pick func([]string) bool) {
	f.proxy.Reply(func(args []string) (string, bool) {
		return "-NOPERM this user has no permissions to run this command\r\n", pick(args)
	})
}

func expires(args []string) bool { return args[0] == "EXPIRE" }

func ends(args []string) bool { return stage.SetsTombstone(args) && !stage.StoresRecord(args) }

// failures are what can fail in a request: as what it loads, in what it changes, and beside
// both.
var failures = []struct {
	name   string
	change func(*redsession.Config)
	before func(t *testing.T, f *failing)
	do     func(f *failing, w http.ResponseWriter, s *redsession.Session)
}{
	{name: "Redis is away for a load", change: failClosed, before: func(_ *testing.T, f *failing) { f.proxy.Refuse(true) }},
	{name: "Redis refuses a load", change: failClosed, before: func(_ *testing.T, f *failing) { f.refuse(stage.IsGET) }},
	{name: "Redis refuses a load that memory answers", before: func(_ *testing.T, f *failing) { f.refuse(stage.IsGET) }},
	{name: "the user's stamp is not known", before: func(_ *testing.T, f *failing) { f.noStamp.Store(true) }},
	{name: "Redis is away for a write", before: func(_ *testing.T, f *failing) { f.proxy.Refuse(true) }, do: setNumber},
	{name: "Redis refuses a write", before: func(_ *testing.T, f *failing) { f.refuse(stage.IsScript) }, do: setNumber},
	{name: "Redis refuses a Save whose handler answers", before: func(_ *testing.T, f *failing) { f.refuse(stage.IsScript) }, do: func(_ *failing, _ http.ResponseWriter, s *redsession.Session) {
		stage.Number.Set(s, 1)
		_ = s.Save(context.Background())
	}},
	{name: "Redis refuses to prolong a hit", before: func(_ *testing.T, f *failing) { f.refuse(expires) }},
	{name: "Redis refuses a timed rotation", before: func(t *testing.T, f *failing) { f.Advance(t, 4*time.Hour); f.refuse(stage.IsScript) }},
	{name: "a value does not encode", do: func(_ *failing, _ http.ResponseWriter, s *redsession.Session) {
		redsession.Key[unsavable]("bad").Set(s, unsavable{})
	}},
	{name: "the values are too large", do: func(_ *failing, _ http.ResponseWriter, s *redsession.Session) {
		stage.LifeNote.Set(s, strings.Repeat("x", 1<<17))
	}},
	{name: "the session has ended meanwhile", do: func(f *failing, _ http.ResponseWriter, s *redsession.Session) {
		stage.Number.Set(s, 1)
		_ = f.m.Revoke(context.Background(), s.ID())
	}},
	{name: "a login comes after the first byte", do: func(_ *failing, w http.ResponseWriter, s *redsession.Session) {
		_, _ = w.Write([]byte("too early"))
		s.Login("alice")
	}},
	{name: "Redis refuses the logout of a handler that panics", before: func(_ *testing.T, f *failing) { f.refuse(stage.IsScript) }, do: func(_ *failing, _ http.ResponseWriter, s *redsession.Session) {
		s.Logout()
		panic(http.ErrAbortHandler)
	}},
	{name: "Redis refuses to end a login beyond MaxPerUser", change: func(c *redsession.Config) { c.MaxPerUser = 1 }, before: func(_ *testing.T, f *failing) {
		f.cookies = ""
		f.refuse(ends)
	}, do: logIn},
	{name: "Redis refuses to end another session of the same client", before: func(t *testing.T, f *failing) {
		f.cookies += "; session=" + stage.Issue(t, f.m, "/login")
		f.refuse(ends)
	}, do: logIn},
	{name: "an old session cannot be imported", change: func(c *redsession.Config) { c.Adopt = []redsession.Legacy{oldStore(make(chan int), nil)} }, before: oldCookieAlone},
	{name: "an old session cannot be deleted", change: func(c *redsession.Config) { c.Adopt = []redsession.Legacy{oldStore("tea", errors.New("disk full"))} }, before: oldCookieAlone},
	{name: "an old store does not answer", change: func(c *redsession.Config) {
		l := oldStore("tea", nil)
		l.Load = func(context.Context, string) (*redsession.LegacyRecord, error) { return nil, errors.New("no disk") }
		c.Adopt = []redsession.Legacy{l}
	}, before: oldCookieAlone},
}

func failClosed(c *redsession.Config) { c.Outage = redsession.FailClosed }

func setNumber(_ *failing, _ http.ResponseWriter, s *redsession.Session) { stage.Number.Set(s, 1) }

func logIn(_ *failing, _ http.ResponseWriter, s *redsession.Session) { s.Login("alice") }

func oldCookieAlone(_ *testing.T, f *failing) { f.cookies = "oldsid=legacy-1" }

// oldStore is another package's, which has one session with that value.
func oldStore(value any, deleting error) redsession.Legacy {
	return redsession.Legacy{
		Source: "old", Cookie: "oldsid",
		Load: func(_ context.Context, id string) (*redsession.LegacyRecord, error) {
			return &redsession.LegacyRecord{ID: id, UserID: "alice", Values: map[string]any{"cart": value}, ExpiresAt: time.Now().Add(48 * time.Hour)}, nil
		},
		Delete: func(context.Context, string) error { return deleting },
	}
}

// TestEventOfAFailureNamesTheRequest: whoever reads that a session failed wants to know
// which page, wherever it failed, and must not read what the query holds.
func TestEventOfAFailureNamesTheRequest(t *testing.T) {
	t.Parallel()
	for _, row := range failures {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFailing(t, row.change)
			if row.before != nil {
				row.before(t, f)
			}
			f.Events.Forget()
			f.ask(row.do)
			failed := f.Events.Of(redsession.EventFailed)
			if len(failed) != 1 {
				t.Errorf("got the failures %v, want one", failed)
			}
			for _, e := range failed {
				if e.Method != http.MethodPatch || e.Path != "/orders/7" || e.RemoteAddr != "192.0.2.1" {
					t.Errorf("got %q %q from %q in %v, want PATCH /orders/7 from 192.0.2.1", e.Method, e.Path, e.RemoteAddr, e.Err)
				}
			}
			log := f.Events.Log()
			if got, want := strings.Count(log, `msg="session failed"`), strings.Count(log, " method=PATCH path=/orders/7 "); got == 0 || got != want {
				t.Errorf("got %d lines of failures, %d of which name the request: %s", got, want, log)
			}
			if strings.Contains(log, "voucher") {
				t.Errorf("got the query in the log: %s", log)
			}
		})
	}
}

func newFailing(t *testing.T, change func(*redsession.Config)) *failing {
	t.Helper()
	f := &failing{Env: stage.NewMini(t)}
	f.m, f.proxy = f.Behind(t, func(c *redsession.Config) {
		c.UserStamp = func(context.Context, string) (string, error) {
			if f.noStamp.Load() {
				return "", errors.New("the database is down")
			}
			return "stamp", nil
		}
		if change != nil {
			change(c)
		}
	})
	f.cookies = "session=" + stage.Issue(t, f.m, "/login")
	t.Cleanup(func() { f.proxy.Refuse(false); f.proxy.Reply(nil) })
	return f
}

// ask sends one request whose handler does do.
func (f *failing) ask(do func(*failing, http.ResponseWriter, *redsession.Session)) {
	defer func() { _ = recover() }()
	r := httptest.NewRequest(http.MethodPatch, "/orders/7?voucher=1234", nil)
	r.Header.Set("Cookie", f.cookies)
	f.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if do != nil {
			do(f, w, f.m.FromContext(r.Context()))
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
}
