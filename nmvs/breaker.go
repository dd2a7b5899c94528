package nmvs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Sender is the method that [Client] and [Breaker] share.
type Sender interface {
	Do(ctx context.Context, call Call) (Answer, error)
}

// BreakerConfig says when to stop calling. Zero fields take their defaults.
type BreakerConfig struct {
	// Services that have a breaker; default [Single], [Bulk], [Mixed] and [Support].
	Services []Service
	// Failures in a row that open a service's breaker; default 5. Each may be a
	// call in doubt, so fewer is safer and more is calmer.
	Failures int
	// OpenFor is how long it stays open before a ping may close it; default 30 s.
	OpenFor time.Duration
	// Ramp is the number of calls in flight from which on a breaker that closed
	// again limits no more; default 64. It starts at 1 and doubles with each success.
	Ramp int
	// Stamp names the present credentials ([Client.Stamp]). When it changes after
	// a login failure, one call may try them. nil: only [Breaker.Reset] helps.
	Stamp func() string
	// OnChange, if set, is told of every change, in order, after it happened and
	// under no lock. It must not block.
	OnChange func(Service, BreakerStatus)
}

// Validate reports every problem.
func (c BreakerConfig) Validate() error {
	var errs []error
	if c.Failures < 0 || c.OpenFor < 0 || c.Ramp < 0 {
		errs = append(errs, errors.New("breaker: failures, open_for and ramp must not be negative"))
	}
	for _, s := range c.Services {
		if int(s) >= len(serviceNames) {
			errs = append(errs, fmt.Errorf("breaker: %s is not a service", s))
		}
	}
	return errors.Join(errs...)
}

// BreakerState is the state of one service's breaker. The words are metric labels.
type BreakerState string

// The states.
const (
	BreakerClosed   BreakerState = "closed"
	BreakerHalfOpen BreakerState = "half_open" // waits for a ping to prove that NMVS is back
	BreakerOpen     BreakerState = "open"
)

// BreakerStatus is a breaker's state, since when, and why it last opened.
type BreakerStatus struct {
	State BreakerState
	Since time.Time
	Cause error // nil while closed for the first time
	// Login says that the whole account is stopped by a login failure.
	Login bool
}

// ErrOpen marks a call that the breaker did not let out.
var ErrOpen = errors.New("circuit breaker is open")

// Unlimited is what [Breaker.Admit] says when the breaker limits nothing.
const Unlimited = math.MaxInt

// Breaker stops calls to a service that is down, and all calls of an account
// whose login failed. It counts only what speaks of NMVS's health: a business
// refusal is a healthy answer; a call that its own guard or context stopped says
// nothing. Only a ping may find out whether a service is back, never a pack.
// Safe for concurrent use.
//
// The login latch is apart from health: it opens at the first login failure, since
// a few more would lock the account, and only Reset or new credentials
// release it. Then one call at a time is let out until one has an answer.
type Breaker struct {
	next Sender
	cfg  BreakerConfig

	mu      sync.Mutex // guards the rest; not held during calls and hooks
	lines   map[Service]*line
	login   error // of the failure that stopped the account, nil if it runs
	loginAt time.Time
	stamp   string // of the credentials that failed
	trial   bool   // credentials are new: one call at a time
	trying  int    // calls in flight during trial
	changes []change
	telling sync.Mutex // held while changes are told, so that they arrive in order
	wake    chan struct{}
}

// line is the breaker of one service.
type line struct {
	cb      *gobreaker.TwoStepCircuitBreaker[struct{}]
	state   gobreaker.State // last seen
	since   time.Time
	cause   error
	lastErr error
	ramp    int // calls in flight allowed since it closed; 0 = no limit any more
	flying  int

	openedAt time.Time
	relapses int // times that it opened again during the ramp
}

type change struct {
	svc    Service
	status BreakerStatus
}

// NewBreaker returns a closed breaker in front of next.
func NewBreaker(next Sender, cfg BreakerConfig) (*Breaker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Services == nil {
		cfg.Services = Services()
	}
	if cfg.Failures == 0 {
		cfg.Failures = 5
	}
	if cfg.OpenFor == 0 {
		cfg.OpenFor = 30 * time.Second
	}
	if cfg.Ramp == 0 {
		cfg.Ramp = 64
	}
	b := &Breaker{next: next, cfg: cfg, lines: map[Service]*line{}, wake: make(chan struct{}, 1)}
	for _, svc := range cfg.Services {
		ln := &line{since: time.Now()}
		b.lines[svc] = ln
		ln.cb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
			Name:    svc.String(),
			Timeout: cfg.OpenFor,
			ReadyToTrip: func(n gobreaker.Counts) bool {
				// A service that answers pings and hangs on packs costs one call in doubt
				// each time it closes: the first failure of a ramp is enough.
				return int(n.ConsecutiveFailures) >= cfg.Failures || ln.ramp > 0 && n.ConsecutiveFailures > 0
			},
			IsExcluded: func(err error) bool { return errors.Is(err, errSaysNothing) },
			// No OnStateChange: it runs under gobreaker's lock. observe compares states.
		})
	}
	return b, nil
}

// errSaysNothing is reported for a call that does not speak of NMVS's health.
var errSaysNothing = errors.New("says nothing of health")

// errSick is reported for a failure.
var errSick = errors.New("sick")

// Do sends the call through the client, if the breaker lets it out; if not the
// class is [NotSent] and the error is [ErrOpen]. Pings pass always: they are how
// people look at a service; only [Breaker.Probe] lets one close the breaker.
func (b *Breaker) Do(ctx context.Context, call Call) (Answer, error) {
	if call.Act == ActPing {
		return b.next.Do(ctx, call)
	}
	done, err := b.enter(call.Service)
	if err != nil {
		return Answer{C: call.C, Finding: Finding{Class: NotSent}}, &Error{C: call.C, Class: NotSent, Err: err}
	}
	var ans Answer
	err = errSaysNothing // stays if the call panics
	defer func() { done(ctx, ans, err) }()
	ans, err = b.next.Do(ctx, call)
	return ans, err
}

// enter asks for leave to call. done must be called once.
func (b *Breaker) enter(svc Service) (done func(context.Context, Answer, error), err error) {
	defer b.tell()
	stamp := ""
	if b.cfg.Stamp != nil {
		stamp = b.cfg.Stamp() // of the credentials that this call goes out with
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	ln, ok := b.lines[svc]
	if !ok {
		return nil, fmt.Errorf("%s service: %w", svc, ErrNotConfigured)
	}
	if b.stopped() || b.trial && b.trying > 0 {
		return nil, fmt.Errorf("%w: %w", ErrOpen, b.login)
	}
	if b.observe(svc, ln) != gobreaker.StateClosed {
		return nil, fmt.Errorf("%w: %s: %w", ErrOpen, svc, ln.cause)
	}
	report, err := ln.cb.Allow()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrOpen, svc, err)
	}
	ln.flying++
	trying := b.trial
	if trying {
		b.trying++
	}
	return func(ctx context.Context, a Answer, err error) {
		b.leave(ctx, svc, ln, report, trying, stamp, a, err)
	}, nil
}

func (b *Breaker) leave(ctx context.Context, svc Service, ln *line, report func(error), trying bool, stamp string, a Answer, err error) {
	defer b.tell()
	verdict := health(ctx, a, err)
	b.mu.Lock()
	defer b.mu.Unlock()
	ln.flying--
	if trying {
		b.trying--
	}
	if verdict != nil {
		ln.lastErr = err
	}
	report(verdict)
	b.observe(svc, ln)
	switch {
	case a.Class == Login && !errors.Is(err, errSaysNothing):
		b.stop(err, stamp)
	case verdict == nil:
		if trying {
			b.trial, b.login = false, nil
			b.note()
		}
		if ln.ramp > 0 {
			if ln.ramp *= 2; ln.ramp >= b.cfg.Ramp {
				ln.ramp, ln.relapses = 0, 0
			}
		}
	}
}

// health says what a call's end tells of the service: nil for well.
func health(ctx context.Context, a Answer, err error) error {
	switch {
	case errors.Is(err, errSaysNothing), errors.Is(err, ErrGuard), errors.Is(err, ErrStopped),
		errors.Is(err, ErrCall), errors.Is(err, ErrNotConfigured), errors.Is(err, ErrBytes):
		return errSaysNothing // our own doing, or fault; NMVS was not asked
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return errSaysNothing // whatever it says, we ended it
	}
	switch a.Class {
	case InDoubt, NotSent, Setup:
		return errSick
	case Login:
		return errSaysNothing // the latch's business
	}
	return nil // too fast, busy, format: somebody is at home
}

// observe looks at the state, which changes by time too, and notes a change.
func (b *Breaker) observe(svc Service, ln *line) gobreaker.State {
	s := ln.cb.State()
	if s == ln.state {
		return s
	}
	if s == gobreaker.StateOpen {
		ln.cause, ln.openedAt = ln.lastErr, time.Now()
		if ln.ramp > 0 {
			ln.relapses = min(ln.relapses+1, maxRelapses)
		}
		ln.ramp = 0
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	if s == gobreaker.StateClosed {
		ln.ramp = 1
	}
	ln.state, ln.since = s, time.Now()
	b.changes = append(b.changes, change{svc, b.status(ln)})
	return s
}

// maxRelapses bounds the waiting of a breaker that opens again and again: 16 times
// OpenFor.
const maxRelapses = 4

// pingAt is when a ping may try to close an open breaker: each relapse doubles the wait.
func (b *Breaker) pingAt(ln *line) time.Time {
	return ln.openedAt.Add(b.cfg.OpenFor << ln.relapses)
}

// stop latches the account for the credentials of that stamp. Files that were changed
// while the call was on its way are new ones: they have not failed.
func (b *Breaker) stop(err error, stamp string) {
	first := b.login == nil || b.trial
	b.trial, b.login, b.loginAt = false, err, time.Now()
	b.stamp = stamp
	if first {
		b.note()
	}
}

func (b *Breaker) note() {
	for _, svc := range b.cfg.Services {
		b.changes = append(b.changes, change{svc, b.status(b.lines[svc])})
	}
}

// stopped says whether the login latch holds. New credentials turn it into a trial.
func (b *Breaker) stopped() bool {
	if b.login == nil {
		return false
	}
	if !b.trial && b.cfg.Stamp != nil && b.cfg.Stamp() != b.stamp {
		b.trial = true
		b.note()
	}
	return !b.trial
}

// Reset releases the login latch: a person says that the credentials are good
// again. One call at a time may go until one has an answer.
func (b *Breaker) Reset() {
	defer b.tell()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.login != nil && !b.trial {
		b.trial = true
		b.note()
	}
}

// Admit says how many calls may start on the service now, beside those in flight:
// 0 when the breaker is not closed, [Unlimited] when it limits nothing. Take only so
// many packs to work: the breaker refuses the rest.
func (b *Breaker) Admit(svc Service) int {
	defer b.tell()
	b.mu.Lock()
	defer b.mu.Unlock()
	ln, ok := b.lines[svc]
	if !ok || b.stopped() || b.observe(svc, ln) != gobreaker.StateClosed {
		return 0
	}
	n := Unlimited
	if ln.ramp > 0 {
		n = max(ln.ramp-ln.flying, 0)
	}
	if b.trial {
		n = min(n, max(1-b.trying, 0))
	}
	return n
}

// Status returns the service's state for metrics and people.
func (b *Breaker) Status(svc Service) BreakerStatus {
	defer b.tell()
	b.mu.Lock()
	defer b.mu.Unlock()
	ln, ok := b.lines[svc]
	if !ok {
		return BreakerStatus{State: BreakerClosed}
	}
	b.stopped()
	b.observe(svc, ln)
	return b.status(ln)
}

func (b *Breaker) status(ln *line) BreakerStatus {
	if b.login != nil {
		s := BreakerStatus{State: BreakerOpen, Since: b.loginAt, Cause: b.login, Login: true}
		if b.trial {
			s.State = BreakerHalfOpen
		}
		return s
	}
	s := BreakerStatus{Since: ln.since, Cause: ln.cause}
	switch ln.state {
	case gobreaker.StateOpen:
		s.State = BreakerOpen
	case gobreaker.StateHalfOpen:
		s.State = BreakerHalfOpen
	default:
		s.State = BreakerClosed
	}
	return s
}

// tell calls the hook for the changes that were noted, under no lock that a
// breaker's method waits for. Who finds another telling leaves its changes to it.
func (b *Breaker) tell() {
	for b.cfg.OnChange != nil && b.pending() && b.telling.TryLock() {
		for list := b.take(); len(list) > 0; list = b.take() {
			for _, c := range list {
				b.cfg.OnChange(c.svc, c.status)
			}
		}
		b.telling.Unlock()
	}
}

func (b *Breaker) pending() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.changes) > 0
}

func (b *Breaker) take() []change {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.changes
	b.changes = nil
	return list
}
