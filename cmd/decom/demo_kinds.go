package main

import (
	"time"

	"decom/nmvs/sim"
	"decom/worker/scan"
)

// demoKinds lists every sort of scan but the plain ones. The early ones stand first.
func demoKinds() []kind {
	return []kind{
		{name: "inactive elsewhere, first account", times: 1, packs: 1, early: true, make: inactiveElsewhere(0, "STOLEN")},
		{name: "inactive elsewhere, second account", times: 1, packs: 1, early: true, make: inactiveElsewhere(1, "DESTROYED")},
		{name: "held by the other account", times: 2, packs: 1, early: true, make: (*builder).otherAccount},

		{name: "undo", permille: 15, packs: 1, make: (*builder).undo},
		{name: "undo, then supplied again", permille: 5, packs: 1, make: (*builder).undoResupply},
		{name: "undo twice", permille: 4, packs: 1, make: (*builder).undoTwice},
		{name: "undo of a pack never ours", permille: 6, packs: 1, make: (*builder).undoNever},
		{name: "undo before its supply", permille: 4, packs: 1, make: (*builder).undoFirst},
		{name: "undo by another device at the same moment", permille: 3, packs: 1, make: (*builder).undoOrder},
		{name: "undo without a clock", permille: 3, packs: 1, make: (*builder).undoNoTime},
		{name: "undo of another operation", permille: 3, packs: 1, make: (*builder).undoOther},
		{name: "undo of a sample", permille: 3, packs: 1, make: changed(scan.Sample, scan.UndoSample)},
		{name: "undo of a lock", permille: 3, packs: 1, make: changed(scan.Lock, scan.UndoLock)},

		{name: "destroyed", permille: 5, packs: 1, make: changed(scan.Destroy, 0)},
		{name: "exported", permille: 4, packs: 1, make: changed(scan.Export, 0)},
		{name: "sample", permille: 4, packs: 1, make: changed(scan.Sample, 0)},
		{name: "free sample", permille: 3, packs: 1, make: changed(scan.FreeSample, 0)},
		{name: "locked", permille: 3, packs: 1, make: changed(scan.Lock, 0)},
		{name: "stolen", permille: 2, packs: 1, make: changed(scan.Stolen, 0)},
		{name: "destroyed after its supply", permille: 4, packs: 1, make: (*builder).destroySupplied},

		{name: "read twice at once", permille: 15, packs: 1, make: (*builder).doubleRead},
		{name: "repeated by the same device", permille: 10, packs: 1, make: (*builder).repeatSame},
		{name: "repeated by another device", permille: 8, packs: 1, make: (*builder).repeatOther},
		{name: "repeated much later", permille: 6, packs: 1, make: (*builder).repeatLater},
		{name: "message sent again", permille: 10, packs: 1, make: (*builder).republished},
		{name: "verified, then left alone", permille: 8, packs: 1, make: (*builder).verifyNew},
		{name: "verified after its supply", permille: 5, packs: 1, make: (*builder).verifySupplied},
		{name: "typed by hand", permille: 8, packs: 1, make: (*builder).manual},
		{name: "pack spelled out", permille: 12, packs: 1, make: (*builder).spelledOut},
		{name: "CloudEvent", permille: 8, packs: 1, make: (*builder).cloudEvent},
		{name: "German pack", permille: 4, packs: 1, make: (*builder).german},
		{name: "AZERTY, repaired", permille: 10, packs: 1, make: (*builder).azertyRepaired},

		{name: "recalled batch", permille: 8, packs: 1, make: (*builder).recalled},
		{name: "withdrawn product", permille: 4, packs: 1, make: (*builder).withdrawn},
		{name: "expired", permille: 6, packs: 1, make: (*builder).expired},
		{name: "unknown product", permille: 4, packs: 1, make: (*builder).unknownProduct},
		{name: "product that nobody may decommission", permille: 3, packs: 1, make: (*builder).denied},
		{name: "other expiry than known", permille: 5, packs: 1, make: (*builder).conflict},
		{name: "unknown serial", permille: 7, packs: 1, make: (*builder).unknownSerial},
		{name: "unknown serial, scanned again", permille: 3, packs: 1, make: (*builder).unknownAgain},
		{name: "unknown serial, verified", permille: 2, packs: 1, make: (*builder).unknownVerified},
		{name: "batch of other packs", permille: 4, packs: 1, make: (*builder).wrongBatch},
		{name: "unknown batch", permille: 4, packs: 1, make: (*builder).unknownBatch},
		{name: "wrong expiry", permille: 4, packs: 1, make: (*builder).wrongExpiry},

		{name: "German layout, then scanned well", permille: 5, packs: 1, make: (*builder).germanLayout},
		{name: "Caps Lock, then scanned well", permille: 4, packs: 1, make: (*builder).capsLocked},
		{name: "separator missing", permille: 5, packs: 1, make: (*builder).gsMissing},
		{name: "AZERTY, two readings", permille: 3, packs: 1, make: (*builder).azertyAmbiguous},
		{name: "AZERTY without identifier", permille: 2, packs: 1, make: (*builder).azertyBare},
		{name: "wrong check digit", permille: 4, make: (*builder).wrongCheckDigit},
		{name: "EAN", permille: 4, make: (*builder).ean},
		{name: "case", permille: 3, make: (*builder).caseCode},
		{name: "SSCC", permille: 3, make: (*builder).sscc},
		{name: "UCD", permille: 3, make: (*builder).ucd},
		{name: "not serialised", permille: 3, make: (*builder).notSerialised},
		{name: "EAN glued to the batch", permille: 2, make: (*builder).gluedEAN},
		{name: "two batches in one code", permille: 2, make: (*builder).twoBatches},
		{name: "month 13", permille: 2, make: (*builder).month13},
		{name: "forbidden character", permille: 2, make: (*builder).badCharacter},
		{name: "broken JSON", permille: 3, make: (*builder).brokenJSON},
		{name: "oversize", times: 2, make: (*builder).oversize},
		{name: "unknown operation", permille: 2, make: (*builder).unknownOp},
	}
}

// supplied starts a chain: a sound pack, decommissioned by a device.
func (b *builder) supplied() (scan.Pack, demoScan) {
	p := b.sound(b.pack())
	return p, b.of(b.scan(b.from(), scan.Supply, "done"), p)
}

// second is another scan of the pack by the same device, behind the first.
func (b *builder) second(p scan.Pack, first demoScan, op scan.Op, later time.Duration, want ...string) demoScan {
	return behind(first, b.of(b.scan(first.station, op, want...), p), later)
}

const afterwards = 700 * time.Millisecond

func (b *builder) undo() []demoScan {
	p, first := b.supplied()
	return []demoScan{first, b.second(p, first, scan.UndoSupply, afterwards, "done")}
}

func (b *builder) undoResupply() []demoScan {
	p, first := b.supplied()
	undo := b.second(p, first, scan.UndoSupply, afterwards, "done")
	return []demoScan{first, undo, b.second(p, undo, scan.Supply, afterwards, "done")}
}

func (b *builder) undoTwice() []demoScan {
	p, first := b.supplied()
	undo := b.second(p, first, scan.UndoSupply, afterwards, "done")
	return []demoScan{first, undo, b.second(p, undo, scan.UndoSupply, afterwards, "duplicate")}
}

func (b *builder) undoNever() []demoScan {
	p := b.sound(b.pack())
	return []demoScan{b.of(b.scan(b.from(), scan.UndoSupply, "refused/not_ours"), p)}
}

// undoFirst: the network delivers the undo, then the older supply.
func (b *builder) undoFirst() []demoScan {
	p := b.sound(b.pack())
	undo := b.of(b.scan(b.from(), scan.UndoSupply, "refused/not_ours"), p)
	return []demoScan{undo, b.second(p, undo, scan.Supply, -time.Second, "refused/superseded")}
}

func (b *builder) undoOrder() []demoScan {
	p, first := b.supplied()
	undo := b.of(b.scan(b.other(first.station), scan.UndoSupply, "refused/order"), p)
	return []demoScan{first, behind(first, undo, time.Second)}
}

func (b *builder) undoNoTime() []demoScan {
	p, first := b.supplied()
	first.noAt = true
	return []demoScan{first, b.second(p, first, scan.UndoSupply, afterwards, "refused/no_time")}
}

func (b *builder) undoOther() []demoScan {
	p, first := b.supplied()
	return []demoScan{first, b.second(p, first, scan.UndoExport, afterwards, "refused/inactive")}
}

// changed is a pack that is decommissioned for another reason, and undone if undo is given.
func changed(op, undo scan.Op) func(*builder) []demoScan {
	return func(b *builder) []demoScan {
		p := b.sound(b.pack())
		first := b.of(b.scan(b.from(), op, "done"), p)
		if undo == 0 {
			return []demoScan{first}
		}
		return []demoScan{first, b.second(p, first, undo, afterwards, "done")}
	}
}

func (b *builder) destroySupplied() []demoScan {
	p, first := b.supplied()
	return []demoScan{first, b.second(p, first, scan.Destroy, afterwards, "refused/inactive")}
}

// doubleRead: nobody waits for anything, so either may come first after a crash.
func (b *builder) doubleRead() []demoScan {
	p, first := b.supplied()
	first.want = []string{"done", "duplicate", "duplicate/suspect_copy"}
	return []demoScan{first, b.of(b.scan(first.station, scan.Supply, "duplicate", "done", "duplicate/suspect_copy"), p)}
}

func (b *builder) repeatSame() []demoScan {
	p, first := b.supplied()
	return []demoScan{first, b.second(p, first, scan.Supply, afterwards, "duplicate")}
}

func (b *builder) repeatOther() []demoScan {
	p, first := b.supplied()
	again := b.of(b.scan(b.other(first.station), scan.Supply, "duplicate/suspect_copy"), p)
	return []demoScan{first, behind(first, again, afterwards)}
}

func (b *builder) repeatLater() []demoScan {
	p, first := b.supplied()
	first.shift = -time.Minute
	return []demoScan{first, b.second(p, first, scan.Supply, 50*time.Second, "duplicate/suspect_copy")}
}

// republished: a robot that got no acknowledgement sends its message again; every
// second time only after the outcome.
func (b *builder) republished() []demoScan {
	_, first := b.supplied()
	again := first
	again.again = first.id
	if b.rng.IntN(2) == 0 {
		again.after = first.id
	}
	return []demoScan{first, again}
}

func (b *builder) verifyNew() []demoScan {
	p := b.sound(b.pack())
	return []demoScan{b.of(b.scan(b.from(), scan.Verify, "done"), p)}
}

func (b *builder) verifySupplied() []demoScan {
	p, first := b.supplied()
	return []demoScan{first, b.second(p, first, scan.Verify, afterwards, "done")}
}

func fieldsOf(p scan.Pack) *scan.Fields {
	return &scan.Fields{Scheme: string(p.Scheme()), Code: p.Code(), Serial: p.Serial(), Batch: p.Batch(), Expiry: p.Expiry()}
}

func (b *builder) spelledOut() []demoScan {
	p := b.sound(b.pack())
	s := b.scan(b.from(), scan.Supply, "done")
	s.pack, s.key = fieldsOf(p), packKey(p)
	return []demoScan{s}
}

func (b *builder) manual() []demoScan {
	s := b.spelledOut()[0]
	s.entry = scan.Manual
	return []demoScan{s}
}

func (b *builder) cloudEvent() []demoScan {
	_, s := b.supplied()
	s.wrap = true
	return []demoScan{s}
}

// german is an intermarket pack: known to another country's system, with a PPN.
func (b *builder) german() []demoScan {
	p := mustScheme(scan.PPN, ppnOf(b.text(figures, 8)), b.plainSerial(), b.freshBatch())
	b.sound(b.put(p, sim.Stock{Market: "DE", Name: "Packung aus Deutschland"}))
	s := b.scan(b.from(), scan.Supply, "done")
	s.text, s.key = envelope(p), packKey(p)
	return []demoScan{s}
}

// azertyRepaired: only characters that both French and Belgian keyboards undo alike,
// so the text has one reading (domain.md section 6).
func (b *builder) azertyRepaired() []demoScan {
	m := b.product()
	p := b.sound(b.put(must(m.gtin, b.plainSerial(), batchOf{b.text(plainKeys, 7), b.expiry()}), sim.Stock{Name: m.name}))
	s := b.scan(b.from(), scan.Supply, "done")
	s.text, s.key, s.fixed = azerty(plainCarrier(dataMatrixID, p)), packKey(p), true
	return []demoScan{s}
}
