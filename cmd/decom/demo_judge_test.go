package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"decom/nmvs/sim"
	"decom/worker/scan"
)

// judged is a run in which everything went well: a pack supplied and undone, one that
// NMVS does not know, and a scan that nobody could read. Tests spoil it.
type judged struct {
	evidence
	packs map[sim.Key]sim.PackState
}

var (
	goodKey    = sim.Key{Scheme: "GTIN", Code: "03400930000007", Serial: "A"}
	unknownKey = sim.Key{Scheme: "GTIN", Code: "03400930000007", Serial: "B"}
)

func goodRun() *judged {
	sc := &scenario{
		clean: map[sim.Key]bool{goodKey: true},
		scans: []demoScan{
			{id: "1", kind: "supply", op: scan.Supply, key: goodKey, want: []string{"done"}},
			{id: "2", kind: "undo", op: scan.UndoSupply, key: goodKey, want: []string{"done"}, after: "1"},
			{id: "1", kind: "again", op: scan.Supply, key: goodKey, want: []string{"done"}, again: "1"},
			{id: "3", kind: "unknown", op: scan.Supply, key: unknownKey, want: []string{"alert/unknown_serial"}},
			{id: "4", kind: "layout", op: scan.Supply, want: []string{"rejected/layout"}},
		},
	}
	j := &judged{packs: map[sim.Key]sim.PackState{goodKey: {Key: goodKey, Decommissions: 1, Undos: 1}}}
	j.evidence = evidence{
		sc: sc,
		outcomes: map[string]*scan.Outcome{
			"1": {EventID: "1", Op: scan.Supply, Result: scan.Done, ClientTrxID: "C1"},
			"2": {EventID: "2", Op: scan.UndoSupply, Result: scan.Done, ClientTrxID: "C2"},
			"3": {EventID: "3", Op: scan.Supply, Result: scan.Alert, Reason: scan.UnknownSerial, ClientTrxID: "C3"},
			"4": {EventID: "4", Op: scan.Supply, Result: scan.Rejected, Reason: "layout"},
		},
		ledger: []sim.Entry{
			{C: "C1", Op: "G120", Key: goodKey, Effect: true, Code: "NMVS_SUCCESS"},
			{C: "C2", Op: "G121", Key: goodKey, Effect: true, Code: "NMVS_SUCCESS"},
			{C: "C3", Op: "G120", Key: unknownKey, Code: "NMVS_NC_PC_02", Alert: "A3"},
		},
		pack: func(k sim.Key) (sim.PackState, bool) { p, ok := j.packs[k]; return p, ok },
	}
	return j
}

func TestJudgeFindsEveryKindOfFault(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(*judged)
		want  func(*verdict) int
	}{
		{"a scan without outcome", func(j *judged) { delete(j.outcomes, "4") }, func(v *verdict) int { return len(v.lost) }},
		{"a second outcome", func(j *judged) { j.extra = append(j.extra, *j.outcomes["1"]) }, func(v *verdict) int { return len(v.extra) }},
		{"a pack sent twice", func(j *judged) {
			j.ledger = append(j.ledger, sim.Entry{C: "C9", Op: "G120", Key: goodKey, Twice: true, Code: "NMVS_NC_PCK_22"})
		}, func(v *verdict) int { return len(v.twice) }},
		{"an alert for a pack in order", func(j *judged) { j.ledger[0].Alert = "A24" }, func(v *verdict) int { return len(v.cleanAlerts) }},
		{"done, but nothing changed", func(j *judged) { j.ledger[0].Effect = false }, func(v *verdict) int { return len(v.wrong) }},
		{"done, but by an unknown call", func(j *judged) { j.outcomes["1"].ClientTrxID = "C8" }, func(v *verdict) int { return len(v.wrong) }},
		{"refused, but changed", func(j *judged) {
			j.outcomes["1"].Result, j.outcomes["1"].Reason = scan.Refused, scan.Recalled
		}, func(v *verdict) int { return len(v.wrong) }},
		{"changed behind an alert", func(j *judged) {
			j.packs[unknownKey] = sim.PackState{Key: unknownKey, Decommissions: 1}
		}, func(v *verdict) int { return len(v.wrong) }},
		{"one change claimed, two made", func(j *judged) {
			j.packs[goodKey] = sim.PackState{Key: goodKey, Decommissions: 2, Undos: 1}
		}, func(v *verdict) int { return len(v.wrong) }},
		{"an undo claimed that was not made", func(j *judged) {
			j.packs[goodKey] = sim.PackState{Key: goodKey, Decommissions: 1}
		}, func(v *verdict) int { return len(v.wrong) }},
		{"a call for a pack that nobody scanned", func(j *judged) {
			j.ledger = append(j.ledger, sim.Entry{C: "C9", Op: "G110", Key: sim.Key{Scheme: "GTIN", Code: "1", Serial: "Z"}})
		}, func(v *verdict) int { return len(v.wrong) }},
		{"another reason than expected", func(j *judged) { j.outcomes["4"].Reason = "case" }, func(v *verdict) int { return len(v.different) }},
		{"not marked as repaired", func(j *judged) { j.sc.scans[0].fixed = true }, func(v *verdict) int { return len(v.different) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := goodRun()
			if v := judge(j.evidence); !v.good() {
				t.Fatalf("the good run is judged bad: %+v", v)
			}
			tc.spoil(j)
			v := judge(j.evidence)
			if v.good() {
				t.Fatal("the run is judged good")
			}
			if tc.want(v) == 0 {
				t.Errorf("the fault is not where it belongs: %+v", v)
			}
		})
	}
}

func TestJudgeAcceptsWhatDoubtsMayLeadTo(t *testing.T) {
	j := goodRun()
	j.outcomes["1"].Reason = scan.Confirmed
	if v := judge(j.evidence); !v.good() {
		t.Errorf("a change proved after a doubt: %+v", v)
	}
	j.outcomes["1"].Result, j.outcomes["1"].Reason = scan.Unresolved, scan.DoubtfulTwice
	j.outcomes["2"].Result, j.outcomes["2"].Reason, j.outcomes["2"].ClientTrxID = scan.Refused, scan.ParkedPack, ""
	j.packs[goodKey] = sim.PackState{Key: goodKey}
	if v := judge(j.evidence); !v.good() {
		t.Errorf("a pack put aside, and what follows on it: %+v", v)
	}
	j.outcomes["3"].Result = scan.Unresolved
	if v := judge(j.evidence); v.good() {
		t.Error("an unknown pack that ends unresolved is judged good")
	}
}

func TestFaultPlanDisturbsPlainPacksOnce(t *testing.T) {
	for _, level := range []faultLevel{faultsNone, faultsLight, faultsHeavy} {
		for _, n := range []int{1, 20, 150, 2000} {
			sc := newScenario(2, n, demoDay())
			plain := map[sim.Key]bool{}
			for _, k := range sc.plain {
				plain[k] = true
			}
			plan, seen := planFaults(sc, 2, level), map[sim.Key]bool{}
			for _, r := range plan.rules {
				if err := r.Validate(); err != nil {
					t.Errorf("%s: %v", level, err)
				}
				k := sim.Key{Scheme: "GTIN", Code: r.Product, Serial: r.Serial}
				if !plain[k] || seen[k] {
					t.Errorf("%s, %d packs: a fault on a pack that is not plain, or two on one", level, n)
				}
				seen[k] = true
			}
			before := len(sc.scans)
			plan.expect(sc)
			if len(sc.scans) != before {
				t.Errorf("%s, %d packs: %d scans became %d", level, n, before, len(sc.scans))
			}
			if level == faultsNone && len(plan.rules)+plan.kills > 0 {
				t.Error("none has faults")
			}
			if n == 2000 && level != faultsNone && len(plan.rules) < 2000*permilleOf(level)/1000/2 {
				t.Errorf("%s: only %d faults", level, len(plan.rules))
			}
		}
	}
}

func permilleOf(level faultLevel) int {
	if level == faultsHeavy {
		return 80
	}
	return 20
}

// TestDemo is the demo itself, as a user starts it: its worker is killed on the way.
func TestDemo(t *testing.T) {
	for _, args := range [][]string{
		{"demo", "--packs", "150", "--lang", "en"},
		{"demo", "--packs", "40", "--faults", "none", "--seed", "5", "--lang", "fr"},
	} {
		t.Run(strings.Join(args[1:], " "), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := child(t.Context(), t, append(args, "--dir", dir)...)
			var out, errs bytes.Buffer
			c.Stdout, c.Stderr = &out, &errs
			began := time.Now()
			err := c.Run()
			if t.Logf("%v\n%s%s", time.Since(began), &out, &errs); err != nil {
				t.Fatalf("exit: %v", err)
			}
			says := []string{"150 packs", "Worker process: started 2 times, killed 1 times", "    0  scans lost", "    0  packs sent twice", "Nothing lost"}
			if args[2] == "40" {
				says = []string{"40 boîtes", "démarré 1 fois, tué 0 fois", "    0  scans perdus", "    0  boîtes envoyées deux fois", "Rien de perdu"}
			}
			for _, s := range says {
				if !strings.Contains(out.String(), s) {
					t.Errorf("does not say %q", s)
				}
			}
		})
	}
}

func TestDemoRefusesWrongFlagsAndUsedFolders(t *testing.T) {
	used := t.TempDir()
	write(t, used, "file", "")
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"--packs", "0"}, "--packs 0"},
		{[]string{"--faults", "some"}, "none, light and heavy"},
		{[]string{"--rate", "-1"}, "--rate -1"},
		{[]string{"--dir", used}, "is not empty"},
		{[]string{"extra"}, "takes no argument"},
	} {
		r := inProcess(t, nil, "", append([]string{"demo"}, tc.args...)...)
		if r.code != exitUsage || !strings.Contains(r.stderr, tc.says) {
			t.Errorf("%v: code %d, %s", tc.args, r.code, r.stderr)
		}
	}
}
