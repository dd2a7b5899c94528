package queue_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"decom/queue"
	"decom/queue/queuetest"
)

// The queue's part of the line, 500 scans a batch, as limits.md section 2 counts it:
// events per second are 500 divided by the time of one operation.
const batch = 500

func benchConn(b *testing.B, syncAlways bool) *queue.Conn {
	b.Helper()
	srv := queuetest.StartServer(b, queuetest.ServerConfig{SyncAlways: syncAlways})
	c, err := queue.Connect(b.Context(), queue.Config{URL: srv.URL})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	if _, err := c.Setup(b.Context(), own("a"), false); err != nil {
		b.Fatal(err)
	}
	return c
}

func benchScans(n int) []queue.Scan {
	body := make([]byte, 342)
	scans := make([]queue.Scan, n)
	for i := range scans {
		scans[i] = queue.Scan{Site: "a", Device: "d", Body: body}
	}
	return scans
}

func perSecond(b *testing.B) { b.ReportMetric(float64(b.N)*batch/b.Elapsed().Seconds(), "events/s") }

func BenchmarkPublishScans(b *testing.B) {
	c := benchConn(b, false)
	scans := benchScans(20 * batch)
	for b.Loop() {
		if _, err := c.PublishScans(b.Context(), scans); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(scans))/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkFetchAndAckAll(b *testing.B) {
	c := benchConn(b, false)
	left := 0
	for b.Loop() {
		if left < batch {
			b.StopTimer()
			if _, err := c.PublishScans(b.Context(), benchScans(100*batch)); err != nil {
				b.Fatal(err)
			}
			left += 100 * batch
			b.StartTimer()
		}
		for n := 0; n < batch; {
			ctx, cancel := context.WithTimeout(b.Context(), 5*time.Second)
			ds, err := c.Scans("a").Fetch(ctx, batch-n, 0, 0)
			cancel()
			if err != nil {
				b.Fatal(err)
			}
			if err := queue.AckAll(b.Context(), ds); err != nil {
				b.Fatal(err)
			}
			n += len(ds)
		}
		left -= batch
	}
	perSecond(b)
}

func BenchmarkAppend(b *testing.B) {
	for _, always := range []bool{false, true} {
		b.Run(fmt.Sprintf("sync_always=%v", always), func(b *testing.B) {
			c := benchConn(b, always)
			record := make([]byte, 60*batch)
			prev := head{}
			for b.Loop() {
				record = fmt.Appendf(record[:0], "%-*d", 60*batch, prev.Seq)
				var err error
				if prev, err = c.Ledger("a").Append(b.Context(), prev, record); err != nil {
					b.Fatal(err)
				}
			}
			perSecond(b)
		})
	}
}

func BenchmarkPublishOutcomes(b *testing.B) {
	c := benchConn(b, false)
	body := make([]byte, 400)
	out := make([]queue.Outcome, batch)
	n := 0
	for b.Loop() {
		for i := range out {
			n++
			out[i] = queue.Outcome{Site: "a", Device: "d", EventID: fmt.Sprint(n), Ledger: "a/1/1", Body: body}
		}
		if _, err := c.PublishOutcomes(b.Context(), out); err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b)
}

func BenchmarkReadLedger(b *testing.B) {
	c := benchConn(b, false)
	prev := head{}
	for i := range 2000 {
		var err error
		if prev, err = c.Ledger("a").Append(b.Context(), prev, fmt.Appendf(nil, "%-*d", 60*batch, i)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := c.Ledger("a").Read(b.Context(), 1, func(queue.Entry) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*2000)/b.Elapsed().Seconds(), "records/s")
}
