package worker

import (
	"decom/worker/ledger"
	"decom/worker/scan"
)

// ownStates are the open packs as this loop's own last records left them. While the
// projection's head is the loop's belief, it holds just these states: apply is the only
// writer, and moves the head with every pack that it changes (protocol.md section 2.3). So an
// answer to an attempt, or a scan that must wait for it, needs a view of halt and head, not
// once more of each pack. All others are viewed as S2 asks, due packs too, which are not
// open; and every pack again before its bytes leave (S7). Owned by the loop.
type ownStates map[scan.PackID]ledger.State

// ownMost bounds the memory: attempts in doubt stay open for hours.
const ownMost = 8_000

// folded takes the states after a record of ours; projected says that the projection has
// taken it, too.
func (o ownStates) folded(states ledger.States, projected bool) {
	if !projected || len(o) > ownMost {
		o.forget()
	}
	if !projected {
		return
	}
	for k, s := range states {
		if s.Phase == ledger.Opened {
			o[k] = s
		} else {
			delete(o, k)
		}
	}
}

// forget is for a belief that comes from the ledger: others may have changed any pack.
func (o ownStates) forget() { clear(o) }

// unknown returns those of ks that have to be viewed.
func (o ownStates) unknown(ks []scan.PackID) []scan.PackID {
	if len(o) == 0 {
		return ks
	}
	ask := make([]scan.PackID, 0, len(ks))
	for _, k := range ks {
		if _, ok := o[k]; !ok {
			ask = append(ask, k)
		}
	}
	return ask
}

// addTo adds those of ks that need no view.
func (o ownStates) addTo(states ledger.States, ks []scan.PackID) {
	if len(o) == 0 {
		return
	}
	for _, k := range ks {
		if s, ok := o[k]; ok {
			states[k] = s
		}
	}
}
