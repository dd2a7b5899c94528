package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"decom/nmvs"
	"decom/ratelimit"
	"decom/worker"
	"decom/worker/scan"
)

// metrics are those of contract.md section 6, under exactly its names and labels, and a
// few more. No serial, product code or free text ever stands in a label.
type metrics struct {
	registry *prometheus.Registry

	scans    *prometheus.CounterVec
	packs    *prometheus.CounterVec
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	batch    *prometheus.HistogramVec
	alerts   *prometheus.CounterVec
	wait     prometheus.Histogram
	dedup    prometheus.Counter
	unrouted prometheus.Gauge

	reloadFailed, reloadedAt prometheus.Gauge
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
	m.wait = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "decom_ratelimit_wait_seconds",
		Help: "Time that an account's loop waited for the limiter before it took scans in.", Buckets: []float64{.001, .01, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60}})
	m.dedup = prometheus.NewCounter(prometheus.CounterOpts{Name: "decom_dedup_hits_total", Help: "Scans of packs that were already so, by us."})
	m.unrouted = prometheus.NewGauge(prometheus.GaugeOpts{Name: "decom_unrouted_scans", Help: "Scans of sites that no account names, or whose subject names no device."})
	m.reloadFailed = prometheus.NewGauge(prometheus.GaugeOpts{Name: "decom_config_reload_failed", Help: "1 while the configuration of the last SIGHUP is wrong and not in use."})
	m.reloadedAt = prometheus.NewGauge(prometheus.GaugeOpts{Name: "decom_config_last_reload_success_timestamp_seconds", Help: "When the configuration in use was read."})
	m.reloadedAt.Set(float64(p.began.Unix()))
	m.registry.MustRegister(m.duration, m.batch, m.wait, m.dedup, m.unrouted, m.reloadFailed, m.reloadedAt, buildInfo(), &gauges{p: p},
		traceLoss(p), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
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
			if result == scan.Unresolved {
				p.log.Warn("a pack's fate could not be established: decom review ls", "account", name, "op", op.String(), "reason", string(reason))
			}
		},
		Call: func(svc string, class nmvs.Class, took time.Duration) {
			m.requests.WithLabelValues(name, svc, class.String()).Inc()
			m.duration.WithLabelValues(svc).Observe(took.Seconds())
		},
		Trace:   p.tracer(),
		Batch:   func(svc string, packs int) { m.batch.WithLabelValues(svc).Observe(float64(packs)) },
		Open:    u.live.opened,
		Held:    u.live.holding,
		Halted:  u.live.halting,
		Paced:   u.live.pacing,
		Trouble: u.live.troubled,
		Alert: func(device string, reason scan.Reason, alertID string) {
			m.alerts.WithLabelValues(name, device, string(reason)).Inc()
			u.live.alerted(device, reason, alertID)
			p.log.Warn("potential falsification: the pack goes into quarantine", "account", name, "device", device, "reason", string(reason), "alert_id", alertID)
		},
	}
}

// meteredLimiter tells how long the loop waits for its tokens.
type meteredLimiter struct {
	*ratelimit.Limiter
	wait prometheus.Histogram
}

func (l meteredLimiter) Take(ctx context.Context, service string, n int) error {
	began := time.Now()
	err := l.Limiter.Take(ctx, service, n)
	if err == nil { // a wait that was given up says nothing of the limit
		l.wait.Observe(time.Since(began).Seconds())
	}
	return err
}
