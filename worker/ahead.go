package worker

import (
	"sync"
	"time"

	"decom/nmvs"
	"decom/worker/ledger"
)

// ahead is what waits for a slot: a few attempts that are on the ledger and shown by Redis
// before a slot is free for them, where single calls alone work a backlog off. A slot whose
// call has ended takes the next of them up at once; else it would stand still for the four
// round trips of its own round, some 3 ms, which is a seventh of a call of 20 ms.
//
// This departs from S0 of protocol.md section 3 ("no opened pack queues for a slot"), within
// these bounds: no more than [aheadMost] attempts, only while the gates of [loop.aheadRoom] stand
// open, and never more than Parallel calls on the wire. Nothing that safety rests on moves: the
// T_SEND clock runs from before the append, and the guard looks at both clocks, the latch and
// Redis right before the write, after the wait. What it costs: a SIGKILL leaves so many
// attempts more in doubt, which were not sent, and must be held and verified like the others.
type ahead struct {
	mu   sync.Mutex
	jobs []job // oldest first; guarded by mu

	// Owned by the loop:
	proven bool      // calls are answered, and soon
	not    time.Time // nothing is opened ahead before
}

// job is a call of the single service that has its token and wants a slot.
type job struct {
	since time.Time     // before the append, for an attempt
	call  func() ending // makes the call
	off   func() ending // gives it up: not a byte has left
}

const (
	// aheadFrom is how many calls at once an account must be allowed before anything is opened
	// ahead, and aheadPart what part of them may be.
	aheadFrom, aheadPart = 8, 4
	// aheadMost bounds what a SIGKILL leaves in doubt beside the calls on their way.
	aheadMost = 8
	// shortCall is how long calls may take for it: of longer ones the wait for a round is a
	// hundredth, and those that wait would come near T_SEND.
	shortCall = 250 * time.Millisecond
)

// aheadRoom is how many attempts may wait for a slot now, those included that do.
func (l *loop) aheadRoom() int {
	most := l.cfg.mostAhead()
	if most == 0 || l.cfg.Mode != ModeSingle || l.cfg.Doubt != Hold || l.lanes.backlog == 0 ||
		l.paused || l.latched.Load() || l.draining.Load() || l.verifiesFirst() || !l.ahead.proven || time.Now().Before(l.ahead.not) ||
		l.deps.Rank() > 0 || l.deps.Limiter.Parallel(l.cfg.Parallel) < l.cfg.Parallel || l.deps.NMVS.Admit(nmvs.Single) < l.cfg.Parallel {
		return 0
	}
	polls := false
	l.book.Attempts(func(att *ledger.Attempt) { polls = polls || att.Tx != "" })
	if polls || l.workWaits() { // they need a slot, too, and find one only while none is passed on
		return 0
	}
	return most
}

func (c Config) mostAhead() int {
	switch {
	case c.ahead > 0:
		return c.ahead
	case c.Parallel < aheadFrom:
		return 0
	}
	return min(c.Parallel/aheadPart, aheadMost)
}

// gatherMore is how long answers wait for others at most.
const gatherMore = 5 * time.Millisecond

// mayGatherMore says whether a round may wait for more answers, because enough waits for the slots
// that become free meanwhile: a round costs much the same whether it records one answer or four.
func (l *loop) mayGatherMore() bool {
	return len(l.items) == 0 && len(l.claims) > 0 && len(l.tally.found) == 0 && 2*l.ahead.len() > l.cfg.mostAhead() &&
		!l.paused && !l.latched.Load() && !l.draining.Load()
}

// learn follows how calls go: one that is slow or in doubt ends opening ahead for as long as an
// attempt is left to its sender.
func (s *ahead) learn(took time.Duration, answered bool, now time.Time, calm time.Duration) {
	switch {
	case !answered || took > shortCall:
		s.not = now.Add(calm)
	default:
		s.proven = true
	}
}

func (s *ahead) add(j job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs = append(s.jobs, j)
}

// next takes the oldest.
func (s *ahead) next() (j job, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.jobs) == 0 {
		return job{}, false
	}
	j = s.jobs[0]
	s.jobs = append(s.jobs[:0], s.jobs[1:]...)
	return j, true
}

// close forgets all of them: unsent they stay. Nothing may be added afterwards.
func (s *ahead) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs = nil
}

// len is how many wait. Any goroutine may take some meanwhile; only the loop adds.
func (s *ahead) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.jobs)
}

// first is since when the oldest waits; zero: none does.
func (s *ahead) first() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.jobs) == 0 {
		return time.Time{}
	}
	return s.jobs[0].since
}

// begin gives a call a slot, or has it wait for one.
func (l *loop) begin(j job) {
	if l.inflight >= l.cfg.Parallel {
		l.step("S7 waits")
		l.ahead.add(j)
		return
	}
	l.inflight++
	l.senders.Go(func() { l.serve(j) })
}

// serve is a slot: the call that it was taken for, then, one after another, what waits.
func (l *loop) serve(j job) {
	for more := true; more; {
		end := j.call()
		j, more = l.ahead.next()
		end.on = more
		l.ended <- end
	}
}

// serveWaiting gives free slots to what waits: a sender found nothing waiting just before it was
// added. What must not be sent any more is given up: by a drain, or because T_SEND is over. The guard
// would stop it, too, but only once there is a slot, and all may hang. A tune that takes slots away
// gives up nothing: what was opened before it is finished.
func (l *loop) serveWaiting() {
	give := l.draining.Load()
	for since := l.ahead.first(); !since.IsZero(); since = l.ahead.first() {
		late := give || over(since, l.cfg.TSend)
		if !late && l.inflight >= l.cfg.Parallel {
			return
		}
		j, ok := l.ahead.next()
		switch {
		case !ok: // a sender has just taken it
		case late:
			l.inflight++ // settle takes it back
			l.settle(j.off())
			if !give { // calls hang
				l.ahead.learn(0, false, time.Now(), l.cfg.grace(ledger.Single))
			}
		default:
			l.begin(j)
		}
	}
}
