package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"decom/queue/queuetest"
)

func TestPublishOverTheNetworkLosesNoLineWhenTheServerIsKilled(t *testing.T) {
	srv := queuetest.StartServer(t, queuetest.ServerConfig{Extra: "authorization { user: gateway, password: \"pass word\" }"})
	dir := t.TempDir()
	write(t, dir, "pw", "pass word\n")
	config := write(t, dir, "decom.yaml", "nats:\n  url: "+srv.URL+"\n  user: gateway\n  password_file: pw\n"+minimal)

	if r := inProcess(t, nil, "", "setup", "--config", config, "--set", "nats.password=wrong"); r.code != exitConfig || !strings.Contains(r.stderr, "refused the credentials") {
		t.Errorf("wrong password: %+v", r)
	}
	scans := write(t, dir, "scans.txt", packText+"\n")
	start := time.Now()
	r := inProcess(t, nil, "", "publish", scans, "--site", "nord", "--device", "d", "--config", config)
	if r.code != exitFailure || !strings.Contains(r.stderr, "decom setup") || !strings.Contains(r.stdout, "0 stored") {
		t.Errorf("no stream, after %s: %+v", time.Since(start), r)
	}
	if r := inProcess(t, nil, "", "setup", "--config", config); r.code != 0 {
		t.Fatal(r)
	}

	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var out syncBuffer
	a := &app{stdin: in, stdout: &out, stderr: &out}
	done := make(chan int)
	go func() {
		done <- execute(t.Context(), a, []string{"publish", "--site", "nord", "--device", "d", "--json", "--config", config})
	}()
	for n, act := range []func(){func() {}, srv.Kill, func() {}} {
		act()
		if _, err := io.WriteString(feed, packText+"\n"); err != nil {
			t.Fatal(err)
		}
		if n == 1 { // the line is on its way to a server that is not there
			time.Sleep(100 * time.Millisecond)
			srv.Start()
		}
		want := `"line":` + string(rune('1'+n)) + `,"ok":true`
		for deadline := time.Now().Add(20 * time.Second); !strings.Contains(out.String(), want); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("no %s in:\n%s", want, &out)
			}
		}
	}
	feed.Close()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d: %s", code, &out)
	}
}

func TestEmbeddedQueueOfAnotherFolderIsAnother(t *testing.T) {
	dir := t.TempDir()
	config := write(t, dir, "decom.yaml", "dir: here\n"+minimal)
	if r := inProcess(t, nil, "", "setup", "--config", config); r.code != 0 {
		t.Fatal(r)
	}
	if _, err := os.Stat(filepath.Join(dir, "here", "nats", "jetstream")); err != nil {
		t.Error(err)
	}
	if r := inProcess(t, nil, "", "setup", "--config", config, "--set", "dir=there", "--dry-run"); !strings.Contains(r.stdout, "DECOM_SCANS: created") {
		t.Errorf("%+v", r)
	}
}
