package facts_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// acting are pages that only some may see, and what a user does about other sessions.
func acting(m *redsession.Manager) stage.Handlers {
	hs := stage.GuardedHandlers(m)
	hs["/others"] = func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		n, err := m.RevokeOthers(r.Context(), s)
		fmt.Fprint(w, n, err)
	}
	return hs
}

// support is a browser in which bob acts as alice.
func support(t *testing.T, m *redsession.Manager) *stage.Scripted {
	t.Helper()
	st := stage.NewScripted(t, m, acting(m))
	st.Must("login:bob set:a:1")
	st.Must("login:alice:by=bob")
	return st
}

func TestActorIsKnownToUserOperatorAndLog(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, e *stage.Env, maker stage.Maker) {
		e.Events.Forget()
		m := maker(t)
		user := stage.NewScripted(t, m)
		user.Must("login:alice")
		e.Advance(t, time.Second)
		st := support(t, m)
		if a := st.Must("facts"); a.Header.Get("X-Facts") != `alice "" [] 0[] by bob` || a.Text != "alice" {
			t.Errorf("got %s and %q, want alice's by bob, and nothing of bob's", a.Header.Get("X-Facts"), a.Text)
		}
		infos, err := m.Sessions(t.Context(), "alice")
		if len(infos) != 2 || err != nil || infos[0].ActorID != "bob" || infos[1].ActorID != "" {
			t.Errorf("got %+v, %v, want both of alice's, the latest by bob", infos, err)
		}
		if infos, err := m.Sessions(t.Context(), "bob"); len(infos) != 0 || err != nil {
			t.Errorf("got %+v, %v, want none of bob's", infos, err)
		}
		if a := st.Get("/account"); a.StatusCode != http.StatusOK {
			t.Errorf("RequireLogin: got %d, want 200", a.StatusCode)
		}
		if a := st.Get("/money"); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("RequireRecentLogin: got %d, want 401: alice has not logged in there", a.StatusCode)
		}
		if a := st.Get("/others"); !strings.HasPrefix(a.Text, "0") || !strings.Contains(a.Text, "acts") || user.Must().Text != "alice" {
			t.Errorf("RevokeOthers: got %q, want an error", a.Text)
		}
		for range 2 { // rotations keep it
			e.Advance(t, 3*time.Hour)
			if got := st.Must("facts").Header.Get("X-Facts"); got != `alice "" [] 0[] by bob` {
				t.Errorf("got %s after a rotation", got)
			}
		}
		st.Must("logout")
		for _, kind := range []redsession.EventKind{redsession.EventLogin, redsession.EventRotated, redsession.EventLogout} {
			found := false
			for _, event := range e.Events.Of(kind) {
				found = found || event.UserID == "alice" && event.ActorID == "bob"
			}
			if !found {
				t.Errorf("got no event %s of alice by bob", kind)
			}
		}
		if !strings.Contains(e.Events.Log(), "actor=bob") {
			t.Error("the log does not name the actor")
		}
	})
}

func TestActorMustHaveTheSession(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, _ *stage.Env, maker stage.Maker) {
		m := maker(t)
		for _, row := range []struct {
			name     string
			requests []string
			ops      string
			left     string
		}{
			{"nobody", nil, "login:alice:by=bob", `nobody "" [] 0[]`},
			{"an anonymous session", []string{"set:a:1"}, "login:alice:by=bob", `nobody "" [] 0[]`},
			{"another user", []string{"login:carol"}, "login:alice:by=bob", `carol "" [] 0[]`},
			{"half of a login", []string{"half:bob"}, "login:alice:by=bob", `nobody "" [] 0[]`},
			{"a login of the same request", nil, "login:bob login:alice:by=bob", `nobody "" [] 0[]`},
			{"after a logout in the same request", []string{"login:bob"}, "logout login:alice:by=bob", `nobody "" [] 0[]`},
			{"who acts already, as the actor", []string{"login:bob", "login:alice:by=bob"}, "login:carol:by=bob", `alice "" [] 0[] by bob`},
			{"who acts already, as the user", []string{"login:bob", "login:alice:by=bob"}, "login:carol:by=alice", `alice "" [] 0[] by bob`},
			{"who begins to act in the same request", []string{"login:bob"}, "login:alice:by=bob login:carol:by=alice", `bob "" [] 0[]`},
			{"themselves", []string{"login:bob"}, "login:bob:by=bob", `bob "" [] 0[]`},
		} {
			t.Run(row.name, func(t *testing.T) {
				st := stage.NewScripted(t, m)
				for _, ops := range row.requests {
					st.Must(ops)
				}
				a := st.Do(row.ops)
				left := st.Must("facts").Header.Get("X-Facts")
				if a.StatusCode != http.StatusInternalServerError || left != row.left {
					t.Errorf("got %d and %s, want 500 and %s", a.StatusCode, left, row.left)
				}
			})
		}
		t.Run("a login before a Save of the same request is one", func(t *testing.T) {
			st := stage.NewScripted(t, m)
			st.Must("login:bob save login:alice:by=bob")
			if got := st.Must("facts").Header.Get("X-Facts"); got != `alice "" [] 0[] by bob` {
				t.Errorf("got %s", got)
			}
		})
	})
}

// Whoever was revoked, or whose session has ended, while they began to act does not act.
func TestActorWhoWasRevokedMeanwhileDoesNotAct(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, e *stage.Env, maker stage.Maker) {
		m := maker(t)
		for name, end := range map[string]func(st *stage.Scripted) error{
			"all of the actor's":     func(*stage.Scripted) error { _, err := m.RevokeUser(t.Context(), "bob"); return err },
			"the actor's session":    func(st *stage.Scripted) error { return m.Revoke(t.Context(), st.Must().Header.Get("X-Id")) },
			"by the actor's logout":  func(st *stage.Scripted) error { st.Fork(st.Cookie()).Must("logout"); return nil },
			"by a login of another":  func(st *stage.Scripted) error { st.Fork(st.Cookie()).Must("login:carol"); return nil },
			"by the actor's login":   func(st *stage.Scripted) error { st.Fork(st.Cookie()).Must("login:bob"); return nil },
			"by acting as a third":   func(st *stage.Scripted) error { st.Fork(st.Cookie()).Must("login:carol:by=bob"); return nil },
			"all of the user's":      func(*stage.Scripted) error { _, err := m.RevokeUser(t.Context(), "alice"); return err },
			"all with the tag there": func(*stage.Scripted) error { _, err := m.RevokeTagged(t.Context(), "a"); return err },
		} {
			t.Run(name, func(t *testing.T) {
				e.Advance(t, time.Second)
				st := stage.NewScripted(t, m)
				st.Must("login:bob")
				release := st.Hold("hold login:alice:by=bob,tag=a")
				e.Advance(t, time.Millisecond)
				if err := end(st); err != nil {
					t.Fatal(err)
				}
				if a := release(); a.StatusCode != http.StatusConflict || len(a.SetCookies()) != 0 {
					t.Errorf("got %d and the cookies %v, want 409 and none", a.StatusCode, a.SetCookies())
				}
				if infos, err := m.Sessions(t.Context(), "alice"); len(infos) != 0 || err != nil {
					t.Errorf("got %v, %v, want no session of alice's", infos, err)
				}
			})
		}
		t.Run("a write to the actor's session, or a rotation, is no end", func(t *testing.T) {
			st := stage.NewScripted(t, m)
			e.Advance(t, time.Second)
			st.Must("login:bob")
			release := st.Hold("hold login:alice:by=bob")
			st.Fork(st.Cookie()).Must("set:a:1")
			st.Fork(st.Cookie()).Must("rotate")
			if a := release(); a.StatusCode != http.StatusOK {
				t.Errorf("got %d, want 200", a.StatusCode)
			}
			if got := st.Must("facts").Header.Get("X-Facts"); got != `alice "" [] 0[] by bob` {
				t.Errorf("got %s", got)
			}
		})
	})
}
