// Package redirect_test tests package redsession from outside: the way to the login and back.
package redirect_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
