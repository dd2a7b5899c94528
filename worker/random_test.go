package worker

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"decom/nmvs"
	"decom/queue/queuetest"
	"decom/worker/ledger"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

var (
	seeds    = flag.Uint64("seeds", 50, "random schedules to run")
	fromSeed = flag.Uint64("seed", 1, "the first of them")
)

// TestRandomSchedulesKeepEveryInvariant mixes scans, republished and redelivered ones,
// undos, verifies, faults at all edges, crashes, pauses and a Redis that loses its
// memory, over two processes. After it a time without faults: all comes to rest, and every
// invariant of protocol.md section 10 holds. The seed of a failure stands in its name.
func TestRandomSchedulesKeepEveryInvariant(t *testing.T) {
	for seed := *fromSeed; seed < *fromSeed+*seeds; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			line(t, func(w *world) { newChaos(w, seed).run() })
		})
	}
}

// chaos is one random schedule.
type chaos struct {
	w  *world
	mu sync.Mutex
	r  *rand.Rand // guarded by mu

	on      bool // faults happen; guarded by mu
	foreign int
	crash   int // steps until the next crash, 0 = none; guarded by mu
	saved   packstatetest.Copy
	live    [2]*process
	born    int
}

func newChaos(w *world, seed uint64) *chaos {
	return &chaos{w: w, r: rand.New(rand.NewPCG(seed, 7)), on: true, saved: w.store.Save()}
}

// odds is true p of the time, while faults happen.
func (c *chaos) odds(p float64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.on && c.r.Float64() < p
}

func (c *chaos) pick(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.r.IntN(n)
}

var brokerFaults = []queuetest.Fault{
	queuetest.AppendFails, queuetest.AppendNot, queuetest.AppendStored, queuetest.AppendLate, queuetest.AckFails,
	queuetest.AckLost, queuetest.AckStored, queuetest.FetchFails, queuetest.FetchLost, queuetest.FetchTwice,
	queuetest.ReadFails, queuetest.OutcomeFails, queuetest.OutcomeLost, queuetest.OutboxLost,
}

func (c *chaos) run() {
	w := c.w
	w.cfg.Parallel = 1 + c.pick(4)
	w.reg.forgot.Store(true) // Redis may lose its memory between a sender's look and its write
	w.broker.Random(uint64(c.pick(1<<30)), 0.01, brokerFaults...)
	w.reg.mu.Lock()
	w.reg.chance = c.fate
	w.reg.mu.Unlock()
	w.onCall(func(_ *process, call string) packstatetest.Fault {
		switch {
		case c.odds(0.01):
			return packstatetest.Before
		case c.odds(0.01):
			return packstatetest.AfterLost
		}
		return packstatetest.None
	})
	w.onStep(c.step)
	c.restart(0)
	c.restart(1)
	for range 40 {
		c.act()
		w.during(time.Duration(c.pick(20000)) * time.Millisecond)
	}
	c.calm()
	w.settle(12 * time.Hour)
}

// calm ends all faults. A person lets a halted account go on.
func (c *chaos) calm() {
	c.mu.Lock()
	c.on, c.crash = false, 0
	c.mu.Unlock()
	c.w.broker.Random(0, 0, brokerFaults...)
	for i := range c.live {
		if c.live[i].dead.Load() {
			c.restart(i)
		}
	}
	for range 20 {
		c.w.during(time.Minute)
		if _, halted, _ := c.w.store.Halted(context.Background(), acc); halted {
			c.w.appendRaw(&ledger.Record{Fact: []ledger.Fact{{Kind: ledger.Resume, Who: "anna", Why: "test"}}})
		}
	}
}

func (c *chaos) restart(i int) {
	c.born++
	c.live[i] = c.w.start(fmt.Sprintf("w%d#%d", i, c.born), i)
}

// step may end or stop the process that comes to it.
func (c *chaos) step(p *process, _ string) {
	c.mu.Lock()
	dies := false
	if c.crash > 0 {
		c.crash--
		dies = c.crash == 0
	}
	c.mu.Unlock()
	if dies {
		p.kill()
	} else if c.odds(0.01) {
		time.Sleep(time.Duration(c.pick(100)) * time.Second)
	}
}

// fate draws what befalls a call. A late copy executes before the hold is over (A3).
func (c *chaos) fate(read bool) fate {
	if !c.odds(0.3) {
		return fate{}
	}
	fates := []fate{{lost: true}, {mute: true}, {late: time.Duration(1+c.pick(140)) * time.Second}, {dial: true},
		{class: nmvs.Busy}, {class: nmvs.Setup}, {slow: time.Duration(c.pick(40)) * time.Second}}
	if read {
		fates = []fate{{lost: true}, {mute: true}, {dial: true}, {class: nmvs.Busy}, {slow: 5 * time.Second}}
	}
	return fates[c.pick(len(fates))]
}

// act does one thing from outside.
func (c *chaos) act() {
	w := c.w
	switch n := c.pick(20); {
	case n < 9:
		ops := []scan.Op{scan.Supply, scan.Supply, scan.Supply, scan.UndoSupply, scan.UndoSupply, scan.Verify, scan.Destroy}
		w.scan(fmt.Sprint("d", c.pick(2)), fmt.Sprint("S", c.pick(5)), ops[c.pick(len(ops))])
	case n < 12:
		w.mu.Lock()
		var e event
		if len(w.events) > 0 {
			e = w.events[c.pick(len(w.events))]
		}
		w.mu.Unlock()
		if e.id != "" {
			w.publish(e)
		}
	case n < 13:
		w.broker.RedeliverAll(acc)
	case n < 14:
		c.saved = w.store.Save()
	case n < 15:
		w.store.RollBack(c.saved)
	case n < 16:
		w.store.Lose()
	case n < 17 && c.foreign < 2:
		c.foreign++
		w.reg.foreign(fmt.Sprint("S", c.pick(5)), "SUPPLIED")
	case n < 19:
		c.mu.Lock()
		c.crash = 1 + c.r.IntN(6)
		c.mu.Unlock()
	default:
		for i := range c.live {
			if c.live[i].dead.Load() {
				c.restart(i)
			}
		}
	}
	synctest.Wait()
}
