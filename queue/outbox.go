package queue

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"decom/worker/ledger"

	"github.com/nats-io/nats.go"
)

// OutboxRecord is one ledger record to be told to the world. The next one comes only
// after it was acked, in whatever process. Un-acked for AckWait it comes again.
type OutboxRecord interface {
	// Entry is the record.
	Entry() Entry
	// Delivered counts from 1; above 1, outcomes of it may be out already.
	Delivered() int
	// Turn counts the deliveries of the outbox, to whatever process: after n comes n+1,
	// or somebody else got one in between.
	Turn() uint64
	// Ack says that all its outcomes are stored. It waits for the server.
	Ack(ctx context.Context) error
	// Retry has it delivered again not before d has passed.
	Retry(ctx context.Context, d time.Duration) error
}

// Outbox is the durable reader of an account's ledger that publishes outcomes
// (protocol.md section 7). Several processes may share it.
type Outbox struct {
	c       *Conn
	account string
	pull    *puller
}

// Outbox returns the outbox of an account; the same one each time.
func (c *Conn) Outbox(account string) *Outbox {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.outs[account]
	if o == nil {
		o = &Outbox{c: c, account: account, pull: newPuller(c, StreamLedger, outboxConsumer(account), false)}
		c.outs[account] = o
	}
	return o
}

// Next waits for the next record until ctx ends. Whoever has acked one must call it once
// more, even then: the next record may be here already, and is given back by Retry.
func (o *Outbox) Next(ctx context.Context) (OutboxRecord, error) {
	msgs, err := o.pull.fetch(ctx, 1, 0, 0)
	if err != nil {
		return nil, fail("outbox", outboxConsumer(o.account), err)
	}
	m, err := msgs[0].Metadata()
	if err != nil {
		return nil, fail("outbox", outboxConsumer(o.account), err)
	}
	return &outboxRecord{
		c: o.c, pull: o.pull, msg: msgs[0], delivered: int(m.NumDelivered), turn: m.Sequence.Consumer,
		entry: Entry{
			Seq: m.Sequence.Stream, Payload: msgs[0].Data, Hash: ledger.Hash(msgs[0].Data), Time: m.Timestamp,
		},
	}, nil
}

type outboxRecord struct {
	c         *Conn
	pull      *puller
	msg       *nats.Msg
	entry     Entry
	delivered int
	turn      uint64
	settled   atomic.Bool
}

func (r *outboxRecord) Entry() Entry   { return r.entry }
func (r *outboxRecord) Delivered() int { return r.delivered }
func (r *outboxRecord) Turn() uint64   { return r.turn }

// Ack asks for the next record in the same breath: the server gives it out as soon as it has
// taken the ack.
func (r *outboxRecord) Ack(ctx context.Context) error {
	return r.settle("ack", func() error {
		if ctx.Err() == nil {
			r.pull.askAhead()
		}
		return r.c.confirm(ctx, r.msg.Reply)
	})
}

func (r *outboxRecord) Retry(_ context.Context, d time.Duration) error {
	return r.settle("retry", func() error {
		return r.c.nc.Publish(r.msg.Reply, fmt.Appendf(nil, `-NAK {"delay": %d}`, max(d.Nanoseconds(), 1)))
	})
}

func (r *outboxRecord) settle(op string, send func() error) error {
	if !r.settled.CompareAndSwap(false, true) {
		return fail(op, r.msg.Subject, ErrSettled)
	}
	err := send()
	if err != nil {
		r.settled.Store(false)
	}
	return fail(op, r.msg.Subject, err)
}
