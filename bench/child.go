package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// child is a process that belongs to a round. It is ended by its process id, and ends
// with us: a child of decom's own reads its standard input, which closes when we die;
// others get the signal that the platform offers (see childAttr).
type child struct {
	name string
	cmd  *exec.Cmd
	log  string
	in   io.Closer     // open while the child shall run; nil for foreign programs
	out  *bufio.Reader // of decom's own children: JSON lines
	done chan struct{} // closed when it has ended
}

// start runs a program; its output goes to NAME.log in dir, except that a child of
// our own speaks JSON on standard output.
func start(name, dir string, env []string, own bool, spec any, exe string, args ...string) (*child, error) {
	c := &child{name: name, cmd: exec.Command(exe, args...), log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own copy
	c.cmd.Env, c.cmd.SysProcAttr = env, childAttr()
	c.cmd.Stdout, c.cmd.Stderr = log, log
	var in io.WriteCloser
	if own {
		c.cmd.Stdout = nil
		out, err := c.cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if in, err = c.cmd.StdinPipe(); err != nil {
			return nil, err
		}
		c.in, c.out = in, bufio.NewReader(out)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	if !own {
		go func() { _ = c.cmd.Wait(); close(c.done) }() // ends with the process, which stop ends
		return c, nil
	}
	if err := json.NewEncoder(in).Encode(spec); err != nil {
		return nil, fmt.Errorf("%s: %w; %s", name, err, c.lastWords())
	}
	return c, nil
}

// say reads the next JSON line of a child of our own.
func (c *child) say(v any) error {
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		_ = c.cmd.Wait()
		return fmt.Errorf("%s ended: %s", c.name, c.lastWords())
	}
	return json.Unmarshal(line, v)
}

// lastWords is the end of the child's log.
func (c *child) lastWords() string {
	text, _ := os.ReadFile(c.log)
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return strings.TrimSpace(string(bytes.Join(lines[max(0, len(lines)-3):], []byte("; "))))
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// ended says whether a foreign program has ended by itself.
func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// stop asks the child to end, and kills it when that takes longer than patience.
func (c *child) stop(patience time.Duration) {
	if c.in != nil { // ours: it ends when its input does
		_ = c.in.Close()
		go func() { _, _ = io.Copy(io.Discard, c.out); _ = c.cmd.Wait(); close(c.done) }() // ends with the process
	} else {
		_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	}
	select {
	case <-c.done:
	case <-time.After(patience):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// kill is SIGKILL.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	c.stop(10 * time.Second)
}
