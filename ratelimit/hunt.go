package ratelimit

import (
	"math"
	"time"
)

// hunt follows a quota that is not known and may change: the arithmetic of Config.Adaptive, apart from all waiting. The rate
// grows until NMVS says "too fast" for the first time, a search between what held and what was refused follows, then the
// rate stays at what held, and only a small probe a minute asks whether there is more. Probes double in size while they
// succeed, so that a quota that became four times as large is found in some seconds once a probe begins. A single refusal
// at a rate that held takes a little away; repeated ones halve.
//
// Rates are the account's over the whole fleet, in calls a second.
type hunt struct {
	most    float64 // the configured limit: never above
	longest time.Duration

	rate   float64 // in use
	good   float64 // held for a whole trial; 0: none yet
	bad    float64 // refused; 0: none yet
	phase  phase
	stride float64 // part by which the probe under way is larger than good

	since   time.Time // when the present trial began
	calls   int       // that started in it
	cut     time.Time // when a refusal last counted
	resume  time.Time // end of the stop after it
	strikes int       // refusals, one soon after another, at rates that had held
	probe   time.Time // the next probe is not earlier
	probed  bool      // since start or the last fall: the first probe comes soon

	// A quota that saves up lets a row of probes through for a while though it has not grown. What it can save up is
	// learnt: a row that was refused after no more than that has found nothing.
	base    float64   // what held before the row of probes
	rowAt   time.Time // when the row began
	rowLoad int       // calls that started in it
	above   float64   // what the row, when it was refused, had sent above base, in seconds of base; 0: judged
	saves   float64   // what the quota can save up, in seconds of its rate; 0: nothing that is known

	// Between two refusals a quota lets through what it is, the stops included, however much it saves up.
	mark     time.Time     // the first refusal of a search, the last one at a rate that had held
	markLoad int           // calls that started since then
	stops    time.Duration // of it nothing could start

	took time.Duration // of a call, from its start to its answer: follows a rise at once, a fall slowly
}

// phase is what a hunt is doing; the words stand in status.
type phase string

const (
	growing   phase = "growing"   // doubles until the first refusal, or the limit
	falling   phase = "falling"   // what held does not hold any more: halves
	searching phase = "searching" // between good and bad
	steady    phase = "steady"    // at good
	probing   phase = "probing"   // asks whether there is more
)

const (
	trialLeast = 2 * time.Second // a quota is counted by the second at least
	trialMost  = 4 * time.Second // of a search: five of them must fit into the time in which a step is to be followed
	trialCalls = 12              // fewer prove nothing
	fine       = 1.015           // good and bad closer than this: searched enough
	firstProbe = 0.025           // of good, if that is no more than a call a second; doubled while probes succeed
	leastProbe = 0.005
	probeEvery = 63 * time.Second // each costs one "too fast" while the quota stays as it is: at most one a minute
	probeSoon  = 15 * time.Second // the first one, still within the time in which refusals are no surprise
	sure       = 4 * time.Second  // of load between two refusals tells the quota, and so many calls
	sureCalls  = 30
	markFor    = 30 * time.Second
	shortStop  = 250 * time.Millisecond
	usedEnough = 0.7 // of a trial's rate, or the trial proves nothing
	slowest    = 1.0 / 1024
	// huntBurst is what may gather at most: a rate a fiftieth below the quota of a second must not pass it by a burst.
	huntBurst = 20 * time.Millisecond
	// instant is the limit up to which an account starts at the limit: there growing would take minutes, and a wrong
	// guess costs one refusal.
	instant = 1.0
)

func newHunt(most float64, longest time.Duration, now time.Time) *hunt {
	h := &hunt{most: most, longest: longest, phase: growing}
	h.try(most/4, now)
	if most <= instant {
		h.try(most, now)
	}
	return h
}

// try begins a trial of a rate.
func (h *hunt) try(rate float64, at time.Time) {
	h.rate = min(max(rate, h.most*slowest), h.most)
	h.since, h.calls = at, 0
}

// settle stays at what held.
func (h *hunt) settle(at, probe time.Time) {
	h.phase, h.strikes = steady, 0
	h.probe = probe
	if !h.probed && probe.Sub(at) > probeSoon {
		h.probe = at.Add(probeSoon)
	}
	h.try(h.good, at)
}

// search tries between what held and what was refused, or settles when there is no room.
func (h *hunt) search(at time.Time) {
	if h.bad <= h.good*fine {
		h.settle(at, at.Add(probeEvery))
		return
	}
	h.phase = searching
	h.try(math.Sqrt(h.good*h.bad), at)
}

// trial is how long a rate must hold: as many calls as prove something, and for small steps longer, because a quota that
// saves up for a second hides them longer. An answer takes its time on top.
func (h *hunt) trial() time.Duration {
	d := trialLeast
	if h.phase == searching && h.rate > h.good {
		d = min(max(d, seconds(h.rate/(h.rate-h.good))), trialMost)
	}
	return max(d, seconds(trialCalls/h.rate)) + h.took
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// started counts calls that may start; negative for those given back.
func (h *hunt) started(n int) {
	h.calls = max(0, h.calls+n)
	h.rowLoad = max(0, h.rowLoad+n)
	h.markLoad = max(0, h.markLoad+n)
}

// answered is a call that NMVS answered, but not with "too fast". It reports whether the rate changed.
func (h *hunt) answered(began, at time.Time) bool {
	h.timed(began, at)
	ran := at.Sub(h.since)
	if ran < h.trial() {
		return false
	}
	was := h.rate
	if float64(h.calls) < usedEnough*h.rate*ran.Seconds() { // the load does not use the rate: nothing is proved
		if h.phase == probing {
			h.settle(at, h.probe)
		}
		h.since, h.calls = at, 0
		return h.rate != was
	}
	h.good, h.strikes = h.rate, 0
	h.held(at)
	return h.rate != was
}

// held goes on after a trial that succeeded.
func (h *hunt) held(at time.Time) {
	switch h.phase {
	case growing:
		if h.rate >= h.most {
			h.settle(at, at)
			return
		}
		h.try(2*h.rate, at)
	case falling, searching:
		h.search(at)
	case probing:
		h.stride = min(2*h.stride, 1)
		h.tryProbe(at)
	case steady:
		h.since, h.calls = at, 0
		if !at.Before(h.probe) {
			h.phase, h.stride, h.probed = probing, h.first(), true
			h.base, h.rowAt, h.rowLoad, h.above = h.good, at, 0, 0
			h.tryProbe(at)
		}
	}
}

// first is the size of a row's first probe: small, because what is too much is refused, call by call, until the first
// answer is there.
func (h *hunt) first() float64 { return min(max(1/h.good, leastProbe), firstProbe) }

func (h *hunt) tryProbe(at time.Time) {
	if h.good >= h.most {
		h.settle(at, at)
		return
	}
	h.probe = at.Add(probeEvery)
	h.try(h.good*(1+h.stride), at)
}

// refused is the answer "too fast" to a call that began at a time (zero: not known). It returns how long nothing may
// start, 0 for a call that was under way when an earlier refusal was counted.
func (h *hunt) refused(began, at time.Time) time.Duration {
	h.timed(began, at)
	h.rowLoad, h.markLoad = max(0, h.rowLoad-1), max(0, h.markLoad-1)
	if at.Before(h.resume) || !began.IsZero() && began.Before(h.resume) {
		return 0
	}
	soon := h.resume.Add(max(trialLeast, seconds(trialCalls/2/h.rate)) + h.took)
	again := !h.cut.IsZero() && at.Before(soon)
	estimate := h.estimate(at)
	stop := shortStop
	switch h.phase {
	case falling:
		h.strikes++
	case steady:
		if !again {
			h.strikes = 0
		}
		h.strikes++
	default:
		h.strikes = 0
	}
	stop = min(stop<<min(max(h.strikes-1, 0), 20), h.longest)
	resume := at.Add(stop)
	idle := at.Sub(h.cut)
	h.cut, h.resume = at, resume
	if h.phase != searching && (h.phase != steady || at.Sub(h.mark) > markFor) {
		h.mark, h.markLoad, h.stops = at, 0, 0
	}
	h.stops += stop
	h.cutBack(resume, estimate, idle)
	return stop
}

// estimate is what the quota let through since the mark; 0 when that was too short, or the load did not use it.
func (h *hunt) estimate(at time.Time) float64 {
	// A quota that saves up goes on in a stop, one that counts windows does not: half of each.
	ran := (at.Sub(h.mark) - h.stops/2).Seconds()
	if h.mark.IsZero() || ran < sure.Seconds() || float64(h.markLoad) < max(sureCalls, usedEnough*h.good*ran) {
		return 0
	}
	return float64(h.markLoad) / ran
}

// cutBack chooses the rate after a refusal; idle is how long there was none.
func (h *hunt) cutBack(resume time.Time, estimate float64, idle time.Duration) {
	switch h.phase {
	case growing, searching:
		h.bad = h.rate
		if h.good == 0 {
			h.fall(resume)
			return
		}
		h.search(resume)
	case probing:
		h.bad = h.rate
		if h.found(idle) {
			h.search(resume)
			return
		}
		first := h.base * (1 + h.first())
		if h.good > 1.001*first { // that much is believed all the same, or a wrong idea of what it saves up would last
			h.good = first
		} else {
			h.good = h.base
		}
		h.settle(resume, resume.Add(probeEvery))
	case falling:
		h.fall(resume)
	case steady:
		h.bad = h.rate
		if h.strikes > 2 {
			h.fall(resume)
			return
		}
		less := h.lower(estimate)
		if h.above > 0 && less < 1.05*h.base { // the row of probes lived on what was saved up
			h.saves = max(h.saves, min(h.above, savesMost))
			less, h.above = max(less, 0.985*h.base), 0
		} else if h.cut.Sub(h.mark) > markFor/2 {
			h.above = 0 // it was not
		}
		strikes := h.strikes
		h.good = max(less, h.most*slowest)
		next := resume.Add(probeEvery)
		if idle < probeEvery {
			next = next.Add(probeEvery - idle) // the last minute had its refusal already
		}
		h.settle(resume, next)
		h.strikes = strikes
	}
}

// savesMost bounds what a quota is thought to save up: a real growth must not be taken for it.
const savesMost = 3

// found says whether a row of probes that was refused shows a larger quota, not one that had saved up since the last
// refusal.
func (h *hunt) found(idle time.Duration) bool {
	above := float64(h.rowLoad)/h.base - h.cut.Sub(h.rowAt).Seconds()
	if h.good <= h.base {
		return false
	}
	if h.saves == 0 || above > 1.2*h.saves+0.02*idle.Seconds() {
		h.above = above
		return true
	}
	if above > h.saves/2 { // so it does save up
		h.saves = max(h.saves, min(above, savesMost))
	} else if h.saves *= 0.9; h.saves < 0.1 {
		h.saves = 0
	}
	return false
}

// lower is the rate after a refusal of one that had held.
func (h *hunt) lower(estimate float64) float64 {
	less := 0.98 * h.rate
	if h.strikes > 1 {
		less = 0.95 * h.rate
	}
	if estimate == 0 {
		return less
	}
	return min(less, max(0.985*estimate, 0.7*h.rate))
}

func (h *hunt) fall(at time.Time) {
	h.phase, h.good, h.bad, h.probed = falling, 0, h.rate, false
	h.try(h.rate/2, at)
}

// timed learns how long a call takes.
func (h *hunt) timed(began, at time.Time) {
	if began.IsZero() {
		return
	}
	switch d := at.Sub(began); {
	case d < 0:
	case h.took == 0:
		h.took = d
	case d > h.took:
		h.took += (d - h.took) / 2
	default:
		h.took -= (h.took - d) / 10
	}
}

// rest moves a trial behind a stop of the account.
func (h *hunt) rest(until time.Time) {
	if h.since.Before(until) {
		h.since, h.calls = until, 0
	}
	if !h.cut.IsZero() && h.resume.Before(until) {
		h.resume = until
	}
}

// limit takes over another configured limit.
func (h *hunt) limit(most float64, at time.Time) {
	raised := most > h.most
	h.most = most
	if h.good > most {
		h.good = most
	}
	if h.rate > most || raised && h.phase == steady {
		h.phase = growing
		if h.bad > 0 {
			h.phase = steady
		}
		h.probe = at
		h.try(h.rate, at)
	}
}

// parallel is how many calls fill the rate (Little's law), with room for half as much again and one to spare; 0 while no
// call was answered yet.
func (h *hunt) parallel() float64 {
	if h.took == 0 {
		return 0
	}
	return 1 + math.Ceil(1.5*h.rate*h.took.Seconds())
}
