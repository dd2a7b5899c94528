package queuetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"decom/queue"
	"decom/worker/scan"
)

// Conn is one process's connection to a broker. It has the methods of queue.Conn that
// workers, publishers and commands use.
type Conn struct {
	b      *Broker
	closed atomic.Bool

	mu      sync.Mutex
	ledgers map[string]*Ledger // guarded by mu
}

// Conn connects another process.
func (b *Broker) Conn() *Conn { return &Conn{b: b, ledgers: map[string]*Ledger{}} }

// Close ends the connection, as the death of its process does: what is out stays out
// until AckWait is over, and every later call fails without effect.
func (c *Conn) Close() {
	c.closed.Store(true)
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	c.b.change()
}

// Up says whether Close was not called yet.
func (c *Conn) Up() bool { return !c.closed.Load() }

// gone returns ErrClosed after Close.
func (c *Conn) gone(op string) error {
	if c.closed.Load() {
		return &queue.Error{Op: op, Err: queue.ErrClosed}
	}
	return nil
}

func injected(op string) error { return &queue.Error{Op: op, Err: ErrInjected} }

// Setup sets the accounts up.
func (c *Conn) Setup(_ context.Context, accounts []queue.Account, dryRun bool) ([]queue.Change, error) {
	if err := c.gone("setup"); err != nil {
		return nil, err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	var changes []queue.Change
	for _, a := range accounts {
		if c.b.accounts[a.Name] == nil {
			changes = append(changes, queue.Change{Object: queue.StreamScans + "/decom-" + a.Name})
		}
		if !dryRun {
			c.b.account(a)
		}
	}
	return changes, nil
}

// PublishScan is queue.Conn's.
func (c *Conn) PublishScan(_ context.Context, site, device, id string, body []byte) (queue.Ack, error) {
	return c.publish(queue.Scan{Site: site, Device: device, ID: id, Body: body})
}

func (c *Conn) publish(s queue.Scan) (queue.Ack, error) {
	if err := c.gone("publish"); err != nil {
		return queue.Ack{}, err
	}
	if !scan.ValidToken(s.Site) || !scan.ValidToken(s.Device) {
		return queue.Ack{}, &queue.Error{Op: "publish", Err: fmt.Errorf("%q/%q is not a site and a device", s.Site, s.Device)}
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	if old, dup := c.b.window(queue.StreamScans, s.ID, 100*time.Millisecond); dup {
		return queue.Ack{Seq: old.seq, Duplicate: true}, nil
	}
	m := c.b.store(queue.StreamScans, &c.b.scans, message{subject: s.Site + "." + s.Device, id: s.ID, body: s.Body, trace: s.Trace})
	return queue.Ack{Seq: m.seq}, nil
}

// PublishScans is queue.Conn's.
func (c *Conn) PublishScans(_ context.Context, scans []queue.Scan) ([]queue.Ack, error) {
	acks := make([]queue.Ack, len(scans))
	var err error
	for i, s := range scans {
		if acks[i], err = c.publish(s); err != nil {
			return acks, err
		}
	}
	return acks, nil
}

// PublishOutcome is queue.Conn's.
func (c *Conn) PublishOutcome(ctx context.Context, site, device, eventID, ledgerRef string, body []byte) (bool, error) {
	acks, err := c.PublishOutcomes(ctx, []queue.Outcome{{Site: site, Device: device, EventID: eventID, Ledger: ledgerRef, Body: body}})
	if err != nil {
		return false, err
	}
	return acks[0].Duplicate, nil
}

// PublishOutcomes is queue.Conn's. A fault strikes in the middle of the list.
func (c *Conn) PublishOutcomes(ctx context.Context, outcomes []queue.Outcome) ([]queue.Ack, error) {
	if err := c.b.travel(ctx); err != nil {
		return nil, err
	}
	if err := c.gone("publish"); err != nil {
		return nil, err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	acks := make([]queue.Ack, len(outcomes))
	fault := c.b.faults.first(OutcomeFails, OutcomeLost)
	for i, o := range outcomes {
		if fault == OutcomeFails && i >= len(outcomes)/2 {
			return acks, injected("publish")
		}
		if old, dup := c.b.window(queue.StreamOutcomes, o.EventID, time.Hour); dup {
			acks[i] = queue.Ack{Seq: old.seq, Duplicate: true}
			continue
		}
		acks[i].Seq = c.b.store(queue.StreamOutcomes, &c.b.outcomes, message{
			subject: o.Site + "." + o.Device, id: o.EventID, ledger: o.Ledger, body: o.Body, trace: o.Trace,
		}).seq
	}
	if fault == OutcomeLost {
		return make([]queue.Ack, len(outcomes)), injected("publish")
	}
	return acks, nil
}

// travel is the time that a message is on its way.
func (b *Broker) travel(ctx context.Context) error {
	if b.Takes == 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(b.Takes)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// OutcomesSince is queue.Conn's.
func (c *Conn) OutcomesSince(ctx context.Context, t time.Time, sites []string, fn func(ledgerRef string, body []byte) error) error {
	if err := c.gone("read outcomes"); err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, s := range sites {
		wanted[s] = true
	}
	for _, o := range c.b.Stored() {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if !wanted[o.Site] || o.Time.Before(t) {
			continue
		}
		if err := fn(o.Ledger, o.Body); err != nil {
			return err
		}
	}
	return nil
}

// Outcomes is queue.Conn's.
func (c *Conn) Outcomes(ctx context.Context, f queue.OutcomeFilter, fn func(queue.StoredOutcome) error) error {
	for i := 0; ; {
		c.b.mu.Lock()
		rest, changed := c.b.outcomes[i:], c.b.changed
		c.b.mu.Unlock()
		for _, m := range rest {
			i++
			o := m.outcome()
			if f.Site != "" && o.Site != f.Site || f.Device != "" && o.Device != f.Device || o.Seq <= f.After || f.After == 0 && o.Time.Before(f.Since) {
				continue
			}
			if err := fn(o); err != nil {
				return err
			}
		}
		if !f.Follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := c.gone("read outcomes"); err != nil {
			return err
		}
	}
}

// Unrouted is queue.Conn's.
func (c *Conn) Unrouted(_ context.Context, accounts []queue.Account) (map[string]uint64, error) {
	counts := map[string]uint64{}
	routed := map[string]bool{}
	for _, a := range accounts {
		for _, s := range a.Sites {
			routed[s] = true
		}
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	for _, m := range c.b.scans {
		if s := siteOf(m.subject); !routed[s] {
			counts[s]++
		}
	}
	return counts, c.gone("count unrouted scans")
}

// Trim is queue.Conn's.
func (c *Conn) Trim(_ context.Context, accounts []queue.Account, age time.Duration) error {
	if err := c.gone("trim"); err != nil {
		return err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	before := time.Now().Add(-age)
	for _, want := range accounts {
		a := c.b.accounts[want.Name]
		if a == nil {
			return &queue.Error{Op: "trim", On: want.Name, Err: queue.ErrNotSetUp}
		}
		floor := a.floor(c.b.scans)
		keep := c.b.scans[:0:0]
		for _, m := range c.b.scans {
			if !a.sites[siteOf(m.subject)] || m.seq > floor || !m.at.Before(before) {
				keep = append(keep, m)
			}
		}
		c.b.scans = keep
	}
	return nil
}

// ResetScans is queue.Conn's.
func (c *Conn) ResetScans(_ context.Context, name string, t time.Time) error {
	if err := c.gone("reset"); err != nil {
		return err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	a := c.b.accounts[name]
	if a == nil {
		return &queue.Error{Op: "reset", On: name, Err: queue.ErrNotSetUp}
	}
	to := a.floor(c.b.scans) + 1
	for _, m := range c.b.scans {
		if !m.at.Before(t) {
			to = min(to, m.seq)
			break
		}
	}
	a.next, a.out = to, map[uint64]*outing{}
	for seq := range a.acked {
		if seq >= to {
			delete(a.acked, seq)
		}
	}
	c.b.change()
	return nil
}

// ResetOutbox is queue.Conn's.
func (c *Conn) ResetOutbox(_ context.Context, name string, t time.Time) error {
	if err := c.gone("reset"); err != nil {
		return err
	}
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	a := c.b.accounts[name]
	if a == nil {
		return &queue.Error{Op: "reset", On: name, Err: queue.ErrNotSetUp}
	}
	to := c.b.base[queue.StreamLedger] + 1
	for _, m := range c.b.records {
		if !m.at.Before(t) {
			to = min(to, m.seq)
			break
		}
	}
	acked := a.outNext - 1
	if a.outSeq != 0 {
		acked = a.outSeq - 1
	}
	a.outNext, a.outSeq = min(to, acked+1), 0
	c.b.change()
	return nil
}

// siteOf returns the site of SITE.DEVICE.
func siteOf(subject string) string { return subject[:strings.IndexByte(subject, '.')] }

// entry is a message of the ledger, whose id is its hash.
func (m message) entry() queue.Entry {
	return queue.Entry{Seq: m.seq, Payload: append([]byte(nil), m.body...), Hash: m.id, Time: m.at}
}

func (m message) outcome() queue.StoredOutcome {
	site, device, _ := strings.Cut(m.subject, ".")
	return queue.StoredOutcome{Site: site, Device: device, EventID: m.id, Ledger: m.ledger, Seq: m.seq, Time: m.at, Body: m.body, Trace: m.trace}
}

// injectedAs wraps a sentinel of package queue, as a fault.
func injectedAs(op string, sentinel error) error {
	return &queue.Error{Op: op, Err: errors.Join(sentinel, ErrInjected)}
}
