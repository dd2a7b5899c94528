package worker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// Part of the random schedules: people who withhold and free batches and devices at random
// moments, and a batch that nobody uploaded. Each draw has a source of its own: a seed without
// this part goes as it went before.

// withholds says whether a seed's plan has this part.
func withholds(seed uint64) bool { return rand.New(rand.NewPCG(seed, 77)).IntN(4) == 0 }

var simScopes = []ledger.Scope{missingScope, {Lot: ledger.Lot{Scheme: scan.GTIN, Code: gtin, Batch: testLot}}, {Device: site + "/d0"}, {Device: site + "/d1"}}

// actWithhold does one thing of this part, now and then.
func (c *chaos) actWithhold() {
	if !c.withhold || c.pick("withhold", 2) == 0 {
		return
	}
	w, ctx := c.w, context.Background()
	scope := simScopes[c.pick("withhold", len(simScopes))]
	kind := c.pick("withhold", 6)
	if kind > 2 && CheckWitness(ctx, w.dev.Ledger(acc), w.resumer().State, acc) != nil {
		return // as the tools of people do
	}
	var err error
	switch kind {
	case 0:
		missing := c.pick("withhold", 2) == 0
		w.note("the batch %s is missing: %v", missingLot, missing)
		w.setMissing(missing)
	case 1, 2:
		for range 1 + c.pick("withhold", 4) {
			w.scan(fmt.Sprint("d", c.pick("withhold", 2)), fmt.Sprint("M", c.pick("withhold", 5)), scan.Supply)
			time.Sleep(2 * time.Millisecond)
		}
	case 3, 4:
		var until time.Time
		if n := c.pick("withhold", 3); n > 0 {
			until = time.Now().Add(time.Duration(n) * 2 * time.Minute)
		}
		_, err = SetWithheld(ctx, w.dev.Ledger(acc), w.store, acc, scope, until, anna)
		w.note("anna withholds %v: %v", scope, err)
	default:
		_, err = FreeWithheld(ctx, w.dev.Ledger(acc), w.store, acc, scope, anna)
		w.note("anna frees %v: %v", scope, err)
	}
}

// freeAll is a person who ends all that is withheld, or nothing would come to rest: also in a plan
// without missing uploads strangers may give a device so many alerts that it is withheld
// (seeds 446564, 699496). What fails is tried again.
func (c *chaos) freeAll() {
	w, ctx := c.w, context.Background()
	w.setMissing(false)
	controls, err := ControlsOf(ctx, w.dev.Ledger(acc), w.store, acc)
	if err != nil || CheckWitness(ctx, w.dev.Ledger(acc), w.resumer().State, acc) != nil {
		return
	}
	for _, held := range controls.Withholds(time.Now()) {
		_, err := FreeWithheld(ctx, w.dev.Ledger(acc), w.store, acc, held.Scope, anna)
		w.note("anna frees %v: %v", held.Scope, err)
	}
}

// holdWithheld is WITHHELD: no record behind a withhold opens what it is about. A ledger that
// lost its tail may have lost the fact, too.
func (c *chaos) holdWithheld() {
	if !c.isLost() {
		c.w.withheldKept()
	}
}
