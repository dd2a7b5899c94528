package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// contractMetrics are the names of contract.md section 6, and what users may build on.
var contractMetrics = strings.Fields(`
	decom_scans_total decom_packs_total decom_nmvs_requests_total decom_nmvs_request_duration_seconds
	decom_batch_packs decom_ratelimit_wait_seconds decom_rate_limit decom_circuit_state decom_inflight_packs
	decom_in_doubt_packs decom_parked_packs decom_held_scans decom_unrouted_scans decom_halted
	decom_oldest_pending_seconds decom_consumer_pending decom_dedup_hits_total decom_alerts_total
	decom_certificate_expiry_timestamp_seconds decom_password_expiry_timestamp_seconds decom_build_info`)

var (
	metricName = regexp.MustCompile(`\bdecom_[a-z0-9_]+\b`)
	histogram  = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// controlMetrics go beyond contract.md section 6; alerts and the scaler rest on them, so they stay as they are.
var controlMetrics = []string{"decom_account_consumer_pending", "decom_account_oldest_pending_seconds", "decom_config_reload_failed", "decom_door_scans_total", "decom_lost_topics", "decom_ledger_waiting_seconds", "decom_paused", "decom_rate_adaptive", "decom_withheld"}

// metricsOf returns the metrics that an expression names, histograms without suffix.
func metricsOf(expr string) []string {
	var names []string
	for _, n := range metricName.FindAllString(expr, -1) {
		if slices.Contains(contractMetrics, histogram.ReplaceAllString(n, "")) {
			n = histogram.ReplaceAllString(n, "")
		}
		names = append(names, n)
	}
	return names
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.FromSlash(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// exported returns the metrics that the program's source names.
func exported(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../cmd/decom/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no source of the program: %v", err)
	}
	var names []string
	quoted := regexp.MustCompile(`"(decom_[a-z0-9_]+)"`)
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(read(t, f), -1) {
			names = append(names, m[1])
		}
	}
	return names
}

func TestTheProgramHasEveryMetricThatUsersMayBuildOn(t *testing.T) {
	have := exported(t)
	for _, n := range slices.Concat(contractMetrics, controlMetrics) {
		if !slices.Contains(have, n) {
			t.Errorf("%s stands in contract.md or in an alert, and the program does not give it", n)
		}
	}
}

// rule is one alert: its name and its text in the rules file.
type rule struct{ name, text string }

func rules(t *testing.T) []rule {
	t.Helper()
	var list []rule
	parts := strings.Split(read(t, "alerts/decom.rules.yaml"), "      - alert: ")
	for _, p := range parts[1:] {
		name, _, _ := strings.Cut(p, "\n")
		list = append(list, rule{name, p})
	}
	if len(list) < 10 {
		t.Fatalf("found %d alerts in the rules: they are not read right", len(list))
	}
	return list
}

func TestAlertsNameContractMetricsOnly(t *testing.T) {
	for _, r := range rules(t) {
		names := metricsOf(r.text)
		if len(names) == 0 && !strings.Contains(r.text, `up{job="decom"}`) {
			t.Errorf("%s looks at no metric", r.name)
		}
		for _, n := range names {
			if !slices.Contains(contractMetrics, n) && !slices.Contains(controlMetrics, n) {
				t.Errorf("%s looks at %s, which is not in contract.md", r.name, n)
			}
		}
	}
}

// Labels that an expression selects by must be of the closed sets that the program
// writes, or the alert can never fire.
func TestAlertsSelectValuesThatExist(t *testing.T) {
	known := map[string][]string{
		"outcome": {"in_doubt", "success", "repeat", "foreign", "data", "rule", "unknown_product", "undo_mismatch",
			"not_ready", "used_id", "not_sent", "too_fast", "busy", "format", "setup", "login"},
		"result": {"done", "duplicate", "refused", "alert", "rejected", "unresolved"},
		"state":  {"closed", "half_open", "open"},
		"job":    {"decom"},
	}
	selector := regexp.MustCompile(`\{([a-z]+)=~?"([^"]*)"`)
	found := 0
	for _, r := range rules(t) {
		for _, m := range selector.FindAllStringSubmatch(r.text, -1) {
			for value := range strings.SplitSeq(m[2], "|") {
				found++
				if !slices.Contains(known[m[1]], value) {
					t.Errorf("%s selects %s=%q, which the program never writes", r.name, m[1], value)
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("found %d selected values: they are not read right", found)
	}
}

func TestEveryAlertHasARunbookSection(t *testing.T) {
	runbook := read(t, "runbook.md")
	for _, r := range rules(t) {
		_, section, ok := strings.Cut(runbook, "\n### "+r.name+"\n")
		section, _, _ = strings.Cut(section, "\n### ")
		if !ok || len(strings.TrimSpace(section)) < 80 {
			t.Errorf("runbook.md has no section %q that says anything", r.name)
		}
		if want := "runbook_url: runbook.md#" + strings.ToLower(r.name) + "\n"; !strings.Contains(r.text, want) {
			t.Errorf("%s wants %q", r.name, want)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^### (Decom[A-Za-z]+)$`).FindAllStringSubmatch(runbook, -1) {
		if !slices.ContainsFunc(rules(t), func(r rule) bool { return r.name == m[1] }) {
			t.Errorf("runbook.md explains %s, and no rule has that name", m[1])
		}
	}
}

func TestEveryAlertIsTestedFiredAndSilent(t *testing.T) {
	tests := strings.Split(read(t, "alerts/decom.rules.test.yaml"), "      - alertname: ")
	for _, r := range rules(t) {
		fired, silent := false, false
		for _, p := range tests[1:] {
			if name, rest, _ := strings.Cut(p, "\n"); name == r.name {
				none := strings.Contains(rest, "exp_alerts: []")
				fired, silent = fired || !none, silent || none
			}
		}
		if !fired || !silent {
			t.Errorf("%s is tested fired: %v, silent: %v; both are wanted", r.name, fired, silent)
		}
	}
}

func TestPromtoolPassesEveryRule(t *testing.T) {
	t.Parallel() // it and the examples are other processes
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI_PROMTOOL") == "1" {
			t.Fatal("promtool is not in PATH, and CI_PROMTOOL=1 asks for it: apt-get install prometheus")
		}
		t.Skip("UNTESTED: the alert rules, for promtool is not in PATH (apt-get install prometheus)")
	}
	cmd := exec.Command(tool, "test", "rules", "decom.rules.test.yaml", "keda.test.yaml")
	cmd.Dir = "alerts"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool test rules: %v\n%s", err, out)
	}
}

func TestTheScalersQueryIsTheOneThatIsTested(t *testing.T) {
	query := strings.TrimSpace(read(t, "chart/files/backlog.promql"))
	tests := read(t, "alerts/keda.test.yaml")
	total, same := strings.Count(tests, "- expr: "), strings.Count(tests, "- expr: '"+query+"'\n")
	if total < 5 || same != total {
		t.Errorf("%d of %d expressions in keda.test.yaml are the chart's", same, total)
	}
	for _, n := range metricsOf(query) {
		if !slices.Contains(contractMetrics, n) && !slices.Contains(controlMetrics, n) {
			t.Errorf("the scaler looks at %s, which is not in contract.md", n)
		}
	}
	if !strings.HasSuffix(query, "or vector(0)") {
		t.Error("a missing figure must be 0, or the scaler goes to its maximum")
	}
}

// stringsUnder returns the strings of a JSON value under keys of one name, at any depth.
func stringsUnder(v any, key string) []string {
	var found []string
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if s, ok := inner.(string); ok && k == key {
				found = append(found, s)
			}
			found = append(found, stringsUnder(inner, key)...)
		}
	case []any:
		for _, inner := range v {
			found = append(found, stringsUnder(inner, key)...)
		}
	}
	return found
}

func TestDashboardsNameContractMetricsOnly(t *testing.T) {
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	shown := map[string]bool{}
	for _, f := range files {
		var board map[string]any
		if err := json.Unmarshal([]byte(read(t, f)), &board); err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		if board["uid"] == nil || board["title"] == nil || board["panels"] == nil {
			t.Errorf("%s lacks uid, title or panels", f)
		}
		exprs := stringsUnder(board, "expr")
		if len(exprs) == 0 {
			t.Errorf("%s asks for nothing", f)
		}
		for _, expr := range append(exprs, stringsUnder(board, "query")...) {
			for _, n := range metricsOf(expr) {
				shown[n] = true
				if !slices.Contains(contractMetrics, n) && !slices.Contains(controlMetrics, n) {
					t.Errorf("%s shows %s, which is not in contract.md: %s", f, n, expr)
				}
			}
		}
	}
	for _, n := range contractMetrics {
		if !shown[n] {
			t.Errorf("no dashboard shows %s", n)
		}
	}
}

// TestTheUnitStartsAgainWhatTheWatchdogEnded: a Go program that panics, or gets the watchdog's
// SIGABRT, ends with 2, as a usage error does. A unit that does not start 2 again stays dead
// when it matters most; deploy/dev/fresh-debian.sh saw that.
func TestTheUnitStartsAgainWhatTheWatchdogEnded(t *testing.T) {
	unit := read(t, "systemd/decom.service")
	m := regexp.MustCompile(`(?m)^RestartPreventExitStatus=(.*)$`).FindStringSubmatch(unit)
	if m == nil || !slices.Equal(strings.Fields(m[1]), []string{"78"}) {
		t.Errorf("not started again: %q, wants 78 alone", m)
	}
	for _, want := range []string{"\nRestart=on-failure\n", "\nWatchdogSec=", "\nStartLimitIntervalSec=0\n"} {
		if !strings.Contains(unit, want) {
			t.Errorf("the unit lacks %q", strings.TrimSpace(want))
		}
	}
}
