package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/queue/queuetest"
	"decom/worker/scan"
)

// TestTheGatewayReceivesADeliveryByItsScannedLabel: curl scans a label while no gateway
// watches, a gateway receives it and is killed; the next one, and a scan of the label and of
// the note again, publish nothing twice and lose nothing.
func TestTheGatewayReceivesADeliveryByItsScannedLabel(t *testing.T) {
	srv := queuetest.StartServer(t, queuetest.ServerConfig{})
	dir := t.TempDir()
	text := "nats: {url: " + srv.URL + "}\n" + minimal + consolidatedSenders
	plain := write(t, dir, "plain.yaml", text)
	config := write(t, dir, "decom.yaml", text+"doors: {consolidated: [{site: nord, device: dock, delivery_notes: true}]}\n")
	file := write(t, dir, "delivery.csv", deliveryCSV())
	for _, args := range [][]string{{"setup"}, {"consolidated", "add", file, "--site", "nord", "--sender", "alloga"}} {
		if r := inProcess(t, nil, "", append(args, "--config", plain)...); r.code != 0 {
			t.Fatalf("%v: %+v", args, r)
		}
	}
	conn, err := queue.Connect(t.Context(), queue.Config{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	got := map[string]int{} // scans in the stream, by id
	fetch := func() {
		t.Helper()
		ds, err := conn.Scans("chu").Fetch(t.Context(), 100, 200*time.Millisecond, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			e, err := scan.Decode(d.Data(), d.Meta())
			if err != nil {
				t.Error(err)
			}
			got[e.ID]++
		}
	}
	published := func(n int) {
		t.Helper()
		eventually(t, 90*time.Second, "packs of the delivery in the stream", func() error {
			fetch()
			have := 0
			for id := range got {
				if strings.HasPrefix(id, "cc-") {
					have++
				}
			}
			if have < n {
				return fmt.Errorf("%d of %d", have, n)
			}
			return nil
		})
	}
	door := startGateway(t, plain, "nord", "dock") // a door, and nobody who watches
	say := func(id, text string) {
		t.Helper()
		if status, _, body := curl(t, append(door.auth(), door.url+"/v1/scans", "-H", "Idempotency-Key: "+id, "-H", "Content-Type: text/plain", "-d", text)...); status != "202" {
			t.Fatalf("%s %s", status, body)
		}
	}
	watch := func() (kill func()) {
		t.Helper()
		cmd, log := child(t.Context(), t, "gateway", "--config", config, "--set", "dir="+filepath.Join(dir, "data")), &syncBuffer{}
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		end := func(cmd *exec.Cmd) { _ = cmd.Process.Kill(); _ = cmd.Wait() }
		t.Cleanup(func() {
			end(cmd)
			if t.Failed() {
				t.Logf("gateway:\n%s", log)
			}
		})
		return func() { end(cmd) }
	}
	say("l1", "]C100"+sscc1)
	kill := watch()
	published(6)
	kill()
	say("l2", "]C100"+sscc1)
	say("n1", "BL-7")
	kill = watch()
	published(10)
	kill()
	watch()
	say("l3", "]C100"+sscc2) // a label behind everything: when it is noted, all before was read again
	eventually(t, 90*time.Second, "the last label's receipt", func() error {
		r := inProcess(t, nil, "", "consolidated", "show", "--config", plain, fileID(t, plain))
		if !strings.Contains(r.stdout, "received  "+sscc2) {
			return fmt.Errorf("%s", r.stdout)
		}
		return nil
	})
	fetch()
	for id, n := range got {
		if n != 1 {
			t.Errorf("%s is %d times in the stream", id, n)
		}
	}
	if len(got) != 10+4 {
		t.Errorf("%d different scans in the stream, want ten packs and four labels", len(got))
	}
}

func fileID(t *testing.T, config string) string {
	t.Helper()
	r := inProcess(t, nil, "", "consolidated", "ls", "--json", "--config", config)
	_, rest, _ := strings.Cut(r.stdout, `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	return id[:min(8, len(id))]
}

func TestReceivingPlacesAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"{}":                             "doors.consolidated.0.site: must be 1 to 64",
		"{site: a, device: b.c}":         "doors.consolidated.0.device: must be 1 to 64",
		"{site: a, since: -1h}":          "doors.consolidated.0.since: -1h: must not be negative",
		"{site: a}, {site: a}":           "doors.consolidated.1.device: a/ is that of doors.consolidated.0 already",
		"{site: a, delivery_note: true}": "doors.consolidated.0.delivery_note: unknown key, did you mean delivery_notes?",
	} {
		if _, _, err := load(t, needQueue|needDoors, "doors: {consolidated: ["+text+"]}\n", nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	if _, warnings, err := load(t, needQueue, "doors: {consolidated: [{site: a}]}\n", nil, nil); err != nil || !strings.Contains(warnings, "receives nothing") {
		t.Errorf("%v %s", err, warnings)
	}
}
