package queue

import (
	"strings"

	"github.com/nats-io/nats.go"
)

// headerTrace is W3C Trace Context's header. The specification gives its name in lower
// case and wants it read in any; [nats.Header] is case-sensitive, and some libraries
// write Traceparent.
const headerTrace = "traceparent"

// traceOf is the trace header of a message as it was sent, unchecked, or "". Two of them
// contradict each other and count for none, as the specification has it.
func traceOf(h nats.Header) (trace string) {
	for key, values := range h {
		if len(key) != len(headerTrace) || !strings.EqualFold(key, headerTrace) || len(values) == 0 {
			continue
		}
		if trace != "" || len(values) > 1 {
			return ""
		}
		trace = values[0]
	}
	return trace
}
