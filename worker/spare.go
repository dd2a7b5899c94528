package worker

import (
	"context"
	"errors"
	"time"

	"decom/nmvs"
)

// spare is scans that were fetched while every slot was busy, undecided and un-acked: an
// answer and the next opening then share one record, where a fetch between them would cost
// the slot a round trip and a round. They are looked at when a slot and a token are in
// hand, as every scan is (protocol.md section 3 S0). Owned by the loop.
type spare struct {
	items []item
	at    time.Time // when the last of them came
	not   time.Time // none before: tokens are short
}

const (
	// spareTime is how long scans may lie here, far below AckWait: calls that take longer gain
	// nothing by them, and another worker could do them.
	spareTime = 3 * time.Second
	// spareNot is how long none are fetched ahead after one found no token.
	spareNot = 10 * time.Second
)

// wantAhead says whether scans should be fetched for slots that are busy: where single calls
// alone work a backlog off, and the limiter and the breaker let them.
func (l *loop) wantAhead(now time.Time, rank int) bool {
	return l.cfg.Mode == ModeSingle && rank == 0 && !l.verifiesFirst() && l.inflight > 0 && l.lanes.backlog > 0 &&
		2*len(l.spare.items) < l.cfg.Parallel && now.After(l.spare.not) && !l.paused && !l.draining.Load() &&
		l.deps.NMVS.Admit(nmvs.Single) > 0
}

// fetchAhead takes what is there now. No token is taken for it.
func (a *Account) fetchAhead(pull context.Context, q ask, b *batch) {
	var err error
	b.deliveries, err = a.deps.Scans.Fetch(pull, q.ahead, 0, min(a.deps.Rank(), 9))
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		a.trouble("scans", err)
		<-pull.Done()
	}
}

// takeSpare hands the next round as many as have a slot and a token, after the scans that it has
// already, and gives back what has waited too long.
func (l *loop) takeSpare(work context.Context) {
	s := &l.spare
	if len(s.items) == 0 {
		return
	}
	now := time.Now()
	if l.paused || l.draining.Load() || l.cfg.Mode != ModeSingle || now.Sub(s.at) > spareTime {
		l.dropSpare(work)
		return
	}
	r := l.capacity(0)
	if l.express.stop != nil && r.singles > 1 {
		r.singles-- // kept for people at scanners
	}
	n := min(len(s.items), r.singles-len(l.items))
	if l.hungry && n > 0 { // due packs are older
		if n--; now.Sub(l.spared) >= tokenPause {
			l.hungry, l.spared, l.nextDue = false, now, now
		}
	}
	if n <= 0 {
		return
	}
	if want := n + len(l.items) - l.lanes.tokens; want > 0 {
		if l.lanes.tokens += l.deps.Limiter.TryTake(nmvs.Single.String(), want); l.lanes.tokens < n+len(l.items) {
			s.not = now.Add(spareNot) // fetch waits for tokens better than a look now and then
			n = max(0, l.lanes.tokens-len(l.items))
		}
	}
	l.items = append(l.items, s.items[:n]...)
	s.items = append(s.items[:0], s.items[n:]...)
	if now.Before(s.not) {
		l.dropSpare(work)
	}
}

// dropSpare gives all of them back: they are delivered again at once.
func (l *loop) dropSpare(work context.Context) {
	for i := range l.spare.items {
		_ = l.spare.items[i].RetryAfter(work, 0) // not recorded: the stream still holds it
	}
	l.spare.items = nil
}
