// Package users_test tests package redsession from outside: what the program says of users, and what happens to a login
// beyond the limit.
package users_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
