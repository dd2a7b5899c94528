package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"decom/nmvs/sim"
	"decom/worker/scan"
)

// verdict is what the outcomes and the simulator's own ledger say of a run, held
// against each other and against the scenario.
type verdict struct {
	lost        []string // events without an outcome
	extra       []string // outcomes that nobody should have got
	twice       []string // changes that reached a pack already changed by the same account, undos likewise
	cleanAlerts []string // alerts at NMVS for packs that are in order
	wrong       []string // outcomes that disagree with the state or the ledger of NMVS
	different   []string // outcomes other than the scenario expects
}

// good says that the run may exit with 0.
func (v *verdict) good() bool {
	return len(v.lost)+len(v.extra)+len(v.twice)+len(v.cleanAlerts)+len(v.wrong)+len(v.different) == 0
}

// evidence is what the judge looks at.
type evidence struct {
	sc       *scenario
	outcomes map[string]*scan.Outcome
	extra    []scan.Outcome
	ledger   []sim.Entry
	pack     func(sim.Key) (sim.PackState, bool)
}

// judge is pure: it compares, it asks nobody.
func judge(e evidence) *verdict {
	v := &verdict{}
	want := e.sc.expected()
	for _, id := range slices.Sorted(maps.Keys(want)) {
		s, o := want[id], e.outcomes[id]
		switch {
		case o == nil:
			v.lost = append(v.lost, describe(s))
		case !s.allows(outcomeWord(o)) && !e.waitsForPerson(s, o):
			v.different = append(v.different, fmt.Sprintf("%s: %s, expected %s", describe(s), outcomeWord(o), s.want[0]))
		case s.fixed && !o.Repaired:
			v.different = append(v.different, describe(s)+": is not marked as repaired")
		}
	}
	for _, o := range e.extra {
		v.extra = append(v.extra, fmt.Sprintf("event %s: one more outcome, %s", o.EventID, outcomeWord(&o)))
	}
	e.judgeCalls(v)
	e.judgePacks(v, want)
	return v
}

// describe names a scan for people; a serial is no secret in a demo, but stays out of it.
func describe(s *demoScan) string {
	return fmt.Sprintf("%s (%s, %s/%s, %s)", s.id, s.kind, s.site, s.device, s.op)
}

// waitsForPerson allows for what the protocol does with bad luck: a pack whose two calls
// both stayed without an answer is put aside, and so is everything that follows on it.
func (e *evidence) waitsForPerson(s *demoScan, o *scan.Outcome) bool {
	if o.Result == scan.Unresolved {
		return s.want[0] == "done"
	}
	if outcomeWord(o) != "refused/parked" {
		return false
	}
	for _, first := range e.sc.scans {
		if f := e.outcomes[first.id]; first.key == s.key && f != nil && f.Result == scan.Unresolved {
			return true
		}
	}
	return false
}

// judgeCalls looks at each call that reached the simulator.
func (e *evidence) judgeCalls(v *verdict) {
	effects := map[string]bool{} // ClientTrxId of calls that changed a pack
	known := map[sim.Key]bool{}
	for i := range e.sc.scans {
		known[e.sc.scans[i].key] = true
	}
	for _, c := range e.ledger {
		if c.Effect {
			effects[c.C] = true
		}
		if c.Twice {
			v.twice = append(v.twice, fmt.Sprintf("%s on product %s, call %s: %s", c.Op, c.Key.Code, c.C, c.Code))
		}
		switch {
		case c.Key == sim.Key{}:
		case !known[c.Key]:
			v.wrong = append(v.wrong, fmt.Sprintf("%s on product %s, call %s: a pack that nobody scanned", c.Op, c.Key.Code, c.C))
		case c.Alert != "" && e.sc.clean[c.Key]:
			v.cleanAlerts = append(v.cleanAlerts, fmt.Sprintf("%s on product %s, call %s: %s, alert %s", c.Op, c.Key.Code, c.C, c.Code, c.AlertID))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(e.outcomes)) {
		o := e.outcomes[id]
		changed := effects[o.ClientTrxID] && o.ClientTrxID != ""
		switch {
		case o.Result == scan.Done && !o.Op.IsRead() && !changed:
			v.wrong = append(v.wrong, fmt.Sprintf("event %s: done, but NMVS changed nothing by call %q", id, o.ClientTrxID))
		case o.Result != scan.Done && o.Result != scan.Unresolved && changed:
			v.wrong = append(v.wrong, fmt.Sprintf("event %s: %s, but NMVS changed the pack by call %s", id, outcomeWord(o), o.ClientTrxID))
		}
	}
}

// tally counts what the outcomes say of one pack.
type tally struct {
	changes, undos int
	unresolved     bool
}

// judgePacks holds the number of changes that outcomes claim against the number that
// the simulator carried out, and the state it is left in.
func (e *evidence) judgePacks(v *verdict, want map[string]*demoScan) {
	said := map[sim.Key]*tally{}
	for id, s := range want {
		if s.key == (sim.Key{}) {
			continue
		}
		t := said[s.key]
		if t == nil {
			t = &tally{}
			said[s.key] = t
		}
		o := e.outcomes[id]
		switch {
		case o == nil:
		case o.Result == scan.Unresolved:
			t.unresolved = true
		case o.Result == scan.Done && o.Op.IsUndo():
			t.undos++
		case o.Result == scan.Done && !o.Op.IsRead():
			t.changes++
		}
	}
	keys := slices.SortedFunc(maps.Keys(said), func(a, b sim.Key) int { return cmp.Compare(a.String(), b.String()) })
	for _, k := range keys {
		t := said[k]
		p, _ := e.pack(k) // of a pack that is not there, everything is 0
		if t.unresolved {
			continue // its fate is open: that is what the outcome says
		}
		if t.changes != p.Decommissions || t.undos != p.Undos {
			v.wrong = append(v.wrong, fmt.Sprintf("product %s: outcomes say %d changes and %d undos, NMVS carried out %d and %d",
				k.Code, t.changes, t.undos, p.Decommissions, p.Undos))
		}
	}
}
