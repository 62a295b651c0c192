package binding_test

import (
	"testing"
	"time"

	"github.com/redsession/redsession"
)

// TestBindingThatBeginsOnceTheKeyIsGone is an owner who comes back with a second cookie that is
// still good, later than the key of their device was kept for: the session goes on unbound.
func TestBindingThatBeginsOnceTheKeyIsGone(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *redsession.Config) { c.DeviceBinding.Lifetime = time.Hour })
	b := s.m.Browser()
	s.want(t, b, "/login?user=alice", "200")
	s.m.Advance(20 * time.Minute)
	s.want(t, b, "/", "200 alice 0")
	s.want(t, b, "/add", "200")
	s.want(t, b, "/", "200 alice 1")
	s.m.Advance(time.Hour)
	s.want(t, b, "/", "200 alice 1")
}
