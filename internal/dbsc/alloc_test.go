//go:build !race

// The race detector makes sync.Pool drop some of what it is given.

package dbsc_test

import (
	"testing"

	"github.com/redsession/redsession/internal/dbsc"
)

func TestBoundCookieReadingAllocatesNothing(t *testing.T) {
	s := signer(2, 1)
	value := `"` + signer(1).EncodeCookie(dbsc.BoundCookie{Identifier: identifier, Issued: 1, Expires: 2}) + `"`
	var ok bool
	if allocs := testing.AllocsPerRun(100, func() { _, ok = s.DecodeCookie(value) }); allocs != 0 || !ok {
		t.Errorf("got %v allocations, %t, want none for a good cookie", allocs, ok)
	}
}
