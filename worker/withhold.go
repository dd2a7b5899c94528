package worker

import (
	"time"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// A withhold is a fact on the account's ledger, kept and found as a pause is (control.go):
// nothing new of one batch, or of one device, is opened. Its scans stay in the stream and come
// back now and then; what needs no call is answered as always, verifies and the resolver
// go on, open attempts are finished and due packs stay due. A person writes one, or the loop,
// for what its tally found (tally.go). Whoever loses the append reads the winner's first, so that
// one finding of many processes is one fact.
//
// A hold must not stop the account: withheld scans are counted apart from those that wait
// for their pack, and past a number of them new ones are refused, with nothing sent.

// Auto signs what the loop writes by itself.
const Auto = "decom"

// withholding is what the loop knows of withheld batches and devices. Owned by the loop.
type withholding struct {
	lots    map[ledger.Lot]bool
	devices map[string]bool
	list    []ledger.Withheld
	from    []ledger.Standing // what list was made of
	end     time.Time         // when the next of them ends by itself; zero: none does

	scans   map[uint64]time.Time // scans that this process sent back, by stream sequence -> when they come again
	due     map[scan.PackID]bool // due packs that were found withheld: Redis names them first, again and again
	dueTill time.Time            // when they are looked at again
	counted int                  // of scans, at the last count
	countAt time.Time
}

// of says whether a scan of that device and pack is withheld, and by what. A device goes first: its other scans tell more.
func (h *withholding) of(src string, p scan.Pack) scan.Reason {
	switch {
	case len(h.devices) > 0 && h.devices[src]:
		return scan.DeviceWithheld
	case len(h.lots) > 0 && h.lots[ledger.LotOf(p)]:
		return scan.BatchWithheld
	}
	return scan.NoReason
}

// takeWithheld takes over what is withheld now, and says whether that changed. It costs
// nothing while nothing is.
func (l *loop) takeWithheld(now time.Time) bool {
	h := &l.withheld
	is := l.controls.Withheld
	if len(is) == 0 && len(h.from) == 0 || sameList(is, h.from) && (h.end.IsZero() || now.Before(h.end)) {
		return false
	}
	was := h.list
	defer func() { l.tally.standing(h.list) }()
	h.from, h.list, h.end = is, l.controls.Withholds(now), time.Time{}
	h.lots, h.devices, h.due = map[ledger.Lot]bool{}, map[string]bool{}, nil
	for _, w := range h.list {
		if w.Scope.Device != "" {
			h.devices[w.Scope.Device] = true
		} else {
			h.lots[w.Scope.Lot] = true
		}
		if w.Until != 0 {
			h.end = earlier(h.end, time.UnixMilli(w.Until))
		}
		if !stands(was, w) {
			until := "a person frees it"
			if w.Until != 0 {
				until = time.UnixMilli(w.Until).UTC().Format(time.RFC3339)
			}
			l.log.Warn("withheld: nothing new of it is sent, its scans wait", "scope", w.Scope.String(), "who", w.Who, "why", w.Why, "until", until, "seq", w.Seq)
		}
	}
	for _, w := range was {
		if !h.devices[w.Scope.Device] && !h.lots[w.Scope.Lot] {
			l.tally.over(w.Scope)
			l.nextDue = time.Time{}
			l.log.Warn("withheld no more", "scope", w.Scope.String(), "by_itself", w.Over(now))
		}
	}
	return true
}

func sameList(a, b []ledger.Standing) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func stands(list []ledger.Withheld, w ledger.Withheld) bool {
	for i := range list {
		if list[i].Scope == w.Scope && list[i].Seq == w.Seq {
			return true
		}
	}
	return false
}

// findings puts what the tally found into the record, for what is not withheld yet.
func (l *loop) findings(d *draft, now time.Time) {
	n := map[string]int{}
	for _, w := range l.withheld.list {
		n[w.Scope.Kind()]++
	}
	for _, f := range l.tally.found {
		if l.controls.Withholding(f.scope, now) {
			continue
		}
		if n[f.scope.Kind()]++; n[f.scope.Kind()] > ledger.MaxWithheld {
			l.log.Error("not withheld: too many are already", "scope", f.scope.String(), "why", f.why)
			continue
		}
		c := &ledger.Control{Scope: f.scope.String()}
		if f.stand > 0 {
			c.Until = now.Add(f.stand).UnixMilli()
		}
		d.rec.Fact = append(d.rec.Fact, ledger.Fact{Kind: ledger.Withhold, Who: Auto, Why: f.why, Control: c})
		d.control = true
	}
}

// heldMost is how many withheld scans this process keeps waiting. The fleet's workers
// together stay below the half of MaxAckPending, whoever gets the scans.
func (l *loop) heldMost() int { return l.cfg.MaxHeld / 2 >> min(l.deps.Rank(), 8) }

// keepWaiting says whether there is room for one more withheld scan; one that came back has
// its place.
func (l *loop) keepWaiting(d queue.Delivery, now time.Time) bool {
	h := &l.withheld
	seq := d.Meta().Seq
	if _, back := h.scans[seq]; !back && len(h.scans) >= l.heldMost() {
		for s, at := range h.scans { // what should be back by now went to another process, or is answered
			if now.Sub(at) > scanGone {
				delete(h.scans, s)
			}
		}
		if len(h.scans) >= l.heldMost() {
			return false
		}
	}
	h.expect(seq, now)
	return true
}

// expect says when a scan that was sent back comes again.
func (h *withholding) expect(seq uint64, at time.Time) {
	if h.scans == nil {
		h.scans = map[uint64]time.Time{}
	}
	h.scans[seq] = at
}

// scanGone is how long after its time a withheld scan that does not come back is no longer
// counted: as long as a server may take to hand it out.
const scanGone = 2 * time.Minute

// draftWithheld decides a scan that would be opened, was it not withheld.
func (l *loop) draftWithheld(d *draft, it *item, why scan.Reason, now time.Time) {
	if l.keepWaiting(it.Delivery, now) {
		d.withheld = append(d.withheld, it.Delivery)
		return
	}
	if d.place(it) {
		d.answer(it, l.note(it, ledger.Answer{Result: scan.Refused, Reason: why}))
	}
}

// capped says whether enough packs of a batch are on their way whose serials NMVS did not know
// so far: until one is done, no bulk may raise five hundred alerts.
func (l *loop) capped(d *draft, p scan.Pack) bool {
	if len(l.tally.suspects) == 0 {
		return false
	}
	lot := ledger.LotOf(p)
	if l.tally.suspects[lot] == nil {
		return false
	}
	if d.suspects == nil {
		d.suspects = l.suspectsOpen()
	}
	if d.suspects[lot] >= suspectPacks {
		return true
	}
	d.suspects[lot]++
	return false
}

// suspectsOpen counts the open packs of suspect batches.
func (l *loop) suspectsOpen() map[ledger.Lot]int {
	n := map[ledger.Lot]int{}
	l.book.Attempts(func(att *ledger.Attempt) {
		for i := range att.IDs {
			if !att.IsLeft(i) {
				continue
			}
			if p, err := att.Pack(i); err == nil {
				if lot := ledger.LotOf(p); l.tally.suspects[lot] != nil {
					n[lot]++
				}
			}
		}
	})
	return n
}

// dueRecheck is how often due packs that are withheld are looked at nevertheless: one may
// have passed its expiry.
const dueRecheck = 10 * time.Minute

// dueWithheld keeps a due pack of a withheld batch or device due.
func (h *withholding) dueWithheld(u *duePack, now time.Time) bool {
	if h.of(u.open.Src, u.pack) == scan.NoReason {
		return false
	}
	if h.due == nil {
		h.due, h.dueTill = map[scan.PackID]bool{}, now.Add(dueRecheck)
	}
	h.due[u.k] = true
	return true
}

// dueSeen is how many due packs are known to be withheld.
func (h *withholding) dueSeen(now time.Time) int {
	if len(h.due) > 0 && now.After(h.dueTill) {
		h.due = nil
	}
	return len(h.due)
}

// others leaves out the due packs that are known to be withheld.
func (h *withholding) others(ks []scan.PackID) []scan.PackID {
	if len(h.due) == 0 {
		return ks
	}
	left := ks[:0]
	for _, k := range ks {
		if !h.due[k] {
			left = append(left, k)
		}
	}
	return left
}

// waiting is how many withheld scans this process sent back and expects again.
func (h *withholding) waiting(now time.Time) int {
	if len(h.list) == 0 {
		return 0
	}
	if now.Sub(h.countAt) < time.Second { // it is asked for after each round
		return h.counted
	}
	h.counted, h.countAt = 0, now
	for _, at := range h.scans {
		if now.Sub(at) <= scanGone {
			h.counted++
		}
	}
	return h.counted
}
