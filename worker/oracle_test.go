package worker

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// folded is L: what the ledger, and nothing else, says.
type folded struct {
	states ledger.States
	trx    map[uint64]map[string]bool // opening record -> its attempts
	notes  map[string]bool            // source and id of rejected scans that have no pack
	told   map[string]bool            // source and id of noted scans
	facts  []ledger.Fact
	head   ledger.Head
	n      int

	submitted map[string]bool // bulks that NMVS accepted
	probes    map[string]bool // attempts that are the one qualified repeat
	gen       int             // losses of the ledger before
	broken    bool            // the chain broke, after the ledger lost records
}

// fold reads the whole ledger anew, holding it to CHAIN. It goes on from where it was
// while the ledger only grows.
func (w *world) fold() (g folded) {
	w.peek(func(f *folded) {
		g = *f
		g.states, g.trx, g.notes, g.facts = maps.Clone(f.states), maps.Clone(f.trx), maps.Clone(f.notes), slices.Clone(f.facts)
	})
	return g
}

// peek is fold without a copy: look may only read, and not call the world.
func (w *world) peek(look func(f *folded)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := &w.cache
	es := w.broker.RecordsFrom(acc, f.n)
	if f.states == nil || f.gen != w.broker.Losses() {
		probes := f.probes // a probe whose record is lost while its bytes leave was one all the same
		if probes == nil {
			probes = map[string]bool{}
		}
		*f = folded{states: ledger.States{}, trx: map[uint64]map[string]bool{}, notes: map[string]bool{}, told: map[string]bool{},
			submitted: map[string]bool{}, probes: probes, gen: w.broker.Losses()}
		es = w.broker.RecordsFrom(acc, 0)
	}
	for _, e := range es {
		r, err := ledger.Decode(e.Payload, acc)
		if err != nil {
			w.t.Errorf("CHAIN: record %d: %v", e.Seq, err)
			f.n++
			continue
		}
		if f.broken = f.broken || w.reg.lossy.Load() && (r.PrevSeq != f.head.Seq || r.Prev != f.head.Hash); f.broken {
			f.n++
			continue // nothing after it counts: everybody must halt
		}
		if r.PrevSeq != f.head.Seq || r.Prev != f.head.Hash {
			w.t.Errorf("CHAIN: record %d follows %d %s, not %d %s", e.Seq, r.PrevSeq, r.Prev, f.head.Seq, f.head.Hash)
		}
		if _, err := ledger.Fold(e.Seq, r, f.states); err != nil {
			w.t.Errorf("CHAIN: record %d does not fold: %v", e.Seq, err)
		}
		f.trx[e.Seq] = map[string]bool{}
		for i := range r.Open {
			f.trx[e.Seq][r.Open[i].C] = true
			f.probes[r.Open[i].C] = r.Open[i].Probe
		}
		for i := range r.Note {
			if r.Note[i].K == "" {
				f.notes[r.Note[i].Src+" "+r.Note[i].Ev] = true
			}
			f.told[r.Note[i].Src+" "+r.Note[i].Ev] = true
		}
		for i := range r.Fact {
			if r.Fact[i].Kind == ledger.Submitted {
				f.submitted[r.Fact[i].C] = true
			}
		}
		f.facts = append(f.facts, r.Fact...)
		f.head, f.n = e.Head(), f.n+1
		w.noteRecord(e.Seq, r)
	}
	look(f)
}

// isBroken says whether the chain broke, after the ledger lost records.
func (w *world) isBroken() (yes bool) {
	w.peek(func(f *folded) { yes = f.broken })
	return yes
}

// isProbe says whether the attempt is the one qualified repeat.
func (w *world) isProbe(c string) (yes bool) {
	w.peek(func(f *folded) { yes = f.probes[c] })
	return yes
}

// trusting says that an operator chose to take a stranger's change for ours.
func (w *world) trusting() bool { return w.cfg.Settle == E3 || w.cfg.Settle == E4 }

// isHalted says whether the halt key stands.
func (w *world) isHalted() bool {
	_, halted, err := w.store.Halted(context.Background(), acc)
	return err == nil && halted
}

// holdKept is KEPT, checked at each ack: the scan's id or a larger key is on the ledger. Of
// a record that the ledger lost, the projection must know: then the account halts.
func (w *world) holdKept(_ string, m scan.Meta) {
	lossy := w.reg.lossy.Load()
	w.peek(func(f *folded) {
		for _, e := range w.events {
			if e.id != m.MsgID || e.device != m.Device {
				continue
			}
			k := w.packOf(e.serial).ID()
			key := scan.NewKey(min(e.at.UnixMilli(), m.Stored.UnixMilli()), site+"/"+e.device, e.id)
			knows := func(s ledger.State) bool {
				return s.Saw(scan.SeenTag(site+"/"+e.device, e.id)) || key.Compare(s.Last) <= 0
			}
			if knows(f.states[k]) || e.op.IsRead() && f.told[site+"/"+e.device+" "+e.id] {
				return
			}
			if states, err := w.store.Peek(context.Background(), acc, []scan.PackID{k}); lossy && err == nil && knows(states[k]) {
				return
			}
			w.t.Errorf("KEPT: scan %s is acknowledged, the ledger knows nothing of it", e.id)
			return
		}
		if !f.notes[site+"/"+m.Device+" "+m.MsgID] && !lossy {
			w.t.Errorf("KEPT: scan %s is acknowledged without a note", m.MsgID)
		}
	})
}

// outcomes returns what was published, by event id. The map is the world's: it grows, and is
// only read. Outcomes are decoded once.
func (w *world) outcomes() map[string][]scan.Outcome {
	stored := w.broker.Stored()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range stored[w.outsRead:] {
		var out scan.Outcome
		if err := json.Unmarshal(o.Body, &out); err != nil {
			w.t.Fatal(err)
		}
		w.outs[out.EventID] = append(w.outs[out.EventID], out)
	}
	w.outsRead = len(stored)
	return w.outs
}

// outcome returns the one outcome of an event, "" if there is none.
func (w *world) outcome(e event) string {
	outs := w.outcomes()[e.id]
	if len(outs) == 0 {
		return ""
	}
	return strings.TrimSuffix(string(outs[0].Result)+"/"+string(outs[0].Reason), "/")
}

// want checks outcomes: pairs of event and "result/reason".
func (w *world) want(e event, want string) {
	w.t.Helper()
	if got := w.outcome(e); got != want {
		w.t.Errorf("event %s (%v of %s): outcome %q, want %q", e.id, e.op, e.serial, got, want)
	}
}

// quiet says that nothing is open, due or waiting, and every event has its outcome.
func (w *world) quiet() (busy string) {
	w.peek(func(f *folded) {
		for k, s := range f.states {
			if s.Phase == ledger.Opened || s.Phase == ledger.Due {
				busy = "pack " + string(k) + " is " + s.Phase.String()
			}
		}
		if f.broken {
			busy = "nobody notices that the chain is broken"
		}
	})
	if busy != "" {
		return busy
	}
	if n := w.broker.Left(acc); n > 0 {
		return "scans are not acknowledged"
	}
	outs := w.outcomes()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if len(outs[e.id]) == 0 {
			return "event " + e.id + " has no outcome"
		}
	}
	return ""
}

// settle is LIVE: without new faults everything comes to rest within limit; then the
// other invariants of protocol.md section 10 hold.
func (w *world) settle(limit time.Duration) {
	w.t.Helper()
	began := time.Now()
	for busy := w.quiet(); busy != ""; busy = w.quiet() {
		if time.Since(began) > limit {
			w.t.Errorf("LIVE: after %v %s", limit, busy)
			break
		}
		time.Sleep(max(time.Second, time.Since(began)/20))
	}
	w.hold()
}

// hold checks TRUTH, OURS, FINAL, OUT and BRAKE at rest.
func (w *world) hold() {
	w.t.Helper()
	f := w.fold()
	outs := w.outcomes()
	w.mu.Lock()
	events := slices.Clone(w.events)
	w.mu.Unlock()
	newest := map[string]event{}
	for _, e := range events {
		if n := len(outs[e.id]); n != 1 && !(n > 1 && w.reg.lossy.Load()) { // what a lost record said may be said again
			w.t.Errorf("OUT: event %s has %d outcomes", e.id, n)
		}
		if old, ok := newest[e.serial]; !e.op.IsRead() && (!ok || e.at.After(old.at)) {
			newest[e.serial] = e
		}
	}
	w.reg.mu.Lock()
	defer w.reg.mu.Unlock()
	for serial, p := range w.reg.packs {
		s := f.states[w.packOf(serial).ID()]
		if p.taken {
			continue // we may hold it for ours: our undo was executed in doubt and refused afterwards
		}
		inactive := len(p.reasons) > 0
		if p.strange && w.trusting() {
			continue // the operator's choice
		}
		if s.Phase == ledger.Inactive && !p.ours {
			w.t.Errorf("OURS: pack %s is ours on the ledger, in truth %+v", serial, *p)
		}
		if s.Phase != ledger.Parked && len(w.reg.flights[serial]) == 0 && (s.Phase == ledger.Inactive) != (inactive && p.ours) {
			w.t.Errorf("TRUTH: pack %s is %s on the ledger, in truth %+v", serial, s.Phase, *p)
		}
	}
	for serial, e := range newest {
		s := f.states[w.packOf(serial).ID()]
		switch w.resultOf(outs, e) {
		case scan.Refused, scan.Rejected, scan.Alert, scan.Unresolved:
			continue
		}
		if !asWished(e.op, s) && s.Phase != ledger.Parked {
			w.t.Errorf("FINAL: pack %s is %+v, its newest event %s asked for %v", serial, s, e.id, e.op)
		}
	}
	if limit := (1 + w.resumes) * (3 + 2*w.atOnce()); w.reg.alerts > limit {
		w.t.Errorf("BRAKE: %d alerts without a person", w.reg.alerts)
	}
}

// atOnce is how many packs one process may have open.
func (w *world) atOnce() int {
	cfg := w.cfg.withDefaults()
	if cfg.UseBulk || cfg.UseMixed {
		return cfg.Parallel + cfg.Batch
	}
	return cfg.Parallel
}

func (w *world) resultOf(outs map[string][]scan.Outcome, e event) scan.Result {
	if len(outs[e.id]) == 0 {
		return ""
	}
	return outs[e.id][0].Result
}
