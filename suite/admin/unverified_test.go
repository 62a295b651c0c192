package admin_test

import (
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// TestAdminListKeepsTheEntryOfASessionThatItCannotVerify is a server that has not got the newer secret yet, while
// secrets are rotated in the wrong order.
func TestAdminListKeepsTheEntryOfASessionThatItCannotVerify(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		ahead := e.Manager(t, func(c *redsession.Config) { c.Secrets = [][]byte{stage.NewerSecret, stage.Secret} })
		behind := e.Manager(t, func(c *redsession.Config) { c.MaxPerUser = 2 })
		b, late := stage.LifeBrowser(t, ahead, nil), stage.LifeBrowser(t, behind, nil)
		bs := logins(t, e, b, "alice", 3)
		if infos, err := behind.Sessions(t.Context(), "alice"); err != nil || len(infos) != 0 {
			t.Errorf("got %v, %v, want none that the server can verify", infos, err)
		}
		late.Get("/login?user=alice")
		if got := alives(bs); got != "111" {
			t.Errorf("got %s alive, want all", got)
		}
		if infos, err := ahead.Sessions(t.Context(), "alice"); err != nil || len(infos) != 4 {
			t.Errorf("got %d sessions, %v, want all in the index still", len(infos), err)
		}
		if n, err := behind.RevokeUser(t.Context(), "alice"); err != nil || alives(bs) != "000" {
			t.Errorf("got %d, %v and %s alive, want all ended", n, err, alives(bs))
		}
	})
}
