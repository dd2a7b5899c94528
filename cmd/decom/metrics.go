package main

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"decom/nmvs"
	"decom/worker"
	"decom/worker/scan"
)

// metrics are those of contract.md section 6. No serial, product code or free text
// ever stands in a label.
type metrics struct {
	registry *prometheus.Registry

	scans    *prometheus.CounterVec
	packs    *prometheus.CounterVec
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	batch    *prometheus.HistogramVec
	alerts   *prometheus.CounterVec
	dedup    prometheus.Counter
	unrouted prometheus.Gauge
}

func newMetrics(p *process) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	m.scans = counter("decom_scans_total", "Scans that got their final word.", "result", "reason")
	m.packs = counter("decom_packs_total", "Packs by operation and result.", "account", "op", "result")
	m.requests = counter("decom_nmvs_requests_total", "Calls to NMVS by the class of their end.", "account", "service", "outcome")
	m.alerts = counter("decom_alerts_total", "Potential falsifications, by device.", "account", "device", "kind")
	m.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "decom_nmvs_request_duration_seconds",
		Help: "Time of a call to NMVS, connection included.", Buckets: []float64{.01, .025, .05, .1, .2, .3, .5, 1, 2, 5, 10, 30, 60, 120}}, []string{"service"})
	m.batch = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "decom_batch_packs",
		Help: "Packs of one attempt.", Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}}, []string{"service"})
	m.dedup = prometheus.NewCounter(prometheus.CounterOpts{Name: "decom_dedup_hits_total", Help: "Scans of packs that were already so, by us."})
	m.unrouted = prometheus.NewGauge(prometheus.GaugeOpts{Name: "decom_unrouted_scans", Help: "Scans of sites that no account names."})
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "decom_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": version(), "go_version": runtime.Version()}})
	info.Set(1)
	m.registry.MustRegister(m.duration, m.batch, m.dedup, m.unrouted, info, &gauges{p: p},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// hooks feeds the metrics, and the account's live view, from its loop.
func (p *process) hooks(u *unit) worker.Hooks {
	m, name := p.met, u.cfg.Name
	return worker.Hooks{
		Step: crashStep,
		Scan: func(op scan.Op, result scan.Result, reason scan.Reason) {
			m.scans.WithLabelValues(string(result), string(reason)).Inc()
			m.packs.WithLabelValues(name, op.String(), string(result)).Inc()
			if result == scan.Duplicate {
				m.dedup.Inc()
			}
			u.live.scanned(result)
		},
		Call: func(svc string, class nmvs.Class, took time.Duration) {
			m.requests.WithLabelValues(name, svc, class.String()).Inc()
			m.duration.WithLabelValues(svc).Observe(took.Seconds())
		},
		Batch:   func(svc string, packs int) { m.batch.WithLabelValues(svc).Observe(float64(packs)) },
		Open:    u.live.opened,
		Held:    u.live.holding,
		Halted:  u.live.halting,
		Trouble: u.live.troubled,
		Alert: func(device string, reason scan.Reason, _ string) {
			m.alerts.WithLabelValues(name, device, string(reason)).Inc()
		},
	}
}

// gauges reads what is a state, not an event, when it is asked for.
type gauges struct{ p *process }

var (
	descRate      = prometheus.NewDesc("decom_rate_limit", "Calls a second that the limiter allows now.", []string{"account", "service"}, nil)
	descWait      = prometheus.NewDesc("decom_ratelimit_wait_seconds", "Time that calls have waited for the limiter, since start.", []string{"account", "service"}, nil)
	descCircuit   = prometheus.NewDesc("decom_circuit_state", "1 for the state the breaker is in.", []string{"account", "service", "state"}, nil)
	descInflight  = prometheus.NewDesc("decom_inflight_packs", "Calls on their way.", []string{"account"}, nil)
	descDoubt     = prometheus.NewDesc("decom_in_doubt_packs", "Packs with an open attempt that has no sender here.", []string{"account"}, nil)
	descParked    = prometheus.NewDesc("decom_parked_packs", "Packs that wait for a person.", []string{"account"}, nil)
	descHeld      = prometheus.NewDesc("decom_held_scans", "Scans that wait for their pack's answer.", []string{"account"}, nil)
	descNextBulk  = prometheus.NewDesc("decom_next_bulk_packs", "Packs that the next bulk may take: small after start and after trouble.", []string{"account"}, nil)
	descHalted    = prometheus.NewDesc("decom_halted", "1 while the account waits for a person's resume.", []string{"account"}, nil)
	descOldest    = prometheus.NewDesc("decom_oldest_pending_seconds", "Age of the oldest scan that is not disposed of.", []string{"account"}, nil)
	descPending   = prometheus.NewDesc("decom_consumer_pending", "Scans in the stream that were not delivered yet.", []string{"account"}, nil)
	descCertUntil = prometheus.NewDesc("decom_certificate_expiry_timestamp_seconds", "When the client certificate ends.", []string{"account"}, nil)
)

// Describe sends nothing: the collector is unchecked, since stores may be away.
func (g *gauges) Describe(chan<- *prometheus.Desc) {}

// Collect asks the live views and the stores; what does not answer is left out.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	put := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, s := range g.p.status().Accounts {
		for _, b := range s.Services {
			put(descRate, b.Rate, s.Account, b.Service)
			put(descWait, b.Waited, s.Account, b.Service)
			for _, state := range []nmvs.BreakerState{nmvs.BreakerClosed, nmvs.BreakerHalfOpen, nmvs.BreakerOpen} {
				put(descCircuit, flag(b.Breaker == string(state)), s.Account, b.Service, string(state))
			}
		}
		put(descInflight, float64(s.InFlight), s.Account)
		put(descNextBulk, float64(s.NextBulk), s.Account)
		put(descHeld, float64(s.Held), s.Account)
		put(descHalted, flag(s.Halted), s.Account)
		put(descCertUntil, float64(s.certificateUntil.Unix()), s.Account)
		if s.Stores == "" {
			put(descDoubt, float64(s.InDoubt), s.Account)
			put(descParked, float64(s.Parked), s.Account)
			put(descPending, float64(s.Pending), s.Account)
			put(descOldest, s.OldestSeconds, s.Account)
		}
	}
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
