package worker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// HALT (protocol.md section 9) stands in three places: the latch of this process,
// which every sender looks at; the halt key, which every View of every process looks
// at; and, where the chain can still be written, a halt fact. No byte leaves until
// a person's resume fact follows.

// haltNote is the value of the halt key: the ledger's last sequence when the account
// halted, and why. Only a resume after that sequence counts.
func haltNote(after uint64, why string) string { return fmt.Sprintf("%d %s", after, why) }

// HaltNote splits the value of the halt key, for people.
func HaltNote(note string) (after uint64, why string) {
	n, rest, _ := strings.Cut(note, " ")
	after, err := strconv.ParseUint(n, 10, 64)
	if err != nil {
		return 0, note
	}
	return after, rest
}

// latch stops this process's senders of the account, at once.
func (l *loop) latch(why string) {
	if l.latched.Swap(true) {
		return
	}
	l.log.Error("account halted", "why", why)
	if h := l.deps.Hooks.Halted; h != nil {
		h(true, why)
	}
}

// halt stops the account in every process. It does not wait for Redis or the ledger
// longer than one try each: waitResume repeats what failed.
func (l *loop) halt(work context.Context, why string) {
	l.latch(why)
	ctx, cancel := context.WithTimeout(work, storeTimeout)
	defer cancel()
	l.haltWhy = why
	if err := l.noteHalt(ctx); err != nil {
		l.trouble("halt", err)
		return
	}
	if why == whySelf || why == whyBrake {
		l.recordHalt(ctx, why)
	}
	if err := l.deps.State.Halt(ctx, l.cfg.Account, l.haltedAt); err != nil {
		l.trouble("Redis", err)
	}
}

// noteHalt finds the sequence after which a resume counts. Our own head will not do: the
// ledger may have lost it, and a resume gets a lower one.
func (l *loop) noteHalt(ctx context.Context) error {
	last, _, err := l.deps.Records.Last(ctx)
	if err != nil {
		return err
	}
	l.haltedAt, l.haltWhy = haltNote(last.Seq, l.haltWhy), ""
	return nil
}

// recordHalt writes the halt fact. A lost race or a dead server only costs the fact:
// the key and the latch stand.
func (l *loop) recordHalt(ctx context.Context, why string) {
	r := &ledger.Record{Account: l.cfg.Account, By: l.cfg.Worker, At: scan.Time(time.Now()),
		Fact: []ledger.Fact{{Kind: ledger.Halt, Who: l.cfg.Worker, Why: why}}}
	payload, err := ledger.Encode(r, l.head)
	if err != nil {
		return
	}
	head, err := l.deps.Records.Append(ctx, l.head, payload)
	if errors.Is(err, queue.ErrLost) {
		return // another worker was first, most likely with the same halt: nothing to wait for
	}
	if err != nil {
		l.trouble("ledger", err)
		return
	}
	l.haltedAt = haltNote(head.Seq, why)
}

// followHalt does what the last halt or resume on the ledger says, after records of
// another process or of an older day were projected.
func (l *loop) followHalt(ctx context.Context, f *ledger.Fact, seq uint64) error {
	if f.Kind == ledger.Resume {
		return nil // whoever waits for it takes the key away
	}
	l.latch(f.Why)
	l.haltedAt = haltNote(seq, f.Why)
	return l.deps.State.Halt(ctx, l.cfg.Account, l.haltedAt)
}

const resumePoll = 2 * time.Second

// waitResume keeps the account still until a resume fact follows the halt. It keeps
// the halt key in place meanwhile, also in a Redis that lost it, and takes answers of
// calls that were on their way.
func (l *loop) waitResume(ctx, work context.Context) error {
	l.sendBack(work)
	for {
		l.pulse.beat()
		l.gather(ctx, work, time.Now().Add(resumePoll))
		l.sendBack(work)
		if ctx.Err() != nil && l.inflight == 0 && !l.fetching {
			return context.Cause(ctx)
		}
		if work.Err() != nil {
			return context.Cause(work)
		}
		resumed, err := l.resumed(work)
		if err != nil {
			l.trouble("resume", err)
			continue
		}
		if resumed {
			break
		}
	}
	// Everything known is read anew: the person may have dealt with lost records.
	l.book, l.bookAt, l.head, l.haltedAt = nil, 0, ledger.Head{}, ""
	l.haltRead = nil // whoever resumes looked for halts up to the ledger's end
	l.opened = newOpenings()
	l.doubts = map[string]*doubt{}
	l.alerts = nil // what a person looked at does not count again
	l.tally = newTally()
	l.broken.Store(false)
	l.latched.Store(false)
	l.log.Warn("account resumed")
	if h := l.deps.Hooks.Halted; h != nil {
		h(false, "")
	}
	return l.synchronise(work)
}

func (l *loop) resumed(work context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(work, storeTimeout)
	defer cancel()
	note, halted, err := l.deps.State.Halted(ctx, l.cfg.Account)
	if err != nil {
		return false, err
	}
	if l.haltWhy != "" { // the halt met a ledger that did not answer
		if err := l.noteHalt(ctx); err != nil {
			return false, err
		}
		return false, l.deps.State.Halt(ctx, l.cfg.Account, l.haltedAt)
	}
	if halted && l.haltedAt == "" {
		l.haltedAt = note
	}
	after := lastHalt(l.haltedAt, note)
	found := false
	_, err = l.deps.Records.Read(ctx, after+1, func(e queue.Entry) error {
		r, err := ledger.Decode(e.Payload, l.cfg.Account)
		if err != nil {
			return err
		}
		for i := range r.Fact {
			switch r.Fact[i].Kind {
			case ledger.Resume:
				found = true
			case ledger.Halt:
				found = false
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	if found && halted {
		left, err := l.deps.State.Unhalt(ctx, l.cfg.Account, note)
		return err == nil && left == "", err
	}
	if found {
		return true, nil
	}
	if !halted {
		return false, l.deps.State.Halt(ctx, l.cfg.Account, l.haltedAt)
	}
	return false, nil
}

// lastHalt returns the highest sequence of all reasons in the notes: a resume must follow
// every one of them.
func lastHalt(notes ...string) (after uint64) {
	for _, note := range notes {
		for line := range strings.Lines(note) {
			n, _ := HaltNote(strings.TrimSuffix(line, "\n"))
			after = max(after, n)
		}
	}
	return after
}

// checkWitness holds the ledger to the head that an embedded store left on disk: it is all
// that a store inside the process can witness after its end (protocol.md section 9).
func (l *loop) checkWitness(work context.Context) error {
	saved, ok, err := l.deps.State.LoadHead(l.cfg.Account)
	if err != nil {
		l.halt(work, err.Error())
		return nil
	}
	if !ok {
		return nil
	}
	var e queue.Entry
	err = l.patiently(work, "ledger", func(ctx context.Context) (err error) {
		e, err = l.deps.Records.Get(ctx, saved.Seq)
		return err
	}, queue.ErrNotFound)
	if errors.Is(err, queue.ErrNotFound) || err == nil && e.Hash != saved.Hash {
		l.halt(work, whyLost)
		return nil
	}
	return err
}

// recallAlerts counts the alerts of a record that another process, or an earlier start,
// wrote: the limit is the account's.
func (l *loop) recallAlerts(seq uint64, r *ledger.Record) {
	if seq <= l.recalled {
		return
	}
	l.recalled = seq
	at, err := time.Parse(time.RFC3339Nano, r.At)
	if err != nil || time.Since(at) > time.Hour {
		return
	}
	for i := range r.Fact {
		f := &r.Fact[i]
		if f.Kind == ledger.Resume {
			l.alerts = nil // a person looked at those before
		}
		for _, p := range f.Packs {
			if f.Kind == ledger.Result && p.Answer != nil && selfMade(p.Answer) {
				l.alerts = append(l.alerts, at)
			}
		}
	}
}

// selfMade says whether an answer is an alert that a fault of ours would raise: already
// inactive, or an undo that does not fit. Only a change call raises it.
func selfMade(a *ledger.Answer) bool {
	return a.Called && a.Result == scan.Alert && (a.Reason == scan.AlreadyInactive || a.Reason == scan.UndoMismatch) && strings.HasPrefix(a.Code, "NMVS_NC_PCK_")
}

// brake counts an alert that may be our own fault, and halts the account at the
// limit (protocol.md section 9): a correct worker raises none of these.
func (l *loop) brake(work context.Context, self bool) {
	now := time.Now()
	l.alerts = append(l.alerts, now)
	for len(l.alerts) > 0 && now.Sub(l.alerts[0]) > time.Hour {
		l.alerts = l.alerts[1:]
	}
	switch {
	case self:
		l.halt(work, whySelf)
	case len(l.alerts) >= l.cfg.AlertLimit:
		l.halt(work, whyBrake)
	}
}
