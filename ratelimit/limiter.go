package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

var (
	// ErrTooLate: the calls could start only at or after the context's deadline. Nothing was spent and nobody waited.
	ErrTooLate = errors.New("ratelimit: no call may start before the deadline")
	// ErrNoLimit: the service has no limit configured. A programming or configuration fault.
	ErrNoLimit = errors.New("ratelimit: service has no limit")
)

// Limiter is the limits of one account in this process. Make one with New.
type Limiter struct {
	cooldown time.Duration

	// guarded by mu
	mu        sync.Mutex
	buckets   map[string]*bucket
	coolUntil time.Time
}

// bucket is one service; guarded by the Limiter's mu.
type bucket struct {
	pace    pace
	tokens  *rate.Limiter // replaced after "too fast": reservations of the old one are void
	credit  int           // given back by Return
	changed chan struct{} // closed when tokens is replaced or the share changes
	waiting int
	waited  time.Duration
	taken   uint64
	tooFast uint64
}

// State is what a Limiter shows of one service, for metrics and status.
type State struct {
	Limit         float64       // calls a second allowed to this process
	Now           float64       // calls a second it may use now; 0 during a cooldown
	Waiting       int           // calls to Take that wait
	Waited        time.Duration // time that all calls to Take together have waited, those that ended
	Taken         uint64        // calls allowed to start, less those given back
	TooFast       uint64        // times NMVS said "too fast"
	CooldownUntil time.Time     // zero when no cooldown is running
	Phase         string        // of an adaptive limiter: growing, falling, searching, steady or probing; else empty
	Holds         float64       // of an adaptive limiter: calls a second that held so far, 0 = none yet
	Took          time.Duration // of an adaptive limiter: what a call takes, 0 = not known
}

// New makes the limiter of one account. Its buckets are empty: the first call of each service may start after one interval.
func New(cfg Config) (*Limiter, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("rate limits: %w", err)
	}
	cfg = cfg.withDefaults()
	now := time.Now()
	l := &Limiter{cooldown: cfg.Cooldown, buckets: make(map[string]*bucket, len(cfg.Limits))}
	for service, limit := range cfg.Limits {
		b := &bucket{pace: pace{limit: limit.PerSecond(), share: cfg.Share, part: 1, least: cfg.MinFraction,
			climb: cfg.Climb, burst: cfg.Burst, gained: now}, changed: make(chan struct{})}
		if cfg.Adaptive {
			b.pace.hunt = newHunt(b.pace.limit, cfg.Cooldown, now)
		}
		b.empty(now)
		l.buckets[service] = b
	}
	return l, nil
}

// empty starts a new bucket with nothing in it at time at.
func (b *bucket) empty(at time.Time) {
	n := b.pace.bucket()
	b.tokens = rate.NewLimiter(rate.Limit(b.pace.now()), n)
	b.tokens.AllowN(at, n)
	b.credit = 0
}

// start counts calls that may start; negative for those given back.
func (b *bucket) start(n int) {
	b.taken += uint64(n)
	if b.pace.hunt != nil {
		b.pace.hunt.started(n)
	}
}

// wake makes everybody who waits ask again.
func (b *bucket) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// start is the earliest time at which anything may start. Every use of a bucket passes a time no earlier than this: the
// token arithmetic of x/time/rate counts a stretch twice when it is given an earlier time after a later one.
func (l *Limiter) start() time.Time {
	now := time.Now()
	if now.Before(l.coolUntil) {
		return l.coolUntil
	}
	return now
}

// Take returns nil when n calls of the service may start now. It waits as long as that needs, in the order of asking, and
// also for more calls than may gather at once. It gives ErrTooLate at once when they could not start before ctx's deadline,
// and the context's error when ctx ends first; in both cases the calls are not counted.
func (l *Limiter) Take(ctx context.Context, service string, n int) error {
	began := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets[service]
	if !ok {
		return fmt.Errorf("%w: %q", ErrNoLimit, service)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if n <= 0 {
		return nil
	}
	b.waiting++
	defer func() {
		b.waiting--
		b.waited += time.Since(began)
	}()
	for {
		t, err := l.reserve(ctx, b, n)
		if err != nil {
			return err
		}
		if started := l.await(ctx, b, t); started {
			b.start(n)
			return nil
		}
		l.cancel(b, t)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// ticket is one caller's place in a bucket.
type ticket struct {
	reserved rate.Reservation
	from     *rate.Limiter
	changed  chan struct{}
	at       time.Time // when the calls may start
	rest     int       // how many of them were reserved
	credit   int       // how many come from what was given back
}

// reserve takes a place for n calls, unless it is past the deadline. Called with mu held.
func (l *Limiter) reserve(ctx context.Context, b *bucket, n int) (ticket, error) {
	now := l.start()
	t := ticket{from: b.tokens, changed: b.changed, at: now, credit: min(n, b.usableCredit(now))}
	t.rest = n - t.credit
	if t.rest > 0 {
		// A place for more than may gather at once is a longer debt, not a larger bucket: the size is back before
		// any time has passed.
		b.tokens.SetBurstAt(now, max(t.rest, b.tokens.Burst()))
		t.reserved = *b.tokens.ReserveN(now, t.rest)
		b.tokens.SetBurstAt(now, b.pace.bucket())
		t.at = now.Add(t.reserved.DelayFrom(now))
	}
	b.credit -= t.credit
	if deadline, ok := ctx.Deadline(); ok && !t.at.Before(deadline) {
		l.cancel(b, t)
		return ticket{}, ErrTooLate
	}
	return t, nil
}

// await waits for the ticket's time without mu, and reports whether the calls may start. Called with mu held.
func (l *Limiter) await(ctx context.Context, b *bucket, t ticket) bool {
	wait := time.Until(t.at)
	if wait <= 0 {
		return true
	}
	l.mu.Unlock()
	timer := time.NewTimer(wait)
	select {
	case <-timer.C:
	case <-t.changed:
	case <-ctx.Done():
	}
	timer.Stop()
	l.mu.Lock()
	return ctx.Err() == nil && t.changed == b.changed
}

// cancel gives a ticket back. Called with mu held.
func (l *Limiter) cancel(b *bucket, t ticket) {
	if t.from != b.tokens {
		return // its bucket is gone
	}
	now := l.start()
	b.credit += t.credit
	if t.at.Before(now) {
		b.credit += t.rest // its time is over: x/time/rate takes nothing back then
		return
	}
	t.reserved.CancelAt(now)
}

// usableCredit gives how much of what was given back counts at a time: never more than fits into the bucket beside what has
// gathered meanwhile.
func (b *bucket) usableCredit(at time.Time) int {
	if b.credit > 0 {
		room := float64(b.tokens.Burst()) - max(0, b.tokens.TokensAt(at))
		b.credit = max(0, min(b.credit, int(math.Ceil(room-1e-9))))
	}
	return b.credit
}

// TryTake takes as many of n calls as may start at once, 0 to n, and gives that number. An unknown service gets 0.
func (l *Limiter) TryTake(service string, n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets[service]
	now := time.Now()
	if !ok || n <= 0 || now.Before(l.coolUntil) {
		return 0
	}
	got := min(n, b.usableCredit(now))
	b.credit -= got
	// The tiny addition is for tokens that floating point made 0.999...; rate rounds the same way.
	if k := min(n-got, int(b.tokens.TokensAt(now)+1e-9)); k > 0 && b.tokens.AllowN(now, k) {
		got += k
	}
	b.start(got)
	return got
}

// Return gives back calls that were allowed and not made (a drain, a lost race for a slot). Best effort: what does not fit
// into the bucket is lost, which only makes the account slower.
func (l *Limiter) Return(service string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets[service]
	if !ok || n <= 0 || time.Now().Before(l.coolUntil) {
		return
	}
	n = int(min(uint64(n), b.taken))
	b.start(-n)
	b.credit += n
	b.usableCredit(l.start())
}

// TooFast is NMVS's answer that the allowed frequency was exceeded, to a call that began at a time (zero: not known), with
// its Retry-After or 0. The service's rate is cut, and nothing of the account starts for the cooldown (or Retry-After, at
// most an hour). Further such answers during a cooldown are of calls that were under way: they can prolong it and do not
// cut again. An adaptive limiter stops for less (Config.Adaptive), and minds no answer to a call from before its last cut.
func (l *Limiter) TooFast(service string, began time.Time, retryAfter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b, ok := l.buckets[service]
	stop := l.cooldown
	if ok {
		b.tooFast++
		if h := b.pace.hunt; h != nil {
			if stop = h.refused(began, now); stop == 0 && retryAfter <= 0 {
				return
			}
		}
	}
	if retryAfter > 0 {
		stop = retryAfter
	}
	if until := now.Add(min(stop, maxCooldown)); until.After(l.coolUntil) {
		l.coolUntil = until
	}
	if ok && b.pace.hunt == nil {
		if now.Before(b.pace.gained) {
			b.pace.gained = l.coolUntil // halved already in this cooldown
		} else {
			b.pace.tooFast(l.coolUntil)
		}
	}
	// All services stop, and none starts with a burst.
	for _, b := range l.buckets {
		if b.pace.hunt != nil {
			b.pace.hunt.rest(l.coolUntil)
		}
		b.empty(l.coolUntil)
		b.wake()
	}
}

// Succeeded is a call that NMVS answered, whatever the answer, but not with "too fast"; it began at a time (zero: not
// known). It lets a reduced rate grow, and an adaptive one look for more.
func (l *Limiter) Succeeded(service string, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets[service]
	if !ok {
		return
	}
	now := time.Now()
	if h := b.pace.hunt; h != nil {
		if h.answered(began, now) {
			l.adopt(b)
			b.wake()
		}
	} else if b.pace.succeeded(now) {
		l.adopt(b)
	}
}

// Parallel is how many calls at once fill the rates of an adaptive limiter, as long as its calls took, at most most. It
// grows with answers only: a service that hangs gets no more calls than it had. most for a limiter that is not adaptive, or
// has seen no answer.
func (l *Limiter) Parallel(most int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	need := 0.0
	for _, b := range l.buckets {
		if b.pace.hunt == nil {
			return most
		}
		need += b.pace.hunt.parallel() * b.pace.share
	}
	if need == 0 {
		return most
	}
	return max(1, min(most, 1+int(math.Ceil(need))))
}

// Adapt begins or ends adapting (Config.Adaptive) and sets the cooldown, 0 for the default. What was learnt stays unless it
// begins or ends. A cooldown that Config does not allow is an error and changes nothing.
func (l *Limiter) Adapt(on bool, cooldown time.Duration) error {
	if err := (Config{Cooldown: cooldown}).Validate(); err != nil {
		return fmt.Errorf("ratelimit: %w", err)
	}
	if cooldown == 0 {
		cooldown = DefaultCooldown
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cooldown = cooldown
	for _, b := range l.buckets {
		switch h := b.pace.hunt; {
		case on && h == nil:
			b.pace.hunt = newHunt(b.pace.limit, cooldown, l.start())
		case on:
			h.longest = cooldown
			continue
		case h == nil:
			continue
		default:
			b.pace.hunt = nil
		}
		l.adopt(b)
		b.wake()
	}
	return nil
}

// SetShare changes this process's part of the limits, above 0 to 1; anything else is an error and changes nothing.
// Those who wait ask again under the new rate; of what had gathered for them no more is kept than fits into the bucket.
func (l *Limiter) SetShare(share float64) error {
	if share == 0 || !partOrZero(share) {
		return fmt.Errorf("ratelimit: share %v: must be above 0, up to 1", share)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.buckets {
		if b.pace.share != share {
			b.pace.share = share
			l.adopt(b)
			b.wake()
		}
	}
	return nil
}

// SetLimits changes the limits of the services named, for the account over the whole fleet; the others keep theirs. What was
// learnt from "too fast" stays: the same part of the new limit is used. A wrong rate, or a service that has no limit, is an
// error and changes nothing. Those who wait ask again under the new rate, and nothing that gathered leaves as a burst.
func (l *Limiter) SetLimits(limits map[string]Rate) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for service, rate := range limits {
		if err := rate.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("ratelimit: limit of %s: %w", service, err))
		}
		if l.buckets[service] == nil {
			errs = append(errs, fmt.Errorf("%w: %q", ErrNoLimit, service))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for service, rate := range limits {
		if b := l.buckets[service]; b.pace.limit != rate.PerSecond() {
			b.pace.limit = rate.PerSecond()
			if h := b.pace.hunt; h != nil {
				h.limit(b.pace.limit, l.start())
			}
			l.adopt(b)
			b.wake()
		}
	}
	return nil
}

// adopt brings a changed pace into the bucket. Called with mu held.
func (l *Limiter) adopt(b *bucket) {
	now := l.start()
	b.tokens.SetLimitAt(now, rate.Limit(b.pace.now()))
	b.tokens.SetBurstAt(now, b.pace.bucket())
}

// State gives what there is to see of a service; the zero State for one that has no limit.
func (l *Limiter) State(service string) State {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets[service]
	if !ok {
		return State{}
	}
	s := State{Limit: b.pace.allowed(), Now: b.pace.now(), Waiting: b.waiting, Waited: b.waited, Taken: b.taken, TooFast: b.tooFast}
	if h := b.pace.hunt; h != nil {
		s.Phase, s.Holds, s.Took = string(h.phase), h.good*b.pace.share, h.took
	}
	if time.Now().Before(l.coolUntil) {
		s.Now, s.CooldownUntil = 0, l.coolUntil
	}
	return s
}
