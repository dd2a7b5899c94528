package main

import (
	"errors"
	"strings"
	"testing"

	"decom/queue"
	"decom/queue/queuetest"
	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// paper is a ledger in memory, written by hand.
type paper struct {
	t      *testing.T
	broker *queuetest.Broker
	led    *queuetest.Ledger
	head   ledger.Head
}

func newPaper(t *testing.T) *paper {
	b := queuetest.NewBroker(t, queue.Account{Name: "chu", Sites: []string{"nord"}})
	return &paper{t: t, broker: b, led: b.Conn().Ledger("chu")}
}

func (p *paper) append(r *ledger.Record) ledger.Head {
	p.t.Helper()
	last, _, err := p.led.Last(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	o := office{t: p.t}
	if p.head, err = p.led.Append(p.t.Context(), last.Head(), o.encode(r, last.Head())); err != nil {
		p.t.Fatal(err)
	}
	return p.head
}

// read returns a fresh reader's case of a pack.
func (p *paper) read(k scan.PackID) (*caseReader, *reviewCase) {
	p.t.Helper()
	x := newCaseReader(p.led, "chu", map[scan.PackID]bool{k: true})
	if err := x.read(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	return x, x.cases[k]
}

func TestALateWordOfAnOlderAttemptIsNoVerify(t *testing.T) {
	p := newPaper(t)
	k := officePack(t, "S1").ID()
	first := p.append(opened(t, "C1", scan.Supply, "S1"))
	p.append(&ledger.Record{Fact: []ledger.Fact{{C: "C1", Of: first.Seq, Kind: ledger.Release, Packs: []ledger.FactPack{{K: k}}}}})
	second := p.append(opened(t, "C2", scan.Supply, "S1"))
	p.append(answered(t, "C2", second, ledger.Answer{Result: scan.Unresolved, Reason: scan.NoEvidence, State: "INACTIVE"}, "S1"))
	p.append(answered(t, "C1", first, answerTwice, "S1")) // ACTIVE, as it was long ago
	_, c := p.read(k)
	if c.NMVSState != "INACTIVE" || c.Answer.Reason != scan.NoEvidence || !c.waits() {
		t.Errorf("%+v", c)
	}
	if _, err := c.retry(true); err == nil {
		t.Error("it may be sent again")
	}
}

func TestAParkWithoutAnAnswerForgetsWhatNMVSSaid(t *testing.T) {
	p := newPaper(t)
	k := officePack(t, "S1").ID()
	p.append(&ledger.Record{Note: []ledger.Note{{Origin: ledger.Origin{Ev: "v", Src: "nord/d", Op: scan.Verify}, K: k, Answer: ledger.Answer{Result: scan.Done, State: "ACTIVE"}}}})
	p.append(&ledger.Record{Fact: []ledger.Fact{{Kind: ledger.Park, Who: "a", Why: "loss", Packs: []ledger.FactPack{{K: k, Answer: &ledger.Answer{Result: scan.Unresolved, Reason: scan.LedgerLoss}}}}}})
	_, c := p.read(k)
	if _, err := c.retry(false); err == nil || !c.waits() || c.Who != "a" {
		t.Errorf("what was lost may have changed it: %+v", c)
	}
	// The scan that is delivered again tells which box it is.
	pack := officePack(t, "S1")
	p.append(&ledger.Record{Note: []ledger.Note{{Origin: ledger.Origin{Ev: "e", Src: "nord/d", Op: scan.Supply}, K: k, Pack: &pack, Answer: ledger.Answer{Result: scan.Refused, Reason: scan.ParkedPack}}}})
	if _, c := p.read(k); c.Pack != pack || !c.waits() || c.Answer.Reason != scan.LedgerLoss || c.Source == "" {
		t.Errorf("which box? %+v", c)
	}
}

func TestAPackPutAsideAnewWaitsAgain(t *testing.T) {
	p := newPaper(t)
	k := officePack(t, "S1").ID()
	say := func(to ledger.Phase) {
		p.append(&ledger.Record{Fact: []ledger.Fact{{Kind: ledger.Review, Who: "a", Why: "b", Packs: []ledger.FactPack{{K: k, To: to}}}}})
	}
	of := p.append(opened(t, "C1", scan.Supply, "S1"))
	p.append(answered(t, "C1", of, answerTwice, "S1"))
	say(ledger.Parked)
	if _, c := p.read(k); c.waits() || !c.Kept {
		t.Errorf("left put aside: %+v", c)
	}
	say(ledger.Free)
	of = p.append(opened(t, "C2", scan.Supply, "S1"))
	last := p.append(answered(t, "C2", of, answerForeign, "S1"))
	if _, c := p.read(k); !c.waits() || c.Seq != last.Seq || c.Answer.AlertID != "FR-1" {
		t.Errorf("put aside anew: %+v", c)
	}
}

// TestOfTwoPeopleTheSecondIsToldWhatTheFirstDid: both looked at the pack before either
// wrote.
func TestOfTwoPeopleTheSecondIsToldWhatTheFirstDid(t *testing.T) {
	p := newPaper(t)
	k := officePack(t, "S1").ID()
	of := p.append(opened(t, "C1", scan.Supply, "S1"))
	p.append(answered(t, "C1", of, answerTwice, "S1"))
	retry := statement{fact: func(c *reviewCase) (ledger.FactPack, error) { return c.retry(false) }}
	one, _ := p.read(k)
	two, _ := p.read(k)
	if _, err := retry.append(t.Context(), one, k, worker.Person{Who: "Anna", Why: "x"}); err != nil {
		t.Fatal(err)
	}
	_, err := retry.append(t.Context(), two, k, worker.Person{Who: "Bruno", Why: "y"})
	if err == nil || !strings.Contains(err.Error(), "it is free") || len(p.broker.Records("chu")) != 3 {
		t.Errorf("%v, %d records", err, len(p.broker.Records("chu")))
	}
}

// TestAStatementIsWrittenOnceOrReported: an append may fail, or be stored without an
// answer; said again, it is refused if it is there.
func TestAStatementIsWrittenOnceOrReported(t *testing.T) {
	for fault, there := range map[queuetest.Fault]int{queuetest.AppendFails: 0, queuetest.AppendNot: 0, queuetest.AppendStored: 1} {
		p := newPaper(t)
		k := officePack(t, "S1").ID()
		of := p.append(opened(t, "C1", scan.Supply, "S1"))
		p.append(answered(t, "C1", of, answerTwice, "S1"))
		retry := statement{fact: func(c *reviewCase) (ledger.FactPack, error) { return c.retry(false) }}
		x, _ := p.read(k)
		p.broker.Fail(fault, 1)
		if _, err := retry.append(t.Context(), x, k, worker.Person{Who: "Anna", Why: "x"}); err == nil || errors.Is(err, queue.ErrUnknown) != (fault != queuetest.AppendFails) {
			t.Errorf("fault %d: %v", fault, err)
		}
		_, err := retry.append(t.Context(), x, k, worker.Person{Who: "Anna", Why: "x"})
		if (err == nil) != (there == 0) || len(p.broker.Records("chu")) != 3 {
			t.Errorf("fault %d, again: %v, %d records", fault, err, len(p.broker.Records("chu")))
		}
	}
}

// TestTheListDoesNotWaitForTheProjection: workers may be down, or slow.
func TestTheListDoesNotWaitForTheProjection(t *testing.T) {
	o := newOffice(t)
	o.one("S0", answerForeign)
	of := o.append(opened(t, "C1", scan.Supply, "S1"))
	r := answered(t, "C1", of, answerTwice, "S1")
	if _, err := o.conn.Ledger("chu").Append(t.Context(), o.head, o.encode(r, o.head)); err != nil {
		t.Fatal(err)
	}
	if items := o.list(); len(items) != 2 || items[1].Reason != scan.DoubtfulTwice {
		t.Errorf("%s", names(items))
	}
}
