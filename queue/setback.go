package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A stream that lost its tail gives sequences again, and a consumer that remembers the lost ones
// passes over the new messages that take them: a scan would never be delivered, the outcome
// of a record never told. nats-server 2.15 sets a consumer back by itself where the stream
// has one replica; with three it does not (bench/chaos, TestAClusterThatLosesItsTailTellsEveryRecord).

// firstSince returns the sequence of a stream's first message that was stored at t or later,
// one past the end when there is none. subjects is the stream's filter.
func (c *Conn) firstSince(ctx context.Context, stream, subjects string, t time.Time) (uint64, error) {
	m, err := c.get(ctx, stream, getRequest{Start: &t, NextFor: subjects})
	if err == nil {
		return m.Seq, nil
	}
	if !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	last, err := c.get(ctx, stream, getRequest{LastFor: subjects})
	if errors.Is(err, ErrNotFound) {
		return 1, nil
	}
	if err != nil {
		return 0, err
	}
	return last.Seq + 1, nil
}

// ResetScans sets the account's consumer back, so that every scan stored at t or later
// is delivered again (protocol.md section 9, resume after ledger loss). It never
// sets it forward: what is not acked stays to be delivered.
func (c *Conn) ResetScans(ctx context.Context, account string, t time.Time) error {
	return c.setBack(ctx, StreamScans, scanPrefix+">", scansConsumer(account), t)
}

// ResetOutbox sets the account's outbox back, so that every record stored at t or later is told
// again, or found told: whoever publishes reads back what is there. It never sets it forward.
func (c *Conn) ResetOutbox(ctx context.Context, account string, t time.Time) error {
	return c.setBack(ctx, StreamLedger, ledgerSubject("*"), outboxConsumer(account), t)
}

func (c *Conn) setBack(ctx context.Context, stream, subjects, name string, t time.Time) error {
	seq, err := c.firstSince(ctx, stream, subjects, t)
	if err != nil {
		return fail("reset", name, err)
	}
	info, err := again(ctx, c.cfg.AnswerWait, func(ctx context.Context) (*jetstream.ConsumerInfo, error) {
		return c.consumerInfo(ctx, stream, name)
	})
	if err != nil {
		return fail("reset", name, err)
	}
	seq = min(seq, info.AckFloor.Stream+1)
	_, err = again(ctx, c.cfg.AnswerWait, func(ctx context.Context) (*jetstream.ConsumerResetResponse, error) {
		return c.js.ResetConsumerToSequence(ctx, stream, name, seq)
	})
	return fail("reset", name, err)
}

// ends are the last sequences of streams as one plan has seen them: thousands of accounts must
// not ask for the same stream each.
type ends map[string]uint64

// planSetBack plans to set a consumer back that remembers messages which its stream does not have
// any more: to the first that is not acked, because a reset forgets what waits for its ack. What
// is delivered again by that is recognised.
func (c *Conn) planSetBack(ctx context.Context, d *diff, stream string, have *jetstream.ConsumerInfo, ends ends) (do func(context.Context) error, err error) {
	if last, ok := ends[stream]; ok && have.Delivered.Stream <= last {
		return nil, nil
	}
	last, err := again(ctx, c.cfg.AnswerWait, func(ctx context.Context) (uint64, error) { // after have: it only grows
		s, err := c.js.Stream(ctx, stream)
		if err != nil {
			return 0, err
		}
		return s.CachedInfo().State.LastSeq, nil
	})
	if err != nil {
		return nil, err
	}
	if ends[stream] = last; have.Delivered.Stream <= last {
		return nil, nil
	}
	seq := min(last, have.AckFloor.Stream) + 1
	d.changes = append(d.changes, Change{d.object, "position", position(have), fmt.Sprintf("sequence %d: the stream ends at %d, it has lost messages", seq, last)})
	return func(ctx context.Context) error {
		_, err := c.js.ResetConsumerToSequence(ctx, stream, have.Name, seq)
		return err
	}, nil
}
