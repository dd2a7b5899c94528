package nmvs

import (
	"fmt"
	"slices"
	"strings"

	"decom/worker/scan"
)

// Class says what a call may have done, and so what its caller may do next: the
// rows of protocol.md section 3's table. It is a closed set. The zero Class is
// the one that permits least.
type Class uint8

// The classes. "Nothing changed" is what NMVS says; protocol.md trusts it by its A4.
const (
	InDoubt        Class = iota // the change may have happened; of a read: it failed
	Success                     // carried out; of a bulk submit: accepted; of a read: answered
	Repeat                      // the same user had done it before, noted, no alert
	Foreign                     // already inactive, and not by this call
	Data                        // the pack's data contradict NMVS's: suspect falsification
	Rule                        // NMVS says no; nothing changed
	UnknownProduct              // product not in this country's system; bulk does not ask other countries
	UndoMismatch                // the undo does not fit the pack's state; verify: if ACTIVE it is done
	NotReady                    // poll: no result yet, or no such bulk; nothing tells them apart
	UsedID                      // the ClientTrxId was used before: an earlier copy arrived
	NotSent                     // not one byte of the request left
	TooFast                     // refused as a whole: slow down
	Busy                        // refused as a whole: later
	Format                      // refused as a whole: the request is wrong
	Setup                       // refused as a whole: address or service is wrong; stop intake
	Login                       // refused as a whole: credentials; stop the account at once
)

var classNames = [...]string{
	InDoubt: "in_doubt", Success: "success", Repeat: "repeat", Foreign: "foreign", Data: "data", Rule: "rule",
	UnknownProduct: "unknown_product", UndoMismatch: "undo_mismatch", NotReady: "not_ready", UsedID: "used_id",
	NotSent: "not_sent", TooFast: "too_fast", Busy: "busy", Format: "format", Setup: "setup", Login: "login",
}

// Classes returns every class once.
func Classes() []Class {
	cs := make([]Class, len(classNames))
	for i := range cs {
		cs[i] = Class(i)
	}
	return cs
}

// String returns the class's name, a metric label.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// Answered says that NMVS gave a final word on the packs of the call, or on the
// poll. [Client.Do] returns an error for every other class.
func (c Class) Answered() bool { return c >= Success && c <= UsedID }

// RefusedWhole says that NMVS turned the request away before looking at packs.
func (c Class) RefusedWhole() bool { return c >= TooFast && c <= Login }

// NoEffect says that the call changed nothing, for sure.
func (c Class) NoEffect() bool { return c == NotSent || c.RefusedWhole() }

// Alert says whether a return code goes with an alert to manufacturer and
// authorities (nmvs-interface.md 1.13).
type Alert uint8

// The three values of the alert column.
const (
	AlertNo    Alert = iota // it does not
	AlertMaybe              // not known: assume that it can
	AlertYes                // it does
)

// String returns no, maybe or yes.
func (a Alert) String() string { return [...]string{"no", "maybe", "yes"}[min(a, AlertYes)] }

// The outcome reasons that return codes lead to.
const (
	WhyConfirmed       scan.Reason = "confirmed"
	WhyRecalled        scan.Reason = "recalled"
	WhyWithdrawn       scan.Reason = "withdrawn"
	WhyExpired         scan.Reason = "expired"
	WhyNotEntitled     scan.Reason = "not_entitled"
	WhyUnknownProduct  scan.Reason = "unknown_product"
	WhyUnknownSerial   scan.Reason = "unknown_serial"
	WhyUnknownBatch    scan.Reason = "unknown_batch"
	WhyWrongExpiry     scan.Reason = "wrong_expiry"
	WhyWrongBatch      scan.Reason = "wrong_batch"
	WhyAlreadyInactive scan.Reason = "already_inactive"
	WhyTooLate         scan.Reason = "too_late"
	WhyNotOurs         scan.Reason = "not_ours"
	WhyWrongRef        scan.Reason = "wrong_ref" // RefClientTrxId is not that of the change
	WhyMismatch        scan.Reason = "undo_mismatch"
	WhyLocked          scan.Reason = "locked"
	WhyNotDispensable  scan.Reason = "not_dispensable"
	WhyOther           scan.Reason = "other"
)

// States of a pack as NMVS gives them; others are kept as text.
const (
	StateActive   = "ACTIVE"
	StateInactive = "INACTIVE"
	StateUnknown  = "UNKNOWN"
)

// Verdict is what a return code means for one operation.
type Verdict struct {
	Class  Class
	Reason scan.Reason // outcome word; "" where the class has none
	Alert  Alert
	Known  bool // false: judged by the code's prefix; count it by its name
}

const prefix = "NMVS_"

// Classify judges a return code as the answer to op, by the code alone (see
// nmvs-interface.md 1.13; protocol.md section 3 where they differ). It is pure.
// What state and reasons add is in the [Finding] of an [Answer].
func Classify(code string, op Operation) Verdict {
	row, known := lookupCode(code)
	if !known {
		return byPrefix(code)
	}
	v := Verdict{Class: row.class, Reason: row.reason, Alert: row.alert, Known: true}
	switch {
	case row.class == UndoMismatch && !op.IsUndo():
		v.Class, v.Reason = Rule, WhyOther
	case row.class == NotReady && op.Kind != KindResult:
		v.Class = Format
	case row.perPack && op.Kind == KindResult:
		return Verdict{Class: Success, Known: true} // the packs tell
	}
	return v
}

// byPrefix is the unknown-code rule. Everything that is not clearly a refusal may
// hide a change.
func byPrefix(code string) Verdict {
	name, ours := strings.CutPrefix(code, prefix)
	if !ours {
		return Verdict{Class: InDoubt, Alert: AlertMaybe}
	}
	for _, r := range [...]struct {
		prefix string
		v      Verdict
	}{
		{"NC_", Verdict{Class: Rule, Reason: WhyOther, Alert: AlertMaybe}},
		{"FE_AU_", Verdict{Class: Login}},
		{"FE_PKI_", Verdict{Class: Login}},
		{"FE_", Verdict{Class: Format, Alert: AlertMaybe}},
		{"TE_", Verdict{Class: Format}},
	} {
		if strings.HasPrefix(name, r.prefix) {
			return r.v
		}
	}
	return Verdict{Class: InDoubt, Alert: AlertMaybe}
}

// refine corrects the verdict by what NMVS says of the pack.
func (v Verdict) refine(code string, op *Operation, state string, reasons []string) Verdict {
	if v.Class == Foreign {
		if why, ok := ownReason(reasons); ok { // inactive by itself: nobody supplied it
			v.Class, v.Reason, v.Alert = Rule, why, AlertNo
		}
	}
	switch {
	case op.Op == scan.Verify:
		// The code of a verify on an inactive pack differs between releases; state does not.
		if aboutState(code) && (state == StateActive || state == StateInactive) {
			v.Class, v.Reason, v.Alert = Success, "", AlertNo
		}
	case v.Class != Success && v.Class != Repeat || !op.Changes():
	case op.IsUndo() && state == StateInactive && has(reasons, op.Reason),
		!op.IsUndo() && state == StateActive:
		// "Done", says the code, and the pack's state says that it is not.
		v.Class, v.Reason, v.Alert = InDoubt, "", AlertMaybe
	}
	return v
}

// ownReason finds a reason for which a pack becomes inactive without anybody's call.
func ownReason(reasons []string) (scan.Reason, bool) {
	for _, r := range [...]struct {
		nmvs string
		why  scan.Reason
	}{{"RECALLED", WhyRecalled}, {"WITHDRAWN", WhyWithdrawn}, {"EXPIRED", WhyExpired}} {
		if has(reasons, r.nmvs) {
			return r.why, true
		}
	}
	return "", false
}

// aboutState says that the code speaks of the state of a pack that NMVS found.
func aboutState(code string) bool {
	return strings.HasPrefix(code, prefix+"NC_PCK_") || code == prefix+"FE_LOT_01" || code == prefix+"FE_LOT_08"
}

func has(list []string, s string) bool {
	return slices.Contains(list, s)
}
