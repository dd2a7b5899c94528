package ratelimit

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Defaults of Config: the interface page (1.15) where it names one, else ours.
const (
	DefaultShare       = 1.0
	DefaultCooldown    = time.Minute
	DefaultMinFraction = 1.0 / 16
	DefaultClimb       = 10 * time.Minute
	DefaultBurst       = 250 * time.Millisecond
)

// maxCooldown bounds what a Retry-After can ask for: an absurd one must not stop a hospital for a day. After it one call
// at the reduced rate asks again.
const maxCooldown = time.Hour

// Config is the limits of one account. The zero value is usable: every field that is zero has its default.
type Config struct {
	// Limits is the allowed frequency of each service, for the account over the whole fleet. Services that are not
	// named have their default: "single" 5/s, "bulk" 6/min. A service in neither cannot be used (ErrNoLimit).
	Limits map[string]Rate
	// Share is this process's fixed part of the limits, above 0 to 1; default 1. Two processes that serve one account
	// have 0.5 each, or exceed the limit together.
	Share float64
	// Cooldown is how long the whole account stops after "too fast" without a Retry-After; default 60 s. The scope of
	// NMVS's limit is not known, so all services stop, not only the one that was told.
	Cooldown time.Duration
	// MinFraction is how far the rate may be halved, as a part of the limit, above 0 to 1; default 1/16. It must not
	// reach 0: without calls nothing would ever succeed and raise it.
	MinFraction float64
	// Climb is the time of steady success in which the rate would grow from nothing to the limit; default 10 min, so
	// after one halving the full rate is back in 5.
	Climb time.Duration
	// Burst is how much time's worth of calls may gather while idle, up to 1 s; default 250 ms, at least one call.
	// Short, because a bucket lets pass burst plus rate in the first period after idling.
	Burst time.Duration
	// Adaptive follows a quota that is not known or changes: Limits are then only the ceiling. The rate starts at a
	// quarter of it (at all of it up to 1/s), doubles until the first "too fast", searches for what holds, and probes
	// for more once a minute (see hunt.go). Cooldown is then the longest stop: the first is 250 ms, and doubles while
	// NMVS goes on refusing. MinFraction and Climb do not count. Default false.
	Adaptive bool
}

// defaultLimits is the interface page's decision, 1.15.
func defaultLimits() map[string]Rate {
	return map[string]Rate{"single": {5, time.Second}, "bulk": {6, time.Minute}}
}

// Validate reports every problem, joined.
func (c Config) Validate() error {
	var errs []error
	for _, service := range slices.Sorted(maps.Keys(c.Limits)) {
		if err := c.Limits[service].Validate(); err != nil {
			errs = append(errs, fmt.Errorf("limit of %s: %w", service, err))
		}
	}
	if !partOrZero(c.Share) {
		errs = append(errs, fmt.Errorf("share %v: must be above 0, up to 1", c.Share))
	}
	if !partOrZero(c.MinFraction) {
		errs = append(errs, fmt.Errorf("minimum fraction %v: must be above 0, up to 1", c.MinFraction))
	}
	if c.Cooldown < 0 || c.Cooldown > maxCooldown {
		errs = append(errs, fmt.Errorf("cooldown %v: must be 0 (default) to %v", c.Cooldown, maxCooldown))
	}
	if c.Climb < 0 {
		errs = append(errs, fmt.Errorf("climb %v: must not be negative", c.Climb))
	}
	if c.Burst < 0 || c.Burst > time.Second {
		errs = append(errs, fmt.Errorf("burst %v: must be 0 (default) to 1s", c.Burst))
	}
	return errors.Join(errs...)
}

func partOrZero(f float64) bool {
	return !math.IsNaN(f) && f >= 0 && f <= 1
}

// withDefaults fills what is zero; the map is a copy.
func (c Config) withDefaults() Config {
	limits := defaultLimits()
	maps.Copy(limits, c.Limits)
	c.Limits = limits
	if c.Share == 0 {
		c.Share = DefaultShare
	}
	if c.Cooldown == 0 {
		c.Cooldown = DefaultCooldown
	}
	if c.MinFraction == 0 {
		c.MinFraction = DefaultMinFraction
	}
	if c.Climb == 0 {
		c.Climb = DefaultClimb
	}
	if c.Burst == 0 {
		c.Burst = DefaultBurst
	}
	return c
}
