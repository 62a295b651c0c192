// Package admin_test tests package redsession from outside: listing, limiting and revoking sessions.
package admin_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
