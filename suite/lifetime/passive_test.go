package lifetime_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

func TestPassiveRequestsKeepNobodyLoggedIn(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		setup []string
		path  string
	}{
		{"reads", []string{"/login?user=alice"}, "/poll"},
		{"writes", []string{"/login?user=alice"}, "/poll/set?v=1"},
		{"asking how much time is left", []string{"/login?user=alice"}, "/poll/left"},
		{"explicit rotations", []string{"/login?user=alice"}, "/poll/rotate"},
		{"limits beyond the end", []string{"/login?user=alice"}, "/poll/limit?to=1000h"},
		{"extensions", []string{"/login?user=alice"}, "/poll/extend"},
		{"the first sight of a rotated id", []string{"/login?user=alice", "/rotate"}, "/poll"},
		{"of a visitor", []string{"/set?v=1"}, "/poll"},
		{"writes of a visitor", []string{"/set?v=1"}, "/poll/set?v=2"},
		{"of what is about to be renewed by time", []string{"/login?user=alice", "+55m", "/who", "+55m", "/who", "+55m", "/who", "+14m"}, "/poll/set?v=2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
				b := browse(t, e.Manager(t, passive, func(c *redsession.Config) { c.IdleTimeout, c.AnonymousTimeout = time.Hour, time.Hour }))
				b.Play(e, row.setup...)
				began := ttl(t, e, b.Cookie())
				for minute := 1; minute <= 30; minute += 3 {
					e.Advance(t, 3*time.Minute)
					b.Get(row.path)
					left := ttl(t, e, b.Cookie())
					if want := began - time.Duration(minute+2)*time.Minute; left > want || left < want-30*time.Second {
						t.Fatalf("got %s left after minute %d, want %s", left, minute+2, want)
					}
				}
				e.Advance(t, began-30*time.Minute)
				if a := b.Get("/state"); strings.Contains(a.Text, "alice") || e.Living(t) != 0 {
					t.Errorf("got %q and %d sessions after an hour without a user, want none", a.Text, e.Living(t))
				}
			})
		})
	}
}

// TestPassiveWritesDoNotAddUp has the rounding of seconds prolong a session with each write.
func TestPassiveWritesDoNotAddUp(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		b := browse(t, e.Manager(t, passive))
		b.Get("/login?user=alice")
		began := ttl(t, e, b.Cookie())
		for n := range 40 {
			e.Advance(t, 300*time.Millisecond)
			b.Get(fmt.Sprintf("/poll/set?v=%d", n))
		}
		if left, want := ttl(t, e, b.Cookie()), began-40*300*time.Millisecond; left > want || left < want-20*time.Second {
			t.Errorf("got %s left, want %s", left, want)
		}
	})
}

// TestPassiveWriteLeavesWhatAHitHasProlonged is a user who comes back while a write of the page is on its way.
func TestPassiveWriteLeavesWhatAHitHasProlonged(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range ways(e) {
			gate := make(stage.Gate)
			b := browse(t, maker(t, passive), stage.Handlers{"/poll/held": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
				stage.LifeNote.Set(s, "late")
				gate.Pass()
			}})
			b.Get("/login?user=alice")
			e.Advance(t, 7*day-time.Minute)
			cookie, done := b.Cookie(), make(chan stage.Answer)
			go func() { done <- b.With(cookie).Get("/poll/held") }()
			leave := <-gate
			b.With(cookie).Get("/keep") // the user is back
			close(leave)
			if a := <-done; a.StatusCode != http.StatusOK {
				t.Errorf("%s: got %d %q", way, a.StatusCode, a.Text)
			}
			if left := ttl(t, e, cookie); !near(left, 7*day) {
				t.Errorf("%s: got %s left, want what the hit made of it", way, left)
			}
			if st := b.State(); st.Note != "late" {
				t.Errorf("%s: got %+v, want the write", way, st)
			}
			e.Client.FlushAll(t.Context())
		}
	})
}

func TestPassiveRequestsRotateNothingAndNoteWhatTheySee(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, passive)
		b := browse(t, m)
		b.Play(e, "/login?user=alice", "+3h")
		if a := b.Get("/poll"); len(a.SetCookies()) != 0 {
			t.Errorf("got cookies %v after RotateEvery, want none", a.SetCookies())
		}
		old := b.With(b.Cookie())
		if a := b.Get("/who"); len(a.SetCookies()) != 1 {
			t.Errorf("got cookies %v with the user's own request, want a new id", a.SetCookies())
		}
		if a := b.Get("/poll"); a.StatusCode != http.StatusOK { // sees the new id
			t.Errorf("got %d", a.StatusCode)
		}
		e.Advance(t, 2*time.Minute)
		if got := old.Get("/poll").Text; strings.HasPrefix(got, "alice") {
			t.Errorf("got %q by the old id after its grace, want nobody: the new one was seen", got)
		}
		if n := len(e.Events.Of(redsession.EventReplayed)); n != 1 {
			t.Errorf("got %d replays, want 1", n)
		}
	})
}

func TestPassiveRequestsFollowAndChooseWithoutProlonging(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, passive)
		b := browse(t, m)
		b.Get("/login?user=alice")
		late := b.With(b.Cookie())
		b.Get("/rotate")
		e.Advance(t, day/2)
		before, tomb := ttl(t, e, b.Cookie()), ttl(t, e, late.Cookie())
		for range 3 {
			one := late.With(late.Cookie())
			if a := one.Get("/poll"); !strings.HasPrefix(a.Text, "alice") || !bytes.Equal(stage.SIDOf(t, one.Cookie()), stage.SIDOf(t, b.Cookie())) {
				t.Fatalf("by the old id: got %q, want alice and the new one", a.Text)
			}
		}
		guest := b.Fresh()
		guest.Get("/set?v=1")
		guestLeft := ttl(t, e, guest.Cookie())
		r, err := http.NewRequest(http.MethodGet, b.Base+"/poll", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", "session="+guest.Cookie()+"; session="+late.Cookie()+"; session="+b.Cookie())
		res, err := (&http.Client{}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		for what, pair := range map[string][2]time.Duration{
			"the session": {before, ttl(t, e, b.Cookie())}, "its old id": {tomb, ttl(t, e, late.Cookie())}, "the other one": {guestLeft, ttl(t, e, guest.Cookie())},
		} {
			if pair[1] > pair[0] || pair[1] < pair[0]-20*time.Second {
				t.Errorf("%s: got %s left, want %s", what, pair[1], pair[0])
			}
		}
	})
}

func TestPassiveAdoptionLeavesAnOldSessionItsTime(t *testing.T) {
	t.Parallel()
	stage.EachRedisWithTTLs(t, func(t *testing.T, e *stage.Env) {
		for way, maker := range ways(e) {
			old := &stage.OldStore{}
			old.Put(stage.OldSession(e, "one", "alice")) // 48 hours left
			m := maker(t, passive, stage.Adopting(old.Legacy()))
			st := stage.NewScripted(t, m, handlers(m)).WithOldCookie("one")
			if a := st.Get("/poll"); !strings.HasPrefix(a.Text, "alice") || st.Cookie() == "" {
				t.Fatalf("%s: got %q, want alice and a cookie of ours", way, a.Text)
			}
			if left := ttl(t, e, st.Cookie()); !near(left, 48*time.Hour) {
				t.Errorf("%s: got %s left, want the 48 hours that it had", way, left)
			}
			st.Get("/poll")
			if left := ttl(t, e, st.Cookie()); !near(left, 48*time.Hour) {
				t.Errorf("%s: got %s left after the first sight of the new id, want 48 hours", way, left)
			}
			st.Get("/who")
			st.Must()
			if left := ttl(t, e, st.Cookie()); !near(left, 7*day) {
				t.Errorf("%s: got %s left after its user came, want the idle timeout", way, left)
			}
			e.Client.FlushAll(t.Context())
		}
	})
}

// TestPassiveRequestsInAnOutage are served from memory for no longer than the session lives in Redis.
func TestPassiveRequestsInAnOutage(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		absent time.Duration // before the last poll
		away   time.Duration // after that
		want   int
	}{
		{"there is time left", 20 * time.Minute, 4 * time.Minute, 200},
		{"there was less left than memory keeps", 58 * time.Minute, 119 * time.Second, 200},
		{"and it is over", 58 * time.Minute, 121 * time.Second, 503},
		{"memory is too old", 20 * time.Minute, 301 * time.Second, 503},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			o := stage.NewOutage(t, passive, func(c *redsession.Config) { c.IdleTimeout = time.Hour })
			b := browse(t, o.M)
			b.Play(o.Env, "/login?user=alice", "+"+(row.absent/2).String(), "/poll", "+"+(row.absent/2).String(), "/poll/set?v=1", "/poll")
			o.Down(t)
			o.Clock.Add(row.away)
			a := b.Get("/poll")
			if a.StatusCode != row.want {
				t.Errorf("got %d %q, want %d", a.StatusCode, a.Text, row.want)
			}
			if want := fmt.Sprintf("alice %s", time.Hour); row.want == 200 && a.Text != want {
				t.Errorf("got %q, want %q: it ends when it would have ended", a.Text, want)
			}
			if a := b.Get("/poll/left"); a.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("got %d %q to how much time is left, want 503: nobody knows", a.StatusCode, a.Text)
			}
		})
	}
}

func TestPassiveRequestsTellTheTimeLeft(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		steps []string
		want  map[string]any
	}{
		{"a login right after it", []string{"/login?user=alice"}, map[string]any{"loggedIn": true, "idle": 3600., "absolute": 36000.}},
		{"while its user is absent", []string{"/login?user=alice", "+10m", "/poll", "+20m", "/poll/set?v=1"}, map[string]any{"loggedIn": true, "idle": 1800., "absolute": 34200.}},
		{"near the absolute end", append(append([]string{"/login?user=alice"}, hours(9)...), "/who", "+55m"), map[string]any{"loggedIn": true, "idle": 300., "absolute": 300.}},
		{"a limited one", []string{"/login?user=alice", "/limit?to=20m", "+5m"}, map[string]any{"loggedIn": true, "idle": 900., "absolute": 900.}},
		{"a login that misses its second factor", []string{"/half?user=alice", "+4m"}, map[string]any{"loggedIn": false, "idle": 360., "absolute": 360.}},
		{"a visitor with a cart", []string{"/set?v=1", "+10m"}, map[string]any{"loggedIn": false, "idle": 1200., "absolute": 35400.}},
		{"a visitor without a session", nil, map[string]any{"loggedIn": false, "idle": 0., "absolute": 0.}},
		{"a session that has ended", []string{"/login?user=alice", "+61m"}, map[string]any{"loggedIn": false, "idle": 0., "absolute": 0.}},
		{"a session that was logged out", []string{"/login?user=alice", "/logout"}, map[string]any{"loggedIn": false, "idle": 0., "absolute": 0.}},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
				b := browse(t, e.Manager(t, passive, func(c *redsession.Config) {
					c.IdleTimeout, c.AnonymousTimeout, c.AbsoluteTimeout = time.Hour, 30*time.Minute, 10*time.Hour
				}))
				b.Play(e, row.steps...)
				a := b.Get("/poll/left")
				var got map[string]any
				if err := json.Unmarshal([]byte(a.Text), &got); err != nil || a.StatusCode != 200 {
					t.Fatalf("got %d %q, %v", a.StatusCode, a.Text, err)
				}
				if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" {
					t.Errorf("got headers %v, want JSON that no cache stores", a.Header)
				}
				for name, want := range row.want {
					if n, isNumber := want.(float64); isNumber {
						if g, _ := got[name].(float64); g > n || g < n-20 {
							t.Errorf("got %s %v, want %v", name, got[name], want)
						}
					} else if got[name] != want {
						t.Errorf("got %s %v, want %v", name, got[name], want)
					}
				}
			})
		})
	}
}

func TestTimeLeftIsRefusedWhereAskingWouldProlong(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	b := browse(t, e.Manager(t, passive))
	b.Get("/login?user=alice")
	for range 3 {
		if a := b.Get("/left"); a.StatusCode != http.StatusInternalServerError || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("got %d and %v, want 500 that no cache stores", a.StatusCode, a.Header)
		}
	}
	if n := strings.Count(e.Events.Log(), "Config.Passive does not name"); n != 1 {
		t.Errorf("got %d lines in the log, want 1", n)
	}
	if a, err := b.HTTP.Post(b.Base+"/poll/left", "text/plain", nil); err != nil || a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: got %v, %v, want 405", a, err)
	}
}

// TestPassiveRequestsLeaveACookiePastItsEnd is a poll that crosses the end while its user extends the session: its answer
// comes last, and must not take the new cookie away.
func TestPassiveRequestsLeaveACookiePastItsEnd(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		b := browse(t, e.Manager(t, passive, func(c *redsession.Config) { c.AbsoluteTimeout = time.Hour }))
		b.Get("/login?user=alice")
		late := b.With(b.Cookie())
		b.Play(e, "+59m", "/extend", "+2m")
		if a := late.Get("/poll"); len(a.SetCookies()) != 0 || strings.HasPrefix(a.Text, "alice") {
			t.Errorf("a poll: got %q and cookies %v, want nobody and none", a.Text, a.SetCookies())
		}
		if a := late.Get("/who"); len(a.SetCookies()) != 1 || a.SetCookies()[0].MaxAge >= 0 {
			t.Errorf("a request of its user's: got cookies %v, want it expired", a.SetCookies())
		}
		if got := b.Get("/who").Text; got != "alice" {
			t.Errorf("got %q, want alice", got)
		}
	})
}

func TestPassiveLoginIsABeginning(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		b := browse(t, e.Manager(t, passive))
		b.Play(e, "/set?v=1", "+1h")
		if a := b.Get("/poll/login"); a.StatusCode != http.StatusOK || !near(ttl(t, e, b.Cookie()), 7*day) {
			t.Errorf("got %d %q and %s left, want a login with all of its time", a.StatusCode, a.Text, ttl(t, e, b.Cookie()))
		}
	})
}

// TestPassiveRequestsShowNobodyAsActive looks at the list that operators and users see.
func TestPassiveRequestsShowNobodyAsActive(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t, passive)
		b := browse(t, m)
		b.Play(e, "/login?user=alice", "/who")
		last := e.Clock.Now()
		b.Play(e, "+1h", "/poll/set?v=1", "+1h", "/poll", "+1h", "/poll/set?v=2")
		infos, err := m.Sessions(t.Context(), "alice")
		if err != nil || len(infos) != 1 {
			t.Fatalf("got %v, %v", infos, err)
		}
		if seen := infos[0].LastSeen; seen.Sub(last).Abs() > 20*time.Second {
			t.Errorf("got last seen %s after the user's last request, want then", seen.Sub(last))
		}
	})
}
