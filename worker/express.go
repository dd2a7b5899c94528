package worker

import (
	"context"

	"decom/nmvs"
	"decom/queue"
)

// express is the lane of people at scanners while a backlog is worked off: their scans
// are seen as they are published, keep one slot, and take the next token before
// anything else does. What goes this way is delivered by Fetch later and then found on
// the ledger. Owned by the loop but for live, which the watcher fills.
type express struct {
	live chan queue.Delivery
	stop context.CancelFunc // nil while nobody watches
}

// expressWaiting is how many live scans may wait for the loop; more is no person at
// work, and Fetch has them all.
const expressWaiting = 16

// watch follows the backlog: it begins to look at live scans when single calls cannot
// work it off at once, and ends when it is gone.
func (l *loop) watch(ctx context.Context) {
	x := &l.express
	switch behind := l.lanes.backlog; {
	case x.stop == nil && l.cfg.Mode != ModeBulk && l.cfg.Mode != ModeMixed && behind > uint64(2*l.cfg.Parallel):
		wctx, stop := context.WithCancel(ctx)
		x.stop, x.live = stop, make(chan queue.Delivery, expressWaiting)
		live := x.live
		l.senders.Go(func() {
			err := l.deps.Scans.Watch(wctx, func(d queue.Delivery) {
				select {
				case live <- d:
				default:
				}
			})
			if err != nil && wctx.Err() == nil {
				l.trouble("live scans", err)
			}
		})
	case x.stop != nil && behind == 0 && !l.fetching:
		x.stop()
		x.stop, x.live = nil, nil
	}
}

// watched is the channel of live scans while one more of them could be sent, else nil.
// No token is kept for them: it would leave as a burst beside the regular ones, which
// NMVS counts.
func (l *loop) watched() <-chan queue.Delivery {
	if l.express.stop == nil || l.paused || l.latched.Load() || l.draining.Load() || l.deps.NMVS.Admit(nmvs.Single) <= 0 {
		return nil
	}
	ahead := 0
	for ahead < len(l.items) && queue.IsWatched(l.items[ahead].Delivery) {
		ahead++
	}
	places := l.places()
	if ahead < places && ahead >= l.lanes.tokens && len(l.express.live) > 0 { // what is fetched ahead brings no tokens
		l.lanes.tokens += l.deps.Limiter.TryTake(nmvs.Single.String(), 1)
	}
	if ahead >= min(places, l.lanes.tokens) {
		return nil
	}
	return l.express.live
}

// takeLive puts a live scan before all others. One that cannot be read is left to Fetch:
// nothing on the ledger would tell its second delivery from a second scan.
func (l *loop) takeLive(d queue.Delivery) {
	if it := l.readItem(d); it.rejected == nil {
		l.items = append([]item{it}, l.items...)
	}
}
