package worker

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"decom/nmvs"
	"decom/queue/queuetest"
	"decom/worker/ledger"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// TestOnePackGoesThrough is the line itself: one scan, one call, one outcome.
func TestOnePackGoesThrough(t *testing.T) {
	line(t, func(w *world) {
		w.start("w1", 0)
		e := w.scan("d1", "S1", scan.Supply)
		w.settle(time.Minute)
		w.want(e, "done")
		if n, reads, _ := w.reg.count(); n != 1 || reads != 0 {
			t.Errorf("%d calls and %d verifies for one pack", n, reads)
		}
	})
}

// TestEveryOperationGoesThroughAndBack: each change, and each undo that there is.
func TestEveryOperationGoesThroughAndBack(t *testing.T) {
	line(t, func(w *world) {
		w.start("w1", 0)
		var all []event
		for _, op := range scan.Ops() {
			if op.IsUndo() {
				continue
			}
			e := w.scan("d1", "S"+op.String(), op)
			all = append(all, e)
		}
		w.settle(time.Minute)
		for _, op := range scan.Ops() {
			if op.IsUndo() {
				all = append(all, w.scan("d1", "S"+op.Undoes().String(), op))
			}
		}
		w.settle(time.Minute)
		for _, e := range all {
			w.want(e, "done")
		}
	})
}

// TestNothingIsSentBeforeLedgerAndProjectionShowIt: while the projection takes
// nothing, no byte leaves; T_SEND passes, and the pack goes out by a new attempt. The
// registry checks WITNESS at every byte.
func TestNothingIsSentBeforeLedgerAndProjectionShowIt(t *testing.T) {
	line(t, func(w *world) {
		var healed atomic.Bool
		w.onCall(func(_ *process, call string) packstatetest.Fault {
			if call == "apply" && !healed.Load() {
				return packstatetest.Before
			}
			return packstatetest.None
		})
		w.start("w1", 0)
		e := w.scan("d1", "S1", scan.Supply)
		w.during(time.Minute)
		if n, _, _ := w.reg.count(); n != 0 || len(w.broker.Records(acc)) == 0 {
			t.Errorf("%d calls while the projection shows nothing, %d records", n, len(w.broker.Records(acc)))
		}
		healed.Store(true)
		w.settle(10 * time.Minute)
		w.want(e, "done")
		opens := 0
		for _, trx := range w.fold().trx {
			opens += len(trx)
		}
		if n, _, _ := w.reg.count(); n != 1 || opens != 2 {
			t.Errorf("%d calls of %d attempts; the late one must not be sent", n, opens)
		}
	})
}

// TestNothingIsAcknowledgedBeforeItIsOnTheLedger: a ledger that takes nothing gets no
// scan acknowledged. KEPT is checked at every ack.
func TestNothingIsAcknowledgedBeforeItIsOnTheLedger(t *testing.T) {
	line(t, func(w *world) {
		w.broker.Fail(queuetest.AppendFails, 5)
		w.start("w1", 0)
		e := w.scan("d1", "S1", scan.Supply)
		bad := w.publishRaw("d1", "x1", `{"scan":"]d2 not a pack"}`)
		w.during(100 * time.Millisecond)
		if w.broker.Acked(acc, e.seq) || w.broker.Acked(acc, bad) || w.broker.Failed(queuetest.AppendFails) == 0 {
			t.Errorf("acknowledged without a record (appends failed: %d)", w.broker.Failed(queuetest.AppendFails))
		}
		w.settle(10 * time.Minute)
		w.want(e, "done")
	})
}

// TestAnUnknownFateIsNeverRepeatedBeforeHoldAndVerify: neither a lost request nor a
// lost answer is sent again before T_HOLD and a verify; only a pack seen ACTIVE is.
func TestAnUnknownFateIsNeverRepeatedBeforeHoldAndVerify(t *testing.T) {
	for _, tt := range []struct {
		name  string
		f     fate
		calls int
		want  string
	}{
		{"lost before its effect", fate{lost: true}, 2, "done"},
		{"answer lost", fate{mute: true}, 1, "unresolved/no_evidence"},
		{"executed a minute later", fate{late: time.Minute}, 1, "unresolved/no_evidence"},
		{"executed just before the hold is over", fate{late: 20 * time.Minute}, 1, "unresolved/no_evidence"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			line(t, func(w *world) {
				w.cfg.THoldSingle = 0 // the default, 20 min
				w.start("w1", 0)
				w.start("w2", 1)
				w.reg.next(tt.f)
				e := w.scan("d1", "S1", scan.Supply)
				w.during(20 * time.Minute)
				if n, reads, _ := w.reg.count(); n != 1 || reads != 0 {
					t.Errorf("within T_HOLD: %d calls, %d verifies", n, reads)
				}
				w.settle(2 * time.Hour)
				w.want(e, tt.want)
				if n, reads, _ := w.reg.count(); n != tt.calls || reads != 1 {
					t.Errorf("%d calls, %d verifies; want %d and 1", n, reads, tt.calls)
				}
			})
		})
	}
}

// TestTwoDoubtfulSendsAreEnough: the second one parks the pack for a person.
func TestTwoDoubtfulSendsAreEnough(t *testing.T) {
	line(t, func(w *world) {
		w.start("w1", 0)
		w.reg.next(fate{lost: true, repeat: 5})
		e := w.scan("d1", "S1", scan.Supply)
		w.settle(3 * time.Hour)
		w.want(e, "unresolved/doubtful_twice")
		later := w.scan("d1", "S1", scan.Supply)
		w.settle(time.Minute)
		w.want(later, "refused/parked")
		if n, _, _ := w.reg.count(); n != 2 {
			t.Errorf("%d sends", n)
		}
	})
}

// TestOnePackHasOneOpenAttemptInAllProcesses: two processes, each scan delivered to both
// by turns, several devices on one pack. The registry checks ONE at every byte.
func TestOnePackHasOneOpenAttemptInAllProcesses(t *testing.T) {
	line(t, func(w *world) {
		w.broker.Random(1, 0.3, queuetest.FetchTwice, queuetest.AckLost)
		w.start("w1", 0)
		w.start("w2", 0)
		for i := range 40 {
			w.scan(fmt.Sprint("d", i%3), fmt.Sprint("S", i%10), scan.Supply)
			if i%7 == 0 {
				w.broker.RedeliverAll(acc)
			}
		}
		w.during(10 * time.Second)
		w.broker.Random(1, 0, queuetest.FetchTwice, queuetest.AckLost)
		w.settle(time.Hour)
		if n, _, _ := w.reg.count(); n != 10 {
			t.Errorf("%d calls for 10 packs", n)
		}
	})
}

// TestAnOutageCostsTheAttemptsInFlightAndSomePings: while the breaker is not closed
// nothing is taken in, so no pack gets into doubt; then everything goes on by itself.
func TestAnOutageCostsTheAttemptsInFlightAndSomePings(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(fmt.Sprintf("silent=%v", silent), func(t *testing.T) {
			line(t, func(w *world) {
				w.start("w1", 0)
				w.reg.setDown(true)
				w.reg.silent = silent
				for i := range 200 {
					w.scan("d1", fmt.Sprint("S", i), scan.Supply)
				}
				w.during(30 * time.Minute)
				const most = 5 + 4 // failures that open the breaker, and what was in flight then
				n, reads, pings := w.reg.count()
				if n > most || w.open() > most || reads > 0 && !silent {
					t.Errorf("an outage of half an hour costs %d calls, %d verifies, %d packs open", n, reads, w.open())
				}
				if waiting := w.broker.Left(acc); waiting < 200-2*most || pings == 0 && !silent {
					t.Errorf("%d scans wait, %d pings", waiting, pings)
				}
				w.reg.setDown(false)
				w.settle(3 * time.Hour)
			})
		})
	}
}

// open counts the packs that the ledger says are on their way.
func (w *world) open() (n int) {
	for _, s := range w.fold().states {
		if s.Phase == ledger.Opened {
			n++
		}
	}
	return n
}

// TestNothingIsOpenedWithoutSlotAndToken: with slow calls and a small rate, no opened
// pack waits: its bytes leave at once, and no more are opened than the limits allow.
func TestNothingIsOpenedWithoutSlotAndToken(t *testing.T) {
	line(t, func(w *world) {
		w.rate.N = 2
		w.reg.always(fate{slow: 3 * time.Second})
		var most atomic.Int64
		w.onStep(func(_ *process, step string) {
			if step != "S7" {
				return
			}
			es := w.broker.Records(acc)
			for _, e := range es[max(0, len(es)-8):] {
				r, err := ledger.Decode(e.Payload, acc)
				if err != nil {
					t.Error(err)
				}
				if len(r.Open) > 2 {
					t.Errorf("one record opens %d attempts at 2/s", len(r.Open))
				}
			}
			most.Store(max(most.Load(), int64(w.open())))
		})
		w.start("w1", 0)
		began := time.Now()
		for i := range 40 {
			w.scan("d1", fmt.Sprint("S", i), scan.Supply)
		}
		w.settle(10 * time.Minute)
		if most.Load() > 4 {
			t.Errorf("%d packs were open at once, there are 4 slots", most.Load())
		}
		for _, e := range w.broker.Records(acc) {
			r, err := ledger.Decode(e.Payload, acc)
			if err != nil {
				t.Fatal(err)
			}
			for i := range r.Fact {
				if r.Fact[i].Kind == ledger.Off {
					t.Errorf("an opened attempt waited in vain (record %d)", e.Seq)
				}
			}
		}
		if took := time.Since(began); took < 19*time.Second || took > time.Minute {
			t.Errorf("40 packs at 2/s, 4 slots of 3 s, took %v", took)
		}
	})
}

// TestWhatIsDueDoesNotStarve: a pack that is due goes out although scans never stop to
// wait, and so does the verify of a pack in doubt.
func TestWhatIsDueDoesNotStarve(t *testing.T) {
	line(t, func(w *world) {
		w.rate.N = 1
		w.cfg.THoldSingle, w.cfg.TGrace = time.Minute, 40*time.Second
		w.start("w1", 0)
		w.reg.next(fate{class: nmvs.Busy}, fate{lost: true})
		due, doubt := w.scan("d1", "DUE", scan.Supply), w.scan("d1", "DOUBT", scan.Supply)
		for i := range 400 {
			w.scan("d1", fmt.Sprint("S", i), scan.Supply)
		}
		w.during(time.Minute)
		w.want(due, "done")
		w.during(4 * time.Minute)
		w.want(doubt, "done")
		if left := w.broker.Left(acc); left == 0 {
			t.Error("the scans stopped to wait; nothing is proven")
		}
	})
}
