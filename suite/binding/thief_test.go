package binding_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redsession/redsession/redsessiontest"
)

var navigation = []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "same-origin"}

// open is what a browser shows in the end of path: it goes where it is sent, and loads again what
// asks for that.
func (s *site) open(b *redsessiontest.Browser, path string, fields ...string) string {
	for range 3 {
		res := b.Get(s.h, path, fields...)
		switch {
		case res.StatusCode == http.StatusTemporaryRedirect:
			path = res.Header.Get("Location")
		case res.StatusCode == http.StatusForbidden && strings.HasPrefix(res.Header.Get("Content-Type"), "text/html"):
			fields = navigation
		default:
			return s.see(b, path, fields...)
		}
	}
	return "a loop"
}

// moments are those at which a thief copies the cookies of alice's browser: what lies before
// them, and what the browser may do until the owner goes away.
var moments = []struct {
	name  string
	most  time.Duration // that the owner may be away, 0 for any; a device waits for its first request for 10 minutes
	until func(s *site, b *redsessiontest.Browser, copied func())
}{
	{"at the login, when the second cookie was not there yet", 10 * time.Minute, func(s *site, b *redsessiontest.Browser, copied func()) {
		inner := s.h
		s.h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/session-binding/register/") {
				copied()
			}
			inner.ServeHTTP(w, r)
		})
		s.see(b, "/login?user=alice")
		s.h = inner
	}},
	{"after the registration", 0, func(s *site, b *redsessiontest.Browser, copied func()) {
		s.see(b, "/login?user=alice")
		copied()
	}},
	{"after the registration, and the owner comes first", 0, func(s *site, b *redsessiontest.Browser, copied func()) {
		s.see(b, "/login?user=alice")
		copied()
		s.see(b, "/")
	}},
	{"once the session is bound", 0, func(s *site, b *redsessiontest.Browser, copied func()) {
		s.see(b, "/login?user=alice")
		s.see(b, "/")
		copied()
	}},
	{"before a proof", 0, func(s *site, b *redsessiontest.Browser, copied func()) {
		s.see(b, "/login?user=alice")
		s.see(b, "/")
		s.m.Advance(9 * time.Minute)
		copied()
		s.m.Advance(time.Minute)
		s.see(b, "/")
	}},
	{"after a proof", 0, func(s *site, b *redsessiontest.Browser, copied func()) {
		s.see(b, "/login?user=alice")
		s.see(b, "/")
		s.m.Advance(11 * time.Minute)
		s.see(b, "/")
		copied()
	}},
	{"before a proof that turns the id", 0, func(s *site, b *redsessiontest.Browser, copied func()) {
		s.see(b, "/login?user=alice")
		s.see(b, "/")
		s.see(b, "/rotate")
		s.m.Advance(9 * time.Minute)
		copied()
		s.m.Advance(time.Minute)
		s.see(b, "/")
	}},
	{"before a proof that turns the id, and its answer is lost", 0, func(s *site, b *redsessiontest.Browser, copied func()) {
		s.see(b, "/login?user=alice")
		s.see(b, "/")
		s.see(b, "/rotate")
		s.m.Advance(9 * time.Minute)
		copied()
		s.m.Advance(time.Minute)
		b.Get(lost(s.h), "/")
	}},
	{"before an early proof that turns the id, and its answer is lost", 0, func(s *site, b *redsessiontest.Browser, copied func()) {
		s.see(b, "/login?user=alice")
		s.see(b, "/")
		s.see(b, "/rotate")
		s.m.Advance(2 * time.Minute)
		copied()
		b.Get(s.h, "/proof") // sends it there without the second cookie
		b.Get(lost(s.h), "/proof")
	}},
	{"after a proof that turned the id, and its answer was lost", 0, func(s *site, b *redsessiontest.Browser, copied func()) {
		s.see(b, "/login?user=alice")
		s.see(b, "/")
		s.see(b, "/rotate")
		s.m.Advance(11 * time.Minute)
		b.Get(lost(s.h), "/")
		b.Get(lost(s.h), "/")
		copied()
	}},
}

// lost is h whose answers do not arrive.
func lost(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(discard{http.Header{}}, r)
		w.WriteHeader(http.StatusBadGateway)
	})
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}

// TestBindingOwnerWhoIsIdleIsNotLoggedOutByAThief has a thief with copied cookies use them all
// the time, from the first moment on, while the owner is away for a while.
func TestBindingOwnerWhoIsIdleIsNotLoggedOutByAThief(t *testing.T) {
	t.Parallel()
	for _, moment := range moments {
		for _, away := range []time.Duration{0, 30 * time.Second, 2 * time.Minute, 9 * time.Minute, 10*time.Minute + time.Second, 25 * time.Minute} {
			if moment.most != 0 && away >= moment.most {
				continue
			}
			for _, does := range []string{"/", "/add", "/rotate", "/others"} {
				t.Run(moment.name+"/"+away.String()+does, func(t *testing.T) {
					t.Parallel()
					s := newSite(t)
					owner := s.m.Browser()
					var thief *redsessiontest.Browser
					moment.until(s, owner, func() { thief = owner.Thief() })
					proved := s.m.Now()
					s.see(thief, does)
					for left := away; left > 0; left -= 30 * time.Second {
						s.m.Advance(min(left, 30*time.Second))
						s.see(thief, does)
						s.see(thief, "/")
					}
					if got := s.open(owner, "/", navigation...); !strings.HasPrefix(got, "200 alice") || !strings.HasSuffix(got, "bound") {
						t.Errorf("the owner gets %q, want alice's bound session", got)
					}
					s.m.Advance(2 * time.Minute)
					if got := s.see(owner, "/"); !strings.HasPrefix(got, "200 alice") {
						t.Errorf("the owner gets %q two minutes later", got)
					}
					s.m.Advance(max(0, proved.Add(11*time.Minute).Sub(s.m.Now())))
					if got := s.see(thief, "/"); strings.Contains(got, "alice") {
						t.Errorf("the thief gets %q eleven minutes after the proof", got)
					}
					if got := s.see(owner, "/add"); got != "200" {
						t.Errorf("the owner gets %q after the thief", got)
					}
				})
			}
		}
	}
}
