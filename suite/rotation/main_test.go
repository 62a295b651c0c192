// Package rotation_test tests package redsession from outside: ids that change by time or on demand, and the grace of
// the old ones.
package rotation_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
