package queue

import (
	"context"
	"errors"
	"fmt"

	"decom/worker/ledger"

	"github.com/nats-io/nats.go"
)

// shortTail is how many records Read asks of the leader one by one; longer ranges
// are streamed, which costs a consumer but 10 times less a record.
const shortTail = 10

// Read calls fn for every record of the account from sequence from on, in order, up
// to the one that was the last at the leader when Read began, and returns that
// one's sequence (0: there is none at or after from). It checks the order and
// nothing else: hash links are worker/ledger's. fn's error ends it and is returned
// as it is. [ErrGap] when the ledger ends before the record that was its last.
func (l *Ledger) Read(ctx context.Context, from uint64, fn func(Entry) error) (uint64, error) {
	end, ok, err := l.Last(ctx)
	if err != nil || !ok || end.Seq < from {
		return 0, err
	}
	from = max(from, 1)
	for range shortTail {
		if from == end.Seq {
			return end.Seq, fn(end)
		}
		m, err := l.c.get(ctx, StreamLedger, getRequest{Seq: from, NextFor: l.subject})
		if errors.Is(err, ErrNotFound) || err == nil && m.Seq > end.Seq {
			return 0, fail("read", l.subject, fmt.Errorf("%w: the last record was %d", ErrGap, end.Seq))
		}
		if err != nil {
			return 0, fail("read", l.subject, err)
		}
		if err := fn(m.entry()); err != nil {
			return 0, err
		}
		if m.Seq == end.Seq {
			return end.Seq, nil
		}
		from = m.Seq + 1
	}
	if err := l.stream(ctx, from, end.Seq, fn); err != nil {
		return 0, err
	}
	return end.Seq, nil
}

// stream reads a range by a consumer of its own. That may run on a replica that is
// behind: then it waits for it.
func (l *Ledger) stream(ctx context.Context, from, end uint64, fn func(Entry) error) error {
	var own error // fn's error, to be returned as it is
	r := reading{
		c: l.c, stream: StreamLedger, filters: []string{l.subject}, from: from,
		visit: func(m *nats.Msg, meta *nats.MsgMetadata) bool {
			seq := meta.Sequence.Stream
			if seq > end {
				own = fail("read", l.subject, fmt.Errorf("%w: %d comes where %d was the last", ErrGap, seq, end))
				return false
			}
			own = fn(Entry{Seq: seq, Payload: m.Data, Hash: ledger.Hash(m.Data), Time: meta.Timestamp})
			return own == nil && seq < end
		},
		idle: func(ctx context.Context) error {
			last, ok, err := l.Last(ctx)
			if err == nil && (!ok || last.Seq < end) {
				err = fmt.Errorf("%w: it ends at %d, before it ended at %d", ErrGap, last.Seq, end)
			}
			return err
		},
	}
	if err := r.run(ctx); err != nil {
		return fail("read", l.subject, err)
	}
	return own
}
