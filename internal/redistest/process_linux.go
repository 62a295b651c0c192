package redistest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// dieWithParent lets the kernel kill the server when the test process ends without its cleanups: a panic, a timeout, a
// SIGKILL.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// halted tells whether a SIGSTOP has taken effect, which happens some time after it was sent. A process that is gone
// counts as halted.
func halted(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// The name before the state is in parentheses and may hold anything.
	state := bytes.TrimLeft(stat[bytes.LastIndexByte(stat, ')')+1:], " ")
	return bytes.HasPrefix(state, []byte("T")) || bytes.HasPrefix(state, []byte("Z"))
}
