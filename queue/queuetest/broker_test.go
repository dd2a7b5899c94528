package queuetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"decom/queue"
	"decom/queue/queuetest"
	"decom/worker/ledger"
)

func broker(t testing.TB) *queuetest.Broker {
	return queuetest.NewBroker(t, queue.Account{Name: "a", Sites: []string{"north"}})
}

// Each append fault: what the caller is told, what is on the ledger then, and what the
// next append with the same head gets.
func TestAppendFaultsComeInPairs(t *testing.T) {
	for _, test := range []struct {
		fault queuetest.Fault
		want  error
		now   int   // records after the fault
		next  error // of the same bytes, appended again
		end   int   // records after that
	}{
		{queuetest.AppendFails, queuetest.ErrInjected, 0, nil, 1},
		{queuetest.AppendNot, queue.ErrUnknown, 0, nil, 1},
		{queuetest.AppendStored, queue.ErrUnknown, 1, queue.ErrLost, 1},
		{queuetest.AppendLate, queue.ErrUnknown, 0, queue.ErrLost, 1},
	} {
		b := broker(t)
		l := b.Conn().Ledger("a")
		b.Fail(test.fault, 1)
		if _, err := l.Append(t.Context(), ledger.Head{}, []byte("x")); !errors.Is(err, test.want) || len(b.Records("a")) != test.now {
			t.Errorf("fault %d: %v, %d records", test.fault, err, len(b.Records("a")))
		}
		_, err := l.Append(t.Context(), ledger.Head{}, []byte("x"))
		if test.next == nil && err != nil || test.next != nil && !errors.Is(err, test.next) || len(b.Records("a")) != test.end {
			t.Errorf("after fault %d: %v, %d records", test.fault, err, len(b.Records("a")))
		}
		if b.Failed(test.fault) != 1 {
			t.Errorf("fault %d happened %d times", test.fault, b.Failed(test.fault))
		}
	}
}

// Each ack fault: what the caller is told, and whether the scan comes again after AckWait.
func TestAckFaultsComeInPairs(t *testing.T) {
	for _, test := range []struct {
		fault queuetest.Fault
		fails bool
		again bool
	}{
		{queuetest.AckFails, true, true}, {queuetest.AckLost, false, true}, {queuetest.AckStored, true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := broker(t)
			l := b.Conn().Line()
			if _, err := l.Conn.PublishScan(t.Context(), "north", "d", "1", nil); err != nil {
				t.Fatal(err)
			}
			ds, err := l.Scans("a").Fetch(t.Context(), 1, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			b.Fail(test.fault, 1)
			if err := ds[0].Ack(t.Context()); (err != nil) != test.fails {
				t.Errorf("fault %d: %v", test.fault, err)
			}
			time.Sleep(b.AckWait - time.Millisecond)
			if b.Acked("a", 1) == test.again {
				t.Errorf("fault %d: acked %v", test.fault, b.Acked("a", 1))
			}
			if !test.again {
				return
			}
			start := time.Now()
			if ds, err = l.Scans("a").Fetch(t.Context(), 1, 0, 0); err != nil || ds[0].Delivered() != 2 || time.Since(start) < time.Millisecond {
				t.Errorf("fault %d: %v after %v", test.fault, err, time.Since(start))
			}
		})
	}
}

func TestFetchFaultsComeInPairs(t *testing.T) {
	for fault, wait := range map[queuetest.Fault]time.Duration{queuetest.FetchFails: 0, queuetest.FetchLost: 60 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b := broker(t)
			l := b.Conn().Line()
			if _, err := l.Conn.PublishScan(t.Context(), "north", "d", "1", nil); err != nil {
				t.Fatal(err)
			}
			b.Fail(fault, 1)
			if _, err := l.Scans("a").Fetch(t.Context(), 1, 0, 0); !errors.Is(err, queuetest.ErrInjected) {
				t.Errorf("fault %d: %v", fault, err)
			}
			start := time.Now()
			if _, err := l.Scans("a").Fetch(t.Context(), 1, 0, 0); err != nil || time.Since(start) != wait {
				t.Errorf("fault %d: %v, the scan came after %v", fault, err, time.Since(start))
			}
		})
	}
}

func TestOutcomeFaultsComeInPairs(t *testing.T) {
	many := []queue.Outcome{{Site: "north", Device: "d", EventID: "1"}, {Site: "north", Device: "d", EventID: "2"}}
	for fault, stored := range map[queuetest.Fault]int{queuetest.OutcomeFails: 1, queuetest.OutcomeLost: 2} {
		b := broker(t)
		b.Fail(fault, 1)
		if _, err := b.Conn().PublishOutcomes(t.Context(), many); !errors.Is(err, queuetest.ErrInjected) || len(b.Stored()) != stored {
			t.Errorf("fault %d: %v, stored %d", fault, err, len(b.Stored()))
		}
		if _, err := b.Conn().PublishOutcomes(t.Context(), many); err != nil || len(b.Stored()) != 2 {
			t.Errorf("after fault %d: %v, stored %d", fault, err, len(b.Stored()))
		}
	}
}

func TestALostTailIsGoneAndItsSequencesComeAgain(t *testing.T) {
	b := broker(t)
	l := b.Conn().Ledger("a")
	one, _ := l.Append(t.Context(), ledger.Head{}, []byte("1"))
	two, _ := l.Append(t.Context(), one, []byte("2"))
	b.LoseTail(1)
	if e, _, _ := l.Last(t.Context()); e.Head() != one {
		t.Fatalf("last %+v", e)
	}
	other, err := l.Append(t.Context(), one, []byte("other"))
	if err != nil || other.Seq != two.Seq || other.Hash == two.Hash {
		t.Fatalf("%+v, %v", other, err)
	}
}

func TestAckedScansMayComeAgain(t *testing.T) {
	b := broker(t)
	l := b.Conn().Line()
	for i := range 3 {
		if _, err := l.Conn.PublishScan(t.Context(), "north", "d", fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	take := func(want int) {
		t.Helper()
		ds, err := l.Scans("a").Fetch(t.Context(), 10, 0, 0)
		if err != nil || len(ds) != want || queue.AckAll(t.Context(), ds) != nil {
			t.Fatalf("%d came, %v", len(ds), err)
		}
	}
	take(3)
	b.Redeliver("a", 2)
	take(1)
	b.RedeliverAll("a")
	take(3)
	if b.Left("a") != 0 {
		t.Fatalf("%d left", b.Left("a"))
	}
}

// recorder is a test that notes its failures instead of failing.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func TestBrokenRulesFailTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{TB: t}
		b := broker(r)
		b.Takes = 10 * time.Millisecond
		c := b.Conn()
		l := c.Line()
		go func() { _, _ = c.Ledger("a").Append(t.Context(), ledger.Head{}, []byte("1")) }()
		synctest.Wait()
		if _, err := c.Ledger("a").Append(t.Context(), ledger.Head{}, []byte("2")); !errors.Is(err, queue.ErrBusy) {
			t.Errorf("got %v", err)
		}
		if _, err := l.Conn.PublishScan(t.Context(), "north", "d", "1", nil); err != nil {
			t.Fatal(err)
		}
		ds, _ := l.Scans("a").Fetch(t.Context(), 1, 0, 0)
		_ = ds[0].Ack(t.Context())
		_ = ds[0].RetryAfter(t.Context(), 0)
		if len(r.failures) != 2 {
			t.Errorf("it noticed %q", r.failures)
		}
	})
}

func TestAnAppendWhoseContextEndsOnItsWayMayArriveLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := broker(t)
		b.Takes = time.Second
		l := b.Conn().Ledger("a")
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := l.Append(ctx, ledger.Head{}, []byte("1")); !errors.Is(err, queue.ErrUnknown) {
			t.Fatalf("got %v", err)
		}
		if _, err := l.Append(t.Context(), ledger.Head{}, []byte("2")); !errors.Is(err, queue.ErrLost) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestADeadProcessDoesNothingMore(t *testing.T) {
	b := broker(t)
	dead, alive := b.Conn(), b.Conn()
	if _, err := dead.PublishScan(t.Context(), "north", "d", "1", nil); err != nil {
		t.Fatal(err)
	}
	ds, err := dead.Scans("a").Fetch(t.Context(), 1, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	if err := ds[0].Ack(t.Context()); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("ack: %v", err)
	}
	if _, err := dead.Ledger("a").Append(t.Context(), ledger.Head{}, []byte("1")); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if b.Acked("a", 1) || len(b.Records("a")) > 0 || !alive.Up() {
		t.Error("it did something")
	}
}
