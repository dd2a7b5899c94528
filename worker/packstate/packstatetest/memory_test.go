package packstatetest

import (
	"errors"
	"testing"

	"decom/worker/ledger"
	"decom/worker/packstate"
)

func TestMemoryKeepsEveryPromise(t *testing.T) {
	Suite(t, func(*testing.T) Fixture {
		m := NewMemory()
		return Fixture{Store: m, Lose: m.Lose}
	})
}

func TestMemoryFaultsComeInPairs(t *testing.T) {
	for _, r := range []struct {
		what  string
		fault Fault
		head  ledger.Head
		again packstate.Status
	}{
		{"failed without effect", Before, HeadAt(1, ""), packstate.OK},
		{"took effect, answer lost", AfterLost, HeadAt(2, ""), packstate.Same},
	} {
		m := NewMemory()
		begin(t, m, 1)
		m.Fail(CallApply, None, r.fault)
		wantApply(t, m, packstate.Same, HeadAt(0, ""), HeadAt(1, ""), nil, ledger.Index{})
		st, err := m.Apply(t.Context(), acc, HeadAt(1, ""), HeadAt(2, ""), openOne(2), openIdx(2, 1))
		if st != 0 || !errors.Is(err, ErrFault) || !errors.Is(err, packstate.ErrUnavailable) {
			t.Fatalf("%s: Apply = %v, %v", r.what, st, err)
		}
		wantHead(t, m, r.head)
		wantApply(t, m, r.again, HeadAt(1, ""), HeadAt(2, ""), openOne(2), openIdx(2, 1))
		wantSeqs(t, m, map[uint64]int{1: 1, 2: 1})
		if n := m.Calls(CallApply); n != 4 {
			t.Errorf("%s: %d applies counted, want 4", r.what, n)
		}
	}
}

func TestMemoryViewFails(t *testing.T) {
	m := NewMemory()
	begin(t, m, 1)
	m.Hook = func(c Call, a string) Fault {
		if c == CallView && a == acc {
			return Before
		}
		return None
	}
	if _, states, err := m.View(t.Context(), acc, HeadAt(1, ""), nil); !errors.Is(err, ErrFault) || states != nil {
		t.Errorf("View = %v, %v", states, err)
	}
}

func TestMemoryRollsBackToACopy(t *testing.T) {
	m := NewMemory()
	begin(t, m, 3)
	old := m.Save()
	wantApply(t, m, packstate.OK, HeadAt(3, ""), HeadAt(4, ""), openOne(4), openIdx(4, 1))
	for range 2 { // a copy may be used again
		m.RollBack(old)
		wantHead(t, m, HeadAt(3, ""))
		wantSeqs(t, m, map[uint64]int{1: 1, 2: 1, 3: 1})
		wantView(t, m, packstate.Stale, HeadAt(4, ""), ID(1))
		wantApply(t, m, packstate.OK, HeadAt(3, ""), HeadAt(4, ""), openOne(4), openIdx(4, 1))
	}
	if err := m.SaveHead(acc, HeadAt(4, "")); err != nil {
		t.Fatal(err)
	}
	m.Lose()
	if h, ok, err := m.LoadHead(acc); err != nil || !ok || h != HeadAt(4, "") {
		t.Errorf("LoadHead after a loss = %v, %v, %v", h, ok, err)
	}
}
