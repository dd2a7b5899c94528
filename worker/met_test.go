package worker

import (
	"fmt"
	"testing"

	"decom/worker/scan"
)

// A pack that was met and is taken for a new one would lose what Redis knows of it.
func TestAPackThatWasMetIsNeverTakenForANewOne(t *testing.T) {
	name := func(i int) scan.PackID {
		p, err := scan.NewPack(scan.GTIN, gtin, fmt.Sprint("S", i), testLot, testExp)
		if err != nil {
			t.Fatal(err)
		}
		return p.ID()
	}
	for _, packs := range []int{0, 1, 500, 40_000} {
		m, taken := newMet(packs), 0
		for i := range packs {
			if m.add(name(i)) {
				taken++
			}
		}
		if taken > packs/200 {
			t.Errorf("%d of %d new packs are taken for packs that were met: each costs a view", taken, packs)
		}
		for i := range packs * 3 { // more than expected, too
			m.add(name(i))
		}
		for i := range packs * 3 {
			if !m.add(name(i)) {
				t.Fatalf("pack %d of %d is taken for a new one", i, packs)
			}
		}
	}
	if m := newMet(1 << 40); len(m.lines) != metLines {
		t.Errorf("%d lines, at most %d are allowed", len(m.lines), metLines)
	}
}
