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
	Dir     string // for its files; empty = a folder of the test's
	Port    int    // 0 = a free one, the same after every Start
	AOF     bool   // keep every write in a file, fsynced
	Cluster bool   // a cluster of one, which serves every slot
	Args    []string
}

// Server is a redis-server of the test's own, on 127.0.0.1. It is killed by its
// process id when the test ends.
type Server struct {
	t    testing.TB
	opt  RedisOptions
	exe  string
	cmd  *exec.Cmd
	logs string
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
	if opt.Port == 0 {
		opt.Port = freePort(t)
	}
	s := &Server{t: t, opt: opt, exe: exe, logs: filepath.Join(opt.Dir, "redis.log")}
	t.Cleanup(s.Kill)
	s.Start()
	return s
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
	args := []string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(s.opt.Port), "--dir", s.opt.Dir,
		"--save", "", "--daemonize", "no", "--logfile", s.logs, "--appendonly", "no",
	}
	if s.opt.AOF {
		args = append(args, "--appendonly", "yes", "--appendfsync", "always")
	}
	if s.opt.Cluster {
		args = append(args, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
	}
	s.cmd = exec.Command(s.exe, append(args, s.opt.Args...)...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatalf("start redis-server: %v", err)
	}
	s.await("PONG", "PING")
	if s.opt.Cluster {
		s.Do("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
		s.await("cluster_state:ok", "CLUSTER", "INFO")
	}
}

// await repeats a command until its answer contains want.
func (s *Server) await(want string, args ...string) {
	s.t.Helper()
	var got string
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if got, err = ask(s.Addr(), args...); err == nil && strings.Contains(got, want) {
			return
		}
	}
	log, _ := os.ReadFile(s.logs)
	s.t.Fatalf("redis-server on %s does not answer %v with %s: %q, %v\n%s", s.Addr(), args, want, got, err, log)
}

// Stop ends the server with SIGTERM: it saves what its options let it save.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends it with SIGKILL.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(sig os.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig) // by then it may have gone by itself
	_ = s.cmd.Wait()              // reports the signal
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
