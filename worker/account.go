package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"decom/worker/ledger"
)

// Deps is what an account's loop works with. Every field but Owners, Rank, Log and
// Hooks is needed.
type Deps struct {
	Scans   Scans
	Records Records
	State   PackState
	NMVS    NMVS
	Limiter Limiter
	Owners  Owners     // nil: this process serves one account, nobody shares the store
	Rank    func() int // place of this worker for the account, 0 = first; nil = 0
	Log     *slog.Logger
	Hooks   Hooks
}

// Account is the loop of one NMVS login: it owns every goroutine that works for it.
// Several processes may run the same account at once; the ledger's compare-and-set
// keeps them apart (protocol.md section 3).
type Account struct {
	cfg  Config
	deps Deps
	log  *slog.Logger

	broken atomic.Bool // a record does not follow the one before it: the loop must halt

	// The three below are read by senders, written by the loop.
	head     atomic.Pointer[ledger.Head] // last record known to be on the ledger and projected
	latched  atomic.Bool                 // HALT: no byte leaves
	draining atomic.Bool                 // what is unsent stays unsent
	behind   atomic.Bool                 // a sender found Redis ahead of head: the loop must synchronise
	hurried  atomic.Bool                 // somebody says that the ledger has news
	writing  atomic.Bool                 // the loop is between append and apply: Redis may be ahead of head for a moment
	live     atomic.Pointer[Live]        // as configured now
	moves    headMoves                   // tells senders that head has moved

	recent recent  // what the loop wrote lately
	traces *Traces // nil: nobody traces
	pulse  pulse

	troubles troubles // any goroutine

	wake chan struct{} // capacity 1: somebody wants the loop to look again

	piecePacks int // different packs that a synchronisation projects by one call; 0: as many as one takes; tests make it small
}

// New returns the loop of one account. It starts nothing.
func New(cfg Config, deps Deps) (*Account, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Scans == nil || deps.Records == nil || deps.State == nil || deps.NMVS == nil || deps.Limiter == nil {
		return nil, errors.New("worker: a collaborator of account " + cfg.Account + " is missing")
	}
	if deps.Rank == nil {
		deps.Rank = func() int { return 0 }
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	a := &Account{
		cfg: cfg.withDefaults(), deps: deps, log: deps.Log.With("account", cfg.Account),
		wake: make(chan struct{}, 1), traces: newTraces(deps.Hooks.Trace, cfg.Account),
	}
	base := a.cfg.live()
	a.live.Store(&base)
	return a, nil
}

// Wake makes the loop look at its gates again: a breaker closed, a pause ended. Any
// goroutine may call it; it never blocks.
func (a *Account) Wake() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Halted says whether the account waits for a person's resume.
func (a *Account) Halted() bool { return a.latched.Load() }

// errDrained ends the work that a drain had no time for.
var errDrained = errors.New("drain deadline passed")

// Run serves the account until ctx ends, then drains: nothing more is taken in, what
// is unsent stays unsent, what was sent gets its answer recorded, within
// THTTP + Drain. It returns nil after a drain.
func (a *Account) Run(ctx context.Context) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		a.draining.Store(true)
		limit := max(a.cfg.THTTPSingle, a.cfg.THTTPBulk) + a.cfg.Drain
		time.AfterFunc(limit, func() { cancel(errDrained) })
		a.Wake()
	})
	defer stop()

	a.pulse.run(true)
	l := newLoop(a)
	var wg sync.WaitGroup
	fetching, endFetch := context.WithCancel(ctx)
	wg.Go(func() { a.fetchLoop(fetching, l.asks, l.fetched) })
	err := l.run(ctx, work)
	a.pulse.run(false) // what follows waits for answers, which may take longer than a loop may stand still
	l.ahead.close()
	endFetch()
	if l.express.stop != nil {
		l.express.stop()
	}
	close(l.asks)
	l.awaitSenders()
	wg.Wait()
	return err
}

// awaitSenders waits for calls whose answers nobody takes any more. A tune may have let more
// of them start than the channel holds.
func (l *loop) awaitSenders() {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		l.senders.Wait()
		close(done)
	})
	defer wg.Wait()
	for {
		select {
		case <-l.ended:
		case <-done:
			return
		}
	}
}

// call runs a collaborator's method until it succeeds, work ends, or the error is one of
// final. It says so now and then.
func (a *Account) patiently(work context.Context, what string, f func(context.Context) error, final ...error) error {
	for wait := 50 * time.Millisecond; ; wait = min(wait*2, 5*time.Second) {
		a.pulse.beat()
		ctx, cancel := context.WithTimeout(work, storeTimeout)
		err := f(ctx)
		cancel()
		if err == nil {
			return nil
		}
		for _, e := range final {
			if errors.Is(err, e) {
				return err
			}
		}
		if work.Err() != nil {
			return context.Cause(work)
		}
		a.trouble(what, err)
		select {
		case <-time.After(wait):
		case <-work.Done():
			return context.Cause(work)
		}
	}
}

// storeTimeout bounds one call to NATS or Redis; the callers repeat it.
const storeTimeout = 10 * time.Second

func (a *Account) step(name string) {
	if h := a.deps.Hooks.Step; h != nil {
		h(name)
	}
}
