// Package load_test tests package redsession from outside: reading a session: deadlines, failures, what a session
// tells of itself, and benchmarks.
package load_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
