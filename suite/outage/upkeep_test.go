package outage_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// What no request waits for fails no request, and somebody has to hear of it all the same.
func TestOutageRefusedUpkeepIsTold(t *testing.T) {
	t.Parallel()
	const noPerm = "NOPERM this user has no permissions to run this command"
	leaves := func(args []string) bool { return isScript(args) && slices.Contains(args, "leave") }
	for _, row := range []struct {
		name    string
		apart   bool // the parts of a plan are round trips apart
		command string
		pick    func(args []string) bool
		do      func(t *testing.T, e *stage.Env, st *stage.Scripted)
	}{
		{"a timed rotation", false, "EVALSHA", isScript, func(t *testing.T, e *stage.Env, st *stage.Scripted) {
			e.Advance(t, 24*time.Hour)
			for range 3 {
				if got := stage.Outcome(st.Do()); got != "200 alice" {
					t.Errorf("got %q, want alice, who keeps the id", got)
				}
			}
		}},
		{"an entry that should leave an index of a cluster", true, "EVALSHA", leaves, func(t *testing.T, _ *stage.Env, st *stage.Scripted) {
			for range 3 {
				if got := stage.Outcome(st.Do("logout")); got != "200 expired" {
					t.Errorf("got %q, want the logout made", got)
				}
				st.Must("login:alice")
			}
		}},
		{"the longer life of a session with two cookies", false, "EXPIRE", begins("EXPIRE"), func(t *testing.T, _ *stage.Env, st *stage.Scripted) {
			second := st.Fork("")
			second.Must("set:a:1")
			for range 3 {
				r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, st.Base, nil)
				r.Header.Set("Cookie", "session="+st.Cookie()+"; session="+second.Cookie())
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				if text, _ := io.ReadAll(res.Body); res.Body.Close() != nil || string(text) != "alice" {
					t.Errorf("got %q, want alice", text)
				}
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := stage.NewMini(t)
			maker := e.Manager
			if row.apart {
				maker = e.ApartManager
			}
			m, p := e.BehindBy(t, maker, patient)
			st := stage.NewScripted(t, m)
			st.Must("login:alice")
			p.Reply(refusing(noPerm, row.pick))
			told := func() []redsession.Event { return e.Events.Of(redsession.EventFailed) }
			promptly(t, row.name, func() {
				row.do(t, e, st)
				stage.Until(t, "the refusal to be told", func() bool { return len(told()) > 0 })
			})
			failed := told()
			if len(failed) != 1 || failed[0].Reason != row.command+": "+noPerm || m.Stats().Failed != 1 {
				t.Errorf("got %v told and %d counted, want one within a minute, with the command and Redis's words", failed, m.Stats().Failed)
			}
			if log := e.Events.Log(); !strings.Contains(log, `level=ERROR msg="session failed"`) {
				t.Errorf("got the log %q, want an error", log)
			}
		})
	}
}
