package guards_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestEncryptedValuesCannotBeReadOrSwapped(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		b := stage.LifeBrowser(t, e.Manager(t, func(c *redsession.Config) { c.Encrypt = true }), nil)
		ids := make([]string, 2)
		bs := []*stage.Browser{b.Fresh(), b.Fresh()}
		for i, b := range bs {
			b.Play(e, "/login?user=alice", "/set?v=plaintext")
			ids[i] = "session:" + b.State().ID
		}
		values := e.Dump(t)
		for _, v := range values {
			if strings.Contains(v, "plaintext") || strings.Contains(v, `"note"`) {
				t.Errorf("got %s, want neither value nor key in clear", v)
			}
		}
		for i, id := range ids {
			if err := e.Client.Set(t.Context(), id, values[ids[1-i]], time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range bs {
			if a := b.Get("/state"); a.StatusCode != http.StatusOK || strings.Contains(a.Text, "plaintext") || len(a.SetCookies()) != 0 {
				t.Errorf("got %d %s with the values swapped, want an empty session and the cookie kept", a.StatusCode, a.Text)
			}
		}
		if got := len(e.Events.Of(redsession.EventRefused)); got < 2 {
			t.Errorf("got %d refused events, want one for each", got)
		}
	})
}

func TestEncryptAndSecretsMayChangeUnderLivingSessions(t *testing.T) {
	t.Parallel()
	older, both, newer := [][]byte{stage.Secret}, [][]byte{stage.NewerSecret, stage.Secret}, [][]byte{stage.NewerSecret}
	for _, tt := range []struct {
		name          string
		enc, encAfter bool
	}{
		{"plain values, a newer secret", false, false},
		{"encrypted values, a newer secret", true, true},
		{"Encrypt turned on", false, true},
		{"Encrypt turned off", true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := stage.NewMini(t)
			server := func(secrets [][]byte, encrypt bool) *stage.Browser {
				return stage.LifeBrowser(t, e.Manager(t, func(c *redsession.Config) { c.Secrets, c.Encrypt = secrets, encrypt }), nil)
			}
			before, after := server(older, tt.enc), server(both, tt.encAfter)
			before.Play(e, "/login?user=alice", "/set?v=plaintext")
			after = after.With(before.Cookie())
			if st := after.State(); st.User != "alice" || st.Note != "plaintext" {
				t.Errorf("got %+v, want it read as before", st)
			}
			knows := func(secrets [][]byte) int {
				return len(stage.Listed(t, e.Manager(t, func(c *redsession.Config) { c.Secrets = secrets }).Admin))
			}
			if o, n := knows(older), knows(newer); o != 1 || n != 0 {
				t.Errorf("got %d records under the older secret and %d under the newer, want 1 and 0 before a write", o, n)
			}
			after.Get("/set?v=plaintext")
			if o, n := knows(older), knows(newer); o != 0 || n != 1 {
				t.Errorf("got %d records under the older secret and %d under the newer, want 0 and 1 after it", o, n)
			}
			if clear := strings.Contains(fmt.Sprint(e.Dump(t)), "plaintext"); clear == tt.encAfter {
				t.Errorf("got the value in clear %v, want %v", clear, !tt.encAfter)
			}
			if back := server(both, tt.enc).With(after.Cookie()).State(); back.Note != "plaintext" {
				t.Errorf("got %+v at a server with the setting from before, want it read", back)
			}
		})
	}
}
