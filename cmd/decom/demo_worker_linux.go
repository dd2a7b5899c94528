package main

import "syscall"

// childAttr keeps the terminal's Ctrl-C from the worker, which is stopped by the demo, and
// ends it with the demo, however that ends.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
