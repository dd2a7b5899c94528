package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"decom/nmvs/sim"
	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// TestStoppedProcessLeavesNothingOpen: the first SIGTERM drains: what was sent gets its
// answer on the ledger, what was not stays in the stream, exit code 0.
func TestStoppedProcessLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	rows := []string{"single", "mixed"}
	inTurns(t, 2, rows, func(mode string) string { return mode }, func(t *testing.T, mode string) {
		var set sim.Settings
		set.Latency.Fixed = sim.Duration(300 * time.Millisecond)
		l := newLine(t, out, lineConfig{mode: mode, sim: set})
		r := l.start()
		l.supply(l.packs(map[string]int{"single": 60, "mixed": 12}[mode]))
		l.atLeast(2, 30*time.Second)
		r.signal(syscall.SIGTERM)
		if code := r.waitEnd(15 * time.Second); code != exitFine {
			t.Errorf("exit code %d after SIGTERM", code)
		}
		if !strings.Contains(r.log(), `"msg":"decom has drained"`) {
			t.Error("the log does not say that it drained")
		}
		if !strings.Contains(r.log(), `"msg":"the drain leaves behind, for the next start or another process"`) || !strings.Contains(r.log(), `"scans_waiting":`) {
			t.Error("the log does not count what is left")
		}
		got, err := l.outcomes()
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == len(l.want) {
			t.Error("everything was done before the signal: this proves nothing")
		}
		states, _, err := l.fold()
		if err != nil {
			t.Fatal(err)
		}
		settled := 0
		for k, s := range states {
			// A bulk that NMVS has accepted stays open: anybody may fetch its result.
			if s.Phase == ledger.Opened && mode == "single" {
				t.Errorf("pack %s is open after a drain", k)
			}
			if s.Phase == ledger.Inactive {
				settled++
			}
		}
		if settled != len(got) {
			t.Errorf("%d packs are done on the ledger, %d outcomes are published", settled, len(got))
		}
		verifies := l.calls("G110")
		l.start()
		l.settled(60 * time.Second)
		l.judge()
		if n := l.calls("G110") - verifies; n > 0 {
			t.Errorf("%d verifies after a drain: something was left in doubt", n)
		}
	})
}

// TestAScanThatNoAccountServesIsReported: it stays in the stream, and /status, the metric
// and the log name its site.
func TestAScanThatNoAccountServesIsReported(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	r := l.start()
	l.publish([]queue.Scan{{Site: "nobodys-site", Device: "rowa", ID: "stray", Body: []byte(`{"v":1,"id":"stray","scan":"x"}`)}})
	l.supply(l.packs(1))
	l.judge()
	s, err := r.status()
	if err != nil {
		t.Fatal(err)
	}
	if s.Unrouted["nobodys-site"] != 1 {
		t.Errorf("/status says %v of unrouted scans", s.Unrouted)
	}
	second := l.start() // looks at its start, then every half minute
	eventually(t, 10*time.Second, "metric and log", func() error {
		_, b, err := second.get("/metrics", 5*time.Second)
		if err == nil && !strings.Contains(string(b), "decom_unrouted_scans 1") {
			err = fmt.Errorf("the metric is missing")
		}
		if err == nil && !strings.Contains(second.log(), `"site":"nobodys-site"`) {
			err = fmt.Errorf("the log is silent")
		}
		return err
	})
}

// TestABulkWithoutResultIsSeenAndThenGivenToAPerson: NMVS accepts a bulk and never answers
// for it. Its packs are visible as open; after T_RESULT those that did not change
// wait for a person, never for another send (B15), and each scan has its outcome.
func TestABulkWithoutResultIsSeenAndThenGivenToAPerson(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	type row struct {
		name    string
		mode    string
		bulk    sim.BulkRules
		rule    *sim.Rule // nil: none
		outcome []string  // allowed
		must    string    // at least one
		packs   int
	}
	crash := sim.Fault{Kind: sim.Crash, When: sim.After, At: 1, Then: "partial"}
	lost := sim.Fault{Kind: sim.Reset, When: sim.After}
	rows := []row{
		{"mixed, never executed", "mixed", sim.BulkRules{Delay: sim.Duration(time.Hour)}, nil, []string{"unresolved/never_executed"}, "unresolved/never_executed", 1},
		{"bulk, never executed", "bulk", sim.BulkRules{Delay: sim.Duration(time.Hour)}, nil, []string{"unresolved/never_executed"}, "unresolved/never_executed", 1},
		{"mixed, executed, its only answer lost", "mixed", sim.BulkRules{ReadOnce: true}, &sim.Rule{Ops: []string{"G196"}, Skip: 1, Fault: lost}, []string{"done", "done/confirmed"}, "done/confirmed", 3},
		{"mixed, half of it executed", "mixed", sim.BulkRules{}, &sim.Rule{Skip: 1, Fault: crash}, []string{"done", "unresolved/never_executed"}, "unresolved/never_executed", 3},
		{"mixed, packs missing in the result", "mixed", sim.BulkRules{MissP: 0.7}, nil, []string{"done", "done/confirmed"}, "done/confirmed", 3},
	}
	inTurns(t, 5, rows, func(r row) string { return r.name }, func(t *testing.T, r row) {
		cfg := lineConfig{mode: r.mode, tResult: 8 * time.Second}
		cfg.sim.Bulk = r.bulk
		l := newLine(t, out, cfg)
		if r.rule != nil {
			if err := l.sim.Inject(*r.rule); err != nil {
				t.Fatal(err)
			}
		}
		l.supply(l.packs(r.packs), r.outcome...)
		first := l.start()
		eventually(t, 20*time.Second, "/status shows the submitted packs", func() error {
			s, err := first.accountStatus()
			if err == nil && (s.Submitted == 0 || s.Open == 0) {
				err = fmt.Errorf("submitted %d, open %d", s.Submitted, s.Open)
			}
			return err
		})
		first.kill() // another worker goes on with what it submitted
		second := l.start()
		got := l.settled(80 * time.Second)
		l.judge()
		if !slices.ContainsFunc(slices.Collect(maps.Values(got)), func(o []scan.Outcome) bool { return outcomeOf(o[0]) == r.must }) {
			t.Errorf("no scan ended as %s", r.must)
		}
		s, err := second.accountStatus()
		if err != nil {
			t.Fatal(err)
		}
		if s.Open != 0 || s.Due != 0 || s.Submitted != 0 {
			t.Errorf("at the end open %d, due %d, submitted %d", s.Open, s.Due, s.Submitted)
		}
	})
}
