//go:build unix

package redistest

import (
	"os"
	"syscall"
)

var terminate, freeze, thaw os.Signal = syscall.SIGTERM, syscall.SIGSTOP, syscall.SIGCONT
