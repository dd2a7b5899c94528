package queue_test

import (
	"context"
	"fmt"
	"testing"

	"decom/queue"
)

func outcomeSet(from, n int) []queue.Outcome {
	out := make([]queue.Outcome, n)
	for i := range out {
		id := fmt.Sprintf("ev-%d", from+i)
		out[i] = queue.Outcome{Site: "s1", Device: "d", EventID: id, Ledger: "a/1/" + id, Body: []byte(id)}
	}
	return out
}

// A whole record's outcomes are stored in order, and a batch that holds an id which is
// there already still stores the others.
func TestOutcomesOfARecordAreStoredOnceInOrder(t *testing.T) {
	c, err := queue.Connect(t.Context(), queue.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Setup(t.Context(), []queue.Account{{Name: "a", Sites: []string{"s1"}}}, false); err != nil {
		t.Fatal(err)
	}
	if last, err := c.LastOutcome(t.Context()); err != nil || last != 0 {
		t.Errorf("last outcome of none: %d, %v", last, err)
	}
	acks, err := c.PublishOutcomes(t.Context(), outcomeSet(0, 2500)) // more than one batch
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range acks {
		if a.Duplicate || a.Seq != uint64(i+1) {
			t.Fatalf("outcome %d: %+v", i, a)
		}
	}
	acks, err = c.PublishOutcomes(t.Context(), outcomeSet(2490, 20)) // ten of them again
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range acks {
		if a.Duplicate != (i < 10) || a.Seq != uint64(2491+i) {
			t.Errorf("outcome %d: %+v", 2490+i, a)
		}
	}
	if last, err := c.LastOutcome(t.Context()); err != nil || last != 2510 {
		t.Errorf("last outcome: %d, %v", last, err)
	}
	n := 0
	err = c.Outcomes(context.WithoutCancel(t.Context()), queue.OutcomeFilter{}, func(o queue.StoredOutcome) error {
		if want := fmt.Sprintf("ev-%d", n); o.EventID != want || string(o.Body) != want || o.Ledger != "a/1/"+want {
			return fmt.Errorf("outcome %d is %+v", n, o)
		}
		n++
		return nil
	})
	if err != nil || n != 2510 {
		t.Errorf("%d outcomes stored: %v", n, err)
	}
}
