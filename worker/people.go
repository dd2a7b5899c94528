package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// Person is who stands behind a fact, and why: both go on the ledger for good.
type Person struct{ Who, Why string }

// The longest texts of a [Person], in bytes: they stand in every record they sign.
const (
	maxWho = 64
	maxWhy = 500
)

// Validate reports every problem: both are needed, short, and one line.
func (p Person) Validate() error {
	return errors.Join(plainText("who", p.Who, maxWho), plainText("why", p.Why, maxWhy))
}

func plainText(name, s string, most int) error {
	switch {
	case strings.TrimSpace(s) == "":
		return fmt.Errorf("%s: is missing", name)
	case len(s) > most:
		return fmt.Errorf("%s: has %d bytes, at most %d are kept", name, len(s), most)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%s: must be one line of plain text", name)
	}
	return nil
}

// What people's tools branch on.
var (
	// ErrContended: other writers were faster at every try. Nothing was written; try again.
	ErrContended = errors.New("other writers were faster each time")
	// ErrNotHalted: there is no halt to resume from.
	ErrNotHalted = errors.New("the account is not halted")
	// ErrLedgerLost: Redis holds a record that the ledger does not. Only
	// [ResumeAfterLoss] may write or empty anything now: Redis is the only witness.
	ErrLedgerLost = errors.New("the ledger lost records that Redis remembers")
)

// factTries bounds how often a person's fact meets a faster writer. A busy account
// commits every 20 ms, a fact needs two round trips.
const factTries = 40

// AppendFact puts one fact of a person on an account's ledger, as a record of its own
// signed by the tool. decide makes the fact for the ledger as it ends at the given
// head; after a lost append it is asked again for the new end, because the same
// decision must not be appended twice (protocol.md section 2.2). decide's error ends
// it and comes back as it is. Others: [ErrContended]; a [*ChainError] when the last
// record does not follow the one before; queue.ErrUnknown when ctx ended first, and
// the fact may be there or not. People's tools call it, workers never.
func AppendFact(ctx context.Context, records Records, account, tool string,
	decide func(ctx context.Context, at ledger.Head) (ledger.Fact, error),
) (uint64, error) {
	for range factTries {
		at, err := tail(ctx, records, account)
		if err != nil {
			return 0, err
		}
		f, err := decide(ctx, at)
		if err != nil {
			return 0, err
		}
		r := &ledger.Record{Account: account, By: tool, At: scan.Time(time.Now()), Fact: []ledger.Fact{f}}
		payload, err := ledger.Encode(r, at)
		if err != nil {
			return 0, err
		}
		head, err := records.Append(ctx, at, payload)
		if err == nil {
			return head.Seq, nil
		}
		if !errors.Is(err, queue.ErrLost) {
			return 0, err
		}
		// Out of step with a worker's rhythm, or both would meet again.
		if !sleep(ctx, rand.N(10*time.Millisecond)) {
			return 0, context.Cause(ctx)
		}
	}
	return 0, fmt.Errorf("ledger of %s: %w", account, ErrContended)
}

// tail returns the name of the last record, zero for an empty ledger, having checked
// that it is one of ours and follows the record that it names.
func tail(ctx context.Context, records Records, account string) (ledger.Head, error) {
	e, any, err := records.Last(ctx)
	if err != nil || !any {
		return ledger.Head{}, err
	}
	r, err := ledger.Decode(e.Payload, account)
	if err != nil {
		return ledger.Head{}, &ChainError{Seq: e.Seq, Err: err}
	}
	prev := ledger.Head{Seq: r.PrevSeq, Hash: r.Prev}
	ok, err := holds(ctx, records, prev)
	if err != nil {
		return ledger.Head{}, err
	}
	if !ok {
		return ledger.Head{}, &ChainError{Seq: e.Seq, Err: fmt.Errorf("record %d, which it follows, is not there or another", prev.Seq)}
	}
	return e.Head(), nil
}

// holds says whether the ledger holds exactly that record; the zero head always.
func holds(ctx context.Context, records Records, h ledger.Head) (bool, error) {
	if h.Seq == 0 {
		return h.Hash == "", nil
	}
	e, err := records.Get(ctx, h.Seq)
	if errors.Is(err, queue.ErrNotFound) {
		return false, nil
	}
	return err == nil && e.Hash == h.Hash, err
}

// ChainError says at which record an account's ledger stops making sense.
type ChainError struct {
	Seq uint64
	Err error
}

func (e *ChainError) Error() string { return fmt.Sprintf("ledger record %d: %v", e.Seq, e.Err) }

// Unwrap returns the cause.
func (e *ChainError) Unwrap() error { return e.Err }

// WalkLedger reads an account's ledger from its first record and checks that each
// names the one before by sequence and hash; a record that does not, or that cannot be
// read, is a [*ChainError]. fn's error comes back as it is. It returns the last record.
func WalkLedger(ctx context.Context, records Records, account string, fn func(queue.Entry, *ledger.Record) error) (queue.Entry, error) {
	var last queue.Entry
	_, err := records.Read(ctx, 1, func(e queue.Entry) error {
		r, err := ledger.Decode(e.Payload, account)
		if err != nil {
			return &ChainError{Seq: e.Seq, Err: err}
		}
		if prev := (ledger.Head{Seq: r.PrevSeq, Hash: r.Prev}); prev != last.Head() {
			return &ChainError{Seq: e.Seq, Err: fmt.Errorf("it follows record %d (%.8s), but before it stands %d (%.8s)", prev.Seq, prev.Hash, last.Seq, last.Hash)}
		}
		last = e
		return fn(e, r)
	})
	return last, err
}

// Witness is what a store remembers of an account's ledger.
type Witness interface {
	Head(ctx context.Context, account string) (ledger.Head, bool, error)
	LoadHead(account string) (ledger.Head, bool, error)
}

// CheckWitness returns [ErrLedgerLost] when Redis, or the head file of an embedded
// store, names a record that the ledger does not hold. Every tool of people asks it
// before it writes a fact or empties Redis: both would destroy what is left of the
// lost records (protocol.md section 9).
func CheckWitness(ctx context.Context, records Records, w Witness, account string) error {
	for _, ask := range []func() (ledger.Head, bool, error){
		func() (ledger.Head, bool, error) { return w.Head(ctx, account) },
		func() (ledger.Head, bool, error) { return w.LoadHead(account) },
	} {
		h, known, err := ask()
		if err != nil {
			return err
		}
		if !known {
			continue
		}
		ok, err := holds(ctx, records, h)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("account %s, record %d: %w", account, h.Seq, ErrLedgerLost)
		}
	}
	return nil
}
