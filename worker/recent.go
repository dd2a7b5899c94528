package worker

import (
	"sync"

	"decom/worker/ledger"
)

// recent keeps the last records that this process wrote, as they were before they became
// JSON: the publisher of the same process needs just those, and reading them back would
// cost as much as everything else it does. Safe for concurrent use; records are never
// changed once they are on the ledger.
type recent struct {
	mu    sync.Mutex
	recs  map[uint64]written // guarded by mu
	order []uint64           // guarded by mu; oldest first
}

type written struct {
	hash string
	rec  *ledger.Record
}

// recentKept bounds the memory: 32 records of 500 packs are some 8 MiB.
const recentKept = 32

func (r *recent) add(h ledger.Head, rec *ledger.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.recs == nil {
		r.recs = map[uint64]written{}
	}
	r.recs[h.Seq] = written{h.Hash, rec}
	r.order = append(r.order, h.Seq)
	if len(r.order) > recentKept {
		delete(r.recs, r.order[0])
		r.order = r.order[1:]
	}
}

// get returns the record at that head, or nil. An empty hash stands for any: the caller
// then checks by what it looks for.
func (r *recent) get(h ledger.Head) *ledger.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	w, ok := r.recs[h.Seq]
	if !ok || h.Hash != "" && h.Hash != w.hash {
		return nil
	}
	return w.rec
}

// Recent returns a record that this account's loop wrote lately, or nil: for the Publisher
// of the same process. Any goroutine may call it.
func (a *Account) Recent(h ledger.Head) *ledger.Record { return a.recent.get(h) }
