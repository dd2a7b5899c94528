package sim

import (
	"cmp"
	"slices"
	"time"

	"decom/nmvs"
)

// bulk is one accepted submit (nmvs-interface.md 1.9, 1.10). Guarded by Sim.mu
// until ready; its results do not change after that.
type bulk struct {
	tx      txID
	op      *operation
	account *account
	cid     string
	serials [][]byte
	product productRef
	ref     []byte
	items   []item
	crash   *Fault

	done    int  // packs carried out
	waited  bool // counted as parked
	ready   bool
	readyAt time.Time
	results []bulkResult
	code    string
}

// bulkResult is one pack's line of a result.
type bulkResult struct {
	view packView
	miss bool
	op   *operation // mixed
	cid  string
	lang string
	tx   txID
	at   time.Time
}

func (b *bulk) size() int { return len(b.serials) + len(b.items) }

// submit accepts a bulk and says when it will be carried out.
func (s *Sim) submit(q *request, a *account, cid string, tx txID, now time.Time, crash *Fault) string {
	if s.set.Bulk.OnePerAccount {
		for _, b := range s.bulks {
			if !b.ready && b.account == a && b.op.Service == q.op.Service {
				return codeBusy
			}
		}
	}
	if !s.set.Rules.AllowRepeatedPacks && repeats(q.items) {
		return codeBadRequest
	}
	b := &bulk{
		tx: tx, op: q.op, account: a, cid: cid, serials: q.serials, product: q.product, ref: q.ref, items: q.items, crash: crash,
	}
	b.results = make([]bulkResult, 0, b.size())
	s.bulks[tx] = b
	s.book.c.Bulks++
	s.schedule(s.dueAt(b, now), b.carryOut)
	return codeSuccess
}

// repeats says whether a pack or an item's ClientTrxId stands twice in a G195.
func repeats(items []item) bool {
	packs, ids := make(map[string]struct{}, len(items)), make(map[string]struct{}, len(items))
	for i := range items {
		it := &items[i]
		key := string(it.product.scheme) + "|" + string(it.product.code) + "|" + string(it.serial)
		packs[key], ids[string(it.cid)] = struct{}{}, struct{}{}
	}
	return len(packs) < len(items) || len(ids) < len(items)
}

// dueAt finds the moment at which the bulk is done, behind those that hold all
// the slots now.
func (s *Sim) dueAt(b *bulk, now time.Time) time.Time {
	r := &s.set.Bulk
	takes := time.Duration(r.Delay) + time.Duration(b.size())*time.Duration(r.PerPack)
	if r.Capacity <= 0 {
		return now.Add(takes)
	}
	if len(s.slots) != r.Capacity {
		slots := make([]time.Time, r.Capacity)
		copy(slots, s.slots)
		s.slots = slots
	}
	free := 0
	for i := range s.slots {
		if s.slots[i].Before(s.slots[free]) {
			free = i
		}
	}
	start := now
	if s.slots[free].After(now) {
		start = s.slots[free]
		s.book.c.BulksLate++
	}
	s.slots[free] = start.Add(takes)
	return s.slots[free]
}

// carryOut does the bulk's work at the time at which it is due, or puts it off
// to the end of a maintenance window.
func (b *bulk) carryOut(s *Sim, at time.Time) {
	end, out := s.set.Maintenance.at(at)
	if out || s.set.Maintenance.On {
		if !b.waited {
			b.waited = true
			s.book.c.BulksParked++
		}
		if s.set.Maintenance.On {
			s.parked = append(s.parked, b)
		} else {
			s.schedule(end, b.carryOut)
		}
		return
	}
	stop := b.size()
	if b.crash != nil && b.crash.At < stop {
		stop = max(b.crash.At, 0)
	}
	for ; b.done < stop; b.done++ {
		b.results = append(b.results, s.carryOutOne(b, b.done, at))
	}
	if b.done < b.size() {
		s.book.c.BulksCrashed++
		crash := b.crash
		b.crash = nil
		switch crash.Then {
		case "resume":
			s.schedule(at.Add(time.Duration(crash.Delay)), b.carryOut)
			return
		case "partial":
		default:
			return // never ready; the retention does not matter
		}
	}
	s.finish(b, at)
}

func (s *Sim) carryOutOne(b *bulk, i int, at time.Time) bulkResult {
	a := attempt{op: b.op, account: b.account, product: b.product, ref: b.ref, cid: b.cid, tx: b.tx, at: at, bulk: true, late: true}
	r := bulkResult{at: at}
	if b.items != nil {
		it := &b.items[i]
		a.op, a.product, a.serial, a.ref, a.cid, a.tx = it.op, it.product, it.serial, it.ref, string(it.cid), s.newTx()
		r.op, r.cid, r.lang, r.tx = it.op, a.cid, string(it.lang), a.tx
		if !s.newTrxID(b.account, it.cid) {
			r.view = s.view(a, nil, nil, false)
			r.view.ret = codeTrxUsed
			s.book.c.Codes[codeTrxUsed]++
			s.book.add(row{at: at.UnixNano(), cid: a.cid, tx: a.tx, account: a.account, op: a.op, code: s.book.word(codeTrxUsed), flags: rowLate}, s.set.LedgerLimit)
			return r
		}
	} else {
		a.serial = b.serials[i]
	}
	r.view, _ = s.carryOut(a)
	r.miss = s.set.Bulk.MissP > 0 && s.order.Float64() < s.set.Bulk.MissP
	return r
}

// finish makes the result fetchable.
func (s *Sim) finish(b *bulk, at time.Time) {
	b.ready, b.readyAt = true, at
	s.book.c.BulksDone++
	good, known := 0, 0
	kept := b.results[:0]
	for _, r := range b.results {
		if r.view.ret == codeSuccess {
			good++
		}
		if r.view.state != "UNKNOWN" {
			known++
		}
		if !r.miss {
			kept = append(kept, r)
		}
	}
	switch b.results = kept; {
	case known == 0:
		b.code = codeAllFailed
	case good < b.size():
		b.code = codeSomeFailed
	default:
		b.code = codeSuccess
	}
	if !s.set.Bulk.InOrder {
		s.order.Shuffle(len(kept), func(i, j int) { kept[i], kept[j] = kept[j], kept[i] })
	}
	b.serials, b.items = nil, nil // lets go of the request's bytes
}

// fetch is G188 and G196. Another client's bulk is as unknown as none.
func (s *Sim) fetch(q *request, a *account, now time.Time) (*bulk, string) {
	b := s.bulks[parseTx(q.refTx)]
	if b == nil || b.account.client != a.client || b.op.Service != q.op.Service || !b.ready {
		return nil, codeNotReady
	}
	if now.Sub(b.readyAt) > time.Duration(s.set.Bulk.Retention) {
		delete(s.bulks, b.tx)
		return nil, codeNotReady
	}
	if s.set.Bulk.ReadOnce {
		delete(s.bulks, b.tx)
	}
	return b, b.code
}

// listed is one line of the O4 listing.
type listed struct {
	cid   string
	tx    txID
	mixed bool
}

// listBulks is the O4 listing: the client's bulks whose results are not gone.
func (s *Sim) listBulks(a *account, now time.Time) []listed {
	var list []listed
	for _, b := range s.bulks {
		if b.account.client != a.client || b.ready && now.Sub(b.readyAt) > time.Duration(s.set.Bulk.Retention) {
			continue
		}
		list = append(list, listed{b.cid, b.tx, b.op.Service == nmvs.Mixed})
	}
	slices.SortFunc(list, func(x, y listed) int { return cmp.Compare(x.cid, y.cid) })
	return list
}
