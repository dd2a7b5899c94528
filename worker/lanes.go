package worker

import (
	"math"
	"time"

	"decom/nmvs"
	"decom/worker/ledger"
)

// lanes are the two ways to NMVS: single calls, limited by slots and tokens, and
// bulks, of which few may be on their way and each carries many packs. Owned by the
// loop.
type lanes struct {
	tokens  int       // of the single service, in hand
	bulk    int       // of the bulk service, in hand: 0 or 1
	backlog uint64    // scans behind the last delivery
	asked   int       // packs of a bulk that the scans in hand were fetched for
	size    batchSize // of the next bulk

	carrier map[ledger.Service]bool // which of the bulk services may be used, when last looked at
}

// room is what may be opened now: S0, the gates.
type room struct {
	singles int // attempts of one pack
	packs   int // of one bulk or mixed bulk; 0: none may start
}

func (r room) total() int { return r.singles + r.packs }

// free is how many calls may still start.
func (l *loop) free() int {
	return l.deps.Limiter.Parallel(l.cfg.Parallel) - l.inflight - l.reserved
}

// places is how many single calls may be opened: those that may start, and a few that may wait
// for a slot.
func (l *loop) places() int {
	n := l.free()
	if waiting, room := l.ahead.len(), l.aheadRoom(); waiting+room > 0 {
		n += room - waiting
	}
	return n
}

// capacity counts slots and tokens, taking a bulk's token in hand if a bulk is worth
// it for what waits, or for the candidates in hand. It never waits.
func (l *loop) capacity(candidates int) room {
	var r room
	free := l.places()
	if free <= 0 || l.paused || l.latched.Load() || l.draining.Load() {
		return r
	}
	if l.wantBulk(candidates) && l.bulkLaneFree() && l.takeBulkToken() {
		r.packs = l.lanes.size.next()
		free--
	}
	if l.workWaits() && free > 1 {
		free-- // the resolver's verifies need a slot too
	}
	r.singles = max(0, min(free, l.deps.NMVS.Admit(nmvs.Single)))
	return r
}

// wantBulk says whether a bulk is the better way for the candidates in hand, or, with
// none, for what waits in the stream. In mode auto a bulk pays from the backlog on that
// single calls could not work off while it runs. One that was not fetched for must be
// worth more than the calls that may run at once: a bulk spent on a scan or two that
// found no token is missing when a thousand wait.
func (l *loop) wantBulk(candidates int) bool {
	switch {
	case l.onlyBulk():
		return true
	case l.cfg.Mode != ModeAuto || !l.cfg.UseBulk && !l.cfg.UseMixed:
		return false
	case candidates == 0:
		return l.lanes.backlog >= uint64(l.cfg.BulkFrom)
	}
	return candidates > l.cfg.Parallel || l.lanes.asked > 0 && candidates >= l.lanes.asked
}

// onlyBulk says that changes never go single, but for packs that must.
func (l *loop) onlyBulk() bool { return l.cfg.Mode == ModeBulk || l.cfg.Mode == ModeMixed }

// bulkLaneFree says whether one more bulk may be submitted: NMVS may refuse a second
// one while the first is processed (nmvs-interface.md 1.9).
func (l *loop) bulkLaneFree() bool {
	if !l.carriers() {
		return false
	}
	out := 0
	l.book.Attempts(func(att *ledger.Attempt) {
		d := l.doubts[att.C]
		if att.Svc != ledger.Single && (d == nil || l.sending[att.C] || time.Since(d.seen) < l.cfg.BulkLate) {
			out++
		}
	})
	return out < l.cfg.BulkInFlight
}

// carriers says which bulk services may be used now, and whether any may. After an outage
// of one, bulks begin small again: 1, 2, 4 (protocol.md section 9).
func (l *loop) carriers() bool {
	was := l.lanes.carrier
	l.lanes.carrier = map[ledger.Service]bool{
		ledger.Bulk:  l.cfg.UseBulk && l.cfg.Mode != ModeMixed && l.deps.NMVS.Admit(nmvs.Bulk) > 0,
		ledger.Mixed: l.cfg.UseMixed && l.cfg.Mode != ModeBulk && l.deps.NMVS.Admit(nmvs.Mixed) > 0,
	}
	for svc, up := range l.lanes.carrier {
		if before, known := was[svc]; known && up && !before {
			l.lanes.size.restart()
		}
	}
	return l.lanes.carrier[ledger.Bulk] || l.lanes.carrier[ledger.Mixed]
}

func (l *loop) takeBulkToken() bool {
	if l.lanes.bulk == 0 {
		l.lanes.bulk = l.deps.Limiter.TryTake(nmvs.Bulk.String(), 1)
	}
	return l.lanes.bulk > 0
}

// takeToken takes a token for a verify: one in hand that no scan needs, or a new one.
func (l *loop) takeToken() bool {
	if l.lanes.tokens > len(l.items) {
		l.lanes.tokens--
		return true
	}
	return l.deps.Limiter.TryTake(nmvs.Single.String(), 1) > 0
}

// giveBackTokens returns what is in hand when nothing will be sent any more.
func (l *loop) giveBackTokens() {
	if l.lanes.tokens > 0 {
		l.deps.Limiter.Return(nmvs.Single.String(), l.lanes.tokens)
	}
	if l.lanes.bulk > 0 {
		l.deps.Limiter.Return(nmvs.Bulk.String(), l.lanes.bulk)
	}
	l.lanes.tokens, l.lanes.bulk = 0, 0
}

// batchSize is how many packs the next bulk takes: 1, 2, 4, ... after start, deploy or
// maintenance, up to the limit; half when results come late or in doubt. What goes
// wrong then costs few packs.
type batchSize struct {
	now, max int
}

func (b *batchSize) next() int { return max(1, min(b.now, b.max)) }

// good: a bulk of n packs was answered whole and in time. One that was nearly full counts:
// some packs of a fetch go single.
func (b *batchSize) good(n int) {
	if 4*n >= 3*b.next() {
		b.now = min(b.next()*2, b.max)
	}
}

// bad: a bulk came late or in doubt.
func (b *batchSize) bad() { b.now = max(b.next()/2, 1) }

func (b *batchSize) restart() { b.now = 1 }

// pollWait is the schedule of nmvs-interface.md 1.9: first after `first`, then x 1.6 up
// to a minute. The jitter, an eighth either way, keeps accounts apart.
func pollWait(first time.Duration, polls int, jitter float64) time.Duration {
	w := float64(first) * math.Pow(1.6, float64(min(polls, 32)))
	w = min(w, float64(time.Minute))
	return time.Duration(w * (1 + (jitter-0.5)/4))
}
