package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// crashBinary is built by the first test that needs it; its result never changes.
var crashBinary = sync.OnceValues(crashBuild)

func goBuild(bin string) error {
	if out, err := exec.Command("go", "build", "-tags", "crash", "-o", bin, ".").CombinedOutput(); err != nil {
		return fmt.Errorf("go build -tags crash: %w\n%s", err, out)
	}
	return nil
}

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

// decomRun is one `decom run` child. Owned by the test's goroutine.
type decomRun struct {
	t     *testing.T
	name  string
	env   []string // beside HOME and PATH
	cmd   *exec.Cmd
	logs  string // file
	addr  string // of its web server
	ended chan struct{}
	err   error // of Wait; read after ended
}

// start runs decom as this test binary, under the race detector if the test is, and
// waits until it serves.
func (l *line) start() *decomRun {
	l.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	r := l.launch(exe, "BE_DECOM=1")
	r.serving()
	l.redeliverSoon()
	return r
}

// startCrash runs the build whose steps can end or stop the process; where is
// DECOM_CRASH_AT=... or DECOM_STOP_AT=..., or empty.
func (l *line) startCrash(where string) *decomRun {
	l.t.Helper()
	exe, err := crashBinary()
	if err != nil {
		l.t.Fatal(err)
	}
	r := l.launch(exe, where)
	r.serving()
	l.redeliverSoon()
	return r
}

func (l *line) launch(exe string, env ...string) *decomRun {
	l.t.Helper()
	r, err := l.launchAs(exe, env...)
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

// launchAs starts a child and returns at once. Any goroutine may call it.
func (l *line) launchAs(exe string, env ...string) (*decomRun, error) {
	r := &decomRun{t: l.t, name: fmt.Sprintf("%s-process%d", l.account, l.kids.Add(1)), env: env, ended: make(chan struct{})}
	r.logs = filepath.Join(l.dir, r.name+".log")
	f, err := os.Create(r.logs)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the child has its own copy
	r.cmd = exec.Command(exe, "run", "--config", l.config())
	r.cmd.Env = append([]string{"HOME=" + l.dir, "PATH=" + os.Getenv("PATH")}, env...)
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = l.dir, f, f
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process, which the clean-up kills
		r.err = r.cmd.Wait()
		close(r.ended)
	}()
	l.t.Cleanup(r.cleanup)
	return r, nil
}

func (r *decomRun) cleanup() {
	r.kill()
	text := r.log()
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if strings.Contains(text, bad) {
			r.t.Errorf("%s: %s", r.name, bad)
		}
	}
	if r.t.Failed() {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		r.t.Logf("log of %s (%v), its end:\n%s", r.name, r.cmd.ProcessState, strings.Join(lines[max(0, len(lines)-40):], "\n"))
	}
}

func (r *decomRun) log() string {
	b, err := os.ReadFile(r.logs)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// serving waits until the process runs and has a web server.
func (r *decomRun) serving() {
	r.t.Helper()
	eventually(r.t, 30*time.Second, r.name+" serves", func() error {
		select {
		case <-r.ended:
			r.t.Fatalf("%s ended: %v\n%s", r.name, r.err, r.log())
		default:
		}
		b, err := os.ReadFile(r.logs)
		if err != nil {
			return err
		}
		for line := range bytes.Lines(b) {
			var m struct{ Msg, HTTP string }
			if json.Unmarshal(line, &m) == nil && m.Msg == "decom is running" {
				r.addr = m.HTTP
				return nil
			}
		}
		return errors.New("not yet")
	})
}

// kill is SIGKILL.
func (r *decomRun) kill() {
	_ = r.cmd.Process.Kill() // it may have ended
	<-r.ended
}

func (r *decomRun) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// waitEnd waits for the process's own end and returns its exit code, -1 after a signal.
func (r *decomRun) waitEnd(patience time.Duration) int {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		r.t.Fatalf("%s did not end within %v", r.name, patience)
	}
	return r.cmd.ProcessState.ExitCode()
}

// crashed waits until the process killed itself.
func (r *decomRun) crashed() {
	r.t.Helper()
	r.waitEnd(20 * time.Second)
	if ws, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		r.t.Fatalf("%s ended by itself, not by its crash: %v", r.name, r.cmd.ProcessState)
	}
}

// stopped waits until the process stands still: alive, and deaf.
func (r *decomRun) stopped() {
	r.t.Helper()
	eventually(r.t, 20*time.Second, r.name+" stands still", func() error {
		if _, _, err := r.get("/livez", 500*time.Millisecond); err == nil {
			return errors.New("it answers")
		}
		select {
		case <-r.ended:
			return errors.New("it ended")
		default:
			return nil
		}
	})
}

func (r *decomRun) get(path string, patience time.Duration) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addr+path, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

// status asks the process what `decom status --json` shows.
func (r *decomRun) status() (Status, error) {
	var s Status
	code, b, err := r.get("/status", 5*time.Second)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("/status: %d %s", code, b)
	}
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}

// accountStatus is its only account's part.
func (r *decomRun) accountStatus() (AccountStatus, error) {
	s, err := r.status()
	if err == nil && len(s.Accounts) != 1 {
		err = fmt.Errorf("%d accounts", len(s.Accounts))
	}
	if err != nil {
		return AccountStatus{}, err
	}
	return s.Accounts[0], nil
}

// eventually repeats f until it succeeds; after patience the test fails with f's last word.
func eventually(t *testing.T, patience time.Duration, what string, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
	}
}
