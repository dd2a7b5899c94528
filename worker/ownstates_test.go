package worker

import (
	"slices"
	"testing"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// What a view leaves out must be what a view would bring: after anything but a record of
// ours that the projection took, nothing is left out.
func TestOnlyOpenPacksOfAProjectedRecordNeedNoView(t *testing.T) {
	ks := []scan.PackID{"open", "due", "inactive", "other"}
	after := func() ownStates {
		o := ownStates{"due": {Phase: ledger.Opened}}
		o.folded(ledger.States{"open": {Phase: ledger.Opened, Opening: 7}, "due": {Phase: ledger.Due}, "inactive": {Phase: ledger.Inactive}}, true)
		return o
	}
	o := after()
	if got := o.unknown(ks); !slices.Equal(got, ks[1:]) {
		t.Errorf("viewed: %v", got)
	}
	states := ledger.States{"other": {Phase: ledger.Parked}}
	o.addTo(states, ks)
	if len(states) != 2 || states["open"].Opening != 7 {
		t.Errorf("states %v", states)
	}
	for name, lose := range map[string]func(){
		"a record that was not projected": func() { o.folded(ledger.States{"open": {Phase: ledger.Opened}}, false) },
		"a belief from the ledger":        func() { o.forget() },
		"too many": func() {
			for i := range ownMost + 1 {
				o[scan.PackID(rune(i+1000))] = ledger.State{}
			}
			o.folded(nil, true)
		},
	} {
		o = after()
		if lose(); !slices.Equal(o.unknown(ks), ks) {
			t.Errorf("%s: something is still left out", name)
		}
	}
}
