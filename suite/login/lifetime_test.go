package login_test

import (
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestLoginLifetimes(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name       string
		persistent bool
		steps      []string
		maxAge     time.Duration // 0: until the browser closes
		last       string        // a wait without a hit that the session survives
		end        string        // one after a hit that it does not
	}{
		{"a plain login is gone with the browser, and after 7 idle days", false, []string{"/login?user=alice"}, 0, "+167h59m", "+168h1m"},
		{"a persistent cookie lasts as long as the session may", true, []string{"/login?user=alice"}, 30 * day, "+167h59m", "+168h1m"},
		{"an old session's persistent cookie has the rest", true, []string{"/login?user=alice", "+48h", "/who"}, 28 * day, "+167h59m", "+168h1m"},
		{"RememberFor is longer than both timeouts", false, []string{"/remember?for=1440h"}, 60 * day, "+1439h59m", "+2m"},
		{"RememberFor is shorter, and no hit prolongs it", false, []string{"/remember?for=2h", "+1h", "/rotate"}, time.Hour, "+59m", "+2m"},
		{"RememberFor survives the second factor", false, []string{"/remember?for=1440h&half=1", "+9m", "/second"}, 60 * day, "+1439h59m", "+2m"},
		{"a half-open login is not remembered yet", false, []string{"/remember?for=1440h&half=1"}, 10 * time.Minute, "+9m", "+2m"},
		{"browsers cap a cookie at 400 days", false, []string{"/remember?for=12000h"}, 400 * day, "+11999h59m", "+2m"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
				m := e.Manager(t, func(c *redsession.Config) { c.Cookie.Persistent = tt.persistent })
				b := stage.LifeBrowser(t, m, stage.GuardedHandlers(m))
				set := b.Play(e, tt.steps...).SetCookies()
				if len(set) != 1 || (time.Duration(set[0].MaxAge)*time.Second-tt.maxAge).Abs() > time.Second {
					t.Errorf("got %v, want one cookie for %s", set, tt.maxAge)
				}
				b = b.With(set[0].Value) // past its Max-Age too
				if b.Play(e, tt.last); b.State().User+b.State().Pending != "alice" {
					t.Errorf("got user %q after %s, want alice", b.State().User, tt.last)
				}
				if b.Play(e, tt.end); b.State().User+b.State().Pending != "" {
					t.Errorf("got user %q after %s more, want none", b.State().User, tt.end)
				}
			})
		})
	}
}
