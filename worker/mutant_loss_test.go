package worker

import (
	"testing"
	"time"

	"decom/queue/queuetest"
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

// TestAheadIsNoPermission [B3b]: w1 opens a pack, and its answer is lost; the ledger loses the
// record, and w0, which had looked before, opens the same pack under the same number and stands still
// before it projects that. w1 knows only the lost record: its next append fits by number, and
// carries Redis past the record of w0. Redis now shows the pack open under the very number
// that w0 wrote, and is ahead: w0 must not send. The outbox finds the broken link, and the account halts,
// but only when the record's turn comes: it may wait for the outcome stream.
func TestAheadIsNoPermission(t *testing.T) {
	for _, tt := range []struct {
		name  string
		waits bool
	}{{"the outbox waits", true}, {"the outbox does not", false}} {
		t.Run(tt.name, func(t *testing.T) {
			line(t, func(w *world) {
				w.reg.lossy.Store(true)
				w.start("w0", 1)
				if tt.waits {
					w.broker.Fail(queuetest.OutcomeFails, 60)
				}
				w.scan("d1", "S0", scan.Supply) // its outcome waits
				w.during(5 * time.Second)

				looked, lost, passed := make(chan struct{}), make(chan struct{}), make(chan struct{})
				first, second, third := newNth(1), newNth(1), newNth(2)
				w.onStep(func(p *process, step string) {
					switch {
					case p.name == "w0" && step == "S4" && first.now():
						close(looked)
						<-lost
					case p.name == "w0" && step == "S5" && second.now():
						<-passed
					case p.name == "w1" && step == "S6" && third.now():
						close(passed)
					}
				})
				w.scan("d1", "S1", scan.Supply)
				<-looked
				w.start("w1", 0) // takes every scan from now on
				w.during(100 * time.Millisecond)
				w.reg.next(fate{mute: true})
				w.scan("d2", "S1", scan.Supply)
				w.during(100 * time.Millisecond)
				w.broker.LoseTail(1)
				close(lost)
				w.during(100 * time.Millisecond)
				w.scan("d2", "S2", scan.Supply) // w0 goes on when it is projected
				w.during(time.Minute)
				if n := w.reg.sent("S1"); !second.came() || !third.came() || n != 1 {
					t.Errorf("w0 stood still: %v, w1 passed it: %v, and S1 was sent %d times, want once", second.came(), third.came(), n)
				}
				if !w.isHalted() {
					t.Error("nobody noticed that the ledger lost a record")
				}
			})
		})
	}
}

// sent counts the changes of a pack that were written.
func (r *registry) sent(serial string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, call := range r.changes {
		for i := range call.Packs {
			if call.Packs[i].Serial == serial {
				n++
			}
		}
	}
	return n
}
