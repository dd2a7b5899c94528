package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"decom/nmvs/sim"
	"decom/worker/packstate/packstatetest"
)

// TestReadinessGoesOffBeforeTheDrainEnds: from the signal on /readyz is red, while the
// process still lives and answers for what is in flight.
func TestReadinessGoesOffBeforeTheDrainEnds(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	var set sim.Settings
	set.Latency.Fixed = sim.Duration(4 * time.Second) // half of it after the call is counted
	l := newLine(t, out, lineConfig{sim: set, tHTTP: 10 * time.Second})
	r := l.start()
	if code, _, err := r.get("/readyz", time.Second); err != nil || code != http.StatusOK {
		t.Fatalf("/readyz before the signal: %d %v", code, err)
	}
	l.supply(l.packs(8))
	// At NMVS, not merely opened: a drain takes back at once what was not yet sent.
	eventually(t, 20*time.Second, "a call is in flight", func() error {
		if l.calls("G120") == 0 {
			return fmt.Errorf("none")
		}
		return nil
	})
	r.signal(syscall.SIGTERM)
	eventually(t, time.Second, "/readyz is red", func() error {
		code, b, err := r.get("/readyz", time.Second)
		if err == nil && (code != http.StatusServiceUnavailable || !strings.Contains(string(b), "draining")) {
			err = fmt.Errorf("%d %s", code, b)
		}
		return err
	})
	if code, _, err := r.get("/livez", time.Second); err != nil || code != http.StatusOK {
		t.Errorf("/livez during the drain: %d %v", code, err)
	}
	if code := r.waitEnd(15 * time.Second); code != exitFine {
		t.Errorf("exit code %d", code)
	}
}

// TestProfilesAreServedOnHTTPDebugOnly: not beside the metrics, which others may read.
func TestProfilesAreServedOnHTTPDebugOnly(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := l.launch(exe, "BE_DECOM=1", "DECOM_HTTP_DEBUG=127.0.0.1:0")
	r.serving()
	if code, _, err := r.get("/debug/pprof/", time.Second); err != nil || code != http.StatusNotFound {
		t.Errorf("http.listen serves profiles: %d %v", code, err)
	}
	for line := range strings.Lines(r.log()) {
		var m struct{ Msg, Debug string }
		if json.Unmarshal([]byte(line), &m) == nil && m.Msg == "decom is running" {
			r.addr = m.Debug
		}
	}
	if code, b, err := r.get("/debug/pprof/goroutine?debug=1", 5*time.Second); err != nil || code != http.StatusOK || !strings.Contains(string(b), "goroutine profile") {
		t.Errorf("http.debug: %d %v", code, err)
	}
	if code, _, err := r.get("/metrics", time.Second); err != nil || code != http.StatusNotFound {
		t.Errorf("http.debug serves more than profiles: %d %v", code, err)
	}
	away := inProcess(t, nil, "", "config", "check", "--config", l.config(), "--set", "http.debug=0.0.0.0:6060")
	if away.code != exitConfig || !strings.Contains(away.stderr, "loopback") {
		t.Errorf("http.debug for everybody: exit %d, %s", away.code, away.stderr)
	}
}
