package promises_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// TestNothingComesBackByWaiting has a change wait for Redis while another server ends its session.
func TestNothingComesBackByWaiting(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, ops string
		early     bool // loaded before the outage
		status    int
		text      string
	}{
		{"a write", "set:a:1", true, http.StatusConflict, ""},
		{"an update", "add:n", true, http.StatusConflict, ""},
		{"a new id", "rotate", true, http.StatusConflict, ""},
		{"a login as the same user", "login:alice", true, http.StatusOK, "alice"},
		{"a login as another user", "login:bob", true, http.StatusOK, "bob"},
		{"a write of a session from memory", "set:a:1", false, http.StatusConflict, ""},
		{"a login over a session from memory", "login:alice", false, http.StatusOK, "alice"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := stage.NewMini(t)
			m, p := e.Behind(t, func(c *redsession.Config) { c.OutageWait = 10 * time.Second })
			t.Cleanup(func() { p.Refuse(false) })
			here, other := stage.NewScripted(t, m), stage.NewScripted(t, e.Manager(t))
			here.Must("login:alice set:memo:old")
			old := here.Cookie()
			release := func() stage.Answer { return here.Do(row.ops) }
			if row.early {
				release = here.Hold("hold " + row.ops)
			}
			p.Refuse(true)
			answer := make(chan stage.Answer)
			go func() { answer <- release() }()
			other.Fork(old).Must("logout")
			outage(t, e, redsession.EventOutageBegan)
			p.Refuse(false)
			a := <-answer
			if a.StatusCode != row.status || (len(a.SetCookies()) > 0) != (row.status == http.StatusOK) {
				t.Errorf("got %d and the cookies %v, want %d", a.StatusCode, a.SetCookies(), row.status)
			}
			if got := here.Do().Text; got != row.text {
				t.Errorf("got %q, want %q", got, row.text)
			}
			if got := other.Fork(old).Do().Text; got != "" {
				t.Errorf("the old cookie reads %q, want nothing", got)
			}
		})
	}
}

// TestTakeInAnOutageGivesTheValueToNobody, or to one that gets it when Redis is back in time.
func TestTakeInAnOutageGivesTheValueToNobody(t *testing.T) {
	t.Parallel()
	const once = redsession.Key[string]("once")
	take := func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		v, ok, err := once.Take(r.Context(), s)
		switch {
		case err != nil:
			http.Error(w, "not taken"+v, http.StatusServiceUnavailable)
		case ok:
			_, _ = w.Write([]byte(v))
		}
	}
	for _, row := range []struct {
		name string
		wait time.Duration
		back bool // in time
	}{
		{"nobody waits", -1, false},
		{"Redis is back in time", 10 * time.Second, true},
		{"Redis is not back in time", 300 * time.Millisecond, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := stage.NewMini(t)
			m, p := e.Behind(t, func(c *redsession.Config) { c.OutageWait = row.wait })
			t.Cleanup(func() { p.Refuse(false) })
			b := stage.NewScripted(t, m, stage.Handlers{"/take": take})
			b.Must("login:alice set:once:value")
			p.Refuse(true)
			var got []stage.Answer
			taking := make(chan struct{})
			go func() {
				defer close(taking)
				got = stage.AtOnce(3, func(int) stage.Answer { return b.Get("/take") })
			}()
			outage(t, e, redsession.EventOutageBegan)
			if row.back {
				p.Refuse(false)
			}
			<-taking
			taken := 0
			for _, a := range got {
				if a.Text == "value" {
					taken++
				} else if !row.back && (a.StatusCode != http.StatusServiceUnavailable || a.Text != "not taken\n") {
					t.Errorf("got %d %q, want 503 and no value", a.StatusCode, a.Text)
				}
			}
			if want := map[bool]int{true: 1}[row.back]; taken != want {
				t.Errorf("got the value %d times, want %d", taken, want)
			}
			p.Refuse(false)
			outage(t, e, redsession.EventOutageEnded)
			want := map[bool]string{true: "", false: "value"}[row.back]
			if a := b.Get("/take"); a.StatusCode != http.StatusOK || a.Text != want {
				t.Errorf("afterwards: got %d %q, want %q", a.StatusCode, a.Text, want)
			}
		})
	}
}

// outage waits until an outage has begun, or ended.
func outage(t *testing.T, e *stage.Env, kind redsession.EventKind) {
	t.Helper()
	stage.Until(t, string(kind), func() bool { return len(e.Events.Of(kind)) > 0 })
}
