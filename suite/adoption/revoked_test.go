package adoption_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// TestAdoptionOfWhoWasRevokedIsRefused revokes a user of whose session this package has not heard yet.
func TestAdoptionOfWhoWasRevokedIsRefused(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		byManager := func(t *testing.T, m *redsession.Manager) error {
			return stage.ErrorOf(m.RevokeUser(t.Context(), "alice"))
		}
		byOperator := func(t *testing.T, _ *redsession.Manager) error {
			return stage.ErrorOf(e.Operator(t, "").RevokeUser(t.Context(), "alice"))
		}
		fromAnother := func(t *testing.T, m *redsession.Manager) (err error) {
			sends := stage.NewScripted(t, m, stage.Handlers{"/others": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
				s.Login("alice")
				_, err = m.RevokeOthers(r.Context(), s)
				s.Logout()
			}})
			sends.Get("/others")
			return err
		}
		for way, make := range e.BothWays() {
			for _, row := range []struct {
				name   string
				revoke func(*testing.T, *redsession.Manager) error
				later  time.Duration
				login  time.Duration // of the old session, after the revocation; 0 for unknown
				want   string
			}{
				{"a login before", byManager, time.Second, -time.Hour, ""},
				{"a login long before", byManager, 40 * time.Hour, -time.Hour, ""},
				{"a login before, revoked by an operator", byOperator, 40 * time.Hour, -time.Hour, ""},
				{"a login of unknown time", byManager, time.Hour, 0, ""},
				{"a login before, revoked from another session", fromAnother, 40 * time.Hour, -time.Hour, ""},
				{"a login afterwards", byManager, time.Hour, time.Minute, "alice cart=[tea]"},
			} {
				for _, how := range []string{"taken over", "imported first"} {
					t.Run(row.name+", "+how+", "+way, func(t *testing.T) {
						e.Client.FlushAll(t.Context())
						old := &stage.OldStore{}
						m := make(t, stage.Adopting(old.SideBySide()))
						st := stage.NewScripted(t, m).WithOldCookie("one")
						if err := row.revoke(t, m); err != nil {
							t.Fatal(err)
						}
						lr := stage.OldSession(e, "one", "alice")
						if lr.CreatedAt = e.Clock.Now().Add(row.login); row.login == 0 {
							lr.CreatedAt = time.Time{}
						}
						e.Advance(t, row.later)
						old.Put(lr)
						if how == "imported first" {
							want := redsession.ImportEnded
							if row.want != "" {
								want = redsession.ImportStored
							}
							if out, err := m.Import(t.Context(), []redsession.LegacyRecord{lr}, false); err != nil || out[0].Status != want {
								t.Errorf("got %v, %v, want status %d", out, err, want)
							}
						}
						for range 2 {
							if got := st.Must().Text; got != row.want {
								t.Errorf("got %q with the old cookie, want %q", got, row.want)
							}
						}
						wantListed(t, m, min(len(row.want), 1))
						st.Must("login:alice")
						if got := st.Must("only:none").Text; got != "alice" {
							t.Errorf("got %q after a login here, want alice", got)
						}
					})
				}
			}
		}
	})
}

func wantListed(t *testing.T, m *redsession.Manager, want int) {
	t.Helper()
	if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != want {
		t.Errorf("got %d sessions of alice's, %v, want %d", len(infos), err, want)
	}
}

// The revocation comes between the reading of the old record and the storing of ours.
func TestAdoptionUnderWayWhenItsUserIsRevokedIsRefused(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, make := range e.BothWays() {
			t.Run(way, func(t *testing.T) {
				e.Client.FlushAll(t.Context())
				old := olds(e, "one")
				l, elsewhere := old.Legacy(), e.Manager(t)
				l.Load = func(ctx context.Context, id string) (*redsession.LegacyRecord, error) {
					lr, err := old.Load(ctx, id)
					if n, err := elsewhere.RevokeUser(ctx, "alice"); n != 0 || err != nil {
						t.Errorf("got %d, %v, want nothing to revoke yet", n, err)
					}
					return lr, err
				}
				m := make(t, stage.Adopting(l))
				st := stage.NewScripted(t, m).WithOldCookie("one")
				if a := st.Do(); a.StatusCode != http.StatusOK || a.Text != "" || st.Cookie() != "" {
					t.Errorf("got %d %q and the cookie %q, want nobody and none", a.StatusCode, a.Text, st.Cookie())
				}
				wantListed(t, m, 0)
				if e.Living(t) != 0 {
					t.Errorf("got %d records, want none", e.Living(t))
				}
			})
		}
	})
}
