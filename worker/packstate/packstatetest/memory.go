package packstatetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// Store is the method set that [packstate.Store] and [Memory] share.
type Store interface {
	View(ctx context.Context, acc string, at ledger.Head, ks []scan.PackID) (packstate.Status, ledger.States, error)
	Apply(ctx context.Context, acc string, prev, next ledger.Head, states ledger.States, idx ledger.Index) (packstate.Status, error)
	Peek(ctx context.Context, acc string, ks []scan.PackID) (ledger.States, error)
	Head(ctx context.Context, acc string) (ledger.Head, bool, error)
	Begin(ctx context.Context, acc string) (packstate.Status, error)
	Drop(ctx context.Context, acc string) error
	Each(ctx context.Context, acc string, fn func(scan.PackID, ledger.State) error) error
	OpenSeqs(ctx context.Context, acc string) (map[uint64]int, error)
	Due(ctx context.Context, acc string, now int64, max int) ([]scan.PackID, error)
	Parked(ctx context.Context, acc string, after scan.PackID, max int) ([]scan.PackID, error)
	Counts(ctx context.Context, acc string) (packstate.Counts, error)
	Halt(ctx context.Context, acc, why string) error
	Unhalt(ctx context.Context, acc, why string) (left string, err error)
	Halted(ctx context.Context, acc string) (why string, halted bool, err error)
	SaveControls(ctx context.Context, acc string, c ledger.Controls) error
	Controls(ctx context.Context, acc string) (ledger.Controls, error)
	Own(ctx context.Context, acc string, ks []scan.PackID) (map[scan.PackID]string, error)
	Take(ctx context.Context, k scan.PackID, from, to string) (holder string, err error)
	Heartbeat(ctx context.Context, worker string, ttl time.Duration) (alive []string, err error)
	SaveHead(acc string, h ledger.Head) error
	LoadHead(acc string) (ledger.Head, bool, error)
	ForgetHead(acc string) error
	Embedded() bool
	Warnings() []string
	Ping(ctx context.Context) error
	Info(ctx context.Context) (packstate.Info, error)
	Close() error
}

var (
	_ Store = (*packstate.Store)(nil)
	_ Store = (*Memory)(nil)
)

// Fault is what happens to one call.
type Fault int

// The faults come in pairs at each edge: what failed, and what only seems to have.
const (
	None      Fault = iota
	Before          // an error, and nothing happened
	AfterLost       // it happened, and the answer was lost
)

// Call is a method that can fail.
type Call string

// The calls that [Memory.Fail] and [Memory.Hook] know.
const (
	CallView      Call = "view"
	CallApply     Call = "apply"
	CallPeek      Call = "peek"
	CallHead      Call = "head"
	CallBegin     Call = "begin"
	CallDrop      Call = "drop"
	CallLists     Call = "lists" // Each, OpenSeqs, Due, Parked, Counts
	CallHalt      Call = "halt"
	CallUnhalt    Call = "unhalt"
	CallHalted    Call = "halted"
	CallControls  Call = "controls" // both ways
	CallOwn       Call = "own"
	CallTake      Call = "take"
	CallHeartbeat Call = "heartbeat"
	CallSaveHead  Call = "save head"
	CallPing      Call = "ping"
)

// ErrFault is the cause of an error that was asked for; the error also is a
// [packstate.ErrUnavailable].
var ErrFault = errors.New("fault asked for by the test")

// Memory keeps the rules of [packstate.Store] in plain maps, so that tests in a
// synctest bubble and models run without a server. The zero Memory is not
// usable; [NewMemory] makes one. It may be used from any goroutine.
type Memory struct {
	// Hook, when set before first use, is asked at each call that has no Fault
	// waiting from Fail. It runs without the lock, so it may call the store.
	Hook func(c Call, acc string) Fault

	mu sync.Mutex
	// guarded by mu
	queue    map[Call][]Fault
	calls    map[Call]int
	accounts map[string]*projection
	own      map[scan.PackID]string
	fleet    map[string]time.Time
	saved    map[string]ledger.Head
}

// projection is one account's.
type projection struct {
	head          ledger.Head
	begun         bool
	packs         ledger.States
	open          map[uint64]int
	due           map[scan.PackID]int64
	parked        map[scan.PackID]bool
	process, book string // the two halts
	controls      ledger.Controls
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{
		queue: map[Call][]Fault{}, calls: map[Call]int{}, accounts: map[string]*projection{},
		own: map[scan.PackID]string{}, fleet: map[string]time.Time{}, saved: map[string]ledger.Head{},
	}
}

// Fail gives the next calls of that kind these faults, one each; None lets one pass.
func (m *Memory) Fail(c Call, faults ...Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue[c] = append(m.queue[c], faults...)
}

// Calls returns how often c was called, faults included.
func (m *Memory) Calls(c Call) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[c]
}

// Lose is FLUSHALL: everything is gone, halts too. Saved heads stay, as files would.
func (m *Memory) Lose() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.accounts, m.own, m.fleet = map[string]*projection{}, map[scan.PackID]string{}, map[string]time.Time{}
}

// Copy is a Memory's content at one moment.
type Copy struct {
	accounts map[string]*projection
	own      map[scan.PackID]string
}

// Save returns a copy for [Memory.RollBack].
func (m *Memory) Save() Copy {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Copy{cloneAll(m.accounts), maps.Clone(m.own)}
}

// RollBack makes the store an older copy of itself: a failover to a replica that
// lagged, or a restart from an old dump.
func (m *Memory) RollBack(c Copy) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.accounts, m.own = cloneAll(c.accounts), maps.Clone(c.own)
}

func cloneAll(all map[string]*projection) map[string]*projection {
	out := make(map[string]*projection, len(all))
	for acc, p := range all {
		q := *p
		q.packs, q.open, q.due, q.parked = maps.Clone(p.packs), maps.Clone(p.open), maps.Clone(p.due), maps.Clone(p.parked)
		out[acc] = &q
	}
	return out
}

// do runs fn on the account's projection under the lock, with the fault due.
func (m *Memory) do(ctx context.Context, c Call, acc string, fn func(*projection) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s: %w: %w", c, acc, packstate.ErrUnavailable, err)
	}
	if !scan.ValidToken(acc) {
		return fmt.Errorf("%s: account %q", c, acc)
	}
	fault := m.fault(c, acc)
	lost := func() error { return fmt.Errorf("%s %s: %w: %w", c, acc, packstate.ErrUnavailable, ErrFault) }
	if fault == Before {
		return lost()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.accounts[acc]
	if p == nil {
		p = &projection{}
		p.clear()
		m.accounts[acc] = p
	}
	if err := fn(p); err != nil {
		return fmt.Errorf("%s %s: %w", c, acc, err)
	}
	if fault == AfterLost {
		return lost()
	}
	return nil
}

func (m *Memory) fault(c Call, acc string) Fault {
	m.mu.Lock()
	m.calls[c]++
	if q := m.queue[c]; len(q) != 0 {
		m.queue[c] = q[1:]
		m.mu.Unlock()
		return q[0]
	}
	m.mu.Unlock()
	if m.Hook != nil {
		return m.Hook(c, acc)
	}
	return None
}

func (p *projection) clear() {
	p.head, p.begun, p.book, p.controls = ledger.Head{}, false, "", ledger.Controls{}
	p.packs, p.open = ledger.States{}, map[uint64]int{}
	p.due, p.parked = map[scan.PackID]int64{}, map[scan.PackID]bool{}
}

// some returns those of the packs that were heard of.
func (p *projection) some(ks []scan.PackID) ledger.States {
	out := ledger.States{}
	for _, k := range ks {
		if s, ok := p.packs[k]; ok {
			out[k] = s
		}
	}
	return out
}

// place compares the projection's head with a belief.
func (p *projection) place(belief ledger.Head) packstate.Status {
	switch {
	case !p.begun || p.head.Seq < belief.Seq:
		return packstate.Stale
	case p.head == belief:
		return packstate.OK
	case p.head.Seq > belief.Seq:
		return packstate.Ahead
	}
	return packstate.Fork
}

// View is [packstate.Store.View].
func (m *Memory) View(ctx context.Context, acc string, at ledger.Head, ks []scan.PackID) (st packstate.Status, out ledger.States, err error) {
	err = m.do(ctx, CallView, acc, func(p *projection) error {
		if err := check(len(ks), ks, at); err != nil {
			return err
		}
		if st = p.place(at); p.process != "" || p.book != "" {
			st = packstate.Halted
		}
		if st != packstate.OK {
			return nil
		}
		out = p.some(ks)
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return st, out, nil
}

// Apply is [packstate.Store.Apply].
func (m *Memory) Apply(ctx context.Context, acc string, prev, next ledger.Head, states ledger.States, idx ledger.Index) (st packstate.Status, err error) {
	err = m.do(ctx, CallApply, acc, func(p *projection) error {
		if err := check(len(states), slices.Collect(maps.Keys(states)), prev, next); err != nil {
			return err
		}
		if next.Seq <= prev.Seq {
			return fmt.Errorf("record %d does not follow record %d", next.Seq, prev.Seq)
		}
		st = p.place(prev)
		switch {
		case p.process != "":
			st = packstate.Halted
		case p.begun && p.head == next:
			st = packstate.Same
		case st == packstate.OK:
			p.write(next, states, idx)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return st, nil
}

func (p *projection) write(next ledger.Head, states ledger.States, idx ledger.Index) {
	p.head = next
	maps.Copy(p.packs, states)
	for seq, n := range idx.Open {
		if p.open[seq] += n; p.open[seq] <= 0 {
			delete(p.open, seq)
		}
	}
	for k, ms := range idx.Due {
		if p.due[k] = ms; ms == -1 {
			delete(p.due, k)
		}
	}
	for k, on := range idx.Parked {
		if p.parked[k] = on; !on {
			delete(p.parked, k)
		}
	}
	if f := idx.Halt; f != nil {
		if p.book = ""; f.Kind == ledger.Halt {
			p.book = cmp.Or(f.Why, "halted on the ledger")
		}
	}
}

// check holds callers to the limits of a call.
func check(n int, ks []scan.PackID, heads ...ledger.Head) error {
	if n > packstate.MaxPacks {
		return fmt.Errorf("%d packs in one call, more than %d", n, packstate.MaxPacks)
	}
	for _, k := range ks {
		if len(k) != 16 {
			return fmt.Errorf("pack name %q", k)
		}
	}
	for _, h := range heads {
		if (h.Seq == 0) != (h.Hash == "") || h.Hash != "" && (len(h.Hash) != 64 || strings.Trim(h.Hash, "0123456789abcdef") != "") {
			return fmt.Errorf("head %d %q", h.Seq, h.Hash)
		}
	}
	return nil
}
