package worker

import (
	"context"
	"slices"
	"sync"
	"time"

	"decom/nmvs"
	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// item is one scan on its way through the loop.
type item struct {
	queue.Delivery
	e        scan.Event
	p        scan.Pack
	rejected *Rejection
	repaired bool
	read     *reading // what a verify answered, once it did
	trace    string   // traceparent of its spans; "": nothing is told
}

// claim is a fact that waits for the next record. looked is how many facts the
// attempt had when a verify began; -1 for a sender's own answer.
type claim struct {
	ledger.Fact
	looked int
	found  *nmvs.Finding // of a verify: the draft concludes from it and the pack's state
}

// loop is the state of one account's loop; everything is owned by its run method
// except senders, whose goroutines only write to ended.
type loop struct {
	*Account
	cfg     Config // the account's, with what changed since: senders and others read Account's
	asks    chan ask
	fetched chan batch
	ended   chan ending // capacity: one for every call that may be in flight or wait for a slot
	senders sync.WaitGroup

	head   ledger.Head // last record known to be on the ledger
	book   *ledger.Book
	bookAt uint64 // sequence up to which the book was fed
	opened *openings
	ours   ownStates

	items    []item  // scans for the next round
	spare    spare   // scans for later ones
	ahead    ahead   // attempts that wait for a slot
	claims   []claim // facts for the next round
	fetching bool
	standby  time.Time // a worker that stands by does not fetch before
	alone    bool      // the last fetch brought scans
	othersAt time.Time // when another worker's record was last read
	reserved int       // slots that the open ask may fill
	inflight int       // calls on their way
	lanes    lanes
	express  express
	held     int // scans sent back at the last count, ageing out
	heldTill time.Time
	sending  map[string]bool   // attempts with a sender of ours
	doubts   map[string]*doubt // what the resolver remembers of open attempts
	dueReads map[scan.PackID]dueRead
	nextDue  time.Time     // when due packs are looked for
	nextFar  time.Time     // when those are looked for whose time a clock ahead of ours wrote, and
	far      []scan.PackID // what was found the last time
	nextLook time.Time     // when an idle loop looks whether others wrote
	hungry   bool          // a due pack or a verify found no slot or token: the next ask leaves it one
	spared   time.Time     // when an ask last did
	recalled uint64        // sequence up to which alerts were counted
	alerts   []time.Time   // of the last hour, that may be our own fault
	haltedAt string        // value of the halt key that we follow
	haltWhy  string        // a halt of ours that has no such value yet

	resumedAt uint64 // sequence of the last resume that was read

	haltRead   *ledger.Fact // the last halt or resume that a synchronisation has read, until one comes to an end and follows it
	haltReadAt uint64       // where it stands

	controls   ledger.Controls // what people set, by the records read
	withheld   withholding     // batches and devices of which nothing new is opened
	tally      *tally          // what the answers say of batches and devices
	paced      paced           // what of it counts
	inUse      Live            // the limits in use
	paused     bool
	busyAt     time.Time // when scans last came
	nextLedger time.Time // when the ledger's end is looked at
}

// ending is what comes back from a goroutine that made a call.
type ending struct {
	c      string // attempt, or "" for a verify scan
	verify bool   // the resolver's
	listed bool   // the resolver's, of the listing
	poll   bool   // of a bulk's result
	bulk   bool   // a submit
	claims []claim
	item   *item
	token  bool // of the single service, for the item's open
	on     bool // the slot has gone to a call that waited for one

	took     time.Duration // of a change call of the single service that was made, and
	answered bool          // whether it has an answer
	due      scan.PackID   // a due pack that was verified, and
	read     *reading      // what that answered, if it did
}

func newLoop(a *Account) *loop {
	return &loop{
		Account: a,
		cfg:     a.cfg,
		asks:    make(chan ask),
		fetched: make(chan batch, 1), // the one batch that is asked for
		ended:   make(chan ending, a.cfg.Parallel+aheadMost),
		lanes:   lanes{size: batchSize{now: 1, max: a.cfg.Batch}},
		sending: map[string]bool{},
		doubts:  map[string]*doubt{}, dueReads: map[scan.PackID]dueRead{},
		opened: newOpenings(),
		ours:   ownStates{},
		tally:  newTally(),
	}
}

// run is the account loop: gates, then one round after another. Every wait is in
// gather; every write to the ledger is in round.
func (l *loop) run(ctx, work context.Context) error {
	if err := l.checkWitness(work); err != nil {
		return ended(ctx, err)
	}
	if err := l.recall(work); err != nil {
		return ended(ctx, err)
	}
	if err := l.synchronise(work); err != nil {
		return ended(ctx, err)
	}
	for {
		if l.latched.Load() {
			if err := l.waitResume(ctx, work); err != nil {
				return ended(ctx, err)
			}
			continue
		}
		now := time.Now()
		l.pulse.beat()
		l.pace(now)
		wake := earlier(earlier(l.resolve(work, now), l.nextPace(now)), now.Add(beatEvery))
		if ctx.Err() == nil && !l.paused {
			l.watch(ctx)
			l.askForScans()
			if !l.fetching {
				wake = earlier(wake, l.nextAsk(now))
			}
		} else if ctx.Err() != nil && l.inflight == 0 && !l.fetching && len(l.claims) == 0 {
			l.sendBack(work)
			return nil
		}
		l.gather(ctx, work, wake)
		if work.Err() != nil {
			return context.Cause(work)
		}
		l.takeSpare(work)
		if err := l.round(work); err != nil {
			return ended(ctx, err)
		}
	}
}

// ended tells a wanted end from an unwanted one.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// askForScans is S0, the gates: only what has a slot and a token is fetched, and
// nothing while the breaker is not closed.
func (l *loop) askForScans() {
	if l.fetching || len(l.items) > 0 || l.tooManyHeld() {
		return
	}
	now := time.Now()
	rank := l.deps.Rank()
	if rank > 0 && now.Before(l.standby) {
		return // the worker that serves the account gets the scans; this one only looks now and then
	}
	if !l.alone || now.Sub(l.othersAt) < standbyQuiet {
		l.standby = now.Add(time.Duration(rank) * standbyPause)
	}
	r := l.capacity(0)
	r.singles = min(r.singles, max(0, l.free())) // what is opened ahead is fetched ahead
	if l.express.stop != nil && r.singles > 1 {
		r.singles-- // kept for people at scanners
	}
	if r.total() == 0 && l.wantAhead(now, rank) {
		l.fetching = true
		l.asks <- ask{ahead: l.cfg.Parallel}
		return
	}
	if r.total() == 0 || r.packs == 0 && l.onlyBulk() {
		return
	}
	if l.hungry && r.packs > 0 && now.Sub(l.spared) >= tokenPause {
		// Due packs found no room beside the scans of a bulk, and they are older: this one is theirs.
		l.hungry, l.spared, l.nextDue = false, now, now
		return
	}
	keep := 0
	if l.hungry && r.singles > 0 {
		keep, r.singles = 1, r.singles-1
	}
	l.fetching, l.reserved = true, r.singles
	if r.packs > 0 {
		l.reserved++
	}
	l.asks <- ask{singles: r.singles, tokens: l.lanes.tokens, packs: r.packs, keep: keep, onlyPacks: l.onlyBulk()}
	l.lanes.tokens = 0
}

// nextAsk is when a loop that could not ask tries again: soon for want of room or a token.
// One that stands by sleeps until its turn, or until it looks at what others wrote: a worker
// stands by for thousands of accounts.
func (l *loop) nextAsk(now time.Time) time.Time {
	if l.deps.Rank() > 0 && now.Before(l.standby) && now.Before(l.nextLook) {
		return earlier(l.standby, l.nextLook)
	}
	return now.Add(tokenPause)
}

// standbyPause is the time between two fetches of the first worker that stands by; the
// next ones wait longer. Ranks are advice: a worker that died leaves the fleet and the
// next one moves up.
const standbyPause = 2 * time.Second

// standbyQuiet is how long nobody else must have written before a worker that stands by
// and gets scans serves the account as if it were the first: a worker that was killed is
// counted as alive until its heartbeat ends.
const standbyQuiet = 2 * time.Second

func (l *loop) tooManyHeld() bool {
	if time.Now().After(l.heldTill) {
		l.held = 0
	}
	return l.held > l.cfg.MaxHeld
}

// gather waits until there is something to do, then takes all that is there: answers
// that arrived during an append share the next record.
func (l *loop) gather(ctx, work context.Context, wake time.Time) {
	defer l.serveWaiting()
	if since := l.ahead.first(); !since.IsZero() {
		wake = earlier(wake, since.Add(l.cfg.TSend))
	}
	still := l.latched.Load()
	if !still && !l.paused && ctx.Err() == nil {
		wake = earlier(wake, l.nextDue)
	}
	if len(l.items) == 0 && (still || len(l.claims)+len(l.tally.found) == 0) && time.Now().Before(wake) {
		stopping := ctx.Done()
		if ctx.Err() != nil {
			stopping = nil
		}
		timer := time.NewTimer(time.Until(wake))
		defer timer.Stop()
		l.takeNext(timer.C, stopping, work.Done())
		if work.Err() != nil {
			return
		}
	}
	for more := (<-chan time.Time)(nil); ; {
		select {
		case b := <-l.fetched:
			l.take(b)
		case e := <-l.ended:
			l.settle(e)
		case d := <-l.watched():
			l.takeLive(d)
		default:
			if !l.mayGatherMore() {
				return
			}
			if more == nil {
				timer := time.NewTimer(gatherMore)
				defer timer.Stop()
				more = timer.C
			}
			if !l.takeNext(more, nil, work.Done()) {
				return
			}
		}
	}
}

// takeNext waits for what comes next, and takes it. false: it was a sign that the wait is over.
func (l *loop) takeNext(timer <-chan time.Time, stopping, over <-chan struct{}) bool {
	select {
	case b := <-l.fetched:
		l.take(b)
	case e := <-l.ended:
		l.settle(e)
	case d := <-l.watched():
		l.takeLive(d)
	case <-l.wake:
		return false
	case <-timer:
		return false
	case <-stopping:
		return false
	case <-over:
		return false
	}
	return true
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// take is S1, decode: nothing is trimmed, nothing is changed in case.
func (l *loop) take(b batch) {
	l.fetching, l.reserved = false, 0
	l.lanes.tokens += b.tokens
	if l.hungry && time.Since(l.spared) >= tokenPause { // once a pause: a spared token that is of no use must not spin
		l.hungry, l.spared, l.nextDue = false, time.Now(), time.Now()
	}
	l.lanes.backlog, l.lanes.asked, l.alone = 0, 0, len(b.deliveries) > 0
	if n := len(b.deliveries); n > 0 {
		l.busyAt = time.Now()
		l.lanes.backlog, l.lanes.asked = b.deliveries[n-1].Backlog(), b.packs
	}
	to := &l.items
	if b.ahead && len(b.deliveries) > 0 {
		to, l.spare.at = &l.spare.items, time.Now()
	}
	*to = slices.Grow(*to, len(b.deliveries))
	for _, d := range b.deliveries {
		*to = append(*to, l.readItem(d))
	}
}

func (l *loop) readItem(d queue.Delivery) item {
	it := item{Delivery: d}
	var err error
	it.e, err = scan.Decode(d.Data(), d.Meta())
	it.trace = l.traces.begin(d, &it.e)
	if err != nil {
		it.rejected = &Rejection{Reason: scan.MalformedScan, Detail: err.Error()}
		return it
	}
	var r Reading
	r, it.rejected = l.cfg.Devices.Read(it.e, time.Now())
	it.p, it.repaired = r.Pack, r.Repaired
	return it
}

// settle takes back a slot, unless another call has it already, and what the call brought.
func (l *loop) settle(e ending) {
	if !e.on {
		l.inflight--
	}
	if e.took > 0 {
		l.ahead.learn(e.took, e.answered, time.Now(), l.cfg.grace(ledger.Single))
	}
	switch d := l.doubts[e.c]; {
	case e.poll:
		l.polled(e)
	case !e.verify:
		delete(l.sending, e.c)
		if e.bulk && len(e.claims) == 0 {
			l.lanes.size.bad() // in doubt
		}
	case d != nil:
		d.busy, d.listed = false, d.listed || e.listed
		if len(e.claims) == 0 && !e.listed {
			d.unanswered(time.Now())
		}
	}
	if e.due != "" {
		l.tookDueRead(e.due, e.read, time.Now())
	}
	l.claims = append(l.claims, e.claims...)
	if e.token {
		l.lanes.tokens++
	}
	if e.item != nil {
		l.items = append(l.items, *e.item)
	}
}

// sendBack gives up the scans that were fetched and not decided: another worker gets
// them at once.
func (l *loop) sendBack(work context.Context) {
	for i := range l.items {
		_ = l.items[i].RetryAfter(work, 0) // not recorded: the stream still holds it
	}
	l.items = nil
	l.dropSpare(work)
	l.giveBackTokens()
}
