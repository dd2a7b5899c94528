package worker

import (
	"testing"

	"decom/worker/ledger"
)

// TestARecordThatLeavesAKnownHeadBehindIsAFork: whatever head was known, Redis's or our
// own, the chain must pass through it, by sequence and hash [B6].
func TestARecordThatLeavesAKnownHeadBehindIsAFork(t *testing.T) {
	h := func(seq uint64, hash string) ledger.Head { return ledger.Head{Seq: seq, Hash: hash} }
	known := h(10, "A")
	for _, tt := range []struct {
		name              string
		known, prev, here ledger.Head
		want              bool
	}{
		{"nothing known", ledger.Head{}, ledger.Head{}, h(1, "a"), false},
		{"an older record", known, h(7, "x"), h(8, "y"), false},
		{"the head itself", known, h(8, "y"), h(10, "A"), false},
		{"another in its place", known, h(8, "y"), h(10, "B"), true},
		{"the next one", known, known, h(13, "C"), false},
		{"follows another in its place", known, h(10, "B"), h(11, "C"), true},
		{"goes past it", known, h(8, "y"), h(11, "C"), true},
		{"far behind it", known, h(12, "D"), h(14, "E"), false},
	} {
		if got := forks(tt.known, tt.prev, tt.here); got != tt.want {
			t.Errorf("%s: fork %v, want %v", tt.name, got, tt.want)
		}
	}
}
