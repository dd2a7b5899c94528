package nmvs

import (
	"context"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Run sends the pings that are due until ctx ends. The owner of the account runs
// it on a goroutine of its own; without it, call [Breaker.Probe] now and then.
func (b *Breaker) Run(ctx context.Context) {
	for {
		due := b.due()
		var timer <-chan time.Time // nil: nothing is open, wait for a wake
		if !due.IsZero() {
			timer = time.After(max(time.Until(due), 0) + pause)
		}
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
		case <-timer:
			b.Probe(ctx)
		}
	}
}

// pause is added to each wait: half-open begins strictly after the timeout, and a
// ping that somebody else sends must not make Run spin.
const pause = 10 * time.Millisecond

// due returns when the next ping may go; zero if none is needed.
func (b *Breaker) due() (first time.Time) {
	defer b.tell()
	b.mu.Lock()
	defer b.mu.Unlock()
	for svc, ln := range b.lines {
		if b.observe(svc, ln) == gobreaker.StateClosed {
			continue
		}
		at := b.pingAt(ln)
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// Probe pings each service whose breaker is half-open; an answer closes it. It
// returns when all have answered or failed. A login failure is no business of
// a ping, which carries no login.
func (b *Breaker) Probe(ctx context.Context) {
	for _, svc := range b.cfg.Services {
		b.probe(ctx, svc)
	}
}

func (b *Breaker) probe(ctx context.Context, svc Service) {
	defer b.tell()
	b.mu.Lock()
	ln := b.lines[svc]
	var report func(error)
	err := error(nil)
	if b.observe(svc, ln) == gobreaker.StateHalfOpen && !time.Now().Before(b.pingAt(ln)) {
		report, err = ln.cb.Allow()
	}
	b.mu.Unlock()
	if report == nil || err != nil {
		return // closed, still open, or another ping is on its way
	}
	verdict, cause := errSaysNothing, error(nil)
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if verdict != nil {
			ln.lastErr = cause
		}
		if verdict == errSaysNothing { // gobreaker would stay half-open with its one slot free
			verdict = errSick
		}
		report(verdict)
		b.observe(svc, ln)
	}()
	a, err := b.next.Do(ctx, Call{Act: ActPing, C: NewTrxID(), Service: svc})
	verdict, cause = health(ctx, a, err), err
	if a.Code != "" && a.Class != InDoubt {
		verdict = nil // it does not know this ping, and says so: it is alive
	}
	if a.Class == Login {
		verdict = errSick // the certificate is refused: nothing would pass
	}
}
