// Package flashes_test tests package redsession from outside: values for the next page that shows them.
package flashes_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
