package packstatetest

import (
	"context"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

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
		{math.MaxInt64, 1000, []scan.PackID{ID(2), ID(3), ID(1), ID(4)}},
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

func testControls(t *testing.T, f Fixture) {
	s, ctx := f.Store, t.Context()
	begin(t, s, 1)
	want := func(seq uint64) {
		t.Helper()
		got, err := s.Controls(ctx, acc)
		if err != nil || got.Seq != seq || (got.Pause != nil) != (seq != 0) {
			t.Fatalf("Controls = %+v, %v; want those of record %d", got, err, seq)
		}
	}
	save := func(seq uint64, who string) {
		t.Helper()
		c := ledger.Controls{Seq: seq, Pause: &ledger.Standing{Seq: seq, Who: who, Why: "w\"h\ny", Control: ledger.Control{Until: 7}},
			Tune: &ledger.Standing{Control: ledger.Control{Limits: &ledger.Limits{Single: "3/s", Above: true}}}}
		if err := s.SaveControls(ctx, acc, c); err != nil {
			t.Fatal(err)
		}
	}
	want(0)
	save(900, "ann")
	save(900, "bob") // a repeat
	save(89, "eve")  // late
	want(900)
	if got, _ := s.Controls(ctx, acc); got.Pause.Who != "ann" || got.Pause.Until != 7 || got.Tune.Limits.Single != "3/s" || !got.Tune.Limits.Above {
		t.Errorf("read back as %+v, %+v", got.Pause, got.Tune)
	}
	save(1000, "bob")
	want(1000)
	if err := s.Drop(ctx, acc); err != nil {
		t.Fatal(err)
	}
	want(0)
	save(2, "ann")
	f.Lose()
	want(0)
}
