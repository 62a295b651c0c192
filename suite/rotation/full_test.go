package rotation_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/redistest"
	"github.com/redsession/redsession/internal/stage"
)

// Rotations and logins while Redis is full every other moment: what is refused leaves the session as it was, and no live
// session is missing in its user's index. REDSESSION_FULL says how many there are.
func TestRotationOnAFullRedisLosesNoSession(t *testing.T) {
	t.Parallel()
	total := 600
	if v := os.Getenv("REDSESSION_FULL"); v != "" {
		var err error
		if total, err = strconv.Atoi(v); err != nil {
			t.Fatalf("REDSESSION_FULL is %q, want a number", v)
		}
	}
	srv := redistest.Start(t)
	e := stage.NewEnv(srv.URL, srv.Client())
	for way, maker := range e.BothWays() {
		t.Run(way, func(t *testing.T) {
			if err := e.Client.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
				t.Fatal(err)
			}
			m := maker(t)
			st := stage.NewScripted(t, m)
			var refused, done atomic.Int64
			const browsers = 12
			users := stage.AtOnce(browsers, func(i int) *stage.Scripted {
				b := st.Fork("")
				b.Must(fmt.Sprintf("login:%s-user%d set:a:1", strings.ReplaceAll(way, " ", "-"), i))
				b.Must()
				return b
			})
			fill := func(full bool) {
				limit := "0"
				if full {
					limit = "1"
				}
				e.Client.ConfigSet(t.Context(), "maxmemory", limit)
			}
			stop := make(chan struct{})
			filled := make(chan struct{})
			go func() {
				defer close(filled)
				for full := true; ; full = !full {
					select {
					case <-stop:
						fill(false)
						return
					default:
						fill(full)
					}
				}
			}()
			stage.Parallel(browsers, func(i int) {
				b, user := users[i], fmt.Sprintf("%s-user%d", strings.ReplaceAll(way, " ", "-"), i)
				for n := range total / browsers {
					op := "rotate"
					if n%3 == 0 {
						op = "login:" + user
					}
					switch a := b.Do(op); a.StatusCode {
					case http.StatusOK:
						done.Add(1)
					case http.StatusServiceUnavailable:
						refused.Add(1)
					default:
						t.Errorf("%s: got status %d: %s", op, a.StatusCode, a.Text)
					}
					b.Do()
				}
			})
			close(stop)
			<-filled
			if done.Load() == 0 || refused.Load() == 0 {
				t.Errorf("%d were done and %d refused, want some of both", done.Load(), refused.Load())
			}
			t.Logf("%s: %d done, %d refused", way, done.Load(), refused.Load())
			check(t, m, users, strings.ReplaceAll(way, " ", "-"))
		})
	}
}

// check tells which of the sessions are lost, and which of the live ones no list shows.
func check(t *testing.T, m *redsession.Manager, users []*stage.Scripted, prefix string) {
	t.Helper()
	lost, missing := 0, 0
	for i, b := range users {
		user := fmt.Sprintf("%s-user%d", prefix, i)
		a := b.Do()
		if !strings.HasPrefix(a.Text, user+" a=1") {
			lost++
			t.Errorf("%s: got %q, want the session", user, a.Text)
			continue
		}
		sessions, err := m.Sessions(t.Context(), user)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(sessions, func(s redsession.Info) bool { return s.ID == a.Header.Get("X-Id") }) {
			missing++
			t.Errorf("%s: the list of %d does not show the session", user, len(sessions))
		}
	}
	t.Logf("sessions lost: %d, missing in the index: %d", lost, missing)
}

// While Redis is full, rotation and the note that a rotated id was shown fail, at every hit: that is told, and neither
// the user nor the log suffers from it.
func TestRotationThatRedisRefusesIsTold(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	for _, row := range []struct {
		name   string
		before time.Duration // of the last hit, before Redis is full
	}{
		{"a rotation that is due", 0},
		{"a rotated id that is seen", 3 * time.Hour},
	} {
		for _, way := range []string{"in one script", "in parts"} {
			t.Run(row.name+", "+way, func(t *testing.T) {
				e := stage.NewEnv(srv.URL, srv.Client())
				if e.Client.ConfigSet(t.Context(), "maxmemory", "0").Err() != nil {
					t.Fatal("Redis cannot be configured")
				}
				st := stage.NewScripted(t, e.BothWays()[way](t))
				st.Must("login:alice")
				e.Advance(t, row.before)
				st.Must()
				e.Client.ConfigSet(t.Context(), "maxmemory", "1")
				e.Advance(t, 3*time.Hour-row.before)
				for range 10 {
					if got := st.Must().Text; got != "alice" {
						t.Errorf("got %q, want alice", got)
					}
				}
				told := e.Events.Of(redsession.EventFailed)
				if len(told) != 1 || !strings.Contains(told[0].Reason, "OOM") || told[0].UserID != "alice" {
					t.Errorf("got the events %+v, want one of alice's session that names what Redis says", told)
				}
				e.Advance(t, time.Minute)
				if st.Must(); len(e.Events.Of(redsession.EventFailed)) != 2 {
					t.Errorf("got %d events a minute later, want two", len(e.Events.Of(redsession.EventFailed)))
				}
			})
		}
	}
}
