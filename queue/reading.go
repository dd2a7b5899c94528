package queue

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// One pull of a reading: so many messages, so many bytes. A ledger record has at
// most 512 KiB, so a pull is never too small for one message.
const (
	readBatch = 256
	readBytes = 8 << 20
)

// reading reads part of a stream in order, without acks, by a short-lived consumer.
// A gap, a lost connection or a server that forgot the consumer makes a new one
// behind the last message that was visited.
type reading struct {
	c       *Conn
	stream  string
	filters []string
	from    uint64    // first sequence; 0: since
	since   time.Time // first stream time, when from is 0; zero: the first message

	// visit takes a message and says whether more are wanted.
	visit func(*nats.Msg, *nats.MsgMetadata) (more bool)
	// idle is asked when nothing came for pullExpires; an error ends the reading.
	idle func(context.Context) error
}

// run returns nil when visit wants no more.
func (r *reading) run(ctx context.Context) error {
	for p := (pause{}); ; {
		done, err := r.once(ctx)
		if done || err != nil && !passing(err) && !errors.Is(err, ErrNotSetUp) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, ErrNotSetUp) { // the consumer is gone; so is the stream?
			if _, err := r.c.js.Stream(ctx, r.stream); errors.Is(err, jetstream.ErrStreamNotFound) {
				return notSetUp("stream " + r.stream)
			}
		}
		if err := p.wait(ctx); err != nil {
			return err
		}
	}
}

// once reads with one consumer until visit has enough (done) or the consumer fails.
func (r *reading) once(ctx context.Context) (done bool, _ error) {
	name, err := r.create(ctx)
	if err != nil {
		return false, err
	}
	pull := newPuller(r.c, r.stream, name, false)
	defer r.release(pull)
	for next := uint64(1); ; {
		msgs, err := pull.ask(ctx, pullRequest{
			Batch: readBatch, MaxBytes: readBytes, NoWait: true, Expires: pullExpires, Heartbeat: pullHeartbeat,
		})
		for _, m := range msgs {
			meta, merr := m.Metadata()
			if merr != nil {
				return false, merr
			}
			if meta.Sequence.Consumer != next {
				return false, nats.ErrTimeout // one got lost on the way: start anew behind the last one
			}
			next++
			r.from = meta.Sequence.Stream + 1
			if !r.visit(m, meta) {
				return true, nil
			}
		}
		if len(msgs) > 0 {
			continue
		}
		if err != nil {
			return false, err
		}
		if r.idle != nil {
			if err := r.idle(ctx); err != nil {
				return true, err
			}
		}
	}
}

func (r *reading) create(ctx context.Context) (string, error) {
	cfg := jetstream.ConsumerConfig{
		AckPolicy: jetstream.AckNonePolicy, FilterSubjects: r.filters, DeliverPolicy: jetstream.DeliverAllPolicy,
		InactiveThreshold: time.Minute, MemoryStorage: true, Replicas: 1,
	}
	switch {
	case r.from > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, r.from
	case !r.since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &r.since
	}
	ctx, cancel := context.WithTimeout(ctx, r.c.cfg.AnswerWait)
	defer cancel()
	cons, err := r.c.js.CreateConsumer(ctx, r.stream, cfg)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return "", notSetUp("stream " + r.stream)
	}
	if err != nil {
		return "", err
	}
	return cons.CachedInfo().Name, nil
}

// release gives the consumer back; if that fails the server drops it after a minute.
func (r *reading) release(p *puller) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = r.c.js.DeleteConsumer(ctx, r.stream, p.consumer)
	if p.sub != nil {
		_ = p.sub.Unsubscribe()
	}
}
