package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"decom/cmd/decom/report"
	"decom/worker/ledger"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// noonZone is a zone where it is about noon, so that no test meets midnight.
func noonZone() string { return fmt.Sprintf("Etc/GMT%+d", time.Now().UTC().Hour()-12) }

func (o *office) day(args ...string) (d report.DayReport, raw string) {
	o.t.Helper()
	r := o.run(exitFine, append([]string{"report", "day", "--json", "--zone", noonZone()}, args...)...)
	if err := json.Unmarshal([]byte(r.stdout), &d); err != nil {
		o.t.Fatalf("%v\n%s", err, r.stdout)
	}
	return d, r.stdout
}

func TestADaysReportTellsWhatTheLedgerHoldsAndWhatWaits(t *testing.T) {
	o := newOffice(t)
	if d, _ := o.day(); len(d.Notes) != 1 || d.Notes[0].Code != "ledger_empty" || len(d.Sites) != 2 {
		t.Errorf("%+v", d)
	}
	o.one("S1", answerDone)
	o.one("S2", answerForeign)
	o.one("S3", answerNobody)
	o.append(&ledger.Record{Note: []ledger.Note{{Origin: ledger.Origin{Ev: "e9", Src: "sud/desk", Op: scan.Supply, Manual: true}, Answer: ledger.Answer{Result: scan.Rejected, Reason: "layout"}}}})
	o.append(opened(t, "CO", scan.Supply, "S4"))
	due := o.append(opened(t, "CD", scan.Supply, "S5"))
	o.append(&ledger.Record{Fact: []ledger.Fact{{C: "CD", Of: due.Seq, Kind: ledger.Off, Packs: []ledger.FactPack{{I: 0, K: officePack(t, "S5").ID()}}}}})
	// What a person settled does not wait, nor what is put aside for good.
	o.one("S6", answerNobody)
	o.run(exitFine, "review", "resolve", string(officePack(t, "S6").ID()), "--as", "active", "--who", "Anna", "--why", "seen active")
	o.one("S7", answerForeign)
	o.run(exitFine, "review", "resolve", string(officePack(t, "S7").ID()), "--as", "quarantined", "--who", "Anna", "--why", "false pack")
	// Put aside as lost, long after it was settled: older records know which pack it is.
	o.append(&ledger.Record{Fact: []ledger.Fact{{Kind: ledger.Park, Who: "Anna", Why: "disk", Packs: []ledger.FactPack{
		{K: officePack(t, "S1").ID(), Answer: &ledger.Answer{Result: scan.Unresolved, Reason: scan.LedgerLoss}}}}}})

	d, raw := o.day()
	want := map[scan.Result]int{scan.Done: 1, scan.Duplicate: 0, scan.Refused: 0, scan.Alert: 2, scan.Rejected: 1, scan.Unresolved: 2}
	if fmt.Sprint(d.Totals.Results) != fmt.Sprint(want) || d.Totals.Scans != 6 || d.Totals.Manual != 1 || d.Complete {
		t.Errorf("%+v", d.Totals)
	}
	if fmt.Sprint(d.Totals.End) != fmt.Sprint(map[report.DayEnd]int{report.Calling: 1, report.Submitted: 0, report.InDoubt: 0, report.Due: 1, report.Waiting: 3}) {
		t.Errorf("%+v", d.Totals.End)
	}
	var names []string
	for _, w := range d.Waiting {
		names = append(names, string(w.Reason))
		if w.Product != "03400930000007" || w.Serial != "" || w.Source != "nord/rowa-1" {
			t.Errorf("%+v", w)
		}
	}
	if !slices.Equal(names, []string{"already_inactive", "no_evidence", "ledger_loss"}) || len(d.Actions) != 3 || d.Actions[1].To != "parked" {
		t.Errorf("%q %+v", names, d.Actions)
	}
	if strings.Contains(raw, `"serial"`) {
		t.Error("a serial number")
	}
	if d, _ := o.day("--serials", "--site", "nord"); d.Waiting[0].Serial != "S2" || len(d.Sites) != 1 || d.Totals.Scans != 5 {
		t.Errorf("%+v", d)
	}
	if d, _ := o.day("--site", "sud"); len(d.Waiting) != 0 || d.Totals.Scans != 1 || d.Totals.Reasons[scan.Rejected]["layout"] != 1 {
		t.Errorf("%+v", d)
	}
	if _, again := o.day(); again != raw {
		t.Errorf("the same day, another report:\n%s\n%s", raw, again)
	}
	yesterday, _ := o.day("yesterday")
	if yesterday.Totals.Scans != 0 || !yesterday.Complete || yesterday.Notes[0].Code != "ledger_empty" {
		t.Errorf("%+v", yesterday)
	}
}

func TestReportsComeAsTextTableAndWorkbook(t *testing.T) {
	o := newOffice(t)
	o.one("S1", answerDone)
	o.one("S2", answerForeign)
	zone := []string{"--zone", noonZone()}
	run := func(args ...string) string { return o.run(exitFine, append(args, zone...)...).stdout }
	if got := run("report", "day"); !strings.Contains(got, "THE DAY IS NOT OVER") || !strings.Contains(got, "already_inactive 1") {
		t.Errorf("%s", got)
	}
	o.args = []string{o.args[0], o.args[1], "--lang", "fr"}
	if got := run("report", "day"); !strings.Contains(got, "JOURNÉE EN COURS") || !strings.Contains(got, "Ce qui attendait une personne") {
		t.Errorf("%s", got)
	}
	rows, err := csv.NewReader(strings.NewReader(run("report", "day", "--format", "csv"))).ReadAll()
	if err != nil || len(rows) != 4 || !slices.Equal(rows[0], report.DayColumns) {
		t.Errorf("%v %q", err, rows)
	}
	for _, args := range [][]string{{"report", "day", "--format", "xlsx"}, {"report", "indicators", "--format", "xlsx"}} {
		book, err := excelize.OpenReader(bytes.NewReader([]byte(run(args...))))
		if err != nil {
			t.Fatal(err)
		}
		for _, sheet := range book.GetSheetList() {
			if rows, err := book.GetRows(sheet); err != nil || len(rows) == 0 {
				t.Errorf("%s: %v", sheet, err)
			}
		}
		_ = book.Close()
	}
	if got := run("report", "indicators"); !strings.Contains(got, "ensemble                1    1             1           1") {
		t.Errorf("%s", got)
	}
	var x report.Indicators
	if err := json.Unmarshal([]byte(run("report", "indicators", "--json")), &x); err != nil || x.Total != (report.Counts{PUIs: 1, Registered: 1, Connected: 1, Active: 1}) || x.Accounts[0].Changes != 2 {
		t.Errorf("%v %+v", err, x)
	}
}

func TestAReportSaysWhatIsWrongWithItsCommandLine(t *testing.T) {
	file := write(t, t.TempDir(), "decom.yaml", minimal)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"day", "24/11/2026"}, "24/11/2026"},
		{[]string{"day", "2999-01-01"}, "has not begun"},
		{[]string{"day", "today", "--date", "today"}, "twice"},
		{[]string{"day", "--format", "pdf"}, "xlsx"},
		{[]string{"day", "--zone", "Paris"}, "Europe/Paris"},
		{[]string{"day", "--account", "nobody"}, "nobody"},
		{[]string{"indicators", "today"}, "one too many"},
		{[]string{}, "day, indicators"},
		{[]string{"days"}, "day"},
	} {
		r := inProcess(t, nil, "", append(append([]string{"report"}, c.args...), "--config", file, "--lang", "en")...)
		if r.code != exitUsage || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%v: %+v", c.args, r)
		}
	}
	if r := inProcess(t, nil, "", "report", "day", "--lang", "fr", "--config", file, "--set", "nats.url=nats://127.0.0.1:1"); r.code != exitDown {
		t.Errorf("%+v", r)
	}
}

func TestAReportRefusesALedgerThatIsNotWhole(t *testing.T) {
	o := newOffice(t)
	o.one("S1", answerDone)
	if _, err := o.conn.Ledger("chu").Append(t.Context(), o.head, []byte("junk")); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"day", "indicators"} {
		r := o.run(exitFailure, "report", what, "--zone", noonZone())
		if r.stdout != "" || !strings.Contains(r.stderr, "record 3") || !strings.Contains(r.stderr, "ledger verify") {
			t.Errorf("%+v", r)
		}
	}
}

func TestWhatTheAuthoritiesCountByIsChecked(t *testing.T) {
	for text, want := range map[string]string{
		`finess: "69078181"`: "accounts.0.finess", `finess: "2C0000012"`: "accounts.0.finess", "legal_status: publi": "did you mean public?",
	} {
		if _, _, err := load(t, needQueue|needAccounts, minimal+"    "+text+"\n", nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	c, warns, err := load(t, needQueue|needAccounts, minimal+"    finess: \"010780054\"\n    region: ile de france\n    legal_status: espic\n", nil, nil)
	if err != nil || warns != "" {
		t.Fatal(err, warns)
	}
	if _, pui := (&desk{cfg: c}).pui("chu"); pui.FINESS != "010780054" || pui.Region != "Île-de-France" || pui.Status != "espic" {
		t.Errorf("%+v", pui)
	}
	if _, warns, err := load(t, needQueue|needAccounts, minimal+"    region: Bretange\n", nil, nil); err != nil || !strings.Contains(warns, "did you mean Bretagne?") {
		t.Errorf("%v %s", err, warns)
	}
}

// TestTheReportOfADayOnWhichAWorkerWasKilledAddsUp: what the report counts is what the
// outcomes' stream holds, one for one.
func TestTheReportOfADayOnWhichAWorkerWasKilledAddsUp(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{AOF: true})
	l := newLine(t, out, lineConfig{rate: "40/s"})
	one := l.start()
	ps := l.packs(40)
	l.supply(ps)
	l.atLeast(5, 60*time.Second)
	one.kill()
	l.start()
	l.settled(60 * time.Second)
	l.quiet()
	got := map[scan.Result]int{}
	told, err := l.outcomes()
	if err != nil {
		t.Fatal(err)
	}
	for _, outs := range told {
		for _, o := range outs {
			got[o.Result]++
		}
	}
	var d report.DayReport
	if err := json.Unmarshal([]byte(l.decom(exitFine, "report", "day", "--json", "--zone", noonZone()).stdout), &d); err != nil {
		t.Fatal(err)
	}
	if d.Totals.Scans != len(l.want) || len(d.Sites) != 1 || d.Sites[0].Site != l.site() {
		t.Errorf("%+v", d)
	}
	for r, n := range d.Totals.Results {
		if got[r] != n {
			t.Errorf("%s: the report has %d, the stream %d", r, n, got[r])
		}
	}
	var x report.Indicators
	if err := json.Unmarshal([]byte(l.decom(exitFine, "report", "indicators", "--json").stdout), &x); err != nil || x.Total.Active != 1 || x.Accounts[0].Changes != got[scan.Done] {
		t.Errorf("%v %+v", err, x)
	}
}
