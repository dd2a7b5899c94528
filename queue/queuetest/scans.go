package queuetest

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"decom/queue"
	"decom/worker/scan"
)

// Scans has the methods of queue.Scans.
type Scans struct {
	c    *Conn
	name string
}

// Scans returns an account's consumer.
func (c *Conn) Scans(account string) *Scans { return &Scans{c: c, name: account} }

// Fetch is queue.Scans'.
func (s *Scans) Fetch(ctx context.Context, limit int, fill time.Duration, priority int) ([]queue.Delivery, error) {
	b := s.c.b
	b.mu.Lock()
	a := b.accounts[s.name]
	if a == nil {
		b.mu.Unlock()
		return nil, &queue.Error{Op: "fetch", On: s.name, Err: queue.ErrNotSetUp}
	}
	w := &waiter{priority: priority}
	a.waiting[w] = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(a.waiting, w)
		b.change()
		b.mu.Unlock()
	}()
	for {
		if err := s.c.gone("fetch"); err != nil {
			return nil, err
		}
		b.mu.Lock()
		ds := s.take(a, w, limit)
		due, changed := a.due(), b.changed
		fault := Fault(0)
		if len(ds) > 0 {
			if fault = b.faults.first(FetchFails, FetchLost); fault == FetchFails {
				s.giveBack(a, ds)
			} else if b.faults.hit(FetchTwice) {
				a.out[ds[len(ds)-1].meta.Seq].due = time.Now()
			}
		}
		b.mu.Unlock()
		if fault != 0 {
			return nil, injected("fetch")
		}
		if len(ds) > 0 {
			return s.fill(ctx, a, w, ds, limit, fill), nil
		}
		if err := waitFor(ctx, changed, due); err != nil {
			return nil, &queue.Error{Op: "fetch", On: s.name, Err: err}
		}
	}
}

// fill waits for more scans.
func (s *Scans) fill(ctx context.Context, a *account, w *waiter, ds []*delivery, limit int, d time.Duration) []queue.Delivery {
	if len(ds) < limit && d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			s.c.b.mu.Lock()
			ds = append(ds, s.take(a, w, limit-len(ds))...)
			s.c.b.mu.Unlock()
		case <-ctx.Done():
		}
	}
	out := make([]queue.Delivery, len(ds))
	for i, d := range ds {
		out[i] = d
	}
	return out
}

// take delivers what may be delivered to w now: first what comes again, then what is
// new. The caller holds the broker's mu.
func (s *Scans) take(a *account, w *waiter, limit int) (ds []*delivery) {
	for o := range a.waiting {
		if o.priority < w.priority {
			return nil // it gets them
		}
	}
	now := time.Now()
	for _, seq := range slices.Sorted(maps.Keys(a.out)) {
		if len(ds) < limit && !a.out[seq].due.After(now) {
			if m := s.find(seq); m != nil {
				ds = append(ds, s.deliver(a, *m))
			} else {
				delete(a.out, seq) // trimmed
			}
		}
	}
	for _, m := range s.c.b.scans {
		if len(ds) >= limit || len(a.out) >= queue.MaxAckPending {
			return ds
		}
		if m.seq < a.next {
			continue
		}
		a.next = m.seq + 1
		if a.sites[siteOf(m.subject)] {
			ds = append(ds, s.deliver(a, m))
		}
	}
	return ds
}

func (s *Scans) find(seq uint64) *message {
	for i := range s.c.b.scans {
		if s.c.b.scans[i].seq == seq {
			return &s.c.b.scans[i]
		}
	}
	return nil
}

func (s *Scans) deliver(a *account, m message) *delivery {
	a.out[m.seq] = &outing{due: time.Now().Add(s.c.b.AckWait)}
	a.count[m.seq]++
	o := m.outcome() // splits the subject
	return &delivery{
		c: s.c, a: a, body: m.body, n: a.count[m.seq], backlog: s.c.b.scans[len(s.c.b.scans)-1].seq - m.seq,
		trace: m.trace,
		meta:  scan.Meta{Site: o.Site, Device: o.Device, Seq: m.seq, Stored: m.at, MsgID: m.id},
	}
}

// giveBack makes deliveries undone. The caller holds the broker's mu.
func (s *Scans) giveBack(a *account, ds []*delivery) {
	for _, d := range ds {
		a.count[d.meta.Seq]--
		a.out[d.meta.Seq].due = time.Now()
	}
}

// due returns when the next scan comes again; zero: none is out.
func (a *account) due() (t time.Time) {
	for _, o := range a.out {
		if t.IsZero() || o.due.Before(t) {
			t = o.due
		}
	}
	return t
}

// floor returns the sequence up to which every scan of the account is acked.
func (a *account) floor(scans []message) (floor uint64) {
	for _, m := range scans {
		if a.sites[siteOf(m.subject)] && !a.acked[m.seq] {
			return m.seq - 1
		}
		floor = m.seq
	}
	return floor
}

// waitFor waits for a change, for a time (zero: none), or for the end of ctx.
func waitFor(ctx context.Context, changed <-chan struct{}, due time.Time) error {
	var timer <-chan time.Time
	if !due.IsZero() {
		t := time.NewTimer(max(time.Until(due), time.Millisecond))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-changed:
	case <-timer:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// Pending is queue.Scans'.
func (s *Scans) Pending(context.Context) (p queue.Pending, err error) {
	b := s.c.b
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[s.name]
	if a == nil {
		return p, &queue.Error{Op: "pending", On: s.name, Err: queue.ErrNotSetUp}
	}
	for _, m := range b.scans {
		if !a.sites[siteOf(m.subject)] || a.acked[m.seq] {
			continue
		}
		if m.seq >= a.next {
			p.Pending++
		} else {
			p.AckPending++
		}
		if p.Oldest.IsZero() {
			p.Oldest = m.at
		}
	}
	return p, s.c.gone("pending")
}

// delivery is the broker's queue.Delivery.
type delivery struct {
	c       *Conn
	a       *account
	meta    scan.Meta
	body    []byte
	n       int
	backlog uint64 // of all sites: more than a server would say, never less
	trace   string
	settled atomic.Bool
}

func (d *delivery) Meta() scan.Meta { return d.meta }
func (d *delivery) Data() []byte    { return d.body }
func (d *delivery) Delivered() int  { return d.n }
func (d *delivery) Backlog() uint64 { return d.backlog }
func (d *delivery) Trace() string   { return d.trace }

func (d *delivery) Ack(context.Context) error {
	if err := d.settle("ack"); err != nil {
		return err
	}
	if d.c.b.OnAck != nil {
		d.c.b.OnAck(d.a.name, d.meta)
	}
	d.c.b.mu.Lock()
	defer d.c.b.mu.Unlock()
	fault := d.c.b.faults.first(AckFails, AckLost, AckStored)
	if fault == 0 || fault == AckStored {
		delete(d.a.out, d.meta.Seq)
		if d.meta.Seq < d.a.next { // else the consumer was set back in the meantime
			d.a.acked[d.meta.Seq] = true
		}
		d.c.b.change()
	}
	if fault == AckFails || fault == AckStored {
		d.settled.Store(false)
		return injected("ack")
	}
	return nil
}

// AckConfirmed makes queue.AckAll the same as over JetStream.
func (d *delivery) AckConfirmed(ctx context.Context) error { return d.Ack(ctx) }

func (d *delivery) RetryAfter(_ context.Context, wait time.Duration) error {
	if err := d.settle("retry"); err != nil {
		return err
	}
	d.c.b.mu.Lock()
	defer d.c.b.mu.Unlock()
	if o := d.a.out[d.meta.Seq]; o != nil {
		o.due = time.Now().Add(wait)
		d.c.b.change()
	}
	return nil
}

func (d *delivery) Extend(context.Context) error {
	if err := d.c.gone("extend"); err != nil {
		return err
	}
	if d.settled.Load() {
		d.c.b.broken("scan %d is extended after it was settled", d.meta.Seq)
		return &queue.Error{Op: "extend", Err: queue.ErrSettled}
	}
	d.c.b.mu.Lock()
	defer d.c.b.mu.Unlock()
	if o := d.a.out[d.meta.Seq]; o != nil {
		o.due = time.Now().Add(d.c.b.AckWait)
	}
	return nil
}

func (d *delivery) settle(op string) error {
	if err := d.c.gone(op); err != nil {
		return err
	}
	if !d.settled.CompareAndSwap(false, true) {
		d.c.b.broken("scan %d is settled twice (%s)", d.meta.Seq, op)
		return &queue.Error{Op: op, Err: queue.ErrSettled}
	}
	return nil
}
