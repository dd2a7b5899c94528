package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// demoWorker is `decom run` as a process of its own, so that SIGKILL is what it is in
// a hospital. Owned by one goroutine, except ended.
type demoWorker struct {
	exe, config, logFile string
	env                  []string

	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process has ended
	starts int
	kills  int
}

// newDemoWorker prepares the child. It gets this process's environment but for
// decom's own variables, which would change its configuration.
func newDemoWorker(h *demoHost, environ []string) (*demoWorker, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program's own file: %w", err)
	}
	env := slices.DeleteFunc(slices.Clone(environ), func(v string) bool { return strings.HasPrefix(v, "DECOM_") })
	return &demoWorker{exe: exe, config: h.config, logFile: filepath.Join(h.dir, "worker.log"), env: env}, nil
}

func (w *demoWorker) start() error {
	log, err := os.OpenFile(w.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own copy
	w.cmd = exec.Command(w.exe, "run", "--config", w.config)
	w.cmd.Env, w.cmd.Stdout, w.cmd.Stderr = w.env, log, log
	w.cmd.SysProcAttr = childAttr()
	if err := w.cmd.Start(); err != nil {
		return fmt.Errorf("start the worker: %w", err)
	}
	w.starts++
	ended := make(chan struct{})
	w.ended = ended
	go func(cmd *exec.Cmd) { // ends with the process, which kill and drain end
		_ = cmd.Wait()
		close(ended)
	}(w.cmd)
	return nil
}

// kill is SIGKILL: the process gets no chance to put anything in order.
func (w *demoWorker) kill() error {
	if err := w.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill the worker: %w", err)
	}
	<-w.ended
	w.kills++
	w.cmd = nil
	return nil
}

// drain is SIGTERM, and SIGKILL when that takes too long. Without a process it does nothing.
func (w *demoWorker) drain(patience time.Duration) error {
	cmd := w.cmd
	if cmd == nil {
		return nil
	}
	w.cmd = nil
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-w.ended:
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-w.ended
		return fmt.Errorf("the worker did not end within %v of SIGTERM", patience)
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		return w.died(cmd)
	}
	return nil
}

// died tells how a worker ended that nobody killed, with the end of its log.
func (w *demoWorker) died(cmd *exec.Cmd) error {
	w.cmd = nil
	text, _ := os.ReadFile(w.logFile)
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	last := bytes.Join(lines[max(0, len(lines)-3):], []byte("\n  "))
	return fmt.Errorf("the worker ended by itself (%s); its log says:\n  %s", cmd.ProcessState, last)
}

// restart is a crash and what follows: killed, its scans made available, started again.
func (w *demoWorker) restart(ctx context.Context, h *demoHost) error {
	if err := w.kill(); err != nil {
		return err
	}
	if err := h.comeBackSoon(ctx); err != nil {
		return err
	}
	return w.start()
}
