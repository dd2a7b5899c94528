package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"decom/nmvs"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// sendJob is one opened attempt on its way.
type sendJob struct {
	att     *ledger.Attempt
	started time.Time // before the append
}

// Why an opened attempt was not sent. Nothing was written.
var (
	errLate     = errors.New("T_SEND is over")
	errNotOpen  = errors.New("the attempt is no longer open, or fenced")
	errDraining = errors.New("the worker drains")
	errLatched  = errors.New("the account is halted")
)

// send is S7 and S8 for one attempt: one write, one answer, one fact, or none when the
// answer leaves the fate unknown [B7].
func (a *Account) send(work context.Context, job sendJob) ending {
	end := ending{c: job.att.C, bulk: job.att.Svc != ledger.Single}
	call, err := callOf(&job.att.Open)
	if err != nil { // our bug; found before anything left
		a.log.Error("attempt cannot be sent", "trx", job.att.C, "err", err)
		end.claims = []claim{offClaim(job.att, false, ledger.Fact{})}
		return end
	}
	call.SHA = cmp.Or(job.att.SHA, "none") // what leaves is what the ledger says, or nothing does
	call.Guard = func() error { return a.guard(work, job) }
	ctx, cancel := context.WithTimeout(work, a.cfg.TSend+a.cfg.tHTTP(job.att.Svc))
	defer cancel()
	began := time.Now()
	ans, err := a.deps.NMVS.Do(ctx, call)
	if errors.Is(err, nmvs.ErrBytes) { // our bug; found before anything left
		a.log.Error("attempt cannot be sent", "trx", job.att.C, "err", err)
	}
	class := classOf(ans, err)
	a.learn(call.Service, class, began, ans.RetryAfter)
	if h := a.deps.Hooks.Call; h != nil {
		h(call.Service.String(), class, time.Since(began))
	}
	a.traces.called(began, call.Service.String(), class, job.att.Packs)
	a.step("S8")
	if !end.bulk && class != nmvs.NotSent {
		end.took, end.answered = max(time.Since(began), 1), class != nmvs.InDoubt
	}
	end.claims = claimOf(job.att, ans, err, time.Now())
	return end
}

// sendOf is the attempt as what may wait for a slot. Given up, it is put back to due.
func (a *Account) sendOf(work context.Context, s sendJob) job {
	return job{since: s.started, call: func() ending { return a.send(work, s) }, off: func() ending {
		return ending{c: s.att.C, claims: []claim{offClaim(s.att, false, ledger.Fact{})}}
	}}
}

// guard runs when the connection is ready, before the first byte. It is the last word:
// deadline by both clocks [B8], then Redis, which must still show the packs open for
// this attempt and not fenced [B8c-e].
func (a *Account) guard(work context.Context, job sendJob) error {
	ks := job.att.IDs
	for {
		switch {
		case a.latched.Load():
			return errLatched
		case a.draining.Load():
			return errDraining
		case over(job.started, a.cfg.TSend):
			return errLate
		}
		at := a.head.Load()
		ctx, cancel := context.WithTimeout(work, a.cfg.TSend)
		st, states, err := a.deps.State.View(ctx, a.cfg.Account, *at, ks)
		cancel()
		if err != nil {
			return fmt.Errorf("view before the write: %w", err)
		}
		switch st {
		case packstate.OK:
			for _, k := range ks {
				s := states[k]
				if !s.IsOpen(job.att.Of) || s.Fenced {
					return errNotOpen
				}
			}
			if over(job.started, a.cfg.TSend) || a.latched.Load() {
				return errLate
			}
			a.step("S7")
			return nil
		case packstate.Ahead, packstate.Stale:
			// Our loop, or another worker's, is between append and apply, or ahead of what
			// this loop has read. The loop catches up; until then this is no permission.
			if *a.head.Load() == *at && !a.writing.Load() {
				a.behind.Store(true)
				a.Wake()
			}
			if !a.awaitMove(work, *at) {
				return context.Cause(work)
			}
		default:
			return fmt.Errorf("view before the write: %s", st)
		}
	}
}

// headMoves wakes senders whose look at Redis came between the loop's append and apply.
type headMoves struct {
	mu sync.Mutex
	ch chan struct{} // closed at the next move; nil: nobody waits; guarded by mu
}

func (m *headMoves) tell() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ch != nil {
		close(m.ch)
		m.ch = nil
	}
}

func (m *headMoves) next() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ch == nil {
		m.ch = make(chan struct{})
	}
	return m.ch
}

// lookAgain is how long a sender waits for the loop before it looks again by itself.
const lookAgain = 5 * time.Millisecond

// awaitMove waits until the loop knows another head than that one, or a moment. false: work has ended.
func (a *Account) awaitMove(work context.Context, from ledger.Head) bool {
	moved := a.moves.next()
	if *a.head.Load() != from {
		return work.Err() == nil
	}
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	select {
	case <-moved:
	case <-timer.C:
	case <-work.Done():
		return false
	}
	return true
}

// over says that d has passed since start by the monotonic or by the wall clock.
func over(start time.Time, d time.Duration) bool {
	now := time.Now()
	return now.Sub(start) >= d || now.Round(0).Sub(start.Round(0)) >= d
}

// learn feeds the limiter with what NMVS says of our speed; the call began at a time.
func (a *Account) learn(svc nmvs.Service, class nmvs.Class, began time.Time, retryAfter time.Duration) {
	switch {
	case class == nmvs.TooFast:
		a.deps.Limiter.TooFast(svc.String(), began, retryAfter)
	case class.Answered():
		a.deps.Limiter.Succeeded(svc.String(), began)
	}
}

func classOf(ans nmvs.Answer, err error) nmvs.Class {
	if err == nil {
		return ans.Class
	}
	var e *nmvs.Error
	if errors.As(err, &e) {
		return e.Class
	}
	return nmvs.InDoubt
}

// callOf renders an attempt of the ledger as a call: the bytes are a function of the
// record, the account's configuration and its credentials.
func callOf(o *ledger.Open) (nmvs.Call, error) {
	if len(o.Packs) == 0 {
		return nmvs.Call{}, fmt.Errorf("attempt %s has no packs", o.C)
	}
	call := nmvs.Call{C: o.C, Op: o.Op, Service: serviceOf(o.Svc), Packs: make([]nmvs.Pack, len(o.Packs))}
	if o.Svc == ledger.Single {
		call.Manual = o.Packs[0].Manual
	}
	if o.Product != nil {
		call.Product = productOf(o.Product)
	}
	for i := range o.Packs {
		p := &o.Packs[i]
		call.Packs[i] = nmvs.Pack{Serial: p.Serial, RefC: p.RefC}
		if o.Svc == ledger.Mixed {
			if p.Product == nil {
				return nmvs.Call{}, fmt.Errorf("attempt %s: item %d has no product", o.C, i)
			}
			q := &call.Packs[i]
			q.C, q.Op, q.Manual, q.Product = p.C, p.Op, p.Manual, productOf(p.Product)
		}
	}
	return call, nil
}

func productOf(p *ledger.Product) nmvs.Product {
	return nmvs.Product{Scheme: p.Scheme, Code: p.Code, Batch: p.Batch, Expiry: p.Expiry}
}

func serviceOf(svc ledger.Service) nmvs.Service {
	switch svc {
	case ledger.Bulk:
		return nmvs.Bulk
	case ledger.Mixed:
		return nmvs.Mixed
	}
	return nmvs.Single
}

// verifyOf is a read of one pack with exactly the data of its record.
func verifyOf(p scan.Pack) nmvs.Call {
	return nmvs.Call{C: nmvs.NewTrxID(), Op: scan.Verify, Service: nmvs.Single,
		Product: nmvs.Product{Scheme: p.Scheme(), Code: p.Code(), Batch: p.Batch(), Expiry: p.Expiry()},
		Packs:   []nmvs.Pack{{Serial: p.Serial()}}}
}
