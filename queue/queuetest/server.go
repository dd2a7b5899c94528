package queuetest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ServerConfig is how a real nats-server is started. The zero value is a fresh
// directory, any free port and the server's default sync interval.
type ServerConfig struct {
	SyncAlways bool   // fsync after each write, as in production
	Dir        string // store; empty: a directory of the test
	JetStream  string // lines for the jetstream block of that file
	Extra      string // lines for the server's configuration file
}

// Process is a nats-server in a process of its own. Port and files stay the same over
// Kill and Start.
type Process struct {
	URL string // nats://127.0.0.1:PORT
	Dir string

	t    testing.TB
	port int
	args []string

	mu    sync.Mutex    // held while the server is started or killed
	cmd   *exec.Cmd     // guarded by mu; nil when down
	done  chan struct{} // closed when cmd has ended; guarded by mu
	ended bool          // the test is over: never start again; guarded by mu
}

// Server starts a real nats-server with a file store for this test and returns its
// URL. The binary is built from the version in go.mod, once a machine.
func Server(t testing.TB) string {
	t.Helper()
	return StartServer(t, ServerConfig{}).URL
}

// Binary is a nats-server for tests that start it with a configuration of their own.
func Binary(t testing.TB) string {
	t.Helper()
	return binary(t)
}

// StartServer starts a real nats-server for this test; it is killed when the test ends.
func StartServer(t testing.TB, cfg ServerConfig) *Process {
	t.Helper()
	bin := binary(t)
	dir := cfg.Dir
	if dir == "" {
		dir = t.TempDir()
	}
	port := freePort(t)
	sync := ""
	if cfg.SyncAlways {
		sync = "sync_interval: always"
	}
	file := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("host: 127.0.0.1\nport: %d\njetstream { store_dir: %q\n%s\n%s }\n%s\n", port, dir, sync, cfg.JetStream, cfg.Extra)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &Process{
		t: t, URL: fmt.Sprintf("nats://127.0.0.1:%d", port), Dir: dir, port: port,
		args: []string{bin, "-c", file, "-l", filepath.Join(dir, "nats.log")},
	}
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ended = true
		p.kill()
	})
	p.Start()
	return p
}

// StartCluster starts n real nats-servers as one cluster for this test.
func StartCluster(t testing.TB, n int, cfg ServerConfig) []*Process {
	t.Helper()
	routes := make([]string, n)
	ports := make([]int, n)
	for i := range n {
		ports[i] = freePort(t)
		routes[i] = fmt.Sprintf("nats://127.0.0.1:%d", ports[i])
	}
	ps := make([]*Process, n)
	for i := range n {
		c := cfg
		c.Dir = t.TempDir()
		c.Extra += fmt.Sprintf("\nserver_name: n%d\ncluster { name: c, listen: \"127.0.0.1:%d\", routes: [%s] }", i, ports[i], strings.Join(routes, ", "))
		ps[i] = StartServer(t, c)
	}
	return ps
}

// Start starts the server again on the same port and files, and waits until it takes
// connections.
func (p *Process) Start() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	if p.cmd != nil {
		p.t.Fatal("the server runs already")
	}
	cmd := exec.Command(p.args[0], p.args[1:]...)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd, p.done = cmd, make(chan struct{})
	go func(done chan struct{}) { _ = cmd.Wait(); close(done) }(p.done)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", p.port), time.Second)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-p.done:
			log, _ := os.ReadFile(p.args[len(p.args)-1])
			p.t.Fatalf("nats-server ended:\n%s", log)
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("nats-server takes no connection within 20 s: %v", err)
		}
	}
}

// Kill ends the server as a power cut would (SIGKILL), and waits for its end.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kill()
}

// kill is Kill for who holds mu.
func (p *Process) kill() {
	if p.cmd == nil {
		return
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("killing nats-server: %v", err)
	}
	<-p.done
	p.cmd = nil
}

// Freeze stops the server's clock (SIGSTOP): it keeps its connections and answers nothing.
func (p *Process) Freeze() { p.signal(syscall.SIGSTOP) }

// Thaw lets it go on.
func (p *Process) Thaw() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(s os.Signal) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// built is the one build of this process; its result never changes.
var built = sync.OnceValues(build)

func binary(t testing.TB) string {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatalf("nats-server cannot be built from go.mod: %v", err)
	}
	return bin
}

// build makes nats-server from go.mod in the user's cache, under its version and
// Go's, so that only the first run of a machine pays for it.
func build() (string, error) {
	const module = "github.com/nats-io/nats-server/v2"
	list := exec.Command("go", "list", "-m", "-f", "{{.Version}}", module)
	version, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("go list -m %s: %w", module, err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	goVersion := "go"
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = info.GoVersion
	}
	dir := filepath.Join(cache, "decom-test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "nats-server-"+strings.TrimSpace(string(version))+"-"+goVersion)
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	tmp := fmt.Sprintf("%s.%d", bin, os.Getpid())
	if out, err := exec.Command("go", "build", "-o", tmp, module).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return bin, os.Rename(tmp, bin) // several test processes may build at once; any of them will do
}
