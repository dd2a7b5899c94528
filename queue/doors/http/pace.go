package httpdoor

import (
	"context"
	"errors"
	"sync"
	"time"

	"decom/ratelimit"
)

// paces holds each device's own pace and places.
type paces struct {
	cfg Config

	mu      sync.Mutex
	devices map[string]*pace // by SITE/DEVICE of the token; guarded by mu
}

// pace is what one token's device may do now.
type pace struct {
	limiter *ratelimit.Limiter
	posts   chan struct{} // a place a request under way
	streams chan struct{} // a place an open stream of outcomes
}

// service is the one bucket of a device's limiter.
const service = "scans"

func newPaces(cfg Config) *paces { return &paces{cfg: cfg, devices: map[string]*pace{}} }

// of returns the pace of a principal. Only the tokens file makes new ones, so there are
// as many as it has lines.
func (p *paces) of(who Principal) (*pace, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.devices[who.name()]
	if d != nil {
		return d, nil
	}
	l, err := ratelimit.New(ratelimit.Config{Limits: map[string]ratelimit.Rate{service: p.cfg.Rate}, Burst: time.Second})
	if err != nil {
		return nil, err
	}
	d = &pace{limiter: l, posts: make(chan struct{}, p.cfg.Parallel), streams: make(chan struct{}, p.cfg.Parallel)}
	p.devices[who.name()] = d
	return d, nil
}

// place takes one of the places, if one is free.
func place(places chan struct{}) (leave func(), ok bool) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, true
	default:
		return nil, false
	}
}

// slack is how long a device that is a little early waits instead of being refused.
const slack = 500 * time.Millisecond

// take waits until n scans may pass: as long as n of them need at the device's rate, and
// a little. Else wait says when to ask again; nothing is spent then.
func (d *pace) take(ctx context.Context, rate ratelimit.Rate, n int) (wait time.Duration, err error) {
	need := time.Duration(float64(n) / rate.PerSecond() * float64(time.Second))
	ctx, cancel := context.WithTimeout(ctx, need+slack)
	defer cancel()
	err = d.limiter.Take(ctx, service, n)
	if errors.Is(err, ratelimit.ErrTooLate) || errors.Is(err, context.DeadlineExceeded) {
		return max(need, time.Second), err
	}
	return 0, err
}
