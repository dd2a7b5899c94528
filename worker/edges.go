package worker

import (
	"context"
	"time"

	"decom/nmvs"
	"decom/queue"
	"decom/ratelimit"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// Scans is an account's consumer of scan events. Fetch returns 1 to max deliveries,
// never more; it blocks until there is one or ctx ends. One caller at a time.
type Scans interface {
	Fetch(ctx context.Context, max int, fill time.Duration, priority int) ([]queue.Delivery, error)
	// Watch hands out scans as they are published, past the backlog, until ctx ends.
	// Fetch delivers them once more; settling what Watch gave does nothing.
	Watch(ctx context.Context, fn func(queue.Delivery)) error
}

// Records is an account's ledger. Append is compare-and-set on prev: won returns
// the new head, lost is [queue.ErrLost]; it comes back with anything else only when
// ctx ended. One append at a time; payload is the caller's again when it returns.
type Records interface {
	Append(ctx context.Context, prev ledger.Head, payload []byte) (ledger.Head, error)
	Last(ctx context.Context) (queue.Entry, bool, error)
	Get(ctx context.Context, seq uint64) (queue.Entry, error)
	Read(ctx context.Context, from uint64, fn func(queue.Entry) error) (uint64, error)
	Since(ctx context.Context, t time.Time) (seq uint64, found bool, err error)
}

// PackState is the projection of ledgers in Redis (protocol.md section 2.3). It is
// never authority; it is the second witness of a ledger that loses its tail.
type PackState interface {
	View(ctx context.Context, account string, at ledger.Head, ks []scan.PackID) (packstate.Status, ledger.States, error)
	Apply(ctx context.Context, account string, prev, next ledger.Head, states ledger.States, idx ledger.Index) (packstate.Status, error)
	Head(ctx context.Context, account string) (ledger.Head, bool, error)
	Begin(ctx context.Context, account string) (packstate.Status, error)
	OpenSeqs(ctx context.Context, account string) (map[uint64]int, error)
	Due(ctx context.Context, account string, now int64, max int) ([]scan.PackID, error)
	Halt(ctx context.Context, account, why string) error
	Unhalt(ctx context.Context, account, why string) (left string, err error)
	Halted(ctx context.Context, account string) (why string, halted bool, err error)
	SaveControls(ctx context.Context, account string, c ledger.Controls) error
	Controls(ctx context.Context, account string) (ledger.Controls, error)
	SaveHead(account string, h ledger.Head) error
	LoadHead(account string) (ledger.Head, bool, error)
}

// Owners says which account holds a pack where several accounts share one store
// (protocol.md section 6). It is advice, never authority.
type Owners interface {
	// Own returns the account that holds each pack; a free one is given to account.
	Own(ctx context.Context, account string, ks []scan.PackID) (map[scan.PackID]string, error)
	// Take moves a pack from one account to another, if it still is from's, and says who holds it then.
	Take(ctx context.Context, k scan.PackID, from, to string) (holder string, err error)
	// Peek returns what an account's projection says of packs, whatever its head.
	Peek(ctx context.Context, account string, ks []scan.PackID) (ledger.States, error)
}

// NMVS is the repository as one account sees it: the breaker over the client. Do is
// one attempt on the wire. Admit says how many calls may start now.
type NMVS interface {
	Do(ctx context.Context, call nmvs.Call) (nmvs.Answer, error)
	Digest(call nmvs.Call) string
	Admit(svc nmvs.Service) int
}

// Limiter is the account's share of NMVS's frequency limit. Take returns when n calls
// may start; TryTake never waits.
type Limiter interface {
	Take(ctx context.Context, service string, n int) error
	TryTake(service string, n int) int
	Return(service string, n int)
	TooFast(service string, began time.Time, retryAfter time.Duration)
	Succeeded(service string, began time.Time)
	// Parallel is how many calls at once are of use now, at most most.
	Parallel(most int) int
	SetLimits(limits map[string]ratelimit.Rate) error
}

// Outbox gives an account's records once, in order, to whoever publishes outcomes;
// several processes may share it.
type Outbox interface {
	Next(ctx context.Context) (queue.OutboxRecord, error)
}

// Outcomes is the stream of outcomes. The bodies are the caller's again when PublishOutcomes
// returns.
type Outcomes interface {
	PublishOutcomes(ctx context.Context, outs []queue.Outcome) ([]queue.Ack, error)
	OutcomesSince(ctx context.Context, since time.Time, sites []string, fn func(ref string, body []byte) error) error
}

// Hooks are called at the steps of the loop; nil funcs are skipped. They must not
// block: they run on the loop's goroutine, or a sender's.
type Hooks struct {
	Step    func(step string)                                        // before each step that can be the last: S4, S5, S6, S7, ...
	Scan    func(op scan.Op, result scan.Result, reason scan.Reason) // a final word was recorded
	Call    func(svc string, class nmvs.Class, took time.Duration)   // a call ended
	Batch   func(svc string, packs int)                              // an attempt was opened
	Open    func(Load)                                               // after each round
	Held    func(n int)                                              // scans held at the moment
	Halted  func(halted bool, why string)                            // the account stopped, or goes on
	Paced   func(Pace)                                               // a pause, a tune or another configuration counts from now on
	Trouble func(what string, err error)                             // something outside fails; the loop waits and goes on
	Alert   func(device string, reason scan.Reason, alertID string)  // an alert was recorded
	Trace   Tracer                                                   // follows single scans; nil: nobody does, and it costs nothing
}

// Load is what an account has on its way, after a round. Packs are counted in all
// processes' attempts; calls are this process's.
type Load struct {
	Calls     int    // in flight
	Sending   int    // packs of attempts that a sender of ours is busy with
	Submitted int    // packs of bulks that wait for their result
	InDoubt   int    // packs of attempts without an answer, or with another process's sender
	NextBulk  int    // packs that the next bulk may take
	Backlog   uint64 // scans behind the last delivery
	Withheld  int    // scans of withheld batches and devices that this process sent back to wait
}
