package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

func topStatus(at time.Time, done uint64) *Status {
	services := []ServiceStatus{{Service: "single", Breaker: "closed", Limit: 5, Rate: 2.5}, {Service: "bulk", Breaker: "open"}}
	return &Status{At: scan.Time(at), Worker: "w#1", Since: "2026-11-24T08:00:00.000Z", NATS: "up", Redis: "up", Fleet: []string{"w#1", "v#1"},
		Unrouted: map[string]uint64{"ghost": 3},
		Accounts: []AccountStatus{
			{Account: "nord", Sites: []string{"chu-nord"}, Pending: 100, Unacked: 20, OldestSeconds: 75, InFlight: 4, InDoubt: 2, Parked: 1, Held: 6,
				Results: map[scan.Result]uint64{scan.Done: done, scan.Alert: 1}, Services: services,
				Alerts: []AlertStatus{{"2026-11-24T09:00:00.000Z", "rowa-1", "already_inactive", "FR-77"}}},
			{Account: "sud", Sites: []string{"chu-sud"}, Halted: true, HaltedWhy: "the ledger lost records", Results: map[scan.Result]uint64{}},
		}}
}

func has(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}

func TestTopShowsWhatAnOperatorAsksFirst(t *testing.T) {
	at := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	v := topView{lang: english, now: at}
	prev, cur := topStatus(at, 10), topStatus(at.Add(2*time.Second), 30)
	text := v.frame(prev, cur)
	has(t, text, "NATS up", "2 process(es)", "done 30", "alert 1", "10.0/s", "2.5/5/s", "bulk open", "1m15s",
		"HALTED: the ledger lost records", "already_inactive FR-77", "3 scans of site ghost")
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == "nord" && strings.Join(f, " ") != "nord 120 1m15s 10.0/s 2.5/5/s bulk open 4 2 1 6" {
			t.Errorf("row: %s", line)
		}
	}
	has(t, (&topView{lang: french, now: at}).frame(nil, cur), "attente", "ARRÊTÉ", "à examiner")
	v.filter = "CHU-SUD"
	if text := v.frame(prev, cur); strings.Contains(text, "nord 120") || strings.Contains(text, "1m15s") || !strings.Contains(text, "HALTED") {
		t.Errorf("filter by site:\n%s", text)
	}
	v.filter = "zürich"
	if text := v.frame(prev, cur); !strings.Contains(text, `no account and no site has "zürich" in its name`) || strings.Contains(text, "backlog") {
		t.Errorf("a filter that nothing matches:\n%s", text)
	}
	small := topView{lang: french, now: at, filter: "zürich", height: 3, offset: 7, live: true}
	if text := small.frame(prev, cur); !strings.Contains(text, "aucun compte ni site n'a « zürich » dans son nom") || strings.Contains(text, "de plus") {
		t.Errorf("the same in French, in three lines:\n%s", text)
	}
	restarted := topStatus(at.Add(4*time.Second), 1) // its counters began anew
	restarted.Worker = "w#2"
	if text := (&topView{lang: english, now: at}).frame(cur, restarted); strings.Contains(text, "10.0/s") || strings.Contains(text, "-14") {
		t.Errorf("a rate over a restart:\n%s", text)
	}
}

func TestTopFitsTheTerminal(t *testing.T) {
	at := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	cur := topStatus(at, 1)
	for i := range 100 {
		cur.Accounts = append(cur.Accounts, AccountStatus{Account: fmt.Sprintf("account-%03d", i)})
	}
	v := topView{lang: english, now: at, width: 60, height: 24}
	for _, offset := range []int{0, 50, 1000} {
		v.offset = offset
		text := v.frame(nil, cur)
		if n := strings.Count(text, "\n") + 1; n > 24 {
			t.Errorf("%d lines in a terminal of 24", n)
		}
		for line := range strings.Lines(text) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 60 {
				t.Errorf("line of %d characters: %s", n, line)
			}
		}
		has(t, text, "more line(s)")
	}
	has(t, v.frame(nil, cur), "sud") // the end of the order by name
}

func TestTopSortsTheWorstFirst(t *testing.T) {
	v := topView{lang: english, sort: 1}
	cur := topStatus(time.Now(), 1)
	cur.Accounts[1].OldestSeconds = 500
	text := v.frame(nil, cur)
	if strings.Index(text, "\nsud") > strings.Index(text, "\nnord") {
		t.Errorf("sorted by %s:\n%s", topSorts[1].name, text)
	}
}

// TestTopKeysDoWhatTheFootSays feeds keys to the model.
func TestTopKeysDoWhatTheFootSays(t *testing.T) {
	m := &topModel{view: topView{lang: english, live: true}}
	press := func(keys ...string) (quit bool) {
		for _, k := range keys {
			text := ""
			if len(k) == 1 {
				text = k
			}
			if cmd := m.key(k, text); cmd != nil {
				_, quit = cmd().(tea.QuitMsg)
			}
		}
		return quit
	}
	if press("/", "s", "u", "q", "backspace", "d", "enter") || m.view.filter != "sud" || m.typing {
		t.Errorf("filter %q, typing %v", m.view.filter, m.typing)
	}
	press("s")
	if m.view.sort != 1 {
		t.Errorf("sort %d", m.view.sort)
	}
	press("s", "s", "s", "down", "down", "up")
	if m.view.sort != 0 || m.view.offset != 1 {
		t.Errorf("sort %d, offset %d", m.view.sort, m.view.offset)
	}
	press("/", "x", "esc")
	if m.view.filter != "" {
		t.Errorf("escape keeps the filter %q", m.view.filter)
	}
	if !press("q") || !press("ctrl+c") || !press("/", "ctrl+c") {
		t.Error("it does not quit")
	}
}

// TestTopKeepsTheLastPictureWhenNobodyAnswers, and says so.
func TestTopKeepsTheLastPictureWhenNobodyAnswers(t *testing.T) {
	m := &topModel{view: topView{lang: english, live: true}, every: time.Hour}
	m.Update(topSample{status: *topStatus(time.Now(), 1)})
	m.Update(topSample{err: errors.New("connection refused")})
	has(t, m.View().Content, "no answer since", "connection refused", "nord")
	first := &topModel{view: topView{lang: english, live: true}}
	first.Update(topSample{err: errors.New("connection refused")})
	has(t, first.View().Content, "no answer: connection refused")
}

func TestTopEndsWithItsContext(t *testing.T) {
	in, _ := io.Pipe()
	a := &app{stdin: in, stdout: io.Discard, lang: english}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	read := func(ctx context.Context) (Status, error) { <-ctx.Done(); return Status{}, ctx.Err() }
	if err := a.topLive(ctx, read, topFlags{interval: time.Second}); err != nil {
		t.Errorf("a signal is an error: %v", err)
	}
}

// TestTopOnceAndJSONAskARunningProcess, and the stores when none runs.
func TestTopOnceAndJSONAskARunningProcess(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	r := inProcess(t, nil, "", "top", "--once", "--config", l.config())
	has(t, r.stdout, "read from NATS and Redis", l.account)
	run := l.start()
	l.supply(l.packs(2))
	l.settled(30 * time.Second)
	r = inProcess(t, nil, "", "top", "--once", "--config", l.config(), "--set", "http.listen="+run.addr)
	has(t, r.stdout, "since start: done 2", l.account)
	r = inProcess(t, nil, "", "top", "--once", "--json", "--filter", "nobody", "--config", l.config(), "--set", "http.listen="+run.addr)
	var s Status
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil || s.Source != "worker" || len(s.Accounts) != 0 {
		t.Errorf("%v: %s", err, r.stdout)
	}
	if r := inProcess(t, nil, "", "top", "--config", l.config()); r.code != exitUsage || !strings.Contains(r.stderr, "--once") {
		t.Errorf("without a terminal: exit %d, %s", r.code, r.stderr)
	}
	if r := inProcess(t, nil, "", "top", "--interval", "1ms"); r.code != exitUsage {
		t.Errorf("--interval 1ms: exit %d", r.code)
	}
}
