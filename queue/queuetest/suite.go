package queuetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/ledger"
)

// Open makes empty streams with these accounts set up, and connects two processes. The
// streams answer a broken rule with an error and nothing else.
type Open func(t *testing.T, ackWait time.Duration, accounts []queue.Account) (one, two Line)

// Suite checks what package queue promises, the same over NATS and over the Broker.
func Suite(t *testing.T, open Open) {
	// Most of them wait most of the time, so more run at once than there are processors.
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4)
	for _, test := range []struct {
		promise string
		run     func(*testing.T, Line, Line)
	}{
		{"fetch returns at most what was asked, in order, and who sent it", fetchOrder},
		{"fetch fills up what comes shortly after the first", fetchFills},
		{"fetch waits for a scan and ends with its context", fetchWaits},
		{"an account gets the scans of its sites and no other", fetchSites},
		{"a scan goes to one process, and first to the one of lowest rank that waits", fetchRank},
		{"a trace header comes with the scan and goes with the outcome, and nobody else gets it", traces},
		{"a delivery is settled once", settleOnce},
		{"an un-acked scan comes again after AckWait, an acked one does not", redelivery},
		{"an extended scan does not come again meanwhile", extend},
		{"a scan to be retried is held as long as asked", retryAfter},
		{"all acks of a batch arrive", ackAll},
		{"pending tells what is left and how old it is", pending},
		{"an id seen just before is a duplicate", scanDuplicate},
		{"records follow one another on a subject, by compare-and-set", appendChain},
		{"an append behind a stale head is lost and leaves nothing", appendStale},
		{"of two writers exactly one wins each round", appendRace},
		{"one append is in flight", appendBusy},
		{"a record is read by its sequence, if it is the account's", ledgerGet},
		{"a ledger is read in order, from anywhere, short or long", ledgerRead},
		{"the outbox gives one record at a time to one process", outboxOne},
		{"the outbox gives an un-acked record again", outboxAgain},
		{"the outbox set back gives records again from a time on, and is never set forward", outboxReset},
		{"an outcome is stored once per event", outcomeOnce},
		{"outcomes are read back from a time on, by site", outcomesSince},
		{"outcomes are followed", outcomesFollow},
		{"old scans are trimmed behind the consumer only", trim},
		{"a consumer is set back to a time", reset},
	} {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			t.Run(test.promise, func(t *testing.T) {
				one, two := open(t, suiteAckWait, suiteAccounts())
				test.run(t, one, two)
			})
		})
	}
	wg.Wait()
}

// suiteAckWait is long enough for a busy machine and short enough to be waited for.
const suiteAckWait = 700 * time.Millisecond

func suiteAccounts() []queue.Account {
	return []queue.Account{{Name: "a", Sites: []string{"north", "south"}}, {Name: "b", Sites: []string{"east"}}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func short(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// publish stores n scans of a site, with bodies "0", "1", ...
func publish(t *testing.T, l Line, site string, n int) (acks []queue.Ack) {
	t.Helper()
	scans := make([]queue.Scan, n)
	for i := range scans {
		scans[i] = queue.Scan{Site: site, Device: "d1", ID: fmt.Sprintf("%s-%d", site, i), Body: fmt.Append(nil, i)}
	}
	acks, err := l.Conn.PublishScans(t.Context(), scans)
	must(t, err)
	return acks
}

// fetch takes scans within 5 s.
func fetch(t *testing.T, l Line, account string, limit int) []queue.Delivery {
	t.Helper()
	ds, err := l.Scans(account).Fetch(short(t, 5*time.Second), limit, 0, 0)
	must(t, err)
	if len(ds) < 1 || len(ds) > limit {
		t.Fatalf("%d deliveries where 1 to %d were asked for", len(ds), limit)
	}
	return ds
}

// nothing checks that no scan comes for d.
func nothing(t *testing.T, l Line, account string, d time.Duration) {
	t.Helper()
	ds, err := l.Scans(account).Fetch(short(t, d), 10, 0, 0)
	if len(ds) > 0 {
		t.Fatalf("scan %d came", ds[0].Meta().Seq)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func bodies(ds []queue.Delivery) (s []string) {
	for _, d := range ds {
		s = append(s, string(d.Data()))
	}
	return s
}

func fetchOrder(t *testing.T, l, _ Line) {
	acks := publish(t, l, "north", 7)
	first := fetch(t, l, "a", 5)
	if want := []string{"0", "1", "2", "3", "4"}; !slices.Equal(bodies(first), want) {
		t.Fatalf("got %v", bodies(first))
	}
	m := first[2].Meta()
	if m.Site != "north" || m.Device != "d1" || m.MsgID != "north-2" || m.Seq != acks[2].Seq || time.Since(m.Stored).Abs() > time.Minute {
		t.Fatalf("got %+v", m)
	}
	if first[0].Delivered() != 1 {
		t.Fatalf("delivered %d", first[0].Delivered())
	}
	if rest := fetch(t, l, "a", 5); !slices.Equal(bodies(rest), []string{"5", "6"}) {
		t.Fatalf("got %v", bodies(rest))
	}
}

func fetchFills(t *testing.T, l, _ Line) {
	publish(t, l, "north", 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(50 * time.Millisecond)
		publish(t, l, "south", 5)
	})
	ds, err := l.Scans("a").Fetch(short(t, 5*time.Second), 4, 300*time.Millisecond, 0)
	wg.Wait()
	must(t, err)
	if len(ds) != 4 {
		t.Fatalf("got %v", bodies(ds))
	}
}

func fetchWaits(t *testing.T, l, _ Line) {
	nothing(t, l, "a", 100*time.Millisecond)
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(100 * time.Millisecond)
		publish(t, l, "north", 1)
	})
	ds := fetch(t, l, "a", 10)
	wg.Wait()
	must(t, ds[0].Ack(t.Context()))
	nothing(t, l, "a", 100*time.Millisecond)
}

func fetchSites(t *testing.T, l, _ Line) {
	publish(t, l, "north", 1)
	publish(t, l, "east", 2)
	publish(t, l, "nowhere", 3)
	if ds := fetch(t, l, "b", 10); len(ds) != 2 || ds[0].Meta().Site != "east" {
		t.Fatalf("got %v", bodies(ds))
	}
	if ds := fetch(t, l, "a", 10); len(ds) != 1 || ds[0].Meta().Site != "north" {
		t.Fatalf("got %v", bodies(ds))
	}
	got, err := l.Conn.Unrouted(t.Context(), suiteAccounts())
	must(t, err)
	if len(got) != 1 || got["nowhere"] != 3 {
		t.Fatalf("unrouted %v", got)
	}
	if _, err := l.Scans("nobody").Fetch(short(t, 5*time.Second), 1, 0, 0); !errors.Is(err, queue.ErrNotSetUp) {
		t.Fatalf("an account that is not set up: %v", err)
	}
}

func fetchRank(t *testing.T, one, two Line) {
	type result struct {
		ds  []queue.Delivery
		err error
	}
	low, high := make(chan result, 1), make(chan result, 1)
	ctx := short(t, 5*time.Second)
	go func() { ds, err := two.Scans("a").Fetch(ctx, 10, 0, 3); high <- result{ds, err} }()
	time.Sleep(150 * time.Millisecond) // the worse one waits first
	go func() { ds, err := one.Scans("a").Fetch(ctx, 10, 0, 1); low <- result{ds, err} }()
	time.Sleep(150 * time.Millisecond)
	publish(t, one, "north", 1)
	select {
	case r := <-low:
		must(t, r.err)
		must(t, queue.AckAll(t.Context(), r.ds))
	case <-high:
		t.Fatal("the worse rank got it")
	}
	publish(t, one, "south", 1)
	r := <-high // the only one left
	must(t, r.err)
}

func traces(t *testing.T, l, _ Line) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	_, err := l.Conn.PublishScans(t.Context(), []queue.Scan{
		{Site: "north", Device: "d1", ID: "one", Body: []byte("1"), Trace: trace},
		{Site: "north", Device: "d1", Body: []byte("2"), Trace: trace + " rojo=1,congo=2"},
		{Site: "north", Device: "d1", ID: "three", Body: []byte("3")},
	})
	must(t, err)
	var got []string
	for len(got) < 3 {
		for _, d := range fetch(t, l, "a", 3) {
			got = append(got, d.Trace())
		}
	}
	if !slices.Equal(got, []string{trace, trace + " rojo=1,congo=2", ""}) {
		t.Fatalf("scans came with %q", got)
	}
	_, err = l.Conn.PublishOutcomes(t.Context(), []queue.Outcome{
		{Site: "north", Device: "d1", EventID: "one", Ledger: "a/1/0", Body: []byte("1"), Trace: trace},
		{Site: "north", Device: "d1", EventID: "three", Ledger: "a/1/1", Body: []byte("3")},
		{Site: "north", Device: "d1", EventID: "two", Ledger: "a/1/2", Body: []byte("2"), Trace: trace + " rojo=1"},
	})
	must(t, err)
	got = nil
	must(t, l.Conn.Outcomes(t.Context(), queue.OutcomeFilter{}, func(o queue.StoredOutcome) error {
		if !slices.Contains([]string{"one", "two", "three"}, o.EventID) || o.Ledger == "" {
			t.Errorf("the trace header cost another one: %+v", o)
		}
		got = append(got, o.Trace)
		return nil
	}))
	if !slices.Equal(got, []string{trace, "", trace + " rojo=1"}) {
		t.Fatalf("outcomes carry %q", got)
	}
}

func settleOnce(t *testing.T, l, _ Line) {
	publish(t, l, "north", 2)
	ds := fetch(t, l, "a", 2)
	must(t, ds[0].Ack(t.Context()))
	must(t, ds[1].RetryAfter(t.Context(), time.Hour))
	for _, d := range ds {
		for _, err := range []error{
			d.Ack(t.Context()), d.RetryAfter(t.Context(), 0), d.Extend(t.Context()), queue.AckAll(t.Context(), []queue.Delivery{d}),
		} {
			if !errors.Is(err, queue.ErrSettled) {
				t.Fatalf("got %v", err)
			}
		}
	}
}

func redelivery(t *testing.T, one, two Line) {
	publish(t, one, "north", 2)
	ds := fetch(t, one, "a", 2)
	must(t, queue.AckAll(t.Context(), ds[:1]))
	nothing(t, one, "a", 200*time.Millisecond)
	again := fetch(t, two, "a", 2)
	if len(again) != 1 || string(again[0].Data()) != "1" || again[0].Delivered() != 2 {
		t.Fatalf("got %v", bodies(again))
	}
	must(t, queue.AckAll(t.Context(), ds[1:])) // late, but it counts
	nothing(t, one, "a", suiteAckWait+200*time.Millisecond)
}

func extend(t *testing.T, l, _ Line) {
	publish(t, l, "north", 1)
	ds := fetch(t, l, "a", 1)
	for range 4 {
		time.Sleep(suiteAckWait / 3)
		must(t, ds[0].Extend(t.Context()))
	}
	nothing(t, l, "a", 100*time.Millisecond)
	fetch(t, l, "a", 1)
}

func retryAfter(t *testing.T, l, _ Line) {
	publish(t, l, "north", 1)
	ds := fetch(t, l, "a", 1)
	start := time.Now()
	const hold = 2 * suiteAckWait
	must(t, ds[0].RetryAfter(t.Context(), hold))
	again := fetch(t, l, "a", 1)
	if d := time.Since(start); d < hold-50*time.Millisecond {
		t.Fatalf("it came after %v", d)
	}
	if again[0].Delivered() != 2 {
		t.Fatalf("delivered %d", again[0].Delivered())
	}
	must(t, again[0].RetryAfter(t.Context(), 0)) // at once
	fetch(t, l, "a", 1)
}

func ackAll(t *testing.T, l, _ Line) {
	publish(t, l, "north", 300)
	for n := 0; n < 300; {
		ds := fetch(t, l, "a", 100)
		n += len(ds)
		must(t, queue.AckAll(t.Context(), ds))
	}
	p, err := l.Scans("a").Pending(t.Context())
	must(t, err)
	if p != (queue.Pending{}) {
		t.Fatalf("left %+v", p)
	}
}

func pending(t *testing.T, l, _ Line) {
	publish(t, l, "east", 1)
	publish(t, l, "north", 3)
	ds := fetch(t, l, "a", 2)
	must(t, queue.AckAll(t.Context(), ds[:1]))
	p, err := l.Scans("a").Pending(t.Context())
	must(t, err)
	if p.Pending != 1 || p.AckPending != 1 || !p.Oldest.Equal(ds[1].Meta().Stored) {
		t.Fatalf("got %+v, the oldest is of %v", p, ds[1].Meta().Stored)
	}
}

func scanDuplicate(t *testing.T, l, _ Line) {
	first, err := l.Conn.PublishScan(t.Context(), "north", "d1", "x", []byte("1"))
	must(t, err)
	again, err := l.Conn.PublishScan(t.Context(), "north", "d2", "x", []byte("2"))
	must(t, err)
	if first.Duplicate || !again.Duplicate || again.Seq != first.Seq {
		t.Fatalf("got %+v, then %+v", first, again)
	}
	time.Sleep(300 * time.Millisecond)
	later, err := l.Conn.PublishScan(t.Context(), "north", "d2", "x", []byte("2"))
	must(t, err)
	if later.Duplicate {
		t.Fatal("the window must be short: one device must not hide another's scan")
	}
	if _, err := l.Conn.PublishScan(t.Context(), "no.rth", "d", "y", nil); err == nil {
		t.Fatal("a site with a dot")
	}
}

// write appends records and returns the last head.
func write(t *testing.T, l Line, account string, prev ledger.Head, texts ...string) ledger.Head {
	t.Helper()
	for _, s := range texts {
		h, err := l.Ledger(account).Append(t.Context(), prev, []byte(s))
		must(t, err)
		if h.Hash != ledger.Hash([]byte(s)) || h.Seq <= prev.Seq {
			t.Fatalf("head %+v behind %+v", h, prev)
		}
		prev = h
	}
	return prev
}
