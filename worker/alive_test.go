package worker

import (
	"sync/atomic"
	"testing"
	"time"

	"decom/queue/queuetest"
	"decom/worker/scan"
)

// TestALoopThatStandsStillIsSeenAndOneThatWaitsIsNot: idle, paused, halted and busy loops move;
// a step that never returns is seen.
func TestALoopThatStandsStillIsSeenAndOneThatWaitsIsNot(t *testing.T) {
	line(t, func(w *world) {
		p := w.start("w1", 0)
		fine := func(what string) {
			t.Helper()
			for range 60 {
				w.during(10 * time.Second)
				if still := p.acc.Stuck(45 * time.Second); still != 0 {
					t.Fatalf("%s: it has stood still for %v", what, still)
				}
			}
		}
		fine("idle")
		w.pause(0)
		fine("paused")
		w.goOn()
		w.reg.setDown(true)
		w.scan("d1", "S0", scan.Supply)
		fine("NMVS down")
		w.reg.setDown(false)
		w.settle(time.Hour)
		var release atomic.Bool
		w.onStep(func(_ *process, step string) {
			for step == "S4" && !release.Load() {
				time.Sleep(time.Second)
			}
		})
		w.scan("d1", "S1", scan.Supply)
		w.during(40 * time.Second)
		if still := p.acc.Stuck(45 * time.Second); still != 0 {
			t.Errorf("after 40 s it counts as stuck: %v", still)
		}
		w.during(10 * time.Second)
		if still := p.acc.Stuck(45 * time.Second); still < 45*time.Second {
			t.Errorf("a loop that has not moved for 50 s stands still for %v", still)
		}
		release.Store(true)
		w.during(time.Second)
		if still := p.acc.Stuck(45 * time.Second); still != 0 {
			t.Errorf("it moves again, and counts as stuck: %v", still)
		}
		p.drain()
		w.during(time.Hour)
		if p.acc.Stuck(45*time.Second) != 0 || p.acc.LedgerWaits() != 0 {
			t.Error("a loop that has ended counts as stuck")
		}
	})
}

// TestALoopThatEndedIsNotStuck: it waits for the answers of its calls, which may take longer than a loop may stand still.
func TestALoopThatEndedIsNotStuck(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.THTTPSingle = 2 * time.Minute
		w.reg.always(fate{slow: 100 * time.Second})
		p := w.start("w0", 0)
		w.scan("d1", "S1", scan.Supply)
		w.during(time.Second)
		w.broker.Fail(queuetest.AppendFails, 1)
		w.scan("d1", "S2", scan.Supply)
		w.during(70 * time.Second)
		select {
		case <-p.done:
			t.Fatal("the account has ended: this proves nothing")
		default:
		}
		if w.broker.Failed(queuetest.AppendFails) == 0 || p.acc.Stuck(45*time.Second) != 0 {
			t.Errorf("stuck for %v", p.acc.Stuck(45*time.Second))
		}
	})
}

// TestAWorkerThatStandsBySleepsUntilItsTurn: it stands by for thousands of accounts, and must
// not wake ten times a second for each of them. A scan that nobody else fetches still gets to it.
func TestAWorkerThatStandsBySleepsUntilItsTurn(t *testing.T) {
	line(t, func(w *world) {
		w.start("w1", 0)
		p := w.start("w2", 1)
		w.during(10 * time.Second)
		before := p.ranked.Load()
		w.during(time.Minute)
		if n := p.ranked.Load() - before; n < 10 || n > 240 { // rounds ask for it once to three times
			t.Errorf("an idle worker that stands by asked for its rank %d times in a minute", n)
		}
		w.procs[0].drain()
		e := w.scan("d1", "S1", scan.Supply)
		w.during(5 * time.Second)
		w.want(e, "done")
	})
}
