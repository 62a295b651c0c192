package login_test

import (
	"net/http"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// TestLoginWhoseAnswerWasLost is a browser that still shows the id from before its login, or from before its logout.
func TestLoginWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, make := range e.BothWays() {
			m := make(t)
			root := stage.LifeBrowser(t, m, stage.GuardedHandlers(m))
			for _, row := range []struct {
				name     string
				before   []string // which the browser sees the answers of
				lost     string   // and of this it does not
				after    []string
				status   int // of the last
				user     string
				note     string
				sessions int // of alice's
			}{
				{"the login once more", []string{"/set?v=cart"}, "/login?user=alice", []string{"/login?user=alice"}, 200, "alice", "cart", 1},
				{"the login once more, late", []string{"/set?v=cart"}, "/login?user=alice", []string{"+50s", "/login?user=alice"}, 200, "alice", "cart", 1},
				{"the login again once more", []string{"/login?user=alice", "/set?v=cart"}, "/login?user=alice", []string{"/login?user=alice"}, 200, "alice", "cart", 1},
				{"the first factor once more", []string{"/set?v=cart"}, "/half?user=alice", []string{"/half?user=alice", "/second"}, 200, "alice", "cart", 1},
				{"the second factor once more", []string{"/half?user=alice"}, "/second", []string{"/second"}, 500, "", "", 1},
				{"half of a login goes on from no whole one", []string{"/set?v=cart"}, "/login?user=alice", []string{"/half?user=alice", "/second"}, 200, "alice", "", 2},
				{"a login as somebody else starts empty", []string{"/set?v=cart"}, "/login?user=alice", []string{"/login?user=bob"}, 200, "bob", "", 1},
				{"a login after a logout starts empty", []string{"/login?user=alice", "/set?v=cart"}, "/logout", []string{"/login?user=alice"}, 200, "alice", "", 1},
				{"a read is nobody's", []string{"/set?v=cart"}, "/login?user=alice", []string{"/who"}, 200, "", "", 1},
				{"a write is refused", []string{"/set?v=cart"}, "/login?user=alice", []string{"+9s", "/set?v=late"}, 409, "", "", 1},
				{"a write after ten seconds begins anew", []string{"/set?v=cart"}, "/login?user=alice", []string{"+11s", "/set?v=anew"}, 200, "", "anew", 1},
				{"a write after ten seconds of a logout begins anew", []string{"/login?user=alice"}, "/logout", []string{"+11s", "/set?v=anew"}, 200, "", "anew", 0},
				{"a logout touches nothing", []string{"/set?v=cart"}, "/login?user=alice", []string{"/logout"}, 200, "", "", 1},
			} {
				t.Run(row.name+", "+way, func(t *testing.T) {
					e.Client.FlushAll(t.Context())
					b := root.Fresh()
					b.T = t
					b.Play(e, row.before...)
					b.With(b.Cookie()).Get(row.lost)
					if a := b.Play(e, row.after...); a.StatusCode != row.status {
						t.Errorf("got %d, want %d", a.StatusCode, row.status)
					}
					if st := b.State(); st.User != row.user || st.Note != row.note {
						t.Errorf("got user %q with %q, want %q with %q", st.User, st.Note, row.user, row.note)
					}
					if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != row.sessions {
						t.Errorf("got %d sessions of alice's, %v, want %d", len(infos), err, row.sessions)
					}
				})
			}
		}
	})
}

func TestLoginFormShownAfterALostAnswerWorks(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t)
	login := func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		if !s.VerifyCSRF(r.FormValue("token")) {
			http.Error(w, "forged", http.StatusForbidden)
			return
		}
		s.Login("alice")
	}
	more := stage.GuardedHandlers(m)
	more["/checked"] = login
	root := stage.LifeBrowser(t, m, more)
	for _, ends := range []string{"/login?user=alice", "/logout"} {
		for _, wait := range []string{"+0s", "+20s"} {
			b := root.Fresh()
			b.Play(e, "/login?user=alice")
			old := b.With(b.Cookie())
			b.Get(ends)
			token := old.Get("/token").Text
			if a := old.Get("/token"); len(a.SetCookies()) != 0 {
				t.Errorf("%s: got cookies %v with the form, want none", ends, a.SetCookies())
			}
			for _, stranger := range []*stage.Browser{b, root.Fresh()} {
				if got := stranger.Get("/verify?token=" + token).Text; got != "false" {
					t.Errorf("%s: got %s in another session, want false", ends, got)
				}
			}
			if a := old.Play(e, wait, "/checked?token="+token); a.StatusCode != http.StatusOK || old.Get("/who").Text != "alice" {
				t.Errorf("%s and %s: got %d %q, want alice logged in", ends, wait, a.StatusCode, a.Text)
			}
		}
	}
}

// TestLoginClickedManyTimesLosesNothing clicks on the button while a first click is under way.
func TestLoginClickedManyTimesLosesNothing(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, make := range e.BothWays() {
			t.Run(way, func(t *testing.T) {
				e.Client.FlushAll(t.Context())
				m := make(t)
				root := stage.NewScripted(t, m)
				for _, before := range []string{"set:cart:1", "login:alice set:cart:1"} {
					e.Client.FlushAll(t.Context())
					st := root.Fork("")
					st.Must(before)
					clicks := stage.AtOnce(8, func(int) stage.Answer { return st.Fork(st.Cookie()).Must("add:n login:alice") })
					var alive []string
					for _, a := range clicks {
						if text := st.Fork(a.SetCookies()[0].Value).Do().Text; text != "" {
							alive = append(alive, text)
						}
					}
					if len(alive) != 1 || alive[0] != "alice cart=1 n=8" {
						t.Errorf("%s: got sessions %q, want one with the cart and all that the clicks did", before, alive)
					}
					if infos, err := m.Sessions(t.Context(), "alice"); err != nil || len(infos) != 1 {
						t.Errorf("%s: got %d sessions, %v, want one", before, len(infos), err)
					}
				}
			})
		}
	})
}
