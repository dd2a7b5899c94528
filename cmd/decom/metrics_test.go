package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"decom/nmvs"
	"decom/nmvs/sim"
	"decom/worker"
	"decom/worker/scan"
)

// contractMetrics is contract.md section 6, word for word.
const contractMetrics = "`decom_scans_total{result,reason}`, `decom_packs_total{account,op,result}`, `decom_nmvs_requests_total{account,service,outcome}`, " +
	"`decom_nmvs_request_duration_seconds{service}`, `decom_batch_packs{service}`, `decom_ratelimit_wait_seconds`, " +
	"`decom_rate_limit{account,service}`, `decom_circuit_state{account,service,state}`, `decom_inflight_packs`, " +
	"`decom_in_doubt_packs`, `decom_parked_packs`, `decom_held_scans`, `decom_unrouted_scans`, `decom_halted{account}`, `decom_oldest_pending_seconds`, `decom_consumer_pending`, `decom_dedup_hits_total`, " +
	"`decom_alerts_total{account,device,kind}`, `decom_certificate_expiry_timestamp_seconds{account}`, " +
	"`decom_password_expiry_timestamp_seconds{account}`, `decom_build_info`."

// metricProcess is a process with embedded stores whose loops do not run.
func metricProcess(t *testing.T) *process {
	t.Helper()
	dir := t.TempDir()
	if _, err := sim.NewPKI(dir, "robot01"); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "password", password+"\n")
	name := write(t, dir, "decom.yaml", `dir: worker
nmvs:
  endpoints: {single: "https://127.0.0.1:1/s", bulk: "https://127.0.0.1:1/b"}
  ca: ca.pem
accounts:
  - {name: a1, sites: [s1], client_login_id: FR-1, user_id: robot01, password_file: password, certificate: client.p12, passphrase_file: passphrase}
  - {name: a2, sites: [s2], client_login_id: FR-2, user_id: robot01, password_file: password, certificate: client.p12, passphrase_file: passphrase}
http: {listen: ""}
`)
	a := &app{stdout: t.Output(), stderr: t.Output(), flags: globalFlags{config: name}}
	c, err := a.loadConfig(needWorker)
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// touchMetrics has each metric that counts events seen once.
func touchMetrics(p *process) {
	u := p.units[0]
	h := p.hooks(u)
	h.Scan(scan.Supply, scan.Done, "")
	h.Scan(scan.Supply, scan.Duplicate, "")
	h.Call("single", nmvs.Success, 30*time.Millisecond)
	h.Batch("single", 1)
	h.Alert("rowa-1", nmvs.WhyAlreadyInactive, "FR-1")
	u.live.noticed([]nmvs.Notice{{Code: nmvs.NoticePasswordExpires, Desc: "Password expires in 9 days."}})
}

func gather(t *testing.T, p *process) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := p.met.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]*dto.MetricFamily{}
	for _, f := range families {
		m[f.GetName()] = f
	}
	return m
}

func TestMetricsAreThoseOfTheContract(t *testing.T) {
	p := metricProcess(t)
	touchMetrics(p)
	p.sampleOnce(t.Context())
	families := gather(t, p)
	wanted := regexp.MustCompile("`(decom_[a-z_]+)(?:\\{([a-z,]+)\\})?`").FindAllStringSubmatch(contractMetrics, -1)
	if len(wanted) != 21 {
		t.Fatalf("the contract's list reads as %d metrics", len(wanted))
	}
	for _, w := range wanted {
		name, labels := w[1], strings.FieldsFunc(w[2], func(r rune) bool { return r == ',' })
		if name == "decom_build_info" {
			labels = []string{"go_version", "version"} // an info metric is nothing without them
		}
		slices.Sort(labels)
		f := families[name]
		if f == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		for _, m := range f.GetMetric() {
			var got []string
			for _, l := range m.GetLabel() {
				got = append(got, l.GetName())
			}
			slices.Sort(got)
			if !slices.Equal(got, labels) {
				t.Errorf("%s has labels %v, the contract says %v", name, got, labels)
			}
		}
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
	}
}

func TestMetricsPassTheLinter(t *testing.T) {
	p := metricProcess(t)
	touchMetrics(p)
	p.sampleOnce(t.Context())
	families, err := p.met.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, pr := range problems {
		if strings.HasPrefix(pr.Metric, "decom_") {
			t.Errorf("%s: %s", pr.Metric, pr.Text)
		}
	}
}

func value(t *testing.T, families map[string]*dto.MetricFamily, name string) float64 {
	t.Helper()
	f := families[name]
	if f == nil {
		t.Fatalf("%s is missing", name)
	}
	return f.GetMetric()[0].GetGauge().GetValue()
}

func TestTotalsAreTheSumOverAccounts(t *testing.T) {
	p := metricProcess(t)
	for i, site := range []string{"s1", "s2", "s2"} {
		if _, err := p.conn.PublishScan(t.Context(), site, "d", fmt.Sprint("e", i), []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	p.units[0].live.opened(worker.Load{InDoubt: 2, Sending: 3})
	p.units[1].live.opened(worker.Load{InDoubt: 5, Sending: 1})
	p.sampleOnce(t.Context())
	families := gather(t, p)
	for name, want := range map[string]float64{"decom_in_doubt_packs": 7, "decom_inflight_packs": 4, "decom_consumer_pending": 3, "decom_parked_packs": 0} {
		if got := value(t, families, name); got != want {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
	}
	if n := len(families["decom_account_in_doubt_packs"].GetMetric()); n != 2 {
		t.Errorf("%d accounts have their own in-doubt figure, want 2", n)
	}
	days := time.Until(time.Unix(int64(value(t, families, "decom_certificate_expiry_timestamp_seconds")), 0)).Hours() / 24
	if days < 1 {
		t.Errorf("the certificate ends in %.0f days", days)
	}
}

func TestPasswordExpiryIsReadFromTheNoticesText(t *testing.T) {
	for _, tc := range []struct {
		code, desc string
		days       int // -1: not known
	}{
		{nmvs.NoticePasswordExpires, "Password expires in 9 days.", 9},
		{nmvs.NoticePasswordExpires, "Votre mot de passe expire dans 12 jours", 12},
		{nmvs.NoticePasswordExpires, "Password expires soon.", -1},
		{nmvs.NoticeOldPassword, "stops working in 3 days", -1},
	} {
		var l liveAccount
		l.noticed([]nmvs.Notice{{Code: tc.code, Desc: tc.desc}})
		if tc.days < 0 {
			if !l.passwordUntil.IsZero() {
				t.Errorf("%q: %v", tc.desc, l.passwordUntil)
			}
			continue
		}
		if got := time.Until(l.passwordUntil).Hours() / 24; got > float64(tc.days) || got < float64(tc.days-1) {
			t.Errorf("%q: ends in %.1f days, want %d", tc.desc, got, tc.days)
		}
	}
}

// TestAScrapeDoesNotWaitForStoresThatAreAway: both are gone, and the process still tells
// what it knows, at once, without figures that it does not know.
func TestAScrapeDoesNotWaitForStoresThatAreAway(t *testing.T) {
	p := metricProcess(t)
	p.sampleOnce(t.Context())
	_ = p.store.Close()
	p.conn.Close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, errors.New("test"))
	defer cancel()
	p.sampleOnce(ctx)
	began := time.Now()
	families := gather(t, p)
	if took := time.Since(began); took > time.Second {
		t.Errorf("the scrape took %v", took)
	}
	for _, name := range []string{"decom_parked_packs", "decom_consumer_pending", "decom_oldest_pending_seconds", "decom_account_parked_packs"} {
		if families[name] != nil {
			t.Errorf("%s is told though its store is away", name)
		}
	}
	for _, m := range families["decom_dependency_up"].GetMetric() {
		if m.GetGauge().GetValue() != 0 {
			t.Errorf("%v is said to be up", m.GetLabel())
		}
	}
	if families["decom_circuit_state"] == nil {
		t.Error("what needs no store is missing too")
	}
}
