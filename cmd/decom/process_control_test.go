package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"decom/nmvs/sim"
	"decom/queue"
	"decom/worker/ledger"
	"decom/worker/packstate/packstatetest"
)

// pacedAs waits until the process shows the account paused, or not.
func (r *decomRun) pacedAs(paused bool, patience time.Duration) (s AccountStatus) {
	r.t.Helper()
	eventually(r.t, patience, fmt.Sprint(r.name, " shows the account as paused: ", paused), func() error {
		var err error
		if s, err = r.accountStatus(); err == nil && (s.Paused != nil) != paused {
			err = fmt.Errorf("paused: %+v", s.Paused)
		}
		return err
	})
	return s
}

// metric returns the line of a metric, without its name.
func (r *decomRun) metric(name string) string {
	r.t.Helper()
	_, b, err := r.get("/metrics", 5*time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// TestAPersonPausesTunesAndResumesALineThatRuns: two real processes under load, one of them
// killed and started again during the pause.
func TestAPersonPausesTunesAndResumesALineThatRuns(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{AOF: true})
	var set sim.Settings
	set.Latency.Fixed = sim.Duration(200 * time.Millisecond)
	l := newLine(t, out, lineConfig{rate: "20/s", sim: set})
	who := []string{"--who", "Mme Durand", "--why", "stocktaking"}
	one, two := l.start(), l.start()
	l.supply(l.packs(80))
	l.atLeast(10, 30*time.Second)

	l.decom(exitUsage, append([]string{"pause"}, who...)...)                          // for how long?
	l.decom(exitUsage, "pause", "--until-resumed", "--who", "Mme Durand")             // why?
	l.decom(exitUsage, append([]string{"pause", "nobody", "--for", "1m"}, who...)...) // whom?
	if r := l.decom(exitFine, append([]string{"pause", "--until-resumed"}, who...)...); !strings.Contains(r.stdout, l.account+": paused until decom resume") {
		t.Errorf("%s", r.stdout)
	}
	for _, r := range []*decomRun{one, two} {
		s := r.pacedAs(true, 10*time.Second)
		if s.Paused.Who != "Mme Durand" || s.Paused.Why != "stocktaking" || s.Paused.Until != "" {
			t.Errorf("%+v", s.Paused)
		}
		if got := r.metric(fmt.Sprintf("decom_paused{account=%q}", l.account)); got != "1" {
			t.Errorf("decom_paused is %q", got)
		}
		if code, b, err := r.get("/readyz", 5*time.Second); err != nil || code != http.StatusOK {
			t.Errorf("/readyz during a pause: %d %s %v", code, b, err)
		}
	}
	eventually(t, 10*time.Second, "what was sent is finished", func() error {
		s, err := one.accountStatus()
		if err == nil && s.Open != 0 {
			err = fmt.Errorf("%d packs are open", s.Open)
		}
		return err
	})
	atRest := l.calls("G120")
	one.kill()
	one = l.start() // knows it from the ledger
	one.pacedAs(true, 10*time.Second)
	two.signal(syscall.SIGTERM)
	if code := two.waitEnd(15 * time.Second); code != exitFine {
		t.Errorf("a paused process drains with code %d", code)
	}
	time.Sleep(2 * time.Second)
	if n := l.calls("G120"); n != atRest || n == 80 {
		t.Errorf("%d calls during the pause, %d in all", n-atRest, n)
	}

	if r := l.decom(exitUsage, append([]string{"tune", "--single", "30/s", "--until-resumed"}, who...)...); !strings.Contains(r.stderr, "--above-config") {
		t.Errorf("%s", r.stderr)
	}
	l.decom(exitFine, append([]string{"tune", l.account, "--single", "4/s", "--parallel", "2", "--for", "1h"}, who...)...)
	eventually(t, 10*time.Second, "the tune counts", func() error {
		s, err := one.accountStatus()
		if err == nil && (s.Tuned == nil || s.Services[0].Limit > 4) {
			err = fmt.Errorf("tuned %+v, limit %v", s.Tuned, s.Services[0].Limit)
		}
		return err
	})
	if r := l.decom(exitFine, append([]string{"resume"}, who...)...); !strings.Contains(r.stdout, "pause and tune are over") {
		t.Errorf("%s", r.stdout)
	}
	if s := one.pacedAs(false, 10*time.Second); s.Tuned != nil {
		t.Errorf("tuned: %+v", s.Tuned)
	}
	l.decom(exitFailure, append([]string{"resume"}, who...)...) // nothing left
	l.settled(60 * time.Second)
	l.judge()

	l.decom(exitFine, append([]string{"pause", "--account", l.account, "--for", "3s"}, who...)...)
	one.pacedAs(true, 5*time.Second)
	one.pacedAs(false, 10*time.Second) // by itself
	l.decom(exitFine, append([]string{"pause", l.account, "--for", "1h"}, who...)...)
	one.kill()
	r := l.decom(exitFine, "status", "--json", "--set", "http.listen=127.0.0.1:1") // no process answers: the stores are asked
	var s Status
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil || s.Source != "stores" || s.Accounts[0].Paused == nil {
		t.Errorf("%v, from %s: %+v", err, s.Source, s.Accounts)
	}
	l.judgePauses()
}

// judgePauses holds the ledger: no attempt was opened behind a pause.
func (l *line) judgePauses() {
	l.t.Helper()
	var c ledger.Controls
	pauses := 0
	_, err := l.conn.Ledger(l.account).Read(l.t.Context(), 1, func(e queue.Entry) error {
		r, err := ledger.Decode(e.Payload, l.account)
		if err != nil {
			return err
		}
		at, err := time.Parse(time.RFC3339Nano, r.At)
		if pause, _ := c.Now(at); pause != nil {
			pauses++
			if len(r.Open) > 0 {
				err = errors.Join(err, fmt.Errorf("record %d of %s opens %d attempts behind the pause of record %d", e.Seq, r.By, len(r.Open), pause.Seq))
			}
		}
		c.Add(e.Seq, r)
		return err
	})
	if err != nil || pauses == 0 {
		l.t.Errorf("%d records behind a pause: %v", pauses, err)
	}
}
