package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"decom/queue/queuetest"
	"decom/worker/packstate/packstatetest"
)

// layout is deploy/three-nodes on one machine: the files as they are, but for names, ports and
// folders.
type layout struct {
	t     *testing.T
	dir   string
	ports map[string][4]string // n1 to n3: 4222, 6222, 6379, 26379
}

func (l *layout) file(name, node string, change ...string) string {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "deploy", "three-nodes", name))
	if err != nil {
		l.t.Fatal(err)
	}
	change = append(change, "/var/lib/", filepath.Join(l.dir, node)+"/", "8222", "0")
	for n, p := range l.ports {
		for i, port := range []string{"4222", "6222", "6379", "26379"} {
			change = append(change, n+":"+port, "127.0.0.1:"+p[i], n+" "+port, "127.0.0.1 "+p[i])
			if n == node {
				change = append(change, "0.0.0.0:"+port, "127.0.0.1:"+p[i], "port "+port, "port "+p[i])
			}
		}
	}
	change = append(change, "bind 0.0.0.0", "bind 127.0.0.1")
	text := strings.NewReplacer(change...).Replace(string(b))
	for _, folder := range []string{"nats", "redis"} {
		if err := os.MkdirAll(filepath.Join(l.dir, node, folder), 0o700); err != nil {
			l.t.Fatal(err)
		}
	}
	return write(l.t, filepath.Join(l.dir, node), name, text)
}

func (l *layout) start(node, name string, args ...string) {
	l.t.Helper()
	log, err := os.Create(filepath.Join(l.dir, node+"-"+filepath.Base(name)+".log"))
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), "NODE="+node)
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); l.t.Failed() && err == nil {
			l.t.Logf("%s %s:\n%s", node, name, text[max(0, len(text)-3000):])
		}
	})
}

// TestTheThreeNodeLayoutStartsAsItStands: three nats-servers, three Redis with three Sentinels,
// from the files that are shipped, and decom with the shipped configuration over them.
func TestTheThreeNodeLayoutStartsAsItStands(t *testing.T) {
	packstatetest.Redis(t) // a missing redis-server is told of as everywhere
	l := &layout{t: t, dir: t.TempDir(), ports: map[string][4]string{}}
	nodes := []string{"n1", "n2", "n3"}
	var held []net.Listener // until every port is found
	for _, n := range nodes {
		var p [4]string
		for i := range p {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, ln)
			_, p[i], _ = net.SplitHostPort(ln.Addr().String())
		}
		l.ports[n] = p
	}
	for _, ln := range held {
		_ = ln.Close()
	}
	for _, n := range nodes {
		l.start(n, queuetest.Binary(t), "-c", l.file("nats.conf", n))
		redis := []string{l.file("redis.conf", n)}
		if n != "n1" {
			redis = append(redis, "--replicaof", "127.0.0.1 "+l.ports["n1"][2])
		}
		l.start(n, "redis-server", redis...)
		l.start(n, "redis-server", l.file("sentinel.conf", n), "--sentinel")
	}
	dir, _ := loginDir(t)
	for from, to := range map[string]string{"password": "chu.password", "client.p12": "chu.p12", "passphrase": "chu.passphrase"} {
		b, err := os.ReadFile(filepath.Join(dir, from))
		if err != nil {
			t.Fatal(err)
		}
		_ = os.MkdirAll(filepath.Join(l.dir, "n1", "secrets"), 0o700)
		write(t, filepath.Join(l.dir, "n1", "secrets"), to, string(b))
	}
	config := l.file("decom.yaml", "n1")
	write(t, filepath.Join(l.dir, "n1"), "ca.pem", mustRead(t, filepath.Join(dir, "ca.pem")))
	if r := inProcess(t, nil, "", "config", "check", "--config", config); r.code != exitFine {
		t.Fatalf("config check: %s", r.stderr)
	}
	var r result
	until := time.Now().Add(2 * time.Minute) // leaders and Sentinels need a moment, a busy machine more
	for ; ; time.Sleep(250 * time.Millisecond) {
		if r = inProcess(t, nil, "", "setup", "--config", config); r.code == exitFine {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("setup: exit code %d: %s%s", r.code, r.stdout, r.stderr)
		}
	}
	for ; ; time.Sleep(250 * time.Millisecond) {
		r = inProcess(t, nil, "", "status", "--json", "--config", config, "--set", "http.listen=127.0.0.1:1")
		if r.code == exitFine && strings.Contains(r.stdout, `"nats": "up"`) && strings.Contains(r.stdout, `"redis": "up"`) {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("status: exit code %d: %s%s", r.code, r.stdout, r.stderr)
		}
	}
	for _, n := range nodes { // the file that lies there is the one that counts
		if _, err := os.Stat(filepath.Join(l.dir, n, "nats", "jetstream")); err != nil {
			t.Errorf("%s stored nothing where nats.conf says: %v", n, err)
		}
	}
	if r := inProcess(t, nil, "", "setup", "--dry-run", "--config", config); r.code != exitFine || strings.Contains(r.stdout, "replicas") {
		t.Errorf("a second setup would still change replicas: %s", r.stdout)
	}
}

func mustRead(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
