// Package writes_test tests package redsession from outside: values, flashes, Save and commits: parallel, repeated
// and with lost replies.
package writes_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
