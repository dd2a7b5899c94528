package report

import (
	"bytes"
	"testing"
	"time"

	"decom/worker/ledger"
	"decom/worker/scan"
)

func (s *story) standing(text string, cred Credentials) Standing {
	s.t.Helper()
	y := NewTally(day(s.t, text))
	for _, e := range s.entries {
		if !y.Take(e.head, e.t, e.rec) {
			break
		}
	}
	return y.Finish(PUI{Account: "chu", FINESS: "690781810", Region: "Auvergne-Rhône-Alpes", Status: "public"}, cred)
}

func TestTwoRollingMonthsBeginOnTheSameNumber(t *testing.T) {
	for end, want := range map[string]string{
		"2026-11-24": "2026-09-24", "2026-04-30": "2026-02-28", "2024-04-30": "2024-02-29", "2026-01-15": "2025-11-15", "2026-08-31": "2026-06-30",
		"2026-12-31": "2026-10-31",
	} {
		if got := day(t, end).Window().Date(); got != want {
			t.Errorf("%s: %s, want %s", end, got, want)
		}
	}
}

// TestEachStepOfTheIndicatorsHoldsTheNext: registered, connected, active, and how an active PUI
// drops out.
func TestEachStepOfTheIndicatorsHoldsTheNext(t *testing.T) {
	s := &story{t: t}
	good := Credentials{Named: true, Certificate: later}
	check := func(date string, cred Credentials, registered, connected, active bool, why string) Standing {
		t.Helper()
		x := s.standing(date, cred)
		if x.Registered != registered || x.Connected != connected || x.Active != active || x.Why.Code != why {
			t.Errorf("%s: %+v", date, x)
		}
		return x
	}
	check("2026-09-01", Credentials{}, false, false, false, "no_login")
	check("2026-09-01", Credentials{Named: true, Problem: "none"}, false, false, false, "no_certificate")
	check("2026-09-01", Credentials{Named: true, Certificate: time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)}, false, false, false, "certificate_expired")
	check("2026-09-01", good, true, false, false, "never_answered")

	rowa := origin("nord/rowa-1", scan.Supply)
	c, of := s.open("2026-09-02T09:00:00+02:00", rowa, "A1", "A2")
	check("2026-09-02", good, true, false, false, "never_answered") // a call without an answer proves nothing
	s.fact("2026-09-03T09:00:00+02:00", c, of, ledger.Submitted, nil, 0)
	check("2026-09-03", good, true, true, false, "no_transaction")
	s.fact("2026-09-04T09:00:00+02:00", c, of, ledger.Result, &success, 0, "A1", "A2")
	x := check("2026-09-04", good, true, true, true, "")
	if x.ActiveUntil != "2026-11-04" || x.DaysLeft != 61 || x.Changes != 2 || *x.Share != 1 || *x.AlertRate != 0 {
		t.Errorf("%+v", x)
	}
	if x := check("2026-11-04", Credentials{}, true, true, true, ""); x.DaysLeft != 0 {
		t.Errorf("%+v", x)
	}
	check("2026-11-05", Credentials{}, true, true, false, "no_recent_transaction")

	// A verify counts, an undo and a scan that never left do not.
	s.done("2026-11-06T09:00:00+01:00", "2026-11-06T09:00:01+01:00", origin("nord/rowa-1", scan.UndoSupply), "A1")
	s.note("2026-11-06T10:00:00+01:00", rowa, scan.Duplicate, "")
	check("2026-11-06", good, true, true, false, "no_recent_transaction")
	verify := ledger.Note{Origin: origin("nord/desk", scan.Verify), Trx: "V1", Answer: ledger.Answer{Result: scan.Done, Code: "NMVS_SUCCESS", State: "ACTIVE"}}
	s.add("2026-11-07T09:00:00+01:00", &ledger.Record{Note: []ledger.Note{verify}})
	if x := check("2026-11-07", good, true, true, true, ""); x.Verifies != 1 || x.Changes != 0 || x.Share != nil {
		t.Errorf("%+v", x)
	}
}

func TestIndicatorsNameTheOldestPackWithoutAResult(t *testing.T) {
	s := &story{t: t}
	rowa := origin("nord/rowa-1", scan.Supply)
	c, of := s.open("2026-11-20T09:00:00+01:00", rowa, "A1", "A2")
	s.open("2026-11-21T09:00:00+01:00", rowa, "A3")
	s.fact("2026-11-22T09:00:00+01:00", c, of, ledger.Off, nil, 0, "A1")
	s.fact("2026-11-22T09:00:01+01:00", c, of, ledger.Result, &success, 1, "A2")
	if x := s.standing("2026-11-22", Credentials{}); x.Unsettled != 2 || x.OldestOpen != "2026-11-20T09:00:00+01:00" {
		t.Errorf("%+v", x) // A1 is due, A3 open
	}
	c, of = s.open("2026-11-23T09:00:00+01:00", rowa, "A1")
	s.fact("2026-11-23T09:00:01+01:00", c, of, ledger.Result, &ledger.Answer{Result: scan.Alert, Reason: scan.UnknownSerial, Code: "NMVS_NC_PC_02", Called: true}, 0, "A1")
	if x := s.standing("2026-11-23", Credentials{}); x.Unsettled != 1 || x.OldestOpen != "2026-11-21T09:00:00+01:00" || x.Alerts != 1 || *x.Share != 0.5 {
		t.Errorf("%+v", x)
	}
}

func TestIndicatorsSayTheSameInBothLanguages(t *testing.T) {
	s := busyDay(t)
	one := s.standing("2026-11-24", Credentials{})
	empty := NewTally(day(t, "2026-11-24"))
	two := empty.Finish(PUI{Account: "ghr", Region: "La Réunion", Status: "espic"}, Credentials{Named: true, Certificate: later})
	three := empty.Finish(PUI{Account: "clinique"}, Credentials{Named: true})
	x := Count(day(t, "2026-11-24"), []Standing{one, two, three})
	if x.Total != (Counts{3, 2, 1, 1}) {
		t.Errorf("%+v", x.Total)
	}
	golden(t, "indicators.fr.txt", text(t, func(b *bytes.Buffer) error { return x.Text(b, fr) }))
	golden(t, "indicators.en.txt", text(t, func(b *bytes.Buffer) error { return x.Text(b, en) }))
	golden(t, "indicators.csv", text(t, func(b *bytes.Buffer) error {
		return WriteCSV(b, IndicatorColumns, x.Rows(), func(s string) string { return s })
	}))
	if b := text(t, func(b *bytes.Buffer) error { return WriteXLSX(b, x.Sheets(en)) }); len(b) == 0 {
		t.Error("no workbook")
	}
}

func TestRegionsAreFoundHoweverTheyAreWritten(t *testing.T) {
	for given, want := range map[string]string{
		"auvergne rhone alpes": "Auvergne-Rhône-Alpes", "ILE-DE-FRANCE": "Île-de-France", "provence-alpes-cote d’azur": "Provence-Alpes-Côte d'Azur",
		"la réunion": "La Réunion", "Bayern": "",
	} {
		got, known := Region(given)
		if known != (want != "") || known && got != want {
			t.Errorf("%s: %s %v", given, got, known)
		}
	}
	if !IsOverseas("Mayotte") || IsOverseas("Corse") || len(Regions()) != 24 {
		t.Error("overseas")
	}
}
