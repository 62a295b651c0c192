// Package flavours_test tests package redsession from outside: every way to run Redis and to name it in a URL.
package flavours_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
