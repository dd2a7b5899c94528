package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// TestAFaultyBuildIsStoppedByTheAlertBreaker (protocol.md section 9, BRAKE): two processes of a
// build that sends packs again which NMVS had changed already. After three alerts and
// what was on its way the account halts, in both; starting the build again raises none; only
// a person with a name and a reason lets the account go on, here with a good build.
func TestAFaultyBuildIsStoppedByTheAlertBreaker(t *testing.T) {
	t.Parallel()
	if faultyNMVS != nil {
		t.Fatal("a build without -tags crash is faulty")
	}
	const every, open, packs = 7, 2 * 8, 100 // two processes, eight calls each may be out when the third alert comes
	// e2: a process that halts with an alert in hand leaves an open pack, and it must come before a person.
	l := newLine(t, startOutside(t, packstatetest.RedisOptions{}), lineConfig{rate: "40/s", settle: "e2"})
	one, two := l.startFaulty(every), l.startFaulty(every)
	l.supply(l.packs(packs))
	for _, p := range []*decomRun{one, two} {
		eventually(t, 60*time.Second, p.name+" halts", p.halted)
	}
	time.Sleep(lineTHTTP) // what was on its way has arrived
	alerts, sent := l.alerts(), l.calls("G120")
	if alerts < 3 || alerts > 3+open {
		t.Errorf("BRAKE: %d alerts, want 3 and at most %d that were open", alerts, open)
	}
	one.drained()
	two.drained()
	three, good := l.startFaulty(every), l.start() // a person starts it again, and does not read
	l.decom(exitUsage, "resume", l.account)
	l.decom(exitUsage, "resume", l.account, "--who", "Mme Durand")
	l.decom(exitUsage, "resume", l.account, "--why", "good build installed")
	l.holdStill(sent, three, good)
	three.drained()
	waiting := l.waiting()
	if waiting == 0 {
		t.Error("no scan waits: the halt came too late to show anything")
	}
	if r := l.decom(exitFine, "resume", l.account, "--who", "Mme Durand", "--why", "good build installed"); !strings.Contains(r.stdout, "too many alerts") {
		t.Errorf("%s", r.stdout)
	}
	rounds := l.resumedUntilDone(good, alerts, open)
	told := l.oneOutcomeEach()
	t.Logf("%d alerts at NMVS after %d change calls, %d of %d scans waited; %d more resumes, %d alerts and %d packs before a person at the end",
		alerts, sent, waiting, packs, rounds, l.alerts(), told)
}

// startFaulty starts the test build whose every n-th change goes wrong.
func (l *line) startFaulty(n int) *decomRun {
	l.t.Helper()
	return l.startCrash(fmt.Sprintf("DECOM_FAULTY_EVERY=%d", n))
}

func (r *decomRun) halted() error {
	s, err := r.accountStatus()
	if err == nil && !s.Halted {
		err = errors.New("it runs")
	}
	return err
}

// drained stops a process as a person does.
func (r *decomRun) drained() {
	r.t.Helper()
	r.signal(syscall.SIGTERM)
	if code := r.waitEnd(20 * time.Second); code != exitFine {
		r.t.Errorf("%s: code %d after SIGTERM", r.name, code)
	}
}

func (l *line) alerts() (n int) {
	for _, k := range l.sim.Verdict().Counts.Alerts {
		n += int(k)
	}
	return n
}

// waiting counts the scans that nobody has disposed of.
func (l *line) waiting() int {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 5*time.Second)
	defer cancel()
	p, err := l.conn.Scans(l.account).Pending(ctx)
	if err != nil {
		l.t.Fatal(err)
	}
	return int(p.Pending) + int(p.AckPending)
}

// holdStill holds the processes of a halted account to STOP: no change leaves, for longer than
// a hold, nor has one left since there were sent.
func (l *line) holdStill(sent int, rs ...*decomRun) {
	l.t.Helper()
	for _, r := range rs {
		eventually(l.t, 20*time.Second, r.name+" knows that it is halted", r.halted)
	}
	time.Sleep(lineTHold)
	if n := l.calls("G120"); n != sent {
		l.t.Errorf("STOP: %d changes while the account is halted", n-sent)
	}
}

// resumedUntilDone is the person who resumes, and resumes again: what the faulty build wrote on
// the ledger, "this pack was not sent", stands there, so that a good build sends these packs
// once more, and is stopped like the faulty one; and answers that were on their way when the
// account halted are recorded after the resume, and count. It returns how often. Each time
// the alerts are bounded as the first time.
func (l *line) resumedUntilDone(good *decomRun, before, open int) (resumes int) {
	l.t.Helper()
	for {
		halted, resumed := false, time.Now()
		eventually(l.t, 90*time.Second, "the account halts again, or has done everything", func() error {
			s, err := good.accountStatus()
			// Until the worker has read the resume, this may be the halt that was just ended.
			halted = err == nil && s.Halted && (l.alerts() > before || time.Since(resumed) > 6*time.Second)
			if halted || err != nil {
				return err
			}
			got, err := l.outcomes()
			if err == nil && len(got) < len(l.want) {
				err = fmt.Errorf("%d of %d", len(got), len(l.want))
			}
			time.Sleep(150 * time.Millisecond)
			return err
		})
		if !halted {
			return resumes
		}
		time.Sleep(lineTHTTP)
		n := l.alerts() - before
		if resumes++; n > 3+open || resumes > 50 {
			l.t.Fatalf("BRAKE: %d alerts after resume %d, want at most 3 and %d that were open", n, resumes, open)
		}
		before += n
		l.decom(exitFine, "resume", l.account, "--who", "Mme Durand", "--why", "packs that the faulty build left")
	}
}

// oneOutcomeEach holds the end: one outcome a scan, each pack decommissioned once, and whatever
// raised an alert before a person. It returns how many packs those are.
func (l *line) oneOutcomeEach() (told int) {
	l.t.Helper()
	l.quiet()
	got := l.settled(30 * time.Second)
	for id, s := range l.want {
		outs := got[id]
		if len(outs) != 1 {
			l.t.Errorf("OUT: event %s has %d outcomes", id, len(outs))
			continue
		}
		if outs[0].Result != scan.Done {
			told++
		}
		if p, _ := l.sim.Pack(packKey(s.pack)); p.Decommissions != 1 {
			l.t.Errorf("pack of event %s is decommissioned %d times, its outcome is %s", id, p.Decommissions, outcomeOf(outs[0]))
		}
	}
	if n := l.alerts(); told < n {
		l.t.Errorf("%d alerts, and only %d packs before a person", n, told)
	}
	return told
}
