package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/queue/queuetest"
	"decom/worker/scan"
)

// TestAKillOfWhoListensToARobotLosesNothingAndTellsNothingTwice: decom listens to a robot in
// node, beside the stock system, and is killed twice: what it heard is in its spool, and NATS
// does not answer, or is away. The robot ends in the middle of a document, and says its last
// order again to who comes next.
func TestAKillOfWhoListensToARobotLosesNothingAndTellsNothingTwice(t *testing.T) {
	srv := queuetest.StartServer(t, queuetest.ServerConfig{})
	dir := t.TempDir()
	orders := make([]string, 5)
	for i := range orders {
		orders[i] = wwksOutput(i, fmt.Sprintf("SN%d", i))
	}
	type step map[string]any
	steps, err := json.Marshal([][]step{
		{{"until": "HelloRequest"}, {"send": orders[0]}, {"file": filepath.Join(dir, "first")}, {"send": orders[1] + orders[2][:50]}},
		{{"until": "HelloRequest"}, {"send": orders[1]}, {"file": filepath.Join(dir, "second")}, {"send": orders[2][:90]}, {"wait": 20}, {"send": orders[2][90:] + orders[3][:50]}},
		{{"until": "HelloRequest"}, {"send": orders[2] + orders[3] + orders[4]}},
	})
	if err != nil {
		t.Fatal(err)
	}
	robot := startScript(t, "../../queue/doors/wwks2/testdata/robot.mjs", write(t, dir, "script.json", string(steps)))
	eventually(t, 90*time.Second, "the robot's port", func() error {
		if robot.lines()[0] == "" {
			return errors.New("none")
		}
		return nil
	})
	config := write(t, dir, "decom.yaml", "nats:\n  url: "+srv.URL+"\n"+minimal+"doors:\n  wwks2:\n    - {robot: \""+
		net.JoinHostPort("127.0.0.1", robot.lines()[0])+"\", site: sud, device: rowa, mode: exit}\ndir: data\n")
	if r := inProcess(t, nil, "", "setup", "--config", config); r.code != 0 {
		t.Fatal(r.stderr)
	}
	conn, err := queue.Connect(t.Context(), queue.Config{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ids := map[string]map[string]bool{} // of the scans in the stream, by pack
	stored := func(n int) {
		t.Helper()
		eventually(t, 90*time.Second, "packs in the stream", func() error {
			ds, err := conn.Scans("chu").Fetch(t.Context(), 10, 200*time.Millisecond, 0)
			if err != nil {
				return err
			}
			for _, d := range ds {
				e, err := scan.Decode(d.Data(), d.Meta())
				if err != nil || e.Source() != "sud/rowa" {
					t.Errorf("%+v %v", e, err)
				}
				if ids[e.Scan] == nil {
					ids[e.Scan] = map[string]bool{}
				}
				ids[e.Scan][e.ID] = true
			}
			if len(ids) < n {
				return fmt.Errorf("%d of %d", len(ids), n)
			}
			return nil
		})
	}
	met := 0
	gateway := func() *exec.Cmd {
		t.Helper()
		cmd, log := child(t.Context(), t, "gateway", "--config", config), &syncBuffer{}
		cmd.Stderr = log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				t.Logf("gateway:\n%s", log)
			}
		})
		eventually(t, 90*time.Second, "decom at the robot", func() error { // so it has NATS as well, without which it does not start
			greeted := 0
			for _, line := range robot.lines() {
				greeted += strings.Count(line, "<HelloRequest")
			}
			if greeted <= met {
				return fmt.Errorf("%d greetings", greeted)
			}
			met++
			return nil
		})
		return cmd
	}
	// tell has the robot speak, and kills decom as soon as what it said is on disk.
	tell := func(cmd *exec.Cmd, file, serial string) {
		t.Helper()
		write(t, dir, file, "")
		eventually(t, 90*time.Second, serial+" in the spool", func() error {
			text, err := os.ReadFile(filepath.Join(dir, "data", "doors", "wwks2-sud-rowa.jsonl"))
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(text)) {
				var one queue.Scan
				if json.Unmarshal([]byte(line), &one) == nil && strings.Contains(string(one.Body), serial) {
					return nil
				}
			}
			return fmt.Errorf("%d bytes", len(text))
		})
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	first := gateway()
	stored(1)
	srv.Freeze()
	tell(first, "first", "SN1")
	srv.Thaw()
	second := gateway()
	stored(2)
	srv.Kill()
	tell(second, "second", "SN2")
	srv.Start()
	third := gateway()
	stored(5)
	for pack, of := range ids {
		if len(of) != 1 {
			t.Errorf("%q has the ids %v", pack, of)
		}
	}
	if len(ids) != 5 {
		t.Errorf("%d packs in the stream, want 5", len(ids))
	}
	_ = third.Process.Signal(os.Interrupt)
	if err := third.Wait(); err != nil {
		t.Errorf("stopped: %v", err)
	}
}
