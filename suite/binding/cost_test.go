package binding_test

import (
	"testing"
	"time"

	"github.com/redsession/redsession"
)

// TestBindingCostsAReadHitNothing counts the commands that Redis gets.
func TestBindingCostsAReadHitNothing(t *testing.T) {
	t.Parallel()
	plain := newSite(t, func(c *redsession.Config) { c.DeviceBinding.Enabled = false })
	bound := newSite(t)
	count := func(s *site, do func()) int {
		before := s.m.Redis.CommandCount()
		do()
		return s.m.Redis.CommandCount() - before
	}
	b := plain.m.Browser()
	plain.see(b, "/login?user=alice")
	owner := bound.bound(t)
	without := count(plain, func() { plain.want(t, b, "/", "200 alice 0") })
	with := count(bound, func() { bound.want(t, owner, "/", "200 alice 0 bound") })
	if with != without || with != 2 {
		t.Errorf("got %d commands for a hit of a bound session and %d without, want 2", with, without)
	}
	bound.m.Advance(11 * time.Minute)
	thief := owner.Thief()
	if locked := count(bound, func() { bound.want(t, thief, "/", "200 nobody 0 locked") }); locked != 1 {
		t.Errorf("got %d commands for a locked session, want the GET alone", locked)
	}
	if proof := count(bound, func() { bound.want(t, owner, "/", "200 alice 0 bound") }); proof != 5 {
		t.Errorf("got %d commands for a proof and a hit, want two GETs, a PTTL and a hit", proof)
	}
}
