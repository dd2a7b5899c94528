package main

import (
	"syscall"
	"testing"
	"time"

	"decom/nmvs/sim"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// crashRow is one row of the crash table (protocol.md section 8) for one pack: the first
// process kills itself at a step, a second one goes on.
type crashRow struct {
	name    string
	at      string // step:n. A step's name means "before it"
	cfg     lineConfig
	outcome string
	changes int // change calls that NMVS sees: G120 single, G195 mixed
	verify  int // G110
	polls   int // G196 at least; 0: none at all
}

func crashRows() []crashRow {
	mixed, lost := lineConfig{mode: "mixed"}, lineConfig{mode: "mixed", tResult: 7 * time.Second}
	lost.sim.Bulk.ReadOnce = true
	e2 := func(c lineConfig) lineConfig { c.settle = "e2"; return c }
	listed := lineConfig{mode: "mixed", listing: true}
	bulk := lineConfig{mode: "bulk"}
	return []crashRow{
		{"single, before the append", "S4:1", lineConfig{}, "done", 1, 0, 0},
		{"single, opened and not applied", "S5:1", lineConfig{}, "done", 1, 1, 0},
		{"single, opened and not acknowledged", "S6:1", lineConfig{}, "done", 1, 1, 0},
		{"single, before the write", "S7:1", lineConfig{}, "done", 1, 1, 0},
		{"single, answer read and not appended", "S8:1", lineConfig{}, "done/confirmed", 1, 1, 0},
		{"single, answer read and not appended, settle e2", "S8:1", e2(lineConfig{}), "unresolved/no_evidence", 1, 1, 0},
		{"single, result before its append", "S4:2", lineConfig{}, "done/confirmed", 1, 1, 0},
		{"single, result not applied", "S5:2", lineConfig{}, "done", 1, 0, 0},
		{"single, outcome not published", "S6:2", lineConfig{}, "done", 1, 0, 0},

		{"mixed, before the append", "S4:1", mixed, "done", 1, 0, 1},
		{"mixed, opened and not applied", "S5:1", mixed, "done", 1, 1, 1},
		{"mixed, opened and not acknowledged", "S6:1", mixed, "done", 1, 1, 1},
		{"mixed, before the write", "S7:1", mixed, "done", 1, 1, 1},
		{"mixed, submit answered and tx not recorded", "S8:1", mixed, "done/confirmed", 1, 1, 0},
		{"mixed, submit answered and tx not recorded, settle e2", "S8:1", e2(mixed), "unresolved/no_evidence", 1, 1, 0},
		{"mixed, submit answered and tx found in the listing", "S8:1", listed, "done", 1, 0, 1},
		{"mixed, submitted and not applied", "S5:2", mixed, "done", 1, 0, 1},
		{"mixed, polled and result not recorded", "S9:1", mixed, "done", 1, 0, 2},
		{"mixed, polled, result readable once and not recorded", "S9:1", lost, "done/confirmed", 1, 1, 2},
		{"mixed, polled, result readable once and not recorded, settle e2", "S9:1", e2(lost), "unresolved/no_evidence", 1, 1, 2},
		{"mixed, result not applied", "S5:3", mixed, "done", 1, 0, 1},
		{"bulk, submit answered and tx not recorded", "S8:1", bulk, "done/confirmed", 1, 1, 0},
		{"bulk, polled and result not recorded", "S9:1", bulk, "done", 1, 0, 2},
	}
}

func TestProcessKilledAtEveryRowOfTheCrashTableLosesNothingAndSendsNothingTwice(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	inTurns(t, 12, crashRows(), func(r crashRow) string { return r.name }, func(t *testing.T, r crashRow) {
		l := newLine(t, out, r.cfg)
		first := l.startCrash("DECOM_CRASH_AT=" + r.at)
		l.supply(l.packs(1), r.outcome)
		first.crashed()
		second := l.startCrash("")
		l.settled(40 * time.Second)
		l.judge()
		l.expectCalls("G110", r.verify)
		change, poll := "G120", ""
		switch r.cfg.mode {
		case "mixed":
			change, poll = "G195", "G196"
		case "bulk":
			change, poll = "G125", "G188"
		}
		l.expectCalls(change, r.changes)
		if n := l.calls(poll); n < r.polls || r.polls == 0 && n > 0 {
			t.Errorf("%d polls, the crash table says %d", n, r.polls)
		}
		s, err := second.accountStatus()
		if err != nil {
			t.Fatal(err)
		}
		if parked := r.outcome == "unresolved/no_evidence"; s.Open != 0 || s.Due != 0 || s.Parked > 0 != parked || s.Halted {
			t.Errorf("status at the end: open %d, due %d, parked %d, halted %v (%s)", s.Open, s.Due, s.Parked, s.Halted, s.HaltedWhy)
		}
		if r.outcome == "unresolved/no_evidence" {
			l.parkedPackIsLeftToAPerson()
		}
	})
}

// parkedPackIsLeftToAPerson scans the line's pack again: nothing may be sent.
func (l *line) parkedPackIsLeftToAPerson() {
	l.t.Helper()
	var p scan.Pack
	for _, s := range l.want {
		p = s.pack
	}
	before := l.calls("G120", "G195", "G110")
	l.supply([]scan.Pack{p}, "refused/parked")
	l.settled(20 * time.Second)
	if n := l.calls("G120", "G195", "G110"); n != before {
		l.t.Errorf("%d calls for a pack that waits for a person", n-before)
	}
}

// TestProcessThatStandsStillLongerThanTheHoldSendsNothingTwice is the row "pause, wakes late"
// (invariant HELD, protocol.md B8c-e): another worker has fenced, verified and sent the
// pack when the first one goes on.
func TestProcessThatStandsStillLongerThanTheHoldSendsNothingTwice(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	type row struct {
		name, at string
		cfg      lineConfig
		outcome  string
		change   string
		verify   int
	}
	// NMVS drops a connection on which nothing comes: T_HOLD is longer than that (A3).
	short := func(mode string) lineConfig { return lineConfig{mode: mode, idle: time.Second} }
	rows := []row{
		{"single, opened and not applied", "S5:1", lineConfig{}, "done", "G120", 1},
		{"single, applied and not acknowledged", "S6:1", lineConfig{}, "done", "G120", 1},
		{"single, between view and write", "S7:1", short("single"), "done", "G120", 1},
		{"single, answer read and not appended", "S8:1", lineConfig{}, "done/confirmed", "G120", 1},
		{"mixed, opened and not applied", "S5:1", lineConfig{mode: "mixed"}, "done", "G195", 1},
		{"mixed, between view and write", "S7:1", short("mixed"), "done", "G195", 1},
		{"mixed, polled and result not recorded", "S9:1", lineConfig{mode: "mixed"}, "done", "G195", 0},
	}
	inTurns(t, 7, rows, func(r row) string { return r.name }, func(t *testing.T, r row) {
		l := newLine(t, out, r.cfg)
		first := l.startCrash("DECOM_STOP_AT=" + r.at)
		l.supply(l.packs(1), r.outcome)
		first.stopped()
		second := l.startCrash("")
		l.settled(40 * time.Second)
		l.expectCalls(r.change, 1)
		first.signal(syscall.SIGCONT)
		eventually(t, 10*time.Second, "the first process is awake", func() error {
			_, _, err := first.get("/livez", time.Second)
			return err
		})
		time.Sleep(lineTHTTP + 500*time.Millisecond) // whatever it meant to send is out by then
		l.expectCalls(r.change, 1)
		l.expectCalls("G110", r.verify)
		second.kill()
		l.supply(l.packs(3)) // the one that woke up still works
		l.settled(30 * time.Second)
		l.judge()
	})
}

// TestProcessSettlesAnAnswerThatWasLost is the fault pair at NMVS's edge: the request had
// its effect or not, the client cannot tell, and no crash is needed.
func TestProcessSettlesAnAnswerThatWasLost(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	type row struct {
		name    string
		cfg     lineConfig
		op      string
		fault   sim.Fault
		outcome string
		changes int
		verify  int
	}
	e2 := lineConfig{settle: "e2"}
	mixed := lineConfig{mode: "mixed"}
	rows := []row{
		{"single, before the effect", lineConfig{}, "G120", sim.Fault{Kind: sim.Reset, When: sim.Before}, "done", 2, 1},
		{"single, after the effect", lineConfig{}, "G120", sim.Fault{Kind: sim.Reset, When: sim.After}, "done/confirmed", 1, 1},
		{"single, before the effect, settle e2", e2, "G120", sim.Fault{Kind: sim.Hang, When: sim.Before}, "done", 2, 1},
		{"single, after the effect, settle e2", e2, "G120", sim.Fault{Kind: sim.Hang, When: sim.After}, "unresolved/no_evidence", 1, 1},
		{"single, broken XML without effect", lineConfig{}, "G120", sim.Fault{Kind: sim.Garbled, When: sim.Before}, "done", 2, 1},
		{"single, broken XML with effect", lineConfig{}, "G120", sim.Fault{Kind: sim.Garbled, When: sim.After}, "done/confirmed", 1, 1},
		{"mixed submit, before the effect", mixed, "G195", sim.Fault{Kind: sim.Reset, When: sim.Before}, "done", 2, 1},
		{"mixed submit, after the effect", mixed, "G195", sim.Fault{Kind: sim.Reset, When: sim.After}, "done/confirmed", 1, 1},
		{"mixed submit, broken XML with effect", mixed, "G195", sim.Fault{Kind: sim.Garbled, When: sim.After}, "done/confirmed", 1, 1},
		{"mixed poll, answer lost", mixed, "G196", sim.Fault{Kind: sim.Reset, When: sim.After}, "done", 1, 0},
	}
	inTurns(t, 10, rows, func(r row) string { return r.name }, func(t *testing.T, r row) {
		l := newLine(t, out, r.cfg)
		if err := l.sim.Inject(sim.Rule{Ops: []string{r.op}, Fault: r.fault}); err != nil {
			t.Fatal(err)
		}
		l.startCrash("")
		l.supply(l.packs(1), r.outcome)
		l.judge()
		change := "G120"
		if r.cfg.mode == "mixed" {
			change = "G195"
		}
		l.expectCalls(change, r.changes)
		l.expectCalls("G110", r.verify)
	})
}
