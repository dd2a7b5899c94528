package bench

import "syscall"

// childAttr keeps the terminal's Ctrl-C from the children, which the harness stops, and
// ends them with it, however it ends.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
