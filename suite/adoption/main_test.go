// Package adoption_test tests package redsession from outside: imports, and sessions of other packages that are taken
// over live.
package adoption_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
