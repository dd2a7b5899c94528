package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// ResumeTool signs the records of [Resume] and [ResumeAfterLoss].
const ResumeTool = "decom resume"

// HaltStore is the part of the projection that a resume needs. An embedded store that
// was opened beside the process it belongs to shows its head files, and nothing else.
type HaltStore interface {
	Witness
	Halt(ctx context.Context, account, why string) error
	Halted(ctx context.Context, account string) (why string, halted bool, err error)
	Unhalt(ctx context.Context, account, why string) (left string, err error)
	Each(ctx context.Context, account string, fn func(scan.PackID, ledger.State) error) error
	Drop(ctx context.Context, account string) error
	ForgetHead(account string) error
}

// Resumer is what a person's resume works with.
type Resumer struct {
	Account string
	Records Records
	State   HaltStore
	// ResetScans has the account's scans since t delivered again; after a loss only.
	ResetScans func(ctx context.Context, account string, t time.Time) error
	// ResetOutbox has the account's records since t told again, or found told; after a loss only:
	// with three replicas the outbox may keep its place beyond the ledger's end, and pass
	// over the records that come there.
	ResetOutbox func(ctx context.Context, account string, t time.Time) error
	// Notice is how long the workers get to see the halt before a resume after loss ends it.
	// One that does not remembers the lost records, finds them missing later, and halts the
	// account anew: safe, but a person must come again. Default [NoticeLoss].
	Notice time.Duration
}

// NoticeLoss is the default of Resumer.Notice: a look of an idle loop, the tries after
// which Redis ahead proves a loss, and a store that answers slowly.
const NoticeLoss = lookPoll + lossTries*lossPause + storeTimeout

// HaltReason is one reason for which an account stands still.
type HaltReason struct {
	After uint64 // the ledger's last record when it halted
	Who   string // the worker, where known
	Why   string
	At    string // where known
}

// Loss says whether the reason is that ledger and Redis contradict each other.
func (h HaltReason) Loss() bool { return h.Why == whyLost || h.Why == whyFork }

// Halts returns why the account is halted, empty when it is not: the reasons of the
// halt key, and halt facts that no resume follows.
func (r *Resumer) Halts(ctx context.Context) ([]HaltReason, string, error) {
	var reasons []HaltReason
	note, halted, err := r.State.Halted(ctx, r.Account)
	if err != nil {
		return nil, "", err
	}
	if halted {
		reasons = keyReasons(note)
	}
	var open []HaltReason
	_, err = r.Records.Read(ctx, 1, func(e queue.Entry) error {
		rec, err := ledger.Decode(e.Payload, r.Account)
		if err != nil {
			return &ChainError{Seq: e.Seq, Err: err}
		}
		for i := range rec.Fact {
			switch f := &rec.Fact[i]; f.Kind {
			case ledger.Halt:
				open = append(open, HaltReason{After: e.Seq, Who: f.Who, Why: f.Why, At: rec.At})
			case ledger.Resume:
				open = nil
			}
		}
		return nil
	})
	for _, h := range open { // the key repeats the fact
		i := slices.IndexFunc(reasons, func(k HaltReason) bool { return k.Why == h.Why })
		if i >= 0 {
			reasons[i].Who, reasons[i].At = h.Who, h.At
		} else {
			reasons = append(reasons, h)
		}
	}
	return reasons, note, err
}

// Resume lets a halted account go on: it appends the resume fact, and takes the halt key
// away if no reason came that the person has not read; workers do that too. It
// returns the fact's sequence and what still stands in the key. [ErrNotHalted];
// [ErrLedgerLost] when ledger and Redis contradict each other, or the halt says so:
// that needs [ResumeAfterLoss].
func Resume(ctx context.Context, r Resumer, p Person) (seq uint64, left string, err error) {
	if err := p.Validate(); err != nil {
		return 0, "", err
	}
	reasons, note, err := r.Halts(ctx)
	if err != nil {
		return 0, "", err
	}
	if slices.ContainsFunc(reasons, HaltReason.Loss) {
		return 0, "", ErrLedgerLost
	}
	if err := CheckWitness(ctx, r.Records, r.State, r.Account); err != nil {
		return 0, "", err
	}
	if len(reasons) == 0 {
		return 0, "", ErrNotHalted
	}
	return r.end(ctx, p, note)
}

// end appends the resume fact and takes the key away if it still is what was read.
func (r *Resumer) end(ctx context.Context, p Person, note string) (seq uint64, left string, err error) {
	seq, err = AppendFact(ctx, r.Records, r.Account, ResumeTool, func(context.Context, ledger.Head) (ledger.Fact, error) {
		return ledger.Fact{Kind: ledger.Resume, Who: p.Who, Why: p.Why}, nil
	})
	if err != nil || note == "" {
		return seq, "", err
	}
	left, err = r.State.Unhalt(ctx, r.Account, note)
	if err != nil {
		err = fmt.Errorf("the resume is on the ledger as record %d, workers take the halt key away: %w", seq, err)
	}
	return seq, left, err
}

// Loss is what a resume after ledger loss found and did, also when it ended early: it
// may be run again, and goes on where it stopped.
type Loss struct {
	Ledger, Redis ledger.Head // the last record of the ledger, and the one Redis was at
	Known         bool        // Redis remembered the account at all
	File          bool        // embedded store: its head file named a record that the ledger does not hold
	Lost          bool        // Redis was at a record that the ledger does not hold
	Parked        int         // packs that lost records had changed, put aside
	Since         time.Time   // scans from here on are delivered again; zero: none
	Dropped       bool        // the projection was removed, workers project the ledger anew
	Seq           uint64      // the resume fact; 0: not resumed
	Left          string      // reasons that came meanwhile and still stand
}

// resetBefore is how far before the ledger's last record scans are delivered again.
// That is harmless: packs remember what they have seen (protocol.md section 9).
const resetBefore = time.Hour

// ResumeAfterLoss ends a halt because the ledger lost acknowledged records, or forked.
// It parks every pack that the lost records had changed, has the scans since 1 h before
// the last record delivered again, removes the projection, and resumes.
//
// The order makes every step safe to repeat after a crash: the halt key stands until the
// end, so no worker sends or projects; the projection, the only witness of what was
// lost, goes when every pack of it is parked on the ledger. A Redis that remembers
// nothing, or agrees with the ledger, gives nothing to park and nothing is delivered
// again: then the person knows something that no store does. A chain that broke is a [*ChainError], and
// nothing is written: [Resume] goes on with what Redis knows. An embedded store is such
// a witness of nothing (protocol.md section 9): its process must be stopped, and the
// caller has to see to that.
func ResumeAfterLoss(ctx context.Context, r Resumer, p Person) (loss Loss, err error) {
	if err := p.Validate(); err != nil {
		return loss, err
	}
	reasons, _, err := r.Halts(ctx)
	if err != nil {
		return loss, err
	}
	saved, has, err := r.State.LoadHead(r.Account)
	if err != nil {
		return loss, err
	}
	if has {
		held, err := holds(ctx, r.Records, saved)
		if err != nil {
			return loss, err
		}
		loss.File = !held
	}
	if len(reasons) == 0 && !loss.File {
		return loss, ErrNotHalted
	}
	if slices.ContainsFunc(reasons, func(h HaltReason) bool { return h.Why == whyChain }) {
		// Redis may agree with the ledger's last record, and hold what no record says any more:
		// nothing here could tell which packs, so nothing is written.
		if _, err := WalkLedger(ctx, r.Records, r.Account, func(queue.Entry, *ledger.Record) error { return nil }); err != nil {
			return loss, err
		}
	}
	last, any, err := r.Records.Last(ctx)
	if err != nil {
		return loss, err
	}
	if loss.Ledger = last.Head(); !any {
		last.Time = time.Unix(0, 0)
	}
	if err := r.State.Halt(ctx, r.Account, haltNote(last.Seq, "a person resumes after ledger loss")); err != nil {
		return loss, err
	}
	noticed := time.Now().Add(cmp.Or(r.Notice, NoticeLoss))
	if loss.Redis, loss.Known, err = r.State.Head(ctx, r.Account); err != nil {
		return loss, err
	}
	if loss.Known {
		held, err := holds(ctx, r.Records, loss.Redis)
		if err != nil {
			return loss, err
		}
		loss.Lost = !held
	}
	if !sleep(ctx, time.Until(noticed)) { // also before scans come again: see ackWithin
		return loss, context.Cause(ctx)
	}
	if loss.Lost {
		if err := r.putAside(ctx, p, last.Time.Add(-resetBefore), &loss); err != nil {
			return loss, err
		}
	}
	note, _, err := r.State.Halted(ctx, r.Account)
	if err != nil {
		return loss, err
	}
	if loss.Seq, loss.Left, err = r.end(ctx, p, note); err == nil && loss.File {
		err = r.State.ForgetHead(r.Account)
	}
	return loss, err
}

// putAside parks what the lost records changed, then empties the projection.
func (r *Resumer) putAside(ctx context.Context, p Person, since time.Time, loss *Loss) error {
	lost, at, err := r.lostPacks(ctx, loss.Redis)
	if err != nil {
		return err
	}
	// Before the parks, because they move the ledger's end: a repeat after a crash must
	// not choose a later time. The consumer is never set forward.
	if err := r.ResetScans(ctx, r.Account, since); err != nil {
		return err
	}
	if err := r.ResetOutbox(ctx, r.Account, since); err != nil {
		return err
	}
	loss.Since = since
	for {
		err := r.park(ctx, p, lost, at, loss)
		if err == nil {
			break
		}
		if !errors.Is(err, errMoved) {
			return err
		}
		if lost, at, err = r.lostPacks(ctx, loss.Redis); err != nil {
			return err
		}
	}
	if err := r.State.Drop(ctx, r.Account); err != nil {
		return err
	}
	loss.Dropped = true
	return nil
}

// errMoved says that somebody wrote behind the record up to which lost packs were looked for: a
// process that stood still as it wrote. It may have opened one of them, and who scanned that
// would never be told what became of it.
var errMoved = errors.New("the ledger moved meanwhile")

// park puts lost packs aside, of whom the ledger was read up to the record at.
func (r *Resumer) park(ctx context.Context, p Person, lost map[scan.PackID]ledger.State, at uint64, loss *Loss) error {
	facts, err := r.parks(ctx, lost)
	if err != nil {
		return err
	}
	for _, f := range facts {
		f.Kind, f.Who, f.Why = ledger.Park, p.Who, p.Why
		for i := range f.Packs {
			f.Packs[i].Answer = &ledger.Answer{Result: scan.Unresolved, Reason: scan.LedgerLoss}
		}
		at, err = AppendFact(ctx, r.Records, r.Account, ResumeTool, func(_ context.Context, end ledger.Head) (ledger.Fact, error) {
			if end.Seq != at {
				return ledger.Fact{}, errMoved
			}
			return f, nil
		})
		if err != nil {
			return err
		}
		loss.Parked += len(f.Packs)
	}
	return nil
}

// parks makes the facts that put lost packs aside. One that the ledger still holds open,
// or due, is parked under its attempt: the park is the final word on it, which the outbox
// tells to whoever scanned it.
func (r *Resumer) parks(ctx context.Context, lost map[scan.PackID]ledger.State) (facts []ledger.Fact, err error) {
	const chunk = 500 // packs of one record, well below its limits
	var rest ledger.Fact
	for _, k := range slices.Sorted(maps.Keys(lost)) {
		if s := lost[k]; s.Phase == ledger.Opened || s.Phase == ledger.Due {
			e, err := r.Records.Get(ctx, s.Opening)
			if err != nil {
				return nil, fmt.Errorf("opening record %d: %w", s.Opening, err)
			}
			rec, err := ledger.Decode(e.Payload, r.Account)
			if err != nil {
				return nil, &ChainError{Seq: e.Seq, Err: err}
			}
			if o, i, ok := find(rec, k); ok {
				facts = append(facts, ledger.Fact{C: o.C, Of: s.Opening, Packs: []ledger.FactPack{{I: i, K: k}}})
				continue
			}
		}
		if rest.Packs = append(rest.Packs, ledger.FactPack{I: len(rest.Packs), K: k}); len(rest.Packs) == chunk {
			facts, rest = append(facts, rest), ledger.Fact{}
		}
	}
	if len(rest.Packs) > 0 {
		facts = append(facts, rest)
	}
	return facts, nil
}

// lostPacks returns the packs whose value in Redis, which stands at the record redis, is
// not what the ledger's records up to there make of them. That is every pack changed
// after the ledger's last record (protocol.md section 9), and also what was lost under
// records that a process wrote before it noticed. Packs that an earlier run parked are
// left out. Each comes with what the ledger says of it, which was read up to the record at.
func (r *Resumer) lostPacks(ctx context.Context, redis ledger.Head) (lost map[scan.PackID]ledger.State, at uint64, err error) {
	now := ledger.States{}                 // by all records
	then := map[scan.PackID]ledger.State{} // by those up to redis.Seq, where later ones changed it
	last, err := WalkLedger(ctx, r.Records, r.Account, func(e queue.Entry, rec *ledger.Record) error {
		if e.Seq > redis.Seq {
			for _, k := range rec.Touched() {
				if _, kept := then[k]; !kept {
					then[k] = now[k]
				}
			}
		}
		if _, err := ledger.Fold(e.Seq, rec, now); err != nil {
			return &ChainError{Seq: e.Seq, Err: err}
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	lost = map[scan.PackID]ledger.State{}
	err = r.State.Each(ctx, r.Account, func(k scan.PackID, s ledger.State) error {
		was, later := then[k]
		if !later {
			was = now[k]
		}
		// The record at redis.Seq itself is known to be another one, if there is any.
		if (s.Changed == redis.Seq || !sameWord(s, was)) && now[k].Phase != ledger.Parked {
			lost[k] = now[k]
		}
		return nil
	})
	return lost, last.Seq, err
}

// sameWord compares what decides about sending.
func sameWord(a, b ledger.State) bool {
	return a.Phase == b.Phase && a.Op == b.Op && a.Changed == b.Changed && a.Opening == b.Opening && a.Base == b.Base
}

func keyReasons(note string) (rs []HaltReason) {
	for l := range strings.SplitSeq(note, "\n") { // the key collects one a line
		after, why := HaltNote(l)
		rs = append(rs, HaltReason{After: after, Why: why})
	}
	return rs
}
