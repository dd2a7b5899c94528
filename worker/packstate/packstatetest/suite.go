package packstatetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

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
		{"of two appliers exactly one writes", testRace},
		{"an empty store accepts nothing until it is begun", testEmpty},
		{"FLUSHALL in the middle leaves nothing that can be written on", testLose},
		{"an older copy is stale and is caught up by projecting again", testRollBack},
		{"a process's halt blocks view and apply until its reason is taken back", testHalt},
		{"the ledger's halt blocks view and lets the resume be projected", testLedgerHalt},
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

func testHalt(t *testing.T, f Fixture) {
	s, ctx := f.Store, t.Context()
	begin(t, s, 1)
	for range 2 { // repeated after a lost answer
		if err := s.Halt(ctx, acc, "ledger lost\nrecords"); err != nil {
			t.Fatal(err)
		}
	}
	wantHalted(t, s, "ledger lost records")
	wantView(t, s, packstate.Halted, HeadAt(1, ""), ID(1))
	wantView(t, s, packstate.Halted, HeadAt(9, ""), ID(1))
	wantApply(t, s, packstate.Halted, HeadAt(1, ""), HeadAt(2, ""), openOne(2), openIdx(2, 1))
	wantApply(t, s, packstate.Halted, HeadAt(0, ""), HeadAt(1, ""), openOne(1), openIdx(1, 1))
	resume := ledger.Index{Halt: &ledger.Fact{Kind: ledger.Resume}}
	wantApply(t, s, packstate.Halted, HeadAt(1, ""), HeadAt(2, ""), nil, resume)
	wantHead(t, s, HeadAt(1, ""))
	if err := s.Halt(ctx, acc, "three alerts"); err != nil {
		t.Fatal(err)
	}
	const both = "ledger lost records\nthree alerts"
	wantHalted(t, s, both)
	if left, err := s.Unhalt(ctx, acc, "ledger lost records"); err != nil || left != both {
		t.Fatalf("Unhalt of half the reasons = %q, %v", left, err)
	}
	wantView(t, s, packstate.Halted, HeadAt(1, ""), ID(1))
	for range 2 {
		if left, err := s.Unhalt(ctx, acc, both); err != nil || left != "" {
			t.Fatalf("Unhalt = %q, %v", left, err)
		}
	}
	wantHalted(t, s, "")
	wantApply(t, s, packstate.OK, HeadAt(1, ""), HeadAt(2, ""), openOne(2), openIdx(2, 1))
	wantView(t, s, packstate.OK, HeadAt(2, ""), ID(1))
}

func testLedgerHalt(t *testing.T, f Fixture) {
	s := f.Store
	begin(t, s, 1)
	halt := ledger.Index{Halt: &ledger.Fact{Kind: ledger.Halt, Why: "three alerts"}}
	wantApply(t, s, packstate.OK, HeadAt(1, ""), HeadAt(2, ""), nil, halt)
	wantHalted(t, s, "three alerts")
	wantView(t, s, packstate.Halted, HeadAt(2, ""), ID(1))
	if left, err := s.Unhalt(t.Context(), acc, "three alerts"); err != nil || left != "" {
		t.Fatalf("Unhalt = %q, %v", left, err)
	}
	wantView(t, s, packstate.Halted, HeadAt(2, ""), ID(1)) // that was not a process's
	wantApply(t, s, packstate.OK, HeadAt(2, ""), HeadAt(3, ""), openOne(3), openIdx(3, 1))
	wantView(t, s, packstate.Halted, HeadAt(3, ""), ID(1))
	wantApply(t, s, packstate.OK, HeadAt(3, ""), HeadAt(4, ""), nil, ledger.Index{Halt: &ledger.Fact{Kind: ledger.Resume}})
	wantHalted(t, s, "")
	wantView(t, s, packstate.OK, HeadAt(4, ""), ID(1))
	wantApply(t, s, packstate.OK, HeadAt(4, ""), HeadAt(5, ""), nil, ledger.Index{Halt: &ledger.Fact{Kind: ledger.Halt}})
	wantHalted(t, s, "halted on the ledger")
}

func testLists(t *testing.T, f Fixture) {
	s, ctx := f.Store, t.Context()
	begin(t, s, 2)
	idx := ledger.Index{
		Open:   map[uint64]int{1: 4, 2: -1, 3: 2},
		Due:    map[scan.PackID]int64{ID(1): 300, ID(2): 100, ID(3): 200, ID(4): 1790000000123},
		Parked: map[scan.PackID]bool{ID(5): true, ID(6): true, ID(7): false},
	}
	wantApply(t, s, packstate.OK, HeadAt(2, ""), HeadAt(3, ""), nil, idx)
	wantSeqs(t, s, map[uint64]int{1: 5, 3: 2})
	wantCounts(t, s, packstate.Counts{Open: 7, Due: 4, Parked: 2})
	for _, r := range []struct {
		now  int64
		max  int
		want []scan.PackID
	}{
		{99, 9, nil}, {100, 9, []scan.PackID{ID(2)}}, {1000, 9, []scan.PackID{ID(2), ID(3), ID(1)}},
		{1000, 2, []scan.PackID{ID(2), ID(3)}}, {1000, 0, nil}, {1000, -1, nil},
		{1790000000122, 1000, []scan.PackID{ID(2), ID(3), ID(1)}}, {1790000000123, 1000, []scan.PackID{ID(2), ID(3), ID(1), ID(4)}},
	} {
		if got, err := s.Due(ctx, acc, r.now, r.max); err != nil || !slices.Equal(got, r.want) {
			t.Errorf("Due(%d, %d) = %v, %v; want %v", r.now, r.max, got, err, r.want)
		}
	}
	idx = ledger.Index{
		Open:   map[uint64]int{1: -5, 3: -1},
		Due:    map[scan.PackID]int64{ID(2): -1, ID(3): 400, ID(9): -1},
		Parked: map[scan.PackID]bool{ID(5): false},
	}
	wantApply(t, s, packstate.OK, HeadAt(3, ""), HeadAt(4, ""), nil, idx)
	wantSeqs(t, s, map[uint64]int{3: 1})
	wantCounts(t, s, packstate.Counts{Open: 1, Due: 3, Parked: 1})
	if got, err := s.Due(ctx, acc, 1000, 9); err != nil || !slices.Equal(got, []scan.PackID{ID(1), ID(3)}) {
		t.Errorf("Due = %v, %v", got, err)
	}
}

func wantCounts(t *testing.T, s Store, want packstate.Counts) {
	t.Helper()
	if got, err := s.Counts(t.Context(), acc); err != nil || got != want {
		t.Fatalf("Counts = %+v, %v; want %+v", got, err, want)
	}
}

func testParkedPages(t *testing.T, f Fixture) {
	begin(t, f.Store, 0)
	idx := ledger.Index{Parked: map[scan.PackID]bool{}}
	for i := range 25 {
		idx.Parked[ID(i)] = true
	}
	wantApply(t, f.Store, packstate.OK, HeadAt(0, ""), HeadAt(1, ""), nil, idx)
	var got []scan.PackID
	for after := scan.PackID(""); ; {
		page, err := f.Store.Parked(t.Context(), acc, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		got, after = append(got, page...), page[len(page)-1]
	}
	if want := slices.Sorted(maps.Keys(idx.Parked)); !slices.Equal(got, want) {
		t.Errorf("pages = %v, want %v", got, want)
	}
	if none, err := f.Store.Parked(t.Context(), acc, "", 0); err != nil || len(none) != 0 {
		t.Errorf("Parked of 0 = %v, %v", none, err)
	}
}

func testDrop(t *testing.T, f Fixture) {
	s := f.Store
	begin(t, s, 30)
	idx := ledger.Index{
		Due: map[scan.PackID]int64{ID(1): 1}, Parked: map[scan.PackID]bool{ID(2): true},
		Halt: &ledger.Fact{Kind: ledger.Halt, Why: "old"},
	}
	wantApply(t, s, packstate.OK, HeadAt(30, ""), HeadAt(31, ""), nil, idx)
	if err := s.Halt(t.Context(), acc, "by a process"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Drop(t.Context(), acc); err != nil {
			t.Fatal(err)
		}
	}
	wantHalted(t, s, "by a process")
	if _, err := s.Unhalt(t.Context(), acc, "by a process"); err != nil {
		t.Fatal(err)
	}
	wantHalted(t, s, "")
	wantCounts(t, s, packstate.Counts{})
	wantView(t, s, packstate.Stale, HeadAt(31, ""), ID(1))
	wantApply(t, s, packstate.Stale, HeadAt(31, ""), HeadAt(32, ""), openOne(1), openIdx(1, 1))
	begin(t, s, 1)
	if got := wantView(t, s, packstate.OK, HeadAt(1, ""), ID(1), ID(2), ID(30)); len(got) != 1 {
		t.Errorf("after a rebuild to record 1: %v", got)
	}
}

func testBegin(t *testing.T, f Fixture) {
	begin(t, f.Store, 0)
	wantBegin := func(want packstate.Status) {
		t.Helper()
		if st, err := f.Store.Begin(t.Context(), acc); err != nil || st != want {
			t.Fatalf("Begin = %v, %v; want %v", st, err, want)
		}
	}
	wantBegin(packstate.Same)
	wantApply(t, f.Store, packstate.OK, HeadAt(0, ""), HeadAt(1, ""), openOne(1), openIdx(1, 1))
	wantBegin(packstate.Ahead)
	wantView(t, f.Store, packstate.OK, HeadAt(1, ""), ID(1))
}

func testAccounts(t *testing.T, f Fixture) {
	begin(t, f.Store, 2)
	const other = "chu-test-2"
	if st, _, err := f.Store.View(t.Context(), other, HeadAt(2, ""), []scan.PackID{ID(1)}); err != nil || st != packstate.Stale {
		t.Fatalf("View of another account = %v, %v", st, err)
	}
	if st, err := f.Store.Begin(t.Context(), other); err != nil || st != packstate.OK {
		t.Fatalf("Begin = %v, %v", st, err)
	}
	st, states, err := f.Store.View(t.Context(), other, HeadAt(0, ""), []scan.PackID{ID(1)})
	if err != nil || st != packstate.OK || len(states) != 0 {
		t.Fatalf("View of another account = %v, %v, %v", st, states, err)
	}
	if err := f.Store.Drop(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := f.Store.Halt(t.Context(), other, "x"); err != nil {
		t.Fatal(err)
	}
	if got := wantView(t, f.Store, packstate.OK, HeadAt(2, ""), ID(1), ID(2)); len(got) != 2 {
		t.Errorf("View = %v", got)
	}
}

func testOwn(t *testing.T, f Fixture) {
	s, ctx := f.Store, t.Context()
	wantOwn := func(acc string, want map[scan.PackID]string) {
		t.Helper()
		got, err := s.Own(ctx, acc, slices.Collect(maps.Keys(want)))
		if err != nil || !maps.Equal(got, want) {
			t.Fatalf("Own(%s) = %v, %v; want %v", acc, got, err, want)
		}
	}
	wantOwn("a", map[scan.PackID]string{})
	for range 2 {
		wantOwn("a", map[scan.PackID]string{ID(1): "a", ID(2): "a"})
	}
	wantOwn("b", map[scan.PackID]string{ID(1): "a", ID(3): "b"})
	for _, r := range []struct {
		k              int
		from, to, want string
	}{
		{1, "b", "c", "a"}, {1, "a", "b", "b"}, {1, "a", "b", "b"}, {1, "a", "c", "b"}, {4, "a", "b", ""}, {4, "", "b", "b"},
	} {
		if got, err := s.Take(ctx, ID(r.k), r.from, r.to); err != nil || got != r.want {
			t.Errorf("Take(%d, %q, %q) = %q, %v; want %q", r.k, r.from, r.to, got, err, r.want)
		}
	}
	wantOwn("a", map[scan.PackID]string{ID(1): "b", ID(2): "a", ID(4): "b"})
	many := map[scan.PackID]string{}
	for i := 100; i < 100+packstate.MaxPacks; i++ {
		many[ID(i)] = "a"
	}
	wantOwn("a", many)
}

func testFleet(t *testing.T, f Fixture) {
	beat := func(w string, ttl time.Duration, want ...string) {
		t.Helper()
		if got, err := f.Store.Heartbeat(t.Context(), w, ttl); err != nil || !slices.Equal(got, want) {
			t.Fatalf("Heartbeat(%s, %v) = %v, %v; want %v", w, ttl, got, err, want)
		}
	}
	beat("w2", time.Minute, "w2")
	beat("w1", time.Minute, "w1", "w2")
	beat("w3", 30*time.Millisecond, "w1", "w2", "w3")
	time.Sleep(60 * time.Millisecond) // the server's clock counts, a bubble could not move it
	beat("w1", time.Minute, "w1", "w2")
	beat("w2", 0, "w1")
	if _, err := f.Store.Heartbeat(t.Context(), "", time.Minute); err == nil {
		t.Error("a worker without a name was accepted")
	}
}

func testBounds(t *testing.T, f Fixture) {
	begin(t, f.Store, 1)
	s, ctx := f.Store, t.Context()
	var many []scan.PackID
	states := ledger.States{}
	for i := range packstate.MaxPacks + 1 {
		many = append(many, ID(i))
		states[ID(i)] = opened(2)
	}
	view := func(acc string, at ledger.Head, ks ...scan.PackID) error {
		_, _, err := s.View(ctx, acc, at, ks)
		return err
	}
	apply := func(prev, next ledger.Head, states ledger.States) error {
		_, err := s.Apply(ctx, acc, prev, next, states, ledger.Index{})
		return err
	}
	own := func(acc string, ks ...scan.PackID) error { _, err := s.Own(ctx, acc, ks); return err }
	for what, err := range map[string]error{
		"too many packs viewed":     view(acc, HeadAt(1, ""), many...),
		"too many packs applied":    apply(HeadAt(1, ""), HeadAt(2, ""), states),
		"too many packs owned":      own(acc, many...),
		"a short pack name":         view(acc, HeadAt(1, ""), "abc"),
		"a short pack name applied": apply(HeadAt(1, ""), HeadAt(2, ""), ledger.States{"": {}}),
		"an account with a brace":   view("a}b", HeadAt(1, "")),
		"no account":                view("", HeadAt(1, "")),
		"an owner with a star":      own("*", ID(1)),
		"a sequence without a hash": view(acc, ledger.Head{Seq: 1}),
		"a hash without a sequence": view(acc, ledger.Head{Hash: HeadAt(1, "").Hash}),
		"a hash that is none":       view(acc, ledger.Head{Seq: 1, Hash: "x"}),
		"a record after itself":     apply(HeadAt(1, ""), HeadAt(1, "b"), nil),
		"a record before itself":    apply(HeadAt(2, ""), HeadAt(1, ""), nil),
	} {
		if err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
	wantHead(t, s, HeadAt(1, ""))
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := s.View(cancelled, acc, HeadAt(1, ""), nil); err == nil {
		t.Error("a cancelled view succeeded")
	}
}

func testThousand(t *testing.T, f Fixture) {
	begin(t, f.Store, 0)
	states, idx := ledger.States{}, ledger.Index{Open: map[uint64]int{}, Due: map[scan.PackID]int64{}, Parked: map[scan.PackID]bool{}}
	for i := range packstate.MaxPacks {
		states[ID(i)] = opened(uint64(i) + 1)
		idx.Open[uint64(i)+1], idx.Due[ID(i)], idx.Parked[ID(i)] = 1, int64(i), true
	}
	wantApply(t, f.Store, packstate.OK, HeadAt(0, ""), HeadAt(1, ""), states, idx)
	got := wantView(t, f.Store, packstate.OK, HeadAt(1, ""), slices.Collect(maps.Keys(states))...)
	if !maps.Equal(got, states) {
		t.Errorf("%d of %d packs came back, or not as they went", len(got), len(states))
	}
	wantCounts(t, f.Store, packstate.Counts{Open: 1000, Due: 1000, Parked: 1000})
}
