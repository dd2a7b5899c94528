//go:build !linux

package bench

import "syscall"

// childAttr keeps the terminal's Ctrl-C from the children, which the harness stops.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
