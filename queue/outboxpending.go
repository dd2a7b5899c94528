package queue

import "context"

// Pending returns how many ledger records still wait for their outcomes, the one
// that is out included.
func (o *Outbox) Pending(ctx context.Context) (uint64, error) {
	info, err := o.c.consumerInfo(ctx, StreamLedger, outboxConsumer(o.account))
	if err != nil {
		return 0, fail("outbox", outboxConsumer(o.account), err)
	}
	return info.NumPending + uint64(info.NumAckPending), nil
}
