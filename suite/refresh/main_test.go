// Package refresh_test tests package redsession from outside: what is done once per session.
package refresh_test

import (
	"os"
	"testing"

	"github.com/redsession/redsession/internal/stage"
)

func TestMain(m *testing.M) {
	if os.Getenv(childRedis) != "" {
		serveAsChild()
		return
	}
	stage.Main(m)
}
