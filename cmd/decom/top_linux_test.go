package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"decom/worker/packstate/packstatetest"
)

// openTerminal makes a pseudo terminal of 100 by 30: what a person types goes into and what
// they see comes out of the first file, the program gets the second.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	control := func(request uintptr, arg unsafe.Pointer) {
		t.Helper()
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, person.Fd(), request, uintptr(arg)); errno != 0 {
			t.Fatal(errno)
		}
	}
	var lock, number int32
	control(syscall.TIOCSPTLCK, unsafe.Pointer(&lock))
	control(syscall.TIOCGPTN, unsafe.Pointer(&number))
	size := [4]uint16{30, 100} // rows, columns
	control(syscall.TIOCSWINSZ, unsafe.Pointer(&size))
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

// TestTopRunsOnATerminal drives the binary on a real terminal: it draws what the stores
// tell, goes on, filters by what is typed, gives the terminal back, and ends with q.
func TestTopRunsOnATerminal(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	person, program := openTerminal(t)
	c := child(t.Context(), t, "top", "--interval", "200ms", "--config", l.config())
	c.Env = append(c.Env, "TERM=xterm")
	c.Stdin, c.Stdout, c.Stderr = program, program, program
	var screen syncBuffer
	go func() { _, _ = io.Copy(&screen, person) }() // ends when the terminal closes
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	shows := func(what string) {
		t.Helper()
		eventually(t, 15*time.Second, "the screen shows "+what, func() error {
			if !strings.Contains(screen.String(), what) {
				return fmt.Errorf("%q", screen.String())
			}
			return nil
		})
	}
	shows(l.account)
	shows("NATS up")
	l.supply(l.packs(7)) // no worker runs: they stay
	shows("7")
	if _, err := person.WriteString("/zzz"); err != nil {
		t.Fatal(err)
	}
	shows("zzz_")
	if _, err := person.WriteString("\rq"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		_ = c.Process.Kill()
		t.Fatal("q does not end it")
	}
	shows("\x1b[?1049l") // the terminal's own screen is back
}
