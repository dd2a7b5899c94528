package queuetest

import (
	"context"
	"time"

	"decom/queue"
	"decom/worker/ledger"
)

// Line is what Suite tests: one process's view of the queue, real or in memory.
type Line struct {
	Conn interface {
		PublishScan(ctx context.Context, site, device, id string, body []byte) (queue.Ack, error)
		PublishScans(ctx context.Context, scans []queue.Scan) ([]queue.Ack, error)
		PublishOutcome(ctx context.Context, site, device, eventID, ledgerRef string, body []byte) (bool, error)
		PublishOutcomes(ctx context.Context, outcomes []queue.Outcome) ([]queue.Ack, error)
		OutcomesSince(ctx context.Context, t time.Time, sites []string, fn func(string, []byte) error) error
		Outcomes(ctx context.Context, f queue.OutcomeFilter, fn func(queue.StoredOutcome) error) error
		Unrouted(ctx context.Context, accounts []queue.Account) (map[string]uint64, error)
		Trim(ctx context.Context, accounts []queue.Account, age time.Duration) error
		ResetScans(ctx context.Context, account string, t time.Time) error
		ResetOutbox(ctx context.Context, account string, t time.Time) error
		Close()
	}
	Scans func(account string) interface {
		Fetch(ctx context.Context, limit int, fill time.Duration, priority int) ([]queue.Delivery, error)
		Pending(ctx context.Context) (queue.Pending, error)
	}
	Ledger func(account string) interface {
		Append(ctx context.Context, prev ledger.Head, payload []byte) (ledger.Head, error)
		Last(ctx context.Context) (queue.Entry, bool, error)
		Get(ctx context.Context, seq uint64) (queue.Entry, error)
		Read(ctx context.Context, from uint64, fn func(queue.Entry) error) (uint64, error)
	}
	Outbox func(account string) interface {
		Next(ctx context.Context) (queue.OutboxRecord, error)
	}
}

type (
	scansView = interface {
		Fetch(ctx context.Context, limit int, fill time.Duration, priority int) ([]queue.Delivery, error)
		Pending(ctx context.Context) (queue.Pending, error)
	}
	ledgerView = interface {
		Append(ctx context.Context, prev ledger.Head, payload []byte) (ledger.Head, error)
		Last(ctx context.Context) (queue.Entry, bool, error)
		Get(ctx context.Context, seq uint64) (queue.Entry, error)
		Read(ctx context.Context, from uint64, fn func(queue.Entry) error) (uint64, error)
	}
	outboxView = interface {
		Next(ctx context.Context) (queue.OutboxRecord, error)
	}
)

// RealLine is the line over NATS.
func RealLine(c *queue.Conn) Line {
	return Line{
		Conn:   c,
		Scans:  func(a string) scansView { return c.Scans(a) },
		Ledger: func(a string) ledgerView { return c.Ledger(a) },
		Outbox: func(a string) outboxView { return c.Outbox(a) },
	}
}

// Line is the line over the broker.
func (c *Conn) Line() Line {
	return Line{
		Conn:   c,
		Scans:  func(a string) scansView { return c.Scans(a) },
		Ledger: func(a string) ledgerView { return c.Ledger(a) },
		Outbox: func(a string) outboxView { return c.Outbox(a) },
	}
}
