package packstatetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"

	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// Fixture is an empty store and the way to make it forget everything at once.
type Fixture struct {
	Store Store
	Lose  func() // FLUSHALL behind the store's back
}

// Suite runs the promises that every store keeps. newFn returns a fixture for one
// test; several may use one server, so accounts differ from test to test where
// they can.
func Suite(t *testing.T, newFn func(t *testing.T) Fixture) {
	tests := []struct {
		promise string
		run     func(*testing.T, Fixture)
	}{
		{"a belief finds its place by sequence and hash", testPlace},
		{"an applied record is read back whole", testReadBack},
		{"the same record twice changes nothing", testTwice},
		{"several records may share one call", testShared},
		{"a peek needs no belief and heeds no halt", testPeek},
		{"of two appliers exactly one writes", testRace},
		{"an empty store accepts nothing until it is begun", testEmpty},
		{"FLUSHALL in the middle leaves nothing that can be written on", testLose},
		{"an older copy is stale and is caught up by projecting again", testRollBack},
		{"a process's halt blocks view and apply until its reason is taken back", testHalt},
		{"the ledger's halt blocks view and lets the resume be projected", testLedgerHalt},
		{"of what people set for the pace the newest record counts, and a drop forgets it", testControls},
		{"the lists follow the records", testLists},
		{"parked packs are listed once across pages", testParkedPages},
		{"drop removes everything but a process's halt", testDrop},
		{"begin overtakes nobody's projection", testBegin},
		{"accounts do not see each other", testAccounts},
		{"a pack has one holder", testOwn},
		{"a worker is alive for its ttl", testFleet},
		{"calls out of bounds are refused", testBounds},
		{"a thousand packs fit one call", testThousand},
	}
	for _, tt := range tests {
		t.Run(tt.promise, func(t *testing.T) { tt.run(t, newFn(t)) })
	}
}

// acc is the account of most tests.
const acc = "chu-test"

// ID returns the n-th of many pack names, well spread over the buckets.
func ID(n int) scan.PackID {
	p, err := scan.NewPack(scan.GTIN, "03400930000007", strconv.Itoa(n), "LOT", "281100")
	if err != nil {
		panic(err) // the arguments above are constants
	}
	return p.ID()
}

// HeadAt returns a head of that sequence; branch makes other histories.
func HeadAt(seq uint64, branch string) ledger.Head {
	if seq == 0 {
		return ledger.Head{}
	}
	return ledger.Head{Seq: seq, Hash: ledger.Hash(fmt.Appendf(nil, "%d %s", seq, branch))}
}

func opened(seq uint64) ledger.State {
	key := scan.Key{MS: 1790000000000 + int64(seq), Device: 7, ID: 11}
	return ledger.State{Phase: ledger.Opened, Op: scan.Supply, Timed: true, Print: 99, Changed: seq, Opening: seq, Last: key,
		Seen: [ledger.SeenMax]uint32{11}}
}

// begin begins the account and projects records 1 to n, each opening pack ID(seq).
func begin(t *testing.T, s Store, n uint64) {
	t.Helper()
	if st, err := s.Begin(t.Context(), acc); err != nil || st != packstate.OK {
		t.Fatalf("Begin = %v, %v", st, err)
	}
	for seq := uint64(1); seq <= n; seq++ {
		wantApply(t, s, packstate.OK, HeadAt(seq-1, ""), HeadAt(seq, ""), openOne(seq), openIdx(seq, 1))
	}
}

func openOne(seq uint64) ledger.States       { return ledger.States{ID(int(seq)): opened(seq)} }
func openIdx(seq uint64, n int) ledger.Index { return ledger.Index{Open: map[uint64]int{seq: n}} }

func wantApply(t *testing.T, s Store, want packstate.Status, prev, next ledger.Head, states ledger.States, idx ledger.Index) {
	t.Helper()
	if got, err := s.Apply(t.Context(), acc, prev, next, states, idx); err != nil || got != want {
		t.Fatalf("Apply(%d -> %d) = %v, %v; want %v", prev.Seq, next.Seq, got, err, want)
	}
}

func wantView(t *testing.T, s Store, want packstate.Status, at ledger.Head, ks ...scan.PackID) ledger.States {
	t.Helper()
	got, states, err := s.View(t.Context(), acc, at, ks)
	if err != nil || got != want {
		t.Fatalf("View(%d) = %v, %v; want %v", at.Seq, got, err, want)
	}
	if got != packstate.OK && states != nil {
		t.Fatalf("View(%d) = %v with states", at.Seq, got)
	}
	return states
}

func wantHead(t *testing.T, s Store, want ledger.Head) {
	t.Helper()
	if got, ok, err := s.Head(t.Context(), acc); err != nil || !ok || got != want {
		t.Fatalf("Head = %v, %v, %v; want %v", got, ok, err, want)
	}
}

func testPlace(t *testing.T, f Fixture) {
	begin(t, f.Store, 12)
	rows := []struct {
		what       string
		at         ledger.Head
		view       packstate.Status
		prev, next ledger.Head
		apply      packstate.Status
	}{
		{"the head itself", HeadAt(12, ""), packstate.OK, HeadAt(11, ""), HeadAt(12, ""), packstate.Same},
		{"before the first record", HeadAt(0, ""), packstate.Ahead, HeadAt(0, ""), HeadAt(1, ""), packstate.Ahead},
		{"older, fewer digits", HeadAt(9, ""), packstate.Ahead, HeadAt(8, ""), HeadAt(9, ""), packstate.Ahead},
		{"older", HeadAt(11, ""), packstate.Ahead, HeadAt(10, ""), HeadAt(11, ""), packstate.Ahead},
		{"newer", HeadAt(13, ""), packstate.Stale, HeadAt(13, ""), HeadAt(14, ""), packstate.Stale},
		{"newer, more digits", HeadAt(100, ""), packstate.Stale, HeadAt(100, ""), HeadAt(101, ""), packstate.Stale},
		{"other hash at the head", HeadAt(12, "other"), packstate.Fork, HeadAt(12, "other"), HeadAt(13, ""), packstate.Fork},
		{"other record in the head's place", HeadAt(12, "x"), packstate.Fork, HeadAt(11, ""), HeadAt(12, "x"), packstate.Ahead},
		{"longer than 2^53", HeadAt(1<<63, ""), packstate.Stale, HeadAt(1<<63, ""), HeadAt(1<<63+1, ""), packstate.Stale},
	}
	for _, r := range rows {
		if st, states, err := f.Store.View(t.Context(), acc, r.at, []scan.PackID{ID(1)}); err != nil || st != r.view || (states != nil) != (st == packstate.OK) {
			t.Errorf("%s: View = %v, %d states, %v; want %v", r.what, st, len(states), err, r.view)
		}
		if st, err := f.Store.Apply(t.Context(), acc, r.prev, r.next, openOne(99), openIdx(99, 1)); err != nil || st != r.apply {
			t.Errorf("%s: Apply = %v, %v; want %v", r.what, st, err, r.apply)
		}
	}
	wantHead(t, f.Store, HeadAt(12, ""))
	if states := wantView(t, f.Store, packstate.OK, HeadAt(12, ""), ID(99)); len(states) != 0 {
		t.Errorf("a refused apply left %v", states)
	}
	// Beyond 2^53 a float could not tell neighbours apart.
	big := uint64(1) << 60
	wantApply(t, f.Store, packstate.OK, HeadAt(12, ""), HeadAt(big, ""), nil, ledger.Index{})
	wantView(t, f.Store, packstate.Ahead, HeadAt(big-1, ""))
	wantView(t, f.Store, packstate.Stale, HeadAt(big+1, ""))
	wantApply(t, f.Store, packstate.OK, HeadAt(big, ""), HeadAt(big+1, ""), nil, ledger.Index{})
}

func testReadBack(t *testing.T, f Fixture) {
	begin(t, f.Store, 0)
	all := ledger.State{
		Phase: ledger.Due, Op: scan.UndoSupply, Fenced: true, Probe: true, Timed: true, Undo: true, Single: true, Sends: 2, Calls: 3,
		Print: 0xfffefdfc, Changed: 1, Opening: 1, Base: 400, At: 1790000010,
		Last: scan.Key{MS: 1790000000123, Device: 0x0d0a00ff, ID: 0xabcdef}, Seen: [4]uint32{1, 0xffffff, 0x0a0d00, 4},
	}
	want := ledger.States{ID(1): all, ID(2): opened(1), ID(3): {Changed: 1}, ID(4): {}}
	wantApply(t, f.Store, packstate.OK, HeadAt(0, ""), HeadAt(1, ""), want, ledger.Index{})
	got := wantView(t, f.Store, packstate.OK, HeadAt(1, ""), ID(1), ID(2), ID(3), ID(4), ID(5), ID(1))
	if !maps.Equal(got, want) {
		t.Errorf("View = %+v, want %+v", got, want)
	}
	if got := wantView(t, f.Store, packstate.OK, HeadAt(1, "")); got == nil || len(got) != 0 {
		t.Errorf("View of no pack = %v", got)
	}
	each := ledger.States{}
	err := f.Store.Each(t.Context(), acc, func(k scan.PackID, s ledger.State) error { each[k] = s; return nil })
	if err != nil || !maps.Equal(each, want) {
		t.Errorf("Each = %+v, %v", each, err)
	}
}

func testPeek(t *testing.T, f Fixture) {
	peek := func(want int, ks ...scan.PackID) {
		t.Helper()
		got, err := f.Store.Peek(t.Context(), acc, ks)
		if err != nil || got == nil || len(got) != want {
			t.Fatalf("Peek = %v, %v; want %d packs", got, err, want)
		}
		for k, s := range got {
			if s != opened(s.Opening) || k != ID(int(s.Opening)) {
				t.Fatalf("Peek: %s is %+v", k, s)
			}
		}
	}
	peek(0, ID(1))
	begin(t, f.Store, 3)
	if err := f.Store.Halt(t.Context(), acc, "x"); err != nil {
		t.Fatal(err)
	}
	peek(0)
	many := make([]scan.PackID, packstate.MaxPacks)
	for i := range many {
		many[i] = ID(i)
	}
	peek(3, many...)
	if _, err := f.Store.Peek(t.Context(), acc, append(many, ID(1))); err == nil {
		t.Error("too many packs were peeked at")
	}
	if _, err := f.Store.Peek(t.Context(), acc, []scan.PackID{"abc"}); err == nil {
		t.Error("a short pack name was peeked at")
	}
}

func testTwice(t *testing.T, f Fixture) {
	begin(t, f.Store, 1)
	idx := ledger.Index{Open: map[uint64]int{1: 2, 2: 3}, Due: map[scan.PackID]int64{ID(8): 5}, Parked: map[scan.PackID]bool{ID(9): true}}
	wantApply(t, f.Store, packstate.OK, HeadAt(1, ""), HeadAt(2, ""), openOne(2), idx)
	for range 3 { // an answer was lost, and the client repeats
		wantApply(t, f.Store, packstate.Same, HeadAt(1, ""), HeadAt(2, ""), ledger.States{ID(2): {}}, idx)
	}
	wantSeqs(t, f.Store, map[uint64]int{1: 3, 2: 3})
	if got := wantView(t, f.Store, packstate.OK, HeadAt(2, ""), ID(2)); got[ID(2)] != opened(2) {
		t.Errorf("a repeated apply wrote %+v", got)
	}
	wantApply(t, f.Store, packstate.Same, HeadAt(0, ""), HeadAt(2, ""), openOne(3), idx) // by whatever way it got there
}

func testShared(t *testing.T, f Fixture) {
	begin(t, f.Store, 2)
	states := ledger.States{ID(3): opened(3), ID(5): opened(5)}
	wantApply(t, f.Store, packstate.OK, HeadAt(2, ""), HeadAt(5, ""), states, ledger.Index{Open: map[uint64]int{3: 1, 5: 1}})
	wantHead(t, f.Store, HeadAt(5, ""))
	wantApply(t, f.Store, packstate.Ahead, HeadAt(2, ""), HeadAt(3, ""), openOne(3), openIdx(3, 1))
	if got := wantView(t, f.Store, packstate.OK, HeadAt(5, ""), ID(1), ID(3), ID(5)); len(got) != 3 {
		t.Errorf("View = %v", got)
	}
}

func testRace(t *testing.T, f Fixture) {
	begin(t, f.Store, 0)
	for seq := uint64(1); seq <= 20; seq++ {
		const rivals = 4
		var got [rivals]packstate.Status
		var errs [rivals]error
		var wg sync.WaitGroup
		for i := range rivals {
			wg.Go(func() {
				// 0 and 1 project the same record, the others one that lost the append.
				branch := []string{"", "", "b", "c"}[i]
				got[i], errs[i] = f.Store.Apply(t.Context(), acc, HeadAt(seq-1, ""), HeadAt(seq, branch),
					ledger.States{ID(i): opened(seq)}, openIdx(seq, 1))
			})
		}
		wg.Wait()
		count := map[packstate.Status]int{}
		for i, st := range got {
			if errs[i] != nil {
				t.Fatal(errs[i])
			}
			count[st]++
		}
		if count[packstate.OK] != 1 || count[packstate.OK]+count[packstate.Same]+count[packstate.Ahead]+count[packstate.Fork] != rivals {
			t.Fatalf("record %d: %v; want one OK, the others Same, Ahead or Fork", seq, got)
		}
		head, _, err := f.Store.Head(t.Context(), acc)
		if err != nil {
			t.Fatal(err)
		}
		winner := slices.Index(got[:], packstate.OK)
		if want := HeadAt(seq, []string{"", "", "b", "c"}[winner]); head != want {
			t.Fatalf("record %d: %d won, head is %v", seq, winner, head)
		}
		wantSeqs(t, f.Store, map[uint64]int{seq: 1})
		// Back on the main branch for the next round.
		if err := f.Store.Drop(t.Context(), acc); err != nil {
			t.Fatal(err)
		}
		begin(t, f.Store, 0)
		wantApply(t, f.Store, packstate.OK, HeadAt(0, ""), HeadAt(seq, ""), nil, ledger.Index{})
	}
}

func testEmpty(t *testing.T, f Fixture) {
	if _, ok, err := f.Store.Head(t.Context(), acc); ok || err != nil {
		t.Fatalf("Head of nothing = %v, %v", ok, err)
	}
	wantView(t, f.Store, packstate.Stale, HeadAt(0, ""), ID(1))
	// Not even a first record [B8f].
	wantApply(t, f.Store, packstate.Stale, HeadAt(0, ""), HeadAt(1, ""), openOne(1), openIdx(1, 1))
	wantSeqs(t, f.Store, map[uint64]int{})
	begin(t, f.Store, 0)
	wantView(t, f.Store, packstate.OK, HeadAt(0, ""), ID(1))
	wantApply(t, f.Store, packstate.OK, HeadAt(0, ""), HeadAt(1, ""), openOne(1), openIdx(1, 1))
}

func testLose(t *testing.T, f Fixture) {
	begin(t, f.Store, 5)
	f.Lose()
	wantApply(t, f.Store, packstate.Stale, HeadAt(5, ""), HeadAt(6, ""), openOne(6), openIdx(6, 1))
	wantApply(t, f.Store, packstate.Stale, HeadAt(0, ""), HeadAt(1, ""), openOne(1), openIdx(1, 1))
	wantView(t, f.Store, packstate.Stale, HeadAt(5, ""), ID(1))
	wantView(t, f.Store, packstate.Stale, HeadAt(0, ""), ID(1))
	begin(t, f.Store, 6) // synchronise
	if got := wantView(t, f.Store, packstate.OK, HeadAt(6, ""), ID(1), ID(6)); len(got) != 2 {
		t.Errorf("after the rebuild View = %v", got)
	}
	wantSeqs(t, f.Store, map[uint64]int{1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1})
}

func testRollBack(t *testing.T, f Fixture) {
	begin(t, f.Store, 5)
	f.Lose()
	begin(t, f.Store, 3) // a copy as it was at record 3
	wantView(t, f.Store, packstate.Stale, HeadAt(5, ""), ID(1))
	wantApply(t, f.Store, packstate.Stale, HeadAt(5, ""), HeadAt(6, ""), openOne(6), openIdx(6, 1))
	wantHead(t, f.Store, HeadAt(3, ""))
	for seq := uint64(4); seq <= 6; seq++ {
		wantApply(t, f.Store, packstate.OK, HeadAt(seq-1, ""), HeadAt(seq, ""), openOne(seq), openIdx(seq, 1))
	}
	wantView(t, f.Store, packstate.OK, HeadAt(6, ""), ID(1))
}

func wantSeqs(t *testing.T, s Store, want map[uint64]int) {
	t.Helper()
	if got, err := s.OpenSeqs(t.Context(), acc); err != nil || !maps.Equal(got, want) {
		t.Fatalf("OpenSeqs = %v, %v; want %v", got, err, want)
	}
}

func wantHalted(t *testing.T, s Store, why string) {
	t.Helper()
	got, halted, err := s.Halted(context.WithoutCancel(t.Context()), acc)
	if err != nil || got != why || halted != (why != "") {
		t.Fatalf("Halted = %q, %v, %v; want %q", got, halted, err, why)
	}
}
