package worker

import (
	"sync"
	"time"
)

// frost holds whole processes still, as a suspended machine does: its loop, its senders,
// and what they believe. A pause of one goroutine is another thing: its loop goes on, learns,
// and a late sender finds that out.
type frost struct {
	mu     sync.Mutex
	frozen map[*process]chan struct{} // closed when the process goes on; guarded by mu
	begun  bool                       // the first record was, or is being, projected; guarded by mu
}

// wait holds a goroutine of a process that stands still. It is called at every step and at
// every call to the projection.
func (f *frost) wait(p *process) {
	f.mu.Lock()
	still := f.frozen[p]
	f.mu.Unlock()
	if still != nil {
		<-still
	}
}

// take makes p stand still until the returned function is called; nil when it does already.
func (f *frost) take(p *process) (thaw func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen[p] != nil {
		return nil
	}
	if f.frozen == nil {
		f.frozen = map[*process]chan struct{}{}
	}
	still := make(chan struct{})
	f.frozen[p] = still
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.frozen, p)
		close(still)
	}
}

// first says once that this is the account's first record.
func (f *frost) first() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.begun
	f.begun = true
	return !was
}

// door stops a sender before its last look, alone or with its whole process.
func (c *chaos) door(p *process) {
	c.frost.wait(p)
	if c.odds(p.name+" frost", 0.02) {
		c.freeze(p)
		return
	}
	c.pause(p.name+" door", 0.04)
}

// stopAt stops a goroutine at a step. The first record is the one that an empty Redis might
// take from a process that slept [B8f]: there, whole processes stop more often.
func (c *chaos) stopAt(p *process, step string) {
	if step == "S5" && c.frost.first() && c.odds(p.name+" frost", 0.1) {
		c.freeze(p)
		return
	}
	c.pause(p.name+" step", 0.015)
}

// freeze has the process stand still, longer than the hold or until somebody verifies. A
// Redis on the same machine may then be what it was before, or empty: the machine was set
// back. That may come when no more faults begin; while the ledger loses nothing it must cost
// nothing.
func (c *chaos) freeze(p *process) {
	who := p.name + " frost"
	thaw := c.frost.take(p)
	if thaw == nil {
		return
	}
	saved, back := c.w.store.Save(), c.stores == "redis" && c.odds(who, 0.7)
	c.sleep("all of "+p.name, c.w.span(time.Duration(4+c.pick(who, 30))*time.Minute), c.pick(who, 3) == 0)
	switch {
	case back && c.pick(who, 2) == 0:
		c.w.note("redis is what it was before")
		c.w.store.RollBack(saved)
	case back:
		c.w.note("redis is empty")
		c.w.store.Lose()
	}
	thaw()
}
