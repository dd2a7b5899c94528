package chaos

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var soakFlag = flag.Duration("soak", 0, "run TestSoak for that long")

// soakRate is how many packs each of the soak's two accounts gets a second.
const soakRate = 10

// soakPause is the time from the begin of one fault to the next, more or less.
const soakPause = 15 * time.Second

// TestSoak keeps a steady load up for -soak while faults come one after another, and samples
// what one worker uses that is itself never killed or stopped: memory, goroutines, open
// files, its own disk, and what NATS and Redis keep for each scan. All must be flat.
func TestSoak(t *testing.T) {
	if *soakFlag == 0 {
		t.Skip("a soak takes as long as -soak says; make soak DURATION=10m")
	}
	p := soakPlan(*seedFlag, *soakFlag)
	dir := filepath.Join(keepDir(t), fmt.Sprintf("soak-%d", p.Seed))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, p, dir)
	s := &sampler{r: r, w: r.procs[1], stop: make(chan struct{}), done: make(chan struct{})}
	go s.run(max(time.Second, *soakFlag/300))
	v, scans := r.play()
	close(s.stop)
	<-s.done
	s.write(filepath.Join(filepath.Dir(dir), fmt.Sprintf("soak-%d.csv", p.Seed)))
	word := "ok"
	if flat := s.judge(); len(r.bad) > 0 || !flat {
		word = "FAILED"
	}
	fmt.Printf("soak %s seed %d: %s, %d faults, %d scans %v, parked %d, records %d\n%s", word, p.Seed, *soakFlag, len(p.Steps), scans, v.Outcomes, v.Parked, v.Appends, s.table())
	if word != "ok" {
		t.Fatalf("%s\nagain: go test ./bench/chaos -run TestSoak -count=1 -timeout 0 -soak %v -seed %d\nfiles: %s", strings.Join(r.bad, "\n"), *soakFlag, p.Seed, dir)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
}

// soakPlan draws the faults of a soak: any that its servers can have and that need no person and no
// special build, the workers' own only for the first worker. The last tenth of the time is without.
func soakPlan(seed uint64, d time.Duration) plan {
	rng := rand.New(rand.NewPCG(seed, 0x50a4))
	p := plan{
		Seed: seed, AOF: true, Mode: "auto", Settle: "e4", Workers: 2, Accounts: 2, Long: true,
		Packs: int(d.Seconds() * soakRate), Latency: 30 * time.Millisecond, Pour: d, Batches: int(d / (500 * time.Millisecond)),
	}
	kinds := slices.DeleteFunc(faultKinds(), func(k faultKind) bool {
		return !k.fits(p) || k.loses == "ledger" || k.name == "clock-step" || strings.HasSuffix(k.name, "disk-full")
	})
	for at := soakPause; at < d*9/10; at += soakPause/2 + time.Duration(rng.Int64N(int64(soakPause))) {
		k := kinds[rng.IntN(len(kinds))]
		n := len(p.Steps)
		p.add(rng, k, at)
		if k.target == "worker" && len(p.Steps) > n {
			p.Steps[n].Who = 0
		}
	}
	return p
}

// series is one figure over time.
type series struct {
	name   string
	unit   string
	share  float64 // fitted growth over the judged time may be this share of the median
	least  float64 // or this much, whichever is more
	values []float64
}

type sampler struct {
	r    *rig
	w    *worker
	stop chan struct{}
	done chan struct{}
	at   []time.Duration
	all  []*series
}

// run samples until stop. The tolerances are stated here and printed with the result.
func (s *sampler) run(every time.Duration) {
	defer close(s.done)
	s.all = []*series{
		{name: "memory", unit: "MiB", share: 0.15, least: 8},
		// Behind a collection: what is held, not what the collector lets lie. A worker that serves both
		// accounts keeps two minutes of their records, one that stands by does not: 26 to 32 MiB, back and forth.
		{name: "live heap", unit: "MiB", share: 0.10, least: 6},
		{name: "goroutines", share: 0.10, least: 16}, // as many calls as two accounts have on their way at once
		{name: "open files", share: 0.10, least: 16}, // and a pool for Redis that fills up to its 20 in bad moments
		{name: "own disk", unit: "KiB", share: 0.05, least: 64},
		{name: "NATS disk a scan", unit: "B", share: 0.20, least: 0},
		{name: "Redis memory a pack", unit: "B", share: 0.20, least: 0},
	}
	began, told, profiles := time.Now(), time.Now(), time.Duration(1)
	for tick := time.NewTicker(every); ; {
		select {
		case <-s.stop:
			tick.Stop()
			return
		case <-tick.C:
		}
		v, ok := s.sample()
		if !ok {
			continue // a store is away just now
		}
		s.at = append(s.at, time.Since(began))
		if time.Since(told) >= time.Minute { // whoever waits for it sees that it goes on
			told = time.Now()
			fmt.Printf("soak: %s of %s: %.0f MiB of memory, %.0f MiB live, %.0f goroutines, %.0f files\n", time.Since(began).Round(time.Second), *soakFlag, v[0], v[1], v[2], v[3])
		}
		for profiles*(*soakFlag)/4 <= time.Since(began) {
			s.profile(fmt.Sprintf("soak-%d-heap-%d", s.r.plan.Seed, profiles))
			profiles++
		}
		for i := range v {
			s.all[i].values = append(s.all[i].values, v[i])
		}
	}
}

func (s *sampler) sample() (v [7]float64, ok bool) {
	addr, debug := s.w.addrs()
	if resp, err := quick.Get("http://" + debug + "/debug/pprof/heap?gc=1"); err == nil { // collects
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	m, err := metricsOf(addr)
	if err != nil {
		return v, false
	}
	scans, err := s.scans()
	if err != nil || scans < 100 {
		return v, false
	}
	info, err := askRedis(s.r.redis.main.Addr(), "INFO", "memory")
	if err != nil {
		return v, false
	}
	_, text, _ := strings.Cut(info, "used_memory:")
	text, _, _ = strings.Cut(text, "\r")
	used, _ := strconv.ParseFloat(text, 64)
	const mib = 1 << 20
	return [7]float64{
		m["process_resident_memory_bytes"] / mib, m["go_memstats_heap_alloc_bytes"] / mib, m["go_goroutines"], m["process_open_fds"],
		diskOf(filepath.Join(s.r.dir, s.w.name, "data")) / 1024, diskOf(s.r.nats[0].Dir) / scans, (used - 1<<20) / scans,
	}, true
}

// profile keeps the worker's heap, after a collection, beside the samples: whoever asks why a
// figure grew compares two of them (go tool pprof -base).
func (s *sampler) profile(name string) {
	_, debug := s.w.addrs()
	resp, err := quick.Get("http://" + debug + "/debug/pprof/heap?gc=1")
	if err != nil {
		return // the samples are what is judged
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err == nil {
		write(s.r.t, filepath.Join(filepath.Dir(s.r.dir), name), string(b))
	}
}

// scans is how many outcomes there are by now: what the stores' sizes are held against.
func (s *sampler) scans() (float64, error) {
	in, err := s.r.streamMessages("DECOM_OUTCOMES")
	return float64(in), err
}

func metricsOf(addr string) (map[string]float64, error) {
	resp, err := quick.Get("http://" + addr + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/metrics: %s", resp.Status)
	}
	m := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if name, text, ok := strings.Cut(lines.Text(), " "); ok && !strings.HasPrefix(name, "#") {
			m[name], _ = strconv.ParseFloat(text, 64)
		}
	}
	return m, nil
}

// diskOf is the size of the files under dir.
func diskOf(dir string) float64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if st, err := d.Info(); err == nil {
				n += st.Size()
			}
		}
		return nil // files come and go under a running server
	})
	return float64(n)
}

// warmUp is how much of a soak is not judged: a quarter, and at least the five minutes in which a
// worker fills what it keeps (records of two minutes, pools, buffers, maps at their size), but
// never more than half. The live heap behind a collection, sampled for twelve minutes, rose
// until the sixth and stood still from then on; a judgement from the second minute on was
// near its bounds for that alone.
func warmUp(d time.Duration) time.Duration { return min(max(d/4, 5*time.Minute), d/2) }

// growth fits a line through the values after the warm-up, by the median of the slopes
// of all pairs: a burst or the collector's saw teeth do not turn it. It returns what the
// line gains over that time, and the median.
func growth(at []time.Duration, values []float64) (gain, median float64) {
	from := 0
	for len(at) > 0 && at[from] < warmUp(at[len(at)-1]) {
		from++
	}
	at, values = at[from:], values[from:]
	if len(at) < 2 {
		return 0, 0
	}
	var slopes []float64
	for i := range at {
		for j := range i {
			slopes = append(slopes, (values[i]-values[j])/(at[i]-at[j]).Seconds())
		}
	}
	slices.Sort(slopes)
	sorted := slices.Sorted(slices.Values(values))
	return slopes[len(slopes)/2] * (at[len(at)-1] - at[0]).Seconds(), sorted[len(sorted)/2]
}

// judge says whether every series is flat: none grows by more than its tolerance.
func (s *sampler) judge() bool {
	if len(s.at) < 20 {
		s.r.fault("soak: only %d samples: too short to judge", len(s.at))
		return false
	}
	flat := true
	for _, x := range s.all {
		if gain, median := growth(s.at, x.values); gain > max(x.share*median, x.least) {
			s.r.fault("soak: %s grows: %.1f %s over the judged time, median %.1f", x.name, gain, x.unit, median)
			flat = false
		}
	}
	return flat
}

func (s *sampler) table() string {
	var b strings.Builder
	b.WriteString("| figure | median | fitted growth | allowed | |\n|---|---|---|---|---|\n")
	for _, x := range s.all {
		if len(x.values) == 0 {
			continue
		}
		gain, median := growth(s.at, x.values)
		fmt.Fprintf(&b, "| %s | %.1f %s | %+.1f | %.1f | first %.1f, last %.1f, most %.1f |\n", x.name, median, x.unit, gain, max(x.share*median, x.least),
			x.values[0], x.values[len(x.values)-1], slices.Max(x.values))
	}
	return b.String()
}

// write leaves the samples as CSV.
func (s *sampler) write(name string) {
	var b strings.Builder
	b.WriteString("seconds")
	for _, x := range s.all {
		b.WriteString("," + x.name)
	}
	for i := range s.at {
		fmt.Fprintf(&b, "\n%.1f", s.at[i].Seconds())
		for _, x := range s.all {
			fmt.Fprintf(&b, ",%.2f", x.values[i])
		}
	}
	write(s.r.t, name, b.String()+"\n")
}
