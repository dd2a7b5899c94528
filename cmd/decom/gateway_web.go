package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// gatewayWeb is what a gateway answers at http.listen: /livez, /readyz and /metrics, as decom
// run does, for the same probes and scrapes. It has no /status: there is no account here.
type gatewayWeb struct {
	in       *inLine     // its doors' counters, and the connection once there is one
	draining atomic.Bool // set once, when the gateway is told to stop
}

// open answers at addr until end is called; "" opens nothing. An address that is taken closes no
// door: decom run beside it has the default one, perhaps.
func (g *gatewayWeb) open(ctx context.Context, addr string, log *slog.Logger) (at string, end func()) {
	w, err := g.listen(addr)
	if err != nil {
		log.Warn("no /livez, /readyz and /metrics here: give this gateway an http.listen of its own", "err", err)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx)) // until the doors are closed
	var wg sync.WaitGroup
	wg.Go(func() { w.serve(serving) })
	told := context.AfterFunc(ctx, func() { g.draining.Store(true) })
	return w.addr, func() { told(); stop(); wg.Wait() }
}

// up says whether scans can be stored.
func (g *gatewayWeb) up() bool {
	conn := g.in.conn.Load()
	return conn != nil && conn.Up()
}

// Describe sends nothing: the collector is unchecked.
func (g *gatewayWeb) Describe(chan<- *prometheus.Desc) {}

// Collect says whether NATS answers now.
func (g *gatewayWeb) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(descUp, prometheus.GaugeValue, flag(g.up()), "nats")
}

func (g *gatewayWeb) registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(g, g.in.met.scans, g.in.met.trouble, buildInfo(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// buildInfo is decom_build_info, of run and gateway.
func buildInfo() prometheus.Gauge {
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "decom_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": version(), "go_version": runtime.Version()}})
	info.Set(1)
	return info
}

// listen opens addr; "" means nothing is opened, and serve waits.
func (g *gatewayWeb) listen(addr string) (*web, error) {
	w := &web{}
	if addr == "" {
		return w, nil
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return w, fmt.Errorf("http.listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", g.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(g.registry(), promhttp.HandlerOpts{}))
	w.ln, w.addr = ln, ln.Addr().String()
	w.srv = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	return w, nil
}

// ready is red while nothing can be stored.
func (g *gatewayWeb) ready(w http.ResponseWriter, _ *http.Request) {
	switch {
	case g.draining.Load():
		http.Error(w, "draining", http.StatusServiceUnavailable)
	case !g.up():
		http.Error(w, "NATS is down", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ok")
	}
}
