package chaos

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A worker's wall clock is stepped under it: by seconds, by hours, by days, forwards and back,
// as a bad time server, a restored VM or a person's hand does. What is measured by the
// monotonic clock goes on, as it does when a kernel's clock is set.
//
// libfaketime cannot do that to a Go program, static or dynamic: Go's time.Now reads the vDSO
// itself and calls no libc (TestFaketimeDoesNothingToAGoProgram shows it where faketime is
// installed). A time namespace shifts the monotonic clocks and leaves the wall clock alone.
// Setting the kernel's clock would step every process of the machine. So the worker under
// test is built with a time package whose Now adds an offset that this test writes into a
// mapped file (go build -overlay); nothing else about the program differs.

// stepEnv names the file of eight bytes that holds the offset in nanoseconds, little endian.
const stepEnv = "DECOM_CHAOS_CLOCK"

const stepSource = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var chaosStep = chaosMap()

func chaosMap() *int64 {
	name, ok := syscall.Getenv("` + stepEnv + `")
	if !ok {
		return new(int64)
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY, 0)
	if err != nil {
		panic("` + stepEnv + `: " + err.Error())
	}
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("` + stepEnv + `: " + err.Error())
	}
	return (*int64)(unsafe.Pointer(&b[0]))
}

func chaosNow() (sec int64, nsec int32, mono int64) {
	sec, nsec, mono = runtimeNow()
	n := int64(nsec) + atomic.LoadInt64(chaosStep)
	sec, n = sec+n/1e9, n%1e9
	if n < 0 {
		sec, n = sec-1, n+1e9
	}
	return sec, int32(n), mono
}
`

// stepOverlay writes the overlay of the time package into dir and returns its file.
func stepOverlay(dir string) (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("a stepped clock needs the go command: %w", err)
	}
	std := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	b, err := os.ReadFile(filepath.Join(std, "time.go"))
	if err != nil {
		return "", err
	}
	const call = "sec, nsec, mono := runtimeNow()"
	if n := strings.Count(string(b), call); n != 1 {
		return "", fmt.Errorf("time.Now of this Go (%d times %q) is not the one that the overlay knows: adapt bench/chaos/clock_test.go", n, call)
	}
	files := map[string]string{"time.go": strings.Replace(string(b), call, "sec, nsec, mono := chaosNow()", 1), "chaos_step.go": stepSource}
	replace := map[string]string{}
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(std, name)] = at
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, overlay, 0o600)
}

// stepBinary builds decom once with the clock that can be stepped. The first time compiles
// the standard library and every dependency anew: minutes on a busy machine.
var stepBinary = sync.OnceValues(func() (string, error) {
	if *stepBinFlag != "" {
		return filepath.Abs(*stepBinFlag)
	}
	dir, err := os.MkdirTemp("", "decom-chaos-clock")
	if err != nil {
		return "", err
	}
	overlay, err := stepOverlay(dir)
	if err != nil {
		return "", err
	}
	fmt.Println("chaos: building decom with a clock that can be stepped; the first time takes minutes")
	bin := filepath.Join(dir, "decom")
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", bin, "decom/cmd/decom").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build decom with a stepped clock: %w\n%s", err, out)
	}
	return bin, nil
})

// setStep writes an offset where a process built so reads it.
func setStep(name string, d time.Duration) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(d)), 0) // in place: the file is mapped
	return errors.Join(err, f.Close())
}

// stepSizes are what clocks are out by in practice. The certificates of the rig last longer.
var stepSizes = []time.Duration{3 * time.Second, -3 * time.Second, 90 * time.Second, -90 * time.Second, 2 * time.Hour, -2 * time.Hour, 36 * time.Hour, -50 * time.Minute}

// stepClock steps the wall clock of one worker, and back at the end.
func stepClock(r *rig, s step) (func() error, error) {
	w := r.worker(s)
	err := eventually(15*sec, func() error { // it may have been started just now
		if maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", w.pid())); err == nil && len(maps) > 0 && !strings.Contains(string(maps), w.clock) {
			return fmt.Errorf("%s runs a build whose clock cannot be stepped", w.name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return func() error { return setStep(w.clock, 0) }, setStep(w.clock, stepSizes[s.Rand%uint64(len(stepSizes))])
}

// clockProgram prints its wall clock and the time since its start by the monotonic one, at each
// line that it reads.
const clockProgram = `package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	began := time.Now()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Println(time.Now().UnixMilli(), time.Since(began).Milliseconds())
	}
}
`

// askClocks starts the clock program with more environment, and returns a func that asks it.
func askClocks(t *testing.T, bin string, env ...string) func() (wall time.Time, since time.Duration) {
	t.Helper()
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	return func() (time.Time, time.Duration) {
		var wall, since int64
		fmt.Fprintln(in)
		if _, err := fmt.Fscan(out, &wall, &since); err != nil {
			t.Fatal(err)
		}
		return time.UnixMilli(wall), time.Duration(since) * time.Millisecond
	}
}

func buildClockProgram(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.go"), clockProgram)
	bin := filepath.Join(dir, "clock")
	if out, err := exec.Command("go", append(append([]string{"build"}, args...), "-o", bin, filepath.Join(dir, "main.go"))...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// TestASteppedClockMovesTheWallAndNothingElse: the rig's clock fault does what it says.
func TestASteppedClockMovesTheWallAndNothingElse(t *testing.T) {
	t.Parallel()
	overlay, err := stepOverlay(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "clock")
	if err := setStep(file, 0); err != nil {
		t.Fatal(err)
	}
	ask := askClocks(t, buildClockProgram(t, "-overlay", overlay), stepEnv+"="+file)
	for _, d := range append([]time.Duration{0}, stepSizes...) {
		if err := setStep(file, d); err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		wall, since := ask()
		after := time.Now()
		if wall.Before(before.Add(d).Truncate(time.Millisecond)) || wall.After(after.Add(d)) {
			t.Errorf("step %v: the wall clock says %v between %v and %v", d, wall, before, after)
		}
		if since < 0 || since > time.Hour {
			t.Errorf("step %v: the monotonic clock went %v", d, since)
		}
	}
}

// TestFaketimeDoesNothingToAGoProgram is why the clock fault does not use libfaketime. It
// fails when that changes: then the plain binary can be tried.
func TestFaketimeDoesNothingToAGoProgram(t *testing.T) {
	t.Parallel()
	lib := ""
	for _, dir := range []string{"/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime"} {
		if name := filepath.Join(dir, "libfaketimeMT.so.1"); lib == "" {
			if _, err := os.Stat(name); err == nil {
				lib = name
			}
		}
	}
	if lib == "" {
		t.Skip("libfaketime is not installed (Debian: apt-get install faketime): that it has no effect on a Go program is not shown here. The clock fault of this package does not need it")
	}
	env := []string{"LD_PRELOAD=" + lib, "FAKETIME=+2h", "FAKETIME_DONT_FAKE_MONOTONIC=1"}
	if out, err := exec.Command("env", append(env, "date", "+%s")...).Output(); err != nil || !later(string(out), time.Hour) {
		t.Skipf("libfaketime (%s) does not work here even for date: %s, %v", lib, out, err)
	}
	wall, _ := askClocks(t, buildClockProgram(t), env...)()
	if d := time.Until(wall).Abs(); d > time.Hour {
		t.Errorf("libfaketime moved the clock of a Go program by %v", d)
	}
}

// later says whether text is a Unix time that is at least d from now.
func later(text string, d time.Duration) bool {
	var sec int64
	_, err := fmt.Sscan(text, &sec)
	return err == nil && time.Until(time.Unix(sec, 0)) > d
}
