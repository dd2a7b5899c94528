package report

import (
	"strings"
	"time"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// Cell is one kind of outcome of one hour; the report is sums over cells.
type Cell struct {
	Site, Device string
	Hour         int64 // its beginning, seconds since 1970
	Op           scan.Op
	Manual       bool // typed by hand
	Repaired     bool // a keyboard's layout was undone by proof
	Result       scan.Result
	Reason       scan.Reason
}

// Action is what a person, or the worker for a person to see, wrote on the ledger.
type Action struct {
	At    string      `json:"at"` // with the zone's offset
	Seq   uint64      `json:"seq"`
	What  ledger.Kind `json:"what"`
	To    string      `json:"to,omitempty"` // review: the state that was stated
	Packs int         `json:"packs,omitempty"`
	Who   string      `json:"who,omitempty"`
	Why   string      `json:"why,omitempty"`
}

// Reader takes an account's records from the first one on and counts those of a day.
type Reader struct {
	day     Day
	book    *ledger.Book
	cells   map[Cell]int
	actions []Action

	begins      time.Time // when the first record of all was stored
	first, last uint64    // records of the day
	head        ledger.Head
}

// NewReader returns a reader that has seen nothing.
func NewReader(day Day) *Reader {
	return &Reader{day: day, book: ledger.NewBook(), cells: map[Cell]int{}}
}

// Take takes the record that head names, stored at t. It returns false when the day was over
// before: the record is not taken, nor is any after it.
func (r *Reader) Take(head ledger.Head, t time.Time, rec *ledger.Record) bool {
	if !t.Before(r.day.To) {
		return false
	}
	if r.begins.IsZero() {
		r.begins = t
	}
	// A record stored before midnight by the leader's clock, behind one after it: the clock
	// went back. It stays in the day that has begun.
	if r.first == 0 && !t.Before(r.day.From) {
		r.first = head.Seq
	}
	if r.first != 0 {
		r.last = head.Seq
		r.count(notBefore(t, r.day.From), rec)
		r.act(head.Seq, t, rec)
	}
	r.head = head
	r.book.Add(head.Seq, rec)
	return true
}

func notBefore(t, least time.Time) time.Time {
	if t.Before(least) {
		return least
	}
	return t
}

func (r *Reader) count(t time.Time, rec *ledger.Record) {
	hour := r.day.hourOf(t).Unix()
	eachOutcome(r.book, rec, func(o *ledger.Origin, a *ledger.Answer, _ string) {
		site, device, _ := strings.Cut(o.Src, "/")
		r.cells[Cell{Site: site, Device: device, Hour: hour, Op: o.Op, Manual: o.Manual, Repaired: o.Repaired, Result: a.Result, Reason: a.Reason}]++
	})
}

// eachOutcome calls fn for each outcome that a record brings: its notes, and final results
// and parks of attempts that were still open for the pack (protocol.md section 7, rule [B2c]).
// book holds the attempts as they were before the record. trx is the ClientTrxId of a call.
func eachOutcome(book *ledger.Book, rec *ledger.Record, fn func(o *ledger.Origin, a *ledger.Answer, trx string)) {
	for i := range rec.Note {
		fn(&rec.Note[i].Origin, &rec.Note[i].Answer, rec.Note[i].Trx)
	}
	for i := range rec.Fact {
		f := &rec.Fact[i]
		if f.C == "" || f.Kind != ledger.Result && f.Kind != ledger.Park {
			continue
		}
		at := book.Attempt(f.C)
		if at == nil || at.Of != f.Of {
			continue
		}
		for j := range f.Packs {
			p := &f.Packs[j]
			if p.I < 0 || p.I >= len(at.Packs) || !at.IsLeft(p.I) {
				continue
			}
			a := p.Answer
			if a == nil {
				a = &ledger.Answer{Result: scan.Unresolved, Reason: scan.ByPerson}
			}
			fn(&at.Packs[p.I].Origin, a, at.Trx(p.I))
		}
	}
}

func (r *Reader) act(seq uint64, t time.Time, rec *ledger.Record) {
	for i := range rec.Fact {
		f := &rec.Fact[i]
		switch f.Kind {
		case ledger.Review, ledger.Halt, ledger.Resume, ledger.Pause, ledger.Tune, ledger.Continue, ledger.VerifyFirst, ledger.VerifyEnd:
		case ledger.Park:
			if f.Who == "" {
				continue // the worker's own: an outcome, or a pack on the list
			}
		default:
			continue
		}
		a := Action{At: r.day.stamp(t), Seq: seq, What: f.Kind, Who: f.Who, Why: f.Why, Packs: len(f.Packs)}
		if f.Kind == ledger.Review && len(f.Packs) > 0 {
			a.To = f.Packs[0].To.String()
		}
		r.actions = append(r.actions, a)
	}
}

// DayEnd is where a pack stood when the day ended without being settled.
type DayEnd string

// The places where packs wait.
const (
	Calling   DayEnd = "calling"   // sent, its answer is awaited
	Submitted DayEnd = "submitted" // in a bulk that NMVS accepted, its result is awaited
	InDoubt   DayEnd = "in_doubt"  // sent, no answer came: held, then verified
	Due       DayEnd = "due"       // accepted, to be sent again
	Waiting   DayEnd = "waiting"   // for a person
)

var dayEnds = []DayEnd{Calling, Submitted, InDoubt, Due, Waiting}

// Unsettled calls fn for each pack of an attempt that was open when the last record was
// taken. Packs that are due or wait for a person are in no attempt: whoever folds the records
// knows them.
func (r *Reader) Unsettled(fn func(src string, end DayEnd)) {
	r.book.Attempts(func(at *ledger.Attempt) {
		end := Calling
		switch {
		case at.Tx != "":
			end = Submitted
		case at.Fenced || at.Resent || at.Used:
			end = InDoubt
		}
		for i := range at.Packs {
			if at.IsLeft(i) {
				fn(at.Packs[i].Src, end)
			}
		}
	})
}
