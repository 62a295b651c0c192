package jobs_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// A timed rotation that is due is left to the client's next request.
func TestChangeLeavesTheID(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t, func(c *redsession.Config) { c.RotateEvery = time.Hour })
	b, id := login(t, m, "alice")
	e.Advance(t, 2*time.Hour)
	err := m.ChangeOf(t.Context(), "alice", id, func(s *redsession.Session) error {
		if _, err := redsession.Key[int]("r").Refresh(t.Context(), s, func(n int) bool { return n == 0 }, func(context.Context, int) (int, error) { return 5, nil }); err != nil {
			t.Error(err)
		}
		return add(s)
	})
	if info := infoOf(t, m, "alice"); err != nil || info.ID != id {
		t.Errorf("got the id %s, %v, want it as it was, %s", info.ID, err, id)
	}
	got := b.Must().Text
	if now := infoOf(t, m, "alice").ID; got != "alice n=1 r=5" || now == id {
		t.Errorf("got %q under %s, want all of it under a new id", got, now)
	}
}

func TestChangeAfterClose(t *testing.T) {
	t.Parallel()
	m := stage.NewMini(t).Manager(t)
	_, id := login(t, m, "alice")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Change(t.Context(), id, add); !errors.Is(err, redsession.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

// Within a request, and within each other.
func TestChangeWithinARequest(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	change := func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
		note.Set(s, "request")
		err := m.ChangeOf(r.Context(), "alice", s.ID(), func(outer *redsession.Session) error {
			_ = add(outer)
			return m.Change(r.Context(), s.ID(), add)
		})
		if err != nil {
			t.Error(err)
		}
	}
	b := stage.NewScripted(t, m, stage.Handlers{"/change": change})
	b.Must("login:alice")
	if a := b.Get("/change"); a.StatusCode != http.StatusOK {
		t.Errorf("got status %d, want 200", a.StatusCode)
	}
	if got := b.Must().Text; got != "alice n=2 note=request" {
		t.Errorf("got %q, want all three changes", got)
	}
}

func TestChangeUnderAContextThatIsDone(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m, sent := e.Counted(t)
	_, id := login(t, m, "alice")
	sent.Take()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Change(ctx, id, add); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if got := sent.Take(); got != " in 0" {
		t.Errorf("got %s sent, want nothing", got)
	}
}

// A job that is no user's activity costs what it must.
func TestChangeRoundTrips(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m, sent := e.Counted(t)
		b, id := login(t, m, "alice")
		b.Must("set:a:1")
		nothing := func(s *redsession.Session) error { note.Get(s); return nil }
		rows := []struct {
			name string
			do   func() error
			want string
		}{
			{"a read", func() error { return m.ChangeOf(t.Context(), "alice", id, nothing) }, "GET PTTL in 1"},
			{"a change", func() error { return m.ChangeOf(t.Context(), "alice", id, add) }, "GET PTTL EVALSHA in 2"},
			{"what is taken back", func() error {
				return m.ChangeOf(t.Context(), "alice", id, func(s *redsession.Session) error { note.Set(s, "x"); note.Delete(s); return nil })
			}, "GET PTTL EVALSHA in 2"},
			{"all of a user's, read", func() error { return stage.ErrorOf(m.ChangeUser(t.Context(), "alice", nothing)) }, "ZRANGE GET PTTL in 2"},
			{"all of a user's", func() error { return stage.ErrorOf(m.ChangeUser(t.Context(), "alice", add)) }, "ZRANGE GET PTTL EVALSHA in 3"},
			{"of nobody", func() error { return stage.ErrorOf(m.ChangeUser(t.Context(), "", add)) }, " in 0"},
		}
		_ = m.ChangeOf(t.Context(), "alice", id, add) // the script is known then
		for _, row := range rows {
			sent.Take()
			if err := row.do(); err != nil {
				t.Errorf("%s: %v", row.name, err)
			}
			if got := sent.Take(); got != row.want {
				t.Errorf("%s: got %s, want %s", row.name, got, row.want)
			}
		}
	})
}
