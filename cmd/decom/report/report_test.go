package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"decom/worker/ledger"
	"decom/worker/scan"
)

var update = flag.Bool("update", false, "write the golden files anew")

func fr(t scan.Text) string { return t.FR }
func en(t scan.Text) string { return t.EN }

// at reads a moment as 2026-10-25T02:30:00+02:00.
func at(t *testing.T, text string) time.Time {
	t.Helper()
	m, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// story is an account's ledger, written by hand and read as a command would.
type story struct {
	t       *testing.T
	head    ledger.Head
	entries []entry
	trx     int
}

type entry struct {
	head ledger.Head
	t    time.Time
	rec  *ledger.Record
}

// add appends a record stored at that moment.
func (s *story) add(when string, r *ledger.Record) ledger.Head {
	s.t.Helper()
	m := at(s.t, when)
	r.Account, r.By, r.At = "chu", "w#1", scan.Time(m)
	b, err := ledger.Encode(r, s.head)
	if err != nil {
		s.t.Fatal(err)
	}
	rec, err := ledger.Decode(b, "chu")
	if err != nil {
		s.t.Fatal(err)
	}
	s.head = ledger.Head{Seq: s.head.Seq + 1, Hash: ledger.Hash(b)}
	s.entries = append(s.entries, entry{s.head, m, rec})
	return s.head
}

func origin(src string, op scan.Op) ledger.Origin {
	return ledger.Origin{Ev: "e", Src: src, Op: op, Key: 1763806530000}
}

// note disposes of scans without a call.
func (s *story) note(when string, o ledger.Origin, result scan.Result, reason scan.Reason) {
	s.t.Helper()
	s.add(when, &ledger.Record{Note: []ledger.Note{{Origin: o, Answer: ledger.Answer{Result: result, Reason: reason}}}})
}

// open opens an attempt for packs of a device; settle answers one of them.
func (s *story) open(when string, o ledger.Origin, serials ...string) (c string, of ledger.Head) {
	s.t.Helper()
	s.trx++
	c = fmt.Sprintf("C%d", s.trx)
	op := ledger.Open{C: c, Svc: ledger.Bulk, Op: o.Op, Product: &ledger.Product{Scheme: scan.GTIN, Code: "03400930000007", Batch: "LOT42", Expiry: "281100"}}
	for _, serial := range serials {
		op.Packs = append(op.Packs, ledger.OpenPack{Serial: serial, Origin: o})
	}
	return c, s.add(when, &ledger.Record{Open: []ledger.Open{op}})
}

func (s *story) pack(serial string) scan.PackID {
	s.t.Helper()
	p, err := scan.NewPack(scan.GTIN, "03400930000007", serial, "LOT42", "281100")
	if err != nil {
		s.t.Fatal(err)
	}
	return p.ID()
}

func (s *story) fact(when, c string, of ledger.Head, kind ledger.Kind, a *ledger.Answer, i int, serials ...string) {
	s.t.Helper()
	f := ledger.Fact{C: c, Of: of.Seq, Kind: kind}
	if kind == ledger.Submitted {
		f.Tx = "T1"
	}
	for j, serial := range serials {
		f.Packs = append(f.Packs, ledger.FactPack{I: i + j, K: s.pack(serial), Answer: a})
	}
	s.add(when, &ledger.Record{Fact: []ledger.Fact{f}})
}

// done is an attempt that went through.
func (s *story) done(opened, answered string, o ledger.Origin, serials ...string) {
	s.t.Helper()
	c, of := s.open(opened, o, serials...)
	s.fact(answered, c, of, ledger.Result, &success, 0, serials...)
}

var success = ledger.Answer{Result: scan.Done, Code: "NMVS_SUCCESS", State: "INACTIVE", Called: true}

func day(t *testing.T, text string) Day {
	t.Helper()
	d, err := NewDay(text, Zone, at(t, "2026-12-31T12:00:00+01:00"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var later = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

// report reads the story for a day.
func (s *story) report(text string, stands []Stand, waiting ...WaitingPack) *DayReport {
	s.t.Helper()
	r := NewReader(day(s.t, text))
	for _, e := range s.entries {
		if !r.Take(e.head, e.t, e.rec) {
			break
		}
	}
	return r.Finish(PUI{Account: "chu", Sites: []string{"nord", "sud"}, FINESS: "690781810", Region: "Auvergne-Rhône-Alpes", Status: "public"}, "", stands, waiting, later)
}

// golden holds got against testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s, got:\n%s\nwant:\n%s", name, got, want)
	}
}

func text(t *testing.T, write func(*bytes.Buffer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// busyDay is a day with everything in it, and something on both sides of it.
func busyDay(t *testing.T) *story {
	s := &story{t: t}
	rowa, desk := origin("nord/rowa-1", scan.Supply), origin("nord/desk", scan.Supply)
	desk.Manual = true
	s.done("2026-11-23T20:00:00+01:00", "2026-11-23T20:00:01+01:00", rowa, "A0")
	// Opened before midnight, answered after it: this day's outcome.
	c, of := s.open("2026-11-23T23:59:59+01:00", rowa, "A1", "A2")
	s.fact("2026-11-24T00:00:02+01:00", c, of, ledger.Submitted, nil, 0)
	s.fact("2026-11-24T00:00:05+01:00", c, of, ledger.Result, &success, 0, "A1", "A2")
	s.fact("2026-11-24T00:00:06+01:00", c, of, ledger.Result, &success, 0, "A1") // late and ignored [B2c]
	repaired := rowa
	repaired.Repaired = true
	s.done("2026-11-24T09:10:00+01:00", "2026-11-24T09:10:01+01:00", repaired, "A3")
	s.done("2026-11-24T09:20:00+01:00", "2026-11-24T09:20:01+01:00", origin("sud/rowa-2", scan.Destroy), "B1")
	s.note("2026-11-24T09:30:00+01:00", rowa, scan.Duplicate, scan.NoReason)
	s.note("2026-11-24T09:30:01+01:00", desk, scan.Duplicate, scan.SuspectCopy)
	s.note("2026-11-24T10:00:00+01:00", rowa, scan.Rejected, "layout")
	s.note("2026-11-24T10:00:01+01:00", rowa, scan.Rejected, "layout")
	s.note("2026-11-24T10:00:02+01:00", rowa, scan.Rejected, "gs_missing")
	s.note("2026-11-24T10:59:59+01:00", desk, scan.Refused, scan.ExpiredPack)
	c, of = s.open("2026-11-24T11:00:00+01:00", desk, "A4")
	s.fact("2026-11-24T11:00:01+01:00", c, of, ledger.Result, &ledger.Answer{Result: scan.Alert, Reason: scan.UnknownSerial, Code: "NMVS_NC_PC_02", AlertID: "FR-1", Called: true}, 0, "A4")
	c, of = s.open("2026-11-24T12:00:00+01:00", rowa, "A5")
	s.fact("2026-11-24T12:20:01+01:00", c, of, ledger.Fence, nil, 0)
	c, of = s.open("2026-11-24T13:00:00+01:00", rowa, "A6", "A7")
	s.fact("2026-11-24T13:00:01+01:00", c, of, ledger.Submitted, nil, 0)
	s.add("2026-11-24T14:00:00+01:00", &ledger.Record{Fact: []ledger.Fact{{Kind: ledger.Pause, Who: "Mme Durand", Why: "inventaire", Control: &ledger.Control{}}}})
	s.open("2026-11-24T23:59:58+01:00", rowa, "A8")
	s.note("2026-11-25T00:00:00+01:00", rowa, scan.Duplicate, scan.NoReason)
	return s
}

func TestADaysReportSaysTheSameInBothLanguages(t *testing.T) {
	waiting := WaitingPack{Since: "2026-11-24T10:00:01.000Z", Pack: "u0JxAAAAAAAAAAAA", Product: "03400930000007", Batch: "LOT42", Op: "supply",
		Result: scan.Alert, Reason: scan.UnknownSerial, AlertID: "FR-1", Source: "nord/desk", Message: scan.Message(scan.Supply, scan.Alert, scan.UnknownSerial)}
	d := busyDay(t).report("2026-11-24", []Stand{{"nord/desk", Waiting}, {"nord/rowa-1", Due}, {"", Waiting}}, waiting)
	golden(t, "day.fr.txt", text(t, func(b *bytes.Buffer) error { return d.Text(b, fr) }))
	golden(t, "day.en.txt", text(t, func(b *bytes.Buffer) error { return d.Text(b, en) }))
	golden(t, "day.json", text(t, func(b *bytes.Buffer) error { e := json.NewEncoder(b); e.SetIndent("", " "); return e.Encode(d) }))
	golden(t, "day.csv", text(t, func(b *bytes.Buffer) error {
		return WriteCSV(b, DayColumns, d.CSVRows(), func(s string) string { return s })
	}))
	if d.Totals.Scans != 11 || d.Totals.Results[scan.Done] != 4 || d.Totals.Done["destroy"] != 1 {
		t.Errorf("%+v", d.Totals)
	}
}

func TestAWorkbookKeepsTextAndNumbersApart(t *testing.T) {
	s := busyDay(t)
	make := func() []byte {
		d := s.report("2026-11-24", nil)
		return text(t, func(b *bytes.Buffer) error { return WriteXLSX(b, DaySheets([]*DayReport{d}, fr)) })
	}
	one := make()
	if !bytes.Equal(one, make()) {
		t.Error("the same day gave two files")
	}
	book, err := excelize.OpenReader(bytes.NewReader(one))
	if err != nil {
		t.Fatal(err)
	}
	defer book.Close()
	rows, err := book.GetRows("Synthèse")
	if err != nil || len(rows) != 3 || rows[1][4] != "nord" || rows[1][5] != "10" || rows[1][2] != "690781810" {
		t.Errorf("%v %q", err, rows)
	}
	if rows, err := book.GetRows("Détail"); err != nil || len(rows) != 1+len(s.report("2026-11-24", nil).CSVRows()) {
		t.Errorf("%v %d", err, len(rows))
	}
	if kind, err := book.GetCellType("Synthèse", "C2"); err != nil || kind == excelize.CellTypeNumber {
		t.Errorf("the FINESS number is %v: %v", kind, err)
	}
}

func TestTheHourThatComesTwiceIsTwoHours(t *testing.T) {
	s := &story{t: t}
	rowa := origin("nord/rowa-1", scan.Supply)
	s.note("2026-10-24T23:59:59+02:00", rowa, scan.Duplicate, "")
	s.note("2026-10-25T00:00:00+02:00", rowa, scan.Duplicate, "")
	s.note("2026-10-25T02:30:00+02:00", rowa, scan.Duplicate, "")
	s.note("2026-10-25T02:30:00+01:00", rowa, scan.Rejected, "case")
	s.note("2026-10-25T23:59:59+01:00", rowa, scan.Duplicate, "")
	s.note("2026-10-26T00:00:00+01:00", rowa, scan.Duplicate, "")
	d := s.report("2026-10-25", nil)
	if d.Hours != 25 || d.Totals.Scans != 4 || len(d.Sites[0].Hours) != 4 {
		t.Errorf("%+v", d)
	}
	golden(t, "autumn.fr.txt", text(t, func(b *bytes.Buffer) error { return d.Text(b, fr) }))

	spring := &story{t: t}
	spring.note("2026-03-28T23:59:59+01:00", rowa, scan.Duplicate, "")
	spring.note("2026-03-29T01:59:59+01:00", rowa, scan.Duplicate, "")
	spring.note("2026-03-29T03:00:00+02:00", rowa, scan.Duplicate, "")
	spring.note("2026-03-29T23:59:59+02:00", rowa, scan.Duplicate, "")
	spring.note("2026-03-30T00:00:00+02:00", rowa, scan.Duplicate, "")
	d = spring.report("2026-03-29", nil)
	if d.Hours != 23 || d.Totals.Scans != 3 || d.From != "2026-03-29T00:00:00+01:00" || d.To != "2026-03-30T00:00:00+02:00" {
		t.Errorf("%+v", d)
	}
	golden(t, "spring.en.txt", text(t, func(b *bytes.Buffer) error { return d.Text(b, en) }))
}

func TestAnEmptyDayAndAnEmptyLedgerSaySo(t *testing.T) {
	s := &story{t: t}
	if d := s.report("2026-11-24", nil); d.Notes[0].Code != "ledger_empty" || d.Ledger.Head != 0 {
		t.Errorf("%+v", d)
	}
	s.note("2026-11-20T10:00:00+01:00", origin("nord/rowa-1", scan.Supply), scan.Duplicate, "")
	s.note("2026-11-26T10:00:00+01:00", origin("nord/rowa-1", scan.Supply), scan.Duplicate, "")
	d := s.report("2026-11-24", nil)
	if d.Totals.Scans != 0 || len(d.Notes) != 0 || d.Ledger.First != 0 || d.Ledger.Head != 1 {
		t.Errorf("%+v", d)
	}
	golden(t, "empty.fr.txt", text(t, func(b *bytes.Buffer) error { return d.Text(b, fr) }))
	golden(t, "empty.en.txt", text(t, func(b *bytes.Buffer) error { return d.Text(b, en) }))
	if d := s.report("2026-11-20", nil); d.Notes[0].Code != "ledger_begins_later" || !strings.Contains(d.Notes[0].Message.FR, "2026-11-20T10:00:00+01:00") {
		t.Errorf("%+v", d)
	}
	if d := s.report("2026-11-19", nil); d.Notes[0].Code != "ledger_empty" {
		t.Errorf("%+v", d)
	}
}

// TestAWorkerThatWasStartedAgainCountsNothingTwice: the attempt of a killed worker is fenced,
// released and sent again by the next one; scans that come again are noted by nobody.
func TestAWorkerThatWasStartedAgainCountsNothingTwice(t *testing.T) {
	s := &story{t: t}
	rowa := origin("nord/rowa-1", scan.Supply)
	c, of := s.open("2026-11-24T09:00:00+01:00", rowa, "A1", "A2")
	s.fact("2026-11-24T09:01:00+01:00", c, of, ledger.Fence, nil, 0)
	s.fact("2026-11-24T09:21:00+01:00", c, of, ledger.Release, nil, 0, "A1")
	c2, of2 := s.open("2026-11-24T09:21:01+01:00", rowa, "A1")
	s.fact("2026-11-24T09:21:02+01:00", c2, of2, ledger.Result, &success, 0, "A1")
	s.fact("2026-11-24T09:21:03+01:00", c, of, ledger.Result, &success, 0, "A1", "A2") // A1 is not open for c any more
	d := s.report("2026-11-24", nil)
	if d.Totals.Scans != 2 || d.Totals.Results[scan.Done] != 2 || d.Totals.End[InDoubt] != 0 {
		t.Errorf("%+v", d.Totals)
	}
}

func TestTheDayIsReadFromTextAndZone(t *testing.T) {
	now := at(t, "2026-11-24T23:30:00Z") // the 25th in Paris, already 3:30 in La Réunion
	for _, c := range []struct{ text, zone, want string }{
		{"", Zone, "2026-11-25"}, {"today", Zone, "2026-11-25"}, {"yesterday", Zone, "2026-11-24"}, {"hier", "Indian/Reunion", "2026-11-24"},
		{"2026-02-29", Zone, ""}, {"24/11/2026", Zone, ""}, {"today", "Mars/Olympus", ""}, {"today", "", ""}, {"today", "Local", ""},
		{"2024-02-29", Zone, "2024-02-29"}, {"today", "America/Cayenne", "2026-11-24"},
	} {
		d, err := NewDay(c.text, c.zone, now)
		if (err != nil) != (c.want == "") || err == nil && d.Date() != c.want {
			t.Errorf("%q in %s: %v %v", c.text, c.zone, d, err)
		}
	}
	// A zone whose clocks skip midnight: the day begins at one o'clock.
	d, err := NewDay("2018-11-04", "America/Sao_Paulo", now)
	if err != nil || d.Hours() != 23 || d.From.Hour() != 1 || d.Date() != "2018-11-04" {
		t.Errorf("%v %v", d, err)
	}
}
