package queue_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"decom/queue"
	"decom/queue/queuetest"
)

func inspect(t *testing.T, c *queue.Conn, monitor string, accounts ...queue.Account) queue.Inspection {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	in, err := c.Inspect(ctx, accounts, monitor)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// TestInspectTellsWhatStandsInTheWay against a real server: before the streams, with a
// stranger's stream over our subjects, and with everything in its place.
func TestInspectTellsWhatStandsInTheWay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	monitor := l.Addr().String()
	_ = l.Close()
	srv := queuetest.StartServer(t, queuetest.ServerConfig{SyncAlways: true, Extra: fmt.Sprintf("http: %q", monitor)})
	c, err := queue.Connect(t.Context(), queue.Config{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	js := admin(t, c)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVERYTHING", Subjects: []string{"decom.*.*.>", "other.>"}}); err != nil {
		t.Fatal(err)
	}
	in := inspect(t, c, "")
	if in.SkewKnown || len(in.Streams) != 0 {
		t.Errorf("without streams of ours: %+v", in)
	}
	if len(in.Captures) != 1 || in.Captures[0].Stream != "EVERYTHING" || !slices.Equal(in.Captures[0].Subjects, []string{"decom.*.*.>"}) {
		t.Errorf("captures: %+v", in.Captures)
	}
	if in.Sync != "" || in.SyncWhy == "" {
		t.Errorf("sync is known without monitoring: %q %q", in.Sync, in.SyncWhy)
	}
	if err := js.DeleteStream(t.Context(), "EVERYTHING"); err != nil {
		t.Fatal(err)
	}
	a := queue.Account{Name: "a", Sites: []string{"s"}}
	setup(t, c, a, queue.Account{Name: "b", Sites: []string{"z"}})
	in = inspect(t, c, "http://"+monitor, a)
	if in.Sync != "always" {
		t.Errorf("sync %q (%s), want always", in.Sync, in.SyncWhy)
	}
	if !in.SkewKnown || in.Skew.Abs() > time.Second {
		t.Errorf("skew to a server on this machine: %v, known %v", in.Skew, in.SkewKnown)
	}
	if len(in.Streams) != 3 || len(in.Captures) != 0 || in.RTT <= 0 {
		t.Errorf("streams %+v, captures %+v, rtt %v", in.Streams, in.Captures, in.RTT)
	}
	if want := []string{"DECOM_LEDGER/outbox-b", "DECOM_SCANS/decom-b"}; len(in.Strangers) != 2 || !strings.HasSuffix(in.Strangers[1], "-b") {
		t.Errorf("strangers %v, want %v", in.Strangers, want)
	}
}

func TestInspectTellsTheSyncIntervalAndForeignMonitoring(t *testing.T) {
	var monitors []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		monitors = append(monitors, l.Addr().String())
		_ = l.Close()
	}
	a := queuetest.StartServer(t, queuetest.ServerConfig{Extra: fmt.Sprintf("http: %q", monitors[0])})
	queuetest.StartServer(t, queuetest.ServerConfig{Extra: fmt.Sprintf("http: %q", monitors[1])})
	c, err := queue.Connect(t.Context(), queue.Config{URL: a.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if in := inspect(t, c, "http://"+monitors[0]); in.Sync != "2m0s" {
		t.Errorf("sync %q (%s), want the server's default", in.Sync, in.SyncWhy)
	}
	if in := inspect(t, c, "http://"+monitors[1]); in.Sync != "" || !strings.Contains(in.SyncWhy, "another server") {
		t.Errorf("another server's monitoring is believed: %q %q", in.Sync, in.SyncWhy)
	}
	lazy, err := queue.Connect(t.Context(), queue.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lazy.Close)
	if in := inspect(t, lazy, ""); in.Sync != "always" || !in.Embedded {
		t.Errorf("embedded: sync %q, embedded %v", in.Sync, in.Embedded)
	}
}
