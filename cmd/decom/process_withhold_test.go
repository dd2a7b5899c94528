package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/worker"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// withheldAs waits until the process shows so many batches and devices as withheld.
func (r *decomRun) withheldAs(n int, patience time.Duration) (s AccountStatus) {
	r.t.Helper()
	eventually(r.t, patience, fmt.Sprintf("%s shows %d as withheld", r.name, n), func() error {
		var err error
		if s, err = r.accountStatus(); err == nil && len(s.Withheld) != n {
			err = fmt.Errorf("withheld: %+v", s.Withheld)
		}
		return err
	})
	return s
}

// missing makes n packs of a batch that nobody uploaded.
func (l *line) missing(n int) []scan.Pack {
	l.t.Helper()
	list := make([]scan.Pack, n)
	for i := range list {
		p, err := scan.NewPack(scan.GTIN, presentations()[0].gtin, fmt.Sprintf("M%s%05d", strings.ToUpper(l.account), i), "LOTM", "341100")
		if err != nil {
			l.t.Fatal(err)
		}
		list[i] = p
	}
	return list
}

// TestFiveHundredPacksOfABatchThatNobodyUploadedRaiseAHandfulOfAlerts: on two real processes. The rest
// waits, other packs are done meanwhile, one of the processes is killed and knows it again; the
// manufacturer uploads, a person frees the batch, and what waited is done.
func TestFiveHundredPacksOfABatchThatNobodyUploadedRaiseAHandfulOfAlerts(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{AOF: true})
	l := newLine(t, out, lineConfig{})
	one := l.start()
	l.start()
	l.supply(l.packs(12))
	l.settled(60 * time.Second)
	before := l.calls("G120")
	missing := l.missing(500)
	l.supply(missing, "done", "alert/unknown_serial", "alert/unknown_batch")
	s := one.withheldAs(1, 60*time.Second)
	if w := s.Withheld[0]; w.Who != worker.Auto || w.Scope != "batch" || w.Batch != "LOTM" || w.Until == "" || !strings.HasPrefix(w.Why, worker.WhyMissingUpload) {
		t.Errorf("%+v", w)
	}
	l.supply(l.packs(8))
	eventually(t, 60*time.Second, "other packs are done", func() error {
		got, err := l.outcomes()
		if n := 20 + l.alerts(); err == nil && len(got) != n {
			err = fmt.Errorf("%d outcomes, want %d", len(got), n)
		}
		return err
	})
	alerts, calls := l.alerts(), l.calls("G120")-before-8
	t.Logf("500 packs: %d calls, %d alerts", calls, alerts)
	if alerts < 3 || alerts > 2*8+3 || calls != alerts { // each process may have its parallel calls on their way
		t.Errorf("%d calls and %d alerts, want 3 to 19 of each", calls, alerts)
	}
	if got := one.metric(fmt.Sprintf(`decom_withheld{account=%q,scope="batch"}`, l.account)); got != "1" {
		t.Errorf("decom_withheld is %q", got)
	}
	if r := l.decom(exitFine, "batch", "ls"); strings.Count(r.stdout, "LOTM") != 1 || !strings.Contains(r.stdout, "decom") {
		t.Errorf("%s", r.stdout)
	}
	if r := l.decom(exitFine, "pack", missing[499].Code(), missing[499].Serial()); !strings.Contains(r.stdout, "batch withheld, its scans wait") {
		t.Errorf("%s", r.stdout)
	}
	for _, args := range [][]string{{"review", "ls"}, {"status"}} {
		if r := l.decom(exitFine, args...); !strings.Contains(r.stdout, presentations()[0].gtin+" LOTM") || !strings.Contains(strings.ToLower(r.stdout), "withheld") {
			t.Errorf("%v: %s", args, r.stdout)
		}
	}
	listed := 0
	for text := range strings.Lines(l.decom(exitFine, "review", "ls", "--json").stdout) {
		var it reviewItem
		if err := json.Unmarshal([]byte(text), &it); err != nil {
			t.Fatal(err)
		}
		if it.What == "batch" && it.Batch == "LOTM" && it.Reason == scan.BatchWithheld {
			listed++
		}
	}
	if listed != 1 {
		t.Errorf("decom review ls tells of it %d times", listed)
	}
	one.kill()
	one = l.start()
	one.withheldAs(1, 20*time.Second)

	for _, p := range missing {
		if err := l.sim.AddPack(p); err != nil {
			t.Fatal(err)
		}
	}
	who := []string{"--who", "Mme Durand", "--why", "the manufacturer has uploaded it"}
	l.decom(exitUsage, append([]string{"batch", "free", "03400930000008", "LOTM"}, who...)...)                // its check digit is wrong
	l.decom(exitFailure, append([]string{"batch", "free", presentations()[0].gtin, "LOT42"}, who...)...)      // not withheld
	l.decom(exitUsage, append([]string{"batch", "withhold", presentations()[0].gtin, "LOT42"}, who...)...)    // for how long?
	l.decom(exitUsage, append([]string{"device", "withhold", "rowa-1", "--until-freed"}, who...)...)          // of which site?
	l.decom(exitUsage, append([]string{"device", "withhold", "elsewhere/rowa-1", "--for", "1h"}, who...)...)  // whose?
	l.decom(exitFine, append([]string{"batch", "free", presentations()[0].gtin, "LOTM"}, who...)...)          // it is
	l.decom(exitFine, append([]string{"device", "withhold", l.site() + "/rowa-9", "--for", "2s"}, who...)...) // ends by itself
	got := l.settled(2 * time.Minute)
	done := 0
	for id, outs := range got {
		if l.want[id].pack.Batch() == "LOTM" && outcomeOf(outs[0]) == "done" {
			done++
		}
	}
	if done != 500-alerts || l.alerts() != alerts {
		t.Errorf("%d are done after all, %d alerts, want %d and %d", done, l.alerts(), 500-alerts, alerts)
	}
	one.withheldAs(0, 20*time.Second)
	l.quiet()
	l.judgeLedger()
}

// TestAFaultyScannerIsStoppedAloneOnRealProcesses: one of three mangles what it reads. Its good scans wait, its bad
// ones are answered, the others' packs are done; a person frees it.
func TestAFaultyScannerIsStoppedAloneOnRealProcesses(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	one := l.start()
	l.start()
	from := func(device string, ps []scan.Pack) {
		scans := make([]queue.Scan, len(ps))
		for i, p := range ps {
			scans[i] = l.event(device, fmt.Sprintf("%s-%s-%05d", l.account, device, len(l.want)), scan.Supply, p)
		}
		l.publish(scans)
	}
	mangled := func(n int) {
		scans := make([]queue.Scan, n)
		for i := range scans {
			id := fmt.Sprintf("%s-mangled-%05d", l.account, len(l.want))
			l.want[id] = sentScan{allowed: []string{"rejected/layout"}}
			scans[i] = queue.Scan{Site: l.site(), Device: "bad", ID: id, Body: []byte(`{"v":1,"id":"` + id + `","scan":"&'(-"}`)}
		}
		l.publish(scans)
	}
	for _, d := range []string{"good-1", "good-2", "bad"} {
		from(d, l.packs(25))
	}
	l.settled(60 * time.Second)
	mangled(12)
	s := one.withheldAs(1, 60*time.Second)
	if w := s.Withheld[0]; w.Who != worker.Auto || w.Device != l.site()+"/bad" || w.Until != "" || !strings.HasPrefix(w.Why, worker.WhyDeparts) {
		t.Errorf("%+v", w)
	}
	l.settled(60 * time.Second) // what was on its way
	from("bad", l.packs(5))
	waiting := len(l.want)
	from("good-1", l.packs(20))
	from("good-2", l.packs(20))
	mangled(3)
	eventually(t, 60*time.Second, "the others' packs are done, the bad scans answered", func() error {
		got, err := l.outcomes()
		if n := len(l.want) - 5; err == nil && len(got) != n {
			err = fmt.Errorf("%d outcomes, want %d of %d", len(got), n, waiting)
		}
		return err
	})
	if r := l.decom(exitFine, "device", "ls"); !strings.Contains(r.stdout, l.site()+"/bad") {
		t.Errorf("%s", r.stdout)
	}
	if got := one.metric(fmt.Sprintf(`decom_withheld{account=%q,scope="device"}`, l.account)); got != "1" {
		t.Errorf("decom_withheld is %q", got)
	}
	l.decom(exitFine, "device", "free", l.site()+"/bad", "--who", "Mme Durand", "--why", "its settings are right now")
	l.settled(2 * time.Minute)
	l.judge()
}
