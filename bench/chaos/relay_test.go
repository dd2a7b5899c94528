package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// relay hands connections on to another address. With idle it drops one on which no byte
// went either way for that long, as NMVS does: assumption A3 rests on it. With tap it shows
// both directions to a watcher before it hands them on.
type relay struct {
	addr string
	to   string
	idle time.Duration
	tap  *tap // nil: nobody watches

	ln net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex // guards the rest
	conns map[net.Conn]bool
}

func startRelay(t testing.TB, to string, idle time.Duration, watcher *tap) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: ln.Addr().String(), to: to, idle: idle, tap: watcher, ln: ln, conns: map[net.Conn]bool{}}
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		r.mu.Lock()
		for c := range r.conns {
			_ = c.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	return r
}

func (r *relay) accept() {
	for {
		c, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() { r.serve(c) })
	}
}

func (r *relay) hold(c net.Conn, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if on {
		r.conns[c] = true
	} else {
		delete(r.conns, c)
		_ = c.Close()
	}
}

func (r *relay) serve(near net.Conn) {
	r.hold(near, true)
	defer r.hold(near, false)
	far, err := net.DialTimeout("tcp", r.to, 2*time.Second)
	if err != nil {
		return
	}
	r.hold(far, true)
	defer r.hold(far, false)
	var up, down func([]byte)
	if r.tap != nil {
		up, down = r.tap.connection()
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.copy(far, near, up, near); _ = near.Close(); _ = far.Close() })
	wg.Go(func() { r.copy(near, far, down, near); _ = near.Close(); _ = far.Close() })
	wg.Wait()
}

// copy moves bytes until an end fails. The deadline of both directions is on near: whoever
// moves a byte puts it off.
func (r *relay) copy(to io.Writer, from net.Conn, see func([]byte), near net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		if r.idle > 0 {
			_ = near.SetReadDeadline(time.Now().Add(r.idle))
		}
		n, err := from.Read(buf)
		if n > 0 {
			if see != nil {
				see(buf[:n])
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// line is a proxy with faults before one server, for one worker.
type line struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
	mu    sync.Mutex // guards the rest
	names int
	down  bool
}

func startLine(t testing.TB, to string) *line {
	t.Helper()
	srv := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(srv, "line", "127.0.0.1:0", to)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	l := &line{t: t, proxy: p}
	t.Cleanup(func() {
		if !l.down {
			p.Stop()
		}
	})
	return l
}

func (l *line) addr() string { return l.proxy.Listen }

// disturb puts a toxic on both directions, or on one ("upstream", "downstream"), until the
// returned func is called.
func (l *line) disturb(kind, stream, attributes string) (heal func(), err error) {
	streams := []string{"upstream", "downstream"}
	if stream != "" {
		streams = []string{stream}
	}
	var names []string
	heal = func() {
		for _, n := range names {
			// A toxic whose connections hang is interrupted and then closes them; give up
			// waiting for that, not the run.
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			_ = l.proxy.Toxics.RemoveToxic(ctx, n)
			cancel()
		}
	}
	for _, s := range streams {
		l.mu.Lock()
		l.names++
		name := fmt.Sprintf("toxic%d", l.names)
		l.mu.Unlock()
		body := fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"attributes":%s}`, name, kind, s, attributes)
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(body)); err != nil {
			heal()
			return nil, err
		}
		names = append(names, name)
	}
	return heal, nil
}

// refuse closes the listener and every connection until the returned func is called.
func (l *line) refuse() (heal func() error) {
	l.mu.Lock()
	l.down = true
	l.mu.Unlock()
	l.proxy.Stop()
	return func() error {
		var err error
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if err = l.proxy.Start(); err == nil || errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
				l.mu.Lock()
				l.down = false
				l.mu.Unlock()
				return nil
			}
		}
		return err
	}
}

func freePort(t testing.TB) int {
	t.Helper()
	for range 200 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if port <= 55000 { // a Redis Cluster node also listens on port + 10000
			return port
		}
	}
	t.Fatal("no free port below 55000")
	return 0
}

// write puts a small file down.
func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
