package worker

import (
	"testing"
	"time"

	"decom/worker/scan"
)

// TestOnePackGoesThrough is the line itself: one scan, one call, one outcome.
func TestOnePackGoesThrough(t *testing.T) {
	line(t, func(w *world) {
		w.start("w1", 0)
		e := w.scan("d1", "S1", scan.Supply)
		w.settle(time.Minute)
		w.want(e, "done")
		if n, _, _ := w.reg.count(); n != 1 {
			t.Errorf("%d calls for one pack", n)
		}
	})
}
