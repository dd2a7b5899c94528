package queue

import (
	"strings"

	"github.com/nats-io/nats.go"
)

// The headers of W3C Trace Context. The specification gives their names in lower case and
// wants them read in any; [nats.Header] is case-sensitive, and some libraries write
// Traceparent.
//
// On its way through the line a trace is one text: the traceparent, and behind a space the
// tracestate if there is one. A traceparent has no space in it.
const (
	headerTrace      = "traceparent"
	headerTraceState = "tracestate"
)

// traceOf is the trace of a message as it was sent, unchecked, or "". Two traceparents
// contradict each other and count for none, as the specification has it; several
// tracestates are one list.
func traceOf(h nats.Header) (trace string) {
	var states []string
	for key, values := range h {
		switch {
		case len(values) == 0:
		case len(key) == len(headerTraceState) && strings.EqualFold(key, headerTraceState):
			states = append(states, values...)
		case len(key) == len(headerTrace) && strings.EqualFold(key, headerTrace):
			if trace != "" || len(values) > 1 {
				return ""
			}
			trace = values[0]
		}
	}
	if trace == "" || len(states) == 0 {
		return trace
	}
	return trace + " " + strings.Join(states, ",")
}

// setTrace writes what traceOf reads.
func setTrace(h nats.Header, trace string) {
	parent, state, _ := strings.Cut(trace, " ")
	h[headerTrace] = []string{parent}
	if state != "" {
		h[headerTraceState] = []string{state}
	}
}
