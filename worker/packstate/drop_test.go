package packstate_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"decom/worker/packstate"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

func TestBeginSweepsWhatALostHeadLeft(t *testing.T) {
	s := open(t, packstate.Config{Dir: t.TempDir()})
	begin(t, s, 5)
	if err := s.Del(t.Context(), acc, "head"); err != nil {
		t.Fatal(err)
	}
	begin(t, s, 0)
	st, states, err := s.View(t.Context(), acc, headAt(0, ""), []scan.PackID{packstatetest.ID(1), packstatetest.ID(5)})
	if err != nil || st != packstate.OK || len(states) != 0 {
		t.Errorf("View = %v, %v, %v", st, states, err)
	}
	if c, err := s.Counts(t.Context(), acc); err != nil || c != (packstate.Counts{}) {
		t.Errorf("Counts = %v, %v", c, err)
	}
}

func TestBeginWaitsForOneWhoIsEmptyingAndOutlivesTheDead(t *testing.T) {
	s := open(t, packstate.Config{Dir: t.TempDir()})
	for _, r := range []struct {
		age  time.Duration
		want packstate.Status
	}{{0, packstate.Stale}, {4 * time.Second, packstate.Stale}, {5 * time.Second, packstate.OK}} {
		mark := fmt.Sprintf("SOMEBODY %d", time.Now().Add(-r.age).UnixMilli())
		if err := s.Mark(t.Context(), acc, mark); err != nil {
			t.Fatal(err)
		}
		if st, err := s.Begin(t.Context(), acc); err != nil || st != r.want {
			t.Errorf("Begin beside a mark %v old = %v, %v; want %v", r.age, st, err, r.want)
		}
	}
}

// Several workers find Redis empty at once, and a person rebuilds in the midst:
// whatever the head says, every pack up to it must be there.
func TestRebuildsThatMeetNeverLeaveAHole(t *testing.T) {
	url := packstatetest.Redis(t)
	const workers, records = 4, 30
	var wg sync.WaitGroup
	stop := time.Now().Add(2 * time.Second)
	for range workers {
		s := open(t, packstate.Config{URL: url})
		wg.Go(func() {
			for time.Now().Before(stop) {
				synchronise(t, s, records)
			}
		})
	}
	dropper := open(t, packstate.Config{URL: url})
	drops := 0
	for time.Now().Before(stop) {
		if err := dropper.Drop(t.Context(), acc); err != nil && !errors.Is(err, packstate.ErrOvertaken) {
			t.Fatal(err)
		}
		drops++
		time.Sleep(20 * time.Millisecond)
	}
	wg.Wait()
	if drops < 10 {
		t.Errorf("only %d rebuilds happened", drops)
	}
	for head := uint64(0); head != records; head = synchronise(t, dropper, records) {
	}
	var ks []scan.PackID
	for seq := range records {
		ks = append(ks, packstatetest.ID(seq+1))
	}
	if st, states, err := dropper.View(t.Context(), acc, headAt(records, ""), ks); err != nil || st != packstate.OK || len(states) != records {
		t.Errorf("View = %v, %d of %d packs, %v", st, len(states), records, err)
	}
}

// synchronise brings one store to the last record, as the worker does, and
// checks on the way that no pack below the head is missing. It returns how far
// it came.
func synchronise(t *testing.T, s *packstate.Store, last uint64) uint64 {
	head, ok, err := s.Head(t.Context(), acc)
	if err != nil {
		t.Error(err)
		return last
	}
	if !ok {
		if _, err := s.Begin(t.Context(), acc); err != nil {
			t.Error(err)
		}
		return 0
	}
	for seq := head.Seq + 1; seq <= last; seq++ {
		var below []scan.PackID
		for i := uint64(1); i < seq; i++ {
			below = append(below, packstatetest.ID(int(i)))
		}
		st, got, err := s.View(t.Context(), acc, headAt(seq-1, ""), below)
		if err != nil || st == packstate.OK && len(got) != len(below) {
			t.Errorf("at record %d: %d of %d packs, %v", seq-1, len(got), len(below), err)
			return last
		}
		states, idx := record(seq)
		st, err = s.Apply(t.Context(), acc, headAt(seq-1, ""), headAt(seq, ""), states, idx)
		if err != nil {
			t.Error(err)
			return last
		}
		if !st.Sends() {
			return seq - 1
		}
	}
	return last
}

func TestOneWhoSleptWhileEmptyingDeletesNothingNew(t *testing.T) {
	s := open(t, packstate.Config{Dir: t.TempDir()})
	sweep := func(want packstate.Status) {
		t.Helper()
		if st, err := s.SweepStep(t.Context(), acc, "SLEEPER", string(packstatetest.ID(1)[:3])); err != nil || st != want {
			t.Fatalf("a late step = %v, %v; want %v", st, err, want)
		}
	}
	mark := fmt.Sprintf("SLEEPER %d", time.Now().Add(-time.Minute).UnixMilli())
	if err := s.Mark(t.Context(), acc, mark); err != nil {
		t.Fatal(err)
	}
	sweep(packstate.OK) // still nobody else
	if err := s.Mark(t.Context(), acc, mark); err != nil {
		t.Fatal(err)
	}
	begin(t, s, 1) // takes over and ends, so no mark is left
	sweep(packstate.Stale)
	wantView(t, s, packstate.OK, 1)
	if err := s.Mark(t.Context(), acc, "OTHER 1"); err != nil {
		t.Fatal(err)
	}
	sweep(packstate.Stale)
	wantView(t, s, packstate.OK, 1)
}
