package worker

import (
	"context"
	"slices"
	"time"

	"decom/nmvs"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// What stands here is off by default: it rests on properties of NMVS that an operator
// must have qualified for the account's login (protocol.md sections 1 A3 and 5).

// Doubt says what happens to an attempt whose answer never came.
type Doubt string

// The two ways of protocol.md section 5.
const (
	Hold   Doubt = "hold"   // fence, hold, verify (default)
	SameID Doubt = "sameid" // the same bytes once more: NMVS refuses an id that it has seen
)

// conclude is the table of [conclude] under the account's qualifications. An empty kind
// says nothing yet; probe marks a release as the one qualified repeat.
func (c Config) conclude(att *ledger.Attempt, i int, f nmvs.Finding, s ledger.State, now time.Time) (kind ledger.Kind, a *ledger.Answer, probe bool) {
	if c.Doubt == SameID && att.Tx == "" {
		kind, a = concludeSameID(att, i, f, c.Settle, !now.Before(openedAt(att).Add(c.TResult)))
		return kind, a, false
	}
	kind, a = conclude(att, i, f, s, c.Settle)
	if c.Tolerance > 0 && kind == ledger.Result && a.Reason == scan.NoEvidence && s.Sends == 0 && !att.Probe && att.Tx == "" {
		return ledger.Release, nil, true // PCK_23 to the probe proves that our login did it
	}
	return kind, a, false
}

// concludeSameID settles only what "already used" proved and NMVS now shows [B12c]; what
// is still open after T_RESULT goes to a person.
func concludeSameID(att *ledger.Attempt, i int, f nmvs.Finding, settle Grade, over bool) (ledger.Kind, *ledger.Answer) {
	op := att.Packs[i].Op
	a := &ledger.Answer{Code: f.Code, State: f.State, Reasons: f.Reasons, AlertID: f.AlertID, Called: true, NMVSAt: att.At}
	done := f.State == nmvs.StateActive && op.IsUndo() ||
		f.State == nmvs.StateInactive && !op.IsUndo() && slices.Contains(f.Reasons, nmvs.WantedReason(op))
	switch {
	case att.Used && done && att.Svc != ledger.Single && !op.IsUndo() && !enough(E4, settle):
		// That NMVS knows the bulk does not say that the bulk changed this pack.
		a.Result, a.Reason, a.Evidence = scan.Unresolved, scan.NoEvidence, string(E4)
	case att.Used && done:
		a.Result, a.Reason, a.Evidence = scan.Done, scan.Confirmed, string(E2)
	case over:
		a.Result, a.Reason = scan.Unresolved, scan.NoAnswer
	default:
		return "", nil
	}
	return ledger.Result, a
}

func openedAt(att *ledger.Attempt) time.Time {
	t, err := time.Parse(time.RFC3339Nano, att.At)
	if err != nil {
		return time.Time{}
	}
	return t
}

// resend is the resolver's way under `doubt: sameid`: a resend fact, then the same
// bytes once more [B12]; then NMVS's word that it knows the id, and a verify.
func (l *loop) resend(work context.Context, att *ledger.Attempt, d *doubt, now time.Time) time.Time {
	if att.Resent {
		if over := openedAt(att).Add(l.cfg.TResult); !att.Used && now.Before(over) {
			return over
		}
		return l.verifyNext(work, att, d, now)
	}
	if due := d.seen.Add(l.cfg.grace(att.Svc) * time.Duration(1+l.deps.Rank())); now.Before(due) {
		return due
	}
	if d.asked {
		return now.Add(time.Second)
	}
	svc := serviceOf(att.Svc)
	if l.paused { // a second send changes packs as the first one does
		return now.Add(lookPoll)
	}
	if l.free() <= 0 || l.deps.NMVS.Admit(svc) <= 0 || !l.takeTokenOf(att.Svc) {
		return now.Add(tokenPause)
	}
	d.asked = true
	l.inflight++ // its slot: the sender takes it over, or the draft gives it back
	l.claims = append(l.claims, claim{looked: -1, Fact: ledger.Fact{C: att.C, Of: att.Of, Kind: ledger.Resend}})
	return now.Add(time.Second)
}

// takeTokenOf takes a token of the limit that a service's calls count for.
func (l *loop) takeTokenOf(svc ledger.Service) bool {
	if svc == ledger.Single {
		return l.takeToken()
	}
	if !l.takeBulkToken() {
		return false
	}
	l.lanes.bulk = 0
	return true
}

// launchResends is S7 for attempts whose resend fact was just recorded.
func (l *loop) launchResends(work context.Context, d *draft, sendable bool) {
	for i := range d.rec.Fact {
		f := &d.rec.Fact[i]
		if f.Kind != ledger.Resend {
			continue
		}
		att := l.book.Attempt(f.C)
		if att == nil || !sendable {
			l.inflight--
			continue
		}
		a := *att
		l.sending[a.C] = true
		job := sendJob{att: &a, started: d.started}
		l.senders.Go(func() { l.ended <- l.send(work, job) })
	}
}
