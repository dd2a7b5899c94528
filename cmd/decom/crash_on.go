//go:build crash

package main

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// crashStep ends or stops the process by a signal to itself the n-th time that it comes
// to a step of the loop: DECOM_CRASH_AT=S5:3 is SIGKILL, DECOM_STOP_AT=S5:3 is SIGSTOP,
// until somebody sends SIGCONT. It exists in test builds only (-tags crash) and stands
// for every row of the crash table of protocol.md section 8.
var crashStep = func() func(string) {
	crash, stop := atStep("DECOM_CRASH_AT", syscall.SIGKILL), atStep("DECOM_STOP_AT", syscall.SIGSTOP)
	return func(s string) {
		crash(s)
		stop(s)
	}
}()

// atStep sends sig to this process at the step that the variable names.
func atStep(variable string, sig syscall.Signal) func(step string) {
	step, count, ok := strings.Cut(os.Getenv(variable), ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if !ok || err != nil {
		return func(string) {}
	}
	var seen atomic.Int64
	return func(s string) {
		if s != step || seen.Add(1) != n {
			return
		}
		_ = syscall.Kill(os.Getpid(), sig)
		if sig == syscall.SIGKILL {
			select {} // the signal is on its way
		}
		time.Sleep(100 * time.Millisecond) // the stop is on its way; the step comes after it
	}
}
