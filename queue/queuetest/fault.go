package queuetest

import (
	"errors"
	"math/rand/v2"
)

// Fault is one way in which the broker fails. They come in pairs: without effect,
// and with it.
type Fault int

// The faults.
const (
	AppendFails  Fault = iota + 1 // a plain error; not stored, and never will be
	AppendNot                     // queue.ErrUnknown; not stored, and never will be
	AppendStored                  // queue.ErrUnknown; stored
	AppendLate                    // queue.ErrUnknown; arrives just before the account's next append
	AckFails                      // an error; no effect
	AckLost                       // no error; no effect: the scan comes again
	AckStored                     // an error; acked
	FetchFails                    // an error; nothing delivered
	FetchLost                     // an error; delivered, on the way to nobody, until AckWait is over
	FetchTwice                    // the newest scan of the batch comes again at once, though it is out
	ReadFails                     // an error from Last, Get or Read
	OutcomeFails                  // an error; not stored
	OutcomeLost                   // an error; stored
	OutboxLost                    // Ack of an outbox record: no error, no effect

	lastFault = OutboxLost
)

// ErrInjected is the cause of every error that a fault makes.
var ErrInjected = errors.New("injected fault")

// faults decides what fails. All fields are guarded by the broker's mu.
type faults struct {
	script [lastFault + 1]int // how many of the next occasions fail
	rate   [lastFault + 1]float64
	rand   *rand.Rand
	n      [lastFault + 1]int // how many did
}

// Fail has the next n occasions of a fault fail.
func (b *Broker) Fail(f Fault, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults.script[f] += n
}

// Random has each occasion of these faults fail with probability rate, the same ones
// for the same seed and order of calls. A rate of 0 ends it. Scripted faults count on.
func (b *Broker) Random(seed uint64, rate float64, fs ...Fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults.rand = rand.New(rand.NewPCG(seed, seed))
	for _, f := range fs {
		b.faults.rate[f] = rate
	}
}

// Failed counts how often a fault happened: a test whose fault never does proves nothing.
func (b *Broker) Failed(f Fault) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.faults.n[f]
}

// hit says whether this occasion fails. The caller holds the broker's mu.
func (x *faults) hit(f Fault) bool {
	yes := x.script[f] > 0
	if yes {
		x.script[f]--
	} else if x.rate[f] > 0 {
		yes = x.rand.Float64() < x.rate[f]
	}
	if yes {
		x.n[f]++
	}
	return yes
}

// first returns the first of fs that happens now, or 0.
func (x *faults) first(fs ...Fault) Fault {
	for _, f := range fs {
		if x.hit(f) {
			return f
		}
	}
	return 0
}
