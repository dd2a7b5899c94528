package worker

import (
	"errors"
	"time"

	"decom/nmvs"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// claimOf is the table of protocol.md section 3: what an answer to a change call makes
// a fact of. nil: the fate is unknown, nothing may be written [B7]. Single attempts
// only have one pack; a bulk's submit speaks of all its packs at once.
func claimOf(att *ledger.Attempt, ans nmvs.Answer, err error, now time.Time) []claim {
	class := classOf(ans, err)
	called := class != nmvs.NotSent
	if errors.Is(err, nmvs.ErrBytes) { // a bug of ours that stops no breaker: not for ever, each time two records more
		class = nmvs.Format
	}
	if class.RefusedWhole() || class == nmvs.NotSent {
		return refusedWhole(att, class, called, ans.Code, now)
	}
	if class == nmvs.UsedID && att.Resent {
		return []claim{{looked: -1, Fact: ledger.Fact{C: att.C, Of: att.Of, Kind: ledger.Used}}}
	}
	if att.Svc != ledger.Single {
		if class != nmvs.Success || ans.Tx == "" {
			return nil
		}
		return []claim{{looked: -1, Fact: ledger.Fact{C: att.C, Of: att.Of, Kind: ledger.Submitted, Tx: ans.Tx}}}
	}
	a, ok := answerOf(ans.Finding, att.Packs[0].Op)
	if !ok {
		return nil
	}
	a.NMVSTrx, a.NMVSAt = ans.Tx, scan.Time(ans.At)
	return resultClaim(att, 0, a)
}

// answerOf is the row of the table for one pack's finding; false = unknown.
func answerOf(f nmvs.Finding, op scan.Op) (*ledger.Answer, bool) {
	a := &ledger.Answer{Code: f.Code, State: f.State, Reasons: f.Reasons, AlertID: f.AlertID, Called: true, Reason: f.Reason}
	switch f.Class {
	case nmvs.Success:
		a.Result, a.Reason = scan.Done, scan.NoReason
	case nmvs.Repeat: // the same user did it before, and there is no other attempt of ours but doubtful ones
		if op.IsUndo() {
			return nil, false
		}
		a.Result, a.Reason, a.Evidence = scan.Done, scan.Confirmed, "e2"
	case nmvs.Foreign:
		a.Result, a.Reason = scan.Alert, scan.AlreadyInactive
	case nmvs.UndoMismatch:
		a.Result, a.Reason = scan.Alert, scan.UndoMismatch
	case nmvs.Data:
		a.Result = scan.Alert
	case nmvs.Rule, nmvs.UnknownProduct:
		a.Result = scan.Refused
	default:
		return nil, false
	}
	return a, true
}

// restAfterRefusal is how long a pack rests after NMVS turned its request away; the
// limiter and the breaker do the rest.
const restAfterRefusal = 2 * time.Second

// refusedWhole is the last but two rows: nothing was executed, so the packs are due
// again; a request that NMVS cannot read, or that we cannot write, is not tried for ever.
// called: NMVS was asked.
func refusedWhole(att *ledger.Attempt, class nmvs.Class, called bool, code string, now time.Time) []claim {
	if att.Resent { // a resend moved the attempt on: a first sender's refusal decides nothing [B12b]
		return nil
	}
	if class == nmvs.Format && att.Svc == ledger.Single {
		a := &ledger.Answer{Result: scan.Unresolved, Reason: scan.Format, Code: code, Called: called}
		return resultClaim(att, 0, a)
	}
	f := ledger.Fact{}
	if class != nmvs.NotSent {
		f.NotBefore = now.Add(restAfterRefusal).UnixMilli()
	}
	if class == nmvs.Format {
		f.Svc = ledger.Single
	}
	return []claim{offClaim(att, called, f)}
}

// offClaim puts all open packs of an attempt back to due: not sent, or refused as a
// whole (called).
func offClaim(att *ledger.Attempt, called bool, f ledger.Fact) claim {
	f.C, f.Of, f.Kind = att.C, att.Of, ledger.Off
	for i, k := range att.IDs {
		p := ledger.FactPack{I: i, K: k}
		if called {
			p.Answer = &ledger.Answer{Called: true}
		}
		f.Packs = append(f.Packs, p)
	}
	return claim{Fact: f, looked: -1}
}

func resultClaim(att *ledger.Attempt, i int, a *ledger.Answer) []claim {
	return []claim{{looked: -1, Fact: ledger.Fact{C: att.C, Of: att.Of, Kind: ledger.Result,
		Packs: []ledger.FactPack{{I: i, K: att.IDs[i], Answer: a}}}}}
}
