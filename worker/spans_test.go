package worker

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"decom/nmvs"
	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// tracer takes every scan that carries a traceparent, and others by sample.
type tracer struct {
	sample func() string // nil: none

	mu    sync.Mutex
	spans []Span // guarded by mu
}

func (r *tracer) Begin(trace, account string, stored time.Time) string {
	if account != acc || stored.IsZero() {
		panic(fmt.Sprintf("a scan of account %q, stored at %v", account, stored))
	}
	if trace == "" && r.sample != nil {
		return r.sample()
	}
	return trace
}

func (r *tracer) Tell(s Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans = append(r.spans, s)
}

// steps are the spans of one trace, in order of their ends.
func (r *tracer) steps(parent string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var words []string
	for _, s := range r.spans {
		if slices.Contains(s.Parents, parent) {
			words = append(words, strings.Join(strings.Fields(s.Step+" "+s.Service+" "+s.Class), ":"))
		}
	}
	return strings.Join(words, " ")
}

// traced publishes a scan with a traceparent.
func (w *world) traced(serial, trace string) event {
	e, n := w.scanned("d1", serial, scan.Supply)
	seq := w.publishTraced(e, trace)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events[n].seq = seq
	return w.events[n]
}

// carried are the traceparents of the stored outcomes, by event.
func (w *world) carried() map[string]string {
	m := map[string]string{}
	for _, o := range w.broker.Stored() {
		m[o.EventID] = o.Trace
	}
	return m
}

const wholeTrace = "view append call:single:success append outcome:done"

func TestATraceOfTheRobotIsToldFromViewToOutcome(t *testing.T) {
	line(t, func(w *world) {
		r := &tracer{}
		w.tracer = r
		w.start("w1", 0)
		e := w.traced("S1", "T1")
		plain := w.scan("d1", "S2", scan.Supply)
		w.settle(time.Minute)
		w.want(e, "done")
		w.want(plain, "done")
		if got := r.steps("T1"); got != wholeTrace {
			t.Errorf("told of %s, want %s", got, wholeTrace)
		}
		if got := w.carried(); got[e.id] != "T1" || got[plain.id] != "" {
			t.Errorf("outcomes carry %q", got)
		}
		for i, s := range r.spans {
			if len(s.Parents) != 1 || s.Account != acc || s.Packs < 1 || s.End.Before(s.Begin) || s.Begin.Before(w.began) {
				t.Errorf("span %+v", s)
			}
			if i > 0 && s.Step != StepView && s.Begin.Before(r.spans[i-1].Begin) {
				t.Errorf("%s begins before %s", s.Step, r.spans[i-1].Step)
			}
			if (s.Seq > 0) != (s.Step == StepAppend || s.Step == StepOutcome) {
				t.Errorf("%s names record %d", s.Step, s.Seq)
			}
		}
		w.procs[0].acc.traces.mu.Lock()
		defer w.procs[0].acc.traces.mu.Unlock()
		if n := len(w.procs[0].acc.traces.parents); n != 0 {
			t.Errorf("%d traces are kept after their outcomes", n)
		}
	})
}

func TestScansThatShareABulkKeepATraceEach(t *testing.T) {
	line(t, func(w *world) {
		r := &tracer{}
		w.tracer, w.cfg.Mode, w.cfg.UseBulk = r, ModeBulk, true
		w.start("w1", 0)
		for i := range 20 { // the first bulks are small
			w.scan("d1", fmt.Sprint("P", i), scan.Supply)
		}
		w.settle(time.Minute)
		a, b, plain := w.traced("S1", "T1"), w.traced("S2", "T2"), w.scan("d1", "S3", scan.Supply)
		w.settle(time.Minute)
		for _, e := range []event{a, b, plain} {
			w.want(e, "done")
		}
		for _, trace := range []string{"T1", "T2"} {
			got := r.steps(trace)
			if !strings.HasPrefix(got, "view append call:bulk:success call:poll:") || !strings.HasSuffix(got, " append outcome:done") {
				t.Errorf("of %s was told %s", trace, got)
			}
		}
		if got := w.carried(); got[a.id] != "T1" || got[b.id] != "T2" || got[plain.id] != "" {
			t.Errorf("outcomes carry %q", got)
		}
		if !slices.ContainsFunc(r.spans, func(s Span) bool {
			return s.Step == StepCall && s.Service == "bulk" && slices.Equal(s.Parents, []string{"T1", "T2"}) && s.Packs == 3
		}) {
			t.Errorf("no bulk of three packs, two of them traced: %+v", r.spans)
		}
	})
}

func TestAScanWithoutTraceIsToldOnlyWhenItIsSampled(t *testing.T) {
	for _, tt := range []struct {
		name   string
		sample func() string
		want   string
	}{{"not", nil, ""}, {"sampled", func() string { return "R1" }, wholeTrace}} {
		t.Run(tt.name, func(t *testing.T) {
			line(t, func(w *world) {
				r := &tracer{sample: tt.sample}
				w.tracer = r
				w.start("w1", 0)
				e := w.scan("d1", "S1", scan.Supply)
				w.settle(time.Minute)
				w.want(e, "done")
				if got := r.steps("R1"); got != tt.want || tt.want == "" && len(r.spans) > 0 {
					t.Errorf("told of %q, want %q; spans %+v", got, tt.want, r.spans)
				}
				if got := w.carried()[e.id]; (got == "R1") != (tt.want != "") {
					t.Errorf("the outcome carries %q", got)
				}
			})
		})
	}
}

// TestARejectedScanAndAVerifyAreTracedToo: what is never sent, and what is only read.
func TestARejectedScanAndAVerifyAreTracedToo(t *testing.T) {
	line(t, func(w *world) {
		r := &tracer{}
		w.tracer = r
		w.start("w1", 0)
		_, err := w.dev.PublishScans(t.Context(), []queue.Scan{{Site: site, Device: "d1", ID: "bad", Body: []byte("{}"), Trace: "T1"}})
		if err != nil {
			t.Fatal(err)
		}
		e, _ := w.scanned("d1", "S1", scan.Verify)
		w.publishTraced(e, "T2")
		w.during(time.Minute)
		if got := r.steps("T1"); got != "view append outcome:rejected" {
			t.Errorf("of a rejected scan was told %s", got)
		}
		if got := r.steps("T2"); !strings.HasPrefix(got, "view call:verify:") || !strings.HasSuffix(got, "append outcome:done") {
			t.Errorf("of a verify was told %s", got)
		}
	})
}

// TestACrashLosesTheEndOfATraceAndNoOutcome: what is traced is known to one process only.
func TestACrashLosesTheEndOfATraceAndNoOutcome(t *testing.T) {
	line(t, func(w *world) {
		r := &tracer{}
		w.tracer, w.cfg.Settle = r, E4
		var once sync.Once
		w.onStep(func(p *process, step string) {
			if step == "S8" {
				once.Do(p.kill)
			}
		})
		w.start("w1", 0)
		e := w.traced("S1", "T1")
		w.during(time.Second)
		w.start("w2", 0)
		w.settle(time.Hour)
		w.want(e, "done/confirmed")
		if got := r.steps("T1"); got != "view append call:single:success" {
			t.Errorf("told of %s", got)
		}
		if got := w.carried()[e.id]; got != "" {
			t.Errorf("the outcome carries %q, from where?", got)
		}
	})
}

func TestNobodyTracingCostsNoAllocation(t *testing.T) {
	var none *Traces = newTraces(nil, acc)
	p, err := scan.NewPack(scan.GTIN, gtin, "S1", testLot, testExp)
	if err != nil {
		t.Fatal(err)
	}
	d := queue.NewWatched(scan.Meta{}, nil, "T1")
	rec := &ledger.Record{Note: []ledger.Note{{Pack: &p}}, Open: []ledger.Open{{Packs: make([]ledger.OpenPack, 3)}}}
	book, items, packs := ledger.NewBook(), make([]item, 3), make([]ledger.OpenPack, 3)
	dr, outs, now, e := &draft{}, make([]said, 3), time.Now(), scan.Event{Meta: scan.Meta{Site: site, Device: "d1"}, ID: "e1"}
	if n := testing.AllocsPerRun(100, func() {
		_ = none.begin(d, &e)
		none.viewed(now, items, 3)
		none.appended(now, none.inRecord(rec, book), dr, nil)
		none.called(now, "single", nmvs.Success, packs)
		none.read(now, none.ofOrigin(&packs[0].Origin), nmvs.Success)
		_ = none.of(site, "d1", "e1")
		none.ended(now, 1, outs)
	}); n != 0 {
		t.Errorf("%v allocations a scan", n)
	}
}

func TestTracesOfScansThatNeverEndAreForgotten(t *testing.T) {
	tr := newTraces(&tracer{}, acc)
	for i := range tracesKept + 100 {
		tr.keep(tracedScan{site, "d1", fmt.Sprint(i)}, "T")
	}
	if n := len(tr.parents); n != tracesKept || len(tr.order) != tracesKept {
		t.Errorf("%d traces are kept, %d in order", n, len(tr.order))
	}
	if tr.of(site, "d1", "99") != "" || tr.of(site, "d1", "100") == "" {
		t.Error("not the oldest ones were forgotten")
	}
}
