package bench

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// BenchText is the result in the Go benchmark format, one line a round, which
// benchstat reads.
func (r *Result) BenchText() string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "goos: %s\ngoarch: %s\npkg: decom/bench\ncpu: %s\ncommit: %s\n", m.OS, m.Arch, m.CPU, r.Commit)
	fmt.Fprintf(&b, "Unit packs/s better=higher\nUnit of-ceiling-%% better=higher\nUnit op/s better=higher\n")
	for i := range r.Rounds {
		r.Rounds[i].line(&b, "Line/"+r.Config.name())
	}
	if c := r.Ceiling; c != nil {
		for i, rate := range c.Rates {
			fmt.Fprintf(&b, "BenchmarkCeiling/batch=%d 1 %.0f ns/op %.1f packs/s %.2f of-ceiling-%%\n", r.Config.Batch, 1e9/rate, rate, 100*c.Ratios[i])
		}
	}
	for _, s := range r.Stages {
		fmt.Fprintf(&b, "BenchmarkStage/%s %d %.1f ns/op %.0f op/s %.2f allocs/op\n", s.Name, s.N, s.NS, s.PerSecond, s.Allocs)
	}
	for _, s := range r.Sweeps {
		for _, p := range s.Points {
			for i := range p.Rounds {
				p.Rounds[i].line(&b, "Sweep/"+s.Param+"="+p.Value)
			}
		}
	}
	return b.String()
}

// name tells rounds of different settings apart.
func (c *Config) name() string {
	s := fmt.Sprintf("%s/mode=%s/batch=%d/parallel=%d", c.Profile, c.Mode, c.Batch, c.Parallel)
	if c.Accounts > 1 {
		s += fmt.Sprintf("/accounts=%d", c.Accounts)
	}
	if c.Processes > 1 {
		s += fmt.Sprintf("/processes=%d", c.Processes)
	}
	if c.Latency > 0 {
		s += "/latency=" + c.Latency.String()
	}
	if c.NoFsync {
		s += "/nofsync"
	}
	return s
}

func (d *Round) line(b *strings.Builder, name string) {
	fmt.Fprintf(b, "Benchmark%s %d %.0f ns/op %.2f packs/s %.3f cpu-s/100k", name, d.Packs, 1e9*float64(d.Took)/max(1, float64(d.Packs)), d.Rate, d.CPUTotal)
	for _, p := range slices.Sorted(maps.Keys(d.CPU)) {
		fmt.Fprintf(b, " %.3f cpu-s/100k-%s", d.CPU[p], p)
	}
	if d.Latency.Count > 0 {
		fmt.Fprintf(b, " %.3f p50-ms %.3f p99-ms", d.Latency.P50, d.Latency.P99)
	}
	if mem, ok := d.Peak["worker"]; ok {
		fmt.Fprintf(b, " %.1f worker-MiB", float64(mem)/(1<<20))
	}
	b.WriteByte('\n')
}
