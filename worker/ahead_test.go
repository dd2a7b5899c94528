package worker

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"decom/nmvs"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// openedAhead starts a process whose backlog is worked off by 16 calls at once of 200 ms, and
// comes back while some attempts wait for a slot.
func openedAhead(w *world) (p *process, all []event) {
	w.t.Helper()
	w.cfg.Mode, w.cfg.Parallel = ModeSingle, 16
	w.rate.N = 2000
	w.reg.always(fate{slow: 140 * time.Millisecond})
	for i := range 400 {
		all = append(all, w.scan("d1", fmt.Sprint("S", i), scan.Supply))
	}
	p = w.start("w0", 0)
	for range 200 {
		w.during(5 * time.Millisecond)
		if w.unsent() > 0 {
			return p, all
		}
	}
	w.t.Fatal("nothing is opened ahead of a slot")
	return nil, nil
}

// unsent counts the attempts on the ledger that have no slot yet, when 16 have one.
func (w *world) unsent() int { return w.open() - 16 }

func TestAFewAttemptsAreOpenedAheadOfASlotAndNoMoreCallsAreMadeAtOnce(t *testing.T) {
	line(t, func(w *world) {
		var opened, ended, waiting atomic.Int64
		w.onStep(func(_ *process, step string) {
			switch step {
			case "S8":
				ended.Add(1)
			case "S7":
				w.peek(func(f *folded) {
					n := 0
					for _, cs := range f.trx {
						n += len(cs)
					}
					opened.Store(int64(n))
				})
				if n := opened.Load() - ended.Load() - 16; n > waiting.Load() {
					waiting.Store(n)
				}
			}
		})
		openedAhead(w)
		w.settle(time.Hour)
		if n := w.reg.mostCalls(); n != 16 {
			t.Errorf("%d calls at once, want 16", n)
		}
		if n := waiting.Load(); n < 1 || n > 4 {
			t.Errorf("%d attempts waited for a slot, want 1 to 4", n)
		}
		if n := w.changes(); n != 400 {
			t.Errorf("%d calls for 400 packs", n)
		}
	})
}

// What waits for a slot when everything stops goes back to due, unsent: at once, although each
// slot hangs for half a minute, and nothing of it is held.
func TestADrainPutsWhatWaitsForASlotBackUnsent(t *testing.T) {
	line(t, func(w *world) {
		p, _ := openedAhead(w)
		w.reg.always(fate{lost: true})
		w.during(time.Second) // the slots are taken by calls that hang
		w.during(0)
		if w.unsent() <= 0 {
			t.Fatal("nothing waits: this proves nothing")
		}
		sent := w.changes()
		w.reg.always(fate{})
		p.cancel()
		w.during(100 * time.Millisecond)
		if n := w.unsent(); n != 0 {
			t.Errorf("%d attempts wait for a slot 100 ms after the signal", n)
		}
		<-p.done
		if n := w.changes() - sent; n != 0 {
			t.Errorf("%d calls after the signal", n)
		}
		w.start("w1", 0)
		w.settle(time.Hour)
		if _, verifies, _ := w.reg.count(); verifies != 16 {
			t.Errorf("%d packs were verified, want the 16 whose calls hung", verifies)
		}
	})
}

func TestWhatWaitsForASlotLongerThanTSendIsNotSentAndNothingMoreIsOpenedAhead(t *testing.T) {
	line(t, func(w *world) {
		openedAhead(w)
		w.reg.always(fate{lost: true})
		w.during(time.Second)
		if w.unsent() <= 0 {
			t.Fatal("nothing waits: this proves nothing")
		}
		records := len(w.broker.Records(acc))
		w.during(w.cfg.withDefaults().TSend)
		if n := w.unsent(); n != 0 {
			t.Errorf("%d attempts wait for a slot when T_SEND is over", n)
		}
		w.during(20 * time.Second) // the slots hang for 30 s
		if n := len(w.broker.Records(acc)) - records; n > 4 {
			t.Errorf("%d records while every slot hangs: what is opened can only be put back", n)
		}
		w.reg.always(fate{})
		w.settle(2 * time.Hour)
		if _, verifies, _ := w.reg.count(); verifies > 16+5 {
			t.Errorf("%d packs were verified: only calls that hung are in doubt", verifies)
		}
	})
}

func TestAHaltSendsNothingOfWhatWaitsForASlot(t *testing.T) {
	line(t, func(w *world) {
		openedAhead(w)
		if err := w.store.Halt(t.Context(), acc, "0 test"); err != nil {
			t.Fatal(err)
		}
		w.reg.setStop(true) // no byte may arrive from here on
		w.during(10 * time.Minute)
		w.reg.setStop(false)
		w.appendRaw(&ledger.Record{Fact: []ledger.Fact{{Kind: ledger.Resume, Who: "anna", Why: "test"}}})
		w.settle(2 * time.Hour)
	})
}

func TestAnOpenBreakerSendsNothingOfWhatWaitsForASlot(t *testing.T) {
	line(t, func(w *world) {
		openedAhead(w)
		w.reg.setDown(true)
		w.during(2 * time.Second)
		if n := w.open(); n != 0 {
			t.Errorf("%d packs are open while no call may start", n)
		}
		w.reg.setDown(false)
		w.settle(time.Hour)
		if _, verifies, pings := w.reg.count(); verifies != 0 || pings == 0 {
			t.Errorf("%d verifies, %d pings: an outage that takes no call leaves nothing in doubt", verifies, pings)
		}
	})
}

func TestAPauseOpensNothingMoreAheadAndFinishesWhatWaits(t *testing.T) {
	line(t, func(w *world) {
		openedAhead(w)
		w.pause(0)
		w.during(10 * time.Second)
		atRest := w.changes()
		if n := w.open(); n != 0 {
			t.Errorf("%d packs are open after ten seconds of a pause", n)
		}
		w.during(time.Minute)
		if n := w.changes() - atRest; n != 0 {
			t.Errorf("%d calls during the pause", n)
		}
		w.goOn()
		w.settle(time.Hour)
		w.pausesKept()
		if n := w.changes(); n != 400 {
			t.Errorf("%d calls for 400 packs", n)
		}
	})
}

// A SIGKILL leaves in doubt what was on its way and what waited for a slot: all of it is held and
// verified, and then sent.
func TestWhatWaitedForASlotAtASIGKILLIsVerifiedAndSent(t *testing.T) {
	line(t, func(w *world) {
		p, _ := openedAhead(w)
		p.kill()
		doubt := w.open()
		if doubt <= 16 || doubt > 20 {
			t.Errorf("%d packs are in doubt, want 17 to 20", doubt)
		}
		w.start("w1", 0)
		w.settle(2 * time.Hour)
		if _, verifies, _ := w.reg.count(); verifies != doubt {
			t.Errorf("%d verifies for %d packs in doubt", verifies, doubt)
		}
	})
}

// A verify scan of a backlog gets a slot although attempts are opened ahead all the time.
func TestReadsAndDuePacksGetASlotWhileAttemptsAreOpenedAhead(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.Mode, w.cfg.Parallel = ModeSingle, 16
		w.rate.N = 2000
		w.reg.next(fate{dial: true}) // the first pack becomes due at once
		due := w.scan("d1", "S0", scan.Supply)
		var read event
		for i := range 800 {
			if i == 200 {
				read = w.scan("d1", "S0R", scan.Verify)
			}
			if i > 200 && i%10 == 0 {
				w.scan("d2", fmt.Sprint("V", i), scan.Verify)
			}
			w.scan("d1", fmt.Sprint("S", i+1), scan.Supply)
		}
		w.start("w0", 0)
		for w.outcome(due) == "" || w.outcome(read) == "" {
			w.during(10 * time.Millisecond)
			if w.broker.Left(acc) == 0 {
				t.Fatalf("the backlog went first: due %q, read %q", w.outcome(due), w.outcome(read))
			}
		}
		w.settle(time.Hour)
		if n := w.reg.mostCalls(); n != 16 {
			t.Errorf("%d calls at once, want 16", n)
		}
	})
}

// A process whose loop has ended by a fault sends nothing of what waits: nobody would record it.
func TestWhatWaitsForASlotIsForgottenWithItsLoop(t *testing.T) {
	l := &loop{Account: &Account{}, cfg: Config{Mode: ModeSingle, Parallel: 1}.withDefaults(), ended: make(chan ending, 2)}
	hangs, sent := make(chan struct{}), 0
	call := func() ending { <-hangs; sent++; return ending{} }
	l.begin(job{since: time.Now(), call: call})
	l.begin(job{since: time.Now(), call: call})
	l.ahead.close()
	close(hangs)
	l.awaitSenders()
	if sent != 1 {
		t.Errorf("%d calls, want the one that had its slot", sent)
	}
}

// A sender whose look at Redis falls between the loop's append and what the loop then believes
// goes on with that, not some time later.
func TestASenderGoesOnAsSoonAsTheLoopKnowsTheNewHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &loop{Account: &Account{}}
		old, next := ledger.Head{Seq: 1}, ledger.Head{Seq: 2}
		l.believe(old)
		time.AfterFunc(time.Millisecond, func() { l.believe(next) })
		began := time.Now()
		if !l.awaitMove(t.Context(), old) || time.Since(began) != time.Millisecond || *l.Account.head.Load() != next {
			t.Errorf("it waited %v", time.Since(began))
		}
		if !l.awaitMove(t.Context(), old) || time.Since(began) != time.Millisecond {
			t.Error("it waits for a move that was made before")
		}
		if !l.awaitMove(t.Context(), next) || time.Since(began) != time.Millisecond+lookAgain {
			t.Errorf("without a move it waited until %v", time.Since(began))
		}
	})
}

// A person's scan does not wait for the backlog, nor for more than what was opened before it.
func TestAPersonsScanIsSentBesideWhatIsOpenedAhead(t *testing.T) {
	line(t, func(w *world) {
		openedAhead(w)
		e := w.scan("scanner", "now", scan.Supply)
		began := time.Now()
		for w.outcome(e) == "" && time.Since(began) < time.Minute {
			w.during(10 * time.Millisecond)
		}
		if took, left := time.Since(began), w.broker.Left(acc); took > time.Second || left == 0 {
			t.Errorf("it took %v, %d scans of the backlog are left", took, left)
		}
		w.settle(time.Hour)
	})
}

func TestNothingIsOpenedAheadUnlessEveryGateIsOpen(t *testing.T) {
	good := func() *loop {
		l := &loop{Account: &Account{deps: Deps{NMVS: admits{nmvs.Single: 64}, Limiter: &tokensLeft{}, Rank: func() int { return 0 }}}, book: ledger.NewBook(),
			cfg: Config{Mode: ModeSingle, Parallel: 16}.withDefaults(), inflight: 16}
		l.lanes.backlog, l.ahead.proven = 1, true
		return l
	}
	if n := good().places(); n != 4 {
		t.Fatalf("%d places, want 4", n)
	}
	for name, change := range map[string]func(l *loop){
		"few calls at once":     func(l *loop) { l.cfg.Parallel = 7; l.inflight = 7 },
		"no backlog":            func(l *loop) { l.lanes.backlog = 0 },
		"bulks":                 func(l *loop) { l.cfg.Mode = ModeAuto },
		"the same id":           func(l *loop) { l.cfg.Doubt = SameID },
		"verify first":          func(l *loop) { l.cfg.Settle = E3 },
		"paused":                func(l *loop) { l.paused = true },
		"halted":                func(l *loop) { l.latched.Store(true) },
		"draining":              func(l *loop) { l.draining.Store(true) },
		"no answer yet":         func(l *loop) { l.ahead.proven = false },
		"stands by":             func(l *loop) { l.deps.Rank = func() int { return 1 } },
		"breaker open":          func(l *loop) { l.deps.NMVS = admits{} },
		"breaker ramps up":      func(l *loop) { l.deps.NMVS = admits{nmvs.Single: 15} },
		"a verify wants a slot": func(l *loop) { l.doubts = map[string]*doubt{"c": {fenced: time.Now()}} },
		"a slow call":           func(l *loop) { l.settle(ending{took: time.Second, answered: true}); l.inflight = 16 },
		"a call in doubt":       func(l *loop) { l.settle(ending{took: time.Millisecond}); l.inflight = 16 },
	} {
		l := good()
		change(l)
		if n := l.places(); n > 0 {
			t.Errorf("%s: %d places", name, n)
		}
	}
	l := good()
	for range 4 {
		l.begin(job{since: time.Now()})
	}
	if l.places() != 0 || l.inflight != 16 {
		t.Errorf("4 wait: %d more places, %d calls", l.places(), l.inflight)
	}
	synctest.Test(t, func(*testing.T) {
		l := good()
		l.settle(ending{took: time.Second, answered: true})
		time.Sleep(l.cfg.grace(ledger.Single))
		l.inflight = 16
		if l.places() != 4 {
			t.Error("one slow call ends it for ever")
		}
	})
}
