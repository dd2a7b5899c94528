package queuetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"decom/queue"
	"decom/worker/ledger"
)

// Ledger has the methods of queue.Ledger.
type Ledger struct {
	c    *Conn
	name string
	busy atomic.Bool
}

// lateAppend is an append on its way.
type lateAppend struct {
	prev uint64
	body []byte
}

// Ledger returns an account's ledger, the same one each time.
func (c *Conn) Ledger(account string) *Ledger {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.ledgers[account]
	if l == nil {
		l = &Ledger{c: c, name: account}
		c.ledgers[account] = l
	}
	return l
}

// Append is queue.Ledger's.
func (l *Ledger) Append(ctx context.Context, prev ledger.Head, payload []byte) (ledger.Head, error) {
	b := l.c.b
	if !l.busy.CompareAndSwap(false, true) {
		b.broken("two appends of account %s are in flight in one process", l.name)
		return ledger.Head{}, &queue.Error{Op: "append", On: l.name, Err: queue.ErrBusy}
	}
	defer l.busy.Store(false)
	if err := context.Cause(ctx); err != nil {
		return ledger.Head{}, &queue.Error{Op: "append", On: l.name, Err: err}
	}
	late := b.travel(ctx) // the context may end while it is on its way
	if err := l.c.gone("append"); err != nil {
		return ledger.Head{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[l.name]
	if a == nil {
		return ledger.Head{}, &queue.Error{Op: "append", On: l.name, Err: queue.ErrNotSetUp}
	}
	for _, x := range a.late {
		if b.last(l.name).Seq == x.prev {
			b.append(l.name, x.body)
		}
	}
	a.late = nil
	if late != nil {
		a.late = append(a.late, lateAppend{prev.Seq, append([]byte(nil), payload...)})
		return ledger.Head{}, &queue.Error{Op: "append", On: l.name, Err: fmt.Errorf("%w: %w", queue.ErrUnknown, late)}
	}
	switch b.faults.first(AppendFails, AppendNot, AppendStored, AppendLate) {
	case AppendFails:
		return ledger.Head{}, injected("append")
	case AppendNot:
		return ledger.Head{}, injectedAs("append", queue.ErrUnknown)
	case AppendStored:
		if b.last(l.name).Seq == prev.Seq {
			b.append(l.name, payload)
		}
		return ledger.Head{}, injectedAs("append", queue.ErrUnknown)
	case AppendLate:
		a.late = append(a.late, lateAppend{prev.Seq, append([]byte(nil), payload...)})
		return ledger.Head{}, injectedAs("append", queue.ErrUnknown)
	}
	if b.last(l.name).Seq != prev.Seq {
		return ledger.Head{}, &queue.Error{Op: "append", On: l.name, Err: queue.ErrLost}
	}
	return b.append(l.name, payload), nil
}

// append stores a record. The caller holds mu.
func (b *Broker) append(name string, body []byte) ledger.Head {
	m := b.store(queue.StreamLedger, &b.records, message{subject: name, id: ledger.Hash(body), body: body})
	return ledger.Head{Seq: m.seq, Hash: m.id}
}

// last returns the name of an account's newest record. The caller holds mu.
func (b *Broker) last(name string) ledger.Head {
	for i := len(b.records) - 1; i >= 0; i-- {
		if b.records[i].subject == name {
			return ledger.Head{Seq: b.records[i].seq, Hash: b.records[i].id}
		}
	}
	return ledger.Head{}
}

// reads says whether a read fails.
func (l *Ledger) reads(ctx context.Context) error {
	if err := l.c.gone("read"); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return &queue.Error{Op: "read", On: l.name, Err: err}
	}
	l.c.b.mu.Lock()
	defer l.c.b.mu.Unlock()
	if l.c.b.faults.hit(ReadFails) {
		return injected("read")
	}
	return nil
}

// Last is queue.Ledger's.
func (l *Ledger) Last(ctx context.Context) (queue.Entry, bool, error) {
	if err := l.reads(ctx); err != nil {
		return queue.Entry{}, false, err
	}
	b := l.c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.records) - 1; i >= 0; i-- {
		if b.records[i].subject == l.name {
			return b.records[i].entry(), true, nil
		}
	}
	return queue.Entry{}, false, nil
}

// Get is queue.Ledger's.
func (l *Ledger) Get(ctx context.Context, seq uint64) (queue.Entry, error) {
	if err := l.reads(ctx); err != nil {
		return queue.Entry{}, err
	}
	b := l.c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.records {
		if m.seq == seq && m.subject == l.name {
			return m.entry(), nil
		}
	}
	return queue.Entry{}, &queue.Error{Op: "read", On: l.name, Err: queue.ErrNotFound}
}

// Read is queue.Ledger's.
func (l *Ledger) Read(ctx context.Context, from uint64, fn func(queue.Entry) error) (uint64, error) {
	if err := l.reads(ctx); err != nil {
		return 0, err
	}
	last := uint64(0)
	b := l.c.b
	b.mu.Lock()
	var es []queue.Entry
	for _, m := range b.records {
		if m.seq >= from && m.subject == l.name {
			es = append(es, m.entry())
		}
	}
	b.mu.Unlock()
	for _, e := range es {
		if err := fn(e); err != nil {
			return 0, err
		}
		last = e.Seq
	}
	return last, nil
}

// Outbox has the methods of queue.Outbox.
type Outbox struct {
	c    *Conn
	name string
}

// Outbox returns an account's outbox.
func (c *Conn) Outbox(account string) *Outbox { return &Outbox{c: c, name: account} }

// Next is queue.Outbox's.
func (o *Outbox) Next(ctx context.Context) (queue.OutboxRecord, error) {
	b := o.c.b
	for {
		if err := o.c.gone("outbox"); err != nil {
			return nil, err
		}
		b.mu.Lock()
		a := b.accounts[o.name]
		if a == nil {
			b.mu.Unlock()
			return nil, &queue.Error{Op: "outbox", On: o.name, Err: queue.ErrNotSetUp}
		}
		r := o.take(a)
		due, changed := time.Time{}, b.changed
		if a.outSeq != 0 {
			due = a.outDue
		}
		b.mu.Unlock()
		if r != nil {
			return r, nil
		}
		if err := waitFor(ctx, changed, due); err != nil {
			return nil, &queue.Error{Op: "outbox", On: o.name, Err: err}
		}
	}
}

// take delivers the next record, if one may be. The caller holds the broker's mu.
func (o *Outbox) take(a *account) *outboxRecord {
	if a.outSeq != 0 && time.Now().Before(a.outDue) {
		return nil
	}
	for _, m := range o.c.b.records {
		if m.subject != a.name || a.outSeq != 0 && m.seq != a.outSeq || a.outSeq == 0 && m.seq < a.outNext {
			continue
		}
		if a.outSeq == 0 {
			a.outN = 0
		}
		a.outSeq, a.outNext, a.outDue = m.seq, m.seq+1, time.Now().Add(o.c.b.AckWait)
		a.outN++
		a.outTurn++
		return &outboxRecord{c: o.c, a: a, entry: m.entry(), n: a.outN, turn: a.outTurn}
	}
	return nil
}

type outboxRecord struct {
	c       *Conn
	a       *account
	entry   queue.Entry
	n       int
	turn    uint64
	settled atomic.Bool
}

func (r *outboxRecord) Entry() queue.Entry { return r.entry }
func (r *outboxRecord) Delivered() int     { return r.n }
func (r *outboxRecord) Turn() uint64       { return r.turn }

func (r *outboxRecord) Ack(context.Context) error {
	return r.settle("ack", func() {
		if !r.c.b.faults.hit(OutboxLost) {
			r.a.outSeq = 0
		}
	})
}

func (r *outboxRecord) Retry(_ context.Context, d time.Duration) error {
	return r.settle("retry", func() { r.a.outDue = time.Now().Add(d) })
}

func (r *outboxRecord) settle(op string, do func()) error {
	if err := r.c.gone(op); err != nil {
		return err
	}
	if !r.settled.CompareAndSwap(false, true) {
		r.c.b.broken("record %d of the outbox is settled twice (%s)", r.entry.Seq, op)
		return &queue.Error{Op: op, Err: queue.ErrSettled}
	}
	r.c.b.mu.Lock()
	defer r.c.b.mu.Unlock()
	if r.a.outSeq == r.entry.Seq { // else another delivery of it was settled
		do()
		r.c.b.change()
	}
	return nil
}
