package main

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// traceSink is an OTLP receiver that keeps what it was sent, undecoded.
type traceSink struct {
	*httptest.Server
	mu   sync.Mutex
	sent []byte // guarded by mu
}

func newTraceSink(t *testing.T) *traceSink {
	c := &traceSink{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		b, err := io.ReadAll(z)
		if err != nil || r.URL.Path != "/v1/traces" {
			http.Error(w, "not OTLP's", http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sent = append(c.sent, b...)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *traceSink) has(words ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range words {
		if !bytes.Contains(c.sent, []byte(w)) {
			return fmt.Errorf("%q is not in the %d bytes that the collector has", w, len(c.sent))
		}
	}
	return nil
}

// traceTo gives the line's configuration a collector.
func (l *line) traceTo(endpoint string, ratio int) {
	l.t.Helper()
	b, err := os.ReadFile(l.config())
	if err != nil {
		l.t.Fatal(err)
	}
	write(l.t, l.dir, "decom.yaml", fmt.Sprintf("%strace: {endpoint: %q, ratio: %d}\n", b, endpoint, ratio))
}

// TestARobotsTraceGoesThroughTheProcessAndOn: a traceparent as Go's HTTP libraries write it
// reaches the collector with every step, goes on with the outcome, and no pack's number does.
func TestARobotsTraceGoesThroughTheProcessAndOn(t *testing.T) {
	t.Parallel()
	l := newLine(t, startOutside(t, packstatetest.RedisOptions{}), lineConfig{})
	col := newTraceSink(t)
	l.traceTo(col.URL, 0)
	r := l.start()
	const id = "0af7651916cd43dd8448eb211c80319c"
	const parent = "00-" + id + "-b7ad6b7169203331-01"
	packs := l.packs(2)
	traced := l.event("robot", "traced", scan.Supply, packs[0], clean...)
	traced.Trace = parent
	plain := l.event("robot", "plain", scan.Supply, packs[1], clean...)
	l.publish([]queue.Scan{traced, plain})
	l.settled(20 * time.Second)
	r.signal(os.Interrupt)
	if code := r.waitEnd(20 * time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	raw, err := hex.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := col.has(string(raw), "view", "append", "call", "outcome", "decom.account", l.account, "decom.ledger.seq"); err != nil {
		t.Error(err)
	}
	for _, p := range packs {
		if col.has(p.Serial()) == nil || col.has(p.Code()) == nil {
			t.Error("a pack's number left with the traces")
		}
	}
	carried := map[string]string{}
	if err := l.conn.Outcomes(t.Context(), queue.OutcomeFilter{Site: l.site()}, func(o queue.StoredOutcome) error {
		carried[o.EventID] = o.Trace
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if carried[traced.ID] != parent || carried[plain.ID] != "" {
		t.Errorf("outcomes carry %q", carried)
	}
}

// TestACollectorThatHangsStopsNoScan: it takes connections and never answers.
func TestACollectorThatHangsStopsNoScan(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	l := newLine(t, startOutside(t, packstatetest.RedisOptions{}), lineConfig{})
	l.traceTo("http://"+ln.Addr().String(), 1)
	r := l.start()
	l.supply(l.packs(200))
	l.settled(30 * time.Second)
	began := time.Now()
	r.signal(os.Interrupt)
	if code := r.waitEnd(20 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the stop waited %v", took)
	}
	if !strings.Contains(r.log(), "collector") {
		t.Error("nobody was told that traces are lost")
	}
	l.judge()
}
