package worker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"decom/queue/queuetest"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// TestACrashAtAnyStepLosesAndRepeatsNothing is the crash table of protocol.md section
// 8: the process dies just before each step, for the n-th time; a new one, or one that ran
// beside it, goes on.
func TestACrashAtAnyStepLosesAndRepeatsNothing(t *testing.T) {
	for _, tt := range []struct {
		step  string
		sure  bool // before the first one no request can have left: every pack must end done
		sends int  // most change calls: one a pack, and what a doubt may repeat
	}{
		{"S4", true, 4}, {"S5", true, 4}, {"S6", true, 4}, {"S7", false, 4}, {"S8", false, 5},
	} {
		for n := 1; n <= 3; n++ {
			for _, beside := range []bool{false, true} {
				t.Run(fmt.Sprintf("before %s, %d, other beside=%v", tt.step, n, beside), func(t *testing.T) {
					line(t, func(w *world) {
						at := newNth(n)
						w.onStep(func(p *process, step string) {
							if p.name == "w0" && step == tt.step && at.now() {
								p.kill()
							}
						})
						p := w.start("w0", 0)
						if beside {
							w.start("w1", 1)
						}
						all := append(w.mixed(), w.scan("d1", "S4", scan.Supply))
						<-w.dies(p, time.Hour)
						w.start("w0'", 0)
						w.settle(4 * time.Hour)
						for _, e := range all {
							if got := w.outcome(e); got != "done" && (tt.sure && n == 1 || got != "unresolved/no_evidence") {
								t.Errorf("pack %s ends %q", e.serial, got)
							}
						}
						if !at.came() && !beside {
							t.Errorf("step %s did not come %d times", tt.step, n)
						}
						if n, _, _ := w.reg.count(); n > tt.sends {
							t.Errorf("%d change calls for 4 packs", n)
						}
					})
				})
			}
		}
	}
}

// dies returns a channel that closes when p was killed, or limit is over.
func (w *world) dies(p *process, limit time.Duration) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		defer close(c)
		for end := time.Now().Add(limit); !p.dead.Load() && time.Now().Before(end); {
			time.Sleep(time.Second)
		}
	}()
	return c
}

// TestACrashInsideACallIsSettledByEvidence: the process dies while its request is on its
// way; executed or not, early or late, nothing is sent twice.
func TestACrashInsideACallIsSettledByEvidence(t *testing.T) {
	for name, f := range map[string]fate{
		"never executed": {lost: true}, "executed, answer never read": {slow: 5 * time.Second}, "executed late": {late: 2 * time.Minute},
	} {
		for _, undo := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, undo=%v", name, undo), func(t *testing.T) {
				line(t, func(w *world) {
					p := w.start("w0", 0)
					op, want := scan.Supply, "unresolved/no_evidence"
					if undo {
						w.scan("d1", "S1", scan.Supply)
						w.settle(time.Minute)
						op, want = scan.UndoSupply, "done/confirmed"
					}
					if f.lost {
						want = "done"
					}
					w.reg.next(f)
					e := w.scan("d1", "S1", op)
					w.during(2 * time.Second)
					p.kill()
					w.start("w1", 1)
					w.settle(3 * time.Hour)
					w.want(e, want)
				})
			})
		}
	}
}

// TestAPausedProcessThatWakesLateSendsNothing: any pause before the last look, of any
// length, ends without a byte; one between the look and the write is what A3 covers: the
// late copy executes at most once, and inside the hold.
func TestAPausedProcessThatWakesLateSendsNothing(t *testing.T) {
	for _, step := range []string{"S4", "S5", "S6", "S7"} {
		for _, pause := range []time.Duration{time.Second, 10 * time.Second, 40 * time.Second, 10 * time.Minute, 5 * time.Hour} {
			t.Run(fmt.Sprintf("%v before %s", pause, step), func(t *testing.T) {
				line(t, func(w *world) {
					at := newNth(1)
					w.onStep(func(p *process, s string) {
						if p.name == "w0" && s == step && at.now() {
							time.Sleep(pause)
						}
					})
					w.start("w0", 0)
					w.during(3 * time.Second)
					w.start("w1", 1)
					e := w.scan("d1", "S1", scan.Supply)
					w.settle(12 * time.Hour)
					n, _, _ := w.reg.count()
					if got := w.outcome(e); got != "done" && (step != "S7" || got != "unresolved/no_evidence") || n > 2 {
						t.Errorf("ends %q after %d calls", got, n)
					}
				})
			})
		}
	}
}

// TestDrainSendsNothingNewAndRecordsEveryAnswer: SIGTERM with calls on their way and
// scans in hand; nothing gets into doubt, and nothing waits for another process's hold.
func TestDrainSendsNothingNewAndRecordsEveryAnswer(t *testing.T) {
	for _, after := range []time.Duration{0, 50 * time.Millisecond, time.Second, 1500 * time.Millisecond} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			line(t, func(w *world) {
				w.reg.always(fate{slow: 3 * time.Second})
				p := w.start("w0", 0)
				w.during(2 * time.Second)
				for i := range 20 {
					w.scan("d1", fmt.Sprint("S", i), scan.Supply)
				}
				w.during(after)
				began := time.Now()
				p.drain()
				if took := time.Since(began); took > 10*time.Second || p.err != nil {
					t.Errorf("drain took %v and ended with %v", took, p.err)
				}
				if n := w.open(); n != 0 {
					t.Errorf("%d packs are left in doubt", n)
				}
				sent, _, _ := w.reg.count()
				w.during(time.Minute)
				if now, _, _ := w.reg.count(); now != sent {
					t.Errorf("%d calls after the end", now-sent)
				}
				began = time.Now()
				w.start("w1", 0)
				w.settle(time.Hour)
				if took := time.Since(began); took > 3*time.Minute {
					t.Errorf("the next process needed %v: something was held", took)
				}
			})
		})
	}
}

// TestALedgerThatLosesItsTailHaltsTheAccount [B5, B6]: the projection, or a worker's own
// memory, knows newer records. Not a byte leaves until a person's resume; the ledger may
// have grown again meanwhile.
func TestALedgerThatLosesItsTailHaltsTheAccount(t *testing.T) {
	for _, lost := range []int{1, 2, 3} {
		for _, grown := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d records, grown again=%v", lost, grown), func(t *testing.T) {
				line(t, func(w *world) {
					w.reg.lossy.Store(true)
					w.start("w0", 0)
					w.start("w1", 1)
					for i := range 3 {
						w.scan("d1", fmt.Sprint("S", i), scan.Supply)
						w.during(5 * time.Second)
					}
					sent, _, _ := w.reg.count()
					w.broker.LoseTail(lost)
					if grown { // by a zombie that knows of nothing
						for range lost + 1 {
							w.appendRaw(&ledger.Record{})
						}
					}
					w.broker.RedeliverAll(acc)
					w.scan("d1", "S9", scan.Supply)
					w.during(time.Hour)
					if now, reads, _ := w.reg.count(); now != sent || reads != 0 {
						t.Errorf("STOP: %d calls and %d verifies after the loss", now-sent, reads)
					}
					if why, halted, err := w.store.Halted(context.Background(), acc); !halted || err != nil {
						t.Errorf("not halted: %q %v", why, err)
					}
				})
			})
		}
	}
}

// appendRaw writes a record as a tool of a person does.
func (w *world) appendRaw(r *ledger.Record) {
	w.t.Helper()
	ctx := context.Background()
	led := w.dev.Ledger(acc)
	for {
		last, _, err := led.Last(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		r.Account, r.By, r.At = acc, "person", scan.Time(time.Now())
		b, err := ledger.Encode(r, ledger.Head{Seq: last.Seq, Hash: last.Hash})
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err = led.Append(ctx, ledger.Head{Seq: last.Seq, Hash: last.Hash}, b); err == nil {
			return
		}
	}
}

// TestHaltStopsEveryProcessUntilAResume is STOP: the key stops all processes, also a
// new one, also reads; scans wait; a resume on the ledger lets everything go on.
func TestHaltStopsEveryProcessUntilAResume(t *testing.T) {
	line(t, func(w *world) {
		w.start("w0", 0)
		w.start("w1", 1)
		w.reg.next(fate{lost: true}) // its verify falls due while halted
		doubt := w.scan("d1", "S0", scan.Supply)
		w.during(2 * time.Minute)
		if err := w.store.Halt(context.Background(), acc, "0 test"); err != nil {
			t.Fatal(err)
		}
		w.reg.setStop(true)
		e, read := w.scan("d1", "S1", scan.Supply), w.scan("d1", "S2", scan.Verify)
		w.during(20 * time.Minute)
		w.start("w2", 2)
		w.during(10 * time.Minute)
		if w.outcome(e)+w.outcome(read)+w.outcome(doubt) != "" {
			t.Error("outcomes while halted")
		}
		w.reg.setStop(false)
		w.appendRaw(&ledger.Record{Fact: []ledger.Fact{{Kind: ledger.Resume, Who: "anna", Why: "test"}}})
		w.settle(2 * time.Hour)
		w.want(e, "done")
		w.want(read, "done")
		w.want(doubt, "done")
	})
}

// TestAlertsThatMayBeOurFaultHaltTheAccount is BRAKE: three in an hour.
func TestAlertsThatMayBeOurFaultHaltTheAccount(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.Parallel = 1
		w.start("w0", 0)
		for i := range 10 {
			w.reg.foreign(fmt.Sprint("S", i), "SUPPLIED")
			w.scan("d1", fmt.Sprint("S", i), scan.Supply)
		}
		w.during(time.Hour)
		if w.reg.alertsRaised() != 3 {
			t.Errorf("%d alerts raised before the account halted", w.reg.alertsRaised())
		}
		w.appendRaw(&ledger.Record{Fact: []ledger.Fact{{Kind: ledger.Resume, Who: "anna", Why: "packs are in quarantine"}}})
		w.during(time.Hour)
		if w.reg.alertsRaised() != 6 {
			t.Errorf("%d alerts in all: a person's resume begins the count anew", w.reg.alertsRaised())
		}
	})
}

// TestTwoDevicesWithOneIDGetAnOutcomeEach: the stream's window would swallow the second.
func TestTwoDevicesWithOneIDGetAnOutcomeEach(t *testing.T) {
	line(t, func(w *world) {
		w.broker.Fail(queuetest.OutboxLost, 2)
		w.start("w0", 0)
		for i, device := range []string{"d1", "d2"} {
			w.during(time.Second)
			e := event{id: "same", device: device, serial: fmt.Sprint("S", i), op: scan.Supply, at: time.Now()}
			w.events = append(w.events, e)
			w.publish(e)
		}
		w.during(10 * time.Minute)
		devices := map[string]int{}
		for _, o := range w.outcomes()["same"] {
			devices[o.Device]++
		}
		if devices["d1"] != 1 || devices["d2"] != 1 {
			t.Errorf("outcomes by device: %v", devices)
		}
	})
}

// TestBrokenDeliveriesDoNotStopTheLine: what cannot be read is rejected, once, with its id.
func TestBrokenDeliveriesDoNotStopTheLine(t *testing.T) {
	line(t, func(w *world) {
		w.broker.Random(3, 0.5, queuetest.AckLost)
		w.start("w0", 0)
		for i, body := range []string{"", "{", `{"scan":"x"}`, `{"op":"sell","scan":"x"}`, `[]`, `{"scan":"]d2010340"}`} {
			w.publishRaw("d1", fmt.Sprint("bad", i), body)
		}
		e := w.scan("d1", "S1", scan.Supply)
		w.during(30 * time.Minute)
		w.broker.Random(3, 0, queuetest.AckLost)
		w.settle(time.Hour)
		w.want(e, "done")
		outs := w.outcomes()
		for i := range 6 {
			id := fmt.Sprint("bad", i)
			if len(outs[id]) == 1 && i < 5 && i != 2 && outs[id][0].Detail == "" {
				t.Errorf("%s: nobody is told which field is wrong", id)
			}
			if len(outs[id]) != 1 || outs[id][0].Result != scan.Rejected {
				t.Errorf("%s: outcomes %+v", id, outs[id])
			}
		}
	})
}
