package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"decom/nmvs"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// fate is what befalls one call to the registry. The zero fate is an answer in time.
type fate struct {
	dial   bool          // no connection: not one byte leaves
	lost   bool          // written, never executed, no answer
	mute   bool          // executed, answer lost
	late   time.Duration // executed that much later, answer lost
	slow   time.Duration // executed and answered, that much later
	class  nmvs.Class    // refused as a whole with that class
	code   string        // answered with that code, nothing changed
	repeat int           // the same fate for so many more calls
}

// registry is the fake NMVS: the packs' true states, with effects, late copies and lost
// answers. It polices ONCE, UNDO, WITNESS, HELD, ONE, BYTES and STOP at every byte
// that arrives, and fails the test when one breaks.
type registry struct {
	t testing.TB
	w *world

	mu      sync.Mutex
	packs   map[string]*truth    // by serial; guarded by mu
	script  []fate               // of the next change calls; guarded by mu
	reads   []fate               // of the next verifies; guarded by mu
	chance  func(read bool) fate // guarded by mu
	down    bool                 // no connection at all
	silent  bool                 // down: connections are taken, and nothing is ever answered
	bytes   map[string]string    // c -> digest; guarded by mu
	flights map[string]string    // serial -> c on its way; guarded by mu
	changes []nmvs.Call          // change calls written; guarded by mu
	verify  int                  // verifies written
	pings   int
	alerts  int
	stop    bool        // no byte may arrive: the account is halted
	forgot  atomic.Bool // the projection may lose records between the sender's last look and its write
	lossy   atomic.Bool // the ledger lost records: its fold does not tell which attempt is open
}

// truth is R(k).
type truth struct {
	reasons []string // empty: active
	by      string   // ClientTrxId of our change
	ours    bool
	undone  bool // we undid a change of ours once
	taken   bool // after that, a stranger decommissioned it
}

func newRegistry(t testing.TB, w *world) *registry {
	return &registry{t: t, w: w, packs: map[string]*truth{}, bytes: map[string]string{}, flights: map[string]string{}}
}

func (r *registry) pack(serial string) *truth {
	p := r.packs[serial]
	if p == nil {
		p = &truth{}
		r.packs[serial] = p
	}
	return p
}

// next gives the next change calls these fates, one each.
func (r *registry) next(fs ...fate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range fs {
		r.script = append(r.script, f)
		for range f.repeat {
			r.script = append(r.script, f)
		}
	}
}

func (r *registry) nextRead(fs ...fate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads = append(r.reads, fs...)
}

// foreign has somebody else decommission a pack.
func (r *registry) foreign(serial string, reasons ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.pack(serial); len(p.reasons) == 0 {
		p.reasons, p.taken = reasons, p.undone
	}
}

// always gives every call without a fate of its own this one.
func (r *registry) always(f fate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chance = func(bool) fate { return f }
}

func (r *registry) alertsRaised() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.alerts
}

func (r *registry) setDown(down bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = down
}

func (r *registry) setStop(stop bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop = stop
}

func (r *registry) count() (changes, verifies, pings int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.changes), r.verify, r.pings
}

func (r *registry) fateOf(read bool) (f fate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := &r.script
	if read {
		list = &r.reads
	}
	if len(*list) > 0 {
		f, *list = (*list)[0], (*list)[1:]
	} else if r.chance != nil {
		f = r.chance(read)
	}
	f.dial = f.dial || r.down && !r.silent
	f.lost = f.lost || r.down && r.silent
	return f
}

// digestOf names the bytes of a call.
func digestOf(call nmvs.Call) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%v %s %v %v %+v %+v %v %s", call.Act, call.C, call.Service, call.Op, call.Product, call.Packs, call.Manual, call.Tx))
	return hex.EncodeToString(sum[:])
}

const (
	netTime  = 20 * time.Millisecond
	idleConn = time.Minute // the server drops a connection that says nothing for so long
)

var errCut = errors.New("no whole answer")

func fails(call nmvs.Call, class nmvs.Class, err error) (nmvs.Answer, error) {
	return nmvs.Answer{C: call.C, Finding: nmvs.Finding{Class: class}}, &nmvs.Error{C: call.C, Class: class, Err: err}
}

// door is the registry as one process reaches it: what a dead process does not write
// does not arrive.
type door struct {
	*registry
	p *process
}

// Do has the contract of nmvs.Client.Do.
func (d door) Do(ctx context.Context, call nmvs.Call) (nmvs.Answer, error) {
	r := d.registry
	if call.Act == nmvs.ActPing {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.pings++; r.down {
			return fails(call, nmvs.NotSent, errors.New("refused"))
		}
		return nmvs.Answer{C: call.C, Finding: nmvs.Finding{Class: nmvs.Success}}, nil
	}
	read := call.Op.IsRead()
	f := r.fateOf(read)
	if !sleep(ctx, netTime) || f.dial || d.p.dead.Load() {
		return fails(call, nmvs.NotSent, errors.New("no connection"))
	}
	ready := time.Now()
	if call.Guard != nil {
		if err := call.Guard(); err != nil {
			return fails(call, nmvs.NotSent, fmt.Errorf("%w: %w", nmvs.ErrGuard, err))
		}
	}
	if d.p.dead.Load() {
		return fails(call, nmvs.NotSent, errors.New("process ended"))
	}
	if time.Since(ready) > idleConn {
		return fails(call, nmvs.InDoubt, errors.New("connection reset"))
	}
	r.wrote(call, read)
	return r.travel(ctx, call, f)
}

// travel is a written request on its way, to its execution and back.
func (r *registry) travel(ctx context.Context, call nmvs.Call, f fate) (nmvs.Answer, error) {
	time.Sleep(netTime)
	switch {
	case f.lost:
		r.land(call)
		<-ctx.Done()
		return fails(call, nmvs.InDoubt, nmvs.ErrTimeout)
	case f.late > 0:
		r.w.flying.Go(func() {
			time.Sleep(f.late)
			r.execute(call)
		})
		<-ctx.Done()
		return fails(call, nmvs.InDoubt, nmvs.ErrTimeout)
	case f.class != 0:
		r.land(call)
		return fails(call, f.class, nil)
	case f.code != "":
		r.land(call)
		return r.answer(call, f.code, nil)
	}
	time.Sleep(f.slow)
	ans, err := r.execute(call)
	if f.mute {
		sleep(ctx, time.Second)
		return fails(call, nmvs.InDoubt, errCut)
	}
	if !sleep(ctx, netTime) {
		return fails(call, nmvs.InDoubt, nmvs.ErrTimeout)
	}
	return ans, err
}

// wrote checks what must hold when the first byte of a call arrives.
func (r *registry) wrote(call nmvs.Call, read bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop {
		r.t.Errorf("STOP: a call (%v) arrives while the account is halted", call.Op)
	}
	if read {
		r.verify++
		return
	}
	r.changes = append(r.changes, call)
	if _, twice := r.bytes[call.C]; twice {
		r.t.Errorf("BYTES: attempt %s is written twice", call.C)
	}
	r.bytes[call.C] = digestOf(call)
	for _, p := range call.Packs {
		if c := r.flights[p.Serial]; c != "" {
			r.t.Errorf("ONE: pack %s has attempts %s and %s on their way", p.Serial, c, call.C)
		}
		r.flights[p.Serial] = call.C
		r.w.holdWitness(call, p.Serial)
	}
	r.w.holdOpen("written", call)
}

func (r *registry) land(call nmvs.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range call.Packs {
		if r.flights[p.Serial] == call.C {
			delete(r.flights, p.Serial)
		}
	}
}

// execute changes the truth, or refuses as NMVS would.
func (r *registry) execute(call nmvs.Call) (nmvs.Answer, error) {
	r.mu.Lock()
	serial := call.Packs[0].Serial
	p := r.pack(serial)
	want := nmvs.WantedReason(call.Op)
	code := ""
	switch {
	case call.Op.IsRead():
	case call.Op.IsUndo():
		r.w.holdOpen("executed", call)
		switch {
		case p.taken: // the table of section 5 releases an undo that was executed, if a stranger acts then: the reference stops it
			code = "NMVS_FE_TX_01"
		case !p.ours || !slices.Contains(p.reasons, want):
			r.t.Errorf("UNDO: %s reaches pack %s, which is not inactive by us: %v", call.C, serial, p.reasons)
			code = "NMVS_NC_PCK_06"
		case call.Packs[0].RefC != p.by:
			r.t.Errorf("undo %s cites %s, the change was %s", call.C, call.Packs[0].RefC, p.by)
			code = "NMVS_FE_TX_01"
		default:
			p.reasons, p.ours, p.by, p.undone = nil, false, "", true
		}
	case len(p.reasons) > 0:
		r.w.holdOpen("executed", call)
		if p.ours {
			r.t.Errorf("ONCE: a second decommission (%s) of pack %s reaches NMVS", call.C, serial)
		}
		r.alerts++
		code = "NMVS_NC_PCK_22"
	default:
		r.w.holdOpen("executed", call)
		p.reasons, p.ours, p.by = []string{want}, true, call.C
	}
	r.mu.Unlock()
	r.land(call)
	return r.answer(call, code, p)
}

// answer words the reply: code "" is success.
func (r *registry) answer(call nmvs.Call, code string, p *truth) (nmvs.Answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wire, _ := nmvs.CodeFor(call.Op, nmvs.Single, call.Manual, 5)
	if code == "" {
		code = "NMVS_SUCCESS"
	}
	v := nmvs.Classify(code, wire)
	ans := nmvs.Answer{C: call.C, Finding: nmvs.Finding{Class: v.Class, Reason: v.Reason, Code: code, Tx: "T-" + call.C, At: time.Now()}}
	if v.Class == nmvs.Foreign || v.Class == nmvs.Data {
		ans.AlertID = "FR-" + call.C
	}
	if p != nil && (v.Class == nmvs.Success || v.Class == nmvs.Foreign) {
		ans.State, ans.Reasons = nmvs.StateActive, slices.Clone(p.reasons)
		if len(p.reasons) > 0 {
			ans.State = nmvs.StateInactive
		}
	}
	if !v.Class.Answered() {
		return ans, &nmvs.Error{C: call.C, Class: v.Class, Code: code}
	}
	return ans, nil
}

// holdWitness is WITNESS: bytes leave only while the projection holds the opening
// record of exactly this attempt.
func (w *world) holdWitness(call nmvs.Call, serial string) {
	ctx := context.Background()
	k := w.packOf(serial).ID()
	var st packstate.Status
	var states ledger.States
	for st == 0 || st == packstate.Ahead { // somebody applies in between
		h, _, err := w.store.Head(ctx, acc)
		if err == nil {
			st, states, err = w.store.View(ctx, acc, h, []scan.PackID{k})
		}
		if err != nil {
			w.t.Errorf("WITNESS: %v", err)
			return
		}
	}
	s := states[k]
	for _, e := range w.broker.Records(acc) {
		if e.Seq != s.Opening || s.Phase != ledger.Opened {
			continue
		}
		r, err := ledger.Decode(e.Payload, acc)
		if err == nil && attemptOf(r, call.C) != nil {
			return
		}
	}
	if !w.reg.lossy.Load() && !w.reg.forgot.Load() {
		w.t.Errorf("WITNESS: %s of pack %s leaves while the projection (%v) says %+v", call.C, serial, st, s)
	}
}

// holdOpen is HELD: whatever is written or executed is open on the ledger, for this attempt.
func (w *world) holdOpen(what string, call nmvs.Call) {
	if w.reg.lossy.Load() {
		return
	}
	f := w.fold()
	for _, p := range call.Packs {
		s := f.states[w.packOf(p.Serial).ID()]
		if s.Phase != ledger.Opened || f.trx[s.Opening][call.C] == false {
			w.t.Errorf("HELD: %s of pack %s is %s while the ledger says %s (opened by record %d)", call.C, p.Serial, what, s.Phase, s.Opening)
		}
	}
}
