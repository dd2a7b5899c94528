package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"decom/worker"
)

// Config says where traces go.
type Config struct {
	// Endpoint is the collector's URL for traces, http or https; without a path, OTLP's
	// /v1/traces is used. Needed. Headers and certificates are those of the
	// OTEL_EXPORTER_OTLP_* variables, which the SDK reads.
	Endpoint string
	// Ratio is the part of the scans without a traceparent that begin a trace, 0 to 1.
	Ratio float64
	// Worker is the name of this process and start, as it stands in ledger records.
	Worker string
	// Version is the program's.
	Version string
	// Log is told when the collector fails, once each troubleEvery. nil: nobody.
	Log *slog.Logger

	exporter sdktrace.SpanExporter // tests: instead of Endpoint
}

// Validate reports all that is wrong.
func (c Config) Validate() error {
	var errs []error
	if err := CheckEndpoint(c.Endpoint); err != nil && c.exporter == nil {
		errs = append(errs, fmt.Errorf("tracing: endpoint: %w", err))
	}
	if !(c.Ratio >= 0 && c.Ratio <= 1) {
		errs = append(errs, fmt.Errorf("tracing: ratio %v is not 0 to 1", c.Ratio))
	}
	return errors.Join(errs...)
}

// CheckEndpoint judges a collector's address.
func CheckEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return errors.New("wants the collector's address as http://127.0.0.1:4318 or https://host/v1/traces, without a login")
	}
	return nil
}

// The bounds of what waits for a collector that does not take it: some 8 MiB of spans.
const (
	queued      = 8192
	batch       = 512
	batchEvery  = time.Second
	sendTimeout = 5 * time.Second
)

// Tracer is the worker's tracer. Any goroutine may call its methods; none of them waits for
// the collector.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	room     *room
}

var _ worker.Tracer = (*Tracer)(nil)

// New returns a tracer and starts the SDK's sender; end it with Close. It makes no
// connection: a collector may come later.
func New(cfg Config) (*Tracer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	exporter := cfg.exporter
	if exporter == nil {
		var err error
		if exporter, err = newExporter(cfg.Endpoint); err != nil {
			return nil, fmt.Errorf("tracing: %w", err)
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r := &room{}
	// The SDK drops what does not fit and tells nobody; room counts, and drops before it would.
	r.SpanProcessor = sdktrace.NewBatchSpanProcessor(&watched{SpanExporter: exporter, log: cfg.Log, room: r}, sdktrace.WithMaxQueueSize(queued),
		sdktrace.WithMaxExportBatchSize(batch), sdktrace.WithBatchTimeout(batchEvery), sdktrace.WithExportTimeout(sendTimeout))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.Ratio))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "decom"), attribute.String("service.version", cfg.Version),
			attribute.String("service.instance.id", cfg.Worker))),
		sdktrace.WithSpanProcessor(r),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer("decom"), room: r}, nil
}

func newExporter(endpoint string) (sdktrace.SpanExporter, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	return otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(u.String()),
		otlptracehttp.WithTimeout(sendTimeout), otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
}

// Begin is worker.Tracer's. A traceparent that is malformed counts for none; one that its
// sender did not sample is not followed.
func (t *Tracer) Begin(traceparent, account string, stored time.Time) string {
	if parent := trace.SpanContextFromContext(under(traceparent)); parent.IsValid() {
		if !parent.IsSampled() {
			return ""
		}
		return text(parent)
	}
	_, span := t.tracer.Start(context.Background(), "scan", trace.WithNewRoot(), trace.WithTimestamp(stored),
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attribute.String("decom.account", account)))
	defer span.End(trace.WithTimestamp(later(time.Now(), stored)))
	if !span.SpanContext().IsSampled() {
		return ""
	}
	return text(span.SpanContext())
}

// Tell is worker.Tracer's: one span for each scan in the step.
func (t *Tracer) Tell(s worker.Span) {
	attrs := make([]attribute.KeyValue, 0, 5)
	attrs = append(attrs, attribute.String("decom.account", s.Account), attribute.Int("decom.packs", s.Packs))
	if s.Service != "" {
		attrs = append(attrs, attribute.String("decom.service", s.Service))
	}
	if s.Class != "" {
		attrs = append(attrs, attribute.String("decom.class", s.Class))
	}
	if s.Seq > 0 {
		attrs = append(attrs, attribute.Int64("decom.ledger.seq", int64(s.Seq)))
	}
	for _, p := range s.Parents {
		_, span := t.tracer.Start(under(p), s.Step, trace.WithTimestamp(s.Begin), trace.WithSpanKind(kind(s.Step)), trace.WithAttributes(attrs...))
		if s.Failed {
			span.SetStatus(codes.Error, s.Class)
		}
		span.End(trace.WithTimestamp(later(s.End, s.Begin)))
	}
}

// Lost is how many spans did not reach the collector so far: it refused them, did not answer,
// or too many waited for it.
func (t *Tracer) Lost() uint64 { return t.room.lost.Load() }

// Close sends what waits, until ctx ends, and stops the sender. What is told later is
// dropped.
func (t *Tracer) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

func kind(step string) trace.SpanKind {
	switch step {
	case worker.StepCall:
		return trace.SpanKindClient
	case worker.StepOutcome:
		return trace.SpanKindProducer
	}
	return trace.SpanKindInternal
}

// later keeps a span from ending before it began where two clocks differ: NATS's and ours.
func later(end, begin time.Time) time.Time {
	if end.Before(begin) {
		return begin
	}
	return end
}

// under is the context of a span's parent, as the SDK wants it.
func under(traceparent string) context.Context {
	if traceparent == "" {
		return context.Background()
	}
	parent, state, _ := strings.Cut(traceparent, " ")
	return propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": parent, "tracestate": state})
}

// text is a span as a traceparent, and behind a space the tracestate that came with it
// (package queue).
func text(sc trace.SpanContext) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), sc), carrier)
	if state := carrier["tracestate"]; state != "" {
		return carrier["traceparent"] + " " + state
	}
	return carrier["traceparent"]
}

// room keeps count of the spans that wait for the collector.
type room struct {
	sdktrace.SpanProcessor
	waiting atomic.Int64 // ended and not handed to the exporter, or in its hands
	lost    atomic.Uint64
}

// OnEnd is the SDK's: a span has ended.
func (r *room) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if r.waiting.Add(1) > queued {
		r.waiting.Add(-1)
		r.lost.Add(1)
		return
	}
	r.SpanProcessor.OnEnd(s)
}

// watched is an exporter whose failures go to our log: the SDK's own way is a handler for
// the whole program.
type watched struct {
	sdktrace.SpanExporter
	log  *slog.Logger
	room *room

	mu   sync.Mutex
	told time.Time // guarded by mu
	lost int       // spans since; guarded by mu
}

// troubleEvery is how long a collector's failure stays out of the log after it was told.
const troubleEvery = 5 * time.Minute

func (w *watched) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := w.SpanExporter.ExportSpans(ctx, spans)
	w.room.waiting.Add(-int64(len(spans)))
	if err == nil {
		return nil
	}
	w.room.lost.Add(uint64(len(spans)))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost += len(spans)
	if now := time.Now(); w.told.IsZero() || now.Sub(w.told) >= troubleEvery {
		w.log.Warn("traces do not reach their collector; scans are not affected", "spans_lost", w.lost, "err", err)
		w.told, w.lost = now, 0
	}
	return nil
}
