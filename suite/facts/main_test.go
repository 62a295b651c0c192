// Package facts_test tests package redsession from outside: what a login says of itself, and what follows from it.
package facts_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
