package worker

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"decom/queue"
	"decom/ratelimit"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// A rebuild of several pieces: while Redis takes one, the next one is read (projector). Each
// record of these tests is a piece.

// rebuilds is a loop that has a ledger and a store, and projects a pack at a time.
func (w *world) rebuilds(records Records, state PackState) *loop {
	lim, err := ratelimit.New(ratelimit.Config{Limits: map[string]ratelimit.Rate{"single": w.rate, "bulk": w.rate}})
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := New(Config{Account: acc, Worker: "w9"}, Deps{Scans: w.dev.Scans(acc), Records: records, State: state, NMVS: gate{}, Limiter: lim})
	if err != nil {
		w.t.Fatal(err)
	}
	a.piecePacks = 1
	return newLoop(a)
}

func (w *world) edge() edge { return edge{w.store, &process{w: w}} }

// laid is a record that opened one pack.
type laid struct {
	ledger.Open
	seq uint64
}

// opens opens a pack.
func (w *world) opens(serial string, op scan.Op) laid {
	time.Sleep(time.Millisecond)
	id := fmt.Sprint(serial, op, time.Since(w.began))
	r := &ledger.Record{Open: []ledger.Open{{C: "C" + id, Svc: ledger.Single, Op: op,
		Product: &ledger.Product{Scheme: scan.GTIN, Code: gtin, Batch: testLot, Expiry: testExp},
		Packs:   []ledger.OpenPack{{Serial: serial, Origin: ledger.Origin{Ev: id, Src: "s/d", Key: time.Now().UnixMilli(), Op: op}}}}}}
	w.appendRaw(r)
	return laid{r.Open[0], w.fold().head.Seq}
}

// ends settles what opens opened.
func (w *world) ends(o laid, result scan.Result) {
	p, err := o.Pack(0)
	if err != nil {
		w.t.Fatal(err)
	}
	w.appendRaw(&ledger.Record{Fact: []ledger.Fact{{C: o.C, Of: o.seq, Kind: ledger.Result,
		Packs: []ledger.FactPack{{K: p.ID(), Answer: &ledger.Answer{Result: result, Called: true}}}}}})
}

// tenRecords is a ledger whose packs come again in later pieces: done, undone, done once more.
// halfWay is called in the middle of it.
func (w *world) tenRecords(halfWay func()) {
	s1, s2 := w.opens("S1", scan.Supply), w.opens("S2", scan.Supply)
	w.ends(s1, scan.Done)
	w.ends(s2, scan.Refused)
	halfWay()
	u1 := w.opens("S1", scan.UndoSupply)
	w.opens("S2", scan.Supply)
	w.ends(u1, scan.Done)
	w.opens("S3", scan.Supply)
	w.opens("S1", scan.Supply)
	w.appendRaw(&ledger.Record{Fact: []ledger.Fact{{Kind: ledger.Pause, Who: anna.Who, Why: "test", Control: &ledger.Control{}}}})
}

// shown holds the projection, and the loop's belief, to the ledger.
func (w *world) shown(l *loop) {
	w.t.Helper()
	ctx, f := context.Background(), w.fold()
	head, _, err := w.store.Head(ctx, acc)
	if err != nil || head != f.head || l.head != f.head {
		w.t.Errorf("Redis is at %v, the loop at %v, the ledger at %v: %v", head, l.head, f.head, err)
	}
	open := map[uint64]int{}
	for k, want := range f.states {
		if got, err := w.store.Peek(ctx, acc, []scan.PackID{k}); err != nil || got[k] != want {
			w.t.Errorf("pack %s: Redis says %+v, the ledger %+v: %v", k, got[k], want, err)
		}
		if want.Phase == ledger.Opened {
			open[want.Opening]++
		}
	}
	if seqs, err := w.store.OpenSeqs(ctx, acc); err != nil || fmt.Sprint(seqs) != fmt.Sprint(open) {
		w.t.Errorf("open attempts in Redis %v, on the ledger %v: %v", seqs, open, err)
	}
	if c, err := w.store.Controls(ctx, acc); err != nil || c.Pause == nil {
		w.t.Errorf("the pause is not stored: %+v %v", c, err)
	}
	if l.latched.Load() {
		w.t.Errorf("halted: %s", w.halted())
	}
}

// striking has strike called before the n-th apply goes to the store, and after it, too.
type striking struct {
	edge
	at            *nth
	before, after func(prev, next ledger.Head, states ledger.States, idx ledger.Index)
}

func (s striking) Apply(ctx context.Context, a string, prev, next ledger.Head, states ledger.States, idx ledger.Index) (packstate.Status, error) {
	now := s.at.now()
	if now && s.before != nil {
		s.before(prev, next, states, idx)
	}
	st, err := s.edge.Apply(ctx, a, prev, next, states, idx)
	if now && s.after != nil {
		s.after(prev, next, states, idx)
	}
	return st, err
}

// TestARebuildThatIsDisturbedShowsTheWholeLedger: Redis fails, with and without effect, or forgets, or
// another worker projects, while the second of ten pieces is on its way and the third one is read.
func TestARebuildThatIsDisturbedShowsTheWholeLedger(t *testing.T) {
	type change = func(prev, next ledger.Head, states ledger.States, idx ledger.Index)
	ctx := context.Background()
	other := func(w *world) change { // another worker is faster
		return func(ledger.Head, ledger.Head, ledger.States, ledger.Index) {
			if err := w.rebuilds(w.dev.Ledger(acc), w.edge()).synchronise(ctx); err != nil {
				t.Error(err)
			}
		}
	}
	for _, tt := range []struct {
		name          string
		call          string // that fails the second time
		fault         packstatetest.Fault
		before, after func(w *world) change
	}{
		{name: "nothing happens"},
		{name: "a view fails", call: "view", fault: packstatetest.Before},
		{name: "an apply fails without effect", call: "apply", fault: packstatetest.Before},
		{name: "an apply's answer is lost", call: "apply", fault: packstatetest.AfterLost},
		{name: "another worker projects the same piece", before: func(w *world) change {
			return func(prev, next ledger.Head, states ledger.States, idx ledger.Index) {
				if st, err := w.store.Apply(ctx, acc, prev, next, states, idx); st != packstate.OK || err != nil {
					t.Error(st, err)
				}
			}
		}},
		{name: "another worker passes it before", before: other},
		{name: "another worker passes it after", after: other},
		{name: "Redis forgets before", before: func(w *world) change {
			return func(ledger.Head, ledger.Head, ledger.States, ledger.Index) { w.store.Lose() }
		}},
		{name: "Redis forgets after", after: func(w *world) change {
			return func(ledger.Head, ledger.Head, ledger.States, ledger.Index) { w.store.Lose() }
		}},
		{name: "Redis forgets, another worker begins anew", after: func(w *world) change {
			return func(ledger.Head, ledger.Head, ledger.States, ledger.Index) {
				w.store.Lose()
				if _, err := w.store.Begin(ctx, acc); err != nil {
					t.Error(err)
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			line(t, func(w *world) {
				w.tenRecords(func() {})
				at := newNth(2)
				w.onCall(func(_ *process, call string) packstatetest.Fault {
					if call == tt.call && at.now() {
						return tt.fault
					}
					return packstatetest.None
				})
				s := striking{edge: w.edge(), at: newNth(2)}
				if tt.before != nil {
					s.before = tt.before(w)
				}
				if tt.after != nil {
					s.after = tt.after(w)
				}
				l := w.rebuilds(w.dev.Ledger(acc), s)
				if err := l.synchronise(ctx); err != nil || !s.at.came() || tt.call != "" && !at.came() {
					t.Fatalf("%v, a second apply %v", err, s.at.came())
				}
				w.shown(l)
			})
		})
	}
}

// TestASynchronisationOfManyPiecesKeepsWhatRedisHolds: only an empty Redis has nothing to tell of a pack that no
// piece has named.
func TestASynchronisationOfManyPiecesKeepsWhatRedisHolds(t *testing.T) {
	line(t, func(w *world) {
		ctx := context.Background()
		w.tenRecords(func() {
			if err := w.rebuilds(w.dev.Ledger(acc), w.edge()).synchronise(ctx); err != nil {
				t.Fatal(err)
			}
		})
		l := w.rebuilds(w.dev.Ledger(acc), w.edge())
		if err := l.synchronise(ctx); err != nil {
			t.Fatal(err)
		}
		w.shown(l)
	})
}

// viewing counts the packs that are viewed.
type viewing struct {
	edge
	packs *int
}

func (v viewing) View(ctx context.Context, a string, at ledger.Head, ks []scan.PackID) (packstate.Status, ledger.States, error) {
	*v.packs += len(ks)
	return v.edge.View(ctx, a, at, ks)
}

// TestARebuildViewsOnlyPacksThatComeAgain: two views of a pack of ten records, which name three packs nine times.
func TestARebuildViewsOnlyPacksThatComeAgain(t *testing.T) {
	line(t, func(w *world) {
		w.tenRecords(func() {})
		viewed := 0
		if err := w.rebuilds(w.dev.Ledger(acc), viewing{w.edge(), &viewed}).synchronise(context.Background()); err != nil || viewed != 3 {
			t.Errorf("%v, %d packs viewed, want those three times that a pack is opened once more", err, viewed)
		}
	})
}

// toldRecords says how each record was taken.
type toldRecords struct {
	Records
	taken func(seq uint64, err error)
}

func (r toldRecords) Read(ctx context.Context, from uint64, fn func(queue.Entry) error) (uint64, error) {
	return r.Records.Read(ctx, from, func(e queue.Entry) error {
		err := fn(e)
		r.taken(e.Seq, err)
		return err
	})
}

// TestAForkBehindAPieceOnItsWayHaltsAtWhatWasProven: while Redis takes the second piece, the fourth
// record turns out to follow another one, or to be another one than the loop knew, or to be nonsense.
// The second piece lands, the third one, which was read, does not leave any more.
func TestAForkBehindAPieceOnItsWayHaltsAtWhatWasProven(t *testing.T) {
	strange := ledger.Hash([]byte("another one"))
	for _, tt := range []struct {
		why   string
		wrong func(w *world, l *loop)
	}{
		{whyChain, func(w *world, _ *loop) {
			last := w.fold().head
			b, err := ledger.Encode(&ledger.Record{Account: acc}, ledger.Head{Seq: last.Seq, Hash: strange})
			if err == nil {
				_, err = w.dev.Ledger(acc).Append(context.Background(), last, b)
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
		{whyFork, func(w *world, l *loop) {
			w.opens("S4", scan.Supply)
			l.head = ledger.Head{Seq: 4, Hash: strange}
		}},
		{whyFold, func(w *world, _ *loop) {
			if _, err := w.dev.Ledger(acc).Append(context.Background(), w.fold().head, []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.why, func(t *testing.T) {
			line(t, func(w *world) {
				for i := range 3 {
					w.opens(fmt.Sprint("S", i), scan.Supply)
				}
				proven := w.broker.Records(acc)[1].Head()
				found := make(chan struct{})
				s := striking{edge: w.edge(), at: newNth(2), before: func(ledger.Head, ledger.Head, ledger.States, ledger.Index) {
					select {
					case <-found:
					case <-time.After(5 * time.Second):
						t.Error("nothing is read while Redis is busy")
					}
					time.Sleep(time.Second) // whoever does not wait for it halts before
				}}
				l := w.rebuilds(toldRecords{w.dev.Ledger(acc), func(seq uint64, err error) {
					if seq == 4 && err != nil {
						close(found)
					}
				}}, s)
				tt.wrong(w, l)
				w.reg.lossy.Store(true) // the judge bears a broken chain
				if err := l.synchronise(context.Background()); err != nil || !strings.Contains(w.halted(), tt.why) {
					t.Errorf("%v, halted: %q", err, w.halted())
				}
				if head, _, err := w.store.Head(context.Background(), acc); head != proven || err != nil {
					t.Errorf("Redis is at %v, want %v: %v", head, proven, err)
				}
				if known := l.Account.head.Load(); known != nil {
					t.Errorf("the account believes in %v", *known)
				}
			})
		})
	}
}

// TestAHaltInAnEarlierPieceIsFollowedAlthoughALaterOneFails: nobody reads that record again.
func TestAHaltInAnEarlierPieceIsFollowedAlthoughALaterOneFails(t *testing.T) {
	for _, resumed := range []bool{false, true} {
		line(t, func(w *world) {
			w.appendRaw(&ledger.Record{Fact: []ledger.Fact{{Kind: ledger.Halt, Who: anna.Who, Why: "stop"}}})
			for i := range 4 {
				w.opens(fmt.Sprint("S", i), scan.Supply)
			}
			if resumed {
				w.appendRaw(&ledger.Record{Fact: []ledger.Fact{{Kind: ledger.Resume, Who: anna.Who, Why: "go on"}}})
			}
			at := newNth(3)
			w.onCall(func(_ *process, call string) packstatetest.Fault {
				if call == "view" && at.now() {
					return packstatetest.Before
				}
				return packstatetest.None
			})
			l := w.rebuilds(w.dev.Ledger(acc), w.edge())
			if err := l.synchronise(context.Background()); err != nil || !at.came() || l.latched.Load() == resumed || (w.halted() == "") != resumed {
				t.Errorf("resumed %v: %v, halted %v: %q", resumed, err, l.latched.Load(), w.halted())
			}
		})
	}
}

// slowState takes its time for each piece.
type slowState struct {
	edge
	takes time.Duration
}

func (s slowState) Apply(ctx context.Context, a string, prev, next ledger.Head, states ledger.States, idx ledger.Index) (packstate.Status, error) {
	select {
	case <-time.After(s.takes):
		return s.edge.Apply(ctx, a, prev, next, states, idx)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// TestARebuildThatTakesLongerThanOneCallMayIsNoTrouble: one record after another is taken, so nothing is wrong, and there is nothing to
// wait for. A Redis that takes nothing is trouble.
func TestARebuildThatTakesLongerThanOneCallMayIsNoTrouble(t *testing.T) {
	for _, tt := range []struct {
		takes    time.Duration
		troubles bool
	}{{3 * time.Second, false}, {2 * storeTimeout, true}} {
		line(t, func(w *world) {
			w.tenRecords(func() {})
			l := w.rebuilds(w.dev.Ledger(acc), slowState{w.edge(), tt.takes})
			var troubles atomic.Int64
			l.deps.Hooks.Trouble = func(string, error) { troubles.Add(1) }
			work, stop := context.WithTimeout(context.Background(), time.Minute)
			defer stop()
			began := time.Now()
			err := l.synchronise(work)
			if took := time.Since(began); (troubles.Load() > 0) != tt.troubles || (err != nil) != tt.troubles || !tt.troubles && took > 45*time.Second {
				t.Errorf("a piece takes %v: %v after %v, %d troubles", tt.takes, err, took, troubles.Load())
			}
			if !tt.troubles {
				w.shown(l)
			}
		})
	}
}
