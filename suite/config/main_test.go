// Package config_test tests package redsession from outside: what New and ConfigFromEnv accept, refuse and assume.
package config_test

import (
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) { stage.Main(m) }
