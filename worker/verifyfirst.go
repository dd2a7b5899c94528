package worker

import (
	"context"
	"errors"
	"maps"
	"time"

	"decom/nmvs"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// Both stores lost (protocol.md section 9, [B14]): nobody knows any more what was sent, and
// a process that starts cannot tell it from a first start. A person who knows says so, before
// the first start if possible, when no request can be on its way any more (T_HOLD): from then
// on each scan that would open its pack is verified first, as under `settle: e3`, and only
// a pack seen ACTIVE is sent. The evidence asked for after a doubt stays as configured. A
// small risk remains: what is still on its way, and what a stranger does in between.

// VerifyTool signs the records of [SetVerifyFirst].
const VerifyTool = "decom verify-first"

// ErrVerifyFirst: it is so already; nothing was written.
var ErrVerifyFirst = errors.New("it is so already")

// SetVerifyFirst has each pack of an account verified before its open, or ends that. It
// returns the fact's record. [ErrVerifyFirst]; others as those of [AppendFact]. For people's
// tools.
func SetVerifyFirst(ctx context.Context, records Records, store ControlStore, account string, on bool, p Person) (uint64, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	kind := ledger.VerifyEnd
	if on {
		kind = ledger.VerifyFirst
	}
	return AppendFact(ctx, records, account, VerifyTool, func(ctx context.Context, _ ledger.Head) (ledger.Fact, error) {
		now, err := ControlsOf(ctx, records, store, account)
		if err == nil && (now.Verify != nil) == on {
			err = ErrVerifyFirst
		}
		return ledger.Fact{Kind: kind, Who: p.Who, Why: p.Why}, err
	})
}

// dueRead is the verify of a due pack. Its scan is acknowledged, and its attempt may be older than
// the word that both stores are lost: it was never verified, or long ago.
type dueRead struct {
	*reading           // nil: on its way, or without an answer
	until    time.Time // the reading counts, or nobody asks again
}

// dueReadFor is how long a reading waits for the slot and the token of its open.
const dueReadFor = time.Minute

// dueReading returns what a verify of the due pack answered, nil when none is asked for. Not ready: it is on its way,
// begins now, or has no room.
func (l *loop) dueReading(d *draft, u *duePack, now time.Time) (_ *reading, ready bool) {
	q := l.dueReads[u.k]
	switch {
	case l.controls.Verify == nil:
		return nil, true
	case now.Before(q.until):
		return q.reading, q.reading != nil
	case d.room.singles > 0:
		d.room.singles--
		d.unread = append(d.unread, *u)
	}
	return nil, false
}

// verifyDue reads a due pack. It changes nothing; without an answer it is repeated later.
func (a *Account) verifyDue(work context.Context, u duePack) ending {
	end := ending{due: u.k}
	call := verifyOf(u.pack)
	if ans, err := a.readCall(work, call, a.traces.ofOrigin(&u.open.Origin)); err == nil && ans.Class != nmvs.InDoubt {
		end.read = readingOf(call, ans)
	}
	return end
}

// tookDueRead keeps an answer until the pack is opened, and forgets those that nobody will ask for.
func (l *loop) tookDueRead(k scan.PackID, r *reading, now time.Time) {
	maps.DeleteFunc(l.dueReads, func(_ scan.PackID, q dueRead) bool { return !now.Before(q.until) })
	l.dueReads[k] = dueRead{until: now.Add(verifyAgain)}
	if r != nil {
		l.dueReads[k] = dueRead{r, now.Add(dueReadFor)}
		l.nextDue = now
	}
}

// verifiesFirst says whether a scan is opened only after a verify saw its pack ACTIVE.
func (l *loop) verifiesFirst() bool { return l.cfg.Settle == E3 || l.controls.Verify != nil }
