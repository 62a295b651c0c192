package login_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestStampChangedEndsEverySessionButTheOneThatLogsInAgain(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		st := stage.NewStamps("v1")
		m := e.Manager(t, st.Configure)
		b := stage.LifeBrowser(t, m, stage.Handlers{"/password": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
			st.Set("v2", nil)
			s.Login("alice")
			n, err := m.RevokeOthers(r.Context(), s)
			fmt.Fprint(w, n, err)
		}})
		server := stage.LifeBrowser(t, e.Manager(t, st.Configure), nil)
		b.Play(e, "/login?user=alice", "/set?v=kept", "/rotate")
		var rest []*stage.Browser
		for _, at := range []*stage.Browser{b, server, server} {
			other := at.Fresh()
			other.Get("/login?user=alice")
			rest = append(rest, other)
		}
		st.Set("v2", nil)
		if a := rest[0].Get("/who"); a.StatusCode != http.StatusOK || a.Text != "" || len(a.SetCookies()) != 0 {
			t.Errorf("got %d, user %q and %d Set-Cookie after the change, want 200, nobody and none", a.StatusCode, a.Text, len(a.SetCookies()))
		}
		st.Set("v1", nil)
		if a := b.Get("/password"); a.Text != "2 <nil>" {
			t.Errorf("got %q, want 2 other sessions ended", a.Text)
		}
		for i, other := range rest {
			if got := other.Get("/who").Text; got != "" {
				t.Errorf("session %d: got user %q after the change, want none", i, got)
			}
		}
		for range 2 {
			if got := b.State(); got.User != "alice" || got.Note != "kept" {
				t.Errorf("got user %q, note %q in the session that changed the password, want alice, kept", got.User, got.Note)
			}
			b.Play(e, "+3h", "/who") // and its successor
		}
		if n, err := m.Count(context.Background()); n != 1 || err != nil {
			t.Errorf("got %d sessions, %v, want 1", n, err)
		}
	})
}

func TestStampChangedUnderAThiefInFlightIsNotResealed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, begin string
		do          func(s *redsession.Session)
	}{
		{"by a write", "/login?user=alice", func(s *redsession.Session) { s.KeepID(); stage.LifeNote.Set(s, "mine") }},
		{"by a timed rotation", "/login?user=alice", func(*redsession.Session) {}},
		{"by Rotate and a write", "/login?user=alice", func(s *redsession.Session) { s.Rotate(); stage.LifeNote.Set(s, "mine") }},
		{"by completing a half-open login", "/half?user=alice", func(s *redsession.Session) { s.Promote() }},
		{"by Save and a second write", "/login?user=alice", func(s *redsession.Session) {
			stage.LifeNote.Set(s, "mine")
			_ = s.Save(context.Background())
			stage.LifeNote.Set(s, "mine again")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, st := stage.NewMini(t), stage.NewStamps("v1")
			thief := stage.LifeBrowser(t, e.Manager(t, st.Configure), stage.Handlers{"/steal": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				st.Set("v2", nil)
				tt.do(s)
			}})
			thief.Get(tt.begin)
			if tt.name == "by a timed rotation" {
				e.Advance(t, 3*time.Hour)
			}
			old := thief.Cookie()
			thief.Get("/steal")
			for _, cookie := range []string{old, thief.Cookie()} {
				if got := thief.With(cookie).Get("/who").Text; got != "" {
					t.Errorf("got user %q after the change, want none", got)
				}
			}
		})
	}
}

func TestStampChangedUnderALoginEndsIt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, begin string }{
		{"from no session", "/who"},
		{"from an anonymous session", "/set?v=1"},
		{"from a session of the user's", "/login?user=alice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, st := stage.NewMini(t), stage.NewStamps("v1")
			m := e.Manager(t, st.Configure)
			thief := stage.LifeBrowser(t, m, stage.Handlers{"/steal": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
				s.Login("alice") // the password was right a moment ago
				st.Set("v2", nil)
				if _, err := m.RevokeUser(r.Context(), "alice"); err != nil {
					t.Error(err)
				}
			}})
			thief.Get(tt.begin)
			thief.Get("/steal")
			if got := thief.Get("/who").Text; got != "" {
				t.Errorf("got user %q after the change, want none", got)
			}
		})
	}
}

func TestStampThatFailsLogsNobodyOut(t *testing.T) {
	t.Parallel()
	e, st := stage.NewMini(t), stage.NewStamps("v1")
	b := stage.LifeBrowser(t, e.Manager(t, st.Configure), nil)
	b.Get("/login?user=alice")
	b.Get("/rotate")
	st.Set("", errors.New("the database is away"))
	for _, try := range []struct {
		b    *stage.Browser
		path string
	}{{b, "/who"}, {b, "/set?v=1"}, {b.Fresh(), "/login?user=alice"}} {
		a := try.b.Get(try.path)
		if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || len(a.SetCookies()) != 0 {
			t.Errorf("%s: got %d and %d Set-Cookie, want 503 with Retry-After and none", try.path, a.StatusCode, len(a.SetCookies()))
		}
	}
	st.Set("v1", nil)
	if got := b.Get("/who").Text; got != "alice" {
		t.Errorf("got user %q afterwards, want alice", got)
	}
}

// The record takes the present stamp at its load, and the password changes after.
func TestStampOfALoginOverARecordWithoutOne(t *testing.T) {
	t.Parallel()
	e, st := stage.NewMini(t), stage.NewStamps("v1")
	before := stage.LifeBrowser(t, e.Manager(t), nil)
	before.Get("/login?user=alice")
	b := stage.LifeBrowser(t, e.Manager(t, st.Configure), stage.Handlers{"/password": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		st.Set("v2", nil)
		s.Login("alice")
	}}).With(before.Cookie())
	b.Get("/password")
	if got := b.Get("/who").Text; got != "alice" {
		t.Errorf("got user %q, want alice, who has just logged in", got)
	}
}

func TestStampOfAnotherKindIsReplacedByThePresentOne(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		before, after [][]byte // secrets
		stamped       bool     // before
	}{
		{"without a stamp", [][]byte{stage.Secret}, [][]byte{stage.Secret}, false},
		{"stamped under an older secret", [][]byte{stage.Secret}, [][]byte{stage.NewerSecret, stage.Secret}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, st := stage.NewMini(t), stage.NewStamps("v1")
			before := stage.LifeBrowser(t, e.Manager(t, func(c *redsession.Config) {
				if c.Secrets = tt.before; tt.stamped {
					st.Configure(c)
				}
			}), nil)
			before.Get("/login?user=alice")
			after := stage.LifeBrowser(t, e.Manager(t, func(c *redsession.Config) { c.Secrets = tt.after }, st.Configure), nil).With(before.Cookie())
			token := before.State().Token
			for range 2 {
				if got := after.State(); got.User != "alice" {
					t.Errorf("got user %q, want alice", got.User)
				}
			}
			if got := after.State().Token; !tt.stamped && got == token {
				t.Errorf("got the record as it was, want it to keep the present stamp")
			}
			after.Get("/set?v=1")
			if got := after.State(); got.User != "alice" {
				t.Errorf("got user %q after a write, want alice", got.User)
			}
			st.Set("v2", nil)
			if got := after.Get("/who").Text; got != "" {
				t.Errorf("got user %q after the change, want none", got)
			}
		})
	}
}
