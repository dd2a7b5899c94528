package main

import (
	"strings"
	"testing"

	"decom/nmvs/sim"
)

func TestSimFlagsBecomeSettings(t *testing.T) {
	dir := t.TempDir()
	f := simFlags{
		version: 4, seed: 7, accounts: 3, faults: "heavy", latency: 5e6, limit: 9, autoStock: true,
		stock:    write(t, dir, "stock.json", `[{"code":"03400930000007","serial":"A","batch":"B","expiry":"281100"}]`),
		settings: write(t, dir, "settings.json", `{"latency":{"jitter":"1ms"},"rules":{"tolerance":1}}`),
	}
	cfg, err := f.config()
	if err != nil {
		t.Fatal(err)
	}
	s := cfg.Settings
	if len(cfg.Accounts) != 3 || cfg.Version != 4 || cfg.Seed != 7 || s.Limit.Calls != 9 || !s.AutoStock.On || len(s.Faults) == 0 {
		t.Errorf("%+v", cfg)
	}
	if s.Latency.Fixed != 5e6 || s.Latency.Jitter != 1e6 || s.Rules.Tolerance != 1 {
		t.Errorf("the settings file is not on top of the flags: %+v", s)
	}
	running, err := sim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.fill(running); err != nil || running.Counts().Packs != 1 {
		t.Errorf("stock: %v, %d packs", err, running.Counts().Packs)
	}
}

func TestSimFaultsComeBeforeAndAfterTheEffect(t *testing.T) {
	for level, some := range map[string]bool{"none": false, "light": true, "heavy": true} {
		rules, err := simFaults(level)
		if err != nil || (len(rules) > 0) != some {
			t.Errorf("%s: %d rules, %v", level, len(rules), err)
		}
		moments := map[string]int{}
		for _, r := range rules {
			if err := r.Validate(); err != nil {
				t.Errorf("%s: %v", level, err)
			}
			moments[r.Fault.When]++
		}
		if some && (moments[sim.Before] == 0 || moments[sim.After] == 0) {
			t.Errorf("%s: %v", level, moments)
		}
	}
}

func TestSimRefusesWrongFlags(t *testing.T) {
	dir := t.TempDir()
	bad := write(t, dir, "bad.json", `{"latencyy":1}`)
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--faults", "some"}, exitUsage, "none, light and heavy"},
		{[]string{"--accounts", "0"}, exitUsage, "1 to 99"},
		{[]string{"--interface", "9"}, exitUsage, "version"},
		{[]string{"--control", "nowhere"}, exitUsage, "host:port"},
		{[]string{"--settings", bad}, exitFailure, "latencyy"},
		{[]string{"--stock", dir + "/none"}, exitFailure, "there is no file"},
		{[]string{"--listen", "127.0.0.1:99999"}, exitFailure, "cannot listen"},
	} {
		args := append([]string{"sim", "--dir", dir, "--listen", "127.0.0.1:0"}, tc.args...)
		if tc.args[0] == "--listen" {
			args = append([]string{"sim", "--dir", dir}, tc.args...)
		}
		r := inProcess(t, nil, "", args...)
		if r.code != tc.code || !strings.Contains(r.stderr, tc.says) {
			t.Errorf("%v: %+v, want %d and %q", tc.args, r, tc.code, tc.says)
		}
	}
}
