package worker

import (
	"testing"
	"time"

	"decom/worker/scan"
)

// TestTheWriterOfALostRecordSendsNothing: a process appends its first record and stands still
// before it projects it; the ledger loses the record, and another process opens the same
// pack under the same number. What the first one finds in Redis then is another's record of
// its number [B6], or one further on: neither permits it to send.
func TestTheWriterOfALostRecordSendsNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		then bool // the other one goes on to a second record
	}{{"Redis holds another record of that number", false}, {"Redis is ahead", true}} {
		t.Run(tt.name, func(t *testing.T) {
			line(t, func(w *world) {
				w.reg.lossy.Store(true)
				if !tt.then {
					w.reg.next(fate{mute: true}) // executed, and nobody learns of it: the pack stays open
				}
				at := newNth(1)
				w.onStep(func(p *process, step string) {
					if p.name != "w0" || step != "S5" || !at.now() {
						return
					}
					w.broker.LoseTail(1)
					w.broker.RedeliverAll(acc)
					w.start("w1", 0)
					time.Sleep(time.Second)
					if tt.then {
						w.scan("d2", "S2", scan.Supply)
					}
					time.Sleep(time.Second)
				})
				w.start("w0", 0)
				w.during(time.Second)
				w.scan("d1", "S1", scan.Supply)
				w.during(time.Minute)
				n, _, _ := w.reg.count()
				if want := map[bool]int{false: 1, true: 2}[tt.then]; !at.came() || n != want {
					t.Errorf("%d changes left, want the %d of the other process", n, want)
				}
				if !w.isHalted() {
					t.Error("nobody noticed that the ledger lost a record")
				}
			})
		})
	}
}
