// Package failover_test tests package redsession from outside: requests while Redis fails over, slots move and
// servers are replaced.
package failover_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
