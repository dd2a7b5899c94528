package worker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// A ledger that loses records which Redis never held leaves no witness but the writer
// itself, and the chain. What stands here was found by the simulation
// (bench/results/faults.md).

// TestAScanWhoseRecordIsGoneIsNotAcknowledged: the record is lost between append and apply,
// another stands in its place, or others passed it. Acknowledged, the scan would be nowhere.
func TestAScanWhoseRecordIsGoneIsNotAcknowledged(t *testing.T) {
	for _, grown := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d records in its place", grown), func(t *testing.T) {
			line(t, func(w *world) {
				w.reg.lossy.Store(true)
				at := newNth(1)
				w.onStep(func(p *process, step string) {
					if p.name == "w0" && step == "S5" && at.now() {
						w.broker.LoseTail(1)
						for i := range grown { // the other one's
							w.scan("d2", fmt.Sprint("other", i), scan.UndoSupply)
							time.Sleep(5 * time.Second)
						}
					}
				})
				w.start("w0", 0)
				w.start("w1", 1)
				w.during(5 * time.Second)
				e := w.scan("d1", "S1", scan.Supply)
				w.during(30 * time.Second)
				if !at.came() || !w.isHalted() {
					t.Errorf("the loss came %v, halted %v", at.came(), w.isHalted())
				}
				if w.broker.Acked(acc, e.seq) {
					t.Error("KEPT: the scan is acknowledged, no record holds it")
				}
				if _, err := ResumeAfterLoss(context.Background(), w.resumer(), anna); err != nil {
					t.Error(err)
				}
				w.settle(time.Hour)
				w.want(e, "done")
			})
		})
	}
}

// TestALinkThatBreaksUnderAWriterHaltsTheAccount: the last record is lost, and a late one of
// somebody else takes its number. The writer's next append fits by number, and nobody reads
// what stands before it but the outbox: in one process, in two, and after a restart.
func TestALinkThatBreaksUnderAWriterHaltsTheAccount(t *testing.T) {
	for _, tt := range []struct {
		name    string
		workers int
		restart bool // the process ends before it halts; the next one must
	}{
		{"one process", 1, false}, {"two", 2, false}, {"a restart", 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			line(t, func(w *world) {
				w.reg.lossy.Store(true)
				procs := make([]*process, tt.workers)
				for i := range procs {
					procs[i] = w.start(fmt.Sprint("w", i), i)
				}
				for i := range 3 {
					w.scan("d1", fmt.Sprint("S", i), scan.Supply)
					w.during(5 * time.Second)
				}
				w.broker.LoseTail(1)
				w.appendRaw(&ledger.Record{})
				w.during(10 * time.Second)
				if tt.restart {
					w.onStep(func(p *process, step string) {
						if step == "S6" {
							p.kill()
						}
					})
				}
				w.scan("d1", "S7", scan.Supply)
				w.during(10 * time.Second)
				if tt.restart {
					w.onStep(func(*process, string) {})
					w.start("again", 0)
					w.during(10 * time.Second)
				}
				if note := w.halted(); !strings.Contains(note, whyChain) {
					t.Errorf("halted: %q", note)
				}
				sent, _, _ := w.reg.count()
				w.scan("d1", "S8", scan.Supply)
				w.during(time.Hour)
				if now, _, _ := w.reg.count(); now != sent {
					t.Errorf("STOP: %d calls after it was noticed", now-sent)
				}
			})
		})
	}
}

// TestAPackThatAClockAheadPutBackIsNotDelayed: a worker whose clock was set ahead by a day put its pack back to rest; the clock is right
// again (bench/chaos, seed 1026).
func TestAPackThatAClockAheadPutBackIsNotDelayed(t *testing.T) {
	for _, mode := range []Mode{ModeSingle, ModeBulk} {
		for _, c := range []struct {
			parallel int
			withheld bool // another one is due, is asked for again and again, and never sent
		}{{1, false}, {8, false}, {8, true}} { // with one slot, the fetch has it when the pack is found
			t.Run(fmt.Sprintf("%s, parallel %d, withheld %v", mode, c.parallel, c.withheld), func(t *testing.T) {
				line(t, func(w *world) {
					w.cfg.Mode, w.cfg.UseBulk, w.cfg.Parallel = mode, true, c.parallel
					var packs []scan.Pack
					for i := range 4 {
						packs = append(packs, w.packOf(fmt.Sprint("S", i)))
						w.putBack(packs[i], time.Now().Add(36*time.Hour))
					}
					if c.withheld {
						w.putBack(w.packOf("M1"), time.Now())
						w.setWithheld(missingScope, 0)
					}
					w.start("w0", 0)
					w.during(3 * time.Minute)
					for i := range packs {
						if s := w.fold().states[packs[i].ID()]; s.Phase != ledger.Inactive {
							t.Errorf("pack %d is %s after three minutes", i, s.Phase)
						}
					}
				})
			})
		}
	}
}

// putBack has the ledger say that a worker opened the pack and put it back until then.
func (w *world) putBack(p scan.Pack, until time.Time) {
	w.t.Helper()
	c := "AHEAD" + p.Serial()
	w.appendRaw(&ledger.Record{Open: []ledger.Open{{C: c, Svc: ledger.Single, Op: scan.Supply, SHA: ledger.Hash(nil), Product: product(p),
		Packs: []ledger.OpenPack{{Serial: p.Serial(), Origin: ledger.Origin{Ev: "e" + c, Src: site + "/d1", Key: time.Now().UnixMilli(), Timed: true, Op: scan.Supply}}}}}})
	es := w.broker.Records(acc)
	w.appendRaw(&ledger.Record{Fact: []ledger.Fact{{C: c, Of: es[len(es)-1].Seq, Kind: ledger.Off, NotBefore: until.UnixMilli(),
		Packs: []ledger.FactPack{{K: p.ID()}}}}})
}

// TestAPublisherWhoseClockIsAheadTellsNothingTwice: what the stream took for a repetition is looked for where it was stored (bench/chaos,
// seed 1026).
func TestAPublisherWhoseClockIsAheadTellsNothingTwice(t *testing.T) {
	line(t, func(w *world) {
		ctx := context.Background()
		stored := time.Now()
		o := queue.Outcome{Site: site, Device: "d1", EventID: "e1", Ledger: acc + "/1/0", Body: []byte(`{"site":"` + site + `","device":"d1","event_id":"e1"}`)}
		if _, err := w.dev.PublishOutcomes(ctx, []queue.Outcome{o}); err != nil {
			t.Fatal(err)
		}
		w.during(3 * time.Hour) // by the publisher's clock
		p := &Publisher{Account: acc, Sites: []string{site}, Outcomes: w.dev}
		if err := p.rescue(ctx, []queue.Outcome{o}, stored); err != nil {
			t.Fatal(err)
		}
		if n := len(w.broker.Stored()); n != 1 {
			t.Errorf("OUT: %d outcomes of one event", n)
		}
	})
}

// TestNoOffOfAFirstSenderCountsBehindAResume under `doubt: sameid`: a resend changes no pack, so that nothing shows one that
// the ledger lost; its copy may be on its way (seed 701044).
func TestNoOffOfAFirstSenderCountsBehindAResume(t *testing.T) {
	p := mustPack(t, "S1", testLot, testExp)
	rec := &ledger.Record{Open: []ledger.Open{{C: "c", Svc: ledger.Single, Op: scan.Supply, Product: product(p), Packs: []ledger.OpenPack{{Serial: p.Serial()}}}}}
	for _, test := range []struct {
		doubt   Doubt
		resumed uint64
		counts  bool
	}{{SameID, 5, false}, {SameID, 2, true}, {SameID, 0, true}, {Hold, 5, true}} {
		l := &loop{cfg: Config{Doubt: test.doubt}.withDefaults(), book: ledger.NewBook(), resumedAt: test.resumed}
		l.book.Add(3, rec)
		d := &draft{busy: map[scan.PackID]bool{}, known: map[scan.PackID]bool{p.ID(): true}}
		off := offClaim(l.book.Attempt("c"), false, ledger.Fact{})
		l.draftClaim(d, &off, ledger.States{p.ID(): {Phase: ledger.Opened, Opening: 3}})
		if got := len(d.rec.Fact) == 1; got != test.counts {
			t.Errorf("%s, opened by record 3, resumed by record %d: counts %v", test.doubt, test.resumed, got)
		}
	}
}

// TestAResumeAfterLossTellsWhatTheOutboxPassesOver: with three replicas nats-server lets the outbox keep its place beyond the end
// of a ledger that lost its tail; the records that come there would never be told. Set back by an hour, it gives what was told
// long ago to a process that has told none of it.
func TestAResumeAfterLossTellsWhatTheOutboxPassesOver(t *testing.T) {
	for _, away := range []time.Duration{0, 3 * time.Hour} { // from the loss to the person; the stream forgets ids after one
		t.Run(away.String(), func(t *testing.T) {
			line(t, func(w *world) {
				w.broker.OutboxKeepsPlace = true
				w.reg.lossy.Store(true)
				w.start("w0", 0)
				w.start("w1", 1)
				told, lost := w.scan("d1", "S", scan.Supply), map[string]bool{}
				for i := range 4 {
					w.during(20 * time.Minute)
					lost[w.scan("d1", fmt.Sprint("L", i), scan.Supply).id] = true
				}
				w.during(time.Minute)
				w.broker.LoseTail(8) // the openings and the results of four
				for i := range 3 {
					w.scan("d1", fmt.Sprint("new", i), scan.Supply)
				}
				w.during(time.Minute + away)
				if !w.isHalted() {
					t.Fatal("nobody noticed: this proves nothing")
				}
				if _, err := ResumeAfterLoss(context.Background(), w.resumer(), anna); err != nil {
					t.Fatal(err)
				}
				w.settle(2 * time.Hour)
				outcomes := map[string]int{}
				for _, o := range w.broker.Stored() {
					outcomes[o.EventID]++
				}
				w.want(told, "done")
				for id, n := range outcomes {
					if n > 1 && !lost[id] { // those are told of a second time: their packs are put aside
						t.Errorf("OUT: %s has %d outcomes", id, n)
					}
				}
				if len(outcomes) != 8 {
					t.Errorf("KEPT: %d of 8 scans have an outcome", len(outcomes))
				}
			})
		})
	}
}

// TestAPausedAccountNoticesThatItsLedgerLostRecords: it appends nothing that would show it, and people could neither
// resume it (the ledger lost records) nor resume it after the loss (it is not halted).
func TestAPausedAccountNoticesThatItsLedgerLostRecords(t *testing.T) {
	line(t, func(w *world) {
		w.start("w1", 0)
		w.start("w2", 1)
		w.want(w.settled("S1"), "done")
		w.pause(0)
		w.during(10 * time.Second)
		w.reg.lossy.Store(true)
		w.broker.LoseTail(1)
		waiting := w.scan("d1", "S2", scan.Supply)
		w.during(time.Minute)
		if !w.isHalted() || !strings.Contains(w.halted(), whyLost) {
			t.Fatalf("a minute later the account is not halted: %q", w.halted())
		}
		if _, err := ResumeAfterLoss(context.Background(), w.resumer(), anna); err != nil {
			t.Fatal(err)
		}
		w.during(10 * time.Minute)
		w.want(waiting, "done") // the pause was what the ledger lost
	})
}

// settled scans a pack and waits until nothing is left to do.
func (w *world) settled(serial string) event {
	w.t.Helper()
	e := w.scan("d1", serial, scan.Supply)
	w.during(30 * time.Second)
	return e
}
