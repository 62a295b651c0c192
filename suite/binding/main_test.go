package binding_test

import (
	"context"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/redsession/redsession/internal/tuning"
)

// TestMain runs all tests twice: with plans in one script, and in parts that are round trips
// apart, as on a cluster.
func TestMain(m *testing.M) {
	flag.Parse()
	tuning.Set(tuning.Values{StreamPoll: 50 * time.Millisecond})
	code := m.Run()
	tuning.Set(tuning.Values{StreamPoll: 50 * time.Millisecond, Apart: true})
	os.Exit(max(code, m.Run()))
}

func (s *site) context() context.Context { return context.Background() }
