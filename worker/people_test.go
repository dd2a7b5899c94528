package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"decom/queue"
	"decom/queue/queuetest"
	"decom/worker/ledger"
)

func peopleLedger(t *testing.T) (*queuetest.Broker, *queuetest.Ledger) {
	t.Helper()
	b := queuetest.NewBroker(t, queue.Account{Name: acc, Sites: []string{site}})
	return b, b.Conn().Ledger(acc)
}

func reviewOf(why string) func(context.Context, ledger.Head) (ledger.Fact, error) {
	return func(context.Context, ledger.Head) (ledger.Fact, error) {
		return ledger.Fact{Kind: ledger.Review, Who: "p", Why: why}, nil
	}
}

// whys lists the reasons of the facts on the ledger, and holds it to its chain.
func whys(t *testing.T, b *queuetest.Broker) (all []string) {
	t.Helper()
	_, err := WalkLedger(t.Context(), b.Conn().Ledger(acc), acc, func(_ queue.Entry, r *ledger.Record) error {
		for i := range r.Fact {
			all = append(all, r.Fact[i].Why)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAPersonsFactIsDecidedAnewAfterALostRace(t *testing.T) {
	b, l := peopleLedger(t)
	other := b.Conn().Ledger(acc)
	var ends []uint64
	seq, err := AppendFact(t.Context(), l, acc, "tool", func(ctx context.Context, at ledger.Head) (ledger.Fact, error) {
		ends = append(ends, at.Seq)
		if len(ends) <= 2 { // somebody is faster, twice
			if _, err := AppendFact(ctx, other, acc, "other", reviewOf(fmt.Sprint("first ", len(ends)))); err != nil {
				return ledger.Fact{}, err
			}
		}
		return ledger.Fact{Kind: ledger.Review, Who: "p", Why: fmt.Sprint("after ", at.Seq)}, nil
	})
	if err != nil || seq != 3 || fmt.Sprint(ends) != "[0 1 2]" {
		t.Errorf("seq %d, %v; decided at the ends %v", seq, err, ends)
	}
	if got := strings.Join(whys(t, b), ", "); got != "first 1, first 2, after 2" {
		t.Errorf("the ledger says: %s", got)
	}
}

func TestAPersonsFactGivesUpWhenOthersAreAlwaysFaster(t *testing.T) {
	b, l := peopleLedger(t)
	other, n := b.Conn().Ledger(acc), 0
	_, err := AppendFact(t.Context(), l, acc, "tool", func(ctx context.Context, at ledger.Head) (ledger.Fact, error) {
		n++
		_, err := AppendFact(ctx, other, acc, "other", reviewOf("x"))
		return ledger.Fact{Kind: ledger.Review, Who: "p", Why: "mine"}, err
	})
	if !errors.Is(err, ErrContended) || n != factTries || strings.Contains(strings.Join(whys(t, b), ","), "mine") {
		t.Errorf("%v after %d tries", err, n)
	}
}

func TestAPersonsFactIsWrittenOnceOrReportedAsUnknown(t *testing.T) {
	for _, c := range []struct {
		fault   queuetest.Fault
		unknown bool
		there   int
	}{
		{queuetest.AppendFails, false, 0}, {queuetest.AppendNot, true, 0}, {queuetest.AppendStored, true, 1},
		{queuetest.ReadFails, false, 0},
	} {
		b, l := peopleLedger(t)
		b.Fail(c.fault, 1)
		seq, err := AppendFact(t.Context(), l, acc, "tool", reviewOf("x"))
		if err == nil || seq != 0 || errors.Is(err, queue.ErrUnknown) != c.unknown || b.Failed(c.fault) != 1 {
			t.Errorf("fault %d: seq %d, %v", c.fault, seq, err)
		}
		if got := len(b.Records(acc)); got != c.there {
			t.Errorf("fault %d: %d records, want %d", c.fault, got, c.there)
		}
	}
	b, l := peopleLedger(t)
	no := errors.New("no")
	if _, err := AppendFact(t.Context(), l, acc, "tool", func(context.Context, ledger.Head) (ledger.Fact, error) { return ledger.Fact{}, no }); err != no || len(b.Records(acc)) != 0 {
		t.Errorf("a person who declines: %v, %d records", err, len(b.Records(acc)))
	}
}

func TestABrokenChainIsFoundAndNotAddedTo(t *testing.T) {
	good := func(prev ledger.Head, account string) []byte {
		b, err := ledger.Encode(&ledger.Record{Account: account, By: "w"}, prev)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, bad := range map[string]func(prev ledger.Head) []byte{
		"other hash":     func(p ledger.Head) []byte { return good(ledger.Head{Seq: p.Seq, Hash: strings.Repeat("0", 64)}, acc) },
		"one left out":   func(p ledger.Head) []byte { return good(ledger.Head{Seq: p.Seq - 1, Hash: p.Hash}, acc) },
		"from the start": func(ledger.Head) []byte { return good(ledger.Head{}, acc) },
		"other account":  func(p ledger.Head) []byte { return good(p, "z") },
		"no record":      func(ledger.Head) []byte { return []byte("{") },
	} {
		t.Run(name, func(t *testing.T) {
			b, l := peopleLedger(t)
			var h ledger.Head
			for range 2 {
				var err error
				if h, err = l.Append(t.Context(), h, good(h, acc)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := l.Append(t.Context(), h, bad(h)); err != nil {
				t.Fatal(err)
			}
			n := 0
			last, err := WalkLedger(t.Context(), l, acc, func(queue.Entry, *ledger.Record) error { n++; return nil })
			chain, ok := errors.AsType[*ChainError](err)
			if !ok || chain.Seq != 3 || n != 2 || last.Seq != 2 {
				t.Errorf("the walk ends with %v after %d records", err, n)
			}
			if name == "from the start" {
				return // a first record follows nothing: the tail alone cannot tell
			}
			_, err = AppendFact(t.Context(), l, acc, "tool", reviewOf("x"))
			if chain, ok := errors.AsType[*ChainError](err); !ok || chain.Seq != 3 || len(b.Records(acc)) != 3 {
				t.Errorf("append: %v, %d records", err, len(b.Records(acc)))
			}
		})
	}
}

func TestAPersonSaysWhoAndWhyInPlainText(t *testing.T) {
	for p, ok := range map[Person]bool{
		{"Mme Durand", "contrôlé : boîte active"}: true, {"", "why"}: false, {"who", " "}: false, {"a\nb", "why"}: false,
		{"who", "\x1b[2J"}: false, {"who", "\xff"}: false, {strings.Repeat("w", 65), "why"}: false, {"who", strings.Repeat("y", 501)}: false,
	} {
		if err := p.Validate(); (err == nil) != ok {
			t.Errorf("%+v: %v", p, err)
		}
	}
	if err := (Person{}).Validate(); err == nil || strings.Count(err.Error(), "missing") != 2 {
		t.Errorf("both problems are told at once: %v", err)
	}
}
