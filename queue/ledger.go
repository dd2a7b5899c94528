package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"decom/worker/ledger"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Entry is one record of an account's ledger, as stored.
type Entry struct {
	Seq     uint64 // stream sequence; other accounts' records lie between
	Payload []byte
	Hash    string    // SHA-256 of Payload in hex, computed here
	Time    time.Time // when the stream took it
}

// Head returns the entry's name.
func (e Entry) Head() ledger.Head { return ledger.Head{Seq: e.Seq, Hash: e.Hash} }

// Ledger is one account's subject of DECOM_LEDGER, the only authority. Everything
// but long reads is asked of the stream's leader.
type Ledger struct {
	c       *Conn
	account string
	subject string
	busy    atomic.Bool // an append is in flight
}

// Ledger returns the ledger of an account; the same one each time, so that one
// append in flight per account and process can be watched.
func (c *Conn) Ledger(account string) *Ledger {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.ledgers[account]
	if l == nil {
		l = &Ledger{c: c, account: account, subject: ledgerSubject(account)}
		c.ledgers[account] = l
	}
	return l
}

// maxRepeats is how often the same bytes are published again after a lost answer
// that left no record behind (protocol.md section 2.2).
const maxRepeats = 3

// Append puts payload behind prev, the last record the caller knows (zero: none
// yet), by compare-and-set (protocol.md section 2.2). It returns the record's name;
// [ErrLost] when another record stands there: read the tail, project it, decide
// anew, and never append the same decisions again; [ErrUnknown] when ctx ended
// before the fate was known: the record may be there now, later or never.
// Any other error: it is not there and will not be. Append waits while NATS is away.
// One append per account may be in flight ([ErrBusy]).
func (l *Ledger) Append(ctx context.Context, prev ledger.Head, payload []byte) (ledger.Head, error) {
	if !l.busy.CompareAndSwap(false, true) {
		return ledger.Head{}, fail("append", l.subject, ErrBusy)
	}
	defer l.busy.Store(false)
	a := appending{l: l, prev: prev, hash: ledger.Hash(payload), payload: payload}
	head, err := a.run(ctx)
	return head, fail("append", l.subject, err)
}

// readsPerRepeat is how many reads allow one more publish. A server whose disk was full
// answers nothing and stores nothing; without a repeat the account would stand still after
// it recovered. Copies are harmless: the compare-and-set lets one of them in.
const readsPerRepeat = 4

// appending is one append, from the first publish until its fate is known.
type appending struct {
	l       *Ledger
	prev    ledger.Head
	hash    string
	payload []byte

	doubt   bool // a publish got no answer: a copy may be stored, or may still arrive
	repeats int  // publishes after the first doubt, less those that time has allowed again
	reads   int  // after the last of them
	pause   pause
}

func (a *appending) run(ctx context.Context) (ledger.Head, error) {
	for {
		if err := context.Cause(ctx); err != nil {
			return ledger.Head{}, a.gaveUp(err)
		}
		if a.doubt && a.repeats >= maxRepeats { // read on, and seldom repeat
			if head, known, err := a.readBack(ctx); known || err != nil {
				return head, err
			}
			if a.reads++; a.reads%readsPerRepeat == 0 {
				a.repeats--
			}
			if err := a.pause.wait(ctx); err != nil {
				return ledger.Head{}, a.gaveUp(err)
			}
			continue
		}
		if a.doubt {
			a.repeats++
		}
		head, known, err := a.try(ctx)
		if known || err != nil {
			return head, err
		}
		if err := a.pause.wait(ctx); err != nil {
			return ledger.Head{}, a.gaveUp(err)
		}
	}
}

// try publishes once and, where the answer does not settle it, reads. Neither known nor
// an error: publish again.
func (a *appending) try(ctx context.Context) (_ ledger.Head, known bool, _ error) {
	ack, err := a.publish(ctx)
	if err == nil && !ack.Duplicate && ack.Stream == StreamLedger {
		return ledger.Head{Seq: ack.Sequence, Hash: a.hash}, true, nil
	}
	if err == nil { // a duplicate is ours, stored by an earlier publish: find out where
		a.doubt = true
		return a.readBack(ctx)
	}
	switch fateOf(err) {
	case fateLost:
		if !a.doubt {
			return ledger.Head{}, true, ErrLost
		}
		return a.readBack(ctx) // the sequence is checked before the id: it may be ours
	case fateNotNow:
		if a.doubt {
			return a.readBack(ctx)
		}
		return ledger.Head{}, false, nil
	case fateRefused:
		if a.doubt {
			if head, known, rerr := a.readBack(ctx); known || rerr != nil {
				return head, known, rerr
			}
			return ledger.Head{}, false, nil
		}
		// A store that failed half way says so too. The leader knows.
		if api, ok := errors.AsType[*jetstream.APIError](err); ok && int(api.ErrorCode) == codeStoreFailed {
			a.doubt = true
			if head, known, rerr := a.readBack(ctx); known || rerr != nil {
				return head, known, rerr
			}
			a.doubt = false
			return ledger.Head{}, false, fmt.Errorf("%w: %w", ErrFull, err)
		}
		return ledger.Head{}, false, err
	}
	a.doubt = true
	return a.readBack(ctx)
}

func (a *appending) publish(ctx context.Context) (*jetstream.PubAck, error) {
	msg := nats.NewMsg(a.l.subject)
	msg.Data = a.payload
	msg.Header[headerMsgID] = []string{a.hash}
	msg.Header[jetstream.ExpectedStreamHeader] = []string{StreamLedger}
	msg.Header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(a.prev.Seq, 10)}
	one, cancel := context.WithTimeout(ctx, a.l.c.cfg.AnswerWait)
	defer cancel()
	return a.l.c.js.PublishMsg(one, msg, jetstream.WithRetryAttempts(0))
}

// readBack reads the first record behind prev at the leader. Known: it is ours
// (won) or another (lost). Not known and no error: none is there.
func (a *appending) readBack(ctx context.Context) (_ ledger.Head, known bool, _ error) {
	m, err := a.l.c.get(ctx, StreamLedger, getRequest{Seq: a.prev.Seq + 1, NextFor: a.l.subject})
	switch {
	case errors.Is(err, ErrNotFound):
		return ledger.Head{}, false, nil
	case err != nil:
		return ledger.Head{}, false, a.gaveUp(err)
	}
	if hash := ledger.Hash(m.Data); hash == a.hash {
		return ledger.Head{Seq: m.Seq, Hash: hash}, true, nil
	}
	return ledger.Head{}, true, ErrLost
}

func (a *appending) gaveUp(err error) error {
	if a.doubt {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return err
}

// Last returns the account's newest record, false when there is none.
func (l *Ledger) Last(ctx context.Context) (Entry, bool, error) {
	m, err := l.c.get(ctx, StreamLedger, getRequest{LastFor: l.subject})
	if errors.Is(err, ErrNotFound) {
		return Entry{}, false, nil
	}
	if err != nil {
		return Entry{}, false, fail("read", l.subject, err)
	}
	return m.entry(), true, nil
}

// Get returns the record with that sequence. [ErrNotFound] when there is none, or it
// is another account's.
func (l *Ledger) Get(ctx context.Context, seq uint64) (Entry, error) {
	if seq == 0 {
		return Entry{}, fail("read", l.subject, ErrNotFound)
	}
	m, err := l.c.get(ctx, StreamLedger, getRequest{Seq: seq})
	if err == nil && m.Subject != l.subject {
		err = fmt.Errorf("%w: %d is of %s", ErrNotFound, seq, m.Subject)
	}
	if err != nil {
		return Entry{}, fail("read", l.subject, err)
	}
	return m.entry(), nil
}

func (m *stored) entry() Entry {
	return Entry{Seq: m.Seq, Payload: m.Data, Hash: ledger.Hash(m.Data), Time: m.Time}
}
