package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"decom/nmvs/sim"
	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// TestABrokenChainHasAWayOut is the runbook's "The chain is broken" on real processes: a lost record's number is taken by
// another one, and the next append fits by number. Redis knows the lost record, so that no resume is possible
// (where it knows the one behind, a plain one is: TestABreakThatAPersonResumedFromHaltsNoMore). The account goes on under another
// name, and what was sent before is verified first. Nothing is sent twice, NMVS raises no alert.
func TestABrokenChainHasAWayOut(t *testing.T) {
	if !*chaosFlag {
		t.Skip("real processes, about two minutes; ask for it with -chaos")
	}
	dir := filepath.Join(keepDir(t), "broken-chain")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, plan{Seed: 700_001, AOF: true, SyncAlways: true, Mode: "single", Settle: "e2", Workers: 2, Accounts: 1}, dir)
	b := &broken{rig: r, load: &load{r: r, rng: rand.New(rand.NewPCG(1, 1))}, account: r.plan.accounts()[0].Name}

	old := b.scan("old")
	b.outcome(old, "done")
	if err := r.copyNATS(filepath.Join(dir, "copy")); err != nil {
		t.Fatal(err)
	}
	lost := b.scan("lost") // executed, and its records are lost
	b.outcome(lost, "done")
	r.await("all is told", 30*time.Second, r.quiet)
	b.stop()
	last, _, err := r.conn.Ledger(b.account).Last(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.restoreNATS(filepath.Join(dir, "copy"), "", true); err != nil {
		t.Fatal(err)
	}
	b.fill(last.Seq)
	b.append(last.Head()) // by number, as whoever knew only the lost record
	b.start()
	b.halted("do not follow each other")

	who := []string{"--who", "rig", "--why", "chain", "--config", r.desk(), "--lang", "en"}
	for _, x := range []struct{ args, want string }{{"resume " + b.account, "--after-loss"}, {"resume " + b.account + " --after-loss --notice 3s", "another account name"}, {"ledger verify", ""}} {
		args := strings.Fields(x.args)
		if args[0] == "resume" {
			args = append(args, who...)
		} else {
			args = append(args, "--config", r.desk())
		}
		if out, err := r.decom(args...); err == nil || !strings.Contains(out, x.want) {
			t.Errorf("decom %s of a broken chain says: %v\n%s", x.args, err, out)
		}
	}
	waits := b.scan("waits")
	b.stop()
	time.Sleep(tHold) // nothing is on its way any more
	r.plan.Rename = "b"
	for _, w := range r.procs {
		r.configure(w)
	}
	b.account = r.plan.accounts()[0].Name
	b.decom("setup", "--config", r.desk())
	b.decom("verify-first", b.account, "--who", "rig", "--why", "chain", "--config", r.desk())
	b.start()
	b.outcome(waits, "done")
	for _, s := range []sent{old, lost} {
		b.outcome(b.again(s), "alert/already_inactive")
	}
	b.outcome(b.scan("new"), "done")
	b.decom("ledger", "verify", "--account", b.account, "--config", r.desk())
	var v sim.Verdict
	if err := r.sim.get("/verdict", &v); err != nil || !v.Clean || len(v.Counts.Alerts) > 0 {
		t.Errorf("ONCE: %v, %v, alerts %v", err, v, v.Counts.Alerts)
	}
}

// broken is what the test does by hand.
type broken struct {
	*rig
	load    *load
	account string
}

// scan publishes one scan of a new pack.
func (b *broken) scan(serial string) sent {
	b.t.Helper()
	pack, err := scan.NewPack(scan.GTIN, gtin, "B"+serial, "LOT1", "341100")
	if err != nil {
		b.t.Fatal(err)
	}
	return b.publish(pack, "rowa-1")
}

// again publishes a scan of a pack by another device.
func (b *broken) again(s sent) sent { b.t.Helper(); return b.publish(s.pack, "counter") }

func (b *broken) publish(pack scan.Pack, device string) sent {
	b.t.Helper()
	s := b.load.event(0, device, scan.Supply, pack)
	if err := b.load.publish(b.t.Context(), []queue.Scan{s}); err != nil {
		b.t.Fatal(err)
	}
	all := b.load.all()
	return all[len(all)-1]
}

// outcome waits for the outcome of a scan.
func (b *broken) outcome(s sent, want string) {
	b.t.Helper()
	b.await("the outcome of "+s.pack.Serial(), 90*time.Second, func() error {
		got, _, err := b.outcomes()
		if err == nil && len(got[s.id]) == 0 {
			err = errors.New("none yet")
		}
		return err
	})
	got, _, err := b.outcomes()
	if err != nil || len(got[s.id]) == 0 || wordOf(got[s.id][0]) != want {
		b.t.Errorf("%s: %v, %v, want %s", s.pack.Serial(), got[s.id], err, want)
	}
}

func (b *broken) stop() {
	b.t.Helper()
	for _, w := range b.procs {
		if err := w.end(syscall.SIGTERM, 30*time.Second); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *broken) start() {
	for _, w := range b.procs {
		w.start()
	}
}

// fill appends records as others could, until the ledger ends at seq again.
func (b *broken) fill(seq uint64) {
	b.t.Helper()
	var last queue.Entry
	b.await("the ledger is back", 40*time.Second, func() (err error) {
		ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
		defer cancel()
		last, _, err = b.conn.Ledger(b.account).Last(ctx)
		return err
	})
	if last.Seq >= seq {
		b.t.Fatalf("the ledger ends at %d, %d is not lost", last.Seq, seq)
	}
	for head := last.Head(); head.Seq < seq; {
		head = b.append(head)
	}
}

// append appends a record without contents behind prev.
func (b *broken) append(prev ledger.Head) (head ledger.Head) {
	b.t.Helper()
	body, err := ledger.Encode(&ledger.Record{Account: b.account, By: "other#1", At: scan.Time(time.Now())}, prev)
	if err != nil {
		b.t.Fatal(err)
	}
	b.await("append", 40*time.Second, func() (err error) {
		ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
		defer cancel()
		head, err = b.conn.Ledger(b.account).Append(ctx, prev, body)
		return err
	})
	return head
}

func (b *broken) halted(why string) {
	b.t.Helper()
	b.await("the account halts", 60*time.Second, func() error {
		for _, text := range b.haltedAccounts() {
			if strings.Contains(text, why) {
				return nil
			}
		}
		return fmt.Errorf("halted: %v", b.haltedAccounts())
	})
}

// decom runs a command that must succeed.
func (b *broken) decom(args ...string) {
	b.t.Helper()
	if out, err := b.patient(args...); err != nil {
		b.t.Fatalf("decom %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
