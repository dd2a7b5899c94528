package main

import (
	"fmt"
	"strings"
	"time"

	"decom/nmvs/sim"
	"decom/worker/scan"
)

// inactiveElsewhere: somebody who is none of our accounts did it. One an account: three
// in an hour halt an account, because a worker that sends twice looks like this
// (protocol.md section 9). The reason is another than ours, so that even a call
// that gets no answer cannot be taken for our own doing.
func inactiveElsewhere(account int, reason string) func(*builder) []demoScan {
	return func(b *builder) []demoScan {
		m := b.product()
		p := b.suspect(b.put(must(m.gtin, b.serial(), b.batch(m.gtin)), sim.Stock{Name: m.name, Reasons: []string{reason}}))
		return []demoScan{b.of(b.scan(b.fromAccount(account), scan.Supply, "alert/already_inactive"), p)}
	}
}

// otherAccount: the clinic scans a pack that the hospital decommissioned. Early, so that
// it is over before any crash: what holds the accounts apart is advice that a
// crash of an embedded store loses (protocol.md section 6).
func (b *builder) otherAccount() []demoScan {
	p := b.sound(b.pack())
	first := b.of(b.scan(b.fromAccount(0), scan.Supply, "done"), p)
	return []demoScan{first, behind(first, b.of(b.scan(b.fromAccount(1), scan.Supply, "refused/other_account"), p), afterwards)}
}

// special is a pack that NMVS refuses, by what its stock entry says. extra concerns
// the whole product or batch, so both are the pack's own.
func (b *builder) special(extra sim.Stock, want ...string) []demoScan {
	m := b.reserve()
	extra.Name = m.name
	p := b.sound(b.put(must(m.gtin, b.serial(), b.freshBatch()), extra))
	return []demoScan{b.of(b.scan(b.from(), scan.Supply, want...), p)}
}

func (b *builder) recalled() []demoScan {
	m := b.product()
	p := b.sound(b.put(must(m.gtin, b.serial(), b.freshBatch()), sim.Stock{Name: m.name, Recalled: new(true)}))
	return []demoScan{b.of(b.scan(b.from(), scan.Supply, "refused/recalled"), p)}
}

func (b *builder) withdrawn() []demoScan {
	return b.special(sim.Stock{Withdrawn: new(true)}, "refused/withdrawn")
}

// denied may also end as an alert: when the answer is lost, the verify is refused, too, and
// then nothing is known of the pack.
func (b *builder) denied() []demoScan {
	return b.special(sim.Stock{Denied: new(true)}, "refused/not_entitled", "alert/not_entitled", "alert/unknown_pack")
}

func (b *builder) expired() []demoScan {
	m := b.product()
	batch := b.freshBatch()
	batch.expiry = fmt.Sprintf("%02d%02d00", (b.year-1)%100, 1+b.rng.IntN(12))
	p := b.sound(b.put(must(m.gtin, b.serial(), batch), sim.Stock{Name: m.name}))
	return []demoScan{b.of(b.scan(b.from(), scan.Supply, "refused/expired"), p)}
}

// unknownProduct: a sound code that is not in the store at all.
func (b *builder) unknownProduct() []demoScan {
	p := b.suspect(must(b.reserve().gtin, b.serial(), b.freshBatch()))
	return []demoScan{b.of(b.scan(b.from(), scan.Supply, "refused/unknown_product", "alert/unknown_product", "alert/unknown_pack"), p)}
}

// conflict: a second scan of a decommissioned pack reads another expiry.
func (b *builder) conflict() []demoScan {
	p, first := b.supplied()
	wrong := must(p.Code(), p.Serial(), batchOf{p.Batch(), fmt.Sprintf("%02d%s", (b.year+5)%100, p.Expiry()[2:4]+"15")})
	return []demoScan{first, b.second(wrong, first, scan.Supply, afterwards, "rejected/conflict")}
}

// unknown is a pack of a known product and batch that its maker did not report.
func (b *builder) unknown() scan.Pack {
	p := b.pack()
	return b.suspect(must(p.Code(), b.serial(), batchOf{p.Batch(), p.Expiry()}))
}

func (b *builder) unknownSerial() []demoScan {
	return []demoScan{b.of(b.scan(b.from(), scan.Supply, "alert/unknown_serial"), b.unknown())}
}

func (b *builder) unknownAgain() []demoScan {
	p := b.unknown()
	first := b.of(b.scan(b.from(), scan.Supply, "alert/unknown_serial"), p)
	return []demoScan{first, b.second(p, first, scan.Supply, afterwards, "refused/parked")}
}

func (b *builder) unknownVerified() []demoScan {
	return []demoScan{b.of(b.scan(b.from(), scan.Verify, "alert/unknown_serial"), b.unknown())}
}

// wrongBatch: the batch exists, but holds other packs.
func (b *builder) wrongBatch() []demoScan {
	p := b.pack()
	other := b.put(must(p.Code(), b.serial(), b.freshBatch()), sim.Stock{})
	b.suspect(p)
	wrong := must(p.Code(), p.Serial(), batchOf{other.Batch(), other.Expiry()})
	return []demoScan{b.of(b.scan(b.from(), scan.Supply, "alert/wrong_batch"), wrong)}
}

func (b *builder) unknownBatch() []demoScan {
	p := b.suspect(b.pack())
	wrong := must(p.Code(), p.Serial(), batchOf{"0" + b.text(figures, 7), p.Expiry()})
	return []demoScan{b.of(b.scan(b.from(), scan.Supply, "alert/unknown_batch"), wrong)}
}

func (b *builder) wrongExpiry() []demoScan {
	p := b.suspect(b.pack())
	wrong := must(p.Code(), p.Serial(), batchOf{p.Batch(), fmt.Sprintf("%02d%s", (b.year+6)%100, p.Expiry()[2:])})
	return []demoScan{b.of(b.scan(b.from(), scan.Supply, "alert/wrong_expiry"), wrong)}
}

// refusedText is a scan that no pack can be read from.
func (b *builder) refusedText(from station, text, reason string) demoScan {
	s := b.scan(from, scan.Supply, "rejected/"+reason)
	s.text = text
	return s
}

// thenWell: the device mangles a scan, somebody puts it right, the pack is scanned again.
func (b *builder) thenWell(mangle func(scan.Pack) string, reason string) []demoScan {
	p := b.sound(b.pack())
	bad := b.refusedText(b.from(), mangle(p), reason)
	return []demoScan{bad, b.second(p, bad, scan.Supply, afterwards, "done")}
}

func (b *builder) germanLayout() []demoScan {
	return b.thenWell(func(p scan.Pack) string { return "+d2" + plainCarrier("", p) }, "layout")
}

func (b *builder) capsLocked() []demoScan {
	return b.thenWell(func(p scan.Pack) string { return capsLock(plainCarrier(dataMatrixID, p)) }, "case")
}

// gsMissing: serial and next fields run together, so that nobody can tell where one ends.
func (b *builder) gsMissing() []demoScan {
	return b.thenWell(func(p scan.Pack) string {
		return strings.ReplaceAll(plainCarrier(dataMatrixID, p), groupSep, "")
	}, "gs_missing")
}

// azertyAmbiguous: a 6 of a French keyboard is an = of a Belgian one. Where only the serial
// has one, both readings are packs; in a code or date, digits tell them apart.
func (b *builder) azertyAmbiguous() []demoScan {
	const telling = "68"
	m := b.product()
	for strings.ContainsAny(m.gtin, telling) {
		m = b.product()
	}
	year := b.year + 1
	for strings.ContainsAny(fmt.Sprintf("%02d", year%100), telling) {
		year++
	}
	batch := batchOf{b.text(plainKeys, 7), fmt.Sprintf("%02d1200", year%100)}
	p := b.sound(b.put(must(m.gtin, "S"+b.plainSerial()[:8]+"66", batch), sim.Stock{Name: m.name}))
	return []demoScan{b.refusedText(b.from(), azerty(plainCarrier(dataMatrixID, p)), "layout")}
}

func (b *builder) azertyBare() []demoScan {
	return b.thenWell(func(p scan.Pack) string { return azerty(plainCarrier("", p)) }, "layout")
}

// notInStock is a pack for texts that must not be read: nothing of it reaches NMVS.
func (b *builder) notInStock() scan.Pack {
	return must(b.product().gtin, b.serial(), b.freshBatch())
}

func (b *builder) wrongCheckDigit() []demoScan {
	p := b.notInStock()
	digit := p.Code()[13]
	wrong := p.Code()[:13] + string('0'+(digit-'0'+1+byte(b.rng.IntN(9)))%10)
	text := strings.Replace(plainCarrier(dataMatrixID, p), p.Code(), wrong, 1)
	return []demoScan{b.refusedText(b.from(), text, "check_digit")}
}

func (b *builder) ean() []demoScan {
	return []demoScan{b.refusedText(b.from(), b.product().gtin[1:], "not_a_pack")}
}

func (b *builder) withCode(first12 func(cip string) string) []demoScan {
	p := b.notInStock()
	body := first12(p.Code()[1:13])
	code := body + checkDigit(body)
	text := strings.Replace(plainCarrier(dataMatrixID, p), p.Code(), code, 1)
	return []demoScan{b.refusedText(b.from(), text, "not_a_pack")}
}

func (b *builder) caseCode() []demoScan {
	return b.withCode(func(cip string) string { return "2" + cip })
}

func (b *builder) ucd() []demoScan {
	return b.withCode(func(cip string) string { return "034008" + cip[5:] })
}

func (b *builder) sscc() []demoScan {
	body := "3" + b.text(figures, 16)
	return []demoScan{b.refusedText(b.from(), "]C100"+body+checkDigit(body), "not_a_pack")}
}

func (b *builder) notSerialised() []demoScan {
	code, _, expiry, batch := elementsOf(b.notInStock())
	return []demoScan{b.refusedText(b.from(), carrierText(dataMatrixID, code, expiry, batch), "not_serialised")}
}

// gluedEAN: a scanner that reads a second code appends it to the first one.
func (b *builder) gluedEAN() []demoScan {
	p := must(b.product().gtin, b.serial(), batchOf{b.text(capitals, 6), b.expiry()}) // short: the two together still fit
	return []demoScan{b.refusedText(b.from(), plainCarrier(dataMatrixID, p)+p.Code()[1:], "glued")}
}

func (b *builder) twoBatches() []demoScan {
	p := b.notInStock()
	return []demoScan{b.refusedText(b.from(), plainCarrier(dataMatrixID, p)+groupSep+"10"+b.text(figures, 9), "conflict")}
}

func (b *builder) month13() []demoScan {
	code, serial, _, batch := elementsOf(b.notInStock())
	return []demoScan{b.refusedText(b.from(), carrierText(dataMatrixID, code, serial, element{"17", "271300", true}, batch), "expiry")}
}

func (b *builder) badCharacter() []demoScan {
	code, _, expiry, batch := elementsOf(b.notInStock())
	return []demoScan{b.refusedText(b.from(), carrierText(dataMatrixID, code, element{"21", "A#" + b.text(figures, 6), false}, expiry, batch), "charset")}
}

func (b *builder) rawScan(body string) []demoScan {
	s := b.scan(b.from(), scan.Supply, "rejected/malformed")
	s.raw = []byte(body)
	return []demoScan{s}
}

func (b *builder) brokenJSON() []demoScan {
	return b.rawScan(`{"v":1,"op":"supply","scan":"]d201` + b.product().gtin)
}

func (b *builder) oversize() []demoScan {
	return b.rawScan(`{"v":1,"scan":"]d2","ref":"` + strings.Repeat("x", scan.MaxEvent) + `"}`)
}

func (b *builder) unknownOp() []demoScan {
	return b.rawScan(`{"v":1,"op":"return_to_sender","at":"` + time.Unix(0, 0).UTC().Format(time.RFC3339) + `","scan":"]d2"}`)
}
