package worker

import (
	"context"
	"slices"
	"time"

	"decom/nmvs"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// The resolver (protocol.md section 5) settles attempts whose answer nobody recorded:
// hold, verify, and only a pack seen ACTIVE is sent again. It runs inside the loop of
// any worker of the account; the ledger's compare-and-set keeps them apart.

// doubt is what this process remembers of an open attempt: times of its own
// monotonic clock, which no record can carry [B1].
type doubt struct {
	seen   time.Time // when we first read the opening record
	fenced time.Time // when we first read its fence
	asked  bool      // our fence is in the next record
	busy   bool      // a verify of ours is on its way
	next   time.Time // not before: the next poll, or after a verify without an answer
	tries  int
	polls  int
	late   bool // a bulk whose result did not come in time
	listed bool // the listing was asked for this lost submit
}

// resolve looks at every open attempt that has no sender of ours: it fences what was
// open for too long and verifies what was held long enough. It returns when it wants
// to look again.
func (l *loop) resolve(work context.Context, now time.Time) time.Time {
	var wake time.Time
	if l.book == nil {
		return now.Add(time.Second)
	}
	for c := range l.doubts {
		if l.book.Attempt(c) == nil {
			delete(l.doubts, c)
		}
	}
	l.book.Attempts(func(att *ledger.Attempt) {
		d := l.doubts[att.C]
		if d == nil {
			d = &doubt{seen: now}
			l.doubts[att.C] = d
		}
		if l.sending[att.C] || d.busy || l.draining.Load() {
			return
		}
		if t := l.resolveOne(work, att, d, now); !t.IsZero() {
			wake = earlier(wake, t)
		}
	})
	if wake.IsZero() {
		return now.Add(time.Minute)
	}
	return wake
}

// resolveOne takes the next step for one attempt and returns when the one after is due.
func (l *loop) resolveOne(work context.Context, att *ledger.Attempt, d *doubt, now time.Time) time.Time {
	if att.Tx != "" {
		return l.poll(work, att, d, now)
	}
	if l.cfg.Doubt == SameID {
		return l.resend(work, att, d, now)
	}
	if !att.Fenced {
		grace := l.cfg.grace(att.Svc) * time.Duration(1+l.deps.Rank())
		if due := d.seen.Add(grace); now.Before(due) {
			return due
		}
		if !d.asked {
			d.asked = true
			l.claims = append(l.claims, packClaim(att, ledger.Fence))
		}
		return now.Add(time.Second)
	}
	if d.fenced.IsZero() {
		d.fenced = now
	}
	if due := d.fenced.Add(l.cfg.hold(att.Svc)); now.Before(due) {
		if att.Svc != ledger.Single && l.cfg.Listing && !d.listed {
			return l.askList(work, att, d, now)
		}
		return due
	}
	return l.verifyNext(work, att, d, now)
}

// askList looks for a bulk whose submit was never answered.
func (l *loop) askList(work context.Context, att *ledger.Attempt, d *doubt, now time.Time) time.Time {
	if l.free() <= 0 || !l.takeBulkToken() {
		return now.Add(tokenPause)
	}
	l.lanes.bulk = 0
	d.busy = true
	l.inflight++
	a := *att
	l.senders.Go(func() { l.ended <- l.list(work, &a) })
	return time.Time{}
}

// verifyNext verifies the next pack of an attempt whose hold, or time for results, is
// over.
func (l *loop) verifyNext(work context.Context, att *ledger.Attempt, d *doubt, now time.Time) time.Time {
	if now.Before(d.next) {
		return d.next
	}
	if l.free() <= 0 || l.deps.NMVS.Admit(nmvs.Single) <= 0 || !l.takeToken() {
		l.hungry = true
		return now.Add(tokenPause)
	}
	i := 0
	for !att.IsLeft(i) {
		i++
	}
	d.busy = true
	l.inflight++
	a := *att
	job := verifyJob{att: &a, i: i, looked: att.Facts}
	l.senders.Go(func() { l.ended <- l.verify(work, job) })
	return time.Time{}
}

// workWaits says that a slot should be kept free: something beside new scans wants to
// call NMVS.
func (l *loop) workWaits() bool {
	for c, d := range l.doubts {
		if !d.fenced.IsZero() && !l.sending[c] {
			return true
		}
	}
	return false
}

// packClaim is a fact about all packs that are still open for an attempt.
func packClaim(att *ledger.Attempt, kind ledger.Kind) claim {
	f := ledger.Fact{C: att.C, Of: att.Of, Kind: kind}
	for i, k := range att.IDs {
		if att.IsLeft(i) {
			f.Packs = append(f.Packs, ledger.FactPack{I: i, K: k})
		}
	}
	return claim{Fact: f, looked: -1}
}

type verifyJob struct {
	att    *ledger.Attempt
	i      int
	looked int
}

// verify reads one pack of an attempt in doubt, with the record's own data. Without an
// answer the pack stays open and the verify is repeated later: a read changes nothing.
func (a *Account) verify(work context.Context, job verifyJob) ending {
	end := ending{c: job.att.C, verify: true}
	p, err := job.att.Pack(job.i)
	if err != nil {
		return end
	}
	ans, err := a.readCall(work, verifyOf(p), a.traces.ofOrigin(&job.att.Packs[job.i].Origin))
	if err != nil || ans.Class == nmvs.InDoubt {
		return end
	}
	end.claims = []claim{{
		Fact:   ledger.Fact{C: job.att.C, Of: job.att.Of, Packs: []ledger.FactPack{{I: job.i, K: job.att.IDs[job.i]}}},
		looked: job.looked, found: &ans.Finding,
	}}
	return end
}

const (
	verifyAgain    = 30 * time.Second
	verifyAgainMax = 10 * time.Minute
)

// unanswered backs off after a verify without an answer.
func (d *doubt) unanswered(now time.Time) {
	d.next = now.Add(min(verifyAgain<<min(d.tries, 10), verifyAgainMax))
	d.tries++
}

// conclude is the table of protocol.md section 5: what the verify of a held pack makes
// of it. s is the pack as the ledger has it. It is pure.
func conclude(att *ledger.Attempt, i int, f nmvs.Finding, s ledger.State, settle Grade) (ledger.Kind, *ledger.Answer) {
	op := att.Packs[i].Op
	a := &ledger.Answer{Code: f.Code, State: f.State, Reasons: f.Reasons, AlertID: f.AlertID, Called: true, NMVSAt: att.At}
	is := func(result scan.Result, reason scan.Reason) (ledger.Kind, *ledger.Answer) {
		a.Result, a.Reason = result, reason
		return ledger.Result, a
	}
	change := op
	if op.IsUndo() {
		change = op.Undoes()
	}
	wanted := slices.Contains(f.Reasons, nmvs.WantedReason(change))
	switch {
	case f.State == nmvs.StateActive && op.IsUndo(): // only we could undo it
		return is(scan.Done, scan.Confirmed)
	case f.State == nmvs.StateActive, f.State == nmvs.StateInactive && wanted && op.IsUndo(): // not executed
		return notExecuted(att, s, is)
	case f.State == nmvs.StateInactive && wanted:
		a.Evidence = string(grade(att))
		if enough(grade(att), settle) {
			return is(scan.Done, scan.Confirmed)
		}
		return is(scan.Unresolved, scan.NoEvidence)
	case f.State == nmvs.StateInactive && op.IsUndo():
		return is(scan.Unresolved, scan.UndoDoubtful)
	case f.State == nmvs.StateInactive:
		if why, ok := byItself(f.Reasons); ok { // nobody's change: what NMVS answers to a change call is a refusal
			return is(scan.Refused, why)
		}
		return is(scan.Alert, scan.AlreadyInactive)
	}
	switch f.Class {
	case nmvs.Data:
		return is(scan.Alert, f.Reason)
	case nmvs.Rule: // this login may not ask: nothing was learned
		return is(scan.Unresolved, scan.NoAnswer)
	}
	return is(scan.Alert, scan.UnknownPack)
}

// notExecuted releases a pack for one more try, or parks it: an accepted bulk may
// still execute [B15], a probe is never repeated, and two doubtful sends are enough.
func notExecuted(att *ledger.Attempt, s ledger.State, is func(scan.Result, scan.Reason) (ledger.Kind, *ledger.Answer)) (ledger.Kind, *ledger.Answer) {
	switch {
	case att.Tx != "":
		return is(scan.Unresolved, scan.NeverExecuted)
	case att.Probe, s.Sends+1 >= 2:
		return is(scan.Unresolved, scan.DoubtfulTwice)
	}
	return ledger.Release, nil
}

// grade is the evidence that a pack found INACTIVE after an attempt in doubt is ours.
func grade(att *ledger.Attempt) Grade {
	switch {
	case att.Used && att.Svc == ledger.Single: // that NMVS knows a bulk does not say that the bulk changed this pack
		return E2
	case att.Pre:
		return E3
	}
	return E4
}

// enough compares grades: the smaller number is the stronger proof.
func enough(have, want Grade) bool { return have <= want }

// byItself finds the reason for which a pack is inactive without anybody's call; only
// if there is no other one.
func byItself(reasons []string) (why scan.Reason, ok bool) {
	for _, r := range reasons {
		switch r {
		case "RECALLED":
			why = scan.Recalled
		case "WITHDRAWN":
			why = scan.Withdrawn
		case "EXPIRED":
			why = scan.ExpiredPack
		default:
			return "", false
		}
	}
	return why, len(reasons) > 0
}
