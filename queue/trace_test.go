package queue

import (
	"testing"

	"github.com/nats-io/nats.go"
)

const aTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTheTraceHeaderIsReadInAnyCaseAndNeverGuessed(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header nats.Header
		want   string
	}{
		{"as specified", nats.Header{"traceparent": {aTrace}, headerMsgID: {"e1"}}, aTrace},
		{"as Go's HTTP headers are written", nats.Header{"Traceparent": {aTrace}}, aTrace},
		{"in capitals", nats.Header{"TRACEPARENT": {aTrace}}, aTrace},
		{"none", nats.Header{headerMsgID: {"e1"}}, ""},
		{"no header at all", nil, ""},
		{"a name as long", nats.Header{"tracecontxt": {aTrace}}, ""},
		{"no value", nats.Header{"traceparent": {}}, ""},
		{"two values", nats.Header{"traceparent": {aTrace, aTrace}}, ""},
		{"two spellings", nats.Header{"traceparent": {aTrace}, "Traceparent": {"00-1-2-01"}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := traceOf(tt.header); got != tt.want {
				t.Errorf("trace %q, want %q", got, tt.want)
			}
		})
	}
}

func TestReadingTheTraceHeaderAllocatesNothing(t *testing.T) {
	h := nats.Header{headerMsgID: {"e1"}, "Traceparent": {aTrace}}
	if n := testing.AllocsPerRun(100, func() { _ = traceOf(h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
