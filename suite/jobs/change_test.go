package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

const (
	note  = redsession.Key[string]("note")
	count = redsession.Key[int]("n")
)

var errOwn = errors.New("the job's own")

// add is a job that counts.
func add(s *redsession.Session) error {
	count.Update(s, func(n int) int { return n + 1 })
	return nil
}

// login is a browser with a session of user, and the session's public id.
func login(t *testing.T, m *redsession.Manager, user string) (*stage.Scripted, string) {
	t.Helper()
	b := stage.NewScripted(t, m)
	return b, b.Must("login:"+user, "save").Header.Get("X-Id")
}

func TestChangeOfReadsAndWrites(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		b, id := login(t, m, "alice")
		b.Must("set:cart:tea")
		err := m.ChangeOf(t.Context(), "alice", id, func(s *redsession.Session) error {
			if cart, _ := redsession.Key[string]("cart").Get(s); s.UserID() != "alice" || s.ID() != id || cart != "tea" || s.Locked() || s.Degraded() {
				t.Errorf("got the session %s of %q with %q, want %s of alice with tea", s.ID(), s.UserID(), cart, id)
			}
			note.Set(s, "paid")
			s.Flash("thanks")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if a := b.Must("flashes"); a.Text != "alice cart=tea note=paid" || a.Header.Get("X-Flashes") != "thanks" {
			t.Errorf("got %q with the flashes %q, want what the job left", a.Text, a.Header.Get("X-Flashes"))
		}
	})
}

func TestChangeRefusals(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	_, alices := login(t, m, "alice")
	guest := stage.NewScripted(t, m).Must("set:a:1").Header.Get("X-Id")
	half := stage.NewScripted(t, m).Must("half:alice", "save").Header.Get("X-Id")
	gone := stage.NewScripted(t, m)
	ended := gone.Must("login:alice", "save").Header.Get("X-Id")
	gone.Must("logout")
	unknown := strings.Repeat("x", 32)
	change := func(id string) error { return m.Change(t.Context(), id, add) }
	changeOf := func(user, id string) error { return m.ChangeOf(t.Context(), user, id, add) }
	rows := []struct {
		name string
		got  error
		want error
	}{
		{"a user's own session is changed", changeOf("alice", alices), nil},
		{"another's session is gone", changeOf("bob", alices), redsession.ErrGone},
		{"an anonymous session is nobody's", changeOf("", guest), redsession.ErrGone},
		{"an anonymous session is no user's", changeOf("alice", guest), redsession.ErrGone},
		{"a half-open session is nobody's yet", changeOf("alice", half), redsession.ErrGone},
		{"a session that ended is gone", changeOf("alice", ended), redsession.ErrGone},
		{"an unknown id is gone", changeOf("alice", unknown), redsession.ErrGone},
		{"what is no id is gone", changeOf("alice", "../x"), redsession.ErrGone},
		{"an operator changes any session", change(alices), nil},
		{"an operator changes an anonymous session", change(guest), nil},
		{"an operator changes a half-open session", change(half), nil},
		{"for an operator a session that ended is gone", change(ended), redsession.ErrGone},
		{"for an operator an unknown id is gone", change(unknown), redsession.ErrGone},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if !errors.Is(row.got, row.want) {
				t.Errorf("got %v, want %v", row.got, row.want)
			}
		})
	}
	if err := change("../x"); err == nil || errors.Is(err, redsession.ErrGone) {
		t.Errorf("got %v for what is no id, want an error that says so", err)
	}
	if got, want := changeOf("bob", alices).Error(), changeOf("bob", unknown).Error(); got != want {
		t.Errorf("got %q for another's session and %q for an unknown one, want the same", got, want)
	}
}

// What needs the client fails the change, and nothing of it is kept.
func TestChangeHasNoClient(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	b, id := login(t, m, "alice")
	half := stage.NewScripted(t, m)
	halfID := half.Must("half:alice", "save").Header.Get("X-Id")
	rows := []struct {
		name, id string
		do       func(s *redsession.Session)
	}{
		{"Login", id, func(s *redsession.Session) { s.Login("bob") }},
		{"Login of the same user", id, func(s *redsession.Session) { s.Login("alice", redsession.Pending()) }},
		{"Promote", halfID, func(s *redsession.Session) { s.Promote() }},
		{"Logout", id, (*redsession.Session).Logout},
		{"Rotate", id, (*redsession.Session).Rotate},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			before := e.Dump(t)
			err := m.Change(t.Context(), row.id, func(s *redsession.Session) error {
				note.Set(s, "lost")
				row.do(s)
				return nil
			})
			if err == nil || !strings.Contains(err.Error(), "within Manager.Change") {
				t.Errorf("got %v, want an error that says why", err)
			}
			if after := e.Dump(t); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("got %v in Redis, want it as it was, %v", after, before)
			}
		})
	}
	err := m.Change(t.Context(), id, func(s *redsession.Session) error {
		count.Set(s, 5)
		if err := s.Save(t.Context()); err == nil {
			t.Error("Save: got no error, want one")
		}
		if _, _, err := count.Take(t.Context(), s); err == nil {
			t.Error("Take: got no error, want one")
		}
		if _, err := m.RevokeOthers(t.Context(), s); err == nil {
			t.Error("RevokeOthers: got no error, want one")
		}
		return nil
	})
	if got := b.Must().Text; err != nil || got != "alice n=5" {
		t.Errorf("got %q, %v, want what was set kept all the same", got, err)
	}
}

// All that a session shows works without a request.
func TestChangeShowsTheSession(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	b, id := login(t, m, "alice")
	b.Must("flash:hello")
	token := b.Must("csrf").Header.Get("X-Csrf")
	var kept context.Context
	err := m.Change(t.Context(), id, func(s *redsession.Session) error {
		switch {
		case !s.LoggedIn(), s.PendingUserID() != "", s.CreatedAt().IsZero(), !s.AuthTime().Equal(e.Clock.Now().Truncate(time.Microsecond)):
			t.Error("got another login than that of the request")
		case s.Token() == "", len(s.Keys()) != 0, s.DeviceBound():
			t.Errorf("got the token %q and the keys %v", s.Token(), s.Keys())
		case !s.VerifyCSRF(token), !s.VerifyCSRF(s.CSRFToken()):
			t.Error("got a CSRF token that does not verify")
		case len(s.Flashes()) != 1, len(s.Flashes()) != 1:
			t.Error("got no flash, want that of the request, as often as it is asked for")
		case s.Context().Err() != nil:
			t.Errorf("got a context that is done: %v", s.Context().Err())
		}
		s.KeepID()
		kept = s.Context()
		return nil
	})
	if kept.Err() == nil {
		t.Error("got a context that goes on after the change")
	}
	if err != nil {
		t.Error(err)
	}
	if a := b.Must("flashes"); a.Header.Get("X-Flashes") != "hello" {
		t.Errorf("got the flashes %q for the user, want hello", a.Header.Get("X-Flashes"))
	}
}

func TestChangeKeepsNothingOfAJobThatFails(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	b, id := login(t, m, "alice")
	rows := []struct {
		name string
		fn   func(s *redsession.Session) error
		want func(err error, panicked any) bool
	}{
		{"an error of fn is returned", func(s *redsession.Session) error { note.Set(s, "lost"); return errOwn }, func(err error, p any) bool { return err == errOwn && p == nil }},
		{"a panic of fn goes on", func(s *redsession.Session) error { note.Set(s, "lost"); panic("oops") }, func(_ error, p any) bool { return p == "oops" }},
		{"a value that does not encode", func(s *redsession.Session) error {
			note.Set(s, "lost")
			redsession.Key[func()]("f").Set(s, func() {})
			return nil
		}, func(err error, p any) bool { return err != nil && p == nil }},
		{
			"a value that is too large", func(s *redsession.Session) error { note.Set(s, strings.Repeat("x", 65<<10)); return nil },
			func(err error, _ any) bool { return errors.Is(err, redsession.ErrTooLarge) },
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var err error
			panicked := func() (p any) {
				defer func() { p = recover() }()
				err = m.Change(t.Context(), id, row.fn)
				return nil
			}()
			if !row.want(err, panicked) {
				t.Errorf("got %v, and panicked with %v", err, panicked)
			}
			if got := b.Must().Text; got != "alice" {
				t.Errorf("got %q, want nothing kept", got)
			}
		})
	}
}

func TestChangeOfAnEndedUser(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	stamps := stage.NewStamps("1")
	m := e.Manager(t, stamps.Configure)
	b, id := login(t, m, "alice")
	stamps.Set("1", errOwn)
	if err := m.ChangeOf(t.Context(), "alice", id, add); !errors.Is(err, redsession.ErrUnavailable) {
		t.Errorf("got %v while stamps cannot be read, want ErrUnavailable", err)
	}
	stamps.Set("1", nil)
	if err := m.ChangeOf(t.Context(), "alice", id, add); err != nil {
		t.Error(err)
	}
	stamps.Set("2", nil)
	if err := m.ChangeOf(t.Context(), "alice", id, add); !errors.Is(err, redsession.ErrGone) {
		t.Errorf("got %v once the stamp has changed, want ErrGone", err)
	}
	stamps.Set("1", nil)
	if got := b.Must().Text; got != "" {
		t.Errorf("got %q, want the session ended", got)
	}
}

// An id in a list may have been replaced since, once or often, also while the job runs.
func TestChangeFollowsRotations(t *testing.T) {
	t.Parallel()
	for _, times := range []int{1, 3, 10} {
		t.Run(fmt.Sprint(times, " rotations before"), func(t *testing.T) {
			t.Parallel()
			e := stage.NewMini(t)
			for way, make := range e.BothWays() {
				m := make(t)
				user := strings.ReplaceAll(way, " ", "")
				b, id := login(t, m, user)
				for range times {
					b.Must("rotate")
					b.Must()
					e.Advance(t, 2*time.Minute)
				}
				if err := m.ChangeOf(t.Context(), user, id, add); err != nil {
					t.Errorf("%s: %v", way, err)
				}
				if got := b.Must().Text; got != user+" n=1" {
					t.Errorf("%s: got %q, want the change under the new id", way, got)
				}
			}
		})
	}
	t.Run("one while the job runs", func(t *testing.T) {
		t.Parallel()
		e := stage.NewMini(t)
		for way, make := range e.BothWays() {
			m := make(t)
			user := strings.ReplaceAll(way, " ", "")
			b, id := login(t, m, user)
			err := m.ChangeOf(t.Context(), user, id, func(s *redsession.Session) error {
				b.Must("rotate", "set:a:1")
				return add(s)
			})
			if got := b.Must().Text; err != nil || got != user+" a=1 n=1" {
				t.Errorf("%s: got %q, %v, want both changes", way, got, err)
			}
		}
	})
}

// The job's session may end, or begin anew, while it runs.
func TestChangeOfASessionThatEnds(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name string
		end  func(t *testing.T, e *stage.Env, m *redsession.Manager, b *stage.Scripted, id string)
	}{
		{"a logout", func(_ *testing.T, _ *stage.Env, _ *redsession.Manager, b *stage.Scripted, _ string) { b.Must("logout") }},
		{"a login of the same user", func(_ *testing.T, _ *stage.Env, _ *redsession.Manager, b *stage.Scripted, _ string) {
			b.Must("login:alice")
		}},
		{"a login of another user", func(_ *testing.T, _ *stage.Env, _ *redsession.Manager, b *stage.Scripted, _ string) {
			b.Must("login:bob")
		}},
		{"a revocation", func(t *testing.T, _ *stage.Env, m *redsession.Manager, _ *stage.Scripted, id string) {
			if err := m.Revoke(t.Context(), id); err != nil {
				t.Error(err)
			}
		}},
		{"its idle timeout", func(t *testing.T, e *stage.Env, _ *redsession.Manager, _ *stage.Scripted, _ string) {
			e.Advance(t, 8*24*time.Hour)
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := stage.NewMini(t)
			m := e.Manager(t)
			b, id := login(t, m, "alice")
			err := m.ChangeOf(t.Context(), "alice", id, func(s *redsession.Session) error {
				row.end(t, e, m, b, id)
				return add(s)
			})
			if !errors.Is(err, redsession.ErrGone) {
				t.Errorf("got %v, want ErrGone", err)
			}
			for key, raw := range e.Dump(t) {
				if strings.Contains(raw, `"d":{"n":1`) {
					t.Errorf("got %s as %s, want nothing brought back", key, raw)
				}
			}
		})
	}
}
