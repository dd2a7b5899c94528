package worker

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"decom/nmvs"
	"decom/queue/queuetest"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

var (
	seeds     = flag.Uint64("seeds", 50, "random schedules to run")
	fromSeed  = flag.Uint64("seed", 1, "the first of them")
	eachOf    = flag.Uint64("every", 1, "run every n-th of them only: several processes share the work")
	forcePlan = flag.String("plan", "", "parts of the plan that stand fast: mode=bulk,doubt=sameid,...")
	budget    = flag.Duration("budget", 0, "begin no schedule after so long, and say how many ran; 0: run all")
	failures  = flag.Int("failures", 5, "stop after so many failed schedules")
	salt      = flag.Uint("salt", 0, "another order of what Go leaves open: maps, select, timers of one instant (exact builds only)")
	traceTo   = flag.String("trace", "", "write the trace of every schedule to a file of this name and its seed")
)

// TestRandomSchedulesKeepEveryInvariant mixes scans, republished, redelivered and
// reordered ones, undos, verifies, faults at all edges, crashes and pauses at each step, a
// Redis that loses its memory or a ledger that loses its tail, over one to three
// processes and every setting of the account. After it a time without faults: all comes to
// rest, and every invariant of protocol.md section 10 holds. A failing seed prints its
// trace and the command that replays it.
func TestRandomSchedulesKeepEveryInvariant(t *testing.T) {
	told, ran, began := 0, 0, time.Now() // traces are long: one is told
	var all reached
	seed, said := *fromSeed, began
	say := func() {
		if *budget > 0 {
			fmt.Printf("schedules run: %d failed: %d next: %d\n", ran, told, seed)
		}
	}
	defer func() { say() }()
	if exact {
		for i := range uint64(20) { // what Go and the packages set up once draws random numbers, too
			t.Run("warm", func(t *testing.T) { schedule(t, 1<<40+i, false, &reached{}) })
		}
	}
	for ; seed < *fromSeed+*seeds && (*budget == 0 || time.Since(began) < *budget); seed += *eachOf {
		if time.Since(said) > 5*time.Second { // who is stopped half way has said how far it came
			said = time.Now()
			say()
		}
		ran++
		if !t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { schedule(t, seed, told == 0, &all) }) {
			if told++; told == *failures {
				t.Fatalf("%d seeds failed, the last one was %d", told, seed)
			}
		}
	}
	t.Logf("%d attempts waited for a slot; at %d of them their process ended", all.waited, all.struck)
	if ran >= 50 && *forcePlan == "" && all.waited == 0 {
		t.Error("no schedule opens anything ahead of a slot: it is not looked at")
	}
}

// reached is how often schedules came to what only few of them come to.
type reached struct {
	waited int // attempts that waited for a slot
	struck int // of them, where something struck the process just then
}

// schedule runs the schedule of one seed; a failure is told with the whole trace, or without.
func schedule(t *testing.T, seed uint64, whole bool, all *reached) {
	cryptotest.SetGlobalRandom(t, seed)
	// A loop that spins lets no time pass in the bubble, so that LIVE never comes.
	defer time.AfterFunc(time.Minute, func() { panic(fmt.Sprintf("LIVE: seed=%d runs for a minute without an end", seed)) }).Stop()
	if exact {
		runtime.GC() // and none while the seed runs: it would reorder what runs
		seedRuntime(seed<<16 | uint64(*salt)<<1 | 1)
		defer seedRuntime(0)
	}
	line(t, func(w *world) {
		c, err := newChaos(w, seed)
		if err != nil {
			t.Fatal(err)
		}
		defer c.report(t, seed, whole)
		c.run()
		c.mu.Lock()
		defer c.mu.Unlock()
		all.waited, all.struck = all.waited+c.reached.waited, all.struck+c.reached.struck
	})
}

// report tells a failed run, so that it can be read and run again.
func (c *chaos) report(t *testing.T, seed uint64, whole bool) {
	if !t.Failed() && *traceTo == "" {
		return
	}
	text, sum := c.w.story()
	if *traceTo != "" {
		if err := os.WriteFile(fmt.Sprintf("%s.%d", *traceTo, seed), []byte(text), 0o600); err != nil {
			t.Error(err)
		}
		t.Logf("seed %d, trace %016x", seed, sum)
	}
	if !t.Failed() {
		return
	}
	if !whole {
		text = ""
	}
	if *budget > 0 {
		fmt.Printf("FAILED: make simulate SEEDS=1 SEED=%d PLAN=%q\n", seed, *forcePlan) // at once: a test tells its log when it ends
	}
	t.Logf("seed %d, trace %016x: %v\n%sreplay: make simulate SEEDS=1 SEED=%d PLAN=%q", seed, sum, c.plan, text, seed, *forcePlan)
}

// chaos is one random schedule.
type chaos struct {
	plan
	w    *world
	seed uint64

	mu       sync.Mutex
	rands    map[string]*rand.Rand // one for each who draws: what one draws does not move what others draw; guarded by mu
	on       bool                  // faults happen; guarded by mu
	next     strike                // what comes after some steps; guarded by mu
	saved    packstatetest.Copy    // guarded by mu
	sleepers map[chan struct{}]bool
	reached  reached
	lost     bool // the ledger lost its tail; guarded by mu
	frost    frost

	strangers int
	stash     []event // scanned, not published yet
	live      []*process
	born      int
}

// strike is a fault that strikes at one of the next steps of any process.
type strike struct {
	kind  string
	after int
}

func newChaos(w *world, seed uint64) (*chaos, error) {
	c := &chaos{w: w, seed: seed, rands: map[string]*rand.Rand{}, on: true, saved: w.store.Save(), sleepers: map[chan struct{}]bool{}}
	var err error
	c.plan, err = planOf(rand.New(rand.NewPCG(seed, 11)), *forcePlan)
	c.withhold = c.withhold || withholds(seed)
	w.pieces = rand.New(rand.NewPCG(seed, 78)).IntN(3) // small ones: a rebuild of few records is one of many pieces, too
	w.tracing = true
	return c, err
}

// draw gives fn the random source of that name.
func (c *chaos) draw(name string, fn func(r *rand.Rand)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rands[name]
	if r == nil {
		h := fnv.New64a()
		h.Write([]byte(name))
		r = rand.New(rand.NewPCG(c.seed, h.Sum64()))
		c.rands[name] = r
	}
	fn(r)
}

// odds is true p of the time, while faults happen.
func (c *chaos) odds(who string, p float64) (yes bool) {
	c.draw(who, func(r *rand.Rand) { yes = r.Float64() < p && c.on })
	return yes
}

func (c *chaos) pick(who string, n int) (i int) {
	c.draw(who, func(r *rand.Rand) { i = r.IntN(n) })
	return i
}

var brokerFaults = []queuetest.Fault{
	queuetest.AppendFails, queuetest.AppendNot, queuetest.AppendStored, queuetest.AppendLate, queuetest.AckFails,
	queuetest.AckLost, queuetest.AckStored, queuetest.FetchFails, queuetest.FetchLost, queuetest.FetchTwice,
	queuetest.ReadFails, queuetest.OutcomeFails, queuetest.OutcomeLost, queuetest.OutboxLost,
}

func (c *chaos) run() {
	w := c.w
	w.note("plan: %v", c.plan)
	w.tempo = c.tempo
	w.cfg = c.settings(w.cfg, w.span)
	w.broker.AckWait = w.span(w.broker.AckWait)
	w.reg.refusesUsed, w.reg.tolerance = c.doubt == SameID, c.tolerance
	w.reg.forgot.Store(c.stores == "redis") // Redis may lose its memory between a sender's look and its write
	w.broker.Random(c.seed, 0.01, brokerFaults...)
	w.reg.mu.Lock()
	w.reg.chance, w.reg.bulkFate, w.reg.atDoor = c.fate, c.fateOfBulk, c.door
	w.reg.mu.Unlock()
	w.onCall(func(p *process, call string) packstatetest.Fault {
		c.frost.wait(p)
		switch {
		case c.odds(p.name+call, 0.01):
			return packstatetest.Before
		case c.odds(p.name+call, 0.01):
			return packstatetest.AfterLost
		}
		return packstatetest.None
	})
	w.onStep(c.step)
	c.live = make([]*process, c.workers)
	for i := range c.live {
		c.restart(i)
	}
	for range c.acts {
		c.act()
		c.actWithhold()
		c.actAhead()
		if c.people && c.odds("people", 0.12) {
			c.person()
		}
		w.during(w.span(time.Duration(c.pick("time", 20000)) * time.Millisecond))
	}
	c.calm()
}

// calm ends all faults and waits until everything has settled (LIVE). A person lets a
// halted account go on. Then the other invariants hold.
func (c *chaos) calm() {
	w := c.w
	c.mu.Lock()
	c.on, c.next = false, strike{}
	for s := range c.sleepers {
		time.AfterFunc(w.span(time.Duration(c.rands["time"].IntN(1_200_000))*time.Millisecond), func() { wake(s) })
	}
	c.mu.Unlock()
	w.note("no more faults")
	w.broker.Random(0, 0, brokerFaults...)
	w.reg.setDown(false)
	alive := 0
	for i := range c.live {
		switch {
		case !c.live[i].dead.Load():
			alive++
		case alive == 0 || c.pick("calm", 2) == 0: // else the others must settle what a dead one left [B16]
			c.restart(i)
			alive++
		}
	}
	for _, e := range c.stash {
		w.publish(e)
	}
	began, least := time.Now(), time.Duration(0)
	if c.isLost() { // an idle loop looks at the ledger's end now and then: all may be quiet before it notices (seed 970981)
		least = 5*lookPoll + NoticeLoss
	}
	for n := 0; ; n++ {
		if w.t.Failed() {
			return // what follows a violation tells nothing more
		}
		w.during(max(w.span(5*time.Second), time.Since(began)/20))
		if w.isHalted() {
			if end := c.resume(); end {
				return
			}
			continue
		}
		c.freeAll()
		c.letGo()
		busy := w.quiet()
		if busy == "" && n > 0 && time.Since(began) > least {
			break
		}
		if time.Since(began) > 12*time.Hour {
			w.t.Errorf("LIVE: after 12 h without faults %s", busy)
			break
		}
	}
	w.hold()
	c.holdWithheld()
	c.controlsKept()
}

// isLost says that the ledger lost its tail.
func (c *chaos) isLost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// resume is a person who looks at a halted account. It says that nothing goes on any
// more: a chain that broke after a loss is beyond the tool.
func (c *chaos) resume() (end bool) {
	w := c.w
	ctx := context.Background()
	note := w.halted()
	w.note("halted: %s", note)
	lost := c.isLost()
	if !lost && !strings.Contains(note, whySelf) && !strings.Contains(note, whyBrake) {
		w.t.Errorf("STOP: the account halts although no store lies: %s", note)
		return true
	}
	if broken := w.isBroken(); strings.Contains(note, whyChain) {
		if !broken {
			w.t.Errorf("STOP: the account halts on a chain that is whole")
		}
		return true
	}
	_, _, err := Resume(ctx, w.resumer(), anna)
	if errors.Is(err, ErrLedgerLost) && lost {
		_, err = ResumeAfterLoss(ctx, w.resumer(), anna)
	}
	var chain *ChainError
	switch {
	case lost && errors.As(err, &chain):
		w.note("%v", err)
		return true
	case err != nil && !errors.Is(err, ErrNotHalted) && !errors.Is(err, ErrContended):
		w.t.Errorf("resume: %v", err)
		return true
	}
	w.resumes++
	return false
}

func (c *chaos) restart(i int) {
	c.born++
	c.live[i] = c.w.start(fmt.Sprintf("w%d#%d", i, c.born), i)
}

// step may end or stop the process that comes to it, or have a store lose something.
func (c *chaos) step(p *process, step string) {
	c.frost.wait(p)
	c.w.note("%s %s", p.name, step)
	c.mu.Lock()
	kind := ""
	if c.next.after > 0 {
		if c.next.after--; c.next.after == 0 {
			kind = c.next.kind
		}
	}
	saved := c.saved
	if step == "S7 waits" {
		c.reached.waited++
	}
	c.mu.Unlock()
	if step == "S7 waits" && kind == "" && c.odds(p.name+" waits", 0.1) {
		kind = "crash"
	}
	if step == "S7 waits" && kind == "crash" {
		c.mu.Lock()
		c.reached.struck++
		c.mu.Unlock()
	}
	if kind != "" {
		c.w.note("%s, at %s of %s", kind, step, p.name)
	}
	switch kind {
	case "crash":
		p.kill()
	case "redis empty":
		c.w.store.Lose()
	case "redis older":
		c.w.store.RollBack(saved)
	case "redis saved":
		copied := c.w.store.Save()
		c.mu.Lock()
		c.saved = copied
		c.mu.Unlock()
	case "ledger":
		c.loseTail()
	case "power":
		p.kill()
		c.loseTail()
	default:
		c.stopAt(p, step)
	}
}

func (c *chaos) loseTail() {
	n := 1 + c.pick("loss", 3)
	c.mu.Lock()
	again := c.lost
	c.lost = true
	c.mu.Unlock()
	if !again {
		c.w.peek(func(*folded) {}) // the judge has seen what is lost now
		c.w.reg.lossy.Store(true)
		c.w.broker.LoseTail(n)
	}
}

// pause stops who calls it: for a while, longer than every limit, or until somebody
// verifies a pack, which is when a late writer hurts most.
func (c *chaos) pause(who string, p float64) {
	if !c.odds(who, p) {
		return
	}
	d, until := time.Duration(c.pick(who, 100))*time.Second, false
	switch c.pick(who, 5) {
	case 0:
		d = 3 * time.Hour
	case 1, 2:
		d, until = 2*time.Hour, true
	}
	c.sleep(who, c.w.span(d), until)
}

// sleep lasts d, or until somebody verifies or the faults end.
func (c *chaos) sleep(who string, d time.Duration, until bool) {
	c.w.note("%s stops for %v, or until the next verify: %v", who, d, until)
	s := make(chan struct{}, 1)
	c.mu.Lock()
	c.sleepers[s] = until
	c.mu.Unlock()
	select {
	case <-s:
	case <-time.After(d):
	}
	c.mu.Lock()
	delete(c.sleepers, s)
	c.mu.Unlock()
	c.w.note("%s goes on", who)
}

func wake(s chan struct{}) {
	select {
	case s <- struct{}{}:
	default:
	}
}

// verified wakes who waits for a verify, a little later.
func (c *chaos) verified() {
	d := time.Duration(c.pick("wake", 120)) * time.Millisecond
	c.mu.Lock()
	defer c.mu.Unlock()
	for s, until := range c.sleepers {
		if until {
			time.AfterFunc(d, func() { wake(s) })
		}
	}
}

// span is so many seconds at the plan's tempo.
func (c *chaos) span(seconds int) time.Duration {
	return c.w.span(time.Duration(seconds) * time.Second)
}

// fate draws what befalls a call. A late copy executes before the hold is over (A3).
func (c *chaos) fate(who string, read bool) fate {
	if read {
		c.verified()
	}
	if !c.odds(who, 0.3) {
		return fate{}
	}
	fates := []fate{{lost: true}, {mute: true}, {late: c.span(1 + c.pick(who, 140))}, {dial: true},
		{class: nmvs.Busy}, {class: nmvs.Setup}, {class: nmvs.TooFast}, {class: nmvs.Format}, {code: "NMVS_FE_LOT_01"},
		{slow: c.span(c.pick(who, 40))}}
	if read {
		fates = []fate{{lost: true}, {mute: true}, {dial: true}, {class: nmvs.Busy}, {slow: c.span(5)}}
	}
	return fates[c.pick(who, len(fates))]
}

// fateOfBulk draws what becomes of an accepted bulk.
func (c *chaos) fateOfBulk(_ string, packs int) bulkFate {
	f := bulkFate{packs: map[int]packFate{}}
	if !c.odds("bulk", 0.6) {
		return f
	}
	f.takes = c.span(c.pick("bulk", 150))
	for i := range packs {
		if c.odds("bulk", 0.3) {
			f.packs[i] = []packFate{{silent: true}, {dropped: true}, {abroad: true},
				{late: c.span(1 + c.pick("bulk", 240))}, {late: c.span(2400)}}[c.pick("bulk", 5)]
		}
	}
	return f
}

// act does one thing from outside.
func (c *chaos) act() {
	w := c.w
	serial := fmt.Sprint("S", c.pick("act", 5))
	switch n := c.pick("act", 24); {
	case n < 9:
		for range 1 + c.pick("act", 3) {
			w.scan(fmt.Sprint("d", c.pick("act", 2)), fmt.Sprint("S", c.pick("act", 5)), c.op())
			time.Sleep(2 * time.Millisecond) // device times never tie, and stay behind the stream's
		}
	case n < 10:
		e, _ := w.scanned(fmt.Sprint("d", c.pick("act", 2)), serial, c.op())
		c.stash = append(c.stash, e)
		time.Sleep(2 * time.Millisecond)
	case n < 11 && len(c.stash) > 0:
		w.publish(c.stash[0])
		c.stash = c.stash[1:]
	case n < 13:
		c.republish()
	case n < 14:
		w.broker.RedeliverAll(acc)
	case n < 17:
		c.storeFault()
	case n < 18 && c.strangers < c.foreign:
		c.strangers++
		w.note("a stranger decommissions %s", serial)
		w.reg.foreign(serial, "SUPPLIED")
	case n < 19:
		w.reg.mu.Lock()
		w.reg.down, w.reg.silent = !w.reg.down, n%2 == 0
		w.reg.mu.Unlock()
	case n < 22:
		c.soon("crash")
	default:
		w.reg.setDown(false)
		for i := range c.live {
			if c.live[i].dead.Load() {
				c.restart(i)
			}
		}
	}
	synctest.Wait()
}

// actAhead has all packs scanned at once: few slots then leave a backlog, from which attempts are
// opened ahead of them.
func (c *chaos) actAhead() {
	if c.ahead == 0 || !c.odds("ahead", 0.3) {
		return
	}
	for i := range 5 {
		c.w.scan("d2", fmt.Sprint("S", i), []scan.Op{scan.Supply, scan.Supply, scan.UndoSupply, scan.Verify}[c.pick("ahead", 4)])
		time.Sleep(2 * time.Millisecond)
	}
}

func (c *chaos) op() scan.Op {
	ops := []scan.Op{scan.Supply, scan.Supply, scan.Supply, scan.UndoSupply, scan.UndoSupply, scan.Verify, scan.Destroy}
	return ops[c.pick("act", len(ops))]
}

func (c *chaos) republish() {
	c.w.mu.Lock()
	var e event
	if n := len(c.w.events); n > 0 {
		e = c.w.events[c.pick("act", n)]
	}
	c.w.mu.Unlock()
	if e.id != "" {
		c.w.publish(e)
	}
}

// storeFault has a store lose something at one of the next steps (A2: one of them only).
func (c *chaos) storeFault() {
	switch c.stores {
	case "redis":
		c.soon([]string{"redis saved", "redis older", "redis empty"}[c.pick("act", 3)])
	case "ledger":
		c.soon([]string{"ledger", "power"}[c.pick("act", 2)])
	}
}

func (c *chaos) soon(kind string) {
	n := 1 + c.pick("act", 8)
	c.mu.Lock()
	c.next = strike{kind, n}
	c.mu.Unlock()
}

// TestMain keeps a simulation on one thread: what a seed draws is then drawn in the same
// order. The rest of the tests is not concerned.
func TestMain(m *testing.M) {
	flag.Parse()
	if *seeds > 50 || *fromSeed > 1 || *budget > 0 {
		runtime.GOMAXPROCS(1)
	}
	os.Exit(m.Run())
}
