// Package jobs_test tests package redsession from outside: sessions changed outside of their requests.
package jobs_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
