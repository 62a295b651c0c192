package login_test

import (
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

// A logout that is clicked twice, of which the second answer comes late, must not take the cookie of a login in between.
func TestLogoutClickedTwiceLeavesANewerLoginItsCookie(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		st := stage.NewScripted(t, e.Manager(t))
		for _, row := range []struct {
			ops     string
			status  int
			cookies int
		}{
			{"logout", 200, 0},
			{"logout flash:bye", 200, 0},
			{"logout csrf", 200, 0},
			{"logout set:a:1", 409, 0},
			{"logout flash:bye login:bob", 200, 1},
		} {
			st.Must("login:alice")
			twice := st.Fork(st.Cookie())
			st.Must("logout flash:bye")
			again := twice.Do(row.ops)
			if again.StatusCode != row.status || len(again.SetCookies()) != row.cookies {
				t.Errorf("%s: got %d and %d cookies, want %d and %d", row.ops, again.StatusCode, len(again.SetCookies()), row.status, row.cookies)
			}
		}
	})
}

func TestLogoutEndsRequestsInFlight(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		st := stage.NewScripted(t, e.Manager(t))
		st.Must("login:alice set:memo:old")
		cookie := st.Cookie()
		want := map[string]int{"hold": 200, "hold set:memo:late": 409, "hold add:n": 409, "hold logout": 200}
		late := map[string]func() stage.Answer{}
		for ops := range want {
			late[ops] = st.Fork(cookie).Hold(ops)
		}
		st.Must("logout set:memo:new")
		for ops, release := range late {
			a := release()
			if a.StatusCode != want[ops] {
				t.Errorf("%q: got status %d, want %d", ops, a.StatusCode, want[ops])
			}
			if strings.Contains(ops, "logout") {
				continue // its client asked for the cookie to go
			}
			if len(a.SetCookies()) != 0 {
				t.Errorf("%q: got cookies %v, want none", ops, a.SetCookies())
			}
		}
		if got := st.Do().Text; got != "memo=new" {
			t.Errorf("the session begun at logout: got %q, want memo=new", got)
		}
		if got := len(e.Dump(t)); got != 2 {
			t.Errorf("got %d keys with a value, want the tombstone and the new record", got)
		}
	})
}
