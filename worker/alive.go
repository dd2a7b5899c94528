package worker

import (
	"errors"
	"sync"
	"time"
)

// pulse says whether an account's loop is alive, and whether it waits for the ledger. The
// loop beats before each round and at each try of a store; a wait for a record to be stored
// may take for as long as the server's disk is full, and is no sign of death. Readers
// are other goroutines.
type pulse struct {
	mu      sync.Mutex
	running bool      // guarded by mu, as the rest
	beatAt  time.Time // monotonic: a suspended machine must not look like a dead loop
	waiting bool      // inside an append
	began   time.Time // of that append
}

// beatEvery is the longest time between two rounds of a loop that has nothing to do.
const beatEvery = 10 * time.Second

func (p *pulse) beat() {
	p.mu.Lock()
	p.beatAt = time.Now()
	p.mu.Unlock()
}

func (p *pulse) run(on bool) {
	p.mu.Lock()
	p.running, p.beatAt, p.waiting = on, time.Now(), false
	p.mu.Unlock()
}

func (p *pulse) append(on bool) {
	p.mu.Lock()
	p.waiting, p.began, p.beatAt = on, time.Now(), time.Now()
	p.mu.Unlock()
}

// Stuck returns for how long the loop has not moved, 0 while it runs as it should, waits for
// a store, or does not run at all. Limit is what counts as stuck; a loop that does well
// moves every ten seconds and more often. Any goroutine may call it.
func (a *Account) Stuck(limit time.Duration) time.Duration {
	p := &a.pulse
	p.mu.Lock()
	defer p.mu.Unlock()
	if still := time.Since(p.beatAt); p.running && !p.waiting && still > limit {
		return still
	}
	return 0
}

// LedgerWaits returns for how long a record has been waiting to be stored, 0 when none does
// for longer than a server needs: then NATS is away, or its disk is full. Any goroutine may
// call it.
func (a *Account) LedgerWaits() time.Duration {
	p := &a.pulse
	p.mu.Lock()
	defer p.mu.Unlock()
	if wait := time.Since(p.began); p.waiting && wait >= appendPatience {
		return wait
	}
	return 0
}

// appendPatience is how long an append may take in silence; it goes on for as long as it
// takes.
const appendPatience = 5 * time.Second

var errSlowAppend = errors.New("a record is not stored yet: is the server's disk full?")

// slowAppend tells of an append that is not answered, again and again until it ends.
type slowAppend struct {
	mu    sync.Mutex
	timer *time.Timer // guarded by mu
	ended bool        // guarded by mu
}

func (a *Account) beginAppend() *slowAppend {
	a.pulse.append(true)
	s := &slowAppend{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(appendPatience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.ended {
			a.trouble("ledger", errSlowAppend)
			s.timer.Reset(appendPatience)
		}
	})
	return s
}

func (a *Account) endAppend(s *slowAppend) {
	s.mu.Lock()
	s.ended = true
	s.timer.Stop()
	s.mu.Unlock()
	if wait := a.LedgerWaits(); wait > 0 {
		a.log.Info("the wait for the ledger is over", "after", wait.Round(time.Second).String())
	}
	a.pulse.append(false)
}
