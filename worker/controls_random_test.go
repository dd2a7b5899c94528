package worker

import (
	"context"
	"errors"
	"slices"
	"time"

	"decom/worker/ledger"
)

// person is somebody at a terminal: a pause or a tune, for a while or until it is ended, its
// end, or the word that each pack is to be verified first, and its end. As the tools do, it
// asks the witness first. What fails is not tried again: calm ends what stands.
func (c *chaos) person() {
	w := c.w
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	records := w.dev.Ledger(acc)
	if err := CheckWitness(ctx, records, w.store, acc); err != nil {
		w.note("a person looks: %v", err)
		return
	}
	until := int64(0)
	if c.pick("people", 2) == 0 {
		until = time.Now().Add(time.Second + c.span(c.pick("people", 600))).UnixMilli()
	}
	what, err := "goes on", error(nil)
	switch c.pick("people", 8) {
	case 0, 1, 2:
		what = "pauses"
		_, err = SetControl(ctx, records, acc, ledger.Pause, ledger.Control{Until: until}, anna)
	case 3, 4:
		what = "tunes"
		limits := ledger.Limits{Single: "1/s", Parallel: 1 + c.pick("people", 3), Batch: 1 + c.pick("people", 3), Above: c.pick("people", 2) == 0}
		_, err = SetControl(ctx, records, acc, ledger.Tune, ledger.Control{Until: until, Limits: &limits}, anna)
	case 5:
		what = "has packs verified first"
		_, err = SetVerifyFirst(ctx, records, w.store, acc, true, anna)
	case 6:
		what = "ends the verify-first"
		_, err = SetVerifyFirst(ctx, records, w.store, acc, false, anna)
	default:
		err = c.goOn(ctx, records)
	}
	w.note("a person %s (until %d): %v", what, until, err)
}

func (c *chaos) goOn(ctx context.Context, records Records) error {
	seen, err := ControlsOf(ctx, records, c.w.store, acc)
	if err != nil {
		return err
	}
	_, err = EndControls(ctx, records, c.w.store, acc, seen, anna)
	return err
}

// letGo ends what people left standing, as calm goes on.
func (c *chaos) letGo() {
	w := c.w
	ctx := context.Background()
	records := w.dev.Ledger(acc)
	seen, err := ControlsOf(ctx, records, w.store, acc)
	if err == nil && CheckWitness(ctx, records, w.store, acc) != nil {
		return // the account halts, and is resumed first
	}
	if err == nil && (seen.Pause != nil || seen.Tune != nil) {
		err = c.goOn(ctx, records)
	}
	if err == nil && seen.Verify != nil {
		_, err = SetVerifyFirst(ctx, records, w.store, acc, false, anna)
	}
	moved := errors.Is(err, ErrContended) || errors.Is(err, ErrControlsMoved) || errors.Is(err, ErrVerifyFirst) // a late append of theirs
	if err != nil && !moved && !w.reg.lossy.Load() {
		w.t.Errorf("LIVE: what people set cannot be ended: %v", err)
	}
}

// controlsKept is PAUSE and VERIFY: behind a pause nothing is opened or sent again, behind a
// verify-first nothing but undos is opened that no verify saw ACTIVE. Of a ledger that lost
// records a zombie's may be of the time before.
func (c *chaos) controlsKept() {
	w := c.w
	if w.reg.lossy.Load() {
		return
	}
	w.pausesKept()
	var set ledger.Controls
	for _, e := range w.broker.Records(acc) {
		r, err := ledger.Decode(e.Payload, acc)
		if err != nil {
			w.t.Errorf("CHAIN: record %d: %v", e.Seq, err)
			return
		}
		if set.Verify != nil && slices.ContainsFunc(r.Open, func(o ledger.Open) bool { return !o.Pre && !undoes(o) }) {
			w.t.Errorf("VERIFY: record %d of %s opens a pack that was not verified behind the word of record %d", e.Seq, r.By, set.Verify.Seq)
		}
		set.Add(e.Seq, r)
	}
}

func undoes(o ledger.Open) bool {
	return o.Op.IsUndo() || o.Svc == ledger.Mixed && !slices.ContainsFunc(o.Packs, func(p ledger.OpenPack) bool { return !p.Op.IsUndo() })
}
