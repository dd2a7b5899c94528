package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"decom/queue"
)

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

// benchConfig is a configuration with everything that needs no decision.
func benchConfig(tb testing.TB) Config {
	tb.Helper()
	bin, err := buildOnce()
	if err != nil {
		tb.Fatal(err)
	}
	c := Config{Exe: bin, Dir: tb.TempDir(), RedisServer: FindServer("redis-server"), Profile: Backlog}
	if c.RedisServer == "" {
		const advice = "needs redis-server 7.0 or newer in PATH (Debian: apt-get install redis-server)"
		if os.Getenv("CI") != "" {
			tb.Fatal(advice)
		}
		tb.Skip(advice)
	}
	return c
}

// options are what a test varies.
type options struct {
	mode     string
	parallel int
	batch    int
	latency  time.Duration // of the simulator
	extra    []string      // --set of decom run
}

// testRig is a rig that a test drives by hand; two accounts.
type testRig struct {
	*rig
	tb testing.TB
}

func newTestRig(tb testing.TB, o options) *testRig {
	tb.Helper()
	c := benchConfig(tb)
	c.Mode, c.Parallel, c.Batch, c.Latency, c.Set, c.Accounts = o.mode, o.parallel, o.batch, o.latency, o.extra, 2
	c = c.WithDefaults()
	r, err := newRig(tb.Context(), &c, c.Dir)
	tb.Cleanup(r.close)
	if err != nil {
		tb.Fatal(err)
	}
	return &testRig{r, tb}
}

func (r *testRig) startWorker() {
	if err := r.startWorkers(); err != nil {
		r.tb.Fatal(err)
	}
}

func (r *testRig) counts() (counts, error) { return r.control.counts() }

// put changes the simulator while it runs.
func (r *testRig) put(path, body string) {
	r.tb.Helper()
	if err := r.control.send("PUT", path, body); err != nil {
		r.tb.Fatal(err)
	}
}

func (r *testRig) publish(scans []queue.Scan) {
	r.tb.Helper()
	for len(scans) > 0 {
		k := min(len(scans), publishMost)
		if _, err := r.conn.PublishScans(r.tb.Context(), scans[:k]); err != nil {
			r.tb.Fatal(err)
		}
		scans = scans[k:]
	}
}

type outcome struct {
	id string
	at time.Time
}

// follow hands on every outcome as it is stored.
func (r *testRig) follow(ctx context.Context, seen chan<- outcome) {
	err := r.conn.Outcomes(ctx, queue.OutcomeFilter{Follow: true}, func(o queue.StoredOutcome) error {
		seen <- outcome{o.EventID, o.Time}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "bench: outcomes:", err)
	}
}
