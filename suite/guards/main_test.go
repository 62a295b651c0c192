// Package guards_test tests package redsession from outside: the guards before handlers: logins, CSRF tokens,
// encryption.
package guards_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
