package binding_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redsession/redsession"
)

// get sends a request with this Cookie field, whatever a browser would send.
func (s *site) get(path, cookies string, fields ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, "https://example.com"+path, nil)
	r.Header.Set("Cookie", cookies)
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return w.Result()
}

func text(res *http.Response) string {
	body, _ := io.ReadAll(res.Body)
	return fmt.Sprintf("%d %s", res.StatusCode, strings.TrimSpace(string(body)))
}

// server is another one of the same site, which knows nothing yet.
func (s *site) server(t *testing.T, secrets ...[]byte) http.Handler {
	t.Helper()
	m, err := redsession.New(redsession.Config{
		URL: "redis://" + s.m.Redis.Addr(), Secrets: secrets, Now: s.m.Now, OutageWait: -1, DeviceBinding: redsession.DeviceBinding{Enabled: true},
		Logger: slog.New(slog.DiscardHandler), ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadRequest) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session := m.FromContext(r.Context())
		fmt.Fprintf(w, "%s %t", session.UserID(), session.DeviceBound())
	}))
}

// until waits for what is tidied up beside an answer.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for patience := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(patience) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// keys are those in Redis that begin with prefix, after Manager's.
func (s *site) keys(prefix string) []string {
	return slices.DeleteFunc(s.m.Redis.Keys(), func(key string) bool { return !strings.HasPrefix(key, "session:"+prefix) })
}

func TestBindingEndpointsComeBeforeSkip(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) {
		c.Skip = func(r *http.Request) bool { return r.Method == http.MethodPost }
	})
	b := s.bound(t)
	s.m.Advance(time.Hour)
	s.want(t, b, "/", "200 alice 0 bound")
}

func TestBindingEndpointsBelowATakenPrefix(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) { c.DeviceBinding.Path = "/app/binding" })
	inner := s.h
	s.h = http.StripPrefix("/app", inner)
	login := s.m.Browser()
	for range 2 {
		login.Get(s.h, "/app/login?user=alice")
	}
	s.want(t, login, "/app/", "200 alice 0")
	s.m.Advance(time.Hour)
	s.want(t, login, "/app/", "200 alice 0 bound")
}

// TestBindingWhatLiesInRedis follows the key of a device through its life.
func TestBindingWhatLiesInRedis(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) { c.AbsoluteTimeout = 12 * time.Hour })
	taps := tapped(s)
	b := s.m.Browser()
	before := ""
	inner := s.h
	s.h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/session-binding/register/") {
			before = s.dump()
		}
		inner.ServeHTTP(w, r)
	})
	s.want(t, b, "/login?user=alice", "200")
	device := s.keys("bind:")
	if len(device) != 1 || s.m.Redis.TTL(device[0]) != 10*time.Minute {
		t.Fatalf("got %v after the registration, want one key for 10 minutes", device)
	}
	for line := range strings.Lines(before) {
		if !strings.Contains(s.dump(), line) {
			t.Errorf("the registration changed %s", line)
		}
	}
	if got := (*taps)[0].header.Get("Sec-Secure-Session-Id"); got != "" {
		t.Errorf("got the identifier %q with a registration", got)
	}
	s.m.Advance(time.Minute)
	s.want(t, b, "/", "200 alice 0")
	if got, want := s.m.Redis.TTL(device[0]), 12*time.Hour-time.Minute; got < want-2*time.Second || got > want {
		t.Errorf("got a life of %s once the binding has begun, want %s as for the session", got, want)
	}
	value, _ := s.m.Redis.Get(device[0])
	s.want(t, b, "/rotate", "200")
	s.m.Advance(20 * time.Minute)
	s.want(t, b, "/", "200 alice 0 bound")
	if after, _ := s.m.Redis.Get(device[0]); s.m.Stats().Rotated != 1 || after != value {
		t.Errorf("got %d rotations, and the key of the device written: %v, want one, and not", s.m.Stats().Rotated, after != value)
	}
	s.want(t, b, "/login?user=bob", "200")
	until(t, "the older device's key gone, and the new one's there", func() bool {
		got := s.keys("bind:")
		return len(got) == 1 && got[0] != device[0]
	})
}

// TestBindingProofIsNoActivity repeats a proof, which must not prolong the session.
func TestBindingProofIsNoActivity(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) { c.IdleTimeout = time.Hour })
	taps := tapped(s)
	b := s.bound(t)
	s.m.Advance(11 * time.Minute)
	s.want(t, b, "/", "200 alice 0 bound")
	s.m.Advance(3 * time.Minute)
	before := s.dump()
	if res := s.again((*taps)[len(*taps)-1], nil); res.StatusCode != http.StatusOK || len(res.Cookies()) != 1 {
		t.Errorf("got %d and %v, want 200 and the second cookie", res.StatusCode, res.Cookies())
	}
	if after := s.dump(); after != before {
		t.Errorf("got\n%s\nwant as before\n%s", after, before)
	}
}

// TestBindingProofsFailAs503 has an ErrorHandler that answers 400, and a server that knows no key.
func TestBindingProofsFailAs503(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) {
		c.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadRequest) }
	})
	taps := tapped(s)
	b := s.bound(t)
	s.m.Advance(11 * time.Minute)
	s.want(t, b, "/", "200 alice 0 bound")
	proof := (*taps)[len(*taps)-1]
	s.want(t, s.m.Browser(), "/login?user=alice", "200")
	registration := (*taps)[len(*taps)-1]
	s.m.Redis.SetError("LOADING Redis is loading the dataset in memory")
	if res := s.again(proof, nil); res.StatusCode != http.StatusOK {
		t.Errorf("got %d where the key is known, want 200", res.StatusCode)
	}
	s.m.Redis.SetError("")
	s.h = s.server(t, secret)
	s.m.Redis.SetError("LOADING Redis is loading the dataset in memory")
	for what, rec := range map[string]recorded{"a proof": proof, "a registration": registration} {
		if res := s.again(rec, nil); res.StatusCode != http.StatusServiceUnavailable || len(res.Cookies()) != 0 {
			t.Errorf("%s: got %d from a server that knows nothing while Redis is away, want 503", what, res.StatusCode)
		}
	}
	s.m.Redis.SetError("")
}

// TestBindingOfTwoLoginsAtOnce has two tabs log in, neither of which knows of the other.
func TestBindingOfTwoLoginsAtOnce(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"alice", "bob"} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := s.m.Browser()
			var arrived sync.WaitGroup
			arrived.Add(2)
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/login" {
					arrived.Done()
					arrived.Wait()
				}
				s.h.ServeHTTP(w, r)
			})
			var tabs sync.WaitGroup
			for _, who := range []string{"alice", user} {
				tabs.Go(func() { b.Get(h, "/login?user="+who) })
			}
			tabs.Wait()
			s.see(b, "/")
			for range 4 {
				s.m.Advance(10 * time.Minute)
				if got := s.see(b, "/"); !strings.HasSuffix(got, " 0 bound") {
					t.Errorf("got %q, want the bound session of the later answer", got)
				}
			}
			if got := b.Cookies(); len(got) != 2 {
				t.Errorf("got cookies %v, want the session's and its second one: the other login's is of no use", got)
			}
		})
	}
}

// TestBindingProofBesideAnotherBinding is the older of two bindings, which has to go.
func TestBindingProofBesideAnotherBinding(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	taps := tapped(s)
	older := s.bound(t)
	s.m.Advance(11 * time.Minute)
	s.want(t, older, "/", "200 alice 0 bound")
	proof := (*taps)[len(*taps)-1]
	id := proof.path[strings.LastIndexByte(proof.path, '/')+1:]
	present := s.bound(t)
	res := s.again(proof, func(h http.Header) { h.Set("Cookie", sessionOf(present)) })
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("got %d, want 401", res.StatusCode)
	}
	if got := res.Cookies(); len(got) != 1 || got[0].Name != "__Host-session-bound-"+id || got[0].MaxAge >= 0 {
		t.Errorf("got cookies %v, want the second one of the older binding expired", got)
	}
	s.want(t, present, "/", "200 alice 0 bound")
	s.want(t, older, "/", "200 alice 0 bound")
}

// TestBindingOfASessionThatEndedByTime has the browser drop a key that is of no use.
func TestBindingOfASessionThatEndedByTime(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) { c.IdleTimeout = time.Hour })
	taps := tapped(s)
	b := s.bound(t)
	s.m.Advance(2 * time.Hour)
	if len(s.keys("bind:")) != 1 {
		t.Fatalf("got %v, want the key of the device still there", s.keys("bind:"))
	}
	s.want(t, b, "/", "200 nobody 0")
	asked := len(*taps)
	s.want(t, b, "/", "200 nobody 0")
	if len(*taps) != asked || len(b.Cookies()) != 0 {
		t.Errorf("got %d further proofs and the cookies %v, want none", len(*taps)-asked, b.Cookies())
	}
}
