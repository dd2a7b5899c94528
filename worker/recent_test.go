package worker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"decom/worker/ledger"
)

func TestAShelfKeepsTheNewestRecordsUpToItsPacks(t *testing.T) {
	of := func(packs int) *ledger.Record {
		return &ledger.Record{Open: []ledger.Open{{Packs: make([]ledger.OpenPack, packs)}}}
	}
	s := newShelf(100)
	for _, step := range []struct {
		seq   uint64
		packs int
		kept  string // sequences
	}{
		{1, 0, "1"}, {2, 40, "1 2"}, {3, 40, "1 2 3"}, {4, 30, "3 4"}, {5, 500, "5"}, {6, 1, "6"},
		{7, 90, "6 7"}, {6, 0, "6 7"}, // given again after a loss
		{8, 7, "6 7 8"}, {9, 0, "7 8 9"},
	} {
		s.put(ledger.Head{Seq: step.seq, Hash: fmt.Sprint(step.seq)}, of(step.packs))
		var kept strings.Builder
		for seq := range uint64(10) {
			if w := s.get(seq); w.rec != nil {
				if kept.WriteString(" " + w.hash); len(s.order) != len(s.recs) {
					t.Errorf("%d records in order, %d on the shelf", len(s.order), len(s.recs))
				}
			}
		}
		if kept.String() != " "+step.kept {
			t.Errorf("after %d:%s, want %s", step.seq, kept.String(), step.kept)
		}
	}
}

// Shelves are one an account: without an end in time a process of many quiet accounts would
// fill up for days.
func TestAShelfForgetsWhatIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(1000)
		for seq := range uint64(4) {
			s.put(ledger.Head{Seq: seq, Hash: fmt.Sprint(seq)}, &ledger.Record{})
			time.Sleep(shelfTime / 2)
		}
		if s.get(0).rec != nil || s.get(1).rec != nil || s.get(2).rec == nil || s.get(3).rec == nil {
			t.Errorf("after twice its time the shelf holds %v, want the two newest", s.order)
		}
		if len(s.recs) != 2 || s.packs != 2 {
			t.Errorf("%d records of %d places are left", len(s.recs), s.packs)
		}
	})
}

func TestRecentGivesARecordByItsWholeName(t *testing.T) {
	var r recent
	if r.get(ledger.Head{}) != nil {
		t.Error("something from nothing")
	}
	rec := &ledger.Record{}
	r.add(ledger.Head{Seq: 7, Hash: "a"}, rec)
	if r.get(ledger.Head{Seq: 7, Hash: "a"}) != rec || r.get(ledger.Head{Seq: 7, Hash: "b"}) != nil || r.get(ledger.Head{Seq: 7}) != nil {
		t.Error("a record is known by its sequence and its hash")
	}
}
