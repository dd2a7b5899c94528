package bench

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"decom/queue"
)

var packs = flag.Int("packs", 5000, "packs of one round of BenchmarkLine")

// BenchmarkLine is the whole line, one round an iteration with fresh servers: N scans
// lie in the stream when the worker starts, and the clock stops with the last outcome.
// Then as many again are published at half that rate, and each one's time from its
// intended start to its outcome is taken.
func BenchmarkLine(b *testing.B) {
	for _, o := range []struct {
		name string
		options
	}{
		{"single/parallel=4", options{mode: "single", parallel: 4}},
		{"single/parallel=16", options{mode: "single", parallel: 16}},
		{"single/parallel=16/fsync", options{mode: "single", parallel: 16, syncAlway: true}},
		{"single/parallel=16/20ms", options{mode: "single", parallel: 16, latency: 20 * time.Millisecond}},
		{"mixed/batch=500/fsync", options{mode: "mixed", parallel: 4, batch: 500, syncAlway: true, extra: bulkFlags}},
		{"mixed/batch=1000/fsync", options{mode: "mixed", parallel: 4, batch: 1000, syncAlway: true, extra: bulkFlags}},
	} {
		b.Run(o.name, func(b *testing.B) {
			for range b.N {
				line(b, o.options, *packs)
			}
		})
	}
}

// bulkFlags let bulks follow each other as fast as the simulator answers: it has no
// frequency limit here.
var bulkFlags = []string{"protocol.t_poll=1ms", "accounts.0.limits.bulks=4"}

func line(b *testing.B, o options, n int) {
	r := newRig(b, o)
	r.publish(scansOf("backlog", n))
	seen := make(chan outcome, n)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go r.follow(ctx, seen)

	began, before := time.Now(), r.cpu()
	r.startWorker()
	var first, last time.Time
	for range n {
		o := next(b, seen)
		if first.IsZero() {
			first = o.at
		}
		last = o.at
	}
	after := r.cpu()
	r.judge(n)
	rate := float64(n-1) / last.Sub(first).Seconds()
	b.ReportMetric(rate, "packs/s")
	b.ReportMetric(first.Sub(began).Seconds()*1000, "ms-to-first")
	total := time.Duration(0)
	for name, used := range after {
		used -= before[name]
		total += used
		b.ReportMetric(used.Seconds()*100_000/float64(n), "cpu-s/100k-"+name)
	}
	b.ReportMetric(total.Seconds()*100_000/float64(n), "cpu-s/100k")

	h := r.openLoop(b, seen, min(n, 2000), rate/2)
	b.ReportMetric(float64(h.ValueAtQuantile(50))/1000, "p50-ms")
	b.ReportMetric(float64(h.ValueAtQuantile(99))/1000, "p99-ms")
	r.judge(n + min(n, 2000))
}

type outcome struct {
	id string
	at time.Time
}

func next(b *testing.B, seen <-chan outcome) outcome {
	select {
	case o := <-seen:
		return o
	case <-time.After(60 * time.Second):
		b.Fatal("no outcome for 60 s")
		return outcome{}
	}
}

// openLoop publishes n scans at a fixed rate and measures each from the time at which it
// was meant to leave: a publisher that falls behind does not hide it.
func (r *rig) openLoop(b *testing.B, seen <-chan outcome, n int, rate float64) *hdrhistogram.Histogram {
	h := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
	scans := scansOf("live", n)
	meant := make(map[string]time.Time, n)
	start := time.Now().Add(50 * time.Millisecond)
	for i := range scans {
		meant[scans[i].ID] = start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
	}
	go func() {
		for i := range scans {
			time.Sleep(time.Until(meant[scans[i].ID]))
			_, _ = r.conn.PublishScan(b.Context(), scans[i].Site, scans[i].Device, scans[i].ID, scans[i].Body)
		}
	}()
	for range n {
		o := next(b, seen)
		_ = h.RecordValue(o.at.Sub(meant[o.id]).Microseconds())
	}
	return h
}

func (r *rig) publish(scans []queue.Scan) {
	r.tb.Helper()
	for len(scans) > 0 {
		k := min(len(scans), 2000)
		if _, err := r.conn.PublishScans(r.tb.Context(), scans[:k]); err != nil {
			r.tb.Fatal(err)
		}
		scans = scans[k:]
	}
}

// follow hands on every outcome as it is stored.
func (r *rig) follow(ctx context.Context, seen chan<- outcome) {
	err := r.conn.Outcomes(ctx, queue.OutcomeFilter{Follow: true}, func(o queue.StoredOutcome) error {
		seen <- outcome{o.EventID, o.Time}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "bench: outcomes:", err)
	}
}

// scansOf makes n scans of n packs: 20 products, 4 batches each.
func scansOf(name string, n int) []queue.Scan {
	out := make([]queue.Scan, n)
	for i := range out {
		id := fmt.Sprintf("%s-%07d", name, i)
		text := fmt.Sprintf("]d201%s21%s%07d\x1d1729110010LOT%02d", gtin(i%20), name[:1], i, i%4)
		body, _ := json.Marshal(map[string]string{"id": id, "scan": text})
		out[i] = queue.Scan{Site: "site-1", Device: "bench", ID: id, Body: body}
	}
	return out
}

// gtin numbers French products: 0 34009 3xxxxxx and the check digit.
func gtin(i int) string {
	s := fmt.Sprintf("0340093%06d", i)
	sum := 0
	for j, c := range s {
		w := 3
		if j%2 == 1 {
			w = 1
		}
		sum += int(c-'0') * w
	}
	return s + string(rune('0'+(10-sum%10)%10))
}
