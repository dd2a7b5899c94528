package ledger

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"decom/worker/scan"
)

const testTime = "2026-11-22T10:15:31.201Z"

var testMS = func() int64 { t, _ := time.Parse(time.RFC3339Nano, testTime); return t.UnixMilli() }()

var testProduct = &Product{Scheme: scan.GTIN, Code: "03400930000007", Batch: "LOT42", Expiry: "281100"}

func idOf(serial string) scan.PackID {
	p, err := scan.NewPack(scan.GTIN, testProduct.Code, serial, testProduct.Batch, testProduct.Expiry)
	if err != nil {
		panic(err)
	}
	return p.ID()
}

func by(ev string, op scan.Op, ms int64) Origin {
	return Origin{Ev: ev, Src: "s/d", Key: ms, Timed: true, Op: op}
}

func opening(c string, op scan.Op, serials ...string) Open {
	o := Open{C: c, Svc: Single, Op: op, Product: testProduct}
	for _, s := range serials {
		o.Packs = append(o.Packs, OpenPack{Serial: s, Origin: by("ev-"+c, op, testMS)})
	}
	return o
}

func answer(r scan.Result, reason scan.Reason) *Answer {
	return &Answer{Result: r, Reason: reason, Called: true, NMVSAt: testTime}
}

// before is a pack in each phase, opened by record 5 for a supply, or (undo) by record
// 5 for an undo of the supply of record 3.
func before(phase Phase, undo bool) State {
	s := State{Phase: phase, Opening: 5, Changed: 6, Print: 99, Calls: 1, Last: by("old", scan.Supply, 1).OrderKey(), Timed: true}
	switch {
	case phase == Free:
		s.Opening, s.Calls = 0, 0
	case undo:
		s.Op, s.Base, s.At, s.Undo = scan.UndoSupply, 3, 1700000000, true
	default:
		s.Op = scan.Supply
	}
	if phase == Inactive {
		s.Op, s.Base, s.At = scan.Supply, 5, 1700000000
	}
	return s
}

// TestEveryEntryMeansOneThingInEveryPhase is protocol.md section 2.1's table: each
// entry over each phase. "same" means that the entry says nothing about such a pack.
func TestEveryEntryMeansOneThingInEveryPhase(t *testing.T) {
	k := idOf("S1")
	of5 := func(kind Kind, a *Answer) Record {
		return Record{At: testTime, Fact: []Fact{{C: "c", Of: 5, Kind: kind, Packs: []FactPack{{K: k, Answer: a}}}}}
	}
	people := func(kind Kind, to Phase, op scan.Op) Record {
		return Record{At: testTime, Fact: []Fact{{Kind: kind, Who: "p", Packs: []FactPack{{K: k, To: to, Op: op}}}}}
	}
	for _, tt := range []struct {
		name string
		rec  Record
		undo bool
		want [5]Phase // by phase before: free, open, due, inactive, parked
	}{
		{"result done", of5(Result, answer(scan.Done, "")), false, [5]Phase{Free, Inactive, Due, Inactive, Parked}},
		{"result done of an undo", of5(Result, answer(scan.Done, "")), true, [5]Phase{Free, Free, Due, Inactive, Parked}},
		{"result refused", of5(Result, answer(scan.Refused, scan.Recalled)), false, [5]Phase{Free, Free, Due, Inactive, Parked}},
		{"result refused of an undo", of5(Result, answer(scan.Refused, scan.TooLate)), true, [5]Phase{Free, Inactive, Due, Inactive, Parked}},
		{"result alert", of5(Result, answer(scan.Alert, scan.UnknownSerial)), false, [5]Phase{Free, Parked, Due, Inactive, Parked}},
		{"result unresolved", of5(Result, answer(scan.Unresolved, scan.NoEvidence)), false, [5]Phase{Free, Parked, Due, Inactive, Parked}},
		{"withdrawn by our own rules", of5(Result, &Answer{Result: scan.Refused, Reason: scan.ExpiredPack}), false, [5]Phase{Free, Free, Free, Inactive, Parked}},
		{"undo withdrawn", of5(Result, &Answer{Result: scan.Refused, Reason: scan.TooLate}), true, [5]Phase{Free, Inactive, Inactive, Inactive, Parked}},
		{"off", of5(Off, nil), false, [5]Phase{Free, Due, Due, Inactive, Parked}},
		{"fence", of5(Fence, nil), false, [5]Phase{Free, Opened, Due, Inactive, Parked}},
		{"release", of5(Release, nil), false, [5]Phase{Free, Due, Due, Inactive, Parked}},
		{"submitted", of5(Submitted, nil), false, [5]Phase{Free, Opened, Due, Inactive, Parked}},
		{"resend", of5(Resend, nil), false, [5]Phase{Free, Opened, Due, Inactive, Parked}},
		{"used", of5(Used, nil), false, [5]Phase{Free, Opened, Due, Inactive, Parked}},
		{"park", people(Park, 0, 0), false, [5]Phase{Parked, Parked, Parked, Parked, Parked}},
		{"review: inactive", people(Review, Inactive, scan.Supply), false, [5]Phase{Inactive, Inactive, Inactive, Inactive, Inactive}},
		{"review: free", people(Review, Free, 0), false, [5]Phase{Free, Free, Free, Free, Free}},
		{"review cannot open", people(Review, Opened, scan.Supply), false, [5]Phase{Parked, Parked, Parked, Parked, Parked}},
		{"note", Record{At: testTime, Note: []Note{{Origin: by("n", scan.Supply, testMS), K: k}}}, false, [5]Phase{Free, Opened, Due, Inactive, Parked}},
	} {
		for phase, want := range tt.want {
			t.Run(fmt.Sprintf("%s, %s before", tt.name, Phase(phase)), func(t *testing.T) {
				old := before(Phase(phase), tt.undo)
				states := States{k: old}
				idx, err := Fold(9, &tt.rec, states)
				if err != nil {
					t.Fatal(err)
				}
				got := states[k]
				if got.Phase != want {
					t.Errorf("became %s, want %s", got.Phase, want)
				}
				holdIndex(t, k, old, got, idx)
			})
		}
	}
}

// holdIndex checks that the lists moved as the pack did.
func holdIndex(t *testing.T, k scan.PackID, old, now State, idx Index) {
	t.Helper()
	n := 0
	for _, d := range idx.Open {
		n += d
	}
	if want := btoi(now.Phase == Opened) - btoi(old.Phase == Opened); n != want {
		t.Errorf("open list moved by %d, want %d", n, want)
	}
	due, listed := idx.Due[k]
	if gone := old.Phase == Due && now.Phase != Due; gone != (listed && due == -1) {
		t.Errorf("due list says %d (%v), the pack left it: %v", due, listed, gone)
	}
	if came := old.Phase != Due && now.Phase == Due; came && due < testMS {
		t.Errorf("due at %d, before the record's own time", due)
	}
	parked, listed := idx.Parked[k]
	if moved := (old.Phase == Parked) != (now.Phase == Parked); moved != listed || moved && parked != (now.Phase == Parked) {
		t.Errorf("parked list says %v (%v), moved: %v", parked, listed, moved)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestLateFactsChangeNothing is [B2c]: a fact about an attempt leaves every pack alone
// that is not open for that attempt, down to the last bit.
func TestLateFactsChangeNothing(t *testing.T) {
	k := idOf("S1")
	for _, kind := range []Kind{Result, Off, Fence, Release} {
		for _, phase := range []Phase{Free, Opened, Due, Inactive, Parked} {
			for _, a := range []*Answer{answer(scan.Done, ""), answer(scan.Refused, scan.Recalled), answer(scan.Alert, scan.AlreadyInactive)} {
				old := before(phase, false)
				of := uint64(4) // an earlier attempt of the same pack
				if phase != Opened {
					of = 5 // its own attempt, after it was settled
				}
				states := States{k: old}
				idx, err := Fold(9, &Record{At: testTime, Fact: []Fact{{C: "c", Of: of, Kind: kind, Packs: []FactPack{{K: k, Answer: a}}}}}, states)
				if err != nil {
					t.Fatal(err)
				}
				if states[k] != old || len(idx.Open)+len(idx.Due)+len(idx.Parked) != 0 {
					t.Errorf("late %s %s changed a pack that is %s: %+v", kind, a.Result, phase, states[k])
				}
			}
		}
	}
}

// TestOpenClaimsAFreePackOnly: two attempts at once on one pack are no record of ours.
func TestOpenClaimsAFreePackOnly(t *testing.T) {
	k := idOf("S1")
	for phase, ok := range map[Phase]bool{Free: true, Opened: false, Due: true, Inactive: true, Parked: false} {
		states := States{k: before(phase, false)}
		idx, err := Fold(9, &Record{At: testTime, Open: []Open{opening("c2", scan.Supply, "S1")}}, states)
		if ok != (err == nil) || err != nil && !errors.Is(err, ErrRecord) {
			t.Errorf("open of a %s pack: %v", phase, err)
			continue
		}
		if got := states[k]; ok && (!got.IsOpen(9) || got.IsOpen(5) || idx.Open[9] != 1) {
			t.Errorf("open of a %s pack made it %+v", phase, got)
		}
	}
}

// TestSendsCountDoubtsOnly: `sends` grows by release, survives the next open, and ends
// with any final word; `calls` counts what went out.
func TestSendsCountDoubtsOnly(t *testing.T) {
	k := idOf("S1")
	states := States{}
	fold := func(seq uint64, r Record) {
		t.Helper()
		r.At = testTime
		if _, err := Fold(seq, &r, states); err != nil {
			t.Fatal(err)
		}
	}
	one := func(of uint64, kind Kind, a *Answer) Record {
		return Record{Fact: []Fact{{C: "c", Of: of, Kind: kind, Packs: []FactPack{{K: k, Answer: a}}}}}
	}
	expect := func(what string, sends, calls uint8) {
		t.Helper()
		if s := states[k]; s.Sends != sends || s.Calls != calls {
			t.Errorf("%s: sends %d, calls %d; want %d, %d", what, s.Sends, s.Calls, sends, calls)
		}
	}
	fold(1, Record{Open: []Open{opening("a", scan.Supply, "S1")}})
	fold(2, one(1, Off, nil))
	expect("not sent", 0, 0)
	fold(3, Record{Open: []Open{opening("b", scan.Supply, "S1")}})
	fold(4, one(3, Off, &Answer{Called: true}))
	expect("refused as a whole", 0, 1)
	fold(5, Record{Open: []Open{opening("c", scan.Supply, "S1")}})
	fold(6, one(5, Fence, nil))
	if !states[k].Fenced {
		t.Error("a fence does not show")
	}
	fold(7, one(5, Release, nil))
	expect("released", 1, 2)
	fold(8, Record{Open: []Open{opening("d", scan.Supply, "S1")}})
	expect("opened again", 1, 2)
	if states[k].Fenced {
		t.Error("a new attempt is born fenced")
	}
	fold(9, one(8, Result, answer(scan.Done, "")))
	expect("done", 0, 3)
	if s := states[k]; s.Base != 8 || s.At == 0 {
		t.Errorf("the change that made it inactive is %d at %d", s.Base, s.At)
	}
	fold(10, Record{Open: []Open{opening("e", scan.UndoSupply, "S1")}})
	expect("an undo starts anew", 0, 0)
	if s := states[k]; s.Base != 8 || s.InactiveAs() != scan.Supply {
		t.Errorf("an undo on its way forgot what it undoes: %+v", s)
	}
}

// TestEventsMoveLastAndSeen: `last` := max, `seen` keeps the four newest; a read adds
// to `seen` and supersedes nothing.
func TestEventsMoveLastAndSeen(t *testing.T) {
	k := idOf("S1")
	states := States{}
	note := func(o Origin) {
		t.Helper()
		if _, err := Fold(uint64(len(states)+1), &Record{At: testTime, Note: []Note{{Origin: o, K: k}}}, states); err != nil {
			t.Fatal(err)
		}
	}
	var all []Origin
	for i := range 5 {
		o := by(fmt.Sprint("e", i), scan.Supply, int64(100+i))
		all = append(all, o)
		note(o)
	}
	s := states[k]
	if s.Last != all[4].OrderKey() || s.Saw(all[0].Tag()) || !s.Saw(all[1].Tag()) || !s.Saw(all[4].Tag()) {
		t.Errorf("after five events: %+v", s)
	}
	note(by("old", scan.UndoSupply, 50))
	if got := states[k]; got.Last != s.Last || got.Undo || !got.Saw(by("old", 0, 0).Tag()) {
		t.Errorf("an older event moved last: %+v", got)
	}
	note(by("read", scan.Verify, 500))
	if got := states[k]; got.Last != s.Last || !got.Saw(by("read", 0, 0).Tag()) {
		t.Errorf("a read moved last, or is not remembered: %+v", got)
	}
}

// TestFoldRefusesWhatWeNeverWrite: such a record halts the account.
func TestFoldRefusesWhatWeNeverWrite(t *testing.T) {
	k := idOf("S1")
	for name, r := range map[string]Record{
		"unknown kind":          {Fact: []Fact{{Kind: "what", Packs: []FactPack{{K: k}}}}},
		"result without answer": {Fact: []Fact{{C: "c", Of: 5, Kind: Result, Packs: []FactPack{{K: k}}}}},
		"pack without product":  {Open: []Open{{C: "c", Svc: Single, Packs: []OpenPack{{Serial: "S1"}}}}},
		"no serial":             {Open: []Open{{C: "c", Svc: Single, Product: testProduct, Packs: []OpenPack{{}}}}},
	} {
		if _, err := Fold(9, &r, States{k: before(Opened, false)}); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEncodeAndDecodeAgree: a record survives its payload, and the payload's limits hold.
func TestEncodeAndDecodeAgree(t *testing.T) {
	r := Record{Account: "a", By: "w#1", At: testTime, Open: []Open{opening("c", scan.Supply, "S<1>")},
		Fact: []Fact{{C: "x", Of: 3, Kind: Result, Packs: []FactPack{{K: idOf("S2"), Answer: answer(scan.Done, "")}}}}}
	b, err := Encode(&r, Head{Seq: 4, Hash: "ab"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b, "a")
	if err != nil || !reflect.DeepEqual(got, &r) || got.PrevSeq != 4 || got.Prev != "ab" {
		t.Errorf("came back as %+v, %v", got, err)
	}
	if _, err := Decode(b, "other"); !errors.Is(err, ErrRecord) {
		t.Errorf("another account's record was taken: %v", err)
	}
	for name, r := range map[string]Record{
		"operation": {Account: "a", Note: []Note{{Origin: Origin{Op: 77}}}},
		"phase":     {Account: "a", Fact: []Fact{{Kind: Review, Packs: []FactPack{{K: idOf("S1"), To: 9}}}}},
	} {
		if b, err = Encode(&r, Head{}); !errors.Is(err, ErrRecord) {
			t.Errorf("a record whose %s nobody can read is written: %s", name, b)
		}
	}
	many := Record{Account: "a"}
	for i := range MaxPacks + 1 {
		many.Note = append(many.Note, Note{Origin: by(fmt.Sprint(i), scan.Supply, 1)})
	}
	if _, err := Encode(&many, Head{}); !errors.Is(err, ErrRecord) {
		t.Errorf("%d packs in one record: %v", MaxPacks+1, err)
	}
}
