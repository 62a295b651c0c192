// Package forward_test tests package redsession from outside: what proxies are told of sessions.
package forward_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
