package refresh_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
	"github.com/redsession/redsession/redsessiontest"
)

// A Refresh within that of the same key is an error rather than a deadlock; of another it works.
func TestRefreshWithinARefresh(t *testing.T) {
	t.Parallel()
	st, p := newSite(t, stage.NewMini(t).Manager(t)).login(t), newProvider()
	st.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
		got, err := key.Refresh(r.Context(), s, before(1), func(ctx context.Context, old token) (token, error) {
			if _, err := key.Refresh(ctx, s, before(1), p.renew); err == nil || !strings.Contains(err.Error(), "within") {
				t.Errorf("got %v of the same key, want an error that says why", err)
			}
			if got, err := other.Refresh(ctx, s, before(1), func(ctx context.Context, _ token) (token, error) {
				_, err := key.Refresh(ctx, s, before(1), p.renew)
				return token{3, "x"}, map[bool]error{true: errors.New("no error of the same key further in")}[err == nil]
			}); err != nil || got.Access != 3 {
				t.Errorf("got %v, %v of another key, want its own", got, err)
			}
			return p.renew(ctx, old)
		})
		if err != nil || got.Access != 1 {
			t.Errorf("got %v, %v, want a token", got, err)
		}
	})
	p.want(t, 1)
}

// A key whose provider is slow holds up no other.
func TestRefreshOfAnotherKeyDoesNotWait(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	st, p := newSite(t, e.Manager(t)).login(t), newProvider()
	beside := st.at(t, e.Manager(t))
	if _, err := st.refresh(before(1), func(ctx context.Context, old token) (token, error) {
		beside.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
			defer cancel()
			if got, err := other.Refresh(ctx, s, before(1), newProvider().renew); err != nil || got.Access != 1 {
				t.Errorf("got %v, %v of the other key, want a token at once", got, err)
			}
		})
		return p.renew(ctx, old)
	}); err != nil {
		t.Error(err)
	}
	if got := show(st); got != "alice oauth={1 r1} other={1 r1}" {
		t.Errorf("got %q, want both", got)
	}
}

// Two goroutines of one request, and two calls of one: the second one finds the new value.
func TestRefreshTwiceInOneRequest(t *testing.T) {
	t.Parallel()
	st, p := newSite(t, stage.NewMini(t).Manager(t)).login(t), newProvider()
	st.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
		stage.Parallel(10, func(i int) {
			if i%3 == 0 {
				count.Update(s, func(n int) int { return n + 1 })
				if err := s.Save(r.Context()); err != nil {
					t.Error(err)
				}
			}
			got, err := key.Refresh(r.Context(), s, before(1), p.renew)
			if shown, _ := key.Get(s); err != nil || got.Access != 1 || shown != got {
				t.Errorf("got %v, %v, and %v in the session, want the new token", got, err, shown)
			}
		})
		if got, err := key.Refresh(r.Context(), s, before(1), p.renew); err != nil || got.Access != 1 {
			t.Errorf("got %v, %v of a second call, want the same token", got, err)
		}
	})
	p.want(t, 1)
	if got := show(st); got != "alice n=4 oauth={1 r1} other={0 r0}" {
		t.Errorf("got %q, want all changes", got)
	}
}

// What is pending is committed before, and what fn and others change meanwhile is committed as ever.
func TestRefreshAndPendingChanges(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	st, p := newSite(t, m).login(t), newProvider()
	beside := st.at(t, m)
	st.run(func(r *http.Request, w http.ResponseWriter, s *redsession.Session) {
		count.Set(s, 1)
		_, err := key.Refresh(r.Context(), s, before(1), func(ctx context.Context, old token) (token, error) {
			if got := show(beside); !strings.Contains(got, "n=1") {
				t.Errorf("got %q while fn runs, want what was pending committed", got)
			}
			count.Update(s, func(n int) int { return n + 1 })
			other.Delete(s)
			return p.renew(ctx, old)
		})
		if err != nil {
			t.Error(err)
		}
		n, _ := count.Get(s)
		now, _ := key.Get(s)
		if _, there := other.Get(s); n != 2 || now.Access != 1 || there {
			t.Errorf("got n=%d, %v, and the other key %t, want what fn changed and the new token", n, now, there)
		}
		if got := show(beside); got != "alice n=1 oauth={1 r1} other={0 r0}" {
			t.Errorf("got %q before the response, want the token alone", got)
		}
	})
	if got := show(st); got != "alice n=2 oauth={1 r1}" {
		t.Errorf("got %q, want what fn changed", got)
	}
	st.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
		redsession.Key[func()]("f").Set(s, func() {})
		if _, err := key.Refresh(r.Context(), s, before(2), p.renew); err == nil {
			t.Error("got no error though what is pending does not encode")
		}
	})
	p.want(t, 1)
}

// Which sessions can be refreshed, and when.
func TestRefreshOfASession(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name string
		do   job // before, in the same request
		err  error
		then string
	}{
		{"one that is not stored yet is stored", nil, nil, "oauth={1 r1}"},
		{"one that is about to log in is logged in", func(_ *http.Request, _ http.ResponseWriter, s *redsession.Session) { s.Login("bob") }, nil, "bob oauth={1 r1}"},
		{"one that is not stored yet, after the headers", func(_ *http.Request, w http.ResponseWriter, _ *redsession.Session) {
			w.WriteHeader(http.StatusOK)
		}, redsession.ErrHeadersSent, ""},
		{"one that is stored, after the headers", func(_ *http.Request, w http.ResponseWriter, s *redsession.Session) {
			count.Set(s, 3)
			w.WriteHeader(http.StatusOK)
		}, nil, "n=3 oauth={1 r1}"},
		{"one that logs out is a new one", func(_ *http.Request, _ http.ResponseWriter, s *redsession.Session) { s.Logout() }, nil, "oauth={1 r1}"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			st := newSite(t, stage.NewMini(t).Manager(t))
			st.run(func(r *http.Request, w http.ResponseWriter, s *redsession.Session) {
				if row.do != nil {
					row.do(r, w, s)
				}
				_, err := key.Refresh(r.Context(), s, before(1), func(context.Context, token) (token, error) { return token{1, "r1"}, nil })
				if !errors.Is(err, row.err) {
					t.Errorf("got %v, want %v", err, row.err)
				}
			})
			if got := show(st); got != row.then {
				t.Errorf("got %q, want %q", got, row.then)
			}
		})
	}
}

// What fn must not be run for.
func TestRefreshRefusals(t *testing.T) {
	t.Parallel()
	st := newSite(t, stage.NewMini(t).Manager(t)).login(t)
	never := func(context.Context, token) (token, error) {
		t.Error("fn was run")
		return token{}, nil
	}
	st.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
		redsession.Key[string]("text").Set(s, "no token")
		if _, err := redsession.Key[token]("text").Refresh(r.Context(), s, always, never); err == nil {
			t.Error("got no error of a value that does not decode")
		}
		if _, err := redsession.Key[token]("\xff").Refresh(r.Context(), s, always, never); err == nil {
			t.Error("got no error of a key that is no UTF-8")
		}
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		if _, err := key.Refresh(ctx, s, always, never); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v under a context that is done, want Canceled", err)
		}
		if got, err := key.Refresh(ctx, s, before(0), never); err != nil || got.Refresh != "r0" {
			t.Errorf("got %v, %v of a value that is not stale, want it", got, err)
		}
	})
}

// A panic gives the lease back.
func TestRefreshThatPanics(t *testing.T) {
	t.Parallel()
	st, p := newSite(t, stage.NewMini(t).Manager(t)).login(t), newProvider()
	st.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
		func() {
			defer func() {
				if got := recover(); got != "oops" {
					t.Errorf("got the panic %v, want that of fn", got)
				}
			}()
			_, _ = key.Refresh(r.Context(), s, before(1), func(context.Context, token) (token, error) { panic("oops") })
		}()
		if got, err := key.Refresh(r.Context(), s, before(1), p.renew); err != nil || got.Access != 1 {
			t.Errorf("got %v, %v of the next call, want a token at once", got, err)
		}
	})
}

// A value that cannot be kept is returned beside the error, and the lease is given back.
func TestRefreshOfWhatCannotBeKept(t *testing.T) {
	t.Parallel()
	st := newSite(t, stage.NewMini(t).Manager(t)).login(t)
	got, err := st.refresh(before(1), func(context.Context, token) (token, error) {
		return token{1, strings.Repeat("x", 65<<10)}, nil
	})
	if !errors.Is(err, redsession.ErrTooLarge) || got.Access != 1 {
		t.Errorf("got access %d, %v, want the value, and ErrTooLarge", got.Access, err)
	}
	if got, err := st.refresh(before(1), newProvider().renew); err != nil || got.Access != 1 {
		t.Errorf("got %v, %v of the next call, want a token", got, err)
	}
	st.run(func(r *http.Request, _ http.ResponseWriter, s *redsession.Session) {
		if _, err := redsession.Key[any]("any").Refresh(r.Context(), s, func(v any) bool { return v == nil }, func(context.Context, any) (any, error) { return func() {}, nil }); err == nil {
			t.Error("got no error of a value that does not encode")
		}
	})
}

// A job refreshes for its user, without making them look present.
func TestRefreshWithinAChange(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t, func(c *redsession.Config) { c.IdleTimeout = time.Hour })
	st, p := newSite(t, m).login(t), newProvider()
	list, _ := m.Sessions(t.Context(), "alice")
	e.Advance(t, 30*time.Minute)
	st.run(func(_ *http.Request, _ http.ResponseWriter, s *redsession.Session) { s.Rotate() })
	e.Advance(t, 20*time.Minute)
	err := m.ChangeOf(t.Context(), "alice", list[0].ID, func(s *redsession.Session) error {
		stage.Parallel(5, func(int) {
			if got, err := key.Refresh(t.Context(), s, before(1), p.renew); err != nil || got.Access != 1 {
				t.Errorf("got %v, %v, want a token", got, err)
			}
		})
		count.Set(s, 2)
		if _, err := other.Refresh(t.Context(), s, before(1), p.renew); err == nil {
			t.Error("got no error after a change, which would be committed")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	list, _ = m.Sessions(t.Context(), "alice")
	if len(list) != 1 || list[0].TTL.Round(time.Minute) != 40*time.Minute {
		t.Errorf("got %v, want 40 minutes left", list)
	}
	err = m.ChangeOf(t.Context(), "alice", list[0].ID, func(s *redsession.Session) error {
		if _, err := key.Refresh(t.Context(), s, before(2), p.renew); err != nil {
			t.Error(err)
		}
		return errGrant
	})
	if got := show(st); err != errGrant || got != "alice n=2 oauth={2 r2} other={0 r0}" {
		t.Errorf("got %q, %v, want the token kept though the job failed", got, err)
	}
	p.want(t, 2)
}

// A thief who is locked out refreshes nothing.
func TestRefreshOfALockedSession(t *testing.T) {
	t.Parallel()
	m := redsessiontest.New(t, func(c *redsession.Config) { c.Cookie, c.DeviceBinding.Enabled = redsession.Cookie{}, true })
	p := newProvider()
	var err error
	h := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s := m.FromContext(r.Context())
		switch r.URL.Path {
		case "/login":
			s.Login("alice")
			key.Set(s, token{0, "r0"})
		case "/refresh":
			_, err = key.Refresh(r.Context(), s, before(1), p.renew)
		}
	}))
	b := m.Browser()
	b.Get(h, "/login")
	b.Get(h, "/")
	thief := b.Thief()
	m.Advance(11 * time.Minute)
	if thief.Get(h, "/refresh"); !errors.Is(err, redsession.ErrLocked) {
		t.Errorf("got %v of a thief, want ErrLocked", err)
	}
	p.want(t, 0)
	if b.Get(h, "/refresh"); err != nil {
		t.Errorf("got %v of the owner, want a token", err)
	}
	p.want(t, 1)
}
