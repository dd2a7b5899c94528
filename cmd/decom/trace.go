package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"decom/cmd/decom/tracing"
	"decom/worker"
)

// TraceConfig says whether single scans are followed through the line, by OpenTelemetry.
type TraceConfig struct {
	// Endpoint is the collector's address for OTLP over HTTP, as http://127.0.0.1:4318.
	// Empty (default): nobody follows anything, and it costs nothing. Headers and a CA are
	// given by OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_CERTIFICATE.
	Endpoint string `yaml:"endpoint"`
	// Ratio is the part of the scans without a traceparent header that begin a trace of
	// their own, 0 to 1. Default 1. A scan with one is followed if its sender sampled it.
	Ratio float64 `yaml:"ratio"`
}

func (k *checker) trace() {
	t := k.c.Trace
	if t.Endpoint != "" {
		if err := tracing.CheckEndpoint(t.Endpoint); err != nil {
			k.bad("trace.endpoint", "wants the collector's address as http://127.0.0.1:4318 or https://host/v1/traces, without a login")
		}
	}
	if !(t.Ratio >= 0 && t.Ratio <= 1) {
		k.bad("trace.ratio", "%v: must be 0 to 1", t.Ratio)
	}
}

// tracePatience is how long a stop waits for a collector to take the last spans.
const tracePatience = 2 * time.Second

// openTraces starts to follow scans, if somebody collects traces.
func (p *process) openTraces() (err error) {
	t := p.cfg.Trace
	if t.Endpoint == "" {
		return nil
	}
	p.traces, err = tracing.New(tracing.Config{Endpoint: t.Endpoint, Ratio: t.Ratio, Worker: p.worker, Version: version(), Log: p.log})
	if err != nil {
		return exitWith(exitConfig, err)
	}
	p.log.Info("traces are sent", "endpoint", t.Endpoint, "ratio", t.Ratio)
	return nil
}

// tracer is the worker's hook; nil when nobody collects traces.
func (p *process) tracer() worker.Tracer {
	if p.traces == nil {
		return nil
	}
	return p.traces
}

// traceLoss counts the spans that did not reach their collector; 0 where there is none.
func traceLoss(p *process) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "decom_trace_spans_lost_total",
		Help: "Spans that did not reach the trace collector; no scan is affected."}, func() float64 {
		if p.traces == nil {
			return 0
		}
		return float64(p.traces.Lost())
	})
}

func (p *process) closeTraces() {
	if p.traces == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), tracePatience)
	defer cancel()
	if err := p.traces.Close(ctx); err != nil {
		p.log.Warn("the last traces did not reach their collector", "err", err)
	}
}
