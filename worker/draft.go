package worker

import (
	"context"
	"slices"
	"time"

	"decom/nmvs"
	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// draft is one record in the making and what follows from it.
type draft struct {
	rec     ledger.Record
	seq     uint64
	started time.Time
	acks    []queue.Delivery // once the record is on the ledger
	holds   []queue.Delivery // their pack is busy

	withheld []queue.Delivery   // their batch or device is withheld, or enough packs of a suspect batch are on their way
	suspects map[ledger.Lot]int // packs of suspect batches that are on their way, this record's included; nil: not counted
	control  bool               // the record says what is withheld

	back   []queue.Delivery // no call may start now: the breaker opened, or slots went elsewhere
	reads  []item           // verify calls to make
	unread []duePack        // due packs to verify before they are opened
	carry  []item           // scans for the next round
	left   []claim          // facts for the next round
	said   []word           // final words in the record's facts

	dueDone int // due packs opened or withdrawn

	busy  map[scan.PackID]bool // packs that stand in the record
	known map[scan.PackID]bool // packs that were looked at: of the others, nothing may be decided
	packs int
	bytes int  // estimate of the record's size so far
	room  room // attempts that have a slot and a token
}

// word is one final answer, for hooks and the alert breaker.
type word struct {
	op      scan.Op
	src     string
	answer  *ledger.Answer
	foreign bool // already inactive, and not by us: our own doing looks like this
	self    bool // we had sent this pack before
}

func (d *draft) empty() bool { return len(d.rec.Note)+len(d.rec.Open)+len(d.rec.Fact) == 0 }

// sends says that bytes will leave on the strength of the record.
func (d *draft) sends() bool {
	return len(d.rec.Open) > 0 || slices.ContainsFunc(d.rec.Fact, func(f ledger.Fact) bool { return f.Kind == ledger.Resend })
}

// claimPack reserves the pack's one place in the record, for an entry with so many bytes
// of foreign text. false: the next record.
func (d *draft) claimPack(k scan.PackID, text int) bool {
	if d.busy[k] || !d.known[k] || !d.fits(text) {
		return false
	}
	d.busy[k] = true
	d.packs++
	return true
}

// entryBytes is what an entry takes beside the text that came with its scan.
const entryBytes = 450

// fits takes the room that one more entry needs. A scan may bring 64 KiB of references,
// so packs alone do not bound a record.
func (d *draft) fits(text int) bool {
	n := entryBytes + text
	if d.packs >= packstate.MaxPacks || d.bytes > 0 && d.bytes+n > ledger.MaxBytes-(32<<10) {
		return false
	}
	d.bytes += n
	return true
}

// draft is S3: one record from all that was gathered, one entry per pack.
// ks are the packs that states speaks of; one that is not in states was never heard of.
func (l *loop) draft(work context.Context, ks []scan.PackID, states ledger.States, due []duePack) (*draft, error) {
	d := &draft{busy: map[scan.PackID]bool{}, known: make(map[scan.PackID]bool, len(ks))}
	for _, k := range ks {
		d.known[k] = true
	}
	alone := l.needSingle(states, due)
	d.room = l.capacity(len(l.items) + len(due))
	if alone == len(l.items)+len(due) && d.room.packs > 0 {
		d.room = room{singles: d.room.singles + 1} // the slot of a bulk that nothing would fill
	}
	if d.room.packs == 0 && !l.onlyBulk() { // the bulk they were fetched for is not worth it: they go single
		if want := min(d.room.singles, len(l.items)+len(due)) - l.lanes.tokens; want > 0 {
			l.lanes.tokens += l.deps.Limiter.TryTake(nmvs.Single.String(), want)
		}
	}
	d.room.singles = min(d.room.singles, l.lanes.tokens)
	r := rules{now: time.Now(), skew: l.cfg.Skew, undoFor: undoWindow, probeHold: l.cfg.THoldSingle, withheld: &l.withheld}
	l.findings(d, r.now)
	for i := range l.claims {
		l.draftClaim(d, &l.claims[i], states)
	}
	opens := make([]opening, 0, len(due)+len(l.items))
	for i := range due {
		if o, ok := l.draftDue(d, &due[i], states, r); ok {
			opens = append(opens, o)
		}
	}
	for i := range l.items {
		if o, ok := l.draftItem(d, &l.items[i], states, r); ok {
			opens = append(opens, o)
		}
	}
	opens, err := l.draftOwners(work, d, opens) // rule 9
	if err != nil {
		return nil, err
	}
	return d, l.plan(work, d, opens)
}
