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

// read returns the payloads from a sequence on.
func read(t *testing.T, l Line, account string, from uint64) (texts []string, last uint64) {
	t.Helper()
	seq := uint64(0)
	last, err := l.Ledger(account).Read(t.Context(), from, func(e queue.Entry) error {
		if e.Seq < from || e.Seq <= seq || e.Hash != ledger.Hash(e.Payload) {
			t.Errorf("record %d behind %d, from %d", e.Seq, seq, from)
		}
		seq = e.Seq
		texts = append(texts, string(e.Payload))
		return nil
	})
	must(t, err)
	if last != seq {
		t.Fatalf("read to %d, it says %d", seq, last)
	}
	return texts, last
}

func appendChain(t *testing.T, one, two Line) {
	if _, ok, err := one.Ledger("a").Last(t.Context()); ok || err != nil {
		t.Fatalf("an empty ledger: %v %v", ok, err)
	}
	a := write(t, one, "a", ledger.Head{}, "1", "2")
	write(t, one, "b", ledger.Head{}, "x") // another account, in between
	a = write(t, two, "a", a, "3")
	e, ok, err := one.Ledger("a").Last(t.Context())
	must(t, err)
	if !ok || e.Head() != a || string(e.Payload) != "3" || time.Since(e.Time).Abs() > time.Minute {
		t.Fatalf("last %+v", e)
	}
	if texts, _ := read(t, one, "a", 1); !slices.Equal(texts, []string{"1", "2", "3"}) {
		t.Fatalf("got %v", texts)
	}
}

func appendStale(t *testing.T, l, _ Line) {
	first := write(t, l, "a", ledger.Head{}, "1")
	second := write(t, l, "a", first, "2")
	for name, prev := range map[string]ledger.Head{
		"no head": {}, "an old head": first, "a head to come": {Seq: second.Seq + 5, Hash: "x"},
	} {
		if _, err := l.Ledger("a").Append(t.Context(), prev, []byte(name)); !errors.Is(err, queue.ErrLost) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if texts, _ := read(t, l, "a", 1); len(texts) != 2 {
		t.Fatalf("got %v", texts)
	}
}

func appendRace(t *testing.T, one, two Line) {
	prev := ledger.Head{}
	for round := range 30 {
		var wg sync.WaitGroup
		heads, errs := make([]ledger.Head, 2), make([]error, 2)
		for i, l := range []Line{one, two} {
			wg.Go(func() {
				heads[i], errs[i] = l.Ledger("a").Append(t.Context(), prev, fmt.Appendf(nil, "%d by %d after %s", round, i, prev.Hash))
			})
		}
		wg.Wait()
		winner := slices.Index(errs, nil)
		if winner < 0 || !errors.Is(errs[1-winner], queue.ErrLost) {
			t.Fatalf("round %d: %v", round, errs)
		}
		prev = heads[winner]
	}
	texts, last := read(t, one, "a", 1)
	if len(texts) != 30 || last != prev.Seq {
		t.Fatalf("%d records", len(texts))
	}
}

func appendBusy(t *testing.T, l, _ Line) {
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() { _, errs[i] = l.Ledger("a").Append(t.Context(), ledger.Head{}, fmt.Append(nil, i)) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, queue.ErrBusy) && !errors.Is(err, queue.ErrLost):
			t.Fatal(err)
		}
	}
	if won != 1 {
		t.Fatalf("%d won", won)
	}
}

func ledgerGet(t *testing.T, l, _ Line) {
	a := write(t, l, "a", ledger.Head{}, "1")
	b := write(t, l, "b", ledger.Head{}, "x")
	e, err := l.Ledger("a").Get(t.Context(), a.Seq)
	must(t, err)
	if e.Head() != a || string(e.Payload) != "1" {
		t.Fatalf("got %+v", e)
	}
	for _, seq := range []uint64{0, b.Seq, b.Seq + 1} {
		if _, err := l.Ledger("a").Get(t.Context(), seq); !errors.Is(err, queue.ErrNotFound) {
			t.Errorf("%d: %v", seq, err)
		}
	}
}

func ledgerRead(t *testing.T, l, _ Line) {
	if texts, last := read(t, l, "a", 1); len(texts) > 0 || last > 0 {
		t.Fatalf("an empty ledger has %v", texts)
	}
	var want []string
	heads := []ledger.Head{{}}
	for i := range 300 { // more than one pull
		want = append(want, fmt.Sprint(i))
		heads = append(heads, write(t, l, "a", heads[i], want[i]))
		if i%100 == 0 {
			write(t, l, "b", lastOf(t, l, "b"), fmt.Sprint("x", i))
		}
	}
	for _, from := range []int{0, 1, 150, 289, 290, 291, 299} { // indexes; long and short tails
		if texts, last := read(t, l, "a", heads[from].Seq+1); !slices.Equal(texts, want[from:]) || last != heads[300].Seq {
			t.Fatalf("from %d: %d records to %d", from, len(texts), last)
		}
	}
	if texts, last := read(t, l, "a", heads[300].Seq+1); len(texts) > 0 || last > 0 {
		t.Fatalf("behind the end: %v", texts)
	}
	stop := errors.New("stop")
	for _, at := range []int{1, 20, 300} {
		n := 0
		_, err := l.Ledger("a").Read(t.Context(), 1, func(queue.Entry) error {
			if n++; n == at {
				return stop
			}
			return nil
		})
		if err != stop || n != at {
			t.Fatalf("%v after %d", err, n)
		}
	}
}

func lastOf(t *testing.T, l Line, account string) ledger.Head {
	t.Helper()
	e, ok, err := l.Ledger(account).Last(t.Context())
	must(t, err)
	if !ok {
		return ledger.Head{}
	}
	return e.Head()
}

func next(t *testing.T, l Line, account string) queue.OutboxRecord {
	t.Helper()
	r, err := l.Outbox(account).Next(short(t, 5*time.Second))
	must(t, err)
	return r
}

func outboxOne(t *testing.T, one, two Line) {
	write(t, one, "b", ledger.Head{}, "x")
	write(t, one, "a", ledger.Head{}, "1", "2")
	r := next(t, one, "a")
	if string(r.Entry().Payload) != "1" || r.Entry().Hash != ledger.Hash([]byte("1")) || r.Delivered() != 1 {
		t.Fatalf("got %+v", r.Entry())
	}
	if r, err := two.Outbox("a").Next(short(t, 200*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a second one while the first is out: %v %v", r, err)
	}
	must(t, r.Ack(t.Context()))
	if err := r.Ack(t.Context()); !errors.Is(err, queue.ErrSettled) {
		t.Fatalf("got %v", err)
	}
	if r := next(t, two, "a"); string(r.Entry().Payload) != "2" {
		t.Fatalf("got %+v", r.Entry())
	}
}

func outboxAgain(t *testing.T, one, two Line) {
	write(t, one, "a", ledger.Head{}, "1", "2")
	first := next(t, one, "a") // whoever took it dies
	r := next(t, two, "a")
	if string(r.Entry().Payload) != "1" || r.Delivered() != 2 || r.Turn() != first.Turn()+1 {
		t.Fatalf("got %+v, turns %d and %d", r.Entry(), first.Turn(), r.Turn())
	}
	start := time.Now()
	must(t, r.Retry(t.Context(), 300*time.Millisecond))
	r = next(t, one, "a")
	if d := time.Since(start); string(r.Entry().Payload) != "1" || d < 250*time.Millisecond {
		t.Fatalf("got %+v after %v", r.Entry(), d)
	}
	must(t, r.Ack(t.Context()))
	if r := next(t, one, "a"); string(r.Entry().Payload) != "2" {
		t.Fatalf("got %+v", r.Entry())
	}
}

func outboxReset(t *testing.T, l, _ Line) {
	head := write(t, l, "a", ledger.Head{}, "1")
	must(t, next(t, l, "a").Ack(t.Context()))
	time.Sleep(30 * time.Millisecond)
	from := time.Now()
	time.Sleep(30 * time.Millisecond)
	write(t, l, "a", head, "2", "3")
	must(t, next(t, l, "a").Ack(t.Context()))
	must(t, l.Conn.ResetOutbox(t.Context(), "a", from))
	for i, want := range []string{"2", "3"} {
		r := next(t, l, "a")
		if i == 0 && string(r.Entry().Payload) == "3" { // asked for with the ack, given out before the reset
			r = next(t, l, "a")
		}
		if string(r.Entry().Payload) != want {
			t.Fatalf("got %+v, want %s", r.Entry(), want)
		}
		must(t, r.Ack(t.Context()))
	}
	must(t, l.Conn.ResetOutbox(t.Context(), "a", from))
	must(t, next(t, l, "a").Ack(t.Context()))
	must(t, l.Conn.ResetOutbox(t.Context(), "a", time.Now().Add(time.Hour))) // never forward
	if r := next(t, l, "a"); string(r.Entry().Payload) != "3" {
		t.Fatalf("got %+v", r.Entry())
	}
}

func outcomeOnce(t *testing.T, l, _ Line) {
	dup, err := l.Conn.PublishOutcome(t.Context(), "north", "d1", "e1", "a/1/0", []byte("{}"))
	must(t, err)
	again, err := l.Conn.PublishOutcome(t.Context(), "north", "d1", "e1", "a/1/0", []byte("{}"))
	must(t, err)
	if dup || !again {
		t.Fatalf("duplicate %v, then %v", dup, again)
	}
	many := make([]queue.Outcome, 2500) // more than one window
	for i := range many {
		many[i] = queue.Outcome{Site: "south", Device: "d2", EventID: fmt.Sprint(i), Ledger: fmt.Sprintf("a/2/%d", i), Body: fmt.Append(nil, i)}
	}
	acks, err := l.Conn.PublishOutcomes(t.Context(), many)
	must(t, err)
	n := 0
	must(t, l.Conn.Outcomes(t.Context(), queue.OutcomeFilter{Site: "south", Device: "d2"}, func(o queue.StoredOutcome) error {
		if o.EventID != fmt.Sprint(n) || o.Ledger != fmt.Sprintf("a/2/%d", n) || o.Seq != acks[n].Seq || acks[n].Duplicate {
			t.Fatalf("outcome %d is %+v", n, o)
		}
		n++
		return nil
	}))
	if n != len(many) {
		t.Fatalf("%d outcomes", n)
	}
	// Whoever saw an outcome takes the next one up behind it, whatever the time says.
	behind := func(seq uint64) (got []string) {
		f := queue.OutcomeFilter{Site: "south", After: seq, Since: time.Now().Add(time.Hour)}
		must(t, l.Conn.Outcomes(t.Context(), f, func(o queue.StoredOutcome) error {
			got = append(got, o.EventID)
			return nil
		}))
		return got
	}
	if got := behind(acks[len(acks)-3].Seq); !slices.Equal(got, []string{"2498", "2499"}) {
		t.Fatalf("behind the last but two: %v", got)
	}
	if got := behind(acks[len(acks)-1].Seq); got != nil {
		t.Fatalf("behind the last one: %v", got)
	}
}

func outcomesSince(t *testing.T, l, _ Line) {
	put := func(site, id string) {
		_, err := l.Conn.PublishOutcome(t.Context(), site, "d", id, "ref-"+id, []byte(id))
		must(t, err)
	}
	since := func(from time.Time) (got []string) {
		must(t, l.Conn.OutcomesSince(t.Context(), from, []string{"north", "south"}, func(ref string, body []byte) error {
			if ref != "ref-"+string(body) {
				t.Errorf("%s has %s", body, ref)
			}
			got = append(got, string(body))
			return nil
		}))
		return got
	}
	if got := since(time.Now().Add(-time.Hour)); got != nil {
		t.Fatalf("an empty stream: %v", got)
	}
	put("north", "1")
	put("east", "2")
	time.Sleep(30 * time.Millisecond)
	from := time.Now()
	time.Sleep(30 * time.Millisecond)
	put("south", "3")
	put("north", "4")
	put("east", "5")
	if got := since(from); !slices.Equal(got, []string{"3", "4"}) {
		t.Fatalf("got %v", got)
	}
	if got := since(from.Add(-time.Hour)); !slices.Equal(got, []string{"1", "3", "4"}) {
		t.Fatalf("got %v", got)
	}
	if got := since(time.Now().Add(time.Hour)); got != nil {
		t.Fatalf("got %v", got)
	}
}

func outcomesFollow(t *testing.T, l, _ Line) {
	put := func(id string) {
		_, err := l.Conn.PublishOutcome(t.Context(), "north", "d", id, "", []byte(id))
		must(t, err)
	}
	put("1")
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(100 * time.Millisecond)
		put("2")
	})
	enough := errors.New("enough")
	var got []string
	err := l.Conn.Outcomes(short(t, 5*time.Second), queue.OutcomeFilter{Follow: true}, func(o queue.StoredOutcome) error {
		if got = append(got, o.EventID); len(got) == 2 {
			return enough
		}
		return nil
	})
	wg.Wait()
	if err != enough || !slices.Equal(got, []string{"1", "2"}) {
		t.Fatalf("%v, %v", got, err)
	}
}

func trim(t *testing.T, l, _ Line) {
	publish(t, l, "north", 3)
	publish(t, l, "nowhere", 2)
	ds := fetch(t, l, "a", 3)
	must(t, queue.AckAll(t.Context(), ds[:2]))
	time.Sleep(20 * time.Millisecond)
	must(t, l.Conn.Trim(t.Context(), suiteAccounts(), time.Hour)) // too young
	counts := func() map[string]uint64 {
		got, err := l.Conn.Unrouted(t.Context(), nil)
		must(t, err)
		return got
	}
	if got := counts(); got["north"] != 3 || got["nowhere"] != 2 {
		t.Fatalf("young scans: %v", got)
	}
	must(t, l.Conn.Trim(t.Context(), suiteAccounts(), 0))
	if got := counts(); got["north"] != 1 || got["nowhere"] != 2 {
		t.Fatalf("left %v", got)
	}
	if again := fetch(t, l, "a", 3); len(again) != 1 || string(again[0].Data()) != "2" {
		t.Fatalf("got %v", bodies(again))
	}
}

func reset(t *testing.T, l, _ Line) {
	publish(t, l, "north", 1)
	time.Sleep(30 * time.Millisecond)
	from := time.Now()
	time.Sleep(30 * time.Millisecond)
	publish(t, l, "south", 2)
	ds := fetch(t, l, "a", 3)
	must(t, queue.AckAll(t.Context(), ds))
	nothing(t, l, "a", 100*time.Millisecond)
	must(t, l.Conn.ResetScans(t.Context(), "a", from))
	again := fetch(t, l, "a", 3)
	if len(again) != 2 || again[0].Meta().Site != "south" {
		t.Fatalf("got %v", bodies(again))
	}
	must(t, queue.AckAll(t.Context(), again))
	left := publish(t, l, "east", 1) // so that the last sequence is another account's
	publish(t, l, "north", 1)
	publish(t, l, "south", 1)
	must(t, queue.AckAll(t.Context(), fetch(t, l, "a", 2)[1:]))
	must(t, l.Conn.ResetScans(t.Context(), "a", time.Now().Add(time.Hour))) // never forward
	if again := fetch(t, l, "a", 3); again[0].Meta().Seq != left[0].Seq+1 {
		t.Fatalf("got %v", bodies(again))
	}
}
