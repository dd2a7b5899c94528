package queue

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"decom/worker/scan"
)

// StoredScan is a scan event as DECOM_SCANS has it.
type StoredScan struct {
	scan.Meta
	Body []byte
}

// ReadScans calls fn for scans stored at since or later, in order, and goes on with new
// ones until ctx ends or fn fails; that error is returned as it is. site and device choose
// a source, empty: any. It reads beside the consumers and settles nothing: for people's
// tools, never for sending.
func (c *Conn) ReadScans(ctx context.Context, site, device string, since time.Time, fn func(StoredScan) error) error {
	filter := scanPrefix + ">"
	switch {
	case site != "" && device != "":
		filter = scanPrefix + site + "." + device
	case site != "":
		filter = scanPrefix + site + ".>"
	case device != "":
		filter = scanPrefix + "*." + device
	}
	var own error
	r := reading{c: c, stream: StreamScans, filters: []string{filter}, since: since, visit: func(m *nats.Msg, meta *nats.MsgMetadata) bool {
		from, by := source(m.Subject, scanPrefix)
		own = fn(StoredScan{
			Meta: scan.Meta{Site: from, Device: by, Seq: meta.Sequence.Stream, Stored: meta.Timestamp, MsgID: m.Header.Get(headerMsgID)},
			Body: m.Data,
		})
		return own == nil
	}}
	if err := r.run(ctx); err != nil {
		return fail("read scans", filter, err)
	}
	return own
}
