package worker

import (
	"fmt"
	"testing"
	"time"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// TestTheAlertLimitIsTheAccounts: the alerts of a process that died count for the next
// one; else a faulty build that is restarted in a loop would raise three each time.
func TestTheAlertLimitIsTheAccounts(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.Parallel = 1
		first := w.start("w0", 0)
		for i := range 6 {
			w.reg.foreign(fmt.Sprint("S", i), "SUPPLIED")
		}
		for i := range 2 {
			w.scan("d1", fmt.Sprint("S", i), scan.Supply)
		}
		w.during(time.Minute)
		first.kill()
		w.during(time.Second)
		w.start("w1", 0)
		for i := 2; i < 6; i++ {
			w.scan("d1", fmt.Sprint("S", i), scan.Supply)
		}
		w.during(30 * time.Minute)
		if n := w.reg.alertsRaised(); n != 3 {
			t.Errorf("%d alerts raised by two processes in an hour, want 3 and a halt", n)
		}
	})
}

// TestARefusedSecondUndoGoesToAPerson: the first one may have been carried out, and a
// stranger have decommissioned the pack since.
func TestARefusedSecondUndoGoesToAPerson(t *testing.T) {
	refused := &ledger.Answer{Result: scan.Refused, Reason: scan.WrongRef}
	for _, tt := range []struct {
		op    scan.Op
		sends uint8
		want  scan.Result
	}{
		{scan.UndoSupply, 0, scan.Refused}, {scan.UndoSupply, 1, scan.Unresolved}, {scan.Supply, 1, scan.Refused},
	} {
		if got := undoAgain(tt.op, ledger.State{Sends: tt.sends}, refused); got.Result != tt.want {
			t.Errorf("%s after %d doubtful sends: %s, want %s", tt.op, tt.sends, got.Result, tt.want)
		}
	}
	if refused.Result != scan.Refused {
		t.Error("the answer of NMVS was changed in place")
	}
}

// TestAResumeMustFollowEveryReason: one that came after it is not swept away with the rest.
func TestAResumeMustFollowEveryReason(t *testing.T) {
	for _, tt := range []struct {
		notes []string
		want  uint64
	}{
		{[]string{"7 lost"}, 7}, {[]string{"7 lost\n99 fork"}, 99}, {[]string{"7 lost", "3 old\n8 fork\n"}, 8}, {[]string{"", "no number"}, 0},
	} {
		if got := lastHalt(tt.notes...); got != tt.want {
			t.Errorf("%q: resume counts after %d, want %d", tt.notes, got, tt.want)
		}
	}
}
