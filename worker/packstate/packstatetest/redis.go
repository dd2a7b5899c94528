package packstatetest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// RedisOptions shape a server.
type RedisOptions struct {
	Dir     string  // for its files; empty = a folder of the test's
	Port    int     // 0 = a free one, the same after every Start
	AOF     bool    // keep every write in a file, fsynced
	Cluster bool    // a cluster of one, which serves every slot
	Monitor *Server // be a sentinel that watches this master under the name [Master]
	Args    []string
}

// Master is the name under which a sentinel of [RedisOptions] knows its master.
const Master = "decom-test"

// Server is a redis-server of the test's own, on 127.0.0.1. It is killed by its
// process id when the test ends.
type Server struct {
	t    testing.TB
	opt  RedisOptions
	exe  string
	logs string

	cmd  *exec.Cmd     // nil unless running
	gone chan struct{} // closed when cmd has ended
}

// Redis starts a redis-server without files and returns its URL. Where none is
// installed the test fails under CI and is skipped, with advice, elsewhere.
func Redis(t testing.TB) string {
	t.Helper()
	return StartRedis(t, RedisOptions{}).URL()
}

// StartRedis starts a redis-server; see [Redis] about machines without one.
func StartRedis(t testing.TB, opt RedisOptions) *Server {
	t.Helper()
	exe, err := exec.LookPath("redis-server")
	if err != nil {
		const advice = "needs redis-server 7.0 or newer in PATH (Debian: apt-get install redis-server; macOS: brew install redis)"
		if os.Getenv("CI") != "" {
			t.Fatal(advice)
		}
		t.Skip(advice)
	}
	if opt.Dir == "" {
		opt.Dir = t.TempDir()
	}
	s := &Server{t: t, opt: opt, exe: exe, logs: filepath.Join(opt.Dir, "redis.log")}
	t.Cleanup(s.Kill)
	if opt.Port != 0 {
		s.Start()
		return s
	}
	for range 5 { // others on this machine look for free ports too
		s.opt.Port = freePort(t)
		if err = s.start(); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

func freePort(t testing.TB) int {
	t.Helper()
	// A cluster node also listens on port + 10000, so the port must leave room.
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if port <= 55535 {
			return port
		}
	}
	t.Fatal("no free port below 55536")
	return 0
}

// Addr returns 127.0.0.1:PORT.
func (s *Server) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.opt.Port) }

// URL returns redis://127.0.0.1:PORT/0.
func (s *Server) URL() string { return "redis://" + s.Addr() + "/0" }

// Start runs the server, again after Stop or Kill, on the same port and files,
// and returns when it answers.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) start() error {
	args, err := s.args()
	if err != nil {
		return err
	}
	cmd, gone := exec.Command(s.exe, args...), make(chan struct{})
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	go func() {
		defer close(gone)
		_ = cmd.Wait() // reports the signal that ended it
	}()
	s.cmd, s.gone = cmd, gone
	// Its process id, because on a port taken meanwhile another server would answer.
	if err := s.await(fmt.Sprintf("process_id:%d\r", cmd.Process.Pid), "INFO", "server"); err != nil {
		return err
	}
	if s.opt.Cluster {
		if _, err := ask(s.Addr(), "CLUSTER", "ADDSLOTSRANGE", "0", "16383"); err != nil {
			return err
		}
		return s.await("cluster_state:ok", "CLUSTER", "INFO")
	}
	return nil
}

func (s *Server) args() ([]string, error) {
	args := []string{"--bind", "127.0.0.1", "--port", strconv.Itoa(s.opt.Port), "--dir", s.opt.Dir, "--daemonize", "no", "--logfile", s.logs}
	if m := s.opt.Monitor; m != nil {
		conf := filepath.Join(s.opt.Dir, "sentinel.conf") // a sentinel writes to its file
		text := fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 1\n", Master, m.opt.Port)
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			return nil, err
		}
		return append(append([]string{conf, "--sentinel"}, args...), s.opt.Args...), nil
	}
	args = append(args, "--save", "", "--appendonly", "no")
	if s.opt.AOF {
		args = append(args, "--appendonly", "yes", "--appendfsync", "always")
	}
	if s.opt.Cluster {
		args = append(args, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
	}
	return append(args, s.opt.Args...), nil
}

// await repeats a command until its answer contains want, or the server is gone.
func (s *Server) await(want string, args ...string) error {
	var got string
	var err error
	ended := false
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && !ended; time.Sleep(10 * time.Millisecond) {
		if got, err = ask(s.Addr(), args...); err == nil && strings.Contains(got, want) {
			return nil
		}
		select {
		case <-s.gone:
			ended = true
		default:
		}
	}
	log, _ := os.ReadFile(s.logs) // only to explain
	return fmt.Errorf("redis-server on %s (ended: %v) does not answer %v with %q: %q, %w\n%s", s.Addr(), ended, args, want, got, err, log)
}

// Stop ends the server with SIGTERM: it saves what its options let it save.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends it with SIGKILL.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(sig os.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig) // it may have ended by itself
	<-s.gone
	s.cmd = nil
}

// Do sends one command on a connection of its own and returns the raw answer;
// an error answer ends the test.
func (s *Server) Do(args ...string) string {
	s.t.Helper()
	got, err := ask(s.Addr(), args...)
	if err == nil && strings.HasPrefix(got, "-") {
		err = fmt.Errorf("answer %s", got)
	}
	if err != nil {
		s.t.Fatalf("redis %v: %v", args, err)
	}
	return got
}

// ask speaks just enough of the protocol: one command, one line or bulk back.
func ask(addr string, args ...string) (string, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := c.Write([]byte(b.String())); err != nil {
		return "", err
	}
	r := bufio.NewReader(c)
	l, err := r.ReadString('\n')
	l = strings.TrimSpace(l)
	if n, convErr := strconv.Atoi(strings.TrimPrefix(l, "$")); err == nil && strings.HasPrefix(l, "$") && convErr == nil && n >= 0 {
		body := make([]byte, n)
		for got := 0; got < n && err == nil; {
			var k int
			k, err = r.Read(body[got:])
			got += k
		}
		l = string(body)
	}
	return l, err
}
