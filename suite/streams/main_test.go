// Package streams_test tests package redsession from outside: contexts of open streams.
package streams_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
