// Package response_test tests package redsession from outside: what becomes of the handler's response, in every way
// to answer and beside other middlewares.
package response_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
