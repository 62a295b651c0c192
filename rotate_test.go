package redsession_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/record"
)

const (
	lifeNote  = redsession.Key[string]("note")
	lifeCount = redsession.Key[int]("count")
)

// state is what a handler sees of a session.
type state struct {
	ID, Token, User, Pending, Note string
	Auth, Created                  time.Time
	Count, Keys                    int
}

// life is what the tests of rotation, endings and guards let a browser do.
func life() handlers {
	type (
		W = http.ResponseWriter
		R = *http.Request
		S = *redsession.Session
	)
	return handlers{
		"/login":  func(_ W, r R, s S) { s.Login(r.FormValue("user")) },
		"/half":   func(_ W, r R, s S) { s.Login(r.FormValue("user"), redsession.Pending()) },
		"/second": func(_ W, _ R, s S) { s.Promote() },
		"/logout": func(_ W, _ R, s S) { s.Logout() },
		"/rotate": func(_ W, _ R, s S) { s.Rotate() },
		"/set":    func(_ W, r R, s S) { lifeNote.Set(s, r.FormValue("v")) },
		"/who":    func(w W, _ R, s S) { fmt.Fprint(w, s.UserID()) },
		"/keep":   func(w W, _ R, s S) { s.KeepID(); fmt.Fprint(w, s.UserID()) },
		"/state": func(w W, _ R, s S) {
			st := state{ID: s.ID(), Token: s.Token(), User: s.UserID(), Pending: s.PendingUserID(), Auth: s.AuthTime(), Created: s.CreatedAt()}
			st.Note, _ = lifeNote.Get(s)
			st.Count, _ = lifeCount.Get(s)
			st.Keys = len(s.Keys())
			_ = json.NewEncoder(w).Encode(st)
		},
	}
}

// alive starts a server with the handlers of life and more, and a browser on it.
func alive(t *testing.T, m *redsession.Manager, more handlers) *browser {
	t.Helper()
	hs := life()
	maps.Copy(hs, more)
	return newBrowser(t, serve(t, m, hs))
}

func (b *browser) state() state {
	b.t.Helper()
	var st state
	if err := json.Unmarshal([]byte(b.get("/state").body), &st); err != nil {
		b.t.Error(err)
	}
	return st
}

// ticketOf takes a cookie apart.
func ticketOf(t *testing.T, cookie string) (sid []byte, deadline int64) {
	t.Helper()
	signed, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(cookie, "="))
	parts := bytes.SplitN(signed, []byte("|"), 3)
	if err != nil || len(parts) != 3 {
		t.Fatalf("got a cookie of %d characters, want one that securecookie made", len(cookie))
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(string(parts[1]), "="))
	if err != nil || len(payload) != 44 {
		t.Fatalf("got a cookie's payload of %d bytes, want 44", len(payload))
	}
	return payload[:32], int64(binary.BigEndian.Uint64(payload[36:]))
}

// issuedSID returns the SID in the one Set-Cookie of a, "" if there is none.
func issuedSID(t *testing.T, a answer) string {
	t.Helper()
	switch set := a.setCookies(); len(set) {
	case 0:
		return ""
	case 1:
		sid, _ := ticketOf(t, set[0].Value)
		return string(sid)
	default:
		t.Errorf("got %d Set-Cookie, want at most 1", len(set))
		return ""
	}
}

// atOnce runs fn n times at once and returns what each returned.
func atOnce[T any](n int, fn func(i int) T) []T {
	results := make([]T, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { results[i] = fn(i) })
	}
	wg.Wait()
	return results
}

func TestTimedRotationKeepsTheSession(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		b := alive(t, e.manager(t), nil)
		b.get("/login?user=alice")
		b.get("/set?v=kept")
		e.advance(t, 3*time.Hour-2*time.Second)
		before, old := b.state(), b.cookie()
		oldSID, deadline := ticketOf(t, old)
		if b.cookie() != old {
			t.Errorf("got a new cookie before RotateEvery, want the old one kept")
		}
		e.advance(t, 2*time.Second)
		if sid := issuedSID(t, b.get("/who")); sid == "" || sid == string(oldSID) {
			t.Fatalf("got no new SID after RotateEvery, want one")
		}
		after := b.state()
		if after.ID == before.ID || after.Token == before.Token {
			t.Errorf("got id %s and token %s as before, want both new", after.ID, after.Token)
		}
		if _, d := ticketOf(t, b.cookie()); d != deadline {
			t.Errorf("got a deadline moved by %d s, want it kept", d-deadline)
		}
		before.ID, before.Token = after.ID, after.Token
		if after != before {
			t.Errorf("got %+v after the rotation, want %+v", after, before)
		}
	})
}

func TestParallelRequestsConvergeOnOneSuccessor(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		const n = 50
		var meeting sync.WaitGroup // so that all load the old record before one rotates it
		meeting.Add(n)
		meet := handlers{"/meet": func(w http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			meeting.Done()
			meeting.Wait()
			fmt.Fprint(w, s.UserID())
		}}
		servers := []*browser{alive(t, e.manager(t), meet), alive(t, e.manager(t), meet)}
		servers[0].get("/login?user=alice")
		old := servers[0].cookie()
		e.advance(t, 3*time.Hour)
		sids, ids := make(map[string]bool), make(map[string]bool)
		for _, a := range atOnce(n, func(i int) answer { return servers[i%2].with(old).get("/meet") }) {
			if a.StatusCode != http.StatusOK || a.body != "alice" {
				t.Errorf("got %d %q, want 200 alice", a.StatusCode, a.body)
			}
			sids[issuedSID(t, a)] = true
			for _, c := range a.setCookies() {
				ids[servers[0].with(c.Value).state().ID] = true
			}
		}
		if len(sids) != 1 || sids[""] || len(ids) != 1 {
			t.Errorf("got %d SIDs and %d ids in the answers, want one of each in all of them", len(sids), len(ids))
		}
		if values := e.dump(t); len(values) != 2 {
			t.Errorf("got %d values in Redis, want the tombstone and one record", len(values))
		}
		if got := len(e.events.of(redsession.EventRotated)); got != 1 {
			t.Errorf("got %d rotations, want 1", got)
		}
	})
}

func TestWritesInFlightOverARotationAreKept(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		const n = 15
		var meeting sync.WaitGroup
		meeting.Add(n)
		write := handlers{"/write": func(_ http.ResponseWriter, r *http.Request, s *redsession.Session) {
			meeting.Done()
			meeting.Wait()
			redsession.Key[int]("key "+r.FormValue("i")).Set(s, 1)
			lifeCount.Update(s, func(n int) int { return n + 1 })
			switch r.FormValue("as") {
			case "0":
				s.KeepID()
			case "1":
				s.Rotate()
			}
		}}
		b := alive(t, e.manager(t), write)
		b.get("/login?user=alice")
		old := b.cookie()
		e.advance(t, 3*time.Hour)
		for i, a := range atOnce(n, func(i int) answer { return b.with(old).get(fmt.Sprintf("/write?i=%d&as=%d", i, i%3)) }) {
			if a.StatusCode != http.StatusOK {
				t.Errorf("writer %d: got %d %q, want 200", i, a.StatusCode, a.body)
			}
		}
		st := b.state()
		if st.User != "alice" || st.Count != n || st.Keys != n+1 {
			t.Errorf("got user %q, counter %d and %d keys, want alice, %d and %d", st.User, st.Count, st.Keys, n, n+1)
		}
	})
}

func TestGoroutinesOfARequestMayReadWhileItRotates(t *testing.T) {
	e := newMini(t)
	b := alive(t, e.manager(t), handlers{"/busy": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		errs := atOnce(8, func(i int) error {
			if i%2 == 0 {
				return s.Save(r.Context())
			}
			_, _ = lifeNote.Get(s)
			return nil
		})
		note, _ := lifeNote.Get(s)
		fmt.Fprint(w, note, errors.Join(errs...))
	}})
	b.get("/login?user=alice")
	b.get("/set?v=kept")
	for range 20 {
		e.advance(t, 3*time.Hour)
		for range 2 { // the rotation, and the first hit after it
			if a := b.get("/busy"); a.body != "kept<nil>" {
				t.Errorf("got %q, want %q", a.body, "kept<nil>")
			}
		}
	}
}

func TestARotationWhoseResponseWasLostLogsNobodyOut(t *testing.T) {
	for _, tt := range []struct {
		name string
		idle time.Duration
	}{
		{"with the default timeouts", 0},
		{"with an idle timeout that only activity keeps from ending the session", time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachRedis(t, func(t *testing.T, e *env) {
				b := alive(t, e.manager(t, func(c *redsession.Config) { c.IdleTimeout = tt.idle }), nil)
				b.get("/login?user=alice")
				old := b.cookie()
				var last string
				for at := 30 * time.Minute; at < 26*time.Hour; at += 30 * time.Minute { // rotated after 3 hours
					e.advance(t, 30*time.Minute)
					lost := b.with(old) // whatever cookie comes is dropped with its jar
					if a := lost.get("/who"); a.body != "alice" {
						t.Fatalf("after %s: got user %q, want alice", at, a.body)
					}
					last = lost.cookie()
				}
				if got := len(e.events.of(redsession.EventRotated)); got != 1 {
					t.Errorf("got %d rotations, want 1: the successor was never seen", got)
				}
				e.advance(t, 50*time.Minute)
				if a := b.with(last).get("/who"); a.body != "alice" {
					t.Errorf("got user %q with the successor's cookie, want alice", a.body)
				}
				e.advance(t, 50*time.Minute)
				if a := b.with(old).get("/who"); a.body != "" {
					t.Errorf("got user %q with a cookie rotated away more than 24 hours ago, want none", a.body)
				}
				if a := b.with(last).get("/who"); a.body != "alice" {
					t.Errorf("got user %q with the successor's cookie, want alice", a.body)
				}
			})
		})
	}
}

func TestReplayOfARotatedCookieIsRefusedAfterTheGrace(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		b := alive(t, e.manager(t), nil)
		b.get("/login?user=alice")
		stolen, id := b.cookie(), b.state().ID
		e.advance(t, 3*time.Hour)
		successor := issuedSID(t, b.get("/who"))
		served := func(when string) {
			t.Helper()
			if a := b.with(stolen).get("/who"); a.body != "alice" || issuedSID(t, a) != successor {
				t.Errorf("%s: got user %q, want alice and the successor's cookie", when, a.body)
			}
		}
		e.advance(t, 2*time.Hour)
		served("the successor's cookie has not been seen")
		b.get("/who")
		e.advance(t, 59*time.Second)
		served("within the grace")
		e.advance(t, 2*time.Second)
		if a := b.with(stolen).get("/who"); a.body != "" || len(a.setCookies()) != 0 {
			t.Errorf("after the grace: got user %q and %d Set-Cookie, want nobody and none", a.body, len(a.setCookies()))
		}
		replayed := e.events.of(redsession.EventReplayed)
		if len(replayed) != 1 || replayed[0].ID != id || replayed[0].RemoteAddr == "" {
			t.Errorf("got replayed events %+v, want one of %s with a remote address", replayed, id)
		}
		if a := b.get("/who"); a.body != "alice" || len(a.setCookies()) != 0 {
			t.Errorf("the successor: got user %q and %d Set-Cookie, want alice and none", a.body, len(a.setCookies()))
		}
	})
}

func TestAWriteBegunWithinTheGraceIsKept(t *testing.T) {
	e := newMini(t)
	entered, proceed := make(chan struct{}), make(chan struct{})
	b := alive(t, e.manager(t), handlers{"/slow": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
		close(entered)
		<-proceed
		lifeNote.Set(s, "late")
	}})
	b.get("/login?user=alice")
	slow := b.with(b.cookie())
	b.get("/rotate")
	b.get("/who") // the grace begins
	done := make(chan answer)
	go func() { done <- slow.get("/slow") }()
	<-entered
	e.advance(t, time.Hour)
	close(proceed)
	if a := <-done; a.StatusCode != http.StatusOK {
		t.Errorf("got %d, want 200", a.StatusCode)
	}
	if st := b.state(); st.Note != "late" {
		t.Errorf("got note %q, want late", st.Note)
	}
}

func TestAChainOfRotationsLeadsOn(t *testing.T) {
	for _, tt := range []struct {
		name, begin, user string
		seen              bool
		rotations         int
	}{
		{"of an anonymous session, each cookie in use", "/set?v=x", "", true, 4},
		{"of a login, each cookie in use", "/login?user=alice", "alice", true, 4},
		{"of a login whose new id was never seen, so that it is not replaced", "/login?user=alice", "alice", false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newMini(t)
			b := alive(t, e.manager(t), nil)
			b.get(tt.begin)
			b.get("/set?v=kept")
			cookies := []string{b.cookie()}
			for range 4 {
				from := b
				if !tt.seen {
					from = b.with(cookies[0])
				}
				from.get("/rotate")
				cookies = append(cookies, from.cookie())
			}
			newest, _ := ticketOf(t, cookies[4])
			for i, c := range cookies {
				old := b.with(c)
				st := old.state()
				if sid, _ := ticketOf(t, old.cookie()); !bytes.Equal(sid, newest) || st.Note != "kept" || st.User != tt.user {
					t.Errorf("cookie %d: got user %q, note %q, want %q, kept, and the newest cookie", i, st.User, st.Note, tt.user)
				}
			}
			if got := len(e.events.of(redsession.EventRotated)); got != tt.rotations {
				t.Errorf("got %d rotations, want %d", got, tt.rotations)
			}
		})
	}
}

func TestWhatIsNotRotatedByTime(t *testing.T) {
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
			e := newMini(t)
			b := alive(t, e.manager(t, func(c *redsession.Config) { c.RotateEvery = tt.every }), nil)
			b.get(tt.begin)
			id := b.state().ID
			e.advance(t, 5*time.Minute)
			if a := b.get(tt.get); len(a.setCookies()) != 0 || len(e.dump(t)) != 1 {
				t.Errorf("got %d Set-Cookie and %d values in Redis, want none and 1", len(a.setCookies()), len(e.dump(t)))
			}
			if err := e.manager(t).Revoke(context.Background(), id); err != nil {
				t.Error(err)
			}
			if a := b.get(tt.get); a.body != "" {
				t.Errorf("got user %q after the session was revoked, want none: it must be checked", a.body)
			}
		})
	}
}

func TestAConnectionTakenOverKeepsItsSession(t *testing.T) {
	e := newMini(t)
	b := alive(t, e.manager(t), handlers{"/socket": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		s.KeepID()
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		lifeNote.Set(s, "from the socket")
		if err := s.Save(r.Context()); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}})
	b.get("/login?user=alice")
	before := b.state()
	e.advance(t, 3*time.Hour)
	if a := b.get("/socket"); a.body != "ok" {
		t.Fatalf("got %q, want ok", a.body)
	}
	if a := b.get("/keep"); a.body != "alice" {
		t.Errorf("got user %q with the cookie from before, want alice", a.body)
	}
	if st := b.state(); st.ID != before.ID || st.Note != "from the socket" {
		t.Errorf("got id %s and note %q, want %s and what the socket wrote", st.ID, st.Note, before.ID)
	}
}

func TestNoRotationOnceTheHeadersAreSent(t *testing.T) {
	e := newMini(t)
	b := alive(t, e.manager(t), handlers{"/stream": func(w http.ResponseWriter, r *http.Request, s *redsession.Session) {
		w.(http.Flusher).Flush()
		e.advance(t, 3*time.Hour)
		lifeNote.Set(s, "late")
		fmt.Fprint(w, s.Save(r.Context()))
		s.Rotate()
		fmt.Fprint(w, " ", errors.Is(s.Save(r.Context()), redsession.ErrHeadersSent))
	}})
	b.get("/login?user=alice")
	before := b.state()
	if a := b.get("/stream"); a.body != "<nil> true" || len(a.setCookies()) != 0 {
		t.Errorf("got %q and %d Set-Cookie, want the write kept, Rotate refused and none", a.body, len(a.setCookies()))
	}
	if st := b.state(); st.Note != "late" || st.ID != before.ID {
		t.Errorf("got note %q and id %s, want late and %s", st.Note, st.ID, before.ID)
	}
	if st := b.state(); st.ID == before.ID { // rotated by the request before
		t.Errorf("got the id from before the stream, want the next request to rotate it")
	}
}

// severed is a go-redis hook that loses the reply to the tombstone of a rotation,
// and whatever comes after it, until it is mended.
type severed struct {
	mu       sync.Mutex
	scripts  int // EVALSHA until the one that is lost; -1 when mended
	executed bool
}

func (c *severed) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *severed) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.mu.Lock()
		last := c.scripts == 1 && cmd.Name() == "evalsha"
		if c.scripts > 0 && cmd.Name() == "evalsha" {
			c.scripts--
		}
		lost := c.scripts == 0
		c.mu.Unlock()
		if !lost || last && c.executed {
			if err := next(ctx, cmd); !lost {
				return err
			}
		}
		cmd.SetErr(io.EOF)
		return io.EOF
	}
}

func (c *severed) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *severed) set(scripts int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.scripts = scripts
}

func TestARotationWithAnUnknownOutcomeAnswersUnderTheOldCookie(t *testing.T) {
	for _, executed := range []bool{false, true} {
		for path, status := range map[string]int{"/who": http.StatusOK, "/set?v=lost": http.StatusServiceUnavailable} {
			e, cut := newMini(t), &severed{scripts: -1, executed: executed}
			b := alive(t, e.hooked(t, cut), nil)
			b.get("/login?user=alice")
			b.get("/rotate")
			b.get("/who")
			e.advance(t, 3*time.Hour)
			cut.set(2) // the index entry, and then the tombstone
			if a := b.get(path); a.StatusCode != status || len(a.setCookies()) != 0 {
				t.Errorf("%s, executed %v: got %d and %d Set-Cookie, want %d and none", path, executed, a.StatusCode, len(a.setCookies()), status)
			}
			cut.set(-1)
			if st := b.state(); st.User != "alice" || (st.Note != "" && !executed) {
				t.Errorf("%s, executed %v: got %+v afterwards, want alice", path, executed, st)
			}
		}
	}
}

func TestAReplayedCookieDoesNotKeepTheSessionFromEnding(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		b := alive(t, e.manager(t), nil)
		b.get("/login?user=alice")
		thief := b.with(b.cookie())
		e.advance(t, 3*time.Hour)
		b.get("/who") // rotates
		b.get("/who") // shows the new cookie
		key := "session:" + b.state().ID
		e.advance(t, 2*time.Hour)
		before := e.client.TTL(context.Background(), key).Val()
		if got := thief.get("/who").body; got != "" {
			t.Fatalf("got user %q by a replay, want none", got)
		}
		if after := e.client.TTL(context.Background(), key).Val(); after > before {
			t.Errorf("got %s left to the session after a replay, want %s and no more", after, before)
		}
	})
}

func TestTombstoneIsOfNoUseWithoutTheOldSID(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		b := alive(t, e.manager(t), nil)
		b.get("/login?user=alice")
		old := b.with(b.cookie())
		oldSID, _ := ticketOf(t, b.cookie())
		key := "session:" + b.state().ID
		e.advance(t, 3*time.Hour)
		b.get("/who")
		old.get("/who") // prolongs it no more than that
		newSID, _ := ticketOf(t, b.cookie())
		values := e.dump(t)
		for k, v := range values {
			for _, sid := range [][]byte{oldSID, newSID} {
				if form := findSecret(k+v, sid); form != "" {
					t.Errorf("got an SID in Redis as %s, want none", form)
				}
			}
		}
		if ttl := e.client.TTL(context.Background(), key).Val(); ttl <= 0 || ttl > 24*time.Hour {
			t.Errorf("got a tombstone that lives for %s, want at most 24h", ttl)
		}
		ring, err := record.NewRing([][]byte{secret})
		if err != nil {
			t.Fatal(err)
		}
		_, tomb, err := record.Open(ring, key, values[key])
		if err != nil || tomb == nil || tomb.Next != b.state().ID {
			t.Fatalf("got tombstone %+v, %v, want one that names the successor's public id", tomb, err)
		}
		for _, wrong := range [][]byte{newSID, []byte(tomb.Next), make([]byte, 32), nil} {
			if got, err := tomb.Follow(key, wrong); err == nil {
				t.Errorf("got %d bytes without the old SID, want an error", len(got))
			}
		}
		if got, err := tomb.Follow(key, oldSID); err != nil || !bytes.Equal(got, newSID) {
			t.Errorf("got %v with the old SID, want the successor's SID", err)
		}
	})
}

// findSecret tells in which form text holds b, "" if in none.
func findSecret(text string, b []byte) string {
	for name, form := range map[string]string{
		"raw bytes": string(b), "hex": hex.EncodeToString(b),
		"base64": base64.RawStdEncoding.EncodeToString(b), "base64url": base64.RawURLEncoding.EncodeToString(b),
		"a Go slice": strings.Trim(fmt.Sprint(b), "[]"), "a quoted string": strings.Trim(fmt.Sprintf("%q", b), `"`),
	} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
			return name
		}
	}
	return ""
}

func TestALoggedInHitCostsOneGetAndOneExpire(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		m, sent := e.counted(t, func(c *redsession.Config) {
			c.UserStamp = func(context.Context, string) (string, error) { return "v1", nil }
		})
		b := alive(t, m, nil)
		b.get("/login?user=alice")
		for _, step := range []struct {
			what string
			wait time.Duration
			want string
		}{
			{"the first rotation loads its scripts", 3 * time.Hour, ""},
			{"the first hit after it says that the cookie arrived", 0, "GET EXPIRE EVALSHA in 2"},
			{"a hit", 0, "GET EXPIRE in 1"},
			{"a hit just before the next rotation", 3*time.Hour - 2*time.Second, "GET EXPIRE in 1"},
			{"a rotation", 2 * time.Second, "GET EXPIRE SETEX EVALSHA EVALSHA EVALSHA in 5"},
			{"the first hit after it", 0, "GET EXPIRE EVALSHA in 2"},
			{"a hit after it", 0, "GET EXPIRE in 1"},
		} {
			e.advance(t, step.wait)
			sent.take()
			if a := b.get("/who"); a.body != "alice" {
				t.Fatalf("%s: got user %q, want alice", step.what, a.body)
			}
			if got := sent.take(); step.want != "" && got != step.want {
				t.Errorf("%s: got %s, want %s", step.what, got, step.want)
			}
		}
	})
}
