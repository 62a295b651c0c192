// Package refresh_test tests package redsession from outside: what is done once per session.
package refresh_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
