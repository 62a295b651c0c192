//go:build !race

// The race detector makes sync.Pool drop some of what it is given.

package sessioncookie_test

import "testing"

func TestCookieReadingAllocatesNothing(t *testing.T) {
	r := request([]string{"theme=dark; session=" + valueOf(t, ours, token(1)), "session=" + valueOf(t, ours, token(2))})
	found := 0
	allocs := testing.AllocsPerRun(100, func() {
		_, ts := ours.Read(r, false, now)
		found = len(ts.All())
	})
	if allocs != 0 || found != 2 {
		t.Errorf("got %v allocations for %d tokens, want none for 2", allocs, found)
	}
}
