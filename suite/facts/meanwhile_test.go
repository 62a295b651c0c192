package facts_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// Another request of the actor limits their session while they begin to act: that holds for what they act in.
func TestActingKeepsALimitSetMeanwhile(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, e *stage.Env, maker stage.Maker) {
		gate := make(stage.Gate)
		st := stage.NewScripted(t, maker(t), stage.Handlers{
			"/act": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				gate.Pass()
				s.Login("alice", redsession.By("bob"), redsession.RememberFor(90*24*time.Hour))
			},
			"/limit": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.LimitTo(time.Hour) },
			"/ends": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				if left := s.ExpiresAt().Sub(e.Clock.Now()); s.ActorID() != "bob" || left > time.Hour {
					t.Errorf("got %q for %s, want bob for an hour at most", s.ActorID(), left)
				}
			},
		})
		st.Must("login:bob")
		other, done := st.With(st.Cookie()), make(chan stage.Answer)
		go func() { done <- st.Get("/act") }()
		leave := <-gate
		other.Get("/limit")
		close(leave)
		if a := <-done; a.StatusCode != http.StatusOK {
			t.Errorf("got %d %q", a.StatusCode, a.Text)
		}
		st.Get("/ends")
	})
}

// Whatever ends a session in which somebody acts, the event says who did.
func TestEventsOfActingNameTheActor(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	stamps := stage.NewStamps("v1")
	m := e.Manager(t, stamps.Configure, func(c *redsession.Config) { c.OnReplay = redsession.EndSession })
	for name, end := range map[string]func(st *stage.Scripted){
		"a logout":        func(st *stage.Scripted) { st.Must("logout") },
		"Revoke":          func(st *stage.Scripted) { _ = m.Revoke(t.Context(), st.Must().Header.Get("X-Id")) },
		"RevokeUser":      func(*stage.Scripted) { revokeUser(t, m.Admin, "alice", 1) },
		"RevokeTagged":    func(*stage.Scripted) { _, _ = m.RevokeTagged(t.Context(), "desk") },
		"a changed stamp": func(st *stage.Scripted) { stamps.Set("v2", nil); st.Must() },
		"a job that finds the stamp changed": func(st *stage.Scripted) {
			id := st.Must().Header.Get("X-Id")
			stamps.Set("v2", nil)
			_ = m.Change(t.Context(), id, func(*redsession.Session) error { return nil })
		},
		"a replay": func(st *stage.Scripted) {
			old := st.Fork(st.Cookie())
			st.Must("rotate")
			st.Must()
			e.Advance(t, 2*time.Minute)
			old.Must()
		},
	} {
		e.Advance(t, time.Second)
		stamps.Set("v1", nil)
		st := stage.NewScripted(t, m)
		st.Must("login:bob")
		st.Must("login:alice:by=bob,tag=desk")
		e.Events.Forget()
		end(st)
		told := append(e.Events.Of(redsession.EventRevoked), e.Events.Of(redsession.EventLogout)...)
		if len(told) != 1 || told[0].UserID != "alice" || told[0].ActorID != "bob" {
			t.Errorf("%s: got %+v, want the end of bob's acting as alice", name, told)
		}
	}
}
