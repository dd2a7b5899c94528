package worker

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"decom/queue"
)

// endingBox gives out two records and ends its reader's context while the first is acked: the
// second came with that ack.
type endingBox struct {
	end   context.CancelFunc
	out   []uint64 // of whom nobody has said what becomes of them
	given int
}

type endingTurn struct {
	*endingBox
	e queue.Entry
}

func (b *endingBox) Next(ctx context.Context) (queue.OutboxRecord, error) {
	if b.given == 2 {
		return nil, context.Cause(ctx)
	}
	b.given++
	seq := uint64(b.given)
	if b.given == 1 {
		b.out = append(b.out, 1)
	}
	return endingTurn{b, queue.Entry{Seq: seq, Hash: "h", Payload: []byte("{")}}, nil
}

func (r endingTurn) Entry() queue.Entry { return r.e }
func (r endingTurn) Delivered() int     { return 1 }
func (r endingTurn) Turn() uint64       { return r.e.Seq }

func (r endingTurn) Ack(ctx context.Context) error {
	r.end()
	r.out = append(r.out, 2) // asked for in the same breath
	r.endingBox.out = r.out
	return context.Cause(ctx)
}

func (r endingTurn) Retry(_ context.Context, d time.Duration) error {
	if d > 0 {
		return errors.New("another process would wait for it")
	}
	r.endingBox.out = slices.DeleteFunc(r.out, func(seq uint64) bool { return seq == r.e.Seq })
	return nil
}

// An ack brings the next record with it. A process that is told to stop while it waits for the
// ack's answer must give both back, or the account has no outcomes until they are overdue.
func TestAPublisherThatStopsDuringAnAckKeepsNoRecord(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	box := &endingBox{end: cancel}
	pub := Publisher{Account: "chu", Outbox: box, Outcomes: &toldOutcomes{}, Records: oneRecord{}}
	if err := pub.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if len(box.out) > 0 {
		t.Errorf("kept: records %d", box.out)
	}
}

var _ Outbox = (*endingBox)(nil)
