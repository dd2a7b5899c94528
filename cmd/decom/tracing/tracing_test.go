package tracing

import (
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"decom/worker"
)

const (
	robotTrace = "0af7651916cd43dd8448eb211c80319c"
	robotSpan  = "b7ad6b7169203331"
	robot      = "00-" + robotTrace + "-" + robotSpan + "-01"
	unsampled  = "00-" + robotTrace + "-" + robotSpan + "-00"
)

func newTracer(t *testing.T, cfg Config) *Tracer {
	t.Helper()
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// finish closes the tracer and returns what was exported.
func finish(t *testing.T, tr *Tracer, exp *tracetest.InMemoryExporter) tracetest.SpanStubs {
	t.Helper()
	if err := tr.provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := exp.GetSpans()
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return spans
}

func TestEachTracedScanOfAStepGetsASpanUnderItsOwnParent(t *testing.T) {
	exp := tracetest.NewInMemoryExporter()
	tr := newTracer(t, Config{exporter: exp})
	began := time.Now().Add(-time.Minute)
	other := strings.Replace(robot, "0af7", "1bf8", 1)
	tr.Tell(worker.Span{Step: worker.StepCall, Begin: began, End: began.Add(time.Second), Parents: []string{robot, other},
		Account: "chu", Service: "bulk", Class: "in_doubt", Packs: 7, Seq: 12, Failed: true})
	spans := finish(t, tr, exp)
	if len(spans) != 2 {
		t.Fatalf("%d spans for two scans", len(spans))
	}
	for i, s := range spans {
		want := []string{robotTrace, strings.Replace(robotTrace, "0af7", "1bf8", 1)}[i]
		if s.Name != "call" || s.SpanContext.TraceID().String() != want || s.Parent.SpanID().String() != robotSpan || s.SpanKind != trace.SpanKindClient {
			t.Errorf("span %d: %s of trace %s under %s, a %s", i, s.Name, s.SpanContext.TraceID(), s.Parent.SpanID(), s.SpanKind)
		}
		if !s.StartTime.Equal(began) || s.EndTime.Sub(s.StartTime) != time.Second || s.Status.Description != "in_doubt" {
			t.Errorf("span %d: from %v to %v, %+v", i, s.StartTime, s.EndTime, s.Status)
		}
		got := map[string]string{}
		for _, a := range s.Attributes {
			got[string(a.Key)] = a.Value.String()
		}
		for k, v := range map[string]string{"decom.account": "chu", "decom.packs": "7", "decom.service": "bulk", "decom.class": "in_doubt", "decom.ledger.seq": "12"} {
			if got[k] != v {
				t.Errorf("span %d: %s is %q, want %q", i, k, got[k], v)
			}
		}
	}
	if spans[0].SpanContext.SpanID() == spans[1].SpanContext.SpanID() {
		t.Error("two spans with one id")
	}
}

func TestWhatATraceparentOfTheRobotBegins(t *testing.T) {
	for _, tt := range []struct {
		name   string
		trace  string
		ratio  float64
		same   bool // the robot's trace goes on
		traced bool
	}{
		{"sampled by its sender", robot, 0, true, true},
		{"sampled by its sender, and we sample all", robot, 1, true, true},
		{"not sampled by its sender", unsampled, 1, false, false},
		{"none, and we sample none", "", 0, false, false},
		{"none, and we sample all", "", 1, false, true},
		{"nonsense, and we sample none", "00-x", 0, false, false},
		{"nonsense, and we sample all", strings.Repeat("x", 4000), 1, false, true},
		{"all zero", "00-" + strings.Repeat("0", 32) + "-" + robotSpan + "-01", 0, false, false},
		{"with a state", robot + " rojo=1,congo=2", 0, true, true},
		{"with a state that is none", robot + " ,;", 0, true, true},
		{"header injection", robot + "\r\nNats-Msg-Id: x", 0, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			exp := tracetest.NewInMemoryExporter()
			tr := newTracer(t, Config{Ratio: tt.ratio, exporter: exp})
			stored := time.Now().Add(-time.Minute)
			got := tr.Begin(tt.trace, "chu", stored)
			spans := finish(t, tr, exp)
			switch {
			case (got != "") != tt.traced:
				t.Errorf("begins %q", got)
			case tt.same && (strings.TrimSuffix(got, " rojo=1,congo=2") != robot || strings.Contains(tt.trace, "rojo") != strings.Contains(got, "rojo") || len(spans) != 0):
				t.Errorf("goes on as %q with %d spans of ours", got, len(spans))
			case tt.traced && !tt.same:
				if len(spans) != 1 || spans[0].Name != "scan" || spans[0].Parent.IsValid() || !spans[0].StartTime.Equal(stored) {
					t.Fatalf("begins with %+v", spans)
				}
				if sc := spans[0].SpanContext; got != "00-"+sc.TraceID().String()+"-"+sc.SpanID().String()+"-01" {
					t.Errorf("the scan's steps would be under %s", got)
				}
			case !tt.traced && len(spans) > 0:
				t.Errorf("nothing is traced and %d spans are sent", len(spans))
			}
		})
	}
}

func TestAStreamClockAheadOfOursMakesNoSpanThatEndsBeforeItBegins(t *testing.T) {
	exp := tracetest.NewInMemoryExporter()
	tr := newTracer(t, Config{Ratio: 1, exporter: exp})
	tr.Begin("", "chu", time.Now().Add(time.Hour))
	if s := finish(t, tr, exp)[0]; s.EndTime.Before(s.StartTime) {
		t.Errorf("from %v to %v", s.StartTime, s.EndTime)
	}
}

// hanging is a collector that takes connections and never answers.
func hanging(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return "http://" + ln.Addr().String()
}

func TestACollectorThatHangsCostsSpansAndNeverWaitsTheLine(t *testing.T) {
	var log strings.Builder
	tr := newTracer(t, Config{Endpoint: hanging(t), Ratio: 1, Log: slog.New(slog.NewTextHandler(&log, nil))})
	const n = 3 * queued
	began, slowest := time.Now(), time.Duration(0)
	for range n {
		one := time.Now()
		parent := tr.Begin("", "chu", one)
		tr.Tell(worker.Span{Step: worker.StepView, Begin: one, End: one, Parents: []string{parent}})
		slowest = max(slowest, time.Since(one))
	}
	t.Logf("%d scans told in %v, the slowest in %v", n, time.Since(began), slowest)
	if slowest > 2*time.Second { // sendTimeout is 5 s; a busy machine is not
		t.Errorf("one scan waited %v for the collector", slowest)
	}
	if lost := tr.Lost(); lost < 2*n-queued-batch { // two spans a scan; what fits may still wait
		t.Errorf("%d of %d spans are counted as lost", lost, 2*n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began = time.Now()
	if err := tr.Close(ctx); err == nil {
		t.Error("a collector that took nothing is no error")
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the end waited %v for the collector, not 200 ms", took)
	}
}

func TestACollectorThatRefusesIsLoggedOnceInAWhile(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer srv.Close()
	var log strings.Builder
	tr := newTracer(t, Config{Endpoint: srv.URL, Ratio: 1, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		tr.Begin("", "chu", time.Now())
		if err := tr.provider.ForceFlush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if asked.Load() != 3 || strings.Count(log.String(), "traces do not reach their collector") != 1 {
		t.Errorf("asked %d times; log:\n%s", asked.Load(), log.String())
	}
}

func TestSpansAreSentAsOTLPOverHTTP(t *testing.T) {
	var mu sync.Mutex
	var path, kind, body string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		b, _ := io.ReadAll(z)
		mu.Lock()
		defer mu.Unlock()
		path, kind, body = r.URL.Path, r.Header.Get("Content-Type"), string(b)
	}))
	defer srv.Close()
	tr := newTracer(t, Config{Endpoint: srv.URL, Ratio: 1, Worker: "host-1#abc", Version: "v9"})
	tr.Begin("", "chu", time.Now())
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if path != "/v1/traces" || kind != "application/x-protobuf" {
		t.Errorf("sent to %s as %s", path, kind)
	}
	for _, word := range []string{"service.name", "decom", "service.version", "v9", "service.instance.id", "host-1#abc", "scan", "decom.account", "chu"} {
		if !strings.Contains(body, word) {
			t.Errorf("%q is not in what was sent", word)
		}
	}
}

func TestWrongConfigurationIsSaid(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Endpoint: "http://127.0.0.1:4318", Ratio: 0.5}, ""},
		{Config{Endpoint: "https://otel.example/x/v1/traces"}, ""},
		{Config{}, "endpoint"},
		{Config{Endpoint: "127.0.0.1:4318"}, "endpoint"},
		{Config{Endpoint: "grpc://127.0.0.1:4317"}, "endpoint"},
		{Config{Endpoint: "http://me:secret@127.0.0.1:4318"}, "endpoint"},
		{Config{Endpoint: "http://127.0.0.1:4318", Ratio: 1.1}, "ratio"},
		{Config{Endpoint: "http://127.0.0.1:4318", Ratio: -1}, "ratio"},
	} {
		err := tt.cfg.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.cfg, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("a secret is printed: %v", err)
		}
	}
}

var _ sdktrace.SpanExporter = (*watched)(nil)
