// Package tracing sends what the line tells of traced scans to an OpenTelemetry collector,
// by OTLP over HTTP. It is the only package that knows OpenTelemetry, and used by `decom run`
// only, when trace.endpoint is set.
//
// A scan that carries a sampled traceparent continues its sender's trace. Of the others,
// Config.Ratio begin one of their own: a span "scan" from the stream to the delivery, and the
// steps below it. Each traced scan gets a span of its own for each step, also where many
// scans share one record or one bulk. No serial, product code, event id or free text stands
// in a span: traces leave the house.
//
// Spans are handed to a bounded queue, and a goroutine of the SDK sends them. A collector
// that is slow, away or wrong costs spans, never a scan: what does not fit is dropped, and
// the log says now and then that nothing gets through.
package tracing
