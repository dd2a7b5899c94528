package bench

import (
	"flag"
	"strings"
	"testing"
	"time"
)

var packs = flag.Int("packs", 5000, "packs of one round of BenchmarkLine")

// BenchmarkLine is the whole line, one round of the backlog profile an iteration with
// fresh servers: N scans lie in the stream when the worker starts, and the clock stops with
// the last outcome. Then up to 2,000 more are published at half that rate, and each one's
// time from its intended start to its outcome is taken.
func BenchmarkLine(b *testing.B) {
	for _, o := range []struct {
		name string
		Config
	}{
		{"single/parallel=4", Config{Mode: "single", Parallel: 4, NoFsync: true}},
		{"single/parallel=16", Config{Mode: "single", Parallel: 16, NoFsync: true}},
		{"single/parallel=16/fsync", Config{Mode: "single", Parallel: 16}},
		{"single/parallel=16/20ms", Config{Mode: "single", Parallel: 16, Latency: 20 * time.Millisecond, NoFsync: true}},
		{"mixed/batch=500/fsync", Config{Mode: "mixed", Batch: 500}},
		{"mixed/batch=1000/fsync", Config{Mode: "mixed", Batch: 1000}},
	} {
		b.Run(o.name, func(b *testing.B) {
			for i := range b.N {
				c := benchConfig(b)
				o.Exe, o.Dir, o.RedisServer, o.Profile, o.Packs = c.Exe, c.Dir, c.RedisServer, Backlog, *packs
				o.Config = o.WithDefaults()
				d, _, err := o.run(b.Context(), strings.ReplaceAll(o.name, "/", "-"), i)
				if err != nil {
					b.Fatal(err)
				}
				if !d.Verdict.Good() {
					b.Fatalf("a fast wrong line is no line: %+v", d.Verdict)
				}
				b.ReportMetric(d.Rate, "packs/s")
				b.ReportMetric(1000*float64(d.ToFirst), "ms-to-first")
				b.ReportMetric(d.CPUTotal, "cpu-s/100k")
				for name, used := range d.CPU {
					b.ReportMetric(used, "cpu-s/100k-"+name)
				}
				b.ReportMetric(d.Latency.P50, "p50-ms")
				b.ReportMetric(d.Latency.P99, "p99-ms")
			}
		})
	}
}
