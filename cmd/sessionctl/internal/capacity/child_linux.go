package capacity

import (
	"os/exec"
	"syscall"
)

// apart keeps the terminal's Ctrl-C from the child, which is stopped in order, and
// lets the kernel end it with its parent.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
