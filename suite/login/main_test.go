// Package login_test tests package redsession from outside: login, logout and every other way in which a session
// begins or ends for its user.
package login_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
