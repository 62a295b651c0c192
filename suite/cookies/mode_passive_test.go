package cookies_test

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// TestPassiveRequestsOfAModeWithSeveralCookies brings a rotated session's two ids, a visitor's session and, from the
// other mode, that of another user, in any order. The user's is chosen, no hit touches the others, and a passive one
// touches none.
func TestPassiveRequestsOfAModeWithSeveralCookies(t *testing.T) {
	t.Parallel()
	const idle, slack = 7 * 24 * time.Hour, 20 * time.Second
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		h := askerOf(e.Manager(t, bothModes, passiveByHeader), e)
		left := func(value string) time.Duration {
			d, err := e.Client.PTTL(t.Context(), stage.KeyOf(t, value)).Result()
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		for i, way := range ways {
			for name, fields := range map[string][]string{"passive": {"X-Poll", "1"}, "active": nil} {
				t.Run(way.name+", "+name, func(t *testing.T) {
					own, other := "session", ways[0]
					if way.secure {
						own, other = "__Host-session", ways[2]
					}
					begin := func(base, proto, ops string, cookies ...string) *http.Cookie {
						return send(h, base, proto, ops, strings.Join(cookies, "; ")).SetCookies()[0]
					}
					late := begin(way.base, way.proto, "login:alice")
					user := begin(way.base, way.proto, "rotate", own+"="+late.Value)
					guest := begin(way.base, way.proto, "set:a:1")
					stranger := begin(other.base, other.proto, "login:bob")
					send(h, way.base, way.proto, "", own+"="+user.Value) // seen
					e.Advance(t, time.Hour)
					tomb, guestLeft, strangerLeft, userLeft := left(late.Value), left(guest.Value), left(stranger.Value), left(user.Value)
					list := []string{own + "=" + late.Value, own + "=" + user.Value, own + "=" + guest.Value, stranger.Name + "=" + stranger.Value}
					random := rand.New(rand.NewPCG(uint64(i), 1))
					for range 6 {
						random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
						if a := send(h, way.base, way.proto, "", strings.Join(list, "; "), fields...); a.Text != "alice" || sets(a) != "" {
							t.Fatalf("got %q and %q, want alice and no cookie", a.Text, sets(a))
						}
					}
					if name == "active" {
						userLeft = idle
					}
					for what, pair := range map[string][2]time.Duration{
						"the user's": {userLeft, left(user.Value)}, "its old id": {tomb, left(late.Value)},
						"the visitor's": {guestLeft, left(guest.Value)}, "that of the other mode": {strangerLeft, left(stranger.Value)},
					} {
						if pair[1] > pair[0] || pair[1] < pair[0]-slack {
							t.Errorf("%s: got %s left, want %s", what, pair[1], pair[0])
						}
					}
				})
			}
		}
	})
}

func passiveByHeader(c *redsession.Config) {
	c.Passive = func(r *http.Request) bool { return r.Header.Get("X-Poll") != "" }
}

// TestCookiesOfBothModesPastTheirEnd: a request expires what is its own mode's, and one that is passive nothing.
func TestCookiesOfBothModesPastTheirEnd(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	h := askerOf(e.Manager(t, bothModes, passiveByHeader), e)
	var list []string
	for _, way := range ways {
		c := send(h, way.base, way.proto, "login:alice", "").SetCookies()[0]
		list = append(list, c.Name+"="+c.Value)
	}
	e.Advance(t, 31*24*time.Hour)
	for _, way := range ways {
		want := "-session"
		if way.secure {
			want = "-__Host-session"
		}
		if a := send(h, way.base, way.proto, "", strings.Join(list, "; "), "X-Poll", "1"); sets(a) != "" {
			t.Errorf("%s, passive: got %q, want the cookies left", way.name, sets(a))
		}
		if a := send(h, way.base, way.proto, "", strings.Join(list, "; ")); sets(a) != want {
			t.Errorf("%s: got %q, want %q", way.name, sets(a), want)
		}
	}
}
