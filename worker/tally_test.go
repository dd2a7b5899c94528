package worker

import (
	"fmt"
	"testing"
	"time"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// tallying feeds a tally with answers, one record each.
type tallying struct {
	*tally
	book *ledger.Book
	seq  uint64
	at   time.Time
}

func newTallying() *tallying {
	return &tallying{tally: newTally(), book: ledger.NewBook(), at: time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)}
}

func (y *tallying) feed(r *ledger.Record) {
	y.seq++
	r.At = scan.Time(y.at)
	y.add(y.seq, r, y.book)
	y.book.Add(y.seq, r)
}

// answers opens a pack of a device in one record and has it answered in the next.
func (y *tallying) answers(src, lot, serial, word string) {
	c := fmt.Sprint("C", y.seq)
	p, err := scan.NewPack(scan.GTIN, gtin, serial, lot, testExp)
	if err != nil {
		panic(err)
	}
	y.feed(&ledger.Record{Open: []ledger.Open{{C: c, Svc: ledger.Single, Op: scan.Supply, Product: product(p),
		Packs: []ledger.OpenPack{{Serial: serial, Origin: ledger.Origin{Src: src, Ev: serial, Op: scan.Supply}}}}}})
	of := y.seq
	y.feed(&ledger.Record{Fact: []ledger.Fact{{C: c, Of: of, Kind: ledger.Result,
		Packs: []ledger.FactPack{{K: p.ID(), Answer: answerWord(word)}}}}})
}

func answerWord(word string) *ledger.Answer {
	a := &ledger.Answer{Result: scan.Alert, Called: true}
	switch word {
	case "done":
		a.Result = scan.Done
	case "unknown":
		a.Reason = scan.UnknownSerial
	case "nobatch":
		a.Reason = scan.UnknownBatch
	case "wrong":
		a.Reason = scan.WrongBatch
	case "refused":
		a.Result, a.Reason = scan.Refused, scan.Recalled
	case "withheld":
		a.Result, a.Reason = scan.Refused, scan.DeviceWithheld
	case "rejected":
		a.Result, a.Reason = scan.Rejected, "layout"
	default:
		panic(word)
	}
	return a
}

// notes has a scan answered without a call.
func (y *tallying) notes(src, word string) {
	y.feed(&ledger.Record{Note: []ledger.Note{{Origin: ledger.Origin{Src: src, Ev: fmt.Sprint(y.seq), Op: scan.Supply}, Answer: *answerWord(word)}}})
}

func (y *tallying) withhold(kind ledger.Kind, s ledger.Scope) {
	y.feed(&ledger.Record{Fact: []ledger.Fact{{Kind: kind, Who: "ann", Why: "because", Control: &ledger.Control{Scope: s.String()}}}})
}

// names are the findings since the last call.
func (y *tallying) names() (out string) {
	for _, f := range y.found {
		out += f.scope.String() + " "
	}
	y.found = nil
	return out
}

const (
	lotX  = "batch:GTIN|" + gtin + "|X "
	robot = "s/robot"
)

func scopeOf(text string) ledger.Scope {
	s, err := ledger.ParseScope(text[:len(text)-1])
	if err != nil {
		panic(err)
	}
	return s
}

// TestABatchThatNobodyUploadedIsFound: each row is what happens, and the batch that is found by it.
func TestABatchThatNobodyUploadedIsFound(t *testing.T) {
	good := func(y *tallying, src string) { y.answers(src, "GOOD", fmt.Sprint("G", y.seq), "done") }
	for _, tt := range []struct {
		name, want string
		do         func(y *tallying)
	}{
		{"three serials of one batch, a device that reads well", lotX, func(y *tallying) {
			good(y, robot)
			for i := range 3 {
				y.answers(robot, "X", fmt.Sprint(i), "unknown")
			}
		}},
		{"two devices, serial and batch unknown", lotX, func(y *tallying) {
			good(y, robot)
			good(y, "s/other")
			y.answers(robot, "X", "1", "unknown")
			y.answers("s/other", "X", "2", "nobatch")
			y.answers(robot, "X", "3", "nobatch")
		}},
		{"two only", "", func(y *tallying) {
			good(y, robot)
			y.answers(robot, "X", "1", "unknown")
			y.answers(robot, "X", "2", "unknown")
		}},
		{"one of them twice", "", func(y *tallying) {
			good(y, robot)
			for _, s := range []string{"1", "2", "2", "1"} {
				y.answers(robot, "X", s, "unknown")
			}
		}},
		{"of different batches", "", func(y *tallying) {
			good(y, robot)
			for i := range 9 {
				y.answers(robot, fmt.Sprintf("X%d", i%5), fmt.Sprint(i), "unknown")
				good(y, robot)
			}
		}},
		{"another alert", "", func(y *tallying) {
			good(y, robot)
			for i := range 4 {
				y.answers(robot, "X", fmt.Sprint(i), "wrong")
			}
		}},
		{"a pack of the batch was done before", "", func(y *tallying) {
			good(y, robot)
			y.answers(robot, "X", "0", "done")
			for i := range 4 {
				y.answers(robot, "X", fmt.Sprint(1+i), "unknown")
			}
		}},
		{"a pack of the batch was done in between", "", func(y *tallying) {
			good(y, robot)
			y.answers(robot, "X", "1", "unknown")
			y.answers(robot, "X", "2", "unknown")
			y.answers(robot, "X", "3", "done")
			y.answers(robot, "X", "4", "unknown")
		}},
		{"over more than a day", "", func(y *tallying) {
			good(y, robot)
			y.answers(robot, "X", "1", "unknown")
			y.at = y.at.Add(time.Hour)
			y.answers(robot, "X", "2", "unknown")
			y.at = y.at.Add(23*time.Hour + time.Millisecond)
			y.answers(robot, "X", "3", "unknown")
		}},
		{"within a day to the millisecond", lotX, func(y *tallying) {
			good(y, robot)
			y.answers(robot, "X", "1", "unknown")
			y.answers(robot, "X", "2", "unknown")
			y.at = y.at.Add(24 * time.Hour)
			y.answers(robot, "X", "3", "unknown")
		}},
		{"a device that read nothing well", "", func(y *tallying) {
			for i := range 10 {
				y.answers(robot, "X", fmt.Sprint(i), "unknown")
			}
		}},
		{"a device whose last good pack is 21 answers away", "", func(y *tallying) {
			good(y, robot)
			for range 20 {
				y.notes(robot, "refused")
			}
			for i := range 4 {
				y.answers(robot, "X", fmt.Sprint(i), "unknown")
			}
		}},
		{"one of the three by a device that reads badly", "", func(y *tallying) {
			good(y, robot)
			y.answers(robot, "X", "1", "unknown")
			y.answers("s/bad", "X", "2", "unknown")
			y.answers(robot, "X", "3", "unknown")
		}},
		{"again after a person freed it", lotX + lotX, func(y *tallying) {
			good(y, robot)
			for i := range 3 {
				y.answers(robot, "X", fmt.Sprint(i), "unknown")
			}
			first := y.found
			y.found = nil
			y.withhold(ledger.Withhold, scopeOf(lotX))
			y.withhold(ledger.LetGo, scopeOf(lotX))
			y.answers(robot, "X", "7", "unknown")
			y.answers(robot, "X", "8", "unknown")
			if len(y.found) != 0 {
				panic("found again by two")
			}
			y.answers(robot, "X", "9", "unknown")
			y.found = append(first, y.found...)
		}},
	} {
		y := newTallying()
		tt.do(y)
		if got := y.names(); got != tt.want {
			t.Errorf("%s: found %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestAFindingEndsWithTheFactThatAnswersIt: who reads both at once, because it stood by or
// starts, must not write a second one when a person has freed the first.
func TestAFindingEndsWithTheFactThatAnswersIt(t *testing.T) {
	y := newTallying()
	for i := range 20 {
		y.answers("s/one", "GOOD", fmt.Sprint("a", i), "done")
		y.answers(robot, "GOOD", fmt.Sprint("c", i), "done")
	}
	for i := range 3 {
		y.answers(robot, "X", fmt.Sprint(i), "unknown")
	}
	for range 10 {
		y.notes(robot, "rejected")
	}
	if len(y.found) != 2 {
		t.Fatalf("found %q", y.names())
	}
	for _, s := range []ledger.Scope{scopeOf(lotX), {Device: robot}} {
		y.withhold(ledger.Withhold, s)
		y.withhold(ledger.LetGo, s)
	}
	if got := y.names(); got != "" {
		t.Errorf("%q is withheld again as soon as it is freed", got)
	}
}

// TestADeviceThatDepartsFromItsPeersIsFound: ill answers among n of a device, beside those of two others.
func TestADeviceThatDepartsFromItsPeersIsFound(t *testing.T) {
	for _, tt := range []struct {
		ill, n, peersIll, peers int
		want                    bool
	}{
		{10, 50, 0, 100, true},
		{9, 50, 0, 100, false}, // not a fifth
		{5, 20, 0, 40, true},
		{5, 20, 2, 40, true},  // 25 % beside 5 %
		{5, 20, 3, 40, false}, // the others are not much better: it is not the device
		{50, 50, 10, 50, true},
		{50, 50, 11, 50, false},
		{4, 20, 0, 40, false},  // too few
		{5, 19, 0, 40, false},  // too short
		{20, 20, 0, 19, false}, // nobody to compare with
		{20, 20, 0, 0, false},
	} {
		if got := departs(tt.ill, tt.n, tt.peersIll, tt.peers); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
	y := newTallying()
	for i := range 30 {
		y.answers("s/one", "GOOD", fmt.Sprint("a", i), "done")
		y.answers("s/two", "GOOD", fmt.Sprint("b", i), "done")
		y.answers(robot, "GOOD", fmt.Sprint("c", i), "done")
	}
	for range 8 {
		y.notes(robot, "rejected") // 8 of 38: a fifth
	}
	if got := y.names(); got != "device:s/robot " {
		t.Errorf("found %q", got)
	}
	y.withhold(ledger.Withhold, ledger.Scope{Device: robot})
	for range 60 {
		y.notes(robot, "rejected")
		y.notes(robot, "withheld")
	}
	if got := y.names(); got != "" || y.bad != 0 || y.all != 60 {
		t.Errorf("withheld already, and found %q; its answers count among its peers': %d of %d", got, y.bad, y.all)
	}
	for range 12 {
		y.notes("s/two", "rejected") // a second one is found beside it
	}
	if got := y.names(); got != "device:s/two " {
		t.Errorf("found %q", got)
	}
	y.withhold(ledger.LetGo, ledger.Scope{Device: robot})
	for range 19 {
		y.notes(robot, "rejected")
	}
	if got := y.names(); got != "" {
		t.Errorf("found by what it had done before it was freed: %q", got)
	}
}

// TestAMissingBatchIsNotItsReadersFault: what a withheld batch has raised leaves the device alone, before and after.
func TestAMissingBatchIsNotItsReadersFault(t *testing.T) {
	y := newTallying()
	for i := range 30 {
		y.answers("s/one", "GOOD", fmt.Sprint("a", i), "done")
		y.answers(robot, "GOOD", fmt.Sprint("c", i), "done")
	}
	for i := range 4 {
		y.answers(robot, "X", fmt.Sprint(i), "unknown")
	}
	y.withhold(ledger.Withhold, scopeOf(lotX))
	for i := range 40 {
		y.answers(robot, "X", fmt.Sprint(10+i), "unknown") // of a bulk that was on its way
	}
	if got := y.names(); got != lotX {
		t.Errorf("found %q", got)
	}
	if y.bad != 0 {
		t.Errorf("%d bad answers are counted", y.bad)
	}
}

// TestTheTallyKeepsNoMoreThanItSays, whatever devices and batches come, and its sums stay those of its rings.
func TestTheTallyKeepsNoMoreThanItSays(t *testing.T) {
	y := newTallying()
	for i := range 3 * tallyDevices {
		y.answers(fmt.Sprint("s/d", i), fmt.Sprint("L", i), "1", []string{"unknown", "wrong", "refused"}[i%3])
	}
	for i := range 3 * tallyGood {
		y.answers("s/d1", fmt.Sprint("G", i), "1", "done")
	}
	if len(y.devices) > tallyDevices || len(y.suspects) > tallySuspects || len(y.good[0]) > tallyGood || len(y.good[1]) > tallyGood {
		t.Errorf("%d devices, %d suspects, %d and %d good batches", len(y.devices), len(y.suspects), len(y.good[0]), len(y.good[1]))
	}
	all, ill := 0, 0
	for _, d := range y.devices {
		all += d.n
		for i := range d.n {
			if d.kinds[i] == bad {
				ill++
			}
		}
	}
	if all != y.all || ill != y.bad {
		t.Errorf("sums %d and %d, the rings hold %d and %d", y.all, y.bad, all, ill)
	}
	if before := y.all; true {
		y.add(y.seq, &ledger.Record{Note: []ledger.Note{{Origin: ledger.Origin{Src: robot}, Answer: *answerWord("rejected")}}}, y.book)
		if y.all != before {
			t.Error("a record counts twice")
		}
	}
}

func BenchmarkTally(b *testing.B) {
	y, book := newTally(), ledger.NewBook()
	p, err := scan.NewPack(scan.GTIN, gtin, "1", "X", testExp)
	if err != nil {
		b.Fatal(err)
	}
	open := &ledger.Record{Open: []ledger.Open{{C: "C", Svc: ledger.Bulk, Op: scan.Supply, Product: product(p)}}}
	fact := &ledger.Record{Fact: []ledger.Fact{{C: "C", Of: 1, Kind: ledger.Result}}}
	for i := range 500 {
		q, _ := scan.NewPack(scan.GTIN, gtin, fmt.Sprint("s", i), "X", testExp)
		open.Open[0].Packs = append(open.Open[0].Packs, ledger.OpenPack{Serial: q.Serial(), Origin: ledger.Origin{Src: fmt.Sprint("chu-nord/robot-", i%3)}})
		fact.Fact[0].Packs = append(fact.Fact[0].Packs, ledger.FactPack{I: i, K: q.ID(), Answer: answerWord("done")})
	}
	book.Add(1, open)
	b.ReportAllocs()
	for seq := uint64(2); b.Loop(); seq++ {
		y.add(seq, fact, book)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500, "ns/pack")
}
