package stage

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redsession/redsession/internal/tuning"
)

// Main runs the tests of a suite with short intervals, fails the run if a secret was logged in it, and ends what the
// tests left for others. Each suite's TestMain calls it.
func Main(m *testing.M) {
	tuning.Set(tuning.Values{StreamPoll: 50 * time.Millisecond, Probe: 20 * time.Millisecond, EndAgain: 50 * time.Millisecond})
	redis.SetLogger(clientLog{})
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("4") // even with two cores, as most tests mostly wait
	}
	code := m.Run()
	if err := leaked(); err != nil {
		fmt.Println("FAIL:", err)
		code = 1
	}
	for _, f := range slices.Backward(atExit.list) {
		f()
	}
	os.Exit(code)
}
