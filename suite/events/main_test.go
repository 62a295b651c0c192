// Package events_test tests package redsession from outside: events, counters and what is logged.
package events_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
