package ratelimit

import (
	"math"
	"time"
)

// pace is the arithmetic of one service's rate, apart from all waiting: a limit, and the part of it that is used now.
type pace struct {
	limit  float64       // calls a second, the fleet's
	share  float64       // of this process, in (0, 1]
	part   float64       // used now, in [least, 1]
	least  float64       // part is never below
	climb  time.Duration // of success to gain a part of 1
	burst  time.Duration // worth of calls that may gather
	gained time.Time     // until when success was counted
	hunt   *hunt         // Config.Adaptive; nil: not
}

// allowed gives this process's limit in calls a second, without what was learnt.
func (p *pace) allowed() float64 { return p.limit * p.share }

// now gives the calls a second that may start.
func (p *pace) now() float64 {
	if p.hunt != nil {
		return p.hunt.rate * p.share
	}
	return p.allowed() * p.part
}

// bucket gives how many calls may gather: at least one, or none could ever start.
func (p *pace) bucket() int {
	burst := p.burst
	if p.hunt != nil {
		burst = min(burst, huntBurst)
	}
	return max(1, int(math.Ceil(p.now()*burst.Seconds()-1e-9)))
}

// tooFast halves; time before until counts for no growth.
func (p *pace) tooFast(until time.Time) {
	p.part = max(p.part/2, p.least)
	p.gained = until
}

// succeeded grows by the time since the last success, and reports whether it did. An idle time proves nothing about the
// rate, so only as much counts as two calls at the present rate take, or a second.
func (p *pace) succeeded(at time.Time) bool {
	if p.part >= 1 {
		return false
	}
	elapsed := at.Sub(p.gained)
	if elapsed <= 0 {
		return false
	}
	p.gained = at
	busy := max(time.Second, time.Duration(2/p.now()*float64(time.Second)))
	p.part = min(1, p.part+float64(min(elapsed, busy))/float64(p.climb))
	return true
}
