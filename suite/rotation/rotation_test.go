package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// issuedSID returns the SID in the one Set-Cookie of a, "" if there is none.
func issuedSID(t *testing.T, a stage.Answer) string {
	t.Helper()
	switch set := a.SetCookies(); len(set) {
	case 0:
		return ""
	case 1:
		sid, _ := stage.ParseCookie(t, set[0].Value)
		return string(sid)
	default:
		t.Errorf("got %d Set-Cookie, want at most 1", len(set))
		return ""
	}
}

func TestRotationKeepsTheSession(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		b := stage.LifeBrowser(t, e.Manager(t), nil)
		b.Get("/login?user=alice")
		b.Get("/set?v=kept")
		e.Advance(t, 3*time.Hour-2*time.Second)
		before, old := b.State(), b.Cookie()
		oldSID, deadline := stage.ParseCookie(t, old)
		if b.Cookie() != old {
			t.Errorf("got a new cookie before RotateEvery, want the old one kept")
		}
		e.Advance(t, 2*time.Second)
		if sid := issuedSID(t, b.Get("/who")); sid == "" || sid == string(oldSID) {
			t.Fatalf("got no new SID after RotateEvery, want one")
		}
		after := b.State()
		if after.ID == before.ID || after.Token == before.Token {
			t.Errorf("got id %s and token %s as before, want both new", after.ID, after.Token)
		}
		if _, d := stage.ParseCookie(t, b.Cookie()); d != deadline {
			t.Errorf("got a deadline moved by %d s, want it kept", d-deadline)
		}
		before.ID, before.Token = after.ID, after.Token
		if after != before {
			t.Errorf("got %+v after the rotation, want %+v", after, before)
		}
	})
}

func TestRotationConvergesOnOneSuccessor(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		const n = 50
		var meeting sync.WaitGroup // so that all load the old record before one rotates it
		meeting.Add(n)
		meet := stage.Handlers{"/meet": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			meeting.Done()
			meeting.Wait()
			fmt.Fprint(w, s.UserID())
		}}
		servers := []*stage.Browser{stage.LifeBrowser(t, e.Manager(t), meet), stage.LifeBrowser(t, e.Manager(t), meet)}
		servers[0].Get("/login?user=alice")
		old := servers[0].Cookie()
		e.Advance(t, 3*time.Hour)
		sids, ids := make(map[string]bool), make(map[string]bool)
		for _, a := range stage.AtOnce(n, func(i int) stage.Answer { return servers[i%2].With(old).Get("/meet") }) {
			if a.StatusCode != http.StatusOK || a.Text != "alice" {
				t.Errorf("got %d %q, want 200 alice", a.StatusCode, a.Text)
			}
			sids[issuedSID(t, a)] = true
			for _, c := range a.SetCookies() {
				ids[servers[0].With(c.Value).State().ID] = true
			}
		}
		if len(sids) != 1 || sids[""] || len(ids) != 1 {
			t.Errorf("got %d SIDs and %d ids in the answers, want one of each in all of them", len(sids), len(ids))
		}
		if values := e.Dump(t); len(values) != 2 {
			t.Errorf("got %d values in Redis, want the tombstone and one record", len(values))
		}
		if got := len(e.Events.Of(redsession.EventRotated)); got != 1 {
			t.Errorf("got %d rotations, want 1", got)
		}
	})
}

func TestRotationKeepsWritesInFlight(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		const n = 15
		var meeting sync.WaitGroup
		meeting.Add(n)
		write := stage.Handlers{"/write": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
			meeting.Done()
			meeting.Wait()
			redsession.Key[int]("key "+r.FormValue("i")).Set(s, 1)
			stage.LifeCount.Update(s, func(n int) int { return n + 1 })
			switch r.FormValue("as") {
			case "0":
				s.KeepID()
			case "1":
				s.Rotate()
			}
		}}
		b := stage.LifeBrowser(t, e.Manager(t), write)
		b.Get("/login?user=alice")
		old := b.Cookie()
		e.Advance(t, 3*time.Hour)
		for i, a := range stage.AtOnce(n, func(i int) stage.Answer { return b.With(old).Get(fmt.Sprintf("/write?i=%d&as=%d", i, i%3)) }) {
			if a.StatusCode != http.StatusOK {
				t.Errorf("writer %d: got %d %q, want 200", i, a.StatusCode, a.Text)
			}
		}
		st := b.State()
		if st.User != "alice" || st.Count != n || st.Keys != n+1 {
			t.Errorf("got user %q, counter %d and %d keys, want alice, %d and %d", st.User, st.Count, st.Keys, n, n+1)
		}
	})
}

func TestRotationLetsGoroutinesRead(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	b := stage.LifeBrowser(t, e.Manager(t), stage.Handlers{"/busy": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		errs := stage.AtOnce(8, func(i int) error {
			if i%2 == 0 {
				return s.Save(r.Context())
			}
			_, _ = stage.LifeNote.Get(s)
			return nil
		})
		note, _ := stage.LifeNote.Get(s)
		fmt.Fprint(w, note, errors.Join(errs...))
	}})
	b.Get("/login?user=alice")
	b.Get("/set?v=kept")
	for range 20 {
		e.Advance(t, 3*time.Hour)
		for range 2 { // the rotation, and the first hit after it
			if a := b.Get("/busy"); a.Text != "kept<nil>" {
				t.Errorf("got %q, want %q", a.Text, "kept<nil>")
			}
		}
	}
}

func TestRotationWhoseResponseWasLostLogsNobodyOut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		idle time.Duration
	}{
		{"with the default timeouts", 0},
		{"with an idle timeout that only activity keeps from ending the session", time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
				b := stage.LifeBrowser(t, e.Manager(t, func(c *redsession.Config) { c.IdleTimeout = tt.idle }), nil)
				b.Get("/login?user=alice")
				old := b.Cookie()
				var last string
				for at := 30 * time.Minute; at < 26*time.Hour; at += 30 * time.Minute { // rotated after 3 hours
					e.Advance(t, 30*time.Minute)
					lost := b.With(old) // whatever cookie comes is dropped with its jar
					if a := lost.Get("/who"); a.Text != "alice" {
						t.Fatalf("after %s: got user %q, want alice", at, a.Text)
					}
					last = lost.Cookie()
				}
				if got := len(e.Events.Of(redsession.EventRotated)); got != 1 {
					t.Errorf("got %d rotations, want 1: the successor was never seen", got)
				}
				e.Advance(t, 50*time.Minute)
				if a := b.With(last).Get("/who"); a.Text != "alice" {
					t.Errorf("got user %q with the successor's cookie, want alice", a.Text)
				}
				e.Advance(t, 50*time.Minute)
				if a := b.With(old).Get("/who"); a.Text != "" {
					t.Errorf("got user %q with a cookie rotated away more than 24 hours ago, want none", a.Text)
				}
				if a := b.With(last).Get("/who"); a.Text != "alice" {
					t.Errorf("got user %q with the successor's cookie, want alice", a.Text)
				}
			})
		})
	}
}

func TestRotationByTimeHasExceptions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, begin, get string
		every            time.Duration
	}{
		{"an anonymous session", "/set?v=1", "/who", time.Minute},
		{"a half-open login", "/half?user=alice", "/who", time.Minute},
		{"a login before RotateEvery", "/login?user=alice", "/who", 6 * time.Minute},
		{"a login with RotateEvery negative", "/login?user=alice", "/who", -1},
		{"a request that keeps the id", "/login?user=alice", "/keep", time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := stage.NewMini(t)
			b := stage.LifeBrowser(t, e.Manager(t, func(c *redsession.Config) { c.RotateEvery = tt.every }), nil)
			b.Get(tt.begin)
			id := b.State().ID
			e.Advance(t, 5*time.Minute)
			if a := b.Get(tt.get); len(a.SetCookies()) != 0 || len(e.Dump(t)) != 1 {
				t.Errorf("got %d Set-Cookie and %d values in Redis, want none and 1", len(a.SetCookies()), len(e.Dump(t)))
			}
			if err := e.Manager(t).Revoke(context.Background(), id); err != nil {
				t.Error(err)
			}
			if a := b.Get(tt.get); a.Text != "" {
				t.Errorf("got user %q after the session was revoked, want none: it must be checked", a.Text)
			}
		})
	}
}

func TestRotationOfAConnectionTakenOverKeepsItsSession(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	b := stage.LifeBrowser(t, e.Manager(t), stage.Handlers{"/socket": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		s.KeepID()
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		stage.LifeNote.Set(s, "from the socket")
		if err := s.Save(r.Context()); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}})
	b.Get("/login?user=alice")
	before := b.State()
	e.Advance(t, 3*time.Hour)
	if a := b.Get("/socket"); a.Text != "ok" {
		t.Fatalf("got %q, want ok", a.Text)
	}
	if a := b.Get("/keep"); a.Text != "alice" {
		t.Errorf("got user %q with the cookie from before, want alice", a.Text)
	}
	if st := b.State(); st.ID != before.ID || st.Note != "from the socket" {
		t.Errorf("got id %s and note %q, want %s and what the socket wrote", st.ID, st.Note, before.ID)
	}
}

func TestRotationIsOverOnceTheHeadersAreSent(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	b := stage.LifeBrowser(t, e.Manager(t), stage.Handlers{"/stream": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		w.(http.Flusher).Flush()
		e.Advance(t, 3*time.Hour)
		stage.LifeNote.Set(s, "late")
		fmt.Fprint(w, s.Save(r.Context()))
		s.Rotate()
		fmt.Fprint(w, " ", errors.Is(s.Save(r.Context()), redsession.ErrHeadersSent))
	}})
	b.Get("/login?user=alice")
	before := b.State()
	if a := b.Get("/stream"); a.Text != "<nil> true" || len(a.SetCookies()) != 0 {
		t.Errorf("got %q and %d Set-Cookie, want the write kept, Rotate refused and none", a.Text, len(a.SetCookies()))
	}
	if st := b.State(); st.Note != "late" || st.ID != before.ID {
		t.Errorf("got note %q and id %s, want late and %s", st.Note, st.ID, before.ID)
	}
	if st := b.State(); st.ID == before.ID { // rotated by the request before
		t.Errorf("got the id from before the stream, want the next request to rotate it")
	}
}

func TestRotationAsideAHitCostsOneGetAndOneExpire(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		for _, way := range []struct {
			name     string
			maker    stage.Maker
			rotation string // what one sends before it answers
		}{
			{"in one script", e.Manager, "GET EXPIRE EVALSHA in 2"},
			{"in parts", e.ApartManager, "GET EXPIRE EVALSHA EVALSHA in 3"},
		} {
			m, sent := e.CountedBy(t, way.maker, func(c *redsession.Config) {
				c.UserStamp = func(context.Context, string) (string, error) { return "v1", nil }
			})
			b := stage.LifeBrowser(t, m, nil)
			b.Get("/login?user=alice")
			for _, step := range []struct {
				what string
				wait time.Duration
				want string
			}{
				{"the first rotation loads its scripts", 3 * time.Hour, ""},
				{"the first hit after it says that the cookie arrived", 0, "GET EXPIRE EVALSHA in 2"},
				{"a hit", 0, "GET EXPIRE in 1"},
				{"a hit just before the next rotation", 3*time.Hour - 2*time.Second, "GET EXPIRE in 1"},
				{"a rotation", 2 * time.Second, way.rotation},
				{"the first hit after it", 0, "GET EXPIRE EVALSHA in 2"},
				{"a hit after it", 0, "GET EXPIRE in 1"},
			} {
				e.Advance(t, step.wait)
				sent.Take()
				if a := b.Get("/who"); a.Text != "alice" {
					t.Fatalf("%s, %s: got user %q, want alice", way.name, step.what, a.Text)
				}
				got := sent.Take()
				if step.want != "" && got != step.want {
					t.Errorf("%s, %s: got %s, want %s", way.name, step.what, got, step.want)
				}
			}
		}
	})
}
