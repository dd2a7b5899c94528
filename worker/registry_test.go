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
	packs   map[string]*truth                // by serial; guarded by mu
	script  []fate                           // of the next change calls; guarded by mu
	reads   []fate                           // of the next verifies; guarded by mu
	chance  func(who string, read bool) fate // guarded by mu
	atDoor  func(p *process)                 // called before a sender's last look; guarded by mu
	down    bool                             // no connection at all
	silent  bool                             // down: connections are taken, and nothing is ever answered
	bytes   map[string]string                // c -> digest; guarded by mu
	flights map[string]map[string]int        // serial -> attempt -> copies that may still be executed; guarded by mu
	barred  map[string]bool                  // ids of changes that are refused for good; guarded by mu
	used    map[string]bool                  // ids of changes that were looked at; guarded by mu
	bulks   map[string]*bulkJob              // accepted bulks by tx; guarded by mu
	changes []nmvs.Call                      // change calls written; guarded by mu
	verify  int                              // verifies written
	pings   int
	alerts  int
	calls   int         // on their way; guarded by mu
	most    int         // of them at once; guarded by mu
	unknown int         // alerts for packs of a batch that nobody uploaded
	stop    bool        // no byte may arrive: the account is halted
	forgot  atomic.Bool // the projection may lose records between the sender's last look and its write
	lossy   atomic.Bool // the ledger lost records: its fold does not tell which attempt is open

	missing     bool                               // nobody uploaded the batch missingLot: its serials are unknown, each an alert
	refusesUsed bool                               // an id that was looked at is refused (A3 of `doubt: sameid`)
	tolerance   int                                // repeats of one login that are answered without an alert
	bulkFate    func(c string, packs int) bulkFate // what becomes of an accepted bulk; nil: all at once, in a second
}

// truth is R(k).
type truth struct {
	reasons []string // empty: active
	by      string   // ClientTrxId of our change
	ours    bool
	undone  bool // we undid a change of ours once
	taken   bool // after that, a stranger decommissioned it
	strange bool // a stranger decommissioned it once
	repeats int  // tolerated repeats of our change
}

func newRegistry(t testing.TB, w *world) *registry {
	return &registry{t: t, w: w, packs: map[string]*truth{}, bytes: map[string]string{},
		flights: map[string]map[string]int{}, used: map[string]bool{}, barred: map[string]bool{}, bulks: map[string]*bulkJob{}}
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
		p.reasons, p.taken, p.strange = reasons, p.undone, true
	}
}

// always gives every call without a fate of its own this one.
func (r *registry) always(f fate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chance = func(string, bool) fate { return f }
}

func (r *registry) alertsRaised() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.alerts + r.unknown
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

func (r *registry) fateOf(who string, read bool) (f fate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := &r.script
	if read {
		list = &r.reads
	}
	if len(*list) > 0 {
		f, *list = (*list)[0], (*list)[1:]
	} else if r.chance != nil {
		f = r.chance(who, read)
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
	r.calling(1)
	defer r.calling(-1)
	read := call.Act != nmvs.ActPacks || call.Op.IsRead()
	f := r.fateOf(d.p.name, read)
	if !sleep(ctx, netTime) || f.dial || d.p.dead.Load() {
		return fails(call, nmvs.NotSent, errors.New("no connection"))
	}
	r.mu.Lock()
	wait := r.atDoor
	r.mu.Unlock()
	if wait != nil {
		wait(d.p)
	}
	ready := time.Now()
	if call.Guard != nil {
		halted := r.w.isHalted()
		if err := call.Guard(); err != nil {
			return fails(call, nmvs.NotSent, fmt.Errorf("%w: %w", nmvs.ErrGuard, err))
		}
		if halted && r.w.isHalted() {
			r.t.Errorf("STOP: the last look before call %s passes while the account is halted", call.C)
		}
	}
	if d.p.dead.Load() {
		return fails(call, nmvs.NotSent, errors.New("process ended"))
	}
	if time.Since(ready) > r.w.span(idleConn) {
		return fails(call, nmvs.InDoubt, errors.New("connection reset"))
	}
	r.w.note("%s writes %s: %+v", d.p.name, nameOf(call), f)
	r.wrote(call, read, time.Since(ready) > netTime)
	return r.travel(ctx, call, f)
}

func (r *registry) calling(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls += n
	r.most = max(r.most, r.calls)
}

// mostCalls is how many calls were on their way at once.
func (r *registry) mostCalls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.most
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
			r.w.note("a late copy arrives: %s", nameOf(call))
			r.execute(call)
		})
		<-ctx.Done()
		return fails(call, nmvs.InDoubt, nmvs.ErrTimeout)
	case f.class != 0:
		r.land(call)
		return fails(call, f.class, nil)
	case f.code != "" && (call.Service != nmvs.Single || r.bars(call)): // of a bulk the code would speak of all packs
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

// wrote checks what must hold when the first byte of a call arrives. stood says that its sender stood still between
// its last look at the pack and the write.
func (r *registry) wrote(call nmvs.Call, read, stood bool) {
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
	if call.SHA != digestOf(call) {
		r.t.Errorf("BYTES: attempt %s is not sent under the hash of its record: %q", call.C, call.SHA)
	}
	if digest, twice := r.bytes[call.C]; twice && (!r.refusesUsed || digest != digestOf(call)) {
		r.t.Errorf("BYTES: attempt %s is written twice", call.C)
	}
	r.bytes[call.C] = digestOf(call)
	for _, p := range call.Packs {
		for c := range r.flights[p.Serial] {
			if c != call.C && !r.mistaken(p.Serial) && !r.spent(c, p.Serial) {
				r.t.Errorf("ONE: pack %s has attempts %s and %s on their way", p.Serial, c, call.C)
			}
		}
		if r.flights[p.Serial] == nil {
			r.flights[p.Serial] = map[string]int{}
		}
		r.flights[p.Serial][call.C]++
	}
	for _, p := range call.Packs {
		// A second copy is late, within A3, when the first one's answer settles the pack as it leaves, and NMVS refuses
		// the id: behind a sender that stood still between its look and this write, or while that answer stands on the
		// ledger and not yet in the projection, which the sender asked (seed 985314).
		spent := r.spent(call.C, p.Serial)
		if !spent || !stood {
			r.w.holdWitness(call, p.Serial)
		}
		if !spent {
			r.w.holdOpen("written", call, p)
		}
	}
}

// spent says that a copy of attempt c can do nothing to the pack any more: where ids are refused, NMVS has seen
// its id, or the pack's own id in a mixed bulk, or refuses it for good. The caller holds mu.
func (r *registry) spent(c, serial string) bool {
	if !r.refusesUsed {
		return false
	}
	if job := r.bulks["T-"+c]; job != nil {
		for _, p := range job.call.Packs {
			if p.Serial == serial && r.used[p.C] {
				return true
			}
		}
	}
	return r.used[c] || r.barred[c]
}

// land says that a copy of a call is not on its way any more.
func (r *registry) land(call nmvs.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if call.Act != nmvs.ActPacks || call.Op.IsRead() {
		return
	}
	for i := range call.Packs {
		r.landPack(call, i)
	}
}

// landPack is land for one pack. The caller holds mu.
func (r *registry) landPack(call nmvs.Call, i int) {
	serial := call.Packs[i].Serial
	if n := r.flights[serial][call.C]; n > 1 {
		r.flights[serial][call.C] = n - 1
		return
	}
	delete(r.flights[serial], call.C)
}

// execute changes the truth, or refuses as NMVS would; a bulk is only taken in.
func (r *registry) execute(call nmvs.Call) (nmvs.Answer, error) {
	switch {
	case call.Act == nmvs.ActPoll:
		return r.result(call)
	case call.Act == nmvs.ActList:
		return r.list(call)
	case call.Service != nmvs.Single:
		return r.accept(call)
	}
	r.mu.Lock()
	code := r.change(call, 0)
	p := r.pack(call.Packs[0].Serial)
	r.mu.Unlock()
	r.land(call)
	return r.answer(call, code, p)
}

// change is the truth of one pack of a call: "" when NMVS did what was asked, or the code
// that says why not. The caller holds mu.
func (r *registry) change(call nmvs.Call, i int) (code string) {
	pk, op, c := call.Packs[i], call.Op, call.C
	if call.Service == nmvs.Mixed {
		op, c = pk.Op, pk.C
	}
	if op.IsRead() {
		return ""
	}
	switch {
	case r.refusesUsed && r.used[c]:
		return "NMVS_TE_TX_01"
	case r.barred[c]:
		return "NMVS_FE_LOT_01"
	}
	if code = r.changeNow(call, pk, op, c); code == "" {
		r.used[c] = true // a refused change must not use up its id, or "used" would prove nothing (bench/results/faults.md)
	}
	return code
}

// bars refuses a change for good: every copy of it. It says no when one was executed.
func (r *registry) bars(call nmvs.Call) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used[call.C] {
		return false
	}
	r.barred[call.C] = true
	return true
}

// mistaken says that the account may hold a stranger's change for its own, by the operator's
// choice of evidence: an accepted bulk may then still be on its way (bench/results/faults.md).
// The caller holds mu.
func (r *registry) mistaken(serial string) bool { return r.w.trusting() && r.pack(serial).strange }

// changeNow is change for an id that was not used.
func (r *registry) changeNow(call nmvs.Call, pk nmvs.Pack, op scan.Op, c string) string {
	p := r.pack(pk.Serial)
	if !r.mistaken(pk.Serial) {
		r.w.holdOpen("executed", call, pk)
	}
	want := nmvs.WantedReason(op)
	switch {
	case op.IsUndo() && (p.taken || r.mistaken(pk.Serial)):
		return "NMVS_FE_TX_01" // the table of section 5 releases an undo that was executed, if a stranger acts then: the reference stops it
	case op.IsUndo() && (!p.ours || !slices.Contains(p.reasons, want)):
		r.t.Errorf("UNDO: %s reaches pack %s, which is not inactive by us: %v", c, pk.Serial, p.reasons)
		return "NMVS_NC_PCK_06"
	case op.IsUndo() && pk.RefC != p.by:
		r.t.Errorf("undo %s cites %s, the change was %s", c, pk.RefC, p.by)
		return "NMVS_FE_TX_01"
	case op.IsUndo():
		p.reasons, p.ours, p.by, p.undone, p.repeats = nil, false, "", true, 0
		return ""
	case r.missing && lotOf(pk.Serial) == missingLot:
		r.unknown++
		return "NMVS_NC_PC_02"
	case len(p.reasons) == 0:
		p.reasons, p.ours, p.by = []string{want}, true, c
		return ""
	case p.ours && r.w.isProbe(call.C) && p.repeats < r.tolerance:
		p.repeats++
		return "NMVS_NC_PCK_23"
	case p.ours:
		r.t.Errorf("ONCE: a second decommission (%s) of pack %s reaches NMVS", c, pk.Serial)
	}
	r.alerts++
	return "NMVS_NC_PCK_22"
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
	if p != nil && (v.Class == nmvs.Success || v.Class == nmvs.Foreign || v.Class == nmvs.Repeat) {
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
	held := false
	w.peek(func(f *folded) { held = s.Phase == ledger.Opened && f.trx[s.Opening][call.C] })
	if held {
		return
	}
	if !w.reg.lossy.Load() && !w.reg.forgot.Load() {
		w.t.Errorf("WITNESS: %s of pack %s leaves while the projection (%v) says %+v", call.C, serial, st, s)
	}
}

// holdOpen is HELD: whatever is written or executed is open on the ledger, for this
// attempt. An accepted bulk may execute a pack that was parked meanwhile, and so may a late
// first copy where nothing is held (`doubt: sameid`, T_RESULT over; the model's HELD leaves
// parked packs out).
func (w *world) holdOpen(what string, call nmvs.Call, p nmvs.Pack) {
	if w.reg.lossy.Load() {
		return
	}
	w.peek(func(f *folded) {
		s := f.states[w.packOf(p.Serial).ID()]
		switch {
		case s.Phase == ledger.Opened && f.trx[s.Opening][call.C]:
		case s.Phase == ledger.Parked && what == "executed" && (f.submitted[call.C] || w.reg.refusesUsed):
		default:
			w.t.Errorf("HELD: %s of pack %s is %s while the ledger says %s (opened by record %d)", call.C, p.Serial, what, s.Phase, s.Opening)
		}
	})
}
