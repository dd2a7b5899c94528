package worker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"decom/ratelimit"
	"decom/worker/ledger"
	"decom/worker/scan"
)

func (w *world) verifyFirst(on bool) uint64 {
	w.t.Helper()
	seq, err := SetVerifyFirst(context.Background(), w.dev.Ledger(acc), w.store, acc, on, anna)
	if err != nil {
		w.t.Fatal(err)
	}
	return seq
}

// TestWithBothStoresLostAPackIsVerifiedBeforeItsOpen [B14]: what we decommissioned before is
// not sent again, what is active is; until a person ends it. The registry holds ONCE.
func TestWithBothStoresLostAPackIsVerifiedBeforeItsOpen(t *testing.T) {
	for _, mode := range []Mode{ModeSingle, ModeBulk, ModeMixed, ModeAuto} {
		t.Run(string(mode), func(t *testing.T) {
			line(t, func(w *world) {
				w.cfg.Mode, w.cfg.UseBulk, w.cfg.UseMixed, w.cfg.BulkFrom = mode, true, true, 2
				old := w.start("w0", 0)
				for i := range 4 {
					w.scan("d1", fmt.Sprint("S", i), scan.Supply)
				}
				w.settle(time.Hour)
				old.kill()
				<-old.done
				w.reg.lossy.Store(true)
				w.broker.LoseTail(len(w.broker.Records(acc)))
				w.store.Lose()
				w.verifyFirst(true)
				_, before, _ := w.reg.count()
				for i := range 2 {
					w.start(fmt.Sprint("new", i), i)
				}
				again, fresh := []event{}, []event{}
				for i := range 4 {
					again = append(again, w.scan("d1", fmt.Sprint("S", i), scan.Supply))
					fresh = append(fresh, w.scan("d1", fmt.Sprint("N", i), scan.Supply))
				}
				w.during(10 * time.Minute)
				for i := range 4 {
					w.want(again[i], "alert/already_inactive")
					w.want(fresh[i], "done")
				}
				if w.reg.alertsRaised() != 0 || w.isHalted() {
					t.Errorf("%d alerts raised, halted %v: a verify raises none", w.reg.alertsRaised(), w.isHalted())
				}
				if _, reads, _ := w.reg.count(); reads-before < 8 {
					t.Errorf("%d verifies for 8 packs", reads-before)
				}
				end := w.verifyFirst(false)
				w.during(time.Minute)
				last := w.scan("d1", "L", scan.Supply)
				w.during(10 * time.Minute)
				w.want(last, "done")
				if unverified, all := w.opensBehind(end); all != 1 || unverified != 1 {
					t.Errorf("%d opens after a person ended it, %d of them without a verify", all, unverified)
				}
			})
		})
	}
}

// TestNoOpenStandsUnverifiedBehindAVerifyFirst: whoever appends must have read it; also under
// load, by two processes, with Redis emptied and the account resumed in between.
func TestNoOpenStandsUnverifiedBehindAVerifyFirst(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.Mode, w.cfg.UseMixed, w.cfg.BulkFrom = ModeAuto, true, 2
		w.reg.forgot.Store(true)
		w.start("w0", 0)
		w.start("w1", 1)
		n := 0
		load := func() {
			for range 20 {
				w.scan("d1", fmt.Sprint("S", n), scan.Supply)
				n++
				w.during(37 * time.Millisecond)
			}
		}
		load()
		from := w.verifyFirst(true)
		if _, err := SetVerifyFirst(context.Background(), w.dev.Ledger(acc), w.store, acc, true, anna); !errors.Is(err, ErrVerifyFirst) {
			t.Errorf("a second time: %v", err)
		}
		load()
		w.store.Lose()
		load()
		w.pause(time.Minute)
		w.goOn() // a resume ends pauses and tunes, not this
		load()
		w.settle(time.Hour)
		if unverified, all := w.opensBehind(from); unverified != 0 || all == 0 {
			t.Errorf("%d of %d opens behind it were not verified", unverified, all)
		}
	})
}

// TestAPackThatWasDueBeforeAVerifyFirstIsVerifiedToo: its scan is acknowledged, so that nothing but its due entry brings
// it again. What we decommissioned before the loss is parked with an alert of our own, and raises none at NMVS.
func TestAPackThatWasDueBeforeAVerifyFirstIsVerifiedToo(t *testing.T) {
	for _, mode := range []Mode{ModeSingle, ModeBulk, ModeMixed, ModeAuto} {
		t.Run(string(mode), func(t *testing.T) {
			line(t, func(w *world) {
				w.cfg.Mode, w.cfg.UseBulk, w.cfg.UseMixed = mode, true, true
				w.reg.lossy.Store(true)
				w.reg.foreign("S0", "SUPPLIED") // by us, but no store knows
				w.reg.next(fate{dial: true, repeat: 5})
				w.start("w0", 0)
				ours, fresh := w.scan("d1", "S0", scan.Supply), w.scan("d1", "S1", scan.Supply)
				due := func() bool {
					f := w.fold()
					return f.states[w.packOf("S0").ID()].Phase == ledger.Due && f.states[w.packOf("S1").ID()].Phase == ledger.Due
				}
				for range 1000 {
					if w.during(10 * time.Millisecond); due() {
						break
					}
				}
				if !due() {
					t.Fatal("the packs are not due: this proves nothing")
				}
				from := w.verifyFirst(true)
				w.during(10 * time.Minute)
				w.want(ours, "alert/already_inactive")
				w.want(fresh, "done")
				if unverified, all := w.opensBehind(from); unverified != 0 || all == 0 {
					t.Errorf("%d of %d opens behind it were not verified", unverified, all)
				}
				if w.reg.alertsRaised() != 0 || w.isHalted() {
					t.Errorf("%d alerts raised, halted %v", w.reg.alertsRaised(), w.isHalted())
				}
			})
		})
	}
}

// TestVerifyFirstIsNoSlowerInAModeOfBulks: a bulk for each pack that was verified is one of six a minute.
func TestVerifyFirstIsNoSlowerInAModeOfBulks(t *testing.T) {
	for _, mode := range []Mode{ModeSingle, ModeBulk, ModeMixed, ModeAuto} {
		line(t, func(w *world) {
			const packs = 100
			w.cfg.Mode, w.cfg.UseMixed, w.cfg.UseBulk = mode, true, true
			w.limits = map[string]ratelimit.Rate{"single": {N: 5, Per: time.Second}, "bulk": {N: 6, Per: time.Minute}}
			w.verifyFirst(true)
			for i := range packs {
				w.scan("d1", fmt.Sprint("S", i), scan.Supply)
			}
			w.start("w0", 0)
			w.during(2 * time.Minute)
			if n := len(w.broker.Stored()); n != packs {
				t.Errorf("%s: %d outcomes of %d after two minutes", mode, n, packs)
			}
		})
	}
}

// opensBehind counts the attempts opened behind a record, and those of packs not verified.
func (w *world) opensBehind(seq uint64) (unverified, all int) {
	w.t.Helper()
	for _, e := range w.broker.Records(acc) {
		r, err := ledger.Decode(e.Payload, acc)
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range r.Open {
			if e.Seq <= seq {
				continue
			}
			all++
			if !r.Open[i].Pre {
				unverified++
			}
		}
	}
	return unverified, all
}
