package worker

import (
	"decom/worker/ledger"
	"decom/worker/scan"
)

// draftItem decides one scan: decide says what becomes of it (rules 1 to 8 and 10), this puts it
// into the record. true: it is to be sent, if rule 9 agrees.
func (l *loop) draftItem(d *draft, it *item, states ledger.States, r rules) (opening, bool) {
	if it.rejected != nil {
		if d.place(it) {
			d.answer(it, l.note(it, ledger.Answer{Result: scan.Rejected, Reason: it.rejected.Reason}))
		}
		return opening{}, false
	}
	k := it.p.ID()
	if d.busy[k] || !d.known[k] {
		d.carry = append(d.carry, *it) // its pack's word comes first
		return opening{}, false
	}
	dec := decide(it.e, it.p, states[k], r)
	answered := it.read != nil && (dec.verb == read || dec.verb == open)
	if answered {
		dec = it.read.decision(it.e.Op)
	}
	switch dec.verb {
	case ackOnly:
		d.acks = append(d.acks, it.Delivery)
	case hold:
		d.holds = append(d.holds, it.Delivery)
	case note:
		l.draftNote(d, it, dec, answered)
	case read:
		l.draftRead(d, it)
	case withhold:
		l.draftWithheld(d, it, dec.reason, r.now)
	case open:
		return l.draftOpen(d, it, states[k], r)
	}
	return opening{}, false
}

// draftNote disposes of a scan without a change call.
func (l *loop) draftNote(d *draft, it *item, dec decision, answered bool) {
	if !d.place(it) {
		return
	}
	n := l.note(it, ledger.Answer{Result: dec.result, Reason: dec.reason})
	if answered { // else our own rules decided, whatever a verify before an open said
		n.Answer, n.Trx = it.read.answer, it.read.trx
	}
	d.answer(it, n)
}

// draftOpen has a scan sent, unless enough packs of a suspect batch are on their way, or a verify comes first.
func (l *loop) draftOpen(d *draft, it *item, s ledger.State, r rules) (opening, bool) {
	switch {
	case l.capped(d, it.p):
		if l.keepWaiting(it.Delivery, r.now) {
			d.withheld = append(d.withheld, it.Delivery)
		} else {
			d.holds = append(d.holds, it.Delivery)
		}
	case l.verifiesFirst() && it.read == nil:
		l.draftRead(d, it)
	case d.place(it):
		return opening{p: it.p, op: ledger.OpenPack{Serial: it.p.Serial(), Origin: origin(it)}, base: s.Base, it: it, pre: it.read != nil}, true
	}
	return opening{}, false
}

// place takes the record's one place for the scan's pack; false: the scan waits for the next record.
func (d *draft) place(it *item) bool {
	text := len(it.e.Ref) + len(it.e.Operator)
	if it.rejected != nil && d.fits(text) || it.rejected == nil && d.claimPack(it.p.ID(), text) {
		return true
	}
	d.carry = append(d.carry, *it)
	return false
}

// answer puts the scan's note into the record, and has it acknowledged then.
func (d *draft) answer(it *item, n ledger.Note) {
	d.rec.Note = append(d.rec.Note, n)
	d.acks = append(d.acks, it.Delivery)
}

func (l *loop) draftRead(d *draft, it *item) {
	if d.room.singles <= 0 {
		d.back = append(d.back, it.Delivery)
		return
	}
	d.room.singles--
	d.reads = append(d.reads, *it)
}

func origin(it *item) ledger.Origin {
	e := &it.e
	return ledger.Origin{Ev: e.ID, Src: e.Source(), Key: e.Key().MS, Timed: e.Timed(), Manual: e.Entry == scan.Manual,
		Repaired: it.repaired, Ref: e.Ref, Operator: e.Operator, ATD: e.ATD, Op: e.Op}
}

func (l *loop) note(it *item, a ledger.Answer) ledger.Note {
	n := ledger.Note{Origin: origin(it), Answer: a}
	if it.rejected != nil {
		n.Offset, n.Detail = it.rejected.Offset, it.rejected.detail()
	}
	if !it.p.IsZero() {
		p := it.p
		n.K, n.Pack = p.ID(), &p
	}
	return n
}
