package worker

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"decom/nmvs"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// reading is what a verify of a scan's pack answered, before the scan is decided.
type reading struct {
	answer ledger.Answer
	trx    string
}

// verifyScan reads the pack of a verify scan, or of a change under `settle: e3`, which
// is verified just before its open. A crash repeats it: it changes nothing. A call
// without an answer sends the scan back to the stream.
func (a *Account) verifyScan(work context.Context, it item) ending {
	call := verifyOf(it.p)
	ans, err := a.readCall(work, call, it.trace)
	if err != nil || ans.Class == nmvs.InDoubt {
		a.giveUp(work, it)
		return ending{}
	}
	it.read = readingOf(call, ans)
	if it.e.Op.IsRead() {
		return ending{item: &it}
	}
	// The open that follows needs a token too: without one the scan would go back, and be
	// verified again, for ever where tokens are scarce.
	ctx, cancel := context.WithTimeout(work, a.cfg.THTTPSingle)
	defer cancel()
	if err := a.deps.Limiter.Take(ctx, nmvs.Single.String(), 1); err != nil {
		a.giveUp(work, it)
		return ending{}
	}
	return ending{item: &it, token: true}
}

func readingOf(call nmvs.Call, ans nmvs.Answer) *reading {
	r := &reading{trx: call.C, answer: answerOfRead(ans.Finding)}
	r.answer.NMVSTrx, r.answer.NMVSAt = ans.Tx, scan.Time(ans.At)
	return r
}

// giveUp sends a scan back to the stream for a while.
func (a *Account) giveUp(work context.Context, it item) {
	ctx, cancel := context.WithTimeout(work, storeTimeout)
	defer cancel()
	if err := it.RetryAfter(ctx, a.cfg.holdDelay(it)); err != nil {
		a.trouble("hold", err)
	}
}

// answerOfRead is what a verify's finding says to whoever asked for it.
func answerOfRead(f nmvs.Finding) ledger.Answer {
	a := ledger.Answer{Result: scan.Done, Code: f.Code, State: f.State, Reasons: f.Reasons, AlertID: f.AlertID}
	switch f.Class {
	case nmvs.Success, nmvs.Repeat:
	case nmvs.Data, nmvs.Foreign, nmvs.UndoMismatch:
		a.Result, a.Reason = scan.Alert, f.Reason
	default:
		a.Result, a.Reason = scan.Refused, cmp.Or(f.Reason, scan.Other)
	}
	return a
}

// readCall makes one verify and feeds limiter and hooks. trace is its scan's, or "".
func (a *Account) readCall(work context.Context, call nmvs.Call, trace string) (nmvs.Answer, error) {
	call.Guard = func() error { return a.readGuard(work) }
	ctx, cancel := context.WithTimeout(work, a.cfg.THTTPSingle)
	defer cancel()
	began := time.Now()
	ans, err := a.deps.NMVS.Do(ctx, call)
	class := classOf(ans, err)
	a.learn(call.Service, class, began, ans.RetryAfter)
	if h := a.deps.Hooks.Call; h != nil {
		h("verify", class, time.Since(began))
	}
	a.traces.read(began, trace, class)
	return ans, err
}

// readGuard is the last word before a read's first byte: a read changes nothing, but no
// byte leaves while the account is halted, by whatever process.
func (a *Account) readGuard(work context.Context) error {
	ctx, cancel := context.WithTimeout(work, a.cfg.TSend)
	defer cancel()
	_, halted, err := a.deps.State.Halted(ctx, a.cfg.Account)
	switch {
	case err != nil:
		return fmt.Errorf("halt key before the write: %w", err)
	case halted || a.latched.Load():
		return errLatched
	}
	return nil
}

// decision says what a pre-read means for a scan: for a verify it is the answer; for a
// change only ACTIVE opens (evidence e3).
func (r *reading) decision(op scan.Op) decision {
	if op.IsRead() {
		return noted(r.answer.Result, r.answer.Reason)
	}
	inactive := r.answer.State == nmvs.StateInactive
	if r.answer.Result == scan.Done && inactive == op.IsUndo() {
		return decision{verb: open}
	}
	if r.answer.Result == scan.Done { // a read raised no alert, but the pack is not what we hold it for
		r.answer.Result, r.answer.Reason = scan.Alert, scan.AlreadyInactive
		if op.IsUndo() {
			r.answer.Reason = scan.UndoMismatch
		}
	}
	return noted(r.answer.Result, r.answer.Reason)
}
