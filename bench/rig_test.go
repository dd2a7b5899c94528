package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"decom/queue"
	"decom/queue/queuetest"
	"decom/worker/packstate/packstatetest"
)

// rig is one set of fresh servers, the simulator and one worker, each its own process.
type rig struct {
	tb      testing.TB
	dir     string
	natsURL string
	control string // simulator's control interface
	sim     *exec.Cmd
	worker  *exec.Cmd
	conn    *queue.Conn
	config  string
	pids    map[string]int
}

// buildOnce compiles decom once for all benchmarks of a run.
var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "decom-bench")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "decom")
	out, err := exec.Command("go", "build", "-o", bin, "../cmd/decom").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build decom: %w\n%s", err, out)
	}
	return bin, nil
})

// options are what a benchmark varies.
type options struct {
	mode      string
	parallel  int
	batch     int
	latency   time.Duration // of the simulator
	syncAlway bool          // nats-server fsyncs every write
	extra     []string      // --set of decom run
}

func newRig(tb testing.TB, o options) *rig {
	tb.Helper()
	bin, err := buildOnce()
	if err != nil {
		tb.Fatal(err)
	}
	r := &rig{tb: tb, dir: tb.TempDir(), pids: map[string]int{}}
	nats := queuetest.StartServer(tb, queuetest.ServerConfig{SyncAlways: o.syncAlway})
	redis := packstatetest.StartRedis(tb, packstatetest.RedisOptions{})
	r.natsURL = nats.URL
	r.control = freeAddr(tb)
	r.sim = r.start("sim", bin, "sim", "--listen", "127.0.0.1:0", "--dir", filepath.Join(r.dir, "sim"),
		"--control", r.control, "--latency", o.latency.String(), "--accounts", "2")
	r.await("the simulator", func() error { _, err := r.counts(); return err })
	r.config = filepath.Join(r.dir, "sim", "decom-sim.yaml")
	ctx, cancel := context.WithTimeout(tb.Context(), 30*time.Second)
	defer cancel()
	if r.conn, err = queue.Connect(ctx, queue.Config{URL: r.natsURL, Name: "bench"}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(r.conn.Close)
	if _, err := r.conn.Setup(ctx, []queue.Account{{Name: "sim-1", Sites: []string{"site-1"}}, {Name: "sim-2", Sites: []string{"site-2"}}}, false); err != nil {
		tb.Fatal(err)
	}
	args := []string{"run", "--config", r.config, "--set", "dir=" + filepath.Join(r.dir, "data"),
		"--set", "nats.url=" + r.natsURL, "--set", "redis.url=" + redis.URL(), "--set", "http.listen=",
		"--set", "accounts.0.mode=" + o.mode, "--set", "accounts.0.limits.parallel=" + strconv.Itoa(o.parallel),
		"--set", "accounts.0.limits.single=1000000/s", "--set", "accounts.0.limits.bulk=1000000/s",
		"--set", "accounts.0.limits.batch=" + strconv.Itoa(max(o.batch, 1)), "--set", "log.level=warn"}
	for _, x := range o.extra {
		args = append(args, "--set", x)
	}
	r.worker = exec.Command(bin, args...)
	r.pids["sim"], r.pids["nats"], r.pids["redis"] = r.sim.Process.Pid, nats.PID(), redis.PID()
	return r
}

// start runs a command whose output is shown when the benchmark fails.
func (r *rig) start(name, bin string, args ...string) *exec.Cmd {
	cmd := exec.Command(bin, args...)
	r.run(name, cmd)
	return cmd
}

func (r *rig) run(name string, cmd *exec.Cmd) {
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		r.tb.Fatalf("%s: %v", name, err)
	}
	r.tb.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
		if r.tb.Failed() {
			r.tb.Logf("%s said:\n%s", name, log.String())
		}
	})
}

// startWorker lets the worker begin.
func (r *rig) startWorker() {
	r.run("decom run", r.worker)
	r.pids["worker"] = r.worker.Process.Pid
}

func (r *rig) await(what string, ready func() error) {
	r.tb.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = ready(); err == nil {
			return
		}
	}
	r.tb.Fatalf("%s does not answer: %v", what, err)
}

// counts is the simulator's tally.
type counts struct {
	Effects   map[string]int `json:"effects"`
	Calls     map[string]int `json:"calls"`
	SentTwice int            `json:"sent_twice"`
	TooFast   int            `json:"too_fast"`
	Alerts    map[string]int `json:"alerts"`
}

func (r *rig) counts() (counts, error) {
	var c counts
	resp, err := http.Get("http://" + r.control + "/counts")
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(body, &c)
}

// put changes the simulator while it runs.
func (r *rig) put(path, body string) {
	r.tb.Helper()
	req, err := http.NewRequest(http.MethodPut, "http://"+r.control+path, strings.NewReader(body))
	if err != nil {
		r.tb.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.tb.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(resp.Body)
		r.tb.Fatalf("PUT %s: %s: %s", path, resp.Status, text)
	}
}

// judge fails the benchmark unless n packs were changed once each and nothing else
// happened: a fast wrong line is no line.
func (r *rig) judge(n int) {
	r.tb.Helper()
	c, err := r.counts()
	if err != nil {
		r.tb.Fatal(err)
	}
	done := 0
	for _, e := range c.Effects {
		done += e
	}
	if done != n || c.SentTwice != 0 || len(c.Alerts) != 0 {
		r.tb.Fatalf("of %d packs %d were changed, %d sent twice, alerts %v", n, done, c.SentTwice, c.Alerts)
	}
}

// cpu is the CPU time that each process has used, by name (Linux; empty elsewhere).
func (r *rig) cpu() map[string]time.Duration {
	used := map[string]time.Duration{}
	for name, pid := range r.pids {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		user, _ := strconv.ParseInt(f[11], 10, 64)
		system, _ := strconv.ParseInt(f[12], 10, 64)
		used[name] = time.Duration(user+system) * (time.Second / 100)
	}
	return used
}

func freeAddr(tb testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
