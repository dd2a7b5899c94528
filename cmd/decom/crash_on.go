//go:build crash

package main

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// crashStep kills the process with SIGKILL the n-th time that it comes to a step of
// the loop: DECOM_CRASH_AT=S5:3. It exists in test builds only (-tags crash) and
// stands for every row of the crash table of protocol.md section 8.
var crashStep = func() func(string) {
	step, count, ok := strings.Cut(os.Getenv("DECOM_CRASH_AT"), ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if !ok || err != nil {
		return nil
	}
	var seen atomic.Int64
	return func(s string) {
		if s == step && seen.Add(1) == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
}()
