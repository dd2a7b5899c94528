package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// decom runs one command line with the line's configuration, as a person at a terminal would.
func (l *line) decom(code int, args ...string) result {
	l.t.Helper()
	r := inProcess(l.t, nil, "", append(args, "--config", l.config(), "--lang", "en")...)
	if r.code != code {
		l.t.Fatalf("decom %s: code %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

// TestAPersonBringsALineBackAfterItsLedgerLostRecords: nats-server comes back with the
// ledger of an hour ago, as from a backup, while scans and Redis are of today. The workers halt;
// a person resumes; what the lost records did is put aside and no pack is sent twice. A
// rebuild of Redis and a person's word about a pack follow, all beside running workers.
func TestAPersonBringsALineBackAfterItsLedgerLostRecords(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{AOF: true})
	l := newLine(t, out, lineConfig{})
	one, _ := l.start(), l.start()
	l.supply(l.packs(10))
	l.settled(30 * time.Second)
	l.quiet()

	backup := filepath.Join(t.TempDir(), "ledger")
	stream := filepath.Join(out.nats.Dir, "jetstream", "$G", "streams", "DECOM_LEDGER")
	out.nats.Kill()
	if err := os.CopyFS(backup, os.DirFS(stream)); err != nil {
		t.Fatal(err)
	}
	out.nats.Start()
	lost := l.packs(10)
	l.supply(lost)
	l.settled(30 * time.Second)
	l.quiet()
	out.nats.Kill()
	if err := os.RemoveAll(stream); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(stream, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	out.nats.Start()
	sent := l.calls("G120")
	l.supply(l.packs(1)) // whoever appends next notices
	eventually(t, 40*time.Second, "the account halts", func() error {
		s, err := one.accountStatus()
		if err == nil && !s.Halted {
			err = errors.New("it runs")
		}
		return err
	})
	who := []string{"--who", "Mme Durand", "--why", "NATS came back from a backup"}
	l.decom(exitThreshold, "ledger", "verify")
	if r := l.decom(exitFailure, append([]string{"resume", l.account}, who...)...); !strings.Contains(r.stderr, "--after-loss") {
		t.Errorf("%+v", r)
	}
	l.decom(exitFailure, append([]string{"ledger", "rebuild", "--account", l.account}, who...)...)
	if r := l.decom(exitFine, append([]string{"resume", l.account, "--after-loss", "--notice", "9s"}, who...)...); !strings.Contains(r.stdout, "10 pack(s) put aside") {
		t.Errorf("%s", r.stdout)
	}
	l.settled(40 * time.Second)
	l.quiet()
	l.listed(lost)
	if n := l.calls("G120") - sent; n != 1 {
		t.Errorf("%d calls after the loss, want that of the new pack", n)
	}

	l.decom(exitFine, append([]string{"ledger", "rebuild", "--account", l.account}, who...)...)
	l.decom(exitFine, append([]string{"review", "resolve", lost[0].Code(), lost[0].Serial(), "--as", "inactive", "--op", "supply"}, who...)...)
	l.supply(l.packs(5))
	l.settled(30 * time.Second)
	l.quiet()
	l.publish([]queue.Scan{l.event("counter", l.account+"-known", scan.Supply, lost[0], "duplicate/suspect_copy"), l.event("counter", l.account+"-aside", scan.Supply, lost[1], "refused/parked")})
	got := l.settled(30 * time.Second)
	for _, id := range []string{l.account + "-known", l.account + "-aside"} {
		if len(got[id]) != 1 || outcomeOf(got[id][0]) != l.want[id].allowed[0] {
			t.Errorf("%s: %+v, want %v", id, got[id], l.want[id].allowed)
		}
	}
	l.quiet()
	l.judgeLedger()
	if v := l.sim.Verdict(); !v.Clean || len(v.Counts.Alerts) != 0 {
		t.Errorf("ONCE: the simulator says %v: %v", v, v.Bad)
	}
	l.decom(exitFine, "ledger", "verify")
}

// listed holds decom review ls against the packs that must wait.
func (l *line) listed(want []scan.Pack) {
	l.t.Helper()
	eventually(l.t, 20*time.Second, "the packs of lost records are listed", func() error {
		by := map[scan.PackID]reviewItem{}
		for text := range strings.Lines(l.decom(exitFine, "review", "ls", "--json", "--serials").stdout) {
			var it reviewItem
			if err := json.Unmarshal([]byte(text), &it); err != nil {
				return err
			}
			by[it.Pack] = it
		}
		for _, p := range want {
			// The scan that was delivered again tells which box it is.
			if it := by[p.ID()]; it.Reason != scan.LedgerLoss || it.Serial != p.Serial() || it.Who != "Mme Durand" {
				return fmt.Errorf("pack %s: %+v", p.ID(), it)
			}
		}
		if len(by) != len(want) {
			return fmt.Errorf("%d are listed, want %d", len(by), len(want))
		}
		return nil
	})
	states, _, err := l.fold()
	for _, p := range want {
		if states[p.ID()].Phase != ledger.Parked || err != nil {
			l.t.Errorf("pack %s is %s: %v", p.ID(), states[p.ID()].Phase, err)
		}
	}
}
