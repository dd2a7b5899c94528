package worker

import (
	"context"
	"errors"
	"slices"
	"time"

	"decom/queue"
	"decom/worker/ledger"
)

// An append is compare-and-set on a sequence. After a ledger has lost a record, a late copy
// of another one may take its number, and the next append of a writer that knows only the
// lost one still fits: the chain is broken behind the writer's back, and the projection
// never shows it. Whoever reads the records in order sees it: the outbox, which reads them
// all anyway, and each start, which reads the ledger's last hour.

// holdLink holds a record of the outbox to the one that it follows, and reports a broken
// link through Broken. The record before is read again unless it came just before, and
// nobody got another in between: where several processes share the outbox, they alternate.
func (p *Publisher) holdLink(ctx context.Context, rec queue.OutboxRecord, r *ledger.Record) error {
	prev, e := ledger.Head{Seq: r.PrevSeq, Hash: r.Prev}, rec.Entry()
	linked := prev == p.before && rec.Turn() == p.turn+1
	p.before, p.turn = e.Head(), rec.Turn()
	if linked {
		return nil
	}
	linked, err := holds(ctx, p.Records, prev)
	if err != nil || linked {
		return err
	}
	there, err := holds(ctx, p.Records, e.Head())
	if err != nil || !there { // lost with the one before it since it came: the projection is the witness of that
		return err
	}
	linked, err = holds(ctx, p.Records, prev) // again, now that the later one is there: a new leader may have been behind
	if err != nil || linked {
		return err
	}
	p.Log.Error("ledger record does not follow the one before it", "account", p.Account, "seq", e.Seq, "prev_seq", prev.Seq)
	if p.Broken != nil {
		p.Broken()
	}
	return nil
}

// ChainBroken halts the account at its next round: a record of its ledger does not follow
// the one before it. Any goroutine may call it; the [Publisher] of the same process does.
func (a *Account) ChainBroken() {
	a.broken.Store(true)
	a.Wake()
}

// recall reads the last hour of the ledger: for its alerts, because a build that raises them
// must not begin to count anew with each start, and for broken links. A break that a person
// has resumed from since is known. The tally goes back further, as far as recallMost.
//
// The hour ends with the ledger's last record, or now if that is earlier: links are checked
// whatever this clock says. Alerts age by this clock: one that is an hour ahead forgets those
// of before, one or two, as a third had halted the account until a person's resume, which no
// clock ends.
func (l *loop) recall(work context.Context) error {
	var before ledger.Head // the last record read: a try goes on where the one before it ran out of time
	broken := false
	book := ledger.NewBook()
	var hour time.Time // where links and alerts begin to count
	take := func(e queue.Entry) error {
		prev := before
		before = e.Head()
		r, err := ledger.Decode(e.Payload, l.cfg.Account)
		if err != nil {
			return nil // the synchronisation halts on it, if it is not projected yet
		}
		l.tally.add(e.Seq, r, book)
		book.Add(e.Seq, r)
		if e.Time.Before(hour) {
			return nil
		}
		l.recallAlerts(e.Seq, r)
		if prev.Seq != 0 && prev != (ledger.Head{Seq: r.PrevSeq, Hash: r.Prev}) {
			broken = true
		}
		if resumes(r) {
			broken = false
		}
		return nil
	}
	err := l.patiently(work, "ledger or Redis", func(ctx context.Context) error {
		// An empty Redis: the synchronisation reads every record, links and alerts, from the first on.
		if _, has, err := l.deps.State.Head(ctx, l.cfg.Account); err != nil || !has {
			return err
		}
		seq, found := before.Seq+1, true
		if before.Seq == 0 {
			var err error
			if seq, hour, found, err = l.recallFrom(ctx); err != nil || !found {
				return err
			}
		}
		_, err := l.deps.Records.Read(ctx, seq, take)
		if err == nil && broken {
			return errHalt(whyChain)
		}
		return err
	}, errHalt(whyChain))
	if errors.Is(err, errHalt(whyChain)) {
		l.halt(work, whyChain)
		return nil
	}
	return err
}

// recallMost bounds the records that a start reads for the tally's sake: a day of an account
// of usual size, and a few seconds of one that never rests.
const recallMost = 4000

// recallFrom is where recall begins: a missing upload's day ago, or closer, but not after the
// ledger's last hour, which begins with hour.
func (l *loop) recallFrom(ctx context.Context) (seq uint64, hour time.Time, found bool, err error) {
	last, found, err := l.deps.Records.Last(ctx)
	if err != nil || !found {
		return 0, hour, false, err
	}
	now := time.Now()
	hour = now.Add(-time.Hour)
	if last.Time.Before(now) {
		hour = last.Time.Add(-time.Hour)
	}
	day := now.Add(-missingSpan)
	if hour.Before(day) {
		day = hour
	}
	seq, found, err = l.deps.Records.Since(ctx, day)
	if err != nil || !found || last.Seq < seq+recallMost {
		return seq, hour, found, err
	}
	least := last.Seq - recallMost
	if seq, found, err = l.deps.Records.Since(ctx, hour); err != nil || !found {
		return least, hour, err == nil, err
	}
	return min(seq, least), hour, true, nil
}

// resumes says whether a person's resume stands in the record.
func resumes(r *ledger.Record) bool {
	return slices.ContainsFunc(r.Fact, func(f ledger.Fact) bool { return f.Kind == ledger.Resume })
}
