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

// draftItem decides one scan.
func (l *loop) draftItem(d *draft, it *item, states ledger.States, r rules) (opening, bool) {
	if it.rejected != nil {
		if !d.fits(len(it.e.Ref) + len(it.e.Operator)) {
			d.carry = append(d.carry, *it)
			return opening{}, false
		}
		d.rec.Note = append(d.rec.Note, l.note(it, ledger.Answer{Result: scan.Rejected, Reason: it.rejected.Reason}))
		d.acks = append(d.acks, it.Delivery)
		return opening{}, false
	}
	k := it.p.ID()
	text := len(it.e.Ref) + len(it.e.Operator)
	if d.busy[k] || !d.known[k] {
		d.carry = append(d.carry, *it) // its pack's word comes first
		return opening{}, false
	}
	s := states[k]
	dec := decide(it.e, it.p, s, r)
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
		if !d.claimPack(k, text) {
			d.carry = append(d.carry, *it)
			break
		}
		n := l.note(it, ledger.Answer{Result: dec.result, Reason: dec.reason})
		if answered { // else our own rules decided, whatever a verify before an open said
			n.Answer, n.Trx = it.read.answer, it.read.trx
		}
		d.rec.Note = append(d.rec.Note, n)
		d.acks = append(d.acks, it.Delivery)
	case read:
		l.draftRead(d, it)
	case withhold:
		l.draftWithheld(d, it, dec.reason, r.now)
	case open:
		if l.capped(d, it.p) {
			if l.keepWaiting(it.Delivery, r.now) {
				d.withheld = append(d.withheld, it.Delivery)
			} else {
				d.holds = append(d.holds, it.Delivery)
			}
			break
		}
		if l.verifiesFirst() && it.read == nil {
			l.draftRead(d, it)
			break
		}
		if !d.claimPack(k, text) {
			d.carry = append(d.carry, *it)
			break
		}
		return opening{p: it.p, op: ledger.OpenPack{Serial: it.p.Serial(), Origin: origin(it)}, base: s.Base, it: it, pre: it.read != nil}, true
	}
	return opening{}, false
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

// draftOwners is rule 9 (protocol.md section 6): a pack that another account holds is
// refused; one that it let go is taken over.
func (l *loop) draftOwners(work context.Context, d *draft, opens []opening) ([]opening, error) {
	if l.deps.Owners == nil || len(opens) == 0 {
		return opens, nil
	}
	ks := make([]scan.PackID, len(opens))
	for i := range opens {
		ks[i] = opens[i].p.ID()
	}
	var owners map[scan.PackID]string
	err := l.patiently(work, "Redis", func(ctx context.Context) (err error) {
		owners, err = l.deps.Owners.Own(ctx, l.cfg.Account, ks)
		return err
	})
	if err != nil {
		return nil, err
	}
	mine := opens[:0]
	for _, o := range opens {
		held := false
		if other := owners[o.p.ID()]; other != l.cfg.Account && other != "" {
			if held, err = l.heldBy(work, other, o.p.ID()); err != nil {
				return nil, err
			}
		}
		switch {
		case !held:
			mine = append(mine, o)
		case o.it != nil:
			d.rec.Note = append(d.rec.Note, l.note(o.it, ledger.Answer{Result: scan.Refused, Reason: scan.OtherAccount}))
			d.acks = append(d.acks, o.it.Delivery)
		default:
			d.withdraw(o.due, *probeRefused(ledger.State{Probe: o.probe}, &ledger.Answer{Result: scan.Refused, Reason: scan.OtherAccount}))
		}
	}
	return mine, nil
}

// heldBy says whether the other account still has the pack; if it let go, the pack is
// taken over.
func (l *loop) heldBy(work context.Context, other string, k scan.PackID) (held bool, err error) {
	err = l.patiently(work, "Redis", func(ctx context.Context) error {
		states, err := l.deps.Owners.Peek(ctx, other, []scan.PackID{k})
		if err != nil {
			return err
		}
		if states[k].Phase != ledger.Free {
			held = true
			return nil
		}
		taken, err := l.deps.Owners.Take(ctx, k, other, l.cfg.Account)
		held = taken != l.cfg.Account
		return err
	})
	return held, err
}
