package worker

import (
	"time"

	"decom/worker/gs1"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// verb is what becomes of one scan.
type verb uint8

const (
	ackOnly  verb = iota // its outcome exists, or will
	hold                 // the pack is busy: the scan stays in the stream
	note                 // disposed of without a change call
	open                 // an attempt is due
	read                 // a verify: call, then note
	withhold             // as hold, but its batch or device is: reason says which
)

func (v verb) String() string {
	return [...]string{"ack", "hold", "note", "open", "read", "withhold"}[v]
}

// decision is what section 4 of protocol.md says about one scan and one pack.
type decision struct {
	verb   verb
	result scan.Result // note only
	reason scan.Reason // note and withhold only
}

func noted(result scan.Result, reason scan.Reason) decision {
	return decision{verb: note, result: result, reason: reason}
}

// rules are the numbers that decisions depend on.
type rules struct {
	now     time.Time
	skew    time.Duration // SKEW: keys closer than this prove no order between two devices
	undoFor time.Duration // how long after NMVS's time of the change an undo is still tried

	probeHold time.Duration // after a probe an undo waits so long: a late copy would decommission again

	withheld *withholding // batches and devices of which nothing new is opened; nil: none
}

const (
	sameScan    = 10 * time.Second // rule 6: one device that scans a pack twice in a row
	undoWindow  = 236 * time.Hour  // rule 8: 9 d 20 h of NMVS's 10 days
	unknownTime = int64(0)         // state without NMVS's time of the change
)

// decide is section 4 of protocol.md: one scan against one pack, the first match
// wins. It is pure.
func decide(e scan.Event, p scan.Pack, s ledger.State, r rules) decision {
	key := e.Key()
	old := key.Compare(s.Last) <= 0
	seen := s.Saw(scan.SeenTag(e.Source(), e.ID))
	if e.Op.IsRead() {
		return decideRead(p, s, seen)
	}
	switch {
	case seen && old: // rule 1
		return decision{verb: ackOnly}
	case s.Phase == ledger.Opened || s.Phase == ledger.Due: // rule 2
		return decision{verb: hold}
	case old: // rule 3
		if asWished(e.Op, s) {
			return noted(scan.Duplicate, scan.NoReason)
		}
		return noted(scan.Refused, scan.Superseded)
	case opposite(e, key, s, r.skew): // rule 4
		return noted(scan.Refused, scan.Order)
	case s.Phase == ledger.Parked: // rule 5
		return noted(scan.Refused, scan.ParkedPack)
	case s.Print != 0 && s.Print != p.Print():
		return noted(scan.Rejected, scan.Conflict)
	case asWished(e.Op, s): // rule 6
		return noted(scan.Duplicate, copyReason(e, key, s))
	}
	if e.Op.IsUndo() && s.Probe && s.Phase == ledger.Inactive && r.now.Before(time.Unix(s.At, 0).Add(r.probeHold)) {
		return decision{verb: hold}
	}
	if reason := refuse(e.Op, p, s, r, e.Timed()); reason != scan.NoReason { // rules 7, 8
		return noted(scan.Refused, reason)
	}
	if r.withheld != nil && len(r.withheld.list) > 0 { // here and nowhere else: what needs no call has its answer by now
		if why := r.withheld.of(e.Source(), p); why != scan.NoReason {
			return decision{verb: withhold, reason: why}
		}
	}
	return decision{verb: open} // rule 10; rule 9 needs another account's store and stands in the loop
}

// decideRead is decide for a verify. It changes nothing, so it neither waits for the
// pack's attempt nor supersedes anything; only wrong data must not be tried (a
// verify with other data than recorded may raise an alert).
func decideRead(p scan.Pack, s ledger.State, seen bool) decision {
	switch {
	case seen:
		return decision{verb: ackOnly}
	case s.Print != 0 && s.Print != p.Print():
		return noted(scan.Rejected, scan.Conflict)
	}
	return decision{verb: read}
}

// asWished says whether the pack already is what op asks for.
func asWished(op scan.Op, s ledger.State) bool {
	if op.IsUndo() {
		return s.Phase == ledger.Free && s.Undone
	}
	return s.Phase == ledger.Inactive && s.Op == op
}

// opposite is rule 4: clocks of two devices are no proof of an order.
func opposite(e scan.Event, key scan.Key, s ledger.State, skew time.Duration) bool {
	if s.Last.IsZero() || key.Device == s.Last.Device || e.Op.IsUndo() == s.Undo {
		return false
	}
	return time.Duration(key.MS-s.Last.MS)*time.Millisecond < skew
}

// copyReason is the second half of rule 6: two boxes with one serial look like a
// repeat by another device or much later.
func copyReason(e scan.Event, key scan.Key, s ledger.State) scan.Reason {
	if key.Device == s.Last.Device && time.Duration(key.MS-s.Last.MS)*time.Millisecond <= sameScan {
		return scan.NoReason
	}
	return scan.SuspectCopy
}

// refuse is rules 7 and 8: why op may not go out for this pack, or NoReason. A due
// pack is held to it again before it is opened anew.
func refuse(op scan.Op, p scan.Pack, s ledger.State, r rules, timed bool) scan.Reason {
	as := s.InactiveAs()
	if op.IsUndo() {
		if reason := refuseUndo(op, s, as, r, timed); reason != scan.NoReason {
			return reason
		}
	} else if as != 0 {
		return scan.InactivePack
	}
	// Delegated Regulation 2016/161 article 13 bars the undo of an expired pack too.
	if end, ok := gs1.LastDay(p.Expiry(), r.now); ok && !r.now.Before(end) {
		return scan.ExpiredPack
	}
	return scan.NoReason
}

func refuseUndo(op scan.Op, s ledger.State, as scan.Op, r rules, timed bool) scan.Reason {
	switch {
	case as == 0:
		return scan.NotOurs
	case as != op.Undoes():
		return scan.InactivePack
	case s.Base == 0:
		return scan.NotOurs // no record of ours to cite as RefClientTrxId
	case !timed || !s.Timed:
		return scan.NoTime
	case s.At == unknownTime || !r.now.Before(time.Unix(s.At, 0).Add(r.undoFor)):
		return scan.TooLate
	}
	return scan.NoReason
}
