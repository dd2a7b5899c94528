package worker

import (
	"context"
	"fmt"
	"testing"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// TestNothingIsDecidedOfAPackThatWasNotLookedAt: one look names so many packs and no more.
// A scan beyond them must wait, not be taken for one of a pack never heard of: that
// one may be inactive by us already.
func TestNothingIsDecidedOfAPackThatWasNotLookedAt(t *testing.T) {
	line(t, func(w *world) {
		p := w.start("w0", 0)
		p.drain()
		l := newLoop(p.acc)
		l.book = ledger.NewBook()
		const over = 3
		for i := range packstate.MaxPacks + over {
			pack := w.packOf(fmt.Sprint("S", i))
			e := said1("d1", fmt.Sprint(i), scan.Supply, noon)
			l.items = append(l.items, item{Delivery: settled{}, e: e, p: pack})
		}
		ks := l.keys(nil)
		states := ledger.States{}
		for _, k := range ks { // all open: each is held, and takes no place in the record
			states[k] = ledger.State{Phase: ledger.Opened}
		}
		d, err := l.draft(context.Background(), ks, states, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(d.holds) != packstate.MaxPacks || len(d.carry) != over || len(d.back)+len(d.rec.Open) != 0 {
			t.Errorf("%d held, %d carried, %d sent back, %d opened", len(d.holds), len(d.carry), len(d.back), len(d.rec.Open))
		}
	})
}

// settled is a delivery that nobody may settle.
type settled struct{ queue.Delivery }
