package bench

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"decom/worker/packstate"
)

// sampler looks at the round from outside, now and then.
type sampler struct {
	rig   *rig
	load  *load
	start time.Time
	quota func() float64 // packs a second now

	mu   sync.Mutex // guards list
	list []Sample
}

// run looks until ctx ends. Metrics of many accounts are long, so it then looks less often.
func (s *sampler) run(ctx context.Context) {
	every := 250 * time.Millisecond
	if len(s.rig.names) > 20 {
		every = time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			v := s.look()
			s.mu.Lock()
			s.list = append(s.list, v)
			s.mu.Unlock()
		}
	}
}

func (s *sampler) samples() []Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

func (s *sampler) look() Sample {
	sent, _, _ := s.load.progress()
	v := Sample{At: secondsOf(time.Since(s.start)), Sent: sent, Have: s.load.seen(), Quota: s.quota()}
	if c, err := s.rig.control.counts(); err == nil {
		v.Calls, v.Changed, v.TooFast = c.calls(), c.changed(), c.TooFast
	}
	s.rig.gauges(&v)
	return v
}

// gauges adds what the workers say of themselves. One that does not answer yet is left out.
func (r *rig) gauges(v *Sample) {
	known := 0
	for _, addr := range r.https {
		families, err := scrape(addr)
		if err != nil {
			continue
		}
		// Every process counts what another one is sending: what all of them count is in doubt.
		doubt := int(total(families["decom_in_doubt_packs"], nil))
		if known++; known == 1 || doubt < v.InDoubt {
			v.InDoubt = doubt
		}
		v.InFlight += int(total(families["decom_inflight_packs"], nil))
		v.Limit += total(families["decom_rate_limit"], func(m *dto.Metric) bool { return label(m, "service") == "single" })
		for i, state := range []string{"half_open", "open"} {
			for _, svc := range services() {
				n := int(total(families["decom_circuit_state"], func(m *dto.Metric) bool { return label(m, "state") == state && label(m, "service") == svc }))
				if n == 0 {
					continue
				}
				if v.Breakers == nil {
					v.Breakers = map[string][2]int{}
				}
				both := v.Breakers[svc]
				both[i] += n
				v.Breakers[svc] = both
			}
		}
	}
}

// redisUsed is the memory that Redis's data takes, in bytes; 0 = not known, or not ours alone.
func (r *rig) redisUsed(ctx context.Context) int64 {
	if r.redis == nil {
		return 0
	}
	store, err := packstate.Open(ctx, packstate.Config{URL: r.redisURL})
	if err != nil {
		return 0
	}
	defer store.Close()
	info, err := store.Info(ctx)
	if err != nil || len(info.Servers) == 0 {
		return 0
	}
	return info.Servers[0].UsedMemory
}

// scrape reads the metrics of one worker.
func scrape(addr string) (map[string]*dto.MetricFamily, error) {
	resp, err := controlClient.Get("http://" + addr + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: %s", resp.Status)
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	return p.TextToMetricFamilies(resp.Body)
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// total sums a gauge over the metrics that keep chooses, all if it is nil.
func total(f *dto.MetricFamily, keep func(*dto.Metric) bool) (v float64) {
	for _, m := range f.GetMetric() {
		if keep == nil || keep(m) {
			v += m.GetGauge().GetValue()
		}
	}
	return v
}

// ready says whether every worker serves.
func (r *rig) ready() bool {
	for _, addr := range r.https {
		resp, err := controlClient.Get("http://" + addr + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return false
		}
	}
	return true
}

// newHistogram holds microseconds up to a day with three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(24*time.Hour/time.Microsecond), 3)
}

// latencyOf sums up a histogram of microseconds.
func latencyOf(h *hdrhistogram.Histogram, under string) Latency {
	ms := func(p float64) float64 { return float64(h.ValueAtQuantile(p)) / 1000 }
	l := Latency{Count: h.TotalCount(), Load: under, P50: ms(50), P90: ms(90), P99: ms(99), P999: ms(99.9), Max: float64(h.Max()) / 1000}
	for _, p := range []float64{0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99, 100} {
		l.Quantiles = append(l.Quantiles, [2]float64{p, ms(p)})
	}
	return l
}

// histogram is every scan's time from its intended start.
func (l *load) histogram() *hdrhistogram.Histogram {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := newHistogram()
	for i, at := range l.got {
		if !at.IsZero() {
			_ = h.RecordValue(max(1, at.Sub(l.start.Add(l.meant[i])).Microseconds()))
		}
	}
	return h
}

// buckets counts outcomes and intended starts over time, a second, from start on.
func (l *load) buckets(start time.Time) Timeline {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.last.Sub(start)
	if n := len(l.meant); n > 0 {
		end = max(end, l.start.Add(l.meant[n-1]).Sub(start))
	}
	width := (max(end/200, 50*time.Millisecond) + 9*time.Millisecond).Truncate(10 * time.Millisecond)
	if end > 30*time.Second { // quotas are counted by the second
		width = (max(end/400, time.Second)).Truncate(time.Second)
	}
	n := int(max(end, 0)/width) + 1
	t := Timeline{Bucket: secondsOf(width), Done: make([]float64, n), Meant: make([]float64, n)}
	add := func(to []float64, at time.Duration) {
		if i := int(at / width); at >= 0 && i < n {
			to[i] += 1 / width.Seconds()
		}
	}
	for i, at := range l.got {
		add(t.Meant, l.start.Add(l.meant[i]).Sub(start))
		if !at.IsZero() {
			add(t.Done, at.Sub(start))
		}
	}
	return t
}
