package worker

import (
	"fmt"
	"testing"
	"time"

	"decom/nmvs"
	"decom/queue/queuetest"
	"decom/worker/ledger"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// TestFaultsAtTheQueueCostNothing: each fault of the broker, with and without effect,
// once and in a row, alone and with a second process: every pack ends done, once.
func TestFaultsAtTheQueueCostNothing(t *testing.T) {
	for name, f := range map[string]queuetest.Fault{
		"append failed": queuetest.AppendFails, "append unknown, not stored": queuetest.AppendNot,
		"append unknown, stored": queuetest.AppendStored, "append arrives late": queuetest.AppendLate,
		"ack failed": queuetest.AckFails, "ack lost": queuetest.AckLost, "ack failed, stored": queuetest.AckStored,
		"fetch failed": queuetest.FetchFails, "fetch lost": queuetest.FetchLost, "fetched twice": queuetest.FetchTwice,
		"read failed": queuetest.ReadFails, "outcome failed": queuetest.OutcomeFails, "outcome stored, answer lost": queuetest.OutcomeLost,
		"outbox ack lost": queuetest.OutboxLost,
	} {
		for _, workers := range []int{1, 2} {
			for _, n := range []int{1, 4} {
				t.Run(fmt.Sprintf("%s x%d, %d workers", name, n, workers), func(t *testing.T) {
					line(t, func(w *world) {
						for i := range workers {
							w.start(fmt.Sprint("w", i), i)
						}
						first := w.scan("d1", "S0", scan.Supply)
						w.during(2 * time.Second)
						w.broker.Fail(f, n)
						all := w.mixed()
						w.during(5 * time.Second)
						undo := w.scan("d1", "S0", scan.UndoSupply)
						w.settle(4 * time.Hour)
						if w.broker.Failed(f) == 0 {
							t.Error("the fault never happened")
						}
						w.want(first, "done")
						w.want(undo, "done")
						for _, e := range all {
							w.want(e, "done")
						}
					})
				})
			}
		}
	}
}

// mixed scans three packs.
func (w *world) mixed() (all []event) {
	for i := 1; i <= 3; i++ {
		all = append(all, w.scan(fmt.Sprint("d", i), fmt.Sprint("S", i), scan.Supply))
	}
	return all
}

// TestFaultsAtTheProjectionCostNothing: each call fails without effect, or only its
// answer is lost; a record whose apply was written is SAME the next time.
func TestFaultsAtTheProjectionCostNothing(t *testing.T) {
	for _, call := range []string{"view", "apply"} {
		for _, f := range []packstatetest.Fault{packstatetest.Before, packstatetest.AfterLost} {
			for _, n := range []int{1, 3, 200} {
				t.Run(fmt.Sprintf("%s fault %d x%d", call, f, n), func(t *testing.T) {
					line(t, func(w *world) {
						w.start("w0", 0)
						w.start("w1", 1)
						first := w.scan("d1", "S0", scan.Supply)
						w.during(2 * time.Second)
						left := newNth(n)
						w.onCall(func(_ *process, c string) packstatetest.Fault {
							if c == call && left.left.Add(-1) >= 0 {
								return f
							}
							return packstatetest.None
						})
						all := w.mixed()
						w.during(5 * time.Second)
						undo := w.scan("d1", "S0", scan.UndoSupply)
						w.settle(4 * time.Hour)
						if !left.came() {
							t.Error("the fault never happened")
						}
						for _, e := range append(all, first, undo) {
							w.want(e, "done")
						}
					})
				})
			}
		}
	}
}

// TestFaultsAtNMVSEndByTheTable: what befalls a first send, and how the pack ends; then
// the same for an undo.
func TestFaultsAtNMVSEndByTheTable(t *testing.T) {
	for _, tt := range []struct {
		name         string
		f            fate
		change, undo string
		calls        int // of the change
	}{
		{"no connection", fate{dial: true}, "done", "done", 1},
		{"too fast", fate{class: nmvs.TooFast}, "done", "done", 2},
		{"busy", fate{class: nmvs.Busy}, "done", "done", 2},
		{"wrong address", fate{class: nmvs.Setup}, "done", "done", 2},
		{"request not readable", fate{class: nmvs.Format}, "unresolved/format", "unresolved/format", 1},
		{"in doubt, no effect", fate{lost: true}, "done", "done", 2},
		{"in doubt, executed", fate{mute: true}, "unresolved/no_evidence", "done/confirmed", 1},
		{"in doubt, executed late", fate{late: 3 * time.Minute}, "unresolved/no_evidence", "done/confirmed", 1},
		{"slower than T_HTTP", fate{slow: 40 * time.Second}, "unresolved/no_evidence", "done/confirmed", 1},
		{"recalled", fate{code: "NMVS_FE_LOT_01"}, "refused/recalled", "refused/recalled", 1},
		{"unknown product", fate{code: "NMVS_NC_PC_01"}, "refused/unknown_product", "refused/unknown_product", 1},
		{"unknown serial", fate{code: "NMVS_NC_PC_02"}, "alert/unknown_serial", "alert/unknown_serial", 1},
		{"unknown code", fate{code: "NMVS_XX_99"}, "done", "done", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			line(t, func(w *world) {
				w.start("w0", 0)
				w.start("w1", 1)
				base := w.scan("d1", "S0", scan.Supply)
				w.settle(time.Minute)
				w.reg.next(tt.f)
				e := w.scan("d1", "S1", scan.Supply)
				w.settle(2 * time.Hour)
				w.want(e, tt.change)
				if n, _, _ := w.reg.count(); n != 1+tt.calls {
					t.Errorf("%d calls for the change, want %d", n-1, tt.calls)
				}
				w.reg.next(tt.f)
				undo := w.scan("d1", "S0", scan.UndoSupply)
				w.settle(2 * time.Hour)
				w.want(base, "done")
				w.want(undo, tt.undo)
			})
		})
	}
}

// TestALostVerifyIsRepeated: no answer to a verify leaves the pack open, backed off; a
// second verify settles it.
func TestALostVerifyIsRepeated(t *testing.T) {
	for _, f := range []fate{{lost: true}, {mute: true}, {dial: true}, {class: nmvs.TooFast}} {
		t.Run(fmt.Sprintf("%+v", f), func(t *testing.T) {
			line(t, func(w *world) {
				w.start("w0", 0)
				w.reg.next(fate{lost: true})
				w.reg.nextRead(f, f)
				e := w.scan("d1", "S1", scan.Supply)
				w.settle(3 * time.Hour)
				w.want(e, "done")
			})
		})
	}
}

// TestALoginFailureStopsTheAccountAtOnce: one call, no second try until a person resets.
func TestALoginFailureStopsTheAccountAtOnce(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.Parallel = 1
		p := w.start("w0", 0)
		w.reg.next(fate{class: nmvs.Login})
		e := w.scan("d1", "S1", scan.Supply)
		w.scan("d1", "S2", scan.Supply)
		w.during(time.Hour)
		if n, _, _ := w.reg.count(); n != 1 {
			t.Errorf("%d calls after a refused login", n)
		}
		p.brk.Reset()
		w.settle(time.Hour)
		w.want(e, "done")
	})
}

// TestRedisEmptiedOrRolledBackCostsNothing while the ledger loses nothing (A2): at any
// moment, also between a send and its answer, and with a pack in doubt.
func TestRedisEmptiedOrRolledBackCostsNothing(t *testing.T) {
	for _, step := range []string{"S4", "S5", "S6", "S7", "S8"} {
		for n := 1; n <= 3; n++ {
			for _, empty := range []bool{true, false} {
				t.Run(fmt.Sprintf("at %s, %d, emptied=%v", step, n, empty), func(t *testing.T) {
					line(t, func(w *world) {
						w.start("w0", 0)
						first := w.scan("d1", "S0", scan.Supply)
						w.during(2 * time.Second)
						old, at := w.store.Save(), newNth(n)
						w.reg.forgot.Store(step == "S7") // between the last look and the write: it did hold the record
						w.onStep(func(_ *process, s string) {
							if s != step || !at.now() {
								return
							}
							if w.store.RollBack(old); empty {
								w.store.Lose()
							}
						})
						all := w.mixed()
						w.settle(4 * time.Hour)
						undo := w.scan("d1", "S0", scan.UndoSupply)
						w.settle(time.Hour)
						if !at.came() {
							t.Errorf("step %s did not come %d times", step, n)
						}
						for _, e := range append(all, first, undo) {
							w.want(e, "done")
						}
					})
				})
			}
		}
	}
}

// TestAnIdleWorkerSettlesADeadOnesAttempts [B16]: no scan comes any more, and yet the
// other process learns of what a dead one left open.
func TestAnIdleWorkerSettlesADeadOnesAttempts(t *testing.T) {
	line(t, func(w *world) {
		w.start("idle", 1)
		w.during(time.Minute)
		w.reg.next(fate{lost: true})
		w.onStep(func(p *process, step string) {
			if step == "S8" && p.name == "dies" {
				p.kill()
			}
		})
		w.start("dies", 0)
		w.during(5 * time.Second)
		e := w.scan("d1", "S1", scan.Supply)
		w.settle(2 * time.Hour)
		w.want(e, "done")
	})
}

// TestTwoWorkersDoNotLetEachOtherMissTheirTime: a sender that finds the projection
// ahead of its own loop has the loop catch up; it does not wait until T_SEND is over.
func TestTwoWorkersDoNotLetEachOtherMissTheirTime(t *testing.T) {
	line(t, func(w *world) {
		w.start("w0", 0)
		w.start("w1", 0)
		began := time.Now()
		for i := range 200 {
			w.scan(fmt.Sprint("d", i%2), fmt.Sprint("S", i), scan.Supply)
		}
		w.settle(10 * time.Minute)
		offs := 0
		for _, f := range w.fold().facts {
			if f.Kind == ledger.Off {
				offs++
			}
		}
		if took := time.Since(began); offs > 0 || took > time.Minute {
			t.Errorf("%d of 200 attempts missed their time; it took %v", offs, took)
		}
	})
}
