package facts_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// What ends the sessions of either ends that in which one acts as the other, and leaves no entry in the other's index.
func TestActingEndsWithEither(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, e *stage.Env, maker stage.Maker) {
		var alice, bob atomic.Int64 // their credentials change
		stamps := func(c *redsession.Config) {
			c.UserStamp = func(_ context.Context, user string) (string, error) {
				if user == "bob" {
					return fmt.Sprint(bob.Load()), nil
				}
				return fmt.Sprint(alice.Load()), nil
			}
		}
		m := maker(t, stamps)
		operator := e.Operator(t, "")
		for name, end := range map[string]func(){
			"RevokeUser of the actor":                  func() { revokeUser(t, m.Admin, "bob", 1) },
			"RevokeUser of the actor, without secrets": func() { revokeUser(t, operator, "bob", 1) },
			"RevokeUser of the user":                   func() { revokeUser(t, m.Admin, "alice", 1) },
			"the user's new password":                  func() { alice.Add(1) },
			"the actor's new password":                 func() { bob.Add(1) },
			"RevokeOthers of the user": func() {
				st := stage.NewScripted(t, m, acting(m))
				st.Must("login:alice")
				if a := st.Get("/others"); a.Text != "1 <nil>" {
					t.Errorf("got %q, want one ended", a.Text)
				}
				st.Must("logout")
			},
			"RevokeOthers of the actor": func() {
				st := stage.NewScripted(t, m, acting(m))
				st.Must("login:bob")
				if a := st.Get("/others"); a.Text != "1 <nil>" {
					t.Errorf("got %q, want one ended", a.Text)
				}
				st.Must("logout")
			},
		} {
			t.Run(name, func(t *testing.T) {
				e.Advance(t, time.Second)
				st := support(t, m)
				e.Advance(t, 3*time.Hour) // under another id
				st.Must()
				st.Must()
				stage.Until(t, "the entries of the new id alone", func() bool { return len(entries(t, e, "user")) == 2 })
				end()
				if got := st.Must().Text; got != "" {
					t.Errorf("got %q, want nobody", got)
				}
				stage.Until(t, "the entries to go", func() bool { return len(entries(t, e, "user")) == 0 })
			})
		}
	})
}

func revokeUser(t *testing.T, a *redsession.Admin, user string, want int) {
	t.Helper()
	if n, err := a.RevokeUser(t.Context(), user); n != want || err != nil {
		t.Errorf("RevokeUser: got %d, %v, want %d", n, err, want)
	}
}

// A session sealed before there was a stamp does not say that the actor's credentials are as they were.
func TestActingEndsWhenStampsBegin(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	st := support(t, e.Manager(t))
	with := stage.NewScripted(t, e.Manager(t, stage.NewStamps("v1").Configure)).Fork(st.Cookie())
	if got := with.Must().Text; got != "" {
		t.Errorf("got %q, want nobody", got)
	}
}

// Whoever acts as a user neither counts among the user's logins nor ends one of them, nor among their own.
func TestActingCountsForNothing(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, e *stage.Env, maker stage.Maker) {
		m := maker(t, func(c *redsession.Config) { c.MaxPerUser = 2 })
		var users, actors []*stage.Scripted
		login := func(user string) {
			t.Helper()
			e.Advance(t, time.Second)
			st := stage.NewScripted(t, m)
			st.Must("login:" + user)
			users = append(users, st)
		}
		act := func() {
			t.Helper()
			e.Advance(t, time.Second)
			actors = append(actors, support(t, m))
		}
		alive := func(all []*stage.Scripted) (text string) {
			for _, st := range all {
				text += map[bool]string{true: "0", false: "1"}[st.Must().Text == ""]
			}
			return text
		}
		act()
		login("alice")
		act()
		login("alice")
		act()
		if got := alive(users) + " " + alive(actors); got != "11 111" {
			t.Errorf("got %s alive, want all", got)
		}
		login("alice")
		if got := alive(users) + " " + alive(actors); got != "011 111" {
			t.Errorf("got %s alive, want the first of the user's own ended", got)
		}
		users = nil
		for range 3 {
			login("bob")
		}
		if got := alive(users) + " " + alive(actors); got != "011 111" {
			t.Errorf("got %s alive, want the first of the actor's own ended", got)
		}
	})
}

// A user who logs in where somebody acted as them gets nothing of what that left.
func TestActingLeavesNothingToTheUser(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, e *stage.Env, maker stage.Maker) {
		m := maker(t)
		st := support(t, m)
		st.Must("set:planted:1")
		acted := st.Fork(st.Cookie())
		e.Advance(t, time.Second)
		st.Must("login:alice")
		a := st.Must("facts")
		if got := a.Header.Get("X-Facts"); got != `alice "" [] 0[]` || a.Text != "alice" {
			t.Errorf("got %s and %q, want a session of alice's own, from empty", got, a.Text)
		}
		if got := acted.Must().Text; got != "" {
			t.Errorf("got %q of the session in which bob acted, want it ended", got)
		}
		if infos, err := m.Sessions(t.Context(), "alice"); len(infos) != 1 || err != nil || infos[0].ActorID != "" {
			t.Errorf("got %+v, %v, want alice's own", infos, err)
		}
	})
}

// Acting is no way round the end of the actor's own session.
func TestActingEndsWhenTheActorsSessionWouldHave(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, func(c *redsession.Config) { c.IdleTimeout = 20 * day })
		for _, row := range []struct {
			name  string
			login func(s *redsession.Session)
			days  int // that are left when bob begins to act
		}{
			{"by AbsoluteTimeout", func(s *redsession.Session) { s.Login("bob") }, 20},
			{"by LimitTo", func(s *redsession.Session) { s.Login("bob"); s.LimitTo(15 * day) }, 5},
		} {
			for name, opts := range map[string][]redsession.LoginOption{"": nil, ", RememberFor": {redsession.RememberFor(90 * day)}} {
				t.Run(row.name+name, func(t *testing.T) {
					st := stage.NewScripted(t, m, stage.Handlers{
						"/bob": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { row.login(s) },
						"/act": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
							s.Login("alice", append(opts, redsession.By("bob"))...)
						},
						"/extend": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) { s.Extend() },
					})
					st.Get("/bob")
					e.Advance(t, 10*day)
					st.Get("/act")
					if a := st.Get("/extend"); a.StatusCode != http.StatusInternalServerError {
						t.Errorf("Extend: got %d, want 500", a.StatusCode)
					}
					for day := range row.days {
						if got := st.Must().Text; got != "alice" {
							t.Errorf("got %q after %d days, want alice", got, day)
						}
						e.Advance(t, 24*time.Hour)
					}
					if got := st.Must().Text; got != "" {
						t.Errorf("got %q after %d days, want nobody", got, row.days)
					}
				})
			}
		}
	})
}

// Whatever else the request does, and however the session came to be, who acts as another does not stay for longer.
func TestActingIsNotExtended(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, e *stage.Env, maker stage.Maker) {
		m := maker(t, func(c *redsession.Config) {
			c.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) { http.Error(w, err.Error(), 500) }
		})
		extend := func(ops string) stage.Handlers {
			return stage.Handlers{"/extend": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
				for word := range strings.FieldsSeq(ops) {
					switch word {
					case "extend":
						s.Extend()
					case "set":
						redsession.Key[string]("note").Set(s, "lost")
					case "act":
						s.Login("alice", redsession.By("bob"))
					case "bob":
						s.Login("bob")
					case "keep":
						s.KeepID()
					case "rotate":
						s.Rotate()
					}
				}
			}}
		}
		for _, row := range []struct {
			name   string
			before []string
			later  time.Duration
			ops    string
			want   int
		}{
			{"by itself", []string{"login:bob", "login:alice:by=bob"}, 0, "extend", 500},
			{"under the id that it has", []string{"login:bob", "login:alice:by=bob"}, 0, "keep extend", 500},
			{"with a value", []string{"login:bob", "login:alice:by=bob"}, 0, "set extend", 500},
			{"before a value and a rotation", []string{"login:bob", "login:alice:by=bob"}, 0, "extend set rotate", 500},
			{"after a timed rotation", []string{"login:bob", "login:alice:by=bob"}, 4 * time.Hour, "extend", 500},
			{"for one who acts after a second factor", []string{"half:bob", "promote", "login:alice:by=bob"}, 0, "extend", 500},
			{"for one who is remembered", []string{"remember:bob", "login:alice:by=bob"}, 0, "extend", 500},
			{"in the request that begins it", []string{"login:bob"}, 0, "act extend", 500},
			{"of one's own session", []string{"login:bob"}, 0, "extend", 200},
			{"of one's own session again", []string{"login:bob", "login:alice:by=bob", "logout", "login:bob"}, 0, "extend", 200},
		} {
			t.Run(row.name, func(t *testing.T) {
				st := stage.NewScripted(t, m, extend(row.ops))
				for _, ops := range row.before {
					st.Must(ops)
				}
				e.Advance(t, row.later)
				st.Must()
				was := st.Must()
				before, cookie := e.Dump(t), st.Cookie()
				a := st.Get("/extend")
				if a.StatusCode != row.want || row.want == 500 && !strings.Contains(a.Text, "somebody acts as its user") {
					t.Fatalf("got %d %q, want %d", a.StatusCode, a.Text, row.want)
				}
				if row.want == 200 {
					return
				}
				if after := e.Dump(t); !maps.Equal(after, before) || st.Cookie() != cookie {
					t.Errorf("got %d values in Redis and another cookie %v, want the %d of before", len(after), st.Cookie() != cookie, len(before))
				}
				if now := st.Must(); now.Text != was.Text {
					t.Errorf("got %q afterwards, want %q", now.Text, was.Text)
				}
			})
		}
	})
}
