//go:build !linux

package main

import "syscall"

// childAttr keeps the terminal's Ctrl-C from the worker, which is stopped by the demo.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
