package worker

import (
	"time"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// draftClaim puts a fact into the record, for the packs that are still open for its
// attempt. A verify is worth nothing once anything else was said of the attempt: the
// compare-and-set covers what was read, not what was looked at before.
func (l *loop) draftClaim(d *draft, c *claim, states ledger.States) {
	att := l.book.Attempt(c.C)
	if att == nil || att.Of != c.Of || c.looked >= 0 && c.looked != att.Facts || c.Kind == ledger.Resend && att.Resent {
		if c.Kind == ledger.Resend {
			l.inflight-- // the slot that was kept for it
		}
		return
	}
	if c.Kind == ledger.Resend && l.paused { // the pause was read after the claim was made
		l.inflight--
		if dt := l.doubts[c.C]; dt != nil {
			dt.asked = false
		}
		return
	}
	if att.Resent && c.Kind == ledger.Off {
		return // a resend moved the attempt on: a first sender's refusal decides nothing [B12b]
	}
	if l.cfg.Doubt == SameID && c.Kind == ledger.Off && att.Of < l.resumedAt {
		return // the ledger may have lost a resend before the person resumed: it changes no pack, nothing shows it
	}
	f, later := c.Fact, *c
	f.Packs, later.Packs = nil, nil
	for _, p := range c.Packs {
		if !att.IsLeft(p.I) {
			continue
		}
		if c.found != nil {
			f.Kind, p.Answer, p.Probe = l.cfg.conclude(att, p.I, *c.found, states[p.K], time.Now())
			if f.Kind == "" { // says nothing yet: look again later
				if dt := l.doubts[c.C]; dt != nil {
					dt.unanswered(time.Now())
				}
				continue
			}
		}
		if !d.claimPack(p.K, 0) {
			later.Packs = append(later.Packs, p)
			continue
		}
		if f.Kind == ledger.Result {
			p.Answer = probeRefused(states[p.K], undoAgain(att.Packs[p.I].Op, states[p.K], p.Answer))
		}
		f.Packs = append(f.Packs, p)
		if f.Kind == ledger.Result {
			d.said = append(d.said, wordOf(att, p, states[p.K], c.found == nil))
		}
	}
	if len(later.Packs) > 0 {
		d.left = append(d.left, later)
	}
	if len(f.Packs) > 0 || f.Kind == ledger.Submitted || f.Kind == ledger.Resend || f.Kind == ledger.Used {
		d.rec.Fact = append(d.rec.Fact, f)
	}
}

// undoAgain parks a pack whose second undo is refused: the first one, whose answer was
// lost, may have been carried out, and somebody else decommissioned the pack since.
// What it is then, a person must say.
func undoAgain(op scan.Op, s ledger.State, a *ledger.Answer) *ledger.Answer {
	if !op.IsUndo() || s.Sends == 0 || a.Result != scan.Refused {
		return a
	}
	b := *a
	b.Result, b.Reason = scan.Unresolved, scan.UndoDoubtful
	return &b
}

// probeRefused parks a pack whose probe is refused, by NMVS or by our own rules: it was seen
// INACTIVE after our own doubtful send, and a refusal says nothing of whose doing that is.
func probeRefused(s ledger.State, a *ledger.Answer) *ledger.Answer {
	if !s.Probe || a.Result != scan.Refused {
		return a
	}
	b := *a
	b.Result, b.Reason, b.Evidence = scan.Unresolved, scan.NoEvidence, string(E4)
	return &b
}

// wordOf is the final word on a pack. Only the answer to a change call can be an alert
// that we raised ourselves; a verify raises none for an inactive pack.
func wordOf(att *ledger.Attempt, p ledger.FactPack, s ledger.State, called bool) word {
	w := word{op: att.Packs[p.I].Op, src: att.Packs[p.I].Src, answer: p.Answer}
	w.foreign = called && p.Result == scan.Alert && (p.Reason == scan.AlreadyInactive || p.Reason == scan.UndoMismatch)
	w.self = w.foreign && s.Sends > 0 && !att.Probe // a qualified probe's alert is a true one
	return w
}
