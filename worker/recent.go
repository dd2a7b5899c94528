package worker

import (
	"sync"
	"time"

	"decom/worker/ledger"
)

// shelf keeps records by their sequence, the newest ones, up to so many packs: a record of a
// bulk is a thousand times one of a single call. What is older than shelfTime goes too,
// because each account has its own shelves, and a process may serve thousands of
// accounts. Not for concurrent use.
type shelf struct {
	most  int // packs; the newest record stays in any case
	packs int
	recs  map[uint64]written
	order []uint64 // oldest first
}

type written struct {
	hash string
	rec  *ledger.Record
	at   time.Time
	next uint64 // sequence of the record that recent got behind this one; 0: none
}

// shelfTime is well above the time from an opening to its outcome when nothing goes wrong; who
// comes later reads the ledger.
const shelfTime = 2 * time.Minute

// A pack of a record takes some 600 bytes in memory.
const (
	recentPacks  = 16_000 // of this process's own records, some 10 MiB
	openingPacks = 16_000 // of openings whose outcomes are to come, or that due packs and undos look up
)

func newShelf(packs int) *shelf { return &shelf{most: packs, recs: map[uint64]written{}} }

// get returns what stands at seq; its rec is nil when there is nothing.
func (s *shelf) get(seq uint64) written { return s.recs[seq] }

func (s *shelf) put(h ledger.Head, r *ledger.Record) {
	if old, ok := s.recs[h.Seq]; ok { // a ledger that has lost its tail gives sequences again
		s.packs -= weight(old.rec)
	} else {
		s.order = append(s.order, h.Seq)
	}
	now := time.Now()
	s.recs[h.Seq] = written{hash: h.Hash, rec: r, at: now}
	for s.packs += weight(r); len(s.order) > 1 && (s.packs > s.most || now.Sub(s.recs[s.order[0]].at) >= shelfTime); s.order = s.order[1:] {
		s.packs -= weight(s.recs[s.order[0]].rec)
		delete(s.recs, s.order[0])
	}
}

// weight is what a record takes, in packs; one without any takes a place, too.
func weight(r *ledger.Record) int { return 1 + r.Packs() }

// recent keeps the last records that this process wrote, as they were before they became
// JSON: the publisher of the same process needs just those, and reading them back would
// cost as much as everything else it does. Safe for concurrent use; records are never
// changed once they are on the ledger.
type recent struct {
	mu   sync.Mutex
	recs *shelf // guarded by mu; nil until needed
}

func (r *recent) add(h ledger.Head, rec *ledger.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.recs == nil {
		r.recs = newShelf(recentPacks)
	}
	r.recs.put(h, rec)
	if w := r.recs.get(rec.PrevSeq); w.rec != nil && w.hash == rec.Prev {
		w.next = h.Seq
		r.recs.recs[rec.PrevSeq] = w
	}
}

// after returns the record behind head, if this process wrote that, too; nil: it did not, or it is
// not known any more.
func (r *recent) after(h ledger.Head) (ledger.Head, *ledger.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.recs == nil {
		return ledger.Head{}, nil
	}
	if w := r.recs.get(h.Seq); w.hash == h.Hash && w.next != 0 {
		if n := r.recs.get(w.next); n.rec != nil && n.rec.PrevSeq == h.Seq && n.rec.Prev == h.Hash {
			return ledger.Head{Seq: w.next, Hash: n.hash}, n.rec
		}
	}
	return ledger.Head{}, nil
}

// get returns the record at that head, or nil.
func (r *recent) get(h ledger.Head) *ledger.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.recs == nil {
		return nil
	}
	if w := r.recs.get(h.Seq); w.hash == h.Hash {
		return w.rec
	}
	return nil
}

// Recent returns a record that this account's loop wrote lately, or nil: for the Publisher
// of the same process. Any goroutine may call it.
func (a *Account) Recent(h ledger.Head) *ledger.Record { return a.recent.get(h) }

// RecentAfter returns the record that this account's loop wrote lately right behind head, and that
// record's head; nil when it wrote none. For the Publisher of the same process. Any
// goroutine may call it.
func (a *Account) RecentAfter(h ledger.Head) (ledger.Head, *ledger.Record) { return a.recent.after(h) }
