package response_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestCookieIsSetOnceWhateverHappened(t *testing.T) {
	t.Parallel()
	things := []string{"set:a:1", "rotate", "save", "login:alice", "flash:hello", "logout"}
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		root := stage.NewScripted(t, e.Manager(t))
		for _, first := range things {
			for _, second := range things {
				for _, third := range things {
					ops := strings.Join([]string{first, second, third}, " ")
					st := root.Fork("")
					st.Must("login:bob set:b:1")
					st.Must() // the cookie is seen
					a := st.Must(ops)
					set, want := a.SetCookies(), 0
					if strings.Contains(ops, "log") || strings.Contains(ops, "rotate") {
						want = 1
					}
					if len(set) != want {
						t.Errorf("%s: got Set-Cookie %v, want %d", ops, set, want)
					}
					if len(set) > 0 && (a.Header.Get("Cache-Control") != "no-store" || !slices.Contains(a.Header.Values("Vary"), "Cookie")) {
						t.Errorf("%s: got Cache-Control %q and Vary %q with a cookie, want no-store and Cookie", ops, a.Header.Get("Cache-Control"), a.Header.Values("Vary"))
					}
					if got := st.Must().Text; got != a.Text {
						t.Errorf("%s: got %q in the next request, want %q", ops, got, a.Text)
					}
				}
			}
		}
	})
}
