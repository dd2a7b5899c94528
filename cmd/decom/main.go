package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2) // two: a second one must not be lost while the first is handled
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go watchSignals(signals, cancel, os.Exit)
	os.Exit(execute(ctx, processApp(), os.Args[1:]))
}

// stopped is the cause of a context that a signal ended.
type stopped struct{ sig os.Signal }

func (s stopped) Error() string { return "stopped by signal: " + s.sig.String() }

// oneSignal is longer than a signal's way to a group, and shorter than anybody's finger.
const oneSignal = 50 * time.Millisecond

// watchSignals cancels on the first signal, so that work in hand can drain, and
// exits on the second one (128 + its number, as a shell reports it).
//
// timeout(1) and others signal a process and then its whole group: what comes within
// oneSignal of the first is the same signal.
func watchSignals(signals <-chan os.Signal, cancel context.CancelCauseFunc, exit func(int)) {
	cancel(stopped{<-signals})
	first, second := time.Now(), <-signals
	for time.Since(first) < oneSignal {
		second = <-signals
	}
	fmt.Fprintln(os.Stderr, "decom: second signal, ending at once")
	code := 128
	if n, ok := second.(syscall.Signal); ok {
		code += int(n)
	}
	exit(code)
}
