// Package promises_test tests package redsession from outside: the promises that the README makes, each under its
// name.
package promises_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
