package worker

import (
	"context"
	"math/rand/v2"
	"time"

	"decom/nmvs"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// poll is S9 for a submitted bulk: any worker may fetch its result. The one that
// submitted it begins at once, the others after the grace. Past T_RESULT the packs
// that have no result are verified (protocol.md section 5).
func (l *loop) poll(work context.Context, att *ledger.Attempt, d *doubt, now time.Time) time.Time {
	if d.next.IsZero() {
		wait := pollWait(l.cfg.PollFirst, 0, rand.Float64())
		if att.By != l.cfg.Worker {
			wait = max(wait, l.cfg.grace(att.Svc)*time.Duration(1+l.deps.Rank()))
		}
		d.next = now.Add(wait)
	}
	if now.Sub(d.seen) >= l.cfg.BulkLate && !d.late {
		d.late = true
		l.lanes.size.bad()
	}
	if at := submittedAt(att, d); !now.Before(at.Add(l.cfg.TResult)) {
		return l.verifyNext(work, att, d, now)
	}
	if now.Before(d.next) {
		return d.next
	}
	if l.free() <= 0 || l.deps.NMVS.Admit(serviceOf(att.Svc)) <= 0 || !l.takeBulkToken() {
		return now.Add(tokenPause)
	}
	l.lanes.bulk = 0
	d.busy = true
	l.inflight++
	a := *att // the loop may change the book meanwhile
	l.senders.Go(func() { l.ended <- l.fetchResult(work, &a) })
	return time.Time{}
}

// tokenPause is how soon a lack of tokens or slots is looked at again.
const tokenPause = 100 * time.Millisecond

// submittedAt is when the bulk was accepted: by the record's clock, so that a restart
// does not begin T_RESULT anew; a clock that is wrong only parks packs early or late.
func submittedAt(att *ledger.Attempt, d *doubt) time.Time {
	t, err := time.Parse(time.RFC3339Nano, att.SubmittedAt)
	if err != nil {
		return d.seen
	}
	return t
}

// fetchResult asks once for the result of a bulk. Packs that the answer does not name stay
// open: a pack without a word is not done.
func (a *Account) fetchResult(work context.Context, att *ledger.Attempt) ending {
	end := ending{c: att.C, poll: true}
	call, err := callOf(&att.Open)
	if err != nil {
		return end
	}
	call.Act, call.C, call.Tx = nmvs.ActPoll, nmvs.NewTrxID(), att.Tx
	call.Guard = func() error { return a.readGuard(work) }
	ctx, cancel := context.WithTimeout(work, a.cfg.TSend+a.cfg.THTTPBulk)
	defer cancel()
	began := time.Now()
	ans, err := a.deps.NMVS.Do(ctx, call)
	class := classOf(ans, err)
	a.learn(nmvs.Bulk, class, began, ans.RetryAfter)
	if h := a.deps.Hooks.Call; h != nil {
		h("poll", class, time.Since(began))
	}
	a.traces.called(began, "poll", class, att.Packs)
	a.step("S9")
	if err == nil {
		end.claims = claimsOf(att, ans)
	}
	return end
}

// claimsOf makes facts of a bulk's results, whatever the top-level code says.
func claimsOf(att *ledger.Attempt, ans nmvs.Answer) []claim {
	done := ledger.Fact{C: att.C, Of: att.Of, Kind: ledger.Result}
	single := ledger.Fact{C: att.C, Of: att.Of, Kind: ledger.Off, Svc: ledger.Single}
	for i := range ans.Packs {
		p := &ans.Packs[i]
		if p.I < 0 || p.I >= len(att.IDs) {
			continue
		}
		fp := ledger.FactPack{I: p.I, K: att.IDs[p.I]}
		if p.Class == nmvs.UnknownProduct { // bulks do not ask other countries: once more, alone
			fp.Answer = &ledger.Answer{Called: true}
			single.Packs = append(single.Packs, fp)
			continue
		}
		a, ok := answerOf(p.Finding, att.Packs[p.I].Op)
		if !ok {
			continue
		}
		a.NMVSTrx, a.NMVSAt = p.Tx, scan.Time(firstTime(p.At, ans.At))
		fp.Answer = a
		done.Packs = append(done.Packs, fp)
	}
	var claims []claim
	for _, f := range []ledger.Fact{done, single} {
		if len(f.Packs) > 0 {
			claims = append(claims, claim{Fact: f, looked: -1})
		}
	}
	return claims
}

func firstTime(ts ...time.Time) time.Time {
	for _, t := range ts {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// polled takes back what a poll brought and plans the next one.
func (l *loop) polled(e ending) {
	d := l.doubts[e.c]
	if d == nil {
		return
	}
	d.busy = false
	d.polls++
	d.next = time.Now().Add(pollWait(l.cfg.PollFirst, d.polls, rand.Float64()))
	att := l.book.Attempt(e.c)
	got := 0
	for i := range e.claims {
		got += len(e.claims[i].Packs)
	}
	if att != nil && got >= att.Left() && !d.late {
		l.lanes.size.good(len(att.Packs))
	}
}

// list asks NMVS for the bulks that it holds of ours, where that operation exists, to find
// one whose submit was never answered. Not being in the list proves nothing.
func (a *Account) list(work context.Context, att *ledger.Attempt) ending {
	end := ending{c: att.C, verify: true, listed: true}
	ctx, cancel := context.WithTimeout(work, a.cfg.THTTPBulk)
	defer cancel()
	ans, err := a.deps.NMVS.Do(ctx, nmvs.Call{Act: nmvs.ActList, C: nmvs.NewTrxID(), Service: serviceOf(att.Svc),
		Guard: func() error { return a.readGuard(work) }})
	if err != nil {
		return end
	}
	for _, p := range ans.Pending {
		if p.C == att.C && p.Tx != "" {
			end.claims = []claim{{looked: -1, Fact: ledger.Fact{C: att.C, Of: att.Of, Kind: ledger.Submitted, Tx: p.Tx}}}
		}
	}
	return end
}
