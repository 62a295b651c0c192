package redsession_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

// operator returns an Admin without secrets, as an operator's tool has it.
func (e *env) operator(t *testing.T, prefix string) *redsession.Admin {
	t.Helper()
	a, err := redsession.NewAdmin(redsession.Config{URL: e.url, Prefix: prefix, Now: e.clock.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// logins logs user in n times and returns the browsers, the first login first.
func logins(t *testing.T, e *env, b *browser, user string, n int) []*browser {
	t.Helper()
	browsers := make([]*browser, n)
	for i := range n {
		browsers[i] = b.fresh()
		browsers[i].get("/login?user=" + user)
		e.advance(t, time.Second)
	}
	return browsers
}

// alives tells which of browsers are logged in, as "101".
func alives(browsers []*browser) string {
	var s strings.Builder
	for _, b := range browsers {
		s.WriteString(map[bool]string{true: "1", false: "0"}[b.get("/who").body != ""])
	}
	return s.String()
}

func listed(t *testing.T, a *redsession.Admin) (ids []string) {
	t.Helper()
	for i, err := range a.All(context.Background()) {
		if err != nil {
			t.Error(err)
		}
		ids = append(ids, i.ID)
	}
	slices.Sort(ids)
	return ids
}

func TestNewAdminNeedsNoSecretsButAConnection(t *testing.T) {
	if _, err := redsession.NewAdmin(redsession.Config{}); err == nil || !strings.Contains(err.Error(), "Config.URL") {
		t.Errorf("got %v without a URL, want an error that names Config.URL", err)
	}
	e := newMini(t)
	b := alive(t, e.manager(t, func(c *redsession.Config) { c.Encrypt = true }), nil)
	b.get("/login?user=alice")
	a := e.operator(t, "")
	infos, err := a.Sessions(context.Background(), "alice")
	if err != nil || len(infos) != 1 || infos[0].ID != b.state().ID {
		t.Fatalf("got %v, %v, want the one session", infos, err)
	}
	if err := a.Revoke(context.Background(), infos[0].ID); err != nil || b.get("/who").body != "" {
		t.Errorf("got %v and user %q, want the session ended", err, b.get("/who").body)
	}
}

func TestSessionsShowsADeviceAndNothingToLogInWith(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		b := alive(t, e.manager(t, func(c *redsession.Config) { c.RotateEvery = -1 }), nil)
		began := e.clock.Now()
		bs := logins(t, e, b, "alice", 3)
		logins(t, e, b, "bob", 1)
		b.get("/half?user=alice")
		e.advance(t, 2*time.Hour)
		bs[1].get("/rotate")
		bs[1].get("/who")
		e.advance(t, time.Hour)
		infos, err := e.operator(t, "").Sessions(context.Background(), "alice")
		if err != nil || len(infos) != 3 {
			t.Fatalf("got %d sessions, %v, want the 3 logins", len(infos), err)
		}
		text, _ := json.Marshal(infos)
		seen := []time.Duration{0, 2 * time.Hour, 0} // after the login
		for i, device := range bs {
			got, st := infos[2-i], device.state() // the latest login comes first
			login := began.Add(time.Duration(i) * time.Second)
			if got.ID != st.ID || got.UserID != "alice" || got.RemoteAddr != "127.0.0.1" || !strings.HasPrefix(got.UserAgent, "Go-http-client") {
				t.Errorf("got %+v, want session %s of alice at 127.0.0.1", got, st.ID)
			}
			if d := got.LastSeen.Sub(login.Add(seen[i])); d.Abs() > time.Minute {
				t.Errorf("session %d: got last seen %s off, want %s after the login", i, d, seen[i])
			}
			if !got.AuthTime.Equal(st.Auth) || !got.CreatedAt.Equal(st.Created) || got.Bytes != len(e.dump(t)["session:"+got.ID]) {
				t.Errorf("got %+v, want the times and the size of %+v", got, st)
			}
			if d := got.ExpiresAt.Sub(e.clock.Now().Add(got.TTL)); d != 0 || (got.TTL-7*24*time.Hour+3*time.Hour-seen[i]).Abs() > time.Minute {
				t.Errorf("got TTL %s and an end %s off, want what the idle timeout leaves", got.TTL, d)
			}
			sid, _ := ticketOf(t, device.cookie())
			if form := findSecret(string(text), sid); form != "" || strings.Contains(string(text), device.cookie()) {
				t.Errorf("got the SID or the cookie in a list, want neither")
			}
		}
	})
}

func TestLastSeenIsTheLastWriteWhereTheDeadlineCutsTheTTL(t *testing.T) {
	e := newMini(t)
	m := e.manager(t, func(c *redsession.Config) { c.AbsoluteTimeout = 4 * time.Hour })
	b := alive(t, m, nil)
	b.get("/login?user=alice")
	e.advance(t, time.Hour)
	written := e.clock.Now()
	b.get("/set?v=1")
	e.advance(t, time.Hour)
	infos, err := m.Sessions(context.Background(), "alice")
	if err != nil || len(infos) != 1 || infos[0].LastSeen.Sub(written).Abs() > time.Second || infos[0].TTL.Round(time.Second) != 2*time.Hour {
		t.Errorf("got %+v, %v, want it last seen at %s, with 2 hours left", infos, err, written)
	}
}

func TestSpoofedForwardedForIsNotTheRemoteAddress(t *testing.T) {
	long := strings.Repeat("é", 100)
	for _, tt := range []struct {
		name      string
		hops      int
		forwarded []string
		agent     string
		addr      string
		wantAgent string
	}{
		{"no proxy is trusted", 0, []string{"6.6.6.6"}, "curl", "192.0.2.1", "curl"},
		{"one proxy and no header", 1, nil, "curl", "192.0.2.1", "curl"},
		{"one proxy adds the client", 1, []string{"198.51.100.7"}, "curl", "198.51.100.7", "curl"},
		{"one proxy after what the client sent", 1, []string{"6.6.6.6, 198.51.100.7"}, "curl", "198.51.100.7", "curl"},
		{"one proxy, the client sent a header of its own", 1, []string{"6.6.6.6", "198.51.100.7"}, "curl", "198.51.100.7", "curl"},
		{"two proxies", 2, []string{"6.6.6.6, 198.51.100.7, 10.0.0.2"}, "curl", "198.51.100.7", "curl"},
		{"two proxies, one was passed by", 2, []string{"198.51.100.7"}, "curl", "198.51.100.7", "curl"},
		{"an IPv6 address", 1, []string{"2001:db8::1"}, "curl", "2001:db8::1", "curl"},
		{"what is no address", 1, []string{"<script>"}, "curl", "192.0.2.1", "curl"},
		{"a user agent that is too long is cut between characters", 0, nil, long, "192.0.2.1", long[:160]},
		{"a user agent that is no text", 0, nil, "a\xffb", "192.0.2.1", "ab"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newMini(t)
			m := e.manager(t, func(c *redsession.Config) { c.TrustedHops = tt.hops })
			r := httptest.NewRequest(http.MethodGet, "/login?user=alice", nil) // from 192.0.2.1
			r.Header["X-Forwarded-For"] = tt.forwarded
			r.Header.Set("User-Agent", tt.agent)
			m.Handler(life().mux()).ServeHTTP(httptest.NewRecorder(), r)
			infos, err := m.Sessions(context.Background(), "alice")
			if err != nil || len(infos) != 1 || infos[0].RemoteAddr != tt.addr || infos[0].UserAgent != tt.wantAgent {
				t.Errorf("got %+v, %v, want %s and %q", infos, err, tt.addr, tt.wantAgent)
			}
		})
	}
}

func TestRevokeTakesIDsAndNothingElse(t *testing.T) {
	e := newMini(t)
	b := alive(t, e.manager(t), nil)
	b.get("/login?user=alice")
	a, index := e.operator(t, ""), strings.TrimPrefix(e.client.Keys(t.Context(), "session:user:*").Val()[0], "session:")
	for _, tt := range []struct {
		name, id string
		ok       bool
	}{
		{"an unknown id", strings.Repeat("A", 32), true},
		{"nothing", "", false},
		{"a pattern", strings.Repeat("*", 32), false},
		{"an id that is too short", strings.Repeat("A", 31), false},
		{"an id with a line break", strings.Repeat("A", 31) + "\n", false},
		{"the index of the user's sessions", index, false},
		{"the cookie", b.cookie(), false},
	} {
		if err := a.Revoke(t.Context(), tt.id); (err == nil) != tt.ok {
			t.Errorf("%s: got %v, want success %v", tt.name, err, tt.ok)
		}
		if ok, err := a.RevokeOf(t.Context(), "alice", tt.id); ok || err != nil {
			t.Errorf("%s of alice: got %v, %v, want false and no error", tt.name, ok, err)
		}
	}
	if got := b.get("/who").body; got != "alice" {
		t.Errorf("got user %q, want alice's session unharmed", got)
	}
}

func TestGuessingAnIDEndsNobodyElsesSession(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		b := alive(t, e.manager(t), nil)
		alice, rotated, visitor := b.fresh(), b.fresh(), b.fresh()
		alice.get("/login?user=alice")
		rotated.get("/login?user=alice")
		before := rotated.state().ID
		rotated.get("/rotate")
		visitor.get("/set?v=1")
		for _, a := range []*redsession.Admin{e.operator(t, ""), e.manager(t).Admin} {
			for _, id := range []string{alice.state().ID, before, rotated.state().ID, visitor.state().ID} {
				for _, user := range []string{"mallory", ""} {
					if ok, err := a.RevokeOf(t.Context(), user, id); ok || err != nil {
						t.Errorf("got %v, %v as %q, want false", ok, err, user)
					}
				}
			}
			if alive := alives([]*browser{alice, rotated}); alive != "11" || visitor.state().Note != "1" {
				t.Fatalf("got sessions alive %s, want all", alive)
			}
		}
		for _, id := range []string{alice.state().ID, before} {
			if ok, err := e.operator(t, "").RevokeOf(t.Context(), "alice", id); !ok || err != nil {
				t.Errorf("got %v, %v as alice, want true", ok, err)
			}
			if ok, err := e.operator(t, "").RevokeOf(t.Context(), "alice", id); ok || err != nil {
				t.Errorf("got %v, %v the second time, want false", ok, err)
			}
		}
		if alive := alives([]*browser{alice, rotated}); alive != "00" {
			t.Errorf("got sessions alive %s, want none", alive)
		}
	})
}

func TestRevokeUserAndOthersCount(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t)
		b := alive(t, m, others(t, m))
		bs, bob := logins(t, e, b, "alice", 5), logins(t, e, b, "bob", 1)
		half := b.fresh()
		half.get("/half?user=alice")
		if got := half.fresh().get("/others").body; got != "0" {
			t.Errorf("got %s sessions ended by somebody who has not logged in, want 0", got)
		}
		bs[2].get("/rotate")
		if got := bs[2].get("/others").body; got != "5" || alives(bs) != "00100" || half.state().Pending != "" {
			t.Errorf("got %s others ended and %s alive, want 5, the half-open login among them, and 00100", got, alives(bs))
		}
		half.get("/half?user=alice")
		if n, err := m.RevokeUser(t.Context(), "alice"); n != 2 || err != nil || alives(append(bs, bob...)) != "000001" {
			t.Errorf("got %d, %v and %s alive, want 2 and only bob's", n, err, alives(append(bs, bob...)))
		}
		if n, err := m.RevokeUser(t.Context(), "alice"); n != 0 || err != nil {
			t.Errorf("got %d, %v the second time, want 0", n, err)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.RevokeUser(cancelled, "bob"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v after ctx was cancelled, want its error", err)
		}
	})
}

func TestRevokeAllWhileSessionsRotateAndOthersLogIn(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		b := alive(t, e.manager(t), nil)
		bs := append(logins(t, e, b, "alice", 4), logins(t, e, b, "bob", 4)...)
		over := make(chan struct{})
		var begun sync.WaitGroup
		begun.Add(len(bs))
		var done sync.WaitGroup
		for _, b := range bs {
			done.Go(func() {
				b.get("/rotate")
				begun.Done()
				for !isClosed(over) {
					b.get("/rotate")
				}
			})
		}
		done.Go(func() { logins(t, e, b, "carol", 5) })
		begun.Wait()
		n, err := e.operator(t, "").RevokeAll(t.Context())
		close(over)
		done.Wait()
		if got := alives(bs); got != "00000000" || err != nil || n < len(bs) {
			t.Errorf("got %d, %v and %s alive, want all 8 ended", n, err, got)
		}
	})
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestTenantsDoNotReachEachOther(t *testing.T) {
	prefixes := []string{"a:", "a:b:", "a", "*:", "?:", `[a-z]:`, `[^a]:`, `a\:`, `\*:`, "a*", "user:"}
	plainRedis(t, func(t *testing.T, e *env) {
		bs := make([]*browser, len(prefixes))
		for i, p := range prefixes {
			bs[i] = alive(t, e.manager(t, func(c *redsession.Config) { c.Prefix = p }), nil)
			bs[i].get("/login?user=alice")
			bs[i].get("/rotate") // leaves a tombstone
		}
		for i, p := range prefixes {
			a := e.operator(t, p)
			n, err := a.Count(t.Context())
			if ids := listed(t, a); n != 1 || err != nil || len(ids) != 1 || ids[0] != bs[i].state().ID {
				t.Errorf("prefix %q: got %d sessions, listed %v, %v, want its own one", p, n, ids, err)
			}
		}
		want := strings.Repeat("1", len(prefixes))
		for i, p := range prefixes {
			want = want[:i] + "0" + want[i+1:]
			if n, err := e.operator(t, p).RevokeAll(t.Context()); n != 1 || err != nil || alives(bs) != want {
				t.Fatalf("prefix %q: got %d ended, %v and %s alive, want 1 and %s", p, n, err, alives(bs), want)
			}
		}
	})
}

func TestTheListStopsWithItsReaderAndShowsErrors(t *testing.T) {
	plainRedis(t, func(t *testing.T, e *env) {
		m, sent := e.counted(t)
		logins(t, e, alive(t, m, nil), "alice", 3)
		sent.take()
		seen := 0
		for _, err := range m.All(t.Context()) {
			if seen++; err != nil {
				t.Error(err)
			}
			break
		}
		if got := sent.take(); seen != 1 || strings.Count(got, "SCAN") != 1 {
			t.Errorf("got %d sessions and %s, want 1 and one SCAN", seen, got)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		var failed []error
		for i, err := range m.All(cancelled) {
			if failed = append(failed, err); i != (redsession.Info{}) {
				t.Errorf("got %+v with an error, want nothing", i)
			}
		}
		_, err := m.Count(cancelled)
		if len(failed) != 1 || !errors.Is(failed[0], context.Canceled) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v and %v, want the error of ctx once, and from Count", failed, err)
		}
	})
}

func TestParallelLoginsLeaveAsManyAsMaxPerUserAllows(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		limit := func(c *redsession.Config) { c.MaxPerUser = 3 }
		servers := []*browser{alive(t, e.manager(t, limit), nil), alive(t, e.manager(t, limit), nil)}
		bs := atOnce(20, func(i int) *browser {
			b := servers[i%2].fresh()
			if a := b.get("/login?user=alice"); a.StatusCode != http.StatusOK {
				t.Errorf("got %d, want 200", a.StatusCode)
			}
			return b
		})
		if got := strings.Count(alives(bs), "1"); got != 3 {
			t.Errorf("got %d cookies alive, want 3", got)
		}
		if n := len(e.dump(t)); n != 3 {
			t.Errorf("got %d records, want 3", n)
		}
		if n := e.client.ZCard(t.Context(), e.index(t)).Val(); n != 3 {
			t.Errorf("got %d entries in the index, want 3", n)
		}
	})
}

// index returns the name of the one user's index.
func (e *env) index(t *testing.T) string {
	t.Helper()
	keys := e.client.Keys(t.Context(), "session:user:*").Val()
	if len(keys) != 1 {
		t.Fatalf("got indexes %v, want one", keys)
	}
	return keys[0]
}

func TestMaxPerUserEndsTheOldestLogins(t *testing.T) {
	type B = *browser
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, e *env, b B, bs []B)
		want string // of the three logins before
	}{
		{"a login too many ends the oldest", func(_ *testing.T, _ *env, b B, _ []B) { b.get("/login?user=alice") }, "011"},
		{"another user's ends none", func(_ *testing.T, _ *env, b B, _ []B) { b.get("/login?user=bob") }, "111"},
		{"a half-open one ends none", func(_ *testing.T, _ *env, b B, _ []B) { b.get("/half?user=alice") }, "111"},
		{"its completion ends the oldest", func(_ *testing.T, e *env, b B, _ []B) { b.play(e, "/half?user=alice", "/second") }, "011"},
		{"half-open ones do not count", func(_ *testing.T, _ *env, b B, _ []B) {
			for range 3 {
				b.fresh().get("/half?user=alice")
			}
			b.get("/login?user=alice")
		}, "011"},
		{"a rotation ends none", func(_ *testing.T, _ *env, _ B, bs []B) { bs[0].get("/rotate") }, "111"},
		{"a rotated one is as old as its login", func(_ *testing.T, _ *env, b B, bs []B) {
			bs[0].get("/rotate")
			b.get("/login?user=alice")
		}, "011"},
		{"a dead entry costs a live one nothing", func(t *testing.T, e *env, b B, bs []B) {
			e.client.Del(t.Context(), "session:"+bs[2].state().ID)
			b.get("/login?user=alice")
		}, "110"},
		{"the same browser's next login replaces its own", func(_ *testing.T, _ *env, _ B, bs []B) { bs[1].get("/login?user=alice") }, "111"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachRedis(t, func(t *testing.T, e *env) {
				b := alive(t, e.manager(t, func(c *redsession.Config) { c.MaxPerUser = 3 }), nil)
				bs := logins(t, e, b, "alice", 3)
				if tt.do(t, e, b, bs); alives(bs) != tt.want {
					t.Errorf("got %s of the three logins alive, want %s", alives(bs), tt.want)
				}
				if b.cookie() != "" && b.state().User+b.state().Pending == "" {
					t.Errorf("got the new login ended, want it alive")
				}
			})
		})
	}
}

// A late answer must not take the newer login's cookie away.
func TestALoginAtTheLimitLeavesItsOwnTombstone(t *testing.T) {
	e := newMini(t)
	b := alive(t, e.manager(t), nil)
	limited := alive(t, e.manager(t, func(c *redsession.Config) { c.MaxPerUser = 1 }), nil)
	bs := logins(t, e, b, "alice", 3) // before there was a limit
	for range 2 {
		again := limited.with(bs[0].cookie())
		again.get("/login?user=alice")
		if a := bs[0].get("/who"); a.body != "" || len(a.setCookies()) != 0 {
			t.Errorf("got user %q and Set-Cookie %v for the old id, want nobody and none", a.body, a.setCookies())
		}
		bs[0] = again
		if got := alives(bs); got != "100" {
			t.Errorf("got %s alive, want only the one that logged in again", got)
		}
	}
}

func TestNothingInTheIndexOutlivesItsSessions(t *testing.T) {
	eachRedis(t, func(t *testing.T, e *env) {
		m := e.manager(t)
		b := alive(t, m, handlers{"/remember": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			s.Login("alice", redsession.RememberFor(60*24*time.Hour))
		}})
		logins(t, e, b, "alice", 2)
		b.fresh().get("/remember")
		b.fresh().get("/half?user=alice")
		b.get("/rotate")
		if ttl := e.client.TTL(t.Context(), e.index(t)).Val(); math.Abs((ttl - 60*24*time.Hour).Hours()) > 1 {
			t.Errorf("got an index that lives for %s, want until the latest deadline, in 60 days", ttl)
		}
		for _, key := range e.keys(t) {
			if ttl := e.client.TTL(t.Context(), key).Val(); ttl <= 0 {
				t.Errorf("got TTL %s for %s, want one", ttl, key)
			}
		}
		e.advance(t, 8*24*time.Hour) // the plain logins were idle for too long
		infos, err := m.Sessions(t.Context(), "alice")
		if n := e.client.ZCard(t.Context(), e.index(t)).Val(); n != 1 || len(infos) != 1 || err != nil {
			t.Errorf("got %d entries for %d sessions, %v, want 1 of each", n, len(infos), err)
		}
		e.advance(t, 53*24*time.Hour)
		if keys := e.keys(t); len(keys) != 0 {
			t.Errorf("got %v in Redis at the end, want nothing", fmt.Sprint(keys))
		}
	})
}
