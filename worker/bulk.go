package worker

import (
	"context"
	"fmt"

	"decom/nmvs"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// plan turns packs that are to be sent into attempts (contract.md mode, issue "bulk"):
// what single calls have room for goes single, at once; the rest shares one bulk: a
// plain one if all are of one product, batch and operation, else a mixed one. What has
// no room goes back to the stream, or stays due.
func (l *loop) plan(work context.Context, d *draft, opens []opening) error {
	rest := opens[:0] // what stays moves up behind what was looked at
	for i := range opens {
		o := &opens[i]
		if o.op.Op.IsUndo() {
			ref, err := l.trxOf(work, o.base, o.p.ID())
			if err != nil {
				return err
			}
			o.op.RefC = ref
		}
		if d.room.singles > 0 && (!l.onlyBulk() || o.single || l.cfg.Mode == ModeBulk && !plainBulk(o)) {
			d.room.singles--
			if err := l.openSingle(d, o); err != nil {
				return err
			}
			continue
		}
		rest = append(rest, *o)
	}
	group, svc, rest := l.group(rest, d.room.packs)
	if len(group) > 0 {
		d.room.packs = 0
		if err := l.openBulk(d, group, svc); err != nil {
			return err
		}
	}
	for i := range rest {
		if rest[i].it != nil {
			d.back = append(d.back, rest[i].it.Delivery)
		}
	}
	return nil
}

// needSingle counts what no bulk can carry, and has tokens in hand for it: where bulks
// take the slots a fetch brings none.
func (l *loop) needSingle(states ledger.States, due []duePack) (n int) {
	plain := !l.cfg.UseMixed || l.cfg.Mode == ModeBulk
	for i := range l.items {
		it := &l.items[i]
		if it.rejected != nil {
			continue
		}
		read := it.e.Op.IsRead() || l.verifiesFirst() && it.read == nil
		if read || plain && (it.e.Op.IsUndo() || it.e.Entry == scan.Manual) {
			n++
		}
	}
	for i := range due {
		if s := states[due[i].k]; s.Single || s.Probe || plain && s.Op.IsUndo() || l.controls.Verify != nil && l.dueReads[due[i].k].reading == nil {
			n++
		}
	}
	if want := min(n, l.free()) - l.lanes.tokens; want > 0 {
		l.lanes.tokens += l.deps.Limiter.TryTake(nmvs.Single.String(), want)
	}
	return n
}

// group picks the packs of one bulk and its service.
func (l *loop) group(opens []opening, size int) (group []opening, svc ledger.Service, rest []opening) {
	if size <= 0 || len(opens) == 0 {
		return nil, "", opens
	}
	bulk, mixed := l.lanes.carrier[ledger.Bulk], l.lanes.carrier[ledger.Mixed]
	var first *opening
	same := true
	group = make([]opening, 0, min(size, len(opens)))
	take := func(o *opening) bool { return !o.single && len(group) < size }
	for i := range opens {
		o := &opens[i]
		if !take(o) {
			rest = append(rest, *o)
			continue
		}
		if first == nil && plainBulk(o) {
			first = o
		}
		fits := first != nil && plainBulk(o) && alike(first, o)
		if !mixed && !(bulk && fits) {
			rest = append(rest, *o)
			continue
		}
		same = same && fits
		group = append(group, *o)
	}
	if bulk && same && first != nil {
		return group, ledger.Bulk, rest
	}
	return group, ledger.Mixed, rest
}

// plainBulk says whether a plain bulk can carry the pack at all: its undo has one
// RefClientTrxId for all packs, and manual entry has no bulk operation.
func plainBulk(o *opening) bool { return !o.op.Op.IsUndo() && !o.op.Manual }

func alike(a, b *opening) bool {
	return a.op.Op == b.op.Op && a.p.Scheme() == b.p.Scheme() && a.p.Code() == b.p.Code() &&
		a.p.Batch() == b.p.Batch() && a.p.Expiry() == b.p.Expiry()
}

func (l *loop) openSingle(d *draft, o *opening) error {
	return l.open(d, ledger.Open{Svc: ledger.Single, Op: o.op.Op, Product: product(o.p),
		Pre: o.pre, Probe: o.probe, Packs: []ledger.OpenPack{o.op}}, []opening{*o})
}

func (l *loop) openBulk(d *draft, group []opening, svc ledger.Service) error {
	att := ledger.Open{Svc: svc, Packs: make([]ledger.OpenPack, len(group))}
	pre := true
	for i := range group {
		o := &group[i]
		att.Packs[i] = o.op
		if svc == ledger.Mixed {
			att.Packs[i].C, att.Packs[i].Product = nmvs.NewTrxID(), product(o.p)
		}
		pre = pre && o.pre
	}
	if svc == ledger.Bulk {
		att.Op, att.Product = group[0].op.Op, product(group[0].p)
	}
	att.Pre = pre
	return l.open(d, att, group)
}

// open adds an attempt to the record, with the hash of the bytes that will leave.
func (l *loop) open(d *draft, att ledger.Open, group []opening) error {
	att.C = nmvs.NewTrxID()
	call, err := callOf(&att)
	if err != nil {
		return fmt.Errorf("attempt for pack %s: %w", group[0].p.ID(), err)
	}
	att.SHA = l.deps.NMVS.Digest(call)
	d.rec.Open = append(d.rec.Open, att)
	for i := range group {
		if group[i].it != nil {
			d.acks = append(d.acks, group[i].it.Delivery)
		} else {
			d.dueDone++
		}
	}
	return nil
}

func product(p scan.Pack) *ledger.Product {
	return &ledger.Product{Scheme: p.Scheme(), Code: p.Code(), Batch: p.Batch(), Expiry: p.Expiry()}
}
