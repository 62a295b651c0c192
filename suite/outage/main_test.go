// Package outage_test tests package redsession from outside: what is served and what is bounded while Redis does not
// answer.
package outage_test

import (
	"strings"
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }

// isScript picks the script of a plan, but not on keys that only tell whether Redis is there.
func isScript(args []string) bool {
	return strings.HasPrefix(args[0], "EVAL") && !strings.Contains(args[3], ":probe:")
}

// refusing answers what pick picks with an error.
func refusing(reply string, pick func(args []string) bool) func([]string) (string, bool) {
	return func(args []string) (string, bool) { return "-" + reply + "\r\n", pick(args) }
}

// begins picks commands whose name begins with one of names.
func begins(names ...string) func(args []string) bool {
	return func(args []string) bool {
		for _, n := range names {
			if strings.HasPrefix(args[0], n) {
				return true
			}
		}
		return false
	}
}

// every picks all commands.
func every([]string) bool { return true }
