package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"decom/worker/scan"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Delivery is one scan, out until it is settled. It is settled exactly once, by Ack
// or RetryAfter; a second try is [ErrSettled]. Un-settled, it comes again after
// AckWait, to any process. A settling that failed with another error may be tried
// again. Any goroutine may call.
type Delivery interface {
	// Meta says where the scan comes from and when the stream took it.
	Meta() scan.Meta
	// Data is the body as published. It must not be changed.
	Data() []byte
	// Delivered counts the deliveries of this scan, from 1. A delayed retry counts
	// too, so it says nothing about poison.
	Delivered() int
	// Backlog is how many scans of the account lay behind this one, not delivered yet,
	// when it was delivered. It costs nothing and is as old as the delivery.
	Backlog() uint64
	// Trace is the scan's traceparent header (W3C Trace Context), in whatever case it was
	// written, unchecked: it comes from outside. "" where there is none.
	Trace() string
	// Ack ends the scan's deliveries. It does not wait for the server: an ack that
	// gets lost brings the scan again. [AckAll] waits.
	Ack(ctx context.Context) error
	// RetryAfter has the scan delivered again not before d has passed.
	RetryAfter(ctx context.Context, d time.Duration) error
	// Extend starts AckWait anew. It is no lock: the scan may be out elsewhere
	// already (protocol.md section 11).
	Extend(ctx context.Context) error
}

// confirmer is a delivery whose ack can be waited for.
type confirmer interface {
	AckConfirmed(ctx context.Context) error
}

// AckAll acks in order and waits until the server has taken the last ack: acks
// travel in order on one connection, so the ones before it have arrived too
// (limits.md section 2: confirming each is 15 times slower). An error says that some
// of the scans may come again. All of ds must come from one Scans.
func AckAll(ctx context.Context, ds []Delivery) error {
	var errs []error
	for i, d := range ds {
		if c, ok := d.(confirmer); ok && i == len(ds)-1 {
			errs = append(errs, c.AckConfirmed(ctx))
			continue
		}
		errs = append(errs, d.Ack(ctx))
	}
	return errors.Join(errs...)
}

// Scans is one account's consumer of DECOM_SCANS.
type Scans struct {
	c       *Conn
	account string
	pull    *puller
}

// Scans returns the consumer of an account; the same one each time.
func (c *Conn) Scans(account string) *Scans {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.scans[account]
	if s == nil {
		s = &Scans{c: c, account: account, pull: newPuller(c, StreamScans, scansConsumer(account), true)}
		c.scans[account] = s
	}
	return s
}

// Fetch returns 1 to limit deliveries, never more. It waits for the first until ctx ends,
// then up to fill for more. priority is the rank of this process for the account, 0
// to 9: of several processes that wait, the lowest gets the scans. While NATS is
// away or changes leaders it keeps waiting; [ErrNotSetUp] means that the consumer
// does not exist.
func (s *Scans) Fetch(ctx context.Context, limit int, fill time.Duration, priority int) ([]Delivery, error) {
	msgs, err := s.pull.fetch(ctx, limit, fill, min(max(priority, 0), 9))
	if err != nil {
		return nil, fail("fetch", scansConsumer(s.account), err)
	}
	ds := make([]Delivery, 0, len(msgs))
	for _, msg := range msgs {
		d, err := newDelivery(s.c, msg)
		if err != nil {
			return nil, fail("fetch", scansConsumer(s.account), err)
		}
		ds = append(ds, d)
	}
	return ds, nil
}

// delivery is the Delivery of a real stream.
type delivery struct {
	c         *Conn
	msg       *nats.Msg
	meta      scan.Meta
	delivered int
	backlog   uint64
	settled   atomic.Bool
}

func newDelivery(c *Conn, msg *nats.Msg) (*delivery, error) {
	m, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("a delivery that cannot be acked: %w", err)
	}
	site, device := source(msg.Subject, scanPrefix)
	return &delivery{
		c: c, msg: msg, delivered: int(m.NumDelivered), backlog: m.NumPending,
		meta: scan.Meta{
			Site: site, Device: device, Seq: m.Sequence.Stream, Stored: m.Timestamp,
			MsgID: msg.Header.Get(headerMsgID),
		},
	}, nil
}

func (d *delivery) Meta() scan.Meta { return d.meta }
func (d *delivery) Data() []byte    { return d.msg.Data }
func (d *delivery) Delivered() int  { return d.delivered }
func (d *delivery) Backlog() uint64 { return d.backlog }
func (d *delivery) Trace() string   { return traceOf(d.msg.Header) }

func (d *delivery) Ack(context.Context) error {
	return d.settle("ack", func() error { return d.c.nc.Publish(d.msg.Reply, []byte("+ACK")) })
}

// AckConfirmed acks and waits until the server has taken it.
func (d *delivery) AckConfirmed(ctx context.Context) error {
	return d.settle("ack", func() error { return d.c.confirm(ctx, d.msg.Reply) })
}

func (d *delivery) RetryAfter(_ context.Context, wait time.Duration) error {
	body := "-NAK"
	if wait > 0 {
		body += ` {"delay": ` + strconv.FormatInt(wait.Nanoseconds(), 10) + `}`
	}
	return d.settle("retry", func() error { return d.c.nc.Publish(d.msg.Reply, []byte(body)) })
}

func (d *delivery) Extend(context.Context) error {
	if d.settled.Load() {
		return fail("extend", d.msg.Subject, ErrSettled)
	}
	return fail("extend", d.msg.Subject, d.c.nc.Publish(d.msg.Reply, []byte("+WPI")))
}

func (d *delivery) settle(op string, send func() error) error {
	if !d.settled.CompareAndSwap(false, true) {
		return fail(op, d.msg.Subject, ErrSettled)
	}
	err := send()
	if err != nil {
		d.settled.Store(false) // acks may be repeated without harm
	}
	return fail(op, d.msg.Subject, err)
}

// confirm acks a delivery and waits for the server's answer, one answer's time.
func (c *Conn) confirm(ctx context.Context, reply string) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AnswerWait)
	defer cancel()
	_, err := c.nc.RequestWithContext(ctx, reply, []byte("+ACK"))
	return err
}

// Pending is how much of an account's scans is not done.
type Pending struct {
	Pending    uint64    // not delivered yet
	AckPending uint64    // out and not acked, held ones included
	Oldest     time.Time // stream time of the oldest scan not acked; zero when there is none
}

// Pending asks the server what is left. It costs the leader some locks (limits.md
// section 8) and one request per site: every few seconds, not per batch.
func (s *Scans) Pending(ctx context.Context) (Pending, error) {
	on := scansConsumer(s.account)
	info, err := again(ctx, s.c.cfg.AnswerWait, func(ctx context.Context) (*jetstream.ConsumerInfo, error) {
		return s.c.consumerInfo(ctx, StreamScans, on)
	})
	if err != nil {
		return Pending{}, fail("pending", on, err)
	}
	p := Pending{Pending: info.NumPending, AckPending: uint64(info.NumAckPending)}
	if p.Pending == 0 && p.AckPending == 0 {
		return p, nil
	}
	for _, f := range filtersOf(info.Config) {
		m, err := s.c.get(ctx, StreamScans, getRequest{Seq: info.AckFloor.Stream + 1, NextFor: f})
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return Pending{}, fail("pending", on, err)
		}
		if p.Oldest.IsZero() || m.Time.Before(p.Oldest) {
			p.Oldest = m.Time
		}
	}
	return p, nil
}

// consumerInfo asks the consumer's leader. A consumer that is not there is ErrNotSetUp.
func (c *Conn) consumerInfo(ctx context.Context, stream, name string) (*jetstream.ConsumerInfo, error) {
	cons, err := c.js.Consumer(ctx, stream, name) // brings fresh info
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, notSetUp("consumer " + name + " of " + stream)
	}
	if err != nil {
		return nil, err
	}
	return cons.CachedInfo(), nil
}

func filtersOf(cfg jetstream.ConsumerConfig) []string {
	if cfg.FilterSubject != "" {
		return append([]string{cfg.FilterSubject}, cfg.FilterSubjects...)
	}
	return cfg.FilterSubjects
}
