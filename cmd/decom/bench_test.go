package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"decom/bench"
	"decom/nmvs"
	"decom/nmvs/sim"
)

func TestBenchRefusesServersThatAreNotOnThisMachine(t *testing.T) {
	dir := t.TempDir()
	for key, url := range map[string]string{"nats": "nats://127.0.0.1:4222,nats://queue.example:4222", "redis": "redis://10.0.0.1:6379/0"} {
		config := write(t, dir, key+".yaml", key+":\n  url: "+url+"\n")
		r := inProcess(t, nil, "", "bench", "run", "--packs", "10", "--config", config, "--out", filepath.Join(dir, "out"))
		if r.code != exitConfig || !strings.Contains(r.stderr, "loopback") || !strings.Contains(r.stderr, key+".url") {
			t.Errorf("%s: %+v", url, r)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
		t.Error("something was written")
	}
}

func TestBenchSaysWhatIsWrongWithItsFlags(t *testing.T) {
	for _, args := range [][]string{
		{"run", "--profile", "storm"}, {"run", "--batch", "5000"}, {"run", "--sweep", "colour=red"}, {"run", "--rate", "fast"},
		{"run", "--bulk", "x"}, {"plan"}, {"plan", "--backlog", "5", "--quota", "-1"}, {"tune"}, {"tune", "--quota", "5"}, {"compare", "a"},
	} {
		if r := inProcess(t, nil, "", append([]string{"bench"}, args...)...); r.code != exitUsage || r.stderr == "" {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

func TestBenchPlanTellsHowLongInBothLanguages(t *testing.T) {
	for lang, want := range map[string]string{"fr": "attendu", "en": "expect"} {
		r := inProcess(t, nil, "", "bench", "plan", "--backlog", "60000", "--quota", "5/s", "--bulk", "6/min", "--lang", lang)
		if r.code != 0 || !strings.Contains(r.stdout, want) || !strings.Contains(r.stdout, "18m11s") {
			t.Errorf("%+v", r)
		}
	}
}

func TestBenchCompareEndsWith99OnARegressionOnly(t *testing.T) {
	dir := t.TempDir()
	text := func(name string, rates ...string) string {
		var b strings.Builder
		for _, r := range rates {
			b.WriteString("BenchmarkLine/x 1 100 ns/op " + r + " packs/s\n")
		}
		return write(t, dir, name, b.String())
	}
	base := text("a.txt", "1000", "1010", "990", "1005")
	slow, fast := text("b.txt", "800", "810", "790", "805"), text("c.txt", "1200", "1210", "1190", "1205")
	for _, tt := range []struct {
		name, other, flag string
		want              int
	}{
		{"slower", slow, "--threshold=5", exitThreshold}, {"slower, within the threshold", slow, "--threshold=30", 0},
		{"faster", fast, "--threshold=5", 0}, {"itself", base, "--threshold=5", 0},
	} {
		if r := inProcess(t, nil, "", "bench", "compare", base, tt.other, tt.flag); r.code != tt.want {
			t.Errorf("%s: %+v", tt.name, r)
		}
	}
}

// TestConfigCheckAcceptsWhatBenchTuneProposes pastes the printed YAML over an account.
func TestConfigCheckAcceptsWhatBenchTuneProposes(t *testing.T) {
	dir := t.TempDir()
	if _, err := sim.NewPKI(dir, "robot01"); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "password", simPassword+"\n")
	f := simFlags{}
	cfg := sim.Config{Version: 5, Accounts: []sim.Account{{ClientLoginID: "FR-SIM-0001", UserID: "robot01"}}}
	urls := map[nmvs.Service]string{}
	for _, svc := range nmvs.Services() {
		urls[svc] = "https://127.0.0.1:1/x"
	}
	plain := simYAML(f, cfg, urls, dir)
	config := write(t, dir, "decom.yaml", plain)
	r := inProcess(t, nil, "", "bench", "tune", "--quota", "5/s", "--bulk", "6/min", "--target", "40/s", "--assume", "--config", config)
	if r.code != 0 || !strings.Contains(r.stdout, "Accepted by config check") {
		t.Fatalf("%+v", r)
	}
	_, pasted, ok := strings.Cut(r.stdout, "# name, sites, login ...\n")
	if !ok {
		t.Fatalf("no YAML in:\n%s", r.stdout)
	}
	pasted, _, _ = strings.Cut(pasted, "Accepted")
	config = write(t, dir, "tuned.yaml", plain+pasted)
	if r := inProcess(t, nil, "", "config", "check", "--config", config); r.code != 0 {
		t.Errorf("%+v\n%s", r, plain+pasted)
	}
}

func TestBenchEndsWith99WhenAnythingIsLostOrTwiceOrInDoubt(t *testing.T) {
	a := &app{stdout: io.Discard, stderr: io.Discard}
	for name, v := range map[string]bench.Verdict{"lost": {Lost: 1}, "twice": {SentTwice: 1}, "in doubt": {InDoubt: 1}, "extra": {Extra: 1}, "NMVS": {Unchanged: 1}} {
		bad := bench.Round{Verdict: v}
		for place, r := range map[string]*bench.Result{
			"round": {Rounds: []bench.Round{{}, bad}},
			"sweep": {Sweeps: []bench.Sweep{{Points: []bench.Point{{Rounds: []bench.Round{bad}}}}}},
		} {
			if e, ok := errors.AsType[*exitError](a.benchVerdict(r)); !ok || e.code != exitThreshold {
				t.Errorf("%s in a %s: no exit code 99", name, place)
			}
		}
	}
	if err := a.benchVerdict(&bench.Result{Rounds: []bench.Round{{}}}); err != nil {
		t.Error(err)
	}
}
