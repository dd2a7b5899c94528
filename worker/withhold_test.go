package worker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"decom/queue/queuetest"
	"decom/worker/ledger"
	"decom/worker/scan"
)

var (
	missingScope = ledger.Scope{Lot: ledger.Lot{Scheme: scan.GTIN, Code: gtin, Batch: missingLot}}
	badDevice    = ledger.Scope{Device: site + "/bad"}
)

// withholds are the withhold facts on the ledger: by decom, and all.
func (w *world) withholds() (auto, all int) {
	for _, f := range w.fold().facts {
		if f.Kind == ledger.Withhold {
			all++
			if f.Who == Auto {
				auto++
			}
		}
	}
	return auto, all
}

// unknowns counts the answers of NMVS that it does not know a serial.
func (w *world) unknowns() (n int) {
	w.peek(func(f *folded) {
		for i := range f.facts {
			for _, p := range f.facts[i].Packs {
				if p.Answer != nil && p.Reason == scan.UnknownSerial {
					n++
				}
			}
		}
	})
	return n
}

func (w *world) setMissing(missing bool) {
	w.reg.mu.Lock()
	defer w.reg.mu.Unlock()
	w.reg.missing = missing
}

func (w *world) setWithheld(s ledger.Scope, length time.Duration) {
	w.t.Helper()
	var until time.Time
	if length != 0 {
		until = time.Now().Add(length)
	}
	if _, err := SetWithheld(context.Background(), w.dev.Ledger(acc), w.store, acc, s, until, anna); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) free(s ledger.Scope) {
	w.t.Helper()
	if _, err := FreeWithheld(context.Background(), w.dev.Ledger(acc), w.store, acc, s, anna); err != nil {
		w.t.Fatal(err)
	}
}

// withheldKept holds the ledger to what is withheld: no attempt of it is opened by a record
// behind the fact. It returns how many records stand behind one.
func (w *world) withheldKept() (behind int) {
	w.t.Helper()
	var c ledger.Controls
	for _, e := range w.broker.Records(acc) {
		r, err := ledger.Decode(e.Payload, acc)
		if err != nil {
			w.t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339Nano, r.At)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(c.Withholds(at)) > 0 {
			behind++
		}
		for i := range r.Open {
			for j := range r.Open[i].Packs {
				p, err := r.Open[i].Pack(j)
				if err != nil {
					w.t.Fatal(err)
				}
				if src := r.Open[i].Packs[j].Src; c.Withholding(ledger.Scope{Lot: ledger.LotOf(p)}, at) || c.Withholding(ledger.Scope{Device: src}, at) {
					w.t.Errorf("WITHHELD: record %d of %s opens pack %s of %s, which is withheld", e.Seq, r.By, p.ID(), src)
				}
			}
		}
		c.Add(e.Seq, r)
	}
	return behind
}

// wordsOf counts the events' outcomes by result/reason; "" is none.
func (w *world) wordsOf(es []event) map[string]int {
	outs, n := w.outcomes(), map[string]int{}
	for _, e := range es {
		if len(outs[e.id]) == 0 {
			n[""]++
			continue
		}
		n[string(outs[e.id][0].Result)+"/"+string(outs[e.id][0].Reason)]++
	}
	return n
}

// readWell has a device decommission packs of another batch.
func (w *world) readWell(device string, n int) {
	w.t.Helper()
	for i := range n {
		w.scan(device, fmt.Sprint("S", device, i), scan.Supply)
	}
	w.settle(time.Hour)
}

// TestAMissingUploadIsWithheldAtOnceAndGoesOnWhenItIsFreed: 120 packs of a batch that nobody
// uploaded cost a handful of calls and alerts and one fact of one of two processes; other
// packs go on meanwhile, and the rest of the batch when a person frees it.
func TestAMissingUploadIsWithheldAtOnceAndGoesOnWhenItIsFreed(t *testing.T) {
	for _, mode := range []Mode{ModeSingle, ModeBulk, ModeAuto} {
		t.Run(string(mode), func(t *testing.T) {
			line(t, func(w *world) {
				w.cfg.Mode, w.cfg.UseMixed, w.cfg.UseBulk, w.cfg.Parallel = mode, mode != ModeBulk, true, 4
				w.setMissing(true)
				w.start("w1", 0)
				w.start("w2", 1)
				w.readWell("d1", 3)
				var waiting []event
				for i := range 120 {
					waiting = append(waiting, w.scan("d1", fmt.Sprint("M", i), scan.Supply))
				}
				w.during(5 * time.Minute)
				alerts := w.reg.alertsRaised()
				if alerts < missingPacks || alerts > 8 {
					t.Errorf("%d alerts were raised, want %d to 8", alerts, missingPacks)
				}
				other := w.scan("d1", "S-other", scan.Supply)
				w.during(20 * time.Minute)
				w.want(other, "done")
				if n := w.reg.alertsRaised(); n != alerts {
					t.Errorf("%d alerts more while the batch is withheld", n-alerts)
				}
				if auto, all := w.withholds(); auto != 1 || all != 1 {
					t.Errorf("%d withhold facts, %d by the loops, want one", all, auto)
				}
				if left := w.broker.Left(acc); left != len(waiting)-alerts {
					t.Errorf("%d scans wait, want %d", left, len(waiting)-alerts)
				}
				w.setMissing(false)
				w.free(missingScope)
				w.settle(time.Hour)
				if done := w.wordsOf(waiting)["done/"]; done != len(waiting)-alerts {
					t.Errorf("%d are done after all, want %d", done, len(waiting)-alerts)
				}
				if w.withheldKept() == 0 {
					t.Error("no record stands behind the fact: this proves nothing")
				}
			})
		})
	}
}

// TestAFreedBatchThatIsStillMissingIsWithheldAgain, by three more packs.
func TestAFreedBatchThatIsStillMissingIsWithheldAgain(t *testing.T) {
	line(t, func(w *world) {
		w.setMissing(true)
		w.start("w1", 0)
		w.readWell("d1", 3)
		for i := range 50 {
			w.scan("d1", fmt.Sprint("M", i), scan.Supply)
		}
		w.during(10 * time.Minute)
		first := w.reg.alertsRaised()
		w.readWellMeanwhile("d1", 3)
		w.free(missingScope)
		w.during(time.Hour)
		auto, _ := w.withholds()
		if second := w.reg.alertsRaised() - first; auto != 2 || second < missingPacks || second > missingPacks+suspectPacks-1 {
			t.Errorf("%d facts, %d alerts more after it was freed", auto, second)
		}
		w.setMissing(false)
		w.free(missingScope)
		w.settle(time.Hour)
		w.withheldKept()
	})
}

// readWellMeanwhile is readWell while other scans wait.
func (w *world) readWellMeanwhile(device string, n int) {
	for i := range n {
		w.scan(device, fmt.Sprint("Sx", device, i), scan.Supply)
	}
	w.during(time.Minute)
}

// TestAWithholdIsWrittenWhateverBefallsItsAppend: it fails without effect, or takes effect and the
// answer is lost, or arrives late; its process ends between the third answer and the fact. One
// fact stands in the end, and nothing more of the batch was sent than was on its way.
func TestAWithholdIsWrittenWhateverBefallsItsAppend(t *testing.T) {
	faults := map[string]func(w *world, p *process){
		"fails":  func(w *world, _ *process) { w.broker.Fail(queuetest.AppendFails, 1) },
		"lost":   func(w *world, _ *process) { w.broker.Fail(queuetest.AppendNot, 1) },
		"stored": func(w *world, _ *process) { w.broker.Fail(queuetest.AppendStored, 1) },
		"late":   func(w *world, _ *process) { w.broker.Fail(queuetest.AppendLate, 1) },
		"killed": func(_ *world, p *process) { p.kill() },
		"killed, Redis empty": func(w *world, p *process) {
			p.kill()
			w.store.Lose()
		},
	}
	for name, fault := range faults {
		for _, workers := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, %d workers", name, workers), func(t *testing.T) {
				line(t, func(w *world) {
					w.cfg.Mode, w.cfg.Parallel = ModeSingle, 2
					w.setMissing(true)
					for i := range workers {
						w.start(fmt.Sprint("w", i+1), i)
					}
					w.readWell("d1", 3)
					var struck atomic.Bool
					w.onStep(func(p *process, step string) {
						if step != "S4" || struck.Load() || w.unknowns() < missingPacks {
							return
						}
						if _, all := w.withholds(); all == 0 && !struck.Swap(true) {
							fault(w, p)
						}
					})
					for i := range 20 {
						w.scan("d1", fmt.Sprint("M", i), scan.Supply)
					}
					w.during(2 * time.Minute)
					if !struck.Load() {
						t.Fatal("the fault did not strike: this proves nothing")
					}
					if workers == 1 {
						w.start("later", 0)
					}
					w.during(3 * time.Minute)
					auto, all := w.withholds()
					if alerts := w.reg.alertsRaised(); auto != 1 || all != 1 || alerts > 6 {
						t.Errorf("%d facts, %d alerts, want one and 6 at most", all, alerts)
					}
					w.setMissing(false)
					w.free(missingScope)
					w.settle(2 * time.Hour)
					if w.withheldKept() == 0 {
						t.Error("no record stands behind the fact")
					}
				})
			})
		}
	}
}

// TestAFaultyDeviceIsStoppedAloneAndAnsweredWhereItNeedsNoCall: one of three mangles each second
// scan. Its scans wait, what needs no call is answered, the others' packs are done.
func TestAFaultyDeviceIsStoppedAloneAndAnsweredWhereItNeedsNoCall(t *testing.T) {
	line(t, func(w *world) {
		w.start("w1", 0)
		w.start("w2", 1)
		var good []event
		for i := range 20 {
			for _, d := range []string{"one", "two", "bad"} {
				good = append(good, w.scan(d, fmt.Sprint("S", d, i), scan.Supply))
			}
		}
		w.settle(time.Hour)
		for i := range 15 {
			w.publishRaw("bad", fmt.Sprint("mangled", i), `{"id":"mangled`+fmt.Sprint(i)+`","scan":"not a code"}`)
		}
		w.during(time.Minute)
		if auto, all := w.withholds(); auto != 1 || all != 1 {
			t.Fatalf("%d withhold facts, %d by the loops, want one", all, auto)
		}
		waits := w.scan("bad", "Snew", scan.Supply)
		again := w.scan("bad", "Sbad0", scan.Supply) // its pack is done: a duplicate
		verify := w.scan("bad", "Sone0", scan.Verify)
		w.publishRaw("bad", "more", `{"id":"more","scan":"not a code"}`)
		for i := range 10 {
			good = append(good, w.scan("one", fmt.Sprint("Tone", i), scan.Supply), w.scan("two", fmt.Sprint("Ttwo", i), scan.Supply))
		}
		w.during(10 * time.Minute)
		for _, e := range good {
			w.want(e, "done")
		}
		w.want(again, "duplicate/suspect_copy")
		w.want(verify, "done")
		if w.outcome(waits) != "" || w.broker.Left(acc) != 1 || len(w.outcomes()["more"]) != 1 {
			t.Errorf("the withheld scan has outcome %q, %d scans wait, %d outcomes of a scan that cannot be read", w.outcome(waits), w.broker.Left(acc), len(w.outcomes()["more"]))
		}
		w.free(badDevice)
		w.settle(time.Hour)
		w.want(waits, "done")
		w.withheldKept()
	})
}

// TestPastHalfOfWhatMayWaitWithheldScansAreRefused, so that they never stop the account; those that
// wait keep their place, and go on when they may.
func TestPastHalfOfWhatMayWaitWithheldScansAreRefused(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.MaxHeld = 20
		w.start("w1", 0)
		w.setWithheld(missingScope, 0)
		var es []event
		for i := range 100 {
			es = append(es, w.scan("d1", fmt.Sprint("M", i), scan.Supply))
		}
		w.during(time.Hour)
		words := w.wordsOf(es)
		waits, refused := words[""], words["refused/batch_withheld"]
		if waits != 10 || refused != 90 || w.changes() != 0 {
			t.Errorf("%d wait, %d are refused, %d calls; want 10, 90 and 0", waits, refused, w.changes())
		}
		e := w.scan("d1", "S1", scan.Supply)
		w.during(time.Minute)
		w.want(e, "done")
		w.free(missingScope)
		w.during(time.Hour)
		if done := w.wordsOf(es)["done/"]; done != waits {
			t.Errorf("%d of %d that waited are done", done, waits)
		}
		if w.scan("d1", "M99", scan.Supply); true { // scanned again, as its answer says
			w.during(time.Minute)
		}
		if w.changes() != 12 {
			t.Errorf("%d calls, want 12", w.changes())
		}
		w.withheldKept()
	})
}

// TestOfAWithheldBatchOpenAttemptsEndAndDuePacksStay due, without keeping other due packs from
// being sent. A late answer is still settled by reads.
func TestOfAWithheldBatchOpenAttemptsEndAndDuePacksStay(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.Mode, w.cfg.Parallel, w.cfg.Settle = ModeSingle, 24, E4
		w.start("w1", 0)
		w.reg.next(fate{lost: true, repeat: 19}) // twenty calls whose answer is lost, and which are never executed
		var due []event
		for i := range 19 {
			due = append(due, w.scan("d1", fmt.Sprint("M", i), scan.Supply))
		}
		other := w.scan("d1", "S1", scan.Supply)
		for w.changes() < 20 {
			w.during(time.Second)
		}
		w.reg.next(fate{slow: 10 * time.Second})
		slow := w.scan("d1", "M50", scan.Supply)
		w.during(100 * time.Millisecond)
		w.setWithheld(missingScope, 0)
		w.control(ledger.Tune, 0, &ledger.Limits{Parallel: 2}) // few due packs are asked for at a time
		w.during(2 * time.Hour)
		w.want(slow, "done")
		w.want(other, "done")
		n := 0
		for _, e := range due {
			if w.outcome(e) != "" {
				t.Errorf("%s has the outcome %s", e.serial, w.outcome(e))
			}
			if w.fold().states[w.packOf(e.serial).ID()].Phase == ledger.Due {
				n++
			}
		}
		if n != len(due) {
			t.Errorf("%d packs are due, want %d", n, len(due))
		}
		w.free(missingScope)
		w.settle(2 * time.Hour)
		for _, e := range due {
			w.want(e, "done")
		}
		w.withheldKept()
	})
}

// TestARestartKeepsWhatIsWithheld, with Redis as it was, rolled back or empty, and as long as it was meant to last.
func TestARestartKeepsWhatIsWithheld(t *testing.T) {
	for _, redis := range []string{"as it was", "rolled back", "empty"} {
		t.Run(redis, func(t *testing.T) {
			line(t, func(w *world) {
				p := w.start("w1", 0)
				w.scan("d1", "S0", scan.Supply)
				w.settle(time.Minute)
				old := w.store.Save()
				w.setWithheld(missingScope, 27*time.Hour)
				w.setWithheld(badDevice, 0)
				w.during(5 * time.Second)
				w.scan("d1", "S1", scan.Supply)
				w.settle(time.Minute)
				p.kill()
				<-p.done
				switch redis {
				case "rolled back":
					w.store.RollBack(old)
				case "empty":
					w.store.Lose()
				}
				w.during(26 * time.Hour) // longer than a start looks back
				w.start("w2", 0)
				batch, device := w.scan("d1", "M1", scan.Supply), w.scan("bad", "S2", scan.Supply)
				w.during(30 * time.Minute)
				if w.outcome(batch) != "" || w.outcome(device) != "" {
					t.Errorf("outcomes %q and %q: the new process does not know what is withheld", w.outcome(batch), w.outcome(device))
				}
				w.during(time.Hour)
				if w.outcome(batch) != "done" || w.outcome(device) != "" {
					t.Errorf("outcomes %q and %q after the end of one of them", w.outcome(batch), w.outcome(device))
				}
				if _, err := FreeWithheld(context.Background(), w.dev.Ledger(acc), w.store, acc, missingScope, anna); !errors.Is(err, ErrNotWithheld) {
					t.Errorf("freed what is not withheld: %v", err)
				}
				w.free(badDevice)
				w.settle(time.Hour)
				w.want(device, "done")
				w.withheldKept()
			})
		})
	}
}

// TestALoneDeviceIsNotStopped: it has nobody to depart from.
func TestALoneDeviceIsNotStopped(t *testing.T) {
	line(t, func(w *world) {
		w.start("w1", 0)
		for i := range 60 {
			w.publishRaw("d1", fmt.Sprint("mangled", i), `{"scan":"not a code"}`)
		}
		w.settle(time.Hour)
		if _, all := w.withholds(); all != 0 {
			t.Errorf("%d withhold facts", all)
		}
	})
}
