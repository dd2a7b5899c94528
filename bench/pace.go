package bench

import (
	"math"
	"time"
)

// pace returns when scan i of n is meant to leave, from the start on. It is pure: the
// load does not bend when the line is slow (open loop).
func (c *Config) pace() func(i int) time.Duration {
	n, d := float64(c.Packs), c.Duration.Seconds()
	at := func(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
	switch c.Profile {
	case Delivery, Backlog:
		return func(int) time.Duration { return 0 }
	case Burst:
		return func(i int) time.Duration { return at(d * burstAt(float64(i)/n)) }
	default:
		return func(i int) time.Duration { return at(d * float64(i) / n) }
	}
}

// A burst: the middle fifth of the time has ten times the rate of the rest.
const (
	burstFrom, burstTo = 0.4, 0.6
	burstTimes         = 10.0
)

// burstAt is the part of the time at which the part x of the scans has left: the
// inverse of the integral of the rate.
func burstAt(x float64) float64 {
	width := burstTo - burstFrom
	base := 1 / (1 - width + burstTimes*width) // rate outside, of a mean of 1
	before, inside := base*burstFrom, base*burstTimes*width
	switch {
	case x < before:
		return x / base
	case x < before+inside:
		return burstFrom + (x-before)/(base*burstTimes)
	default:
		return math.Min(1, burstTo+(x-before-inside)/base)
	}
}

// step is a change of the simulator's quota during a round.
type step struct {
	at     time.Duration
	factor float64 // of the quota
}

// steps are the quota profile's: a third of the time as it was, a third at a quarter,
// a third as before (x 4).
func (c *Config) steps() []step {
	if c.Profile != Quota {
		return nil
	}
	return []step{{c.Duration / 3, 0.25}, {2 * c.Duration / 3, 1}}
}
