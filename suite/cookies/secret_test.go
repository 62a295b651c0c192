package cookies_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// otherSecret is a secret that the servers under test do not have.
var otherSecret = []byte("another secret of thirty-two b..")

func TestCookieSecretRotation(t *testing.T) {
	t.Parallel()
	one, two := stage.Secret, otherSecret
	for _, row := range []struct {
		name          string
		first, second [][]byte
		want          bool
	}{
		{"a server that has the new secret last reads the old", [][]byte{one}, [][]byte{one, two}, true},
		{"a server without the new secret reads from one that has it last", [][]byte{one, two}, [][]byte{one}, true},
		{"a server that has the new secret first reads the old", [][]byte{one, two}, [][]byte{two, one}, true},
		{"a server that has the new secret last reads the new", [][]byte{two, one}, [][]byte{one, two}, true},
		{"a server that dropped the old secret reads the new", [][]byte{two, one}, [][]byte{two}, true},
		{"a server that dropped the old secret refuses the old", [][]byte{one}, [][]byte{two}, false},
		{"a server without the new secret refuses the new", [][]byte{two, one}, [][]byte{one}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := stage.NewMini(t)
			first := e.Manager(t, func(c *redsession.Config) { c.Secrets = row.first })
			second := e.Manager(t, func(c *redsession.Config) { c.Secrets = row.second })
			cookie := "session=" + stage.Issue(t, first, "/login")
			if !row.want {
				if a := stage.Ask(t, second, "/", cookie); a.Text != nobody || len(a.SetCookies()) != 0 {
					t.Errorf("got session %s and cookies %v, want %s and the cookie kept for the other servers", a.Text, a.SetCookies(), nobody)
				}
				return
			}
			stage.Ask(t, second, "/set", cookie)
			for name, m := range map[string]*redsession.Manager{"first": first, "second": second} {
				if got, want := stage.Ask(t, m, "/", cookie).Text, `"alice" [visited]`; got != want {
					t.Errorf("got session %s at the %s server after both wrote, want %s", got, name, want)
				}
			}
		})
	}
}

func TestCookieIsNotInRedisOrTheLog(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		cookies := []string{stage.Issue(t, m, "/set")}
		for _, path := range []string{"/login", "/set", "/rotate", "/logout", "/login", "/rotate"} {
			for _, c := range stage.Ask(t, m, path, "session="+cookies[len(cookies)-1]).SetCookies() {
				if c.Value != "" {
					cookies = append(cookies, c.Value)
				}
			}
		}
		seen := readable(t, e)
		for _, cookie := range cookies {
			sid := stage.SIDOf(t, cookie)
			for _, form := range []string{
				cookie, strings.TrimRight(cookie, "="), string(sid), hex.EncodeToString(sid), fmt.Sprint(sid),
				base64.RawURLEncoding.EncodeToString(sid)[:42], base64.RawStdEncoding.EncodeToString(sid)[:42],
			} {
				if strings.Contains(seen, form) {
					t.Errorf("%q, which leads to a cookie, is in Redis or in the log", form)
				}
			}
		}
		for _, word := range regexp.MustCompile(`[\w=-]{16,}`).FindAllString(seen, -1) {
			if got := stage.Ask(t, m, "/", "session="+word).Text; got != nobody {
				t.Errorf("got session %s for %q as the cookie, want %s", got, word, nobody)
			}
		}
	})
}

// readable returns all that an operator can read: every key with its value,
// the log and the events.
func readable(t *testing.T, e *stage.Env) string {
	t.Helper()
	var b strings.Builder
	for _, key := range e.Keys(t) {
		value, err := e.Client.Get(context.Background(), key).Result()
		if err != nil {
			value = strings.Join(e.Client.ZRange(context.Background(), key, 0, -1).Val(), " ")
		}
		fmt.Fprintln(&b, key, value)
	}
	fmt.Fprintln(&b, e.Events.Log(), e.Events.All())
	return b.String()
}
