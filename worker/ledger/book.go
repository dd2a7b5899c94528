package ledger

import (
	"slices"

	"decom/worker/scan"
)

// Attempt is one attempt that has packs open, with all that later records said of
// it.
type Attempt struct {
	Open
	Of          uint64        // sequence of the record that opened it
	By          string        // the worker that opened it
	IDs         []scan.PackID // name of each pack
	Fenced      bool          // the hold has begun; only Fence makes it so
	Resent      bool          // sameid: the bytes may have gone out again
	Used        bool          // sameid: NMVS answered that it knows the id
	Tx          string        // bulk accepted: the id to poll with
	SubmittedAt string        // when that was recorded, the writer's clock
	At          string        // when it was opened, the writer's clock
	Facts       int           // facts about the attempt as a whole: a reader that saw another number must look again

	left  []bool // which packs are still open
	count int
}

// Left returns how many packs are still open.
func (a *Attempt) Left() int { return a.count }

// IsLeft says whether pack i is still open.
func (a *Attempt) IsLeft(i int) bool { return a.left[i] }

// Book follows an account's records and keeps the attempts that have packs open. It
// holds nothing that the records do not say; a worker builds it from the record
// before the oldest open attempt on. Not for concurrent use.
type Book struct {
	byTrx  map[string]*Attempt
	byPack map[scan.PackID]*Attempt
}

// NewBook returns a book without attempts.
func NewBook() *Book {
	return &Book{byTrx: map[string]*Attempt{}, byPack: map[scan.PackID]*Attempt{}}
}

// Attempt returns the open attempt of that id, or nil.
func (b *Book) Attempt(c string) *Attempt { return b.byTrx[c] }

// Attempts calls fn for each open attempt, in no order. fn must not add records.
func (b *Book) Attempts(fn func(*Attempt)) {
	for _, a := range b.byTrx {
		fn(a)
	}
}

// Len returns how many attempts are open.
func (b *Book) Len() int { return len(b.byTrx) }

// OpenPacks returns how many packs are open.
func (b *Book) OpenPacks() int { return len(b.byPack) }

// Add takes the record at seq. Records must come in order.
func (b *Book) Add(seq uint64, r *Record) {
	for i := range r.Open {
		b.open(seq, r, &r.Open[i])
	}
	for i := range r.Fact {
		b.fact(&r.Fact[i], r.At)
	}
}

func (b *Book) open(seq uint64, r *Record, o *Open) {
	a := &Attempt{Open: *o, Of: seq, By: r.By, At: r.At, IDs: make([]scan.PackID, len(o.Packs)),
		left: make([]bool, len(o.Packs)), count: len(o.Packs)}
	for i := range o.Packs {
		p, err := o.Pack(i)
		if err != nil {
			a.count--
			continue // Fold refuses the record
		}
		a.IDs[i], a.left[i] = p.ID(), true
		b.byPack[p.ID()] = a
	}
	b.byTrx[a.C] = a
}

func (b *Book) fact(t *Fact, at string) {
	if t.Kind == Park || t.Kind == Review {
		for i := range t.Packs {
			k := t.Packs[i].K
			if a := b.byPack[k]; a != nil {
				b.close(k, a, slices.Index(a.IDs, k))
			}
		}
		return
	}
	a := b.byTrx[t.C]
	if a == nil || a.Of != t.Of {
		return
	}
	switch t.Kind {
	case Submitted:
		a.Tx, a.SubmittedAt, a.Facts = t.Tx, at, a.Facts+1
	case Fence:
		a.Fenced, a.Facts = true, a.Facts+1
	case Resend:
		a.Resent, a.Facts = true, a.Facts+1
	case Used:
		a.Used, a.Facts = true, a.Facts+1
	case Result, Off, Release:
		for i := range t.Packs {
			b.close(t.Packs[i].K, a, t.Packs[i].I)
		}
	}
}

// close takes pack i, named k, off its attempt.
func (b *Book) close(k scan.PackID, a *Attempt, i int) {
	if b.byPack[k] != a || i < 0 || i >= len(a.IDs) || a.IDs[i] != k || !a.left[i] {
		return
	}
	a.left[i] = false
	a.count--
	delete(b.byPack, k)
	if a.count == 0 {
		delete(b.byTrx, a.C)
	}
}
