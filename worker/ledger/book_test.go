package ledger

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"decom/worker/scan"

	"pgregory.net/rapid"
)

// TestBookAndFoldAgree draws random ledgers: at every record the packs that the book
// holds open are those that the fold calls open, attempt by attempt, and the lists built
// from the index changes are those that a full scan of the packs gives.
func TestBookAndFoldAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := &generator{t: t, states: States{}, book: NewBook(), trx: map[uint64][]string{}, lists: NewIndex()}
		for range rapid.IntRange(1, 40).Draw(t, "records") {
			g.record()
			g.agree()
		}
	})
}

type generator struct {
	t      *rapid.T
	seq    uint64
	states States
	book   *Book
	lists  Index // open counts, due, parked, summed up
	trx    map[uint64][]string
	packs  [6]bool // stands in the record being made
}

func (g *generator) record() {
	g.seq += uint64(rapid.IntRange(1, 3).Draw(g.t, "gap")) // other accounts' records lie between
	g.packs = [6]bool{}
	r := &Record{At: testTime}
	for range rapid.IntRange(1, 3).Draw(g.t, "entries") {
		switch rapid.IntRange(0, 5).Draw(g.t, "entry") {
		case 0:
			if n, ok := g.pick(func(State) bool { return true }); ok {
				r.Note = append(r.Note, Note{Origin: by(fmt.Sprint("n", g.seq), scan.Supply, int64(g.seq)), K: idOf(serial(n))})
			}
		case 1, 2:
			g.open(r)
		default:
			g.fact(r)
		}
	}
	idx, err := Fold(g.seq, r, g.states)
	if err != nil {
		g.t.Fatalf("record %d: %v", g.seq, err)
	}
	g.book.Add(g.seq, r)
	g.lists.Merge(idx)
}

func serial(n int) string { return fmt.Sprint("S", n) }

// pick draws a pack that is not in the record yet and fits.
func (g *generator) pick(fits func(State) bool) (int, bool) {
	n := rapid.IntRange(0, len(g.packs)-1).Draw(g.t, "pack")
	if g.packs[n] || !fits(g.states[idOf(serial(n))]) {
		return 0, false
	}
	g.packs[n] = true
	return n, true
}

func (g *generator) open(r *Record) {
	c := fmt.Sprintf("c%d.%d", g.seq, len(r.Open))
	o := Open{C: c, Svc: Single, Product: testProduct}
	for range rapid.IntRange(1, 3).Draw(g.t, "of") {
		if n, ok := g.pick(func(s State) bool { return s.Phase != Opened && s.Phase != Parked }); ok {
			op := scan.Supply
			if s := g.states[idOf(serial(n))]; s.InactiveAs() != 0 {
				op = scan.UndoSupply
			}
			o.Packs = append(o.Packs, OpenPack{Serial: serial(n), Origin: by(c, op, int64(g.seq))})
		}
	}
	if len(o.Packs) > 0 {
		r.Open = append(r.Open, o)
		g.trx[g.seq] = append(g.trx[g.seq], c)
	}
}

// fact says something of an attempt, the right one or a late word of an older one, or
// has a person speak.
func (g *generator) fact(r *Record) {
	kind := rapid.SampledFrom([]Kind{Result, Off, Fence, Release, Submitted, Park, Review}).Draw(g.t, "kind")
	n, ok := g.pick(func(State) bool { return true })
	if !ok {
		return
	}
	k := idOf(serial(n))
	f := Fact{Kind: kind}
	p := FactPack{K: k}
	switch kind {
	case Park:
	case Review:
		p.To = rapid.SampledFrom([]Phase{Free, Inactive, Parked}).Draw(g.t, "to")
		if p.To == Inactive {
			p.Op = scan.Supply
		}
	default:
		att := g.book.byPack[k]
		if att == nil || rapid.IntRange(0, 4).Draw(g.t, "late") == 0 {
			att = g.older(k)
		}
		if att == nil {
			return
		}
		f.C, f.Of, p.I = att.C, att.Of, slices.Index(att.IDs, k)
		if kind == Result {
			res := rapid.SampledFrom([]scan.Result{scan.Done, scan.Refused, scan.Alert, scan.Unresolved}).Draw(g.t, "result")
			p.Answer = &Answer{Result: res, Called: true, NMVSAt: testTime}
		}
	}
	f.Packs = []FactPack{p}
	r.Fact = append(r.Fact, f)
}

// older makes a name of an attempt that is over, or never was.
func (g *generator) older(k scan.PackID) *Attempt {
	for _, seq := range slices.Sorted(maps.Keys(g.trx)) {
		if s := g.states[k]; s.Opening != seq {
			return &Attempt{Open: Open{C: g.trx[seq][0]}, Of: seq, IDs: []scan.PackID{k}}
		}
	}
	return nil
}

func (g *generator) agree() {
	open, counts := 0, map[uint64]int{}
	due, parked := map[scan.PackID]bool{}, map[scan.PackID]bool{}
	for k, s := range g.states {
		att := g.book.byPack[k]
		if (s.Phase == Opened) != (att != nil) || att != nil && (!s.IsOpen(att.Of) || !att.IsLeft(slices.Index(att.IDs, k))) {
			g.t.Fatalf("pack %s: fold %+v, book %+v", k, s, att)
		}
		switch s.Phase {
		case Opened:
			open++
			counts[s.Opening]++
		case Due:
			due[k] = true
		case Parked:
			parked[k] = true
		}
	}
	if g.book.OpenPacks() != open {
		g.t.Fatalf("book has %d packs open, fold %d", g.book.OpenPacks(), open)
	}
	left := 0
	g.book.Attempts(func(a *Attempt) {
		left += a.Left()
		if a.Left() == 0 || g.book.Attempt(a.C) != a {
			g.t.Fatalf("attempt %s is kept with %d packs left", a.C, a.Left())
		}
	})
	if left != open {
		g.t.Fatalf("attempts have %d packs left, %d are open", left, open)
	}
	maps.DeleteFunc(g.lists.Open, func(_ uint64, n int) bool { return n == 0 })
	maps.DeleteFunc(g.lists.Due, func(_ scan.PackID, ms int64) bool { return ms == -1 })
	maps.DeleteFunc(g.lists.Parked, func(_ scan.PackID, on bool) bool { return !on })
	if !maps.Equal(g.lists.Open, counts) {
		g.t.Fatalf("open list %v, packs %v", g.lists.Open, counts)
	}
	if !sameKeys(g.lists.Due, due) || !sameKeys(g.lists.Parked, parked) {
		g.t.Fatalf("due %v against %v, parked %v against %v", g.lists.Due, due, g.lists.Parked, parked)
	}
}

func sameKeys[A, B any](a map[scan.PackID]A, b map[scan.PackID]B) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if _, ok := b[k]; !ok {
			return false
		}
	}
	return true
}

// TestBookKeepsWhatIsSaidOfAnAttempt: facts about a whole attempt move [Attempt.Facts],
// by which a reader knows that it must look again.
func TestBookKeepsWhatIsSaidOfAnAttempt(t *testing.T) {
	b := NewBook()
	b.Add(5, &Record{By: "w", At: testTime, Open: []Open{opening("c", scan.Supply, "S1", "S2")}})
	for i, f := range []Fact{{Kind: Submitted, Tx: "t"}, {Kind: Fence}, {Kind: Resend}, {Kind: Used}} {
		f.C, f.Of = "c", 4
		b.Add(uint64(6+2*i), &Record{Fact: []Fact{f}}) // of another record: not said of this attempt
		f.Of = 5
		b.Add(uint64(7+2*i), &Record{Fact: []Fact{f}})
		if got := b.Attempt("c").Facts; got != i+1 {
			t.Errorf("after %s: %d facts, want %d", f.Kind, got, i+1)
		}
	}
	a := b.Attempt("c")
	if a.Tx != "t" || !a.Fenced || !a.Resent || !a.Used || a.By != "w" || a.Left() != 2 {
		t.Errorf("the book keeps %+v", a)
	}
	b.Add(20, &Record{Fact: []Fact{{C: "c", Of: 5, Kind: Result, Packs: []FactPack{{I: 1, K: idOf("S2"), Answer: answer(scan.Done, "")}}}}})
	if a.Left() != 1 || a.IsLeft(1) || b.OpenPacks() != 1 {
		t.Errorf("one of two packs settled: %+v", a)
	}
	b.Add(21, &Record{Fact: []Fact{{Kind: Park, Packs: []FactPack{{K: idOf("S1")}}}}})
	if b.Len() != 0 || b.Attempt("c") != nil {
		t.Error("an attempt without open packs is kept")
	}
}
