package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/packstate/packstatetest"
)

// TestTapShowsTheLineAndNoSerial: scans and outcomes of a running line, one line each,
// and not one serial, wherever a device has put it.
func TestTapShowsTheLineAndNoSerial(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	l.start()
	packs := l.packs(3)
	l.supply(packs)
	bad := `{"v":1,"id":"bad-1","scan":"0103400930000007` + packs[0].Serial() + `"}`
	l.publish([]queue.Scan{
		{Site: l.site(), Device: "odd", ID: "bad-1", Body: []byte(bad)},
		{Site: l.site(), Device: "odd", ID: "bad-2", Body: []byte(`{"id":"bad-2","op":"` + packs[0].Serial() + `"}`)},
	})
	l.settled(30 * time.Second)
	tap := func(limit int, args ...string) []string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var out, errs bytes.Buffer
		a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs}
		args = append([]string{"tap", "--config", l.config(), "--since", "1m", "--limit", strconv.Itoa(limit), "--site", l.site()}, args...)
		if code := execute(ctx, a, args); code != exitFine {
			t.Fatalf("%v: exit %d: %s", args, code, &errs)
		}
		for _, p := range packs {
			if strings.Contains(out.String(), p.Serial()) {
				t.Errorf("serial %s is shown:\n%s", p.Serial(), &out)
			}
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != limit {
			t.Errorf("%v: %d lines, want %d:\n%s", args, len(lines), limit, &out)
		}
		return lines
	}
	ks := map[string]int{}
	for _, line := range tap(5, "--stage", "outcomes", "--json") {
		var got tapLine
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		switch {
		case got.Stage != tapOutcomes || got.Account != l.account:
			t.Errorf("outcome %+v", got)
		case got.Result == "done":
			ks[string(got.K)]++
		case got.Device != "odd" || got.Result != "rejected":
			t.Errorf("outcome %+v", got)
		}
	}
	for _, p := range packs {
		if ks[string(p.ID())] != 1 {
			t.Errorf("pack %s has %d outcomes", p.ID(), ks[string(p.ID())])
		}
	}
	tap(10)
	for _, line := range tap(2, "--stage", "scans", "--device", "odd") {
		if !strings.Contains(line, " scans ") || !strings.Contains(line, "bytes)") {
			t.Errorf("scan that cannot be read: %s", line)
		}
	}
	if p, err := l.conn.Scans(l.account).Pending(t.Context()); err != nil || p.Pending+p.AckPending != 0 {
		t.Errorf("tap left %+v (%v)", p, err)
	}
}

func TestTapMasksASerialInAnID(t *testing.T) {
	var out bytes.Buffer
	a := &app{stdout: &out}
	for _, asJSON := range []bool{true, false} {
		err := a.printTap(tapLine{Stage: tapScans, EventID: "rowa-X4F8L2-7", serial: "X4F8L2"}, asJSON)
		if err != nil || strings.Contains(out.String(), "X4F8L2") || !strings.Contains(out.String(), "rowa-***-7") {
			t.Errorf("%q, %v", out.String(), err)
		}
		out.Reset()
	}
}

// TestTapFollowsUntilTheSignal: without a limit it waits for what comes, and Ctrl-C is a
// good end.
func TestTapFollowsUntilTheSignal(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	c := child(t.Context(), t, "tap", "--config", l.config(), "--stage", "scans")
	var shown syncBuffer
	c.Stdout = &shown
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "tap shows a scan that came after its start", func() error {
		l.publish([]queue.Scan{{Site: l.site(), Device: "rowa", Body: []byte(`{}`)}})
		if !strings.Contains(shown.String(), " scans ") {
			return os.ErrNotExist
		}
		return nil
	})
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
}

func TestTapRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, args := range [][]string{{"--stage", "nonsense"}, {"--limit", "-1"}, {"--since", "-1s"}, {"--site", "a.b"}} {
		if r := inProcess(t, nil, "", append([]string{"tap"}, args...)...); r.code != exitUsage {
			t.Errorf("%v: exit %d, %s", args, r.code, r.stderr)
		}
	}
	r := inProcess(t, nil, "", "tap", "--set", "nats.url=nats://127.0.0.1:1")
	if r.code != exitDown {
		t.Errorf("without NATS: exit %d, want %d", r.code, exitDown)
	}
}
