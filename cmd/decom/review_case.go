package main

import (
	"context"
	"fmt"
	"slices"

	"decom/queue"
	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// reviewCase is what the ledger says of a pack that may wait for a person.
type reviewCase struct {
	State  ledger.State
	Pack   scan.Pack     // zero while only its name is known
	Answer ledger.Answer // the last word about it: of an attempt, or a park
	Op     scan.Op       // what was asked when it was put aside
	Source string        // SITE/DEVICE of that scan
	Event  string
	Since  string // when it was put aside, the writer's clock
	Seq    uint64 // by which record
	Who    string // the last person who said something
	Why    string
	Kept   bool // a person looked and left it put aside for good

	NMVSState string // what NMVS said last: ACTIVE, INACTIVE, ...; empty: nothing known
}

// waits says whether the pack waits for a person.
func (c *reviewCase) waits() bool { return c.State.Phase == ledger.Parked && !c.Kept }

// caseReader folds an account's ledger for some packs, or all, and keeps what people
// need to know of them. It goes on where it stopped when asked again.
type caseReader struct {
	account string
	records worker.Records
	only    map[scan.PackID]bool // nil: every pack
	cases   map[scan.PackID]*reviewCase
	last    ledger.Head
	brief   bool // forget packs that are settled; one that is put aside later has no more history than that
}

func newCaseReader(records worker.Records, account string, only map[scan.PackID]bool) *caseReader {
	return &caseReader{account: account, records: records, only: only, cases: map[scan.PackID]*reviewCase{}}
}

func (x *caseReader) wants(k scan.PackID) bool { return k != "" && (x.only == nil || x.only[k]) }

// read takes what the ledger has beyond the last record read.
func (x *caseReader) read(ctx context.Context) error {
	_, err := x.records.Read(ctx, x.last.Seq+1, func(e queue.Entry) error {
		r, err := ledger.Decode(e.Payload, x.account)
		if err != nil {
			return &worker.ChainError{Seq: e.Seq, Err: err}
		}
		if prev := (ledger.Head{Seq: r.PrevSeq, Hash: r.Prev}); prev != x.last {
			return &worker.ChainError{Seq: e.Seq, Err: fmt.Errorf("it does not follow record %d", x.last.Seq)}
		}
		x.last = e.Head()
		return x.take(e.Seq, r)
	})
	return err
}

func (x *caseReader) take(seq uint64, r *ledger.Record) error {
	touched := slices.DeleteFunc(r.Touched(), func(k scan.PackID) bool { return !x.wants(k) })
	if len(touched) == 0 {
		return nil
	}
	states := make(ledger.States, len(touched))
	for _, k := range touched {
		c := x.cases[k]
		if c == nil {
			c = &reviewCase{}
			x.cases[k] = c
		}
		states[k] = c.State
	}
	// Packs that nobody wants are folded from nothing: they break no rule so.
	if _, err := ledger.Fold(seq, r, states); err != nil {
		return &worker.ChainError{Seq: seq, Err: err}
	}
	x.words(r)
	for _, k := range touched {
		c := x.cases[k]
		if c.State.Phase != ledger.Parked && states[k].Phase == ledger.Parked {
			c.Since, c.Seq, c.Kept = r.At, seq, false
		}
		c.State = states[k]
		if x.brief && (c.State.Phase == ledger.Free || c.State.Phase == ledger.Inactive) {
			delete(x.cases, k)
		}
	}
	return nil
}

// words keeps what a record says beside the state.
func (x *caseReader) words(r *ledger.Record) {
	for i := range r.Note {
		if n := &r.Note[i]; x.wants(n.K) {
			c := x.cases[n.K]
			if n.Pack != nil && c.Pack.IsZero() {
				c.Pack = *n.Pack
			}
			if c.Source == "" { // its attempt was lost: the scan that came again is all there is
				c.Op, c.Source, c.Event = n.Op, n.Src, n.Ev
			}
			if n.State != "" {
				c.NMVSState = n.State
			}
		}
	}
	for i := range r.Open {
		o := &r.Open[i]
		for j := range o.Packs {
			p, err := o.Pack(j)
			if err != nil || !x.wants(p.ID()) {
				continue
			}
			c := x.cases[p.ID()]
			c.Pack, c.Op, c.Source, c.Event = p, o.Packs[j].Op, o.Packs[j].Src, o.Packs[j].Ev
			c.NMVSState = "" // what it said before says nothing about this attempt
		}
	}
	for i := range r.Fact {
		f := &r.Fact[i]
		for j := range f.Packs {
			p := &f.Packs[j]
			if !x.wants(p.K) {
				continue
			}
			c := x.cases[p.K]
			if about := f.Of == 0 || f.Of == c.State.Opening; p.Answer != nil && about {
				c.Answer = *p.Answer
				if p.State != "" || f.Kind == ledger.Park {
					c.NMVSState = p.State
				}
			}
			if f.Kind == ledger.Review || f.Kind == ledger.Park {
				c.Who, c.Why = f.Who, f.Why
			}
			if f.Kind == ledger.Review {
				c.Kept = p.To != ledger.Free && p.To != ledger.Inactive
			}
		}
	}
}
