package queue

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// A stream with one replica sets its consumers back by itself: that it was not is played by what
// is said of the consumer.
func TestAConsumerBeyondItsStreamsEndIsSetBackToWhatNobodyAcknowledged(t *testing.T) {
	t.Parallel()
	c, err := Connect(t.Context(), Config{Dir: t.TempDir(), Lazy: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if _, err := c.Setup(t.Context(), []Account{{Name: "a", Sites: []string{"s"}}}, false); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if _, err := c.PublishScan(t.Context(), "s", "d", "", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var had []Delivery
	for len(had) < 5 {
		ds, err := c.Scans("a").Fetch(ctx, 5-len(had), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		had = append(had, ds...)
	}
	if err := AckAll(ctx, had[:2]); err != nil {
		t.Fatal(err)
	}
	have, err := c.consumerInfo(ctx, StreamScans, scansConsumer("a"))
	if err != nil {
		t.Fatal(err)
	}
	have.Delivered.Stream = 100
	back, err := c.planSetBack(ctx, &diff{}, StreamScans, have, ends{})
	if err != nil || back == nil {
		t.Fatalf("not set back: %v", err)
	}
	if err := back(ctx); err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(got) < 3 {
		short, cancel := context.WithTimeout(ctx, 20*time.Second)
		ds, err := c.Scans("a").Fetch(short, 9, 0, 0)
		cancel()
		if err != nil {
			t.Fatalf("after %v: %v; the others are lost", got, err)
		}
		for _, d := range ds {
			got = append(got, string(d.Data()))
		}
	}
	if !slices.Equal(got, []string{"2", "3", "4"}) {
		t.Errorf("delivered again %v, want what nobody acknowledged", got)
	}
}
