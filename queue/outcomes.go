package queue

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
)

// OutcomesSince calls fn with the Decom-Ledger header and the body of every outcome
// of these sites stored at t or later, in order, up to the last one when it began.
// The outbox skips at its start what is there (protocol.md section 7). fn's error
// ends it and is returned as it is.
func (c *Conn) OutcomesSince(ctx context.Context, t time.Time, sites []string, fn func(ledgerRef string, body []byte) error) error {
	filters := make([]string, 0, len(sites))
	for _, s := range sites {
		filters = append(filters, outcomePrefix+s+".>")
	}
	return c.outcomes(ctx, filters, OutcomeFilter{Since: t}, func(o StoredOutcome) error { return fn(o.Ledger, o.Body) })
}

// StoredOutcome is an outcome as DECOM_OUTCOMES has it.
type StoredOutcome struct {
	Site, Device string
	EventID      string // Nats-Msg-Id
	Ledger       string // ACCOUNT/seq/i
	Seq          uint64
	Time         time.Time
	Body         []byte
	Trace        string // traceparent, if the scan had one and was traced
}

// OutcomeFilter chooses outcomes. The zero value takes all that are stored now.
type OutcomeFilter struct {
	Site, Device string    // empty: any
	Since        time.Time // zero: from the first one
	After        uint64    // only those behind this sequence of the stream; 0: no such bound; wins over Since
	Follow       bool      // go on with new ones until ctx ends or fn fails
}

// Outcomes calls fn for the outcomes that f chooses, in order. fn's error ends it
// and is returned as it is.
func (c *Conn) Outcomes(ctx context.Context, f OutcomeFilter, fn func(StoredOutcome) error) error {
	filter := outcomePrefix + ">"
	switch {
	case f.Site != "" && f.Device != "":
		filter = outcomePrefix + f.Site + "." + f.Device
	case f.Site != "":
		filter = outcomePrefix + f.Site + ".>"
	case f.Device != "":
		filter = outcomePrefix + "*." + f.Device
	}
	if f.After > 0 {
		f.Since = time.Time{}
	}
	return c.outcomes(ctx, []string{filter}, f, fn)
}

// LastOutcome returns the sequence of the newest outcome of any site, 0 when there is none. One
// small request: who only wants to know how far the outbox is need not read outcomes.
func (c *Conn) LastOutcome(ctx context.Context) (uint64, error) {
	m, err := c.get(ctx, StreamOutcomes, getRequest{LastFor: outcomePrefix + ">"})
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fail("read outcomes", "", err)
	}
	return m.Seq, nil
}

func (c *Conn) outcomes(ctx context.Context, filters []string, f OutcomeFilter, fn func(StoredOutcome) error) error {
	var end uint64 // last sequence of any filter
	for _, filter := range filters {
		m, err := c.get(ctx, StreamOutcomes, getRequest{LastFor: filter})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return fail("read outcomes", filter, err)
		}
		if err == nil && !m.Time.Before(f.Since) && m.Seq > f.After {
			end = max(end, m.Seq)
		}
	}
	if end == 0 && !f.Follow {
		return nil
	}
	var own error
	r := reading{c: c, stream: StreamOutcomes, filters: filters, since: f.Since, visit: func(m *nats.Msg, meta *nats.MsgMetadata) bool {
		site, device := source(m.Subject, outcomePrefix)
		own = fn(StoredOutcome{
			Site: site, Device: device, EventID: m.Header.Get(headerMsgID), Ledger: m.Header.Get(headerLedger),
			Seq: meta.Sequence.Stream, Time: meta.Timestamp, Body: m.Data, Trace: traceOf(m.Header),
		})
		return own == nil && (f.Follow || meta.Sequence.Stream < end)
	}}
	if f.After > 0 {
		r.from = f.After + 1
	}
	if err := r.run(ctx); err != nil {
		return fail("read outcomes", "", err)
	}
	return own
}
