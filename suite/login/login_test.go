package login_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestLoginWithAnotherRequestInFlight(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		root := stage.NewScripted(t, e.Manager(t))
		for _, row := range []struct{ name, before, held, meanwhile, want, then string }{
			{"what was written before the login commits comes along", "set:a:0 add:n", "login:alice set:c:1 add:n", "set:b:1 add:n", "200 200", "alice a=0 b=1 c=1 n=3"},
			{"what comes after the login is refused", "set:a:0", "set:b:1", "login:alice", "409 200", "alice a=0"},
			{"a user's writes before another login come along", "login:alice set:a:0", "login:alice", "set:b:1", "200 200", "alice a=0 b=1"},
			{"another user does not get them", "login:alice set:a:0", "login:bob", "set:b:1", "200 200", "bob"},
			{"a login that comes after a logout starts empty", "set:a:0", "login:alice set:c:1", "logout", "200 200", "alice c=1"},
			{"a deletion before the login commits is kept", "set:a:0 set:b:0", "login:alice", "del:a", "200 200", "alice b=0"},
		} {
			t.Run(row.name, func(t *testing.T) {
				st := root.Fork("")
				st.Must(row.before)
				other := root.Fork(st.Cookie())
				release := st.Hold("hold " + row.held)
				meanwhile := other.Do(row.meanwhile)
				held := release()
				if got := fmt.Sprint(held.StatusCode, meanwhile.StatusCode); got != row.want {
					t.Errorf("got statuses %s, want %s", got, row.want)
				}
				if held.StatusCode != http.StatusOK {
					st = other
				}
				if got := st.Do().Text; got != row.then {
					t.Errorf("got %q, want %q", got, row.then)
				}
			})
		}
	})
}

func TestLoginTwiceFromOneAnonymousSession(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		root := stage.NewScripted(t, e.Manager(t))
		for _, users := range [][2]string{{"alice", "alice"}, {"alice", "bob"}} {
			st := root.Fork("")
			st.Must("set:cart:1")
			var browsers [2]*stage.Scripted
			var release [2]func() stage.Answer
			for i := range browsers {
				browsers[i] = root.Fork(st.Cookie())
				release[i] = browsers[i].Hold("hold login:" + users[i])
			}
			stage.Parallel(2, func(i int) {
				if a := release[i](); a.StatusCode != http.StatusOK || len(a.SetCookies()) != 1 {
					t.Errorf("login %d: got %d and cookies %v, want 200 and one", i, a.StatusCode, a.SetCookies())
				}
			})
			carried, ended := 0, 0
			for i, b := range browsers {
				switch got := b.Do().Text; got {
				case users[i]:
				case "":
					ended++
				case users[i] + " cart=1":
					carried++
				default:
					t.Errorf("login %d: got %q, want %s", i, got, users[i])
				}
			}
			if same := users[0] == users[1]; carried != 1 || (ended == 1) != same { // the later login goes on from the earlier
				t.Errorf("%v: got the anonymous session carried over by %d logins, and %d sessions ended", users, carried, ended)
			}
			if got := st.Do().Text; got != "" {
				t.Errorf("the old cookie reads %q, want an anonymous session", got)
			}
		}
	})
}

func TestLoginRepeatedSucceeds(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		root := stage.NewScripted(t, e.Manager(t))
		root.Must("set:cart:1")
		cookie := root.Cookie()
		first, second := root.Fork(cookie), root.Fork(cookie)
		release := second.Hold("hold login:alice")
		first.Must("login:alice")
		if a := release(); a.StatusCode != http.StatusOK {
			t.Errorf("the second click: got status %d, want 200", a.StatusCode)
		}
		third := root.Fork(cookie) // as if no answer had come
		third.Must("login:alice")
		e.Advance(t, time.Hour) // the tombstone has gone
		fourth := root.Fork(cookie)
		fourth.Must("login:alice")
		wants := []string{"", "", "alice cart=1", "alice"} // each goes on from the one before, but for the last
		for i, st := range []*stage.Scripted{first, second, third, fourth} {
			if got := st.Do().Text; got != wants[i] {
				t.Errorf("login %d: got %q, want %q", i+1, got, wants[i])
			}
		}
	})
}

func TestLoginOfNobodyPanics(t *testing.T) {
	t.Parallel()
	st := stage.NewScripted(t, stage.NewMini(t).Manager(t), stage.Handlers{"/nobody": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		defer func() { fmt.Fprint(w, recover()) }()
		s.Login("")
	}})
	if got := st.Get("/nobody"); !strings.Contains(got.Text, "Login") || len(got.SetCookies()) != 0 {
		t.Errorf("got %q and cookies %v, want a panic and none", got.Text, got.SetCookies())
	}
}
