package adoption_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// Old servers prolong the old session for as long as it is used there.
func TestAdoptionOfARevokedSessionIsRefusedThoughOldServersProlongIt(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		old := olds(e)
		aged := func() redsession.LegacyRecord {
			lr := stage.OldSession(e, "one", "alice")
			lr.CreatedAt = e.Clock.Now().Add(-29 * day)
			return lr
		}
		old.Put(aged())
		m := e.Manager(t, stage.Adopting(old.SideBySide()))
		root := stage.NewScripted(t, m)
		st := root.WithOldCookie("one")
		if err := m.Revoke(t.Context(), st.Must().Header.Get("X-Id")); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			e.Advance(t, day)
			old.Put(aged())
			if got := root.WithOldCookie("one").Do().Text; got != "" {
				t.Fatalf("got %q, want nobody", got)
			}
		}
	})
}

// The ways in which a session ends, each for a session that is imported only and
// for one that its owner has come back to. The old store still has it, for longer
// than any lifetime of ours.
func TestAdoptionOfAnEndedSessionIsRefused(t *testing.T) {
	t.Parallel()
	type scene struct {
		m           *redsession.Manager
		st          *stage.Scripted
		legacy, own string
	}
	ends := map[string]func(t *testing.T, e *stage.Env, s scene) error{
		"logout":            func(_ *testing.T, _ *stage.Env, s scene) error { s.st.Must("logout"); return nil },
		"Revoke the old id": func(t *testing.T, _ *stage.Env, s scene) error { return s.m.Revoke(t.Context(), s.legacy) },
		"Revoke its id":     func(t *testing.T, _ *stage.Env, s scene) error { return s.m.Revoke(t.Context(), s.own) },
		"Revoke both": func(t *testing.T, _ *stage.Env, s scene) error {
			return errors.Join(s.m.Revoke(t.Context(), s.own), s.m.Revoke(t.Context(), s.legacy))
		},
		"Revoke twice": func(t *testing.T, _ *stage.Env, s scene) error {
			return errors.Join(s.m.Revoke(t.Context(), s.legacy), s.m.Revoke(t.Context(), s.legacy))
		},
		"RevokeUser": func(t *testing.T, _ *stage.Env, s scene) error {
			return stage.ErrorOf(s.m.RevokeUser(t.Context(), "alice"))
		},
		"RevokeAll": func(t *testing.T, _ *stage.Env, s scene) error { return stage.ErrorOf(s.m.RevokeAll(t.Context())) },
		"RevokeUser by an operator without secrets": func(t *testing.T, e *stage.Env, _ scene) error {
			return stage.ErrorOf(e.Operator(t, "").RevokeUser(t.Context(), "alice"))
		},
		"Revoke by an operator without secrets": func(t *testing.T, e *stage.Env, s scene) error {
			return e.Operator(t, "").Revoke(t.Context(), s.legacy)
		},
		"MaxPerUser": func(_ *testing.T, _ *stage.Env, s scene) error { s.st.Fork("").Must("login:alice"); return nil },
	}
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		for _, name := range slices.Sorted(maps.Keys(ends)) {
			for _, adopted := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, adopted %t", name, adopted), func(t *testing.T) {
					e.Client.FlushAll(t.Context())
					old := olds(e, "one")
					lr := stage.OldSession(e, "one", "alice")
					lr.ExpiresAt = e.Clock.Now().Add(60 * 24 * time.Hour)
					old.Put(lr)
					l := old.Legacy()
					l.Delete = nil
					m := e.Manager(t, stage.Adopting(l), func(c *redsession.Config) { c.MaxPerUser = 1 })
					outcomes, err := m.Import(t.Context(), []redsession.LegacyRecord{lr}, false)
					if err != nil {
						t.Fatal(err)
					}
					s := scene{m, stage.NewScripted(t, m).WithOldCookie("one"), outcomes[0].ID, outcomes[0].ID}
					if adopted {
						s.own = s.st.Must().Header.Get("X-Id")
						s.st.Must()
					}
					if err := ends[name](t, e, s); err != nil {
						t.Fatal(err)
					}
					for _, later := range []time.Duration{0, 2 * time.Minute, 32 * 24 * time.Hour} {
						e.Advance(t, later)
						if a := stage.NewScripted(t, m).WithOldCookie("one").Do(); a.StatusCode != 200 || a.Text != "" {
							t.Fatalf("%s later: got %d %q with the old cookie, want nobody", later, a.StatusCode, a.Text)
						}
						if out, err := m.Import(t.Context(), []redsession.LegacyRecord{lr}, true); err != nil || out[0].Status != redsession.ImportEnded {
							t.Fatalf("%s later: got %v, %v for a forced import, want ImportEnded", later, out, err)
						}
					}
				})
			}
		}
	})
}

func TestAdoptionKeepsLifetimes(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, stage.Adopting(redsession.Legacy{Source: "old", Cookie: "oldsid"}))
		root := stage.NewScripted(t, m, stage.Handlers{
			"/times": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				fmt.Fprint(w, s.LoggedIn(), s.AuthTime().IsZero())
			},
			"/recent": func(w http.ResponseWriter, r *http.Request, _ *redsession.Session) {
				m.RequireRecentLogin(50*365*day)(http.NotFoundHandler()).ServeHTTP(w, r)
			},
		})
		add := func(id string, change func(*redsession.LegacyRecord)) *stage.Scripted {
			t.Helper()
			lr := stage.OldSession(e, id, "alice")
			change(&lr)
			if out, err := m.Import(t.Context(), []redsession.LegacyRecord{lr}, false); err != nil || out[0].Status != redsession.ImportStored {
				t.Fatalf("got %v, %v, want it stored", out, err)
			}
			return root.WithOldCookie(id)
		}
		late := add("ends", func(lr *redsession.LegacyRecord) { lr.ExpiresAt = e.Clock.Now().Add(time.Hour) })
		for range 4 { // somebody knocks who is refused elsewhere, or a list is made
			e.Advance(t, 20*time.Minute)
			if _, err := m.Sessions(t.Context(), "alice"); err != nil {
				t.Fatal(err)
			}
		}
		if got := late.Must().Text; got != "" {
			t.Errorf("past its end: got %q, want nobody", got)
		}
		unknown := add("unknown", func(lr *redsession.LegacyRecord) { lr.CreatedAt = time.Time{} })
		if got := unknown.Get("/times").Text; got != "true true" {
			t.Errorf("an unknown login: got %q, want a user and no time", got)
		}
		if got := unknown.Get("/recent").StatusCode; got != http.StatusUnauthorized {
			t.Errorf("an unknown login asked to be recent: got %d, want 401", got)
		}
		aged := add("aged", func(lr *redsession.LegacyRecord) { lr.CreatedAt = e.Clock.Now().Add(-29 * day) })
		if got := aged.Get("/recent").StatusCode; got != http.StatusNotFound {
			t.Errorf("a known login: got %d, want it passed on", got)
		}
		e.Advance(t, day+23*time.Hour)
		if got := aged.Must().Text; got != "alice cart=[tea]" {
			t.Errorf("older than AbsoluteTimeout, but with time left: got %q, want alice", got)
		}
		e.Advance(t, 2*time.Hour)
		if got := aged.Must().Text; got != "" {
			t.Errorf("past what it had left: got %q, want nobody", got)
		}
		kept := add("kept", func(lr *redsession.LegacyRecord) { lr.Persistent = true }).Must().SetCookies()
		if len(kept) != 1 || kept[0].MaxAge < int((29*day)/time.Second) {
			t.Errorf("a persistent one: got %v, want a cookie that outlives the browser", kept)
		}
		if got := add("brief", func(*redsession.LegacyRecord) {}).Must().SetCookies(); len(got) != 1 || got[0].MaxAge != 0 {
			t.Errorf("one for the browser's session: got %v, want a cookie without Max-Age", got)
		}
		for i, created := range []time.Time{time.Unix(-1, 0), time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), e.Clock.Now().Add(day)} {
			if got := add(fmt.Sprint("odd", i), func(lr *redsession.LegacyRecord) { lr.CreatedAt = created }).Must().Text; got != "alice cart=[tea]" {
				t.Errorf("created at %s: got %q, want alice", created, got)
			}
		}
	})
}
