package admin_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestAdminEndsSessionsOnARedisThatDoesNotKnowTheScript(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		b := stage.LifeBrowser(t, e.Manager(t), nil)
		users := []string{"nobody", "alice", "bob"}
		browsers := []*stage.Browser{b.Fresh(), b.Fresh(), b.Fresh()}
		for i, user := range users[1:] {
			browsers[i+1].Get("/login?user=" + user)
		}
		forget := func() {
			t.Helper()
			if err := e.Client.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		a := e.Operator(t, "")
		for i, want := range []int{0, 1} {
			forget()
			if n, err := a.RevokeUser(t.Context(), users[i]); n != want || err != nil {
				t.Errorf("RevokeUser of %s: got %d and %v, want %d", users[i], n, err, want)
			}
		}
		id := browsers[2].State().ID
		forget()
		if ended, err := a.RevokeOf(t.Context(), "bob", id); !ended || err != nil {
			t.Errorf("RevokeOf: got %t and %v, want it ended", ended, err)
		}
		if got := alives(browsers); got != "000" {
			t.Errorf("got %s logged in, want none", got)
		}
	})
}
