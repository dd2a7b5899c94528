package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

var anna = Person{"Anna", "looked at it"}

func (w *world) resumer() Resumer {
	return Resumer{Account: acc, Records: w.dev.Ledger(acc), State: w.store, ResetScans: w.dev.ResetScans, ResetOutbox: w.dev.ResetOutbox}
}

func (w *world) halted() (note string) {
	w.t.Helper()
	note, _, err := w.store.Halted(context.Background(), acc)
	if err != nil {
		w.t.Fatal(err)
	}
	return note
}

func TestAResumeEndsAHaltAndOnlyAHalt(t *testing.T) {
	line(t, func(w *world) {
		ctx := context.Background()
		w.start("w0", 0)
		first := w.scan("d1", "S0", scan.Supply)
		w.settle(time.Minute)
		w.want(first, "done")
		n := len(w.broker.Records(acc))
		if _, _, err := Resume(ctx, w.resumer(), anna); !errors.Is(err, ErrNotHalted) {
			t.Errorf("resume of an account that runs: %v", err)
		}
		if err := w.store.Halt(ctx, acc, haltNote(uint64(n), "test")); err != nil {
			t.Fatal(err)
		}
		e := w.scan("d1", "S1", scan.Supply)
		w.during(time.Minute)
		if _, _, err := Resume(ctx, w.resumer(), Person{Who: "Anna"}); err == nil || len(w.broker.Records(acc)) != n {
			t.Errorf("a resume without a reason: %v, %d records", err, len(w.broker.Records(acc)))
		}
		if w.outcome(e) != "" {
			t.Error("an outcome while halted")
		}
		seq, left, err := Resume(ctx, w.resumer(), anna)
		if err != nil || left != "" || seq != uint64(n+1) || w.halted() != "" {
			t.Errorf("resume: seq %d, left %q, key %q, %v", seq, left, w.halted(), err)
		}
		w.settle(time.Minute)
		w.want(e, "done")
	})
}

func TestAResumeLeavesAReasonThatNobodyRead(t *testing.T) {
	line(t, func(w *world) {
		ctx := context.Background()
		if err := w.store.Halt(ctx, acc, haltNote(0, "one")); err != nil {
			t.Fatal(err)
		}
		r := w.resumer()
		reasons, note, err := r.Halts(ctx)
		if err != nil || len(reasons) != 1 || reasons[0].Why != "one" {
			t.Fatalf("%+v %v", reasons, err)
		}
		if err := w.store.Halt(ctx, acc, haltNote(0, "two")); err != nil {
			t.Fatal(err)
		}
		if _, left, err := r.end(ctx, anna, note); err != nil || !strings.Contains(left, "two") || !strings.Contains(w.halted(), "two") {
			t.Errorf("left %q, key %q, %v", left, w.halted(), err)
		}
	})
}

func TestAHaltOnTheLedgerAloneIsSeen(t *testing.T) {
	line(t, func(w *world) {
		ctx := context.Background()
		w.appendRaw(&ledger.Record{Fact: []ledger.Fact{{Kind: ledger.Halt, Who: "w0", Why: whySelf}}})
		r := w.resumer()
		if rs, _, err := r.Halts(ctx); err != nil || len(rs) != 1 || rs[0].Who != "w0" || rs[0].After != 1 {
			t.Errorf("%+v %v", rs, err)
		}
		if _, _, err := Resume(ctx, r, anna); err != nil {
			t.Error(err)
		}
		if _, _, err := Resume(ctx, r, anna); !errors.Is(err, ErrNotHalted) {
			t.Errorf("a second resume: %v", err)
		}
	})
}

// lose has the ledger lose n records of packs that NMVS has decommissioned, and waits
// until the workers have halted.
func (w *world) lose(n int, grown bool) {
	w.t.Helper()
	w.reg.lossy.Store(true)
	w.broker.LoseTail(n)
	if grown {
		for range n + 1 {
			w.appendRaw(&ledger.Record{})
		}
	}
	w.scan("d1", "S8", scan.Supply) // whoever appends next notices
	w.during(time.Minute)
	if w.halted() == "" {
		w.t.Error("not halted")
	}
}

// TestAResumeAfterLossSendsNothingTwice: whatever the lost records did is parked, every
// other pack and every new scan goes on. The registry fails the test when a pack is
// decommissioned twice (ONCE).
func TestAResumeAfterLossSendsNothingTwice(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		for _, grown := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d records, grown again=%v", n, grown), func(t *testing.T) {
				line(t, func(w *world) {
					ctx := context.Background()
					w.start("w0", 0)
					w.start("w1", 1)
					for i := range 4 {
						w.scan("d1", fmt.Sprint("S", i), scan.Supply)
						w.during(5 * time.Second)
					}
					sent, _, _ := w.reg.count()
					w.lose(n, grown)
					if _, _, err := Resume(ctx, w.resumer(), anna); !errors.Is(err, ErrLedgerLost) {
						t.Errorf("a plain resume: %v", err)
					}
					loss, err := ResumeAfterLoss(ctx, w.resumer(), anna)
					if err != nil || !loss.Lost || !loss.Dropped || loss.Parked == 0 || loss.Since.IsZero() || w.halted() != "" {
						t.Fatalf("%+v, key %q: %v", loss, w.halted(), err)
					}
					e := w.scan("d1", "S9", scan.Supply)
					w.during(5 * time.Minute)
					w.want(e, "done")
					if now, _, _ := w.reg.count(); now != sent+2 {
						t.Errorf("%d calls after the resume, want those of the two new packs", now-sent)
					}
					w.agree(t, loss.Parked)
					w.kept(t)
				})
			})
		}
	}
}

// agree holds ledger, projection and truth together after a loss: parked packs are that
// in both, every other one is what NMVS says.
func (w *world) agree(t *testing.T, parked int) {
	t.Helper()
	f := w.fold()
	n := 0
	err := w.store.Each(context.Background(), acc, func(k scan.PackID, s ledger.State) error {
		if !sameWord(s, f.states[k]) {
			t.Errorf("pack %s: projection %+v, ledger %+v", k, s, f.states[k])
		}
		if s.Phase == ledger.Parked {
			n++
		}
		return nil
	})
	if err != nil || n != parked {
		t.Errorf("%d packs parked, want %d: %v", n, parked, err)
	}
	w.reg.mu.Lock()
	defer w.reg.mu.Unlock()
	for serial, p := range w.reg.packs {
		if s := f.states[w.packOf(serial).ID()]; s.Phase != ledger.Parked && (s.Phase == ledger.Inactive) != p.ours {
			t.Errorf("TRUTH: pack %s is %s on the ledger, in truth %+v", serial, s.Phase, *p)
		}
	}
}

// kept is KEPT after a loss: the ledger knows every scan again, since those of the last
// hour were delivered once more.
func (w *world) kept(t *testing.T) {
	t.Helper()
	f := w.fold()
	for _, e := range w.events {
		s := f.states[w.packOf(e.serial).ID()]
		if !s.Saw(scan.SeenTag(site+"/"+e.device, e.id)) {
			t.Errorf("KEPT: the ledger does not know scan %s of pack %s", e.id, e.serial)
		}
	}
}

// TestALostRecordUnderAnEqualOneIsSeen: a process that had not noticed may write, at the
// lost record's own sequence, another attempt for the same scan. States alone agree.
func TestALostRecordUnderAnEqualOneIsSeen(t *testing.T) {
	line(t, func(w *world) {
		ctx := context.Background()
		p := w.packOf("S0")
		o := ledger.Open{C: "A", Svc: ledger.Single, Op: scan.Supply, Product: product(p), Packs: []ledger.OpenPack{
			{Serial: "S0", Origin: ledger.Origin{Ev: "e", Src: "s/d", Op: scan.Supply, Key: 5}}}}
		w.appendRaw(&ledger.Record{Open: []ledger.Open{o}})
		states := w.fold().states
		lost := ledger.Head{Seq: 1, Hash: strings.Repeat("0", 64)}
		if _, err := w.store.Begin(ctx, acc); err != nil {
			t.Fatal(err)
		}
		if st, err := w.store.Apply(ctx, acc, ledger.Head{}, lost, states, ledger.NewIndex()); st != packstate.OK || err != nil {
			t.Fatal(st, err)
		}
		r := w.resumer()
		if ks, _, err := r.lostPacks(ctx, lost); err != nil || len(ks) != 1 || ks[p.ID()].Phase != ledger.Opened {
			t.Errorf("lost: %v %v, want %s", ks, err, p.ID())
		}
	})
}

// TestAnAttemptOfALostRecordIsParkedToo: its answer was never recorded, and nothing on the
// ledger names it any more.
func TestAnAttemptOfALostRecordIsParkedToo(t *testing.T) {
	line(t, func(w *world) {
		ctx := context.Background()
		w.start("w0", 0)
		w.scan("d1", "S0", scan.Supply)
		w.settle(time.Minute)
		w.reg.next(fate{mute: true}) // executed, no answer
		w.scan("d1", "S1", scan.Supply)
		w.during(10 * time.Second)
		if w.open() != 1 {
			t.Fatal("the attempt is not open")
		}
		w.lose(1, false)
		loss, err := ResumeAfterLoss(ctx, w.resumer(), anna)
		if err != nil || loss.Parked != 1 {
			t.Fatalf("%+v %v", loss, err)
		}
		w.during(3 * time.Hour)
		w.agree(t, 1)
	})
}

// TestAnAttemptThatComesDuringTheResumeIsParkedUnderItsOwnName: a process that stood still writes as the person
// resumes, and opens a pack that the lost records had changed. Parked without a word of that attempt, its scan would
// never be answered (seed 258686).
func TestAnAttemptThatComesDuringTheResumeIsParkedUnderItsOwnName(t *testing.T) {
	line(t, func(w *world) {
		ctx := context.Background()
		w.start("w0", 0)
		w.scan("d1", "S0", scan.Supply)
		w.settle(time.Minute)
		w.scan("d1", "S1", scan.Supply)
		w.settle(time.Minute)
		w.lose(2, false)
		r, p := w.resumer(), w.packOf("S1")
		r.ResetOutbox = func(ctx context.Context, account string, since time.Time) error {
			w.appendRaw(&ledger.Record{Open: []ledger.Open{{C: "LATE", Svc: ledger.Single, Op: scan.Supply, SHA: "00", Product: product(p),
				Packs: []ledger.OpenPack{{Serial: "S1", Origin: ledger.Origin{Ev: "late", Src: site + "/d1", Op: scan.Supply, Key: 5}}}}}})
			return w.dev.ResetOutbox(ctx, account, since)
		}
		if loss, err := ResumeAfterLoss(ctx, r, anna); err != nil || loss.Parked == 0 {
			t.Fatalf("%+v %v", loss, err)
		}
		w.during(5 * time.Minute)
		if outs := w.outcomes()["late"]; len(outs) != 1 || outs[0].Result != scan.Unresolved || outs[0].Reason != scan.LedgerLoss {
			t.Errorf("outcomes of the scan whose attempt came late: %+v", outs)
		}
	})
}

// TestAResumeAfterLossMayBreakOffAnywhere: each store fails once at each call, before or
// after the effect; run again, it ends in the same place.
func TestAResumeAfterLossMayBreakOffAnywhere(t *testing.T) {
	calls := []packstatetest.Call{packstatetest.CallHalted, packstatetest.CallHalt, packstatetest.CallHead, packstatetest.CallLists, packstatetest.CallDrop, packstatetest.CallUnhalt}
	for _, call := range calls {
		for _, fault := range []packstatetest.Fault{packstatetest.Before, packstatetest.AfterLost} {
			t.Run(fmt.Sprintf("%s %d", call, fault), func(t *testing.T) {
				line(t, func(w *world) {
					ctx := context.Background()
					p := w.start("w0", 0)
					for i := range 3 {
						w.scan("d1", fmt.Sprint("S", i), scan.Supply)
						w.during(5 * time.Second)
					}
					w.lose(2, false)
					p.drain() // only the person calls the store
					w.store.Fail(call, fault)
					if _, err := ResumeAfterLoss(ctx, w.resumer(), anna); err == nil {
						t.Error("the fault is not told")
					}
					if _, err := ResumeAfterLoss(ctx, w.resumer(), anna); err != nil && !errors.Is(err, ErrNotHalted) {
						t.Errorf("again: %v", err)
					}
					w.start("w1", 0)
					w.scan("d1", "S9", scan.Supply)
					w.during(5 * time.Minute)
					parked := 0
					for _, s := range w.fold().states {
						if s.Phase == ledger.Parked {
							parked++
						}
					}
					if parked == 0 || w.halted() != "" {
						t.Errorf("%d packs parked, key %q", parked, w.halted())
					}
					w.agree(t, parked)
					w.kept(t)
					once := map[scan.PackID]int{}
					for _, f := range w.fold().facts {
						for _, p := range f.Packs {
							if once[p.K]++; f.Kind == ledger.Park && once[p.K] > 1 && p.Reason == scan.LedgerLoss {
								t.Errorf("pack %s is parked again", p.K)
							}
						}
					}
				})
			})
		}
	}
}

// TestEveryWorkerHasNoticedBeforeTheResume: a worker that only begins to see the loss when the
// person comes would halt the account again after the resume.
func TestEveryWorkerHasNoticedBeforeTheResume(t *testing.T) {
	line(t, func(w *world) {
		w.reg.lossy.Store(true)
		for i := range 3 {
			w.start(fmt.Sprint("w", i), i)
		}
		for i := range 4 {
			w.scan("d1", fmt.Sprint("S", i), scan.Supply)
			w.during(5 * time.Second)
		}
		w.broker.LoseTail(3)
		w.scan("d1", "S8", scan.Supply)
		for w.halted() == "" {
			w.during(10 * time.Millisecond)
		}
		loss, err := ResumeAfterLoss(context.Background(), w.resumer(), anna)
		if err != nil || loss.Parked == 0 {
			t.Fatalf("%+v %v", loss, err)
		}
		e := w.scan("d1", "S9", scan.Supply)
		w.during(5 * time.Minute)
		w.want(e, "done")
		if w.halted() != "" {
			t.Errorf("halted again: %s", w.halted())
		}
		w.agree(t, loss.Parked)
	})
}

// TestAHeadFileThatKnowsMoreIsALossToo: all that an embedded store leaves behind.
func TestAHeadFileThatKnowsMoreIsALossToo(t *testing.T) {
	line(t, func(w *world) {
		ctx := context.Background()
		w.appendRaw(&ledger.Record{})
		if err := w.store.SaveHead(acc, ledger.Head{Seq: 3, Hash: strings.Repeat("0", 64)}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Resume(ctx, w.resumer(), anna); !errors.Is(err, ErrLedgerLost) {
			t.Errorf("a plain resume: %v", err)
		}
		loss, err := ResumeAfterLoss(ctx, w.resumer(), anna)
		if err != nil || !loss.File || loss.Lost || loss.Seq != 2 {
			t.Errorf("%+v %v", loss, err)
		}
		if _, has, err := w.store.LoadHead(acc); has || err != nil {
			t.Errorf("the head file is still there: %v", err)
		}
	})
}

func TestWithoutAWitnessNothingIsDeliveredAgain(t *testing.T) {
	line(t, func(w *world) {
		ctx := context.Background()
		p := w.start("w0", 0)
		w.scan("d1", "S0", scan.Supply)
		w.settle(time.Minute)
		p.drain()
		w.store.Lose()
		if err := w.store.Halt(ctx, acc, haltNote(1, whyLost)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Resume(ctx, w.resumer(), anna); !errors.Is(err, ErrLedgerLost) {
			t.Errorf("a plain resume: %v", err)
		}
		r := w.resumer()
		r.ResetScans = func(context.Context, string, time.Time) error { t.Error("the consumer is reset"); return nil }
		loss, err := ResumeAfterLoss(ctx, r, anna)
		if err != nil || loss.Known || loss.Lost || loss.Dropped || loss.Seq == 0 || w.halted() != "" {
			t.Errorf("%+v, key %q: %v", loss, w.halted(), err)
		}
	})
}
