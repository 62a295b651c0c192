// Package requirements_test tests package redsession from outside: what rows of SECURITY.md's table of requirements
// ask and no other suite shows.
package requirements_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
