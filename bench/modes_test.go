package bench

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

var (
	modes    = flag.Bool("modes", false, "run TestAutoBeatsEveryFixedMode: real time, about 25 minutes for 60,000 packs")
	scale    = flag.Int("scale", 1, "how many times faster than stated everything is in TestAutoBeatsEveryFixedMode: latency, limits, polls, people")
	delivery = flag.Int("delivery", 60_000, "packs of the delivery in TestAutoBeatsEveryFixedMode")
)

// TestAutoBeatsEveryFixedMode is one delivery to one account whose quota is small:
// 300 ms a call, 5 single calls a second, 6 bulks a minute. All modes run side by side,
// each with its own servers; the quota, not the machine, sets the pace. While it works
// the delivery off, mode auto also gets a scan from a person every other second, and so
// does another account of the same process.
func TestAutoBeatsEveryFixedMode(t *testing.T) {
	if !*modes {
		t.Skip("a measurement of 25 minutes; ask for it with -modes")
	}
	variants := []struct {
		name, mode string
		batch      int
	}{
		{"auto", "auto", 1000}, {"mixed 1000", "mixed", 1000}, {"mixed 100", "mixed", 100}, {"single", "single", 1},
	}
	// The account's limits stay a fifth and a tenth below what the simulator counts, so that
	// neither the network's jitter nor a window's edge makes a violation.
	limits := []string{"protocol.t_poll=" + scaled(2*time.Second).String()}
	for i := range 2 {
		limits = append(limits, fmt.Sprintf("accounts.%d.limits.single=%d/s", i, 4**scale), fmt.Sprintf("accounts.%d.limits.bulk=%.1f/min", i, 5.4*float64(*scale)))
	}
	var wg sync.WaitGroup
	begin, first := make(chan struct{}), make(chan struct{}) // closed when auto begins, and is done
	report := make([]string, len(variants))
	for i, v := range variants {
		r := newTestRig(t, options{mode: v.mode, parallel: 4, batch: v.batch, latency: scaled(300 * time.Millisecond), extra: limits})
		r.put("/settings", fmt.Sprintf(`{"limit":{"calls":%d,"window":"1s","bulks":%d,"bulk_window":"1m"},"latency":{"fixed":%q},"bulk":{"delay":%q},"auto_stock":{"on":true}}`,
			5**scale, 6**scale, scaled(300*time.Millisecond), scaled(2*time.Second)))
		wg.Go(func() { report[i] = r.deliver(t, v.name, i == 0, begin, first) })
	}
	wg.Wait()
	text := strings.Join(report, "\n")
	fmt.Fprintln(os.Stderr, "| mode | packs done | time | packs/s | calls | too fast | sent twice | person's scan p50 / p99, idle | during |\n|---|---|---|---|---|---|---|---|---|\n"+text)
}

// scaled is a duration in the test's time.
func scaled(d time.Duration) time.Duration { return d / time.Duration(*scale) }

// deliver publishes the delivery and waits until it is done, or until auto is and this
// one can only be slower.
func (r *testRig) deliver(t *testing.T, name string, auto bool, begin, first chan struct{}) string {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := make(chan outcome, *delivery)
	go r.follow(ctx, seen)
	r.startWorker()
	idle, busy := "", ""
	people, neighbour := newPeople(r, 0), newPeople(r, 1)
	if auto {
		idle = people.scan(t, seen, 60) + "; other account " + neighbour.scan(t, seen, 60)
		close(begin)
	}
	<-begin
	began := time.Now()
	scans := scansOf("delivery", *delivery)
	for i := range scans {
		scans[i].Site = r.sites[0]
	}
	r.publish(scans)
	if auto {
		go people.every(ctx, scaled(2*time.Second))
		go neighbour.every(ctx, scaled(2*time.Second))
	}
	done, stop := 0, first
	if auto {
		stop = nil
	}
	for done < *delivery {
		select {
		case o := <-seen:
			if !people.got(o) && !neighbour.got(o) {
				done++
			}
			continue
		case <-time.After(5 * time.Minute):
			t.Errorf("%s: no outcome for 5 minutes, %d packs done", name, done)
		case <-stop:
		}
		break
	}
	took := time.Since(began)
	if auto {
		busy = people.result() + "; other account " + neighbour.result()
		close(first)
	}
	c, err := r.counts()
	if err != nil {
		t.Error(err)
	}
	if c.SentTwice != 0 || c.TooFast != 0 {
		t.Errorf("%s: %d sent twice, %d frequency violations", name, c.SentTwice, c.TooFast)
	}
	if auto && c.changed() < *delivery {
		t.Errorf("%d packs were changed: the others' outcomes are no work", c.changed())
	}
	if !auto && done >= *delivery {
		t.Errorf("%s was not slower than auto", name)
	}
	return fmt.Sprintf("| %s | %d | %s | %.1f | %v | %d | %d | %s | %s |", name, done, took.Round(time.Second), float64(done)/took.Seconds(), c.Calls, c.TooFast, c.SentTwice, idle, busy)
}

// people are persons at a scanner: one scan at a time, measured from the moment it is
// published to its outcome.
type people struct {
	r    *testRig
	i    int        // of the site
	mu   sync.Mutex // guards the rest
	n    int
	sent map[string]time.Time
	h    *hdrhistogram.Histogram
}

func newPeople(r *testRig, i int) *people {
	return &people{r: r, i: i, sent: map[string]time.Time{}, h: hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)}
}

func (p *people) one(ctx context.Context) {
	p.mu.Lock()
	p.n++
	s := scanOf("person-"+p.r.sites[p.i], 2*p.n+p.i) // serials p..., where the delivery's are d...
	s.Site, s.Device = p.r.sites[p.i], "douchette"
	p.sent[s.ID] = time.Now()
	p.mu.Unlock()
	_, _ = p.r.conn.PublishScan(ctx, s.Site, s.Device, s.ID, s.Body)
}

func (p *people) every(ctx context.Context, d time.Duration) {
	for tick := time.NewTicker(d); ; {
		select {
		case <-tick.C:
			p.one(ctx)
		case <-ctx.Done():
			tick.Stop()
			return
		}
	}
}

// got takes an outcome that is one of ours.
func (p *people) got(o outcome) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.sent[o.id]
	if ok {
		_ = p.h.RecordValue(o.at.Sub(at).Microseconds())
	}
	return ok
}

func (p *people) result() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := fmt.Sprintf("%d / %d ms (%d scans)", p.h.ValueAtQuantile(50)/1000, p.h.ValueAtQuantile(99)/1000, p.h.TotalCount())
	p.h.Reset()
	return s
}

// scan measures n scans on an idle line, one a second.
func (p *people) scan(t *testing.T, seen <-chan outcome, n int) string {
	time.Sleep(3 * time.Second) // the limiter begins without a full bucket
	for range n {
		p.one(t.Context())
		select {
		case o := <-seen:
			p.got(o)
		case <-time.After(time.Minute):
			t.Error("no outcome for a minute on an idle line")
			return ""
		}
		time.Sleep(scaled(time.Second))
	}
	return p.result()
}
