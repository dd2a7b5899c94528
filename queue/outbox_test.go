package queue_test

import (
	"context"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/ledger"
)

// An ack asks for the next record at once. A reader that ends then must not keep that record
// for a whole AckWait: after a restart the outcomes would stand still.
func TestARecordThatWasAskedForAheadIsGivenBack(t *testing.T) {
	c, err := queue.Connect(t.Context(), queue.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Setup(t.Context(), []queue.Account{{Name: "a", Sites: []string{"s1"}}}, false); err != nil {
		t.Fatal(err)
	}
	head := ledger.Head{}
	for _, payload := range []string{"one", "two"} {
		if head, err = c.Ledger("a").Append(t.Context(), head, []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	first, err := c.Outbox("a").Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Ack(ctx); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // it comes meanwhile
	stop()
	second, err := c.Outbox("a").Next(ctx)
	if err != nil || string(second.Entry().Payload) != "two" {
		t.Fatalf("a reader that ends got %+v, %v", second, err)
	}
	if err := second.Retry(ctx, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	again, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	if r, err := c.Outbox("a").Next(again); err != nil || string(r.Entry().Payload) != "two" || r.Delivered() != 2 {
		t.Errorf("the next reader got %+v, %v", r, err)
	}
}
