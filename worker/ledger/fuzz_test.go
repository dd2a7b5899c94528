package ledger

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"testing"

	"decom/worker/scan"
)

// fuzzSeeds are records as the program writes them.
func fuzzSeeds(f *testing.F) (payloads [][]byte) {
	pack, err := scan.NewPack(scan.GTIN, testProduct.Code, "S1", testProduct.Batch, testProduct.Expiry)
	if err != nil {
		f.Fatal(err)
	}
	k := pack.ID()
	yes := true
	mixed := Open{C: "m", Svc: Mixed, SHA: "9f31", Pre: true, Probe: true, Packs: []OpenPack{
		{Serial: "S1", C: "i1", Product: testProduct, RefC: "r", Calls: 3, Origin: by("e1", scan.UndoSupply, testMS)}}}
	for _, r := range []Record{
		{At: testTime},
		{At: testTime, Note: []Note{{Origin: by("e1", scan.Supply, testMS), K: k, Pack: &pack, Answer: Answer{Result: scan.Duplicate, Reason: scan.SuspectCopy}},
			{Origin: Origin{Ev: "e2", Src: "s/d", Manual: true, Repaired: true, Ref: "BL", Operator: "é", ATD: &yes, Op: scan.Supply}, Offset: 3, Detail: "x", Answer: Answer{Result: scan.Rejected}}}},
		{At: testTime, Open: []Open{opening("c1", scan.Supply, "S1", "S2"), mixed}},
		{At: testTime, Fact: []Fact{{C: "c1", Of: 1, Kind: Submitted, Tx: "A0"}, {C: "c1", Of: 1, Kind: Fence, Packs: []FactPack{{K: k}}},
			{C: "c1", Of: 1, Kind: Release, Packs: []FactPack{{K: k, Probe: true}}}, {C: "c1", Of: 1, Kind: Off, NotBefore: 7, Svc: Single, Packs: []FactPack{{K: k, Answer: answer("", "")}}},
			{C: "c1", Of: 1, Kind: Result, Packs: []FactPack{{K: k, Answer: answer(scan.Done, scan.Confirmed)}}}}},
		{At: testTime, Fact: []Fact{{Kind: Halt, Who: "w", Why: "x"}, {Kind: Resume, Who: "w", Why: "x"}, {Kind: Park, Who: "w", Packs: []FactPack{{K: k}}},
			{Kind: Review, Who: "w", Packs: []FactPack{{K: k, To: Inactive, Op: scan.Supply}}}, {Kind: Resend, C: "c1", Of: 1}, {Kind: Used, C: "c1", Of: 1}}},
	} {
		r.Account, r.By = "a", "w#1"
		payload, err := Encode(&r, Head{Seq: 4, Hash: "c2"})
		if err != nil {
			f.Fatal(err)
		}
		payloads = append(payloads, payload)
	}
	return payloads
}

// FuzzRecord: no payload makes Decode, Fold or a Book panic; what decodes and may be
// written is written and read back as itself, byte by byte from the second time on; and what
// Encode writes is never refused by Decode.
func FuzzRecord(f *testing.F) {
	for _, p := range fuzzSeeds(f) {
		f.Add(p)
	}
	for _, text := range []string{
		`{"v":2,"account":"a","open":[{"c":"x","svc":"single","packs":[]}]}`, `{"v":2,"account":"a","fact":[{"kind":"result","packs":[{"k":"x"}]}]}`,
		`{"v":2,"account":"a","note":[{"pack":{}}]}`, `{"v":2,"account":"a","fact":[{"kind":"result","of":18446744073709551615,"packs":[{"i":-1,"k":""}]}]}`, "null", "", `{"v":2}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := Decode(payload, "a")
		if err != nil {
			if !errors.Is(err, ErrRecord) || r != nil {
				t.Fatalf("%q: %v, %v", payload, r, err)
			}
			return
		}
		for _, before := range []States{{}, everyPhase(r)} {
			states := maps.Clone(before)
			idx, err := Fold(7, r, states)
			if err != nil && !errors.Is(err, ErrRecord) {
				t.Fatalf("%q: %v", payload, err)
			}
			if again := maps.Clone(before); err == nil {
				if idx2, _ := Fold(7, r, again); !reflect.DeepEqual(idx, idx2) || !maps.Equal(states, again) {
					t.Fatalf("%q: folded twice, two meanings", payload)
				}
			}
		}
		b := NewBook()
		b.Add(7, r)
		b.Add(8, r)
		b.Attempts(func(a *Attempt) {
			for i := range a.Packs {
				_ = a.IsLeft(i)
				_ = a.Trx(i)
			}
		})
		roundTrip(t, payload, r)
	})
}

func roundTrip(t *testing.T, payload []byte, r *Record) {
	t.Helper()
	prev := Head{Seq: r.PrevSeq, Hash: r.Prev}
	first, err := Encode(r, prev)
	if err != nil {
		return // readable, but nothing that we would write
	}
	again, err := Decode(first, "a")
	if err != nil {
		t.Fatalf("%q: encoded as %q, which is refused: %v", payload, first, err)
	}
	second, err := Encode(again, prev)
	if err != nil || string(second) != string(first) {
		t.Fatalf("%q: encoded as %q, then as %q, %v", payload, first, second, err)
	}
	one, two := States{}, States{}
	x1, err1 := Fold(7, r, one)
	x2, err2 := Fold(7, again, two)
	if (err1 == nil) != (err2 == nil) || !maps.Equal(one, two) || err1 == nil && !reflect.DeepEqual(x1.Open, x2.Open) {
		t.Fatalf("%q: means %+v, read back %+v", payload, one, two)
	}
}

// everyPhase gives the packs of a record different phases.
func everyPhase(r *Record) States {
	states := States{}
	for i, k := range r.Touched() {
		states[k] = before(Phase(i%5), i%2 == 0)
	}
	return states
}

// FuzzHistory: whatever the order of opens and facts, late and foreign ones too, the lists
// that Fold keeps (open, due, parked) are those of the packs' states, and a Book knows exactly
// the packs that are open.
func FuzzHistory(f *testing.F) {
	f.Add([]byte{0, 0, 1, 1, 0, 0, 2, 0, 1})
	f.Add([]byte{0, 0, 0, 3, 0, 0, 4, 0, 0, 0, 1, 1, 5, 1, 2, 6, 0, 0, 7, 1, 0})
	f.Add([]byte{0, 6, 9, 2, 0, 33, 1, 0, 0, 8, 1, 0, 0, 3, 0, 9, 2, 1, 0, 2, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		h := history{states: States{}, open: map[uint64]int{}, due: map[scan.PackID]bool{}, parked: map[scan.PackID]bool{}, book: NewBook()}
		for seq := uint64(1); len(program) >= 3 && seq < 60; seq++ {
			r := h.record(seq, program[0], program[1], program[2])
			program = program[3:]
			payload, err := Encode(&r, Head{})
			if err != nil {
				t.Fatal(err)
			}
			back, err := Decode(payload, "a")
			if err != nil {
				t.Fatal(err)
			}
			h.take(t, seq, back)
		}
	})
}

// history is a ledger that grows, with the lists that a projection keeps.
type history struct {
	states States
	open   map[uint64]int
	due    map[scan.PackID]bool
	parked map[scan.PackID]bool
	book   *Book
	opens  []Open   // every one that was written
	at     []uint64 // the record of each
}

var fuzzPacks = []string{"S0", "S1", "S2", "S3"}

// record makes a record of one entry out of three bytes.
func (h *history) record(seq uint64, kind, which, how byte) Record {
	r := Record{Account: "a", By: "w", At: testTime}
	ops := scan.Ops()
	op := ops[int(how)%len(ops)]
	if int(kind)%10 == 0 || len(h.opens) == 0 {
		o := opening(fmt.Sprint("c", seq), op, fuzzPacks[int(which)%4])
		if which&4 != 0 {
			o = opening(o.C, op, fuzzPacks[int(which)%4], fuzzPacks[(int(which)+1)%4])
			o.Svc = Bulk
		}
		o.Probe = which&8 != 0
		r.Open = []Open{o}
		return r
	}
	n := int(which) % len(h.opens)
	o := h.opens[n]
	fact := Fact{C: o.C, Of: h.at[n], Kind: []Kind{Submitted, Result, Off, Fence, Release, Resend, Used, Park, Review}[int(kind)%10-1]}
	results := []scan.Result{scan.Done, scan.Duplicate, scan.Refused, scan.Alert, scan.Unresolved}
	for i := range o.Packs {
		if how&(64<<i) != 0 {
			continue // partial
		}
		p := FactPack{I: i, K: idOf(o.Packs[i].Serial), Op: op, To: Phase(how % 5), Probe: how&8 != 0}
		if fact.Kind == Result || fact.Kind == Off && how&16 != 0 {
			p.Answer = answer(results[int(how)%len(results)], "")
			p.Called = how&32 == 0
		}
		fact.Packs = append(fact.Packs, p)
	}
	r.Fact = []Fact{fact}
	return r
}

func (h *history) take(t *testing.T, seq uint64, r *Record) {
	t.Helper()
	next := maps.Clone(h.states)
	idx, err := Fold(seq, r, next)
	if err != nil {
		if !errors.Is(err, ErrRecord) {
			t.Fatal(err)
		}
		return // the account halts; here the record was never written
	}
	h.states = next
	h.book.Add(seq, r)
	for i := range r.Open {
		h.opens, h.at = append(h.opens, r.Open[i]), append(h.at, seq)
	}
	for of, n := range idx.Open {
		if h.open[of] += n; h.open[of] == 0 {
			delete(h.open, of)
		}
	}
	for k, ms := range idx.Due {
		if h.due[k] = ms >= 0; ms < 0 {
			delete(h.due, k)
		}
	}
	for k, on := range idx.Parked {
		if h.parked[k] = on; !on {
			delete(h.parked, k)
		}
	}
	h.hold(t, seq, r)
}

func (h *history) hold(t *testing.T, seq uint64, r *Record) {
	t.Helper()
	open, due, parked := map[uint64]int{}, map[scan.PackID]bool{}, map[scan.PackID]bool{}
	packs := 0
	for k, s := range h.states {
		switch s.Phase {
		case Opened:
			open[s.Opening]++
			packs++
		case Due:
			due[k] = true
		case Parked:
			parked[k] = true
		}
	}
	if !maps.Equal(open, h.open) || !maps.Equal(due, h.due) || !maps.Equal(parked, h.parked) {
		t.Fatalf("record %d (%+v): the states are %+v; the lists say open %v, due %v, parked %v", seq, r, h.states, h.open, h.due, h.parked)
	}
	left := 0
	h.book.Attempts(func(a *Attempt) {
		if a.Left() != open[a.Of] {
			t.Fatalf("record %d (%+v): attempt %s of %d has %d packs left in the book, %d open in the states", seq, r, a.C, a.Of, a.Left(), open[a.Of])
		}
		left += a.Left()
	})
	if left != packs || h.book.OpenPacks() != packs {
		t.Fatalf("record %d (%+v): %d packs are open, the book's attempts have %d, the book %d", seq, r, packs, left, h.book.OpenPacks())
	}
}
