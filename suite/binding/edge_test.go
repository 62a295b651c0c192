package binding_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession"
	"github.com/redsession/redsession/internal/stage"
	"github.com/redsession/redsession/redsessiontest"
)

// recorded is what a browser sent to an endpoint of device binding, to be sent again.
type recorded struct {
	path   string
	header http.Header
}

// tapped returns s with a handler that keeps what its endpoints got.
func tapped(s *site) *[]recorded {
	var list []recorded
	inner := s.h
	s.h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/session-binding/") {
			list = append(list, recorded{r.URL.Path, r.Header.Clone()})
		}
		inner.ServeHTTP(w, r)
	})
	return &list
}

func (s *site) again(rec recorded, change func(http.Header)) *http.Response {
	r := httptest.NewRequest(http.MethodPost, "https://example.com"+rec.path, nil)
	r.Header = rec.header.Clone()
	if change != nil {
		change(r.Header)
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return w.Result()
}

func TestBindingRegistrationCutOffGetsTheSameAnswerAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	list := tapped(s)
	b := s.m.Browser()
	s.want(t, b, "/login?user=alice", "200")
	if len(*list) != 1 {
		t.Fatalf("got %d requests to the endpoints, want the registration", len(*list))
	}
	first := s.again((*list)[0], nil)
	second := s.again((*list)[0], func(h http.Header) { h.Del("Cookie") }) // as after a login by a redirect from another site
	one, _ := io.ReadAll(first.Body)
	two, _ := io.ReadAll(second.Body)
	if first.StatusCode != 200 || second.StatusCode != 200 || string(one) != string(two) || len(second.Cookies()) != 1 {
		t.Errorf("got %d and %d with %q and %q, want the same answer twice", first.StatusCode, second.StatusCode, one, two)
	}
	s.want(t, b, "/", "200 alice 0")
	s.want(t, b, "/", "200 alice 0 bound")
	for name, rec := range map[string]recorded{
		"without a proof":  {(*list)[0].path, http.Header{}},
		"with another key": {(*list)[0].path, http.Header{"Secure-Session-Response": {"e30.e30.AAAA"}}},
		"of another token": {"/session-binding/register/AAAA", (*list)[0].header},
	} {
		if res := s.again(rec, nil); res.StatusCode != http.StatusForbidden || len(res.Cookies()) != 0 {
			t.Errorf("%s: got %d and %d cookies, want 403 and none", name, res.StatusCode, len(res.Cookies()))
		}
	}
	s.m.Advance(11 * time.Minute)
	if res := s.again((*list)[0], nil); res.StatusCode != http.StatusForbidden {
		t.Errorf("got %d for an offer that has expired, want 403", res.StatusCode)
	}
}

// TestBindingProofs holds what the endpoint answers to whatever comes: all but 403 with a
// challenge and 5xx have a browser drop its key.
func TestBindingProofs(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(s *site, other *redsessiontest.Browser, h http.Header)
		want   int
	}{
		{"a proof again, as after a lost answer", func(*site, *redsessiontest.Browser, http.Header) {}, 200},
		{"without the session's cookie, as after a link from another site", func(_ *site, _ *redsessiontest.Browser, h http.Header) { h.Del("Cookie") }, 200},
		{"no proof yet", func(_ *site, _ *redsessiontest.Browser, h http.Header) { h.Del("Secure-Session-Response") }, 403},
		{"a proof that is none", func(_ *site, _ *redsessiontest.Browser, h http.Header) {
			h.Set("Secure-Session-Response", "e30.e30.AAAA")
		}, 403},
		{"a challenge that has expired", func(s *site, _ *redsessiontest.Browser, _ http.Header) { s.m.Advance(time.Hour) }, 403},
		{"no identifier", func(_ *site, _ *redsessiontest.Browser, h http.Header) { h.Del("Sec-Secure-Session-Id") }, 401},
		{"another identifier", func(_ *site, _ *redsessiontest.Browser, h http.Header) {
			h.Set("Sec-Secure-Session-Id", "AAAAAAAA."+strings.Repeat("A", 43))
		}, 401},
		{"a key that is gone", func(s *site, _ *redsessiontest.Browser, _ http.Header) {
			_, _ = s.m.RevokeUser(s.context(), "alice")
		}, 401},
		{"a key that was planted", func(s *site, _ *redsessiontest.Browser, _ http.Header) {
			for _, key := range s.m.Redis.Keys() {
				if strings.Contains(key, ":bind:") {
					raw, _ := s.m.Redis.Get(key)
					_ = s.m.Redis.Set(key, strings.Replace(raw, "ES256.", "ES256.A", 1))
				}
			}
		}, 503},
		{"Redis away, and the key is known", func(s *site, _ *redsessiontest.Browser, _ http.Header) { s.m.TakeRedisAway() }, 200},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			list := tapped(s)
			b := s.bound(t)
			s.m.Advance(11 * time.Minute)
			s.want(t, b, "/", "200 alice 0 bound")
			last := (*list)[len(*list)-1]
			last.header = last.header.Clone()
			row.change(s, nil, last.header)
			res := s.again(last, nil)
			if res.StatusCode != row.want || (res.Header.Get("Secure-Session-Challenge") != "") != (row.want == 403 || row.want == 200) {
				t.Errorf("got %d with the challenge %q, want %d", res.StatusCode, res.Header.Get("Secure-Session-Challenge"), row.want)
			}
		})
	}
}

func TestBindingProofBesideTheCookieOfAnotherBindingEndsTheOlder(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	list := tapped(s)
	b := s.bound(t)
	s.m.Advance(11 * time.Minute)
	s.want(t, b, "/", "200 alice 0 bound")
	older := (*list)[len(*list)-1]
	other := s.bound(t)
	res := s.again(older, func(h http.Header) {
		h.Set("Cookie", (*list)[len(*list)-1].header.Get("Cookie"))
		s.m.Advance(11 * time.Minute)
		s.want(t, other, "/", "200 alice 0 bound")
		h.Set("Cookie", (*list)[len(*list)-1].header.Get("Cookie"))
	})
	if res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusForbidden {
		t.Errorf("got %d, want the older binding refused", res.StatusCode)
	}
}

func TestBindingRequiredByGuards(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) {
		c.DeviceBinding.Require = func(r *http.Request) bool { return r.URL.Path == "/guarded" }
	})
	able, unable := s.bound(t), s.m.Browser().Thief()
	s.want(t, able, "/guarded", "200 let in")
	s.want(t, unable, "/login?user=bob", "200")
	navigation := []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "same-origin"}
	if got := s.see(unable, "/guarded", navigation...); !strings.HasPrefix(got, "403 <!doctype html>") {
		t.Errorf("got %q right after the login, want the page that loads itself again", got)
	}
	s.want(t, unable, "/guarded", "403 This request is not allowed from here. P")
	s.m.Advance(11 * time.Second)
	s.want(t, unable, "/guarded", "403 This request is not allowed from here. P", navigation...)
	s.want(t, unable, "/", "200 bob 0")
}

func TestBindingIsNoReasonToLockAnybodyOutInAnOutage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.bound(t)
	thief := b.Thief()
	s.m.Advance(11 * time.Minute)
	s.m.TakeRedisAway()
	s.want(t, thief, "/", "503 The service is unavailable for a moment.")
	s.m.BringRedisBack()
	s.want(t, thief, "/", "200 nobody 0 locked")
	s.want(t, b, "/", "200 alice 0 bound")
}

// TestBindingLocksNobodyWhileWritingIsAway has an outage in which sessions can be read.
func TestBindingLocksNobodyWhileWritingIsAway(t *testing.T) {
	t.Parallel()
	e := stage.NewMini(t)
	m, proxy := e.Behind(t, func(c *redsession.Config) {
		c.Cookie.InsecurePlainHTTP, c.OutageWait, c.RedisTimeout = false, -1, 300*time.Millisecond
		c.DeviceBinding.Enabled = true
	})
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := m.FromContext(r.Context())
		switch r.URL.Path {
		case "/login":
			s.Login("alice")
		case "/add":
			number.Set(s, 1)
		}
		fmt.Fprintf(w, "%s %t", s.UserID(), s.Locked())
	}))
	var clock redsessiontest.Manager // which stands still
	b := clock.Browser()
	for _, path := range []string{"/login", "/", "/"} {
		b.Get(h, path)
	}
	alone := &site{h: h}
	session := sessionOf(b)
	if got := text(alone.get("/", session)); got != "200 true" {
		t.Fatalf("got %q of the session's cookie alone, want it locked", got)
	}
	proxy.Reply(func(args []string) (string, bool) {
		return "READONLY You can't write against a read only replica.", strings.HasPrefix(args[0], "EVAL") || args[0] == "EXPIRE"
	})
	b.Get(h, "/add")
	stage.Until(t, "the outage of writing", func() bool { return len(e.Events.Of(redsession.EventOutageBegan)) > 0 })
	if got := text(alone.get("/", session)); !strings.HasPrefix(got, "503 ") {
		t.Errorf("got %q while nobody can write, want ErrUnavailable", got)
	}
	proxy.Reply(nil)
	stage.Until(t, "the end of the outage", func() bool { return len(e.Events.Of(redsession.EventOutageEnded)) > 0 })
	if got := text(alone.get("/", session)); got != "200 true" {
		t.Errorf("got %q afterwards, want it locked", got)
	}
}

func TestBindingHoldsForTheHeaderToo(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) { c.Header = "X-Session" })
	list := tapped(s)
	b := s.bound(t)
	s.m.Advance(11 * time.Minute)
	s.want(t, b, "/", "200 alice 0 bound")
	cookies, err := http.ParseCookie((*list)[len(*list)-1].header.Get("Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cookies {
		if c.Name == "__Host-session" {
			s.want(t, s.m.Browser(), "/", "200 nobody 0 locked", "X-Session", c.Value)
		}
	}
}

func TestBindingEndsAStreamWithTheSecondCookie(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.bound(t)
	opened, ended := make(chan struct{}), make(chan error, 1)
	stream := s.m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx := redsession.FromContext(r.Context()).Context()
		close(opened)
		<-ctx.Done()
		ended <- context.Cause(ctx)
	}))
	go b.Get(stream, "/")
	<-opened
	select {
	case err := <-ended:
		t.Fatalf("got the stream ended by %v before its time", err)
	default:
	}
	s.m.Advance(10*time.Minute + time.Second)
	if err := <-ended; !errors.Is(err, redsession.ErrGone) {
		t.Errorf("got %v, want ErrGone as the device has to prove itself anew", err)
	}
}
