package main

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"decom/nmvs/sim"
	"decom/worker"
	"decom/worker/scan"
)

func demoDay() time.Time { return time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC) }

func TestEmbeddedPresentationsAreSoundPacks(t *testing.T) {
	list := presentations()
	if len(list) < 300 {
		t.Fatalf("%d presentations, want at least 300", len(list))
	}
	seen := map[string]bool{}
	for _, m := range list {
		if seen[m.gtin] || m.name == "" {
			t.Errorf("%s: twice, or without a name", m.gtin)
		}
		seen[m.gtin] = true
		f := &scan.Fields{Scheme: "GTIN", Code: m.gtin, Serial: "A1", Batch: "B1", Expiry: "281100"}
		if _, rejected := worker.Read(scan.Event{Fields: f}, demoDay()); rejected != nil {
			t.Errorf("%s %s: %v", m.gtin, m.name, rejected)
		}
	}
	if !strings.Contains(medicinesTSV, "Licence Ouverte") {
		t.Error("the list does not name its licence")
	}
}

func TestSameSeedMakesTheSameScenario(t *testing.T) {
	a, b := newScenario(7, 500, demoDay()), newScenario(7, 500, demoDay())
	if !reflect.DeepEqual(a, b) {
		t.Error("two scenarios of one seed differ")
	}
	fa, fb := planFaults(a, 7, faultsHeavy), planFaults(b, 7, faultsHeavy)
	if !reflect.DeepEqual(fa, fb) {
		t.Error("two fault plans of one seed differ")
	}
	if reflect.DeepEqual(a.scans, newScenario(8, 500, demoDay()).scans) {
		t.Error("another seed makes the same scans")
	}
}

func TestScenarioHasEveryKindAndExactlyTheAskedPacks(t *testing.T) {
	for _, n := range []int{1, 10, 150, 2000} {
		sc := newScenario(1, n, demoDay())
		if sc.packs != max(n, 1) {
			t.Errorf("%d packs asked, %d made", n, sc.packs)
		}
		if n < 150 {
			continue
		}
		have := map[string]int{}
		for i := range sc.scans {
			have[sc.scans[i].kind]++
		}
		for _, k := range demoKinds() {
			if have[k.name] == 0 {
				t.Errorf("%d packs: no scan of kind %q", n, k.name)
			}
		}
		if plain := have["plain"]; plain < n/4 {
			t.Errorf("%d packs: only %d plain ones", n, plain)
		}
	}
}

func TestScenarioAsksForAtMostTwoForeignAlertsAnAccount(t *testing.T) {
	count := map[int]int{}
	for _, s := range newScenario(1, 5000, demoDay()).scans {
		if strings.HasPrefix(s.want[0], "alert/already_inactive") {
			count[s.account]++
		}
	}
	for account, n := range count {
		if n > 2 {
			t.Errorf("account %d: %d, the third one would halt it", account, n)
		}
	}
}

// TestScenarioExpectsWhatTheReaderDoes holds what the scenario says by hand against
// the reader: what must be rejected for its text is, for that reason, and nothing else is.
func TestScenarioExpectsWhatTheReaderDoes(t *testing.T) {
	for seed := range uint64(20) {
		sc := newScenario(seed, 600, demoDay())
		for i := range sc.scans {
			checkReading(t, seed, &sc.scans[i])
		}
		if t.Failed() {
			return
		}
	}
}

func checkReading(t *testing.T, seed uint64, s *demoScan) {
	t.Helper()
	meta := scan.Meta{Site: s.site, Device: s.device, Seq: 1, Stored: demoDay(), MsgID: s.id}
	e, err := scan.Decode(s.body(demoDay()), meta)
	if e.ID != s.id {
		t.Errorf("seed %d, %s: id %q was read as %q", seed, s.kind, s.id, e.ID)
	}
	got := "read"
	if err != nil {
		got = "rejected/malformed"
	} else if r, rejected := worker.Read(e, demoDay()); rejected != nil {
		got = "rejected/" + string(rejected.Reason)
	} else if packKey(r.Pack) != s.key {
		t.Errorf("seed %d, %s: read another pack than meant", seed, s.kind)
	} else if r.Repaired != s.fixed {
		t.Errorf("seed %d, %s: repaired %v, want %v", seed, s.kind, r.Repaired, s.fixed)
	}
	want := s.want[0]
	if want == "rejected/conflict" && s.key != (sim.Key{}) || !strings.HasPrefix(want, "rejected/") {
		want = "read" // contradicts the ledger, not itself
	}
	if got != want {
		t.Errorf("seed %d, %s: %s, want %s; text %q", seed, s.kind, got, want, s.text)
	}
}

func TestScenarioIDsAreUniqueAndForerunnersComeFirst(t *testing.T) {
	sc := newScenario(3, 800, demoDay())
	seen := map[string]bool{}
	for _, s := range sc.scans {
		if s.after != "" && !seen[s.after] || s.again != "" && !seen[s.again] {
			t.Errorf("%s %s stands before the event that it follows", s.kind, s.id)
		}
		if s.again == "" && seen[s.id] {
			t.Errorf("id %s twice", s.id)
		}
		seen[s.id] = true
	}
	if got, want := len(sc.expected()), len(seen); got != want {
		t.Errorf("%d outcomes expected for %d ids", got, want)
	}
}

func TestScenarioStockAgreesWithTheSimulator(t *testing.T) {
	sc := newScenario(4, 500, demoDay())
	s, err := sim.New(sim.Config{Accounts: []sim.Account{{ClientLoginID: "X", UserID: "robot01", Password: demoPassword}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddStock(sc.stock...); err != nil {
		t.Fatal(err)
	}
	for k := range sc.clean {
		if _, ok := s.Pack(k); !ok {
			t.Errorf("clean pack %s is not in the stock", k.Code)
		}
	}
}

func TestCheckDigitsAreRight(t *testing.T) {
	if got := checkDigit("0340093000000"); got != "7" {
		t.Errorf("check digit %s, want 7", got)
	}
	if got := ppnOf("12345678"); got != "111234567842" { // domain.md section 5
		t.Errorf("PPN %s", got)
	}
}

func TestDemoMessagesAreTheContractsEvents(t *testing.T) {
	sc := newScenario(5, 300, demoDay())
	for _, s := range sc.scans {
		if s.raw != nil {
			continue
		}
		var e map[string]any
		if err := json.Unmarshal(s.body(demoDay()), &e); err != nil {
			t.Fatalf("%s: %v", s.kind, err)
		}
		if s.wrap {
			e = e["data"].(map[string]any)
		}
		if e["op"] != s.op.String() || e["id"] != s.id || (e["at"] == nil) != s.noAt {
			t.Errorf("%s: event %v", s.kind, strconv.Quote(string(s.body(demoDay()))))
		}
	}
}
