// Package trace_test tests package redsession from outside: what Config.Trace is told.
package trace_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
