package queue

import (
	"bytes"
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"decom/worker/scan"
)

// livePerDevice is how many scans a second a device may have watched: more is no
// person or robot at work, but a file.
const livePerDevice = 3

// Watch calls fn for scans as they are published, past whatever backlog lies before
// them, until ctx ends: a person at a scanner must not wait behind a file. A device
// that sends faster than a person is left to Fetch. Each scan is read back from the
// stream, so what fn gets is stored; Fetch delivers it once more later. Settling what
// fn gets does nothing. Scans may be missed; nothing may rest on seeing them.
func (s *Scans) Watch(ctx context.Context, fn func(Delivery)) error {
	info, err := s.c.consumerInfo(ctx, StreamScans, scansConsumer(s.account))
	if err != nil {
		return fail("watch", scansConsumer(s.account), err)
	}
	live := make(chan *nats.Msg, 256) // the client drops what does not fit: Fetch has it anyway
	for _, filter := range filtersOf(info.Config) {
		sub, err := s.c.nc.ChanSubscribe(filter, live)
		if err != nil {
			return fail("watch", filter, err)
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	var pace devicePace
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-live:
			if !pace.allows(msg.Subject, time.Now()) {
				continue
			}
			if d, ok := s.readBack(ctx, msg); ok {
				fn(d)
			}
		}
	}
}

// readBack finds the message that was just published as the stream has it.
func (s *Scans) readBack(ctx context.Context, msg *nats.Msg) (Delivery, bool) {
	for range 5 {
		m, err := s.c.get(ctx, StreamScans, getRequest{LastFor: msg.Subject})
		if err == nil && bytes.Equal(m.Data, msg.Data) && m.header(headerMsgID) == msg.Header.Get(headerMsgID) {
			site, device := source(msg.Subject, scanPrefix)
			return watched{data: m.Data, meta: scan.Meta{Site: site, Device: device, Seq: m.Seq, Stored: m.Time, MsgID: m.header(headerMsgID)}, trace: traceOf(msg.Header)}, true
		}
		select { // not stored yet, or a newer one is
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return nil, false
		}
	}
	return nil, false
}

// devicePace counts each device's scans by the second.
type devicePace struct {
	second int64
	counts map[string]int
}

func (p *devicePace) allows(subject string, now time.Time) bool {
	if s := now.Unix(); s != p.second || p.counts == nil {
		p.second, p.counts = s, map[string]int{}
	}
	p.counts[subject]++
	return p.counts[subject] <= livePerDevice
}

// watched is a scan seen by Watch. It is settled when Fetch delivers it.
type watched struct {
	meta  scan.Meta
	data  []byte
	trace string
}

func (w watched) Meta() scan.Meta                                 { return w.meta }
func (w watched) Data() []byte                                    { return w.data }
func (w watched) Delivered() int                                  { return 1 }
func (w watched) Backlog() uint64                                 { return 0 }
func (w watched) Trace() string                                   { return w.trace }
func (w watched) Ack(context.Context) error                       { return nil }
func (w watched) RetryAfter(context.Context, time.Duration) error { return nil }
func (w watched) Extend(context.Context) error                    { return nil }

// IsWatched says whether a delivery came from Watch.
func IsWatched(d Delivery) bool { _, ok := d.(watched); return ok }

// NewWatched returns a delivery as Watch gives it; for fakes.
func NewWatched(m scan.Meta, data []byte, trace string) Delivery { return watched{m, data, trace} }
