package worker

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"decom/nmvs"
	"decom/ratelimit"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// delivered is how one mode works off a delivery under a small quota: 300 ms a call, 5 single calls a second, 6 bulks a
// minute, and a person who scans a pack every other second meanwhile.
type delivered struct {
	took    time.Duration
	done    int           // packs of the delivery
	bulks   []int         // packs of each, in order
	singles int           // calls
	slowest time.Duration // scan to outcome, of the person's scans
}

// personEvery is no multiple of the quota's interval: sooner or later a scan comes while another waits for its token.
const personEvery = 1993 * time.Millisecond

// deliver gives up after limit, if that is not 0.
func deliver(t *testing.T, mode Mode, batch, packs int, limit time.Duration) (d delivered) {
	line(t, func(w *world) {
		w.cfg.Mode, w.cfg.Batch, w.cfg.UseMixed, w.cfg.UseBulk = mode, batch, true, true
		w.limits = map[string]ratelimit.Rate{"single": {N: 5, Per: time.Second}, "bulk": {N: 6, Per: time.Minute}}
		w.reg.always(fate{slow: 300*time.Millisecond - 3*netTime})
		began := time.Now()
		for i := range packs {
			w.scan("d", fmt.Sprintf("S%05d", i), scan.Supply)
		}
		w.start("w", 0)
		scanned := map[string]time.Time{}
		n := 0
		for d.done < packs && (limit == 0 || time.Since(began) < limit) {
			e := w.scan("person", fmt.Sprintf("P%05d", n), scan.Supply)
			if time.Since(began) > 10*time.Second { // from then on it is seen that a delivery waits
				scanned[e.id] = time.Now()
			}
			n++
			w.during(personEvery)
			d.done = len(w.broker.Stored()) - n
			d.took = time.Since(began)
		}
		for _, o := range w.broker.Stored() {
			if at, ok := scanned[o.EventID]; ok {
				d.slowest = max(d.slowest, o.Time.Sub(at))
			}
		}
		w.reg.mu.Lock()
		defer w.reg.mu.Unlock()
		for _, c := range w.reg.changes {
			if c.Service == nmvs.Single {
				d.singles++
			} else {
				d.bulks = append(d.bulks, len(c.Packs))
			}
		}
	})
	return d
}

// The fixed modes are what a user would choose instead: auto must beat each, and its bulks must be as full as if
// nothing went single beside them.
func TestAutoWorksADeliveryOffFasterThanAnyFixedMode(t *testing.T) {
	const packs, batch = 3_000, 200
	auto := deliver(t, ModeAuto, batch, packs, 0)
	t.Logf("auto: %+v", auto)
	if grown := slices.Index(auto.bulks, batch); grown < 0 || grown > 8 {
		t.Errorf("the bulks grew to %v, never or late to %d", auto.bulks, batch)
	} else if last := len(auto.bulks) - 1; slices.ContainsFunc(auto.bulks[grown:last], func(n int) bool { return n < batch-4 }) {
		t.Errorf("a bulk left nearly empty while scans waited: %v", auto.bulks)
	}
	if auto.slowest > 2*time.Second {
		t.Errorf("a person waited %v", auto.slowest)
	}
	fixed := map[string]int{"mixed 200": batch, "mixed 20": 20, "single": 0}
	for name, size := range fixed {
		mode := ModeMixed
		if size == 0 {
			mode, size = ModeSingle, 1
		}
		d := deliver(t, mode, size, packs, auto.took)
		t.Logf("%s, cut off after that time: %d bulks, %d single calls, %d packs done", name, len(d.bulks), d.singles, d.done)
		if d.done >= packs {
			t.Errorf("%s was not slower than auto, which took %v", name, auto.took)
		}
	}
}

// A bulk is one of six a minute: it must not be spent on a scan or two that found no token while thousands wait.
func TestABulkIsNotSpentOnScansItWasNotFetchedFor(t *testing.T) {
	for _, test := range []struct {
		name       string
		backlog    uint64
		asked      int
		candidates int
		want       bool
	}{
		{"a person's scan, idle", 0, 0, 1, false},
		{"a person's scan beside a fetched one, while thousands wait", 5000, 0, 2, false},
		{"to fetch for, while thousands wait", 5000, 0, 0, true},
		{"to fetch for, when few wait", 3, 0, 0, false},
		{"the first bulk after a start", 5000, 1, 1, true},
		{"a full one", 5000, 200, 203, true},
		{"what was left of the delivery, more than single calls take", 0, 200, 40, true},
		{"what was left of the delivery, few", 0, 200, 3, false},
		{"more due packs than single calls take", 0, 0, 40, true},
	} {
		l := &loop{cfg: Config{Mode: ModeAuto, UseMixed: true}.withDefaults()}
		l.lanes.backlog, l.lanes.asked = test.backlog, test.asked
		if got := l.wantBulk(test.candidates); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// admits is an NMVS of which only the breakers are asked.
type admits map[nmvs.Service]int

func (a admits) Admit(svc nmvs.Service) int { return a[svc] }
func (admits) Digest(nmvs.Call) string      { return "" }
func (admits) Do(context.Context, nmvs.Call) (ans nmvs.Answer, err error) {
	return ans, nmvs.ErrTimeout
}

// Two services carry bulks: while one is away the other does what it can, and what comes back begins small.
func TestAnOutageOfOneBulkServiceLeavesTheOther(t *testing.T) {
	up := admits{nmvs.Bulk: 1, nmvs.Mixed: 1}
	l := &loop{Account: &Account{deps: Deps{NMVS: up}}, book: ledger.NewBook(),
		cfg: Config{Mode: ModeAuto, UseBulk: true, UseMixed: true}.withDefaults()}
	l.lanes.size = batchSize{now: 64, max: 500}
	alike := []opening{openingOf(t, "A", "LOT1"), openingOf(t, "B", "LOT1")}
	other := []opening{openingOf(t, "A", "LOT1"), openingOf(t, "B", "LOT2")}
	for _, step := range []struct {
		name                       string
		bulk, mixed                int
		free                       bool
		size                       int
		carriesAlike, carriesOther ledger.Service
		packs                      int // of other
	}{
		{"both", 1, 1, true, 64, ledger.Bulk, ledger.Mixed, 2},
		{"no plain bulk", 0, 1, true, 64, ledger.Mixed, ledger.Mixed, 2},
		{"plain bulk is back", 1, 1, true, 1, ledger.Bulk, ledger.Mixed, 2},
		{"no mixed bulk", 1, 0, true, 1, ledger.Bulk, ledger.Bulk, 1},
		{"none", 0, 0, false, 1, "", "", 0},
	} {
		up[nmvs.Bulk], up[nmvs.Mixed] = step.bulk, step.mixed
		if free := l.bulkLaneFree(); free != step.free || l.lanes.size.next() != step.size {
			t.Errorf("%s: lane free %v, next bulk of %d", step.name, free, l.lanes.size.next())
		}
		if !step.free {
			continue
		}
		if _, svc, _ := l.group(alike, 500); svc != step.carriesAlike {
			t.Errorf("%s: packs of one batch go %q", step.name, svc)
		}
		if group, svc, _ := l.group(other, 500); svc != step.carriesOther || len(group) != step.packs {
			t.Errorf("%s: %d packs of two batches go %q", step.name, len(group), svc)
		}
	}
}

func openingOf(t *testing.T, serial, batch string) opening {
	p := mustPack(t, serial, batch, "281100")
	return opening{p: p, op: ledger.OpenPack{Serial: serial, Origin: ledger.Origin{Op: scan.Supply}}}
}

// A bulk that was not sent leaves its packs due, older than all that waits in the stream: the next bulks are theirs,
// not only those after the delivery.
func TestDuePacksDoNotWaitForTheEndOfABacklog(t *testing.T) {
	for _, mode := range []Mode{ModeMixed, ModeBulk, ModeAuto} {
		t.Run(string(mode), func(t *testing.T) {
			line(t, func(w *world) {
				const batch = 8
				w.cfg.Mode, w.cfg.Batch, w.cfg.UseMixed, w.cfg.UseBulk = mode, batch, true, true
				w.limits = map[string]ratelimit.Rate{"single": {N: 1, Per: 10 * time.Second}, "bulk": {N: 20, Per: time.Second}}
				for i := range 4000 {
					w.scan("d", fmt.Sprintf("S%05d", i), scan.Supply)
				}
				w.start("w", 0)
				w.during(30 * time.Second)
				dues := func() (n int) {
					w.peek(func(f *folded) {
						for _, s := range f.states {
							if s.Phase == ledger.Due {
								n++
							}
						}
					})
					return n
				}
				w.reg.next(fate{dial: true})
				most := 0
				for range 200 {
					w.during(100 * time.Millisecond)
					most = max(most, dues())
				}
				w.during(time.Minute)
				if left := w.broker.Left(acc); most == 0 || left < 10*batch {
					t.Fatalf("nothing is shown: %d packs were due, %d scans left", most, left)
				} else if due := dues(); due > 0 {
					t.Errorf("%d packs are still due after a minute, beside %d scans that wait", due, left)
				}
			})
		})
	}
}
