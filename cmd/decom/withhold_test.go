package main

import (
	"strings"
	"testing"
	"time"

	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// TestWhatIsWithheldIsToldInBothLanguages: what the workers wrote, with its figures, and what a person wrote, as it stands.
func TestWhatIsWithheldIsToldInBothLanguages(t *testing.T) {
	now := time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC)
	list := []ledger.Withheld{
		{Scope: ledger.Scope{Lot: ledger.Lot{Scheme: scan.GTIN, Code: "03400930000007", Batch: "LOT42"}},
			Standing: ledger.Standing{Who: worker.Auto, Why: worker.WhyMissingUpload + ": 3 packs, chu/rowa-1", Control: ledger.Control{Until: now.UnixMilli()}}},
		{Scope: ledger.Scope{Device: "chu/rowa-1"}, Standing: ledger.Standing{Who: worker.Auto, Why: worker.WhyDeparts + ": 12 of 50, the others 1 of 80"}},
		{Scope: ledger.Scope{Device: "chu/rowa-2"}, Standing: ledger.Standing{Who: "Anna", Why: "its lens is scratched"}},
	}
	s := AccountStatus{Withheld: withheldStatus(list), WithheldScans: 7}
	for _, tt := range []struct {
		l    language
		want []string
	}{
		{french, []string{"lot 03400930000007 LOT42 RETENU jusqu'à 2026-11-25T09:00:00.000Z, par decom : chargement manquant", "lecteur chu/rowa-1 RETENU jusqu'à decom device free, par decom : ses alertes", "par Anna : its lens is scratched", "7 lecture(s)"}},
		{english, []string{"batch 03400930000007 LOT42 WITHHELD until 2026-11-25T09:00:00.000Z, by decom: missing upload", "device chu/rowa-1 WITHHELD until decom device free, by decom: its alerts", "by Anna: its lens is scratched", "7 scan(s)"}},
	} {
		lines := s.withheldLines(tt.l)
		if len(lines) != len(tt.want) {
			t.Fatalf("%q", lines)
		}
		for i, want := range tt.want {
			if !strings.Contains(lines[i], want) {
				t.Errorf("%q, want %q in it", lines[i], want)
			}
		}
		if !strings.HasSuffix(lines[0], "3 packs, chu/rowa-1") || !strings.HasSuffix(lines[1], "12 of 50, the others 1 of 80") {
			t.Errorf("without its figures: %q", lines)
		}
	}
}

// TestAScopeOnTheCommandLineIsReadStrictly: what would withhold nothing is refused.
func TestAScopeOnTheCommandLineIsReadStrictly(t *testing.T) {
	a := &app{}
	for _, tt := range []struct {
		kind string
		args []string
		want string // empty: refused
	}{
		{ledger.ScopeBatch, []string{"03400930000007", "LOT42"}, "batch:GTIN|03400930000007|LOT42"},
		{ledger.ScopeBatch, []string{"3400930000007", "LOT42"}, "batch:GTIN|03400930000007|LOT42"},
		{ledger.ScopeBatch, []string{"111234567842", "A"}, "batch:PPN|111234567842|A"},
		{ledger.ScopeBatch, []string{"03400930000008", "LOT42"}, ""},
		{ledger.ScopeBatch, []string{"03400930000007", "LOT 42"}, ""},
		{ledger.ScopeBatch, []string{"03400930000007", ""}, ""},
		{ledger.ScopeDevice, []string{"chu/rowa-1"}, "device:chu/rowa-1"},
		{ledger.ScopeDevice, []string{"rowa-1"}, ""},
		{ledger.ScopeDevice, []string{"chu/rowa/1"}, ""},
	} {
		s, err := a.scope(tt.kind, tt.args)
		if (err == nil) != (tt.want != "") || err == nil && s.String() != tt.want {
			t.Errorf("%q: %v, %v; want %q", tt.args, s, err, tt.want)
		}
	}
}
