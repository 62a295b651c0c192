// Package cookies_test tests package redsession from outside: the signed cookie, its attributes, and the header in
// its place.
package cookies_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
