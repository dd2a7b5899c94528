package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"decom/ratelimit"
	"decom/worker/ledger"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// pause puts a pause on the ledger, until is from now on; 0 is until somebody ends it.
func (w *world) pause(until time.Duration) uint64 {
	w.t.Helper()
	return w.control(ledger.Pause, until, nil)
}

func (w *world) control(kind ledger.Kind, until time.Duration, limits *ledger.Limits) uint64 {
	w.t.Helper()
	c := ledger.Control{Limits: limits}
	if until != 0 {
		c.Until = time.Now().Add(until).UnixMilli()
	}
	seq, err := SetControl(context.Background(), w.dev.Ledger(acc), acc, kind, c, anna)
	if err != nil {
		w.t.Fatal(err)
	}
	return seq
}

// goOn is a person's resume.
func (w *world) goOn() {
	w.t.Helper()
	ctx := context.Background()
	seen, err := ControlsOf(ctx, w.dev.Ledger(acc), w.store, acc)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := EndControls(ctx, w.dev.Ledger(acc), w.store, acc, seen, anna); err != nil {
		w.t.Fatal(err)
	}
}

// pausesKept holds the ledger to its pauses: no attempt is opened, and nothing is sent again,
// by a record behind one. It returns how many records stand behind a pause.
func (w *world) pausesKept() (behind int) {
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
		resends := slices.ContainsFunc(r.Fact, func(f ledger.Fact) bool { return f.Kind == ledger.Resend })
		if pause, _ := c.Now(at); pause != nil {
			behind++
			if len(r.Open) > 0 || resends {
				w.t.Errorf("PAUSE: record %d of %s opens %d attempts (resend: %v) behind the pause of record %d", e.Seq, r.By, len(r.Open), resends, pause.Seq)
			}
		}
		c.Add(e.Seq, r)
	}
	return behind
}

func (w *world) changes() int {
	n, _, _ := w.reg.count()
	return n
}

// TestAPauseUnderLoadStopsWhatIsNewAndFinishesWhatIsSent: two workers, packs all the time,
// answers of seconds. What was sent gets its outcome during the pause, nothing is opened,
// nothing is lost, and the resume sends the rest.
func TestAPauseUnderLoadStopsWhatIsNewAndFinishesWhatIsSent(t *testing.T) {
	for _, mode := range []Mode{ModeSingle, ModeMixed} {
		t.Run(string(mode), func(t *testing.T) {
			line(t, func(w *world) {
				w.cfg.Mode, w.cfg.UseMixed, w.cfg.Parallel = mode, true, 4
				w.reg.always(fate{slow: 2 * time.Second})
				w.start("w1", 0)
				w.start("w2", 1)
				for i := range 200 {
					w.scan("d1", fmt.Sprint("S", i), scan.Supply)
					w.during(20 * time.Millisecond)
				}
				w.pause(0)
				sent := w.changes()
				if sent == 0 {
					t.Fatal("nothing was sent before the pause: this proves nothing")
				}
				w.during(10 * time.Second)
				// What had been opened may still have left; what follows has not.
				atRest := w.changes()
				w.scan("d1", "later", scan.Supply)
				w.during(10 * time.Minute)
				if n := w.changes(); n != atRest {
					t.Errorf("%d change calls left during the pause", n-atRest)
				}
				done := len(w.broker.Stored())
				if done == 0 || done >= 200 || w.broker.Left(acc) == 0 {
					t.Errorf("%d outcomes, %d scans wait: what was sent must end, the rest must wait", done, w.broker.Left(acc))
				}
				for k, s := range w.fold().states {
					if s.Phase == ledger.Opened {
						t.Errorf("pack %s is open after ten minutes of a pause", k)
					}
				}
				w.goOn()
				w.settle(time.Hour)
				w.pausesKept()
			})
		})
	}
}

// TestAPauseEndsByItselfAtItsTime, to the second, in every process and without a record.
func TestAPauseEndsByItselfAtItsTime(t *testing.T) {
	line(t, func(w *world) {
		w.start("w1", 0)
		w.start("w2", 1)
		w.pause(10 * time.Minute)
		n := len(w.broker.Records(acc))
		e := w.scan("d1", "S1", scan.Supply)
		w.during(10*time.Minute - time.Millisecond)
		if w.changes() != 0 || w.outcome(e) != "" {
			t.Errorf("%d calls a millisecond before the end, outcome %q", w.changes(), w.outcome(e))
		}
		w.during(5 * time.Second)
		if w.outcome(e) != "done" {
			t.Errorf("five seconds after the end the outcome is %q", w.outcome(e))
		}
		r, err := ledger.Decode(w.broker.Records(acc)[n].Payload, acc)
		if err != nil || len(r.Open) != 1 {
			t.Errorf("the first record after the pause is %+v, %v; want the attempt", r, err)
		}
		w.pausesKept()
	})
}

// TestARestartKeepsAPause: whoever starts later finds it, however far behind the head it
// stands, with Redis as it was, rolled back, or empty.
func TestARestartKeepsAPause(t *testing.T) {
	for _, redis := range []string{"as it was", "rolled back", "empty"} {
		t.Run(redis, func(t *testing.T) {
			line(t, func(w *world) {
				p := w.start("w1", 0)
				w.scan("d1", "S0", scan.Supply)
				w.settle(time.Minute)
				old := w.store.Save()
				w.control(ledger.Tune, 0, &ledger.Limits{Batch: 7})
				w.pause(time.Hour)
				for i := range 5 { // records behind it: facts of people
					w.during(5 * time.Second)
					_, err := AppendFact(context.Background(), w.dev.Ledger(acc), acc, "test", func(context.Context, ledger.Head) (ledger.Fact, error) {
						return ledger.Fact{Kind: ledger.Review, Who: "Anna", Why: fmt.Sprint("note ", i)}, nil
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				w.during(5 * time.Second)
				p.kill()
				<-p.done
				switch redis {
				case "rolled back":
					w.store.RollBack(old)
				case "empty":
					w.store.Lose()
				}
				q := w.start("w2", 0)
				e := w.scan("d1", "S1", scan.Supply)
				w.during(30 * time.Minute)
				if w.changes() != 1 || w.outcome(e) != "" {
					t.Errorf("%d calls, outcome %q: the new process does not know the pause", w.changes(), w.outcome(e))
				}
				q.kill() // once more: what it stored is what the next one starts from
				<-q.done
				w.start("w3", 0)
				w.during(20 * time.Minute)
				if w.changes() != 1 {
					t.Error("the third process does not know the pause")
				}
				c, err := ControlsOf(context.Background(), w.dev.Ledger(acc), w.store, acc)
				if err != nil || c.Pause == nil || c.Tune == nil || c.Tune.Limits.Batch != 7 {
					t.Errorf("people's tools read %+v, %v", c, err)
				}
				w.settle(time.Hour) // it ends by itself
				w.want(e, "done")
				w.pausesKept()
			})
		})
	}
}

// TestALateCopyDuringAPauseIsSettledByReads: an answer is lost just before the pause, its
// copy is executed minutes later. The hold and its verify go on, nothing is sent.
func TestALateCopyDuringAPauseIsSettledByReads(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.Settle = E4
		w.start("w1", 0)
		w.start("w2", 1)
		w.reg.next(fate{late: 2 * time.Minute})
		late := w.scan("d1", "S1", scan.Supply)
		w.during(time.Second)
		w.reg.next(fate{lost: true})
		never := w.scan("d1", "S2", scan.Supply)
		w.during(time.Second)
		w.pause(0)
		w.during(time.Hour)
		w.want(late, "done/confirmed")
		if s := w.fold().states[w.packOf("S2").ID()]; s.Phase != ledger.Due || w.changes() != 2 {
			t.Errorf("the pack that was never executed is %s after %d calls, want due after 2", s.Phase, w.changes())
		}
		w.goOn()
		w.settle(time.Hour)
		w.want(never, "done")
		w.pausesKept()
	})
}

// TestNothingIsSentAgainDuringAPause under `doubt: sameid`, where a second send is no new attempt.
func TestNothingIsSentAgainDuringAPause(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.Doubt, w.cfg.Settle = SameID, E4
		w.reg.refusesUsed = true
		w.reg.next(fate{lost: true})
		w.start("w1", 0)
		e := w.scan("d1", "S1", scan.Supply)
		w.during(time.Second)
		w.pause(0)
		w.during(time.Hour)
		if w.changes() != 1 {
			t.Errorf("%d sends, want the one before the pause", w.changes())
		}
		w.goOn()
		w.settle(2 * time.Hour)
		if w.outcome(e) == "" {
			t.Error("no outcome after the pause")
		}
		w.pausesKept()
	})
}

// TestASecondSendThatAPauseOvertakesIsNotMade: the pause comes between the claim of a resend and its record, which loses
// against it and is drafted anew.
func TestASecondSendThatAPauseOvertakesIsNotMade(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.Doubt, w.cfg.Settle = SameID, E4
		w.reg.refusesUsed = true
		w.reg.next(fate{lost: true})
		at := newNth(2) // after the record that opens
		w.onStep(func(_ *process, step string) {
			if step == "S4" && at.now() {
				w.pause(0)
			}
		})
		w.start("w1", 0)
		e := w.scan("d1", "S1", scan.Supply)
		w.during(time.Hour)
		if !at.came() || w.changes() != 1 {
			t.Errorf("the pause came %v, %d sends, want the one before it", at.came(), w.changes())
		}
		w.goOn()
		w.settle(2 * time.Hour)
		if w.outcome(e) == "" {
			t.Error("no outcome after the pause")
		}
		w.pausesKept()
	})
}

// TestARepeatedOrLateRecordOfAPauseChangesNothing: the tool's append loses its answer and is
// repeated; a message that bids to look comes long after the pause's end.
func TestARepeatedOrLateRecordOfAPauseChangesNothing(t *testing.T) {
	line(t, func(w *world) {
		p := w.start("w1", 0)
		w.pause(0)
		w.goOn()
		p.acc.Hurry()
		w.during(time.Second)
		e := w.scan("d1", "S1", scan.Supply)
		w.during(5 * time.Second)
		w.want(e, "done")
		seen, err := ControlsOf(context.Background(), w.dev.Ledger(acc), w.store, acc)
		if err != nil || seen.Pause != nil {
			t.Fatalf("%+v, %v", seen, err)
		}
		w.pause(0)
		if _, err := EndControls(context.Background(), w.dev.Ledger(acc), w.store, acc, seen, anna); !errors.Is(err, ErrControlsMoved) {
			t.Errorf("a resume of a pause that nobody read: %v", err)
		}
		w.during(5 * time.Second)
		p.acc.Hurry()
		f := w.scan("d1", "S2", scan.Supply)
		w.during(time.Minute)
		if w.outcome(f) != "" {
			t.Error("the pause does not stand any more")
		}
		w.goOn()
		w.settle(time.Minute)
		w.pausesKept()
	})
}

// TestATuneNarrowsAndItsEndRestores: the rate that NMVS sees, and the packs of a bulk.
func TestATuneNarrowsAndItsEndRestores(t *testing.T) {
	line(t, func(w *world) {
		w.rate = ratelimit.Rate{N: 8, Per: time.Second}
		w.cfg.Mode, w.cfg.Parallel = ModeSingle, 50
		w.cfg.Rates = map[string]ratelimit.Rate{"single": w.rate, "bulk": w.rate}
		w.start("w1", 0)
		for i := range 1000 {
			w.scan("d1", fmt.Sprint("S", i), scan.Supply)
		}
		perSecond := func(d time.Duration) float64 {
			before := w.changes()
			w.during(d)
			return float64(w.changes()-before) / d.Seconds()
		}
		near := func(what string, got, want float64) {
			t.Helper()
			if got < 0.9*want || got > 1.1*want+0.2 {
				t.Errorf("%s: %.1f calls a second, want %.1f", what, got, want)
			}
		}
		w.during(5 * time.Second)
		near("as configured", perSecond(10*time.Second), 8)
		w.control(ledger.Tune, 0, &ledger.Limits{Single: "2/s"})
		w.during(2 * time.Second)
		near("tuned", perSecond(20*time.Second), 2)
		w.control(ledger.Tune, 40*time.Second, &ledger.Limits{Single: "16/s"})
		w.during(2 * time.Second)
		near("above the configuration, without a word for it", perSecond(10*time.Second), 8)
		w.control(ledger.Tune, 30*time.Second, &ledger.Limits{Single: "16/s", Above: true})
		w.during(2 * time.Second)
		near("above the configuration, as asked for", perSecond(10*time.Second), 16)
		w.during(20 * time.Second)
		near("after its end", perSecond(10*time.Second), 8)
	})
}

// TestAConfigurationIsTakenOverWhileItRuns, below a tune and above it.
func TestAConfigurationIsTakenOverWhileItRuns(t *testing.T) {
	rate := func(n float64) map[string]ratelimit.Rate {
		return map[string]ratelimit.Rate{"single": {N: n, Per: time.Second}, "bulk": {N: 1, Per: time.Second}}
	}
	for _, tt := range []struct {
		tune Live
		t    *ledger.Limits
		want Live
	}{
		{Live{Parallel: 8, Batch: 500, Rates: rate(5)}, nil, Live{Parallel: 8, Batch: 500, Rates: rate(5)}},
		{Live{Parallel: 8, Batch: 500, Rates: rate(5)}, &ledger.Limits{Single: "3/s", Parallel: 2, Batch: 9}, Live{Parallel: 2, Batch: 9, Rates: rate(3)}},
		{Live{Parallel: 8, Batch: 500, Rates: rate(2)}, &ledger.Limits{Single: "3/s", Parallel: 9, Batch: 1000}, Live{Parallel: 8, Batch: 500, Rates: rate(2)}},
		{Live{Parallel: 8, Batch: 500, Rates: rate(2)}, &ledger.Limits{Single: "3/s", Parallel: 9999, Batch: 9999, Above: true}, Live{Parallel: MaxParallel, Batch: ledger.MaxPacks, Rates: rate(3)}},
		{Live{Parallel: 8}, &ledger.Limits{Single: "3/s"}, Live{Parallel: 8}},
	} {
		got, err := tuned(tt.tune, tt.t)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%+v under %+v is %+v, %v; want %+v", tt.tune, tt.t, got, err, tt.want)
		}
	}
	if _, err := tuned(Live{Rates: rate(1)}, &ledger.Limits{Single: "much"}); err == nil {
		t.Error("a rate that cannot be read is taken")
	}
	line(t, func(w *world) {
		w.cfg.Parallel, w.cfg.Mode = 1, ModeSingle
		w.reg.always(fate{slow: time.Second})
		p := w.start("w1", 0)
		for i := range 100 {
			w.scan("d1", fmt.Sprint("S", i), scan.Supply)
		}
		w.during(10 * time.Second)
		if n := w.changes(); n > 10 {
			t.Errorf("%d calls of a second each in ten seconds, one at a time", n)
		}
		if err := p.acc.SetLive(Live{Mode: ModeBulk}); err == nil {
			t.Error("a mode without its endpoint is taken")
		}
		if err := p.acc.SetLive(Live{Mode: ModeSingle, Parallel: 20, Rates: rate(50)}); err != nil {
			t.Fatal(err)
		}
		before := w.changes()
		w.during(10 * time.Second)
		if n := w.changes() - before; n < 80 {
			t.Errorf("%d calls in ten seconds, twenty at a time", n)
		}
		p.drain() // with more calls on their way than it began with
		w.start("w2", 0)
		w.settle(time.Hour)
	})
}

// TestPausesAreKeptWhateverHappens draws seeded schedules: processes that die and start,
// Redis that fails and forgets, lost answers, and people who pause, tune and resume at
// random moments.
func TestPausesAreKeptWhateverHappens(t *testing.T) {
	behind := 0
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			line(t, func(w *world) {
				r := rand.New(rand.NewPCG(seed, 99))
				w.cfg.UseMixed, w.cfg.Mode, w.cfg.Settle = true, []Mode{ModeAuto, ModeSingle, ModeMixed}[r.IntN(3)], E4
				w.cfg.THoldBulk = 5 * time.Minute
				w.cfg.Rates = map[string]ratelimit.Rate{"single": w.rate, "bulk": w.rate}
				var calm atomic.Bool
				w.onCall(func(_ *process, call string) packstatetest.Fault {
					w.mu.Lock()
					defer w.mu.Unlock()
					if calm.Load() || r.IntN(50) > 0 {
						return packstatetest.None
					}
					return []packstatetest.Fault{packstatetest.Before, packstatetest.AfterLost}[r.IntN(2)]
				})
				draw := func(n int) int { // the hooks draw, too
					w.mu.Lock()
					defer w.mu.Unlock()
					return r.IntN(n)
				}
				procs := []*process{w.start("w1", 0), w.start("w2", 1)}
				for i := range 60 {
					w.scan("d1", fmt.Sprint("S", i), scan.Supply)
					switch draw(24) {
					case 0, 1:
						w.pause(time.Duration(draw(90)) * time.Second)
					case 2:
						w.goOn()
					case 3:
						w.control(ledger.Tune, time.Duration(draw(60)+1)*time.Second, &ledger.Limits{Parallel: 1 + draw(8), Single: "9/s", Above: draw(2) == 0})
					case 4:
						n := draw(2)
						procs[n].kill()
						<-procs[n].done
						procs[n] = w.start(fmt.Sprintf("w%d-%d", n, i), n)
					case 5:
						w.store.Lose()
					case 6:
						w.reg.next(fate{mute: true}, fate{lost: true})
					}
					w.during(time.Duration(draw(2000)) * time.Millisecond)
				}
				calm.Store(true)
				w.during(10 * time.Second)
				w.goOn()
				w.settle(2 * time.Hour)
				behind += w.pausesKept()
			})
		})
	}
	if behind == 0 {
		t.Error("no record stands behind a pause: this proves nothing")
	}
}

func TestAControlThatNoWorkerCouldFollowIsNotWritten(t *testing.T) {
	now := time.Now()
	ok := ledger.Limits{Single: "3/s", Bulk: "4/min", Parallel: 8, Batch: 200}
	change := func(f func(l *ledger.Limits)) *ledger.Limits { l := ok; f(&l); return &l }
	for _, tt := range []struct {
		kind ledger.Kind
		c    ledger.Control
		want string // empty: it is fine
	}{
		{ledger.Pause, ledger.Control{}, ""},
		{ledger.Tune, ledger.Control{Limits: &ok, Until: now.Add(time.Hour).UnixMilli()}, ""},
		{ledger.Pause, ledger.Control{Until: now.Add(-time.Second).UnixMilli()}, "over before it begins"},
		{ledger.Pause, ledger.Control{Limits: &ok}, "limits belong to a tune"},
		{ledger.Tune, ledger.Control{}, "limits belong to a tune"},
		{ledger.Resume, ledger.Control{}, "neither a pause nor a tune"},
		{ledger.Tune, ledger.Control{Limits: &ledger.Limits{}}, "no limit is given"},
		{ledger.Tune, ledger.Control{Limits: change(func(l *ledger.Limits) { l.Single = "0/s" })}, "single:"},
		{ledger.Tune, ledger.Control{Limits: change(func(l *ledger.Limits) { l.Bulk = "often" })}, "bulk:"},
		{ledger.Tune, ledger.Control{Limits: change(func(l *ledger.Limits) { l.Parallel = -1 })}, "parallel: -1"},
		{ledger.Tune, ledger.Control{Limits: change(func(l *ledger.Limits) { l.Batch = 1001 })}, "batch: 1001"},
	} {
		err := checkControl(tt.kind, tt.c, now)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %+v: %v, want %q", tt.kind, tt.c, err, tt.want)
		}
	}
}
