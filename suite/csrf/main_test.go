// Package csrf_test tests package redsession from outside: protection from requests that other sites forge.
package csrf_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
