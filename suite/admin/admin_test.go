package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
)

// logins logs user in n times and returns the browsers, the first login first.
func logins(t *testing.T, e *stage.Env, b *stage.Browser, user string, n int) []*stage.Browser {
	t.Helper()
	browsers := make([]*stage.Browser, n)
	for i := range n {
		browsers[i] = b.Fresh()
		browsers[i].Get("/login?user=" + user)
		e.Advance(t, time.Second)
	}
	return browsers
}

// alives tells which of browsers are logged in, as "101".
func alives(browsers []*stage.Browser) string {
	var s strings.Builder
	for _, b := range browsers {
		s.WriteString(map[bool]string{true: "1", false: "0"}[b.Get("/who").Text != ""])
	}
	return s.String()
}

func TestAdminNeedsNoSecretsButAConnection(t *testing.T) {
	t.Parallel()
	if _, err := redsession.NewAdmin(redsession.Config{}); err == nil || !strings.Contains(err.Error(), "Config.URL") {
		t.Errorf("got %v without a URL, want an error that names Config.URL", err)
	}
	e := stage.NewMini(t)
	b := stage.LifeBrowser(t, e.Manager(t, func(c *redsession.Config) { c.Encrypt = true }), nil)
	b.Get("/login?user=alice")
	a := e.Operator(t, "")
	infos, err := a.Sessions(context.Background(), "alice")
	if err != nil || len(infos) != 1 || infos[0].ID != b.State().ID {
		t.Fatalf("got %v, %v, want the one session", infos, err)
	}
	if err := a.Revoke(context.Background(), infos[0].ID); err != nil || b.Get("/who").Text != "" {
		t.Errorf("got %v and user %q, want the session ended", err, b.Get("/who").Text)
	}
}

func TestAdminListShowsADeviceAndNothingToLogInWith(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		b := stage.LifeBrowser(t, e.Manager(t, func(c *redsession.Config) { c.RotateEvery = -1 }), nil)
		began := e.Clock.Now()
		bs := logins(t, e, b, "alice", 3)
		logins(t, e, b, "bob", 1)
		b.Get("/half?user=alice")
		e.Advance(t, 2*time.Hour)
		bs[1].Get("/rotate")
		bs[1].Get("/who")
		e.Advance(t, time.Hour)
		infos, err := e.Operator(t, "").Sessions(context.Background(), "alice")
		if err != nil || len(infos) != 3 {
			t.Fatalf("got %d sessions, %v, want the 3 logins", len(infos), err)
		}
		text, _ := json.Marshal(infos)
		seen := []time.Duration{0, 2 * time.Hour, 0} // after the login
		for i, device := range bs {
			got, st := infos[2-i], device.State() // the latest login comes first
			login := began.Add(time.Duration(i) * time.Second)
			if got.ID != st.ID || got.UserID != "alice" || got.RemoteAddr != "127.0.0.1" || !strings.HasPrefix(got.UserAgent, "Go-http-client") {
				t.Errorf("got %+v, want session %s of alice at 127.0.0.1", got, st.ID)
			}
			if d := got.LastSeen.Sub(login.Add(seen[i])); d.Abs() > time.Minute {
				t.Errorf("session %d: got last seen %s off, want %s after the login", i, d, seen[i])
			}
			if !got.AuthTime.Equal(st.Auth) || !got.CreatedAt.Equal(st.Created) || got.Bytes != len(e.Dump(t)["session:"+got.ID]) {
				t.Errorf("got %+v, want the times and the size of %+v", got, st)
			}
			if d := got.ExpiresAt.Sub(e.Clock.Now().Add(got.TTL)); d != 0 || (got.TTL-7*24*time.Hour+3*time.Hour-seen[i]).Abs() > time.Minute {
				t.Errorf("got TTL %s and an end %s off, want what the idle timeout leaves", got.TTL, d)
			}
			sid, _ := stage.ParseCookie(t, device.Cookie())
			if form := stage.FindSecret(string(text), sid); form != "" || strings.Contains(string(text), device.Cookie()) {
				t.Errorf("got the SID or the cookie in a list, want neither")
			}
		}
	})
}

func TestAdminLastSeenIsTheLastWriteWhereTheDeadlineCutsTheTTL(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m := e.Manager(t, func(c *redsession.Config) { c.AbsoluteTimeout = 4 * time.Hour })
	b := stage.LifeBrowser(t, m, nil)
	b.Get("/login?user=alice")
	e.Advance(t, time.Hour)
	written := e.Clock.Now()
	b.Get("/set?v=1")
	e.Advance(t, time.Hour)
	infos, err := m.Sessions(context.Background(), "alice")
	if err != nil || len(infos) != 1 || infos[0].LastSeen.Sub(written).Abs() > time.Second || infos[0].TTL.Round(time.Second) != 2*time.Hour {
		t.Errorf("got %+v, %v, want it last seen at %s, with 2 hours left", infos, err, written)
	}
}

func TestAdminSpoofedForwardedForIsNotTheRemoteAddress(t *testing.T) {
	t.Parallel()
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
			e := stage.NewMini(t)
			m := e.Manager(t, func(c *redsession.Config) { c.TrustedHops = tt.hops })
			r := httptest.NewRequest(http.MethodGet, "/login?user=alice", nil) // from 192.0.2.1
			r.Header["X-Forwarded-For"] = tt.forwarded
			r.Header.Set("User-Agent", tt.agent)
			m.Handler(stage.LifeHandlers().Mux()).ServeHTTP(httptest.NewRecorder(), r)
			infos, err := m.Sessions(context.Background(), "alice")
			if err != nil || len(infos) != 1 || infos[0].RemoteAddr != tt.addr || infos[0].UserAgent != tt.wantAgent {
				t.Errorf("got %+v, %v, want %s and %q", infos, err, tt.addr, tt.wantAgent)
			}
		})
	}
}

func TestAdminTenantsDoNotReachEachOther(t *testing.T) {
	t.Parallel()
	prefixes := []string{"a:", "a:b:", "a", "*:", "?:", `[a-z]:`, `[^a]:`, `a\:`, `\*:`, "a*", "user:"}
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		bs := make([]*stage.Browser, len(prefixes))
		for i, p := range prefixes {
			bs[i] = stage.LifeBrowser(t, e.Manager(t, func(c *redsession.Config) { c.Prefix = p }), nil)
			bs[i].Get("/login?user=alice")
			bs[i].Get("/rotate") // leaves a tombstone
		}
		for i, p := range prefixes {
			a := e.Operator(t, p)
			n, err := a.Count(t.Context())
			if ids := stage.Listed(t, a); n != 1 || err != nil || len(ids) != 1 || ids[0] != bs[i].State().ID {
				t.Errorf("prefix %q: got %d sessions, listed %v, %v, want its own one", p, n, ids, err)
			}
		}
		want := strings.Repeat("1", len(prefixes))
		for i, p := range prefixes {
			want = want[:i] + "0" + want[i+1:]
			if n, err := e.Operator(t, p).RevokeAll(t.Context()); n != 1 || err != nil || alives(bs) != want {
				t.Fatalf("prefix %q: got %d ended, %v and %s alive, want 1 and %s", p, n, err, alives(bs), want)
			}
		}
	})
}

func TestAdminListStopsWithItsReaderAndShowsErrors(t *testing.T) {
	t.Parallel()
	stage.PlainRedis(t, func(t *testing.T, e *stage.Env) {
		m, sent := e.Counted(t)
		logins(t, e, stage.LifeBrowser(t, m, nil), "alice", 3)
		sent.Take()
		seen := 0
		for _, err := range m.All(t.Context()) {
			if seen++; err != nil {
				t.Error(err)
			}
			break
		}
		if got := sent.Take(); seen != 1 || strings.Count(got, "SCAN") != 1 {
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

func TestAdminNothingInTheIndexOutlivesItsSessions(t *testing.T) {
	t.Parallel()
	stage.EachRedis(t, func(t *testing.T, e *stage.Env) {
		m := e.Manager(t)
		b := stage.LifeBrowser(t, m, stage.Handlers{"/remember": func(_ http.ResponseWriter, _ *http.Request, s *redsession.Session) {
			s.Login("alice", redsession.RememberFor(60*24*time.Hour))
		}})
		logins(t, e, b, "alice", 2)
		b.Fresh().Get("/remember")
		b.Fresh().Get("/half?user=alice")
		b.Get("/rotate")
		if ttl := e.Client.TTL(t.Context(), e.Index(t)).Val(); math.Abs((ttl - 60*24*time.Hour).Hours()) > 1 {
			t.Errorf("got an index that lives for %s, want until the latest deadline, in 60 days", ttl)
		}
		for _, key := range e.Keys(t) {
			if ttl := e.Client.TTL(t.Context(), key).Val(); ttl <= 0 {
				t.Errorf("got TTL %s for %s, want one", ttl, key)
			}
		}
		e.Advance(t, 8*24*time.Hour) // the plain logins were idle for too long
		infos, err := m.Sessions(t.Context(), "alice")
		if n := e.Client.ZCard(t.Context(), e.Index(t)).Val(); n != 1 || len(infos) != 1 || err != nil {
			t.Errorf("got %d entries for %d sessions, %v, want 1 of each", n, len(infos), err)
		}
		e.Advance(t, 53*24*time.Hour)
		if keys := e.Keys(t); len(keys) != 0 {
			t.Errorf("got %v in Redis at the end, want nothing", fmt.Sprint(keys))
		}
	})
}
