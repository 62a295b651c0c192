package binding_test

import (
	"strings"
	"testing"
	"time"
)

// TestBindingOfTwoLoginsInOneBrowser has the second login come before the first is bound, as
// from two tabs: the browser registers a key for each, and keeps what belongs to its session.
func TestBindingOfTwoLoginsInOneBrowser(t *testing.T) {
	t.Parallel()
	for _, users := range [][2]string{{"alice", "alice"}, {"alice", "bob"}} {
		s := newSite(t)
		b := s.m.Browser()
		s.want(t, b, "/login?user="+users[0], "200")
		s.want(t, b, "/login?user="+users[1], "200")
		s.want(t, b, "/", "200 "+users[1]+" 0")
		for range 5 {
			s.want(t, b, "/", "200 "+users[1]+" 0 bound")
			s.m.Advance(15 * time.Minute)
		}
		s.want(t, b, "/", "200 "+users[1]+" 0 bound")
		bound := 0
		for _, name := range b.Cookies() {
			if strings.Contains(name, "-bound-") {
				bound++
			}
		}
		if bound != 1 {
			t.Errorf("%v: got cookies %v, want the second one of the last login alone", users, b.Cookies())
		}
	}
}
