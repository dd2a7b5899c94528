package worker

import (
	"context"
	"testing"
	"time"

	"decom/ratelimit"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// What stands here was found by the simulation (bench/results/faults.md), and is kept away
// by the shortest schedule that shows it.

// TestAVerifiedScanFindsATokenForItsOpen: under settle e3 the verify takes a token; where
// there is one at a time, the open must still get its own.
func TestAVerifiedScanFindsATokenForItsOpen(t *testing.T) {
	for _, mode := range []Mode{ModeSingle, ModeBulk, ModeMixed, ModeAuto} {
		t.Run(string(mode), func(t *testing.T) {
			line(t, func(w *world) {
				w.rate = ratelimit.Rate{N: 1, Per: time.Second}
				w.cfg.Parallel, w.cfg.Settle, w.cfg.Mode = 1, E3, mode
				w.cfg.UseBulk, w.cfg.UseMixed, w.cfg.BulkFrom = true, true, 2
				w.start("w0", 0)
				all := w.mixed()
				w.settle(10 * time.Minute)
				for _, e := range all {
					w.want(e, "done")
				}
			})
		})
	}
}

// TestWhatNoBulkCarriesGoesSingle: verifies and undos, in every mode, though bulks want
// the only slot.
func TestWhatNoBulkCarriesGoesSingle(t *testing.T) {
	for _, c := range []Config{{Mode: ModeBulk, UseBulk: true}, {Mode: ModeMixed, UseMixed: true}, {Mode: ModeAuto, UseBulk: true}} {
		t.Run(string(c.Mode), func(t *testing.T) {
			line(t, func(w *world) {
				w.cfg.Parallel, w.cfg.Mode, w.cfg.UseBulk, w.cfg.UseMixed, w.cfg.BulkFrom = 1, c.Mode, c.UseBulk, c.UseMixed, 1
				w.start("w0", 0)
				all := w.mixed()
				w.settle(10 * time.Minute)
				for _, serial := range []string{"S1", "S2", "S3"} {
					all = append(all, w.scan("d1", serial, scan.Verify), w.scan("d2", serial, scan.Verify))
				}
				w.during(10 * time.Second)
				for _, serial := range []string{"S1", "S2", "S3"} {
					all = append(all, w.scan("d1", serial, scan.UndoSupply))
				}
				w.settle(10 * time.Minute)
				for _, e := range all {
					w.want(e, "done")
				}
			})
		})
	}
}

// TestAnUndoAfterAProbeCitesTheChangeItself: the first attempt changed the pack, the probe
// only proved it; NMVS refuses an undo that cites the probe.
func TestAnUndoAfterAProbeCitesTheChangeItself(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.Tolerance, w.reg.tolerance = 1, 1
		w.start("w0", 0)
		w.reg.next(fate{mute: true})
		e := w.scan("d1", "S1", scan.Supply)
		w.settle(time.Hour)
		w.want(e, "done/confirmed")
		w.during(10 * time.Minute)
		undo := w.scan("d1", "S1", scan.UndoSupply)
		w.settle(time.Hour)
		w.want(undo, "done")
	})
}

// TestARefusedProbeLeavesThePackToAPerson: it was seen inactive after our own doubtful send; that NMVS
// refuses the probe as recalled does not make it free (seed 18040).
func TestARefusedProbeLeavesThePackToAPerson(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.Tolerance, w.reg.tolerance = 1, 1
		w.start("w0", 0)
		w.reg.next(fate{mute: true}, fate{code: "NMVS_FE_LOT_01"})
		e := w.scan("d1", "S1", scan.Supply)
		w.settle(time.Hour)
		w.want(e, "unresolved/no_evidence")
	})
	a := &ledger.Answer{Result: scan.Refused, Reason: scan.ExpiredPack}
	if got := probeRefused(ledger.State{Probe: true}, a); got.Result != scan.Unresolved {
		t.Errorf("a probe that our own rules withdraw: %s", got.Result)
	}
	if got := probeRefused(ledger.State{}, a); got != a {
		t.Errorf("no probe: %s", got.Result)
	}
}

// TestAVerifyBeforeAnOpenIsNoOutcome: two scans of one pack are verified at once under
// settle e3; the second one is refused by then, and must not be told as done.
func TestAVerifyBeforeAnOpenIsNoOutcome(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.Settle = E3
		w.start("w0", 0)
		supply := w.scan("d1", "S1", scan.Supply)
		w.during(time.Millisecond)
		destroy := w.scan("d1", "S1", scan.Destroy)
		w.settle(time.Hour)
		w.want(supply, "done")
		w.want(destroy, "refused/inactive")
	})
}

// TestAParkAfterLossNamesTheAttempt: the ledger still holds the open, its result is lost. The
// park must be the attempt's final word, or the outbox tells nobody.
func TestAParkAfterLossNamesTheAttempt(t *testing.T) {
	line(t, func(w *world) {
		w.start("w0", 0)
		w.reg.next(fate{slow: 10 * time.Second})
		w.scan("d1", "S1", scan.Supply)
		w.during(5 * time.Second) // opened and sent
		opened := len(w.broker.Records(acc))
		w.during(10 * time.Second)
		w.lose(len(w.broker.Records(acc))-opened, false)
		if _, err := ResumeAfterLoss(context.Background(), w.resumer(), anna); err != nil {
			t.Fatal(err)
		}
		for _, f := range w.fold().facts {
			if f.Kind == ledger.Park && f.C != "" && f.Of == 1 {
				return
			}
		}
		t.Error("no park of the attempt")
	})
}

// TestAScanThatNoBulkIsWorthGoesSingle: a fetch asked for a bulk, brought one scan, and no
// token of the single service. It takes one, or it would go back to the stream each time.
func TestAScanThatNoBulkIsWorthGoesSingle(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.Mode, w.cfg.UseMixed, w.cfg.Parallel = ModeAuto, true, 1
		p := w.start("w0", 0)
		w.during(time.Second)
		p.drain()
		p.acc.draining.Store(false)
		l := newLoop(p.acc)
		l.book = ledger.NewBook()
		l.lanes.backlog, l.lanes.asked = 5000, 8
		l.items = []item{{Delivery: settled{}, e: said1("d1", "e1", scan.Supply, noon), p: w.packOf("S1")}}
		d, err := l.draft(context.Background(), l.keys(nil), ledger.States{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(d.rec.Open) != 1 || len(d.back) != 0 {
			t.Errorf("%d opened, %d sent back", len(d.rec.Open), len(d.back))
		}
	})
}
