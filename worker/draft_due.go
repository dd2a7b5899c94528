package worker

import (
	"decom/worker/ledger"
	"decom/worker/scan"
)

// opening is a pack that is to be sent.
type opening struct {
	p    scan.Pack
	op   ledger.OpenPack // without what only the record of its base knows
	base uint64          // undo: sequence of the record that opened the change
	it   *item           // the scan, or
	due  *duePack        // the due pack

	single bool // only the single service may carry it
	probe  bool // the one qualified repeat
	pre    bool // a verify saw it just before as the change needs it
}

// draftDue holds a due pack to rules 7 and 8 again: time has passed since.
func (l *loop) draftDue(d *draft, u *duePack, states ledger.States, r rules) (opening, bool) {
	s := states[u.k]
	if s.Phase != ledger.Due || s.Opening != u.of {
		return opening{}, false
	}
	reason := refuse(s.Op, u.pack, s, r, s.Timed)
	var seen *reading
	if reason == scan.NoReason {
		if l.withheld.dueWithheld(u, r.now) {
			return opening{}, false
		}
		var ready bool
		if seen, ready = l.dueReading(d, u, r.now); !ready {
			return opening{}, false
		}
	}
	if !d.claimPack(u.k, len(u.open.Ref)+len(u.open.Operator)) {
		return opening{}, false
	}
	switch {
	case reason != scan.NoReason:
		d.withdraw(u, *probeRefused(s, &ledger.Answer{Result: scan.Refused, Reason: reason}))
		return opening{}, false
	case seen != nil && seen.decision(s.Op).verb != open:
		d.withdraw(u, *probeRefused(s, &seen.answer))
		return opening{}, false
	}
	op := u.open
	op.C, op.Calls = "", int(s.Calls)
	return opening{p: u.pack, op: op, base: s.Base, due: u, single: s.Single || s.Probe, probe: s.Probe, pre: seen != nil}, true
}

// withdraw ends a due pack without a change call: refused, it is what it was; anything else is for a person.
func (d *draft) withdraw(u *duePack, a ledger.Answer) {
	d.dueDone++
	kind := ledger.Park
	if a.Result == scan.Refused {
		kind = ledger.Result
	}
	d.rec.Fact = append(d.rec.Fact, ledger.Fact{C: u.c, Of: u.of, Kind: kind,
		Packs: []ledger.FactPack{{I: u.i, K: u.k, Answer: &a}}})
	d.said = append(d.said, word{op: u.open.Op, src: u.open.Src, answer: &a})
}
