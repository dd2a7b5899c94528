package queuetest

import (
	"context"

	"decom/queue"
	"decom/worker/scan"
)

// Watch is queue.Scans's: every scan published from now on, at any pace.
func (s *Scans) Watch(ctx context.Context, fn func(queue.Delivery)) error {
	b := s.c.b
	b.mu.Lock()
	next := b.base[queue.StreamScans] + 1
	b.mu.Unlock()
	for {
		b.mu.Lock()
		changed := b.changed
		var live []message
		for i := len(b.scans) - 1; i >= 0 && b.scans[i].seq >= next; i-- {
			if a := b.accounts[s.name]; a != nil && a.sites[siteOf(b.scans[i].subject)] {
				live = append(live, b.scans[i])
			}
		}
		next = b.base[queue.StreamScans] + 1
		b.mu.Unlock()
		for i := len(live) - 1; i >= 0; i-- {
			o := live[i].outcome() // splits the subject
			fn(queue.NewWatched(scan.Meta{Site: o.Site, Device: o.Device, Seq: live[i].seq, Stored: live[i].at, MsgID: live[i].id}, live[i].body, live[i].trace))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
