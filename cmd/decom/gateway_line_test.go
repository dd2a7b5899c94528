package main

import (
	"bufio"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	httpdoor "decom/queue/doors/http"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// The fault pair of the door over the whole line: the stream's answer is lost with the
// scan stored, and without. curl sends again what it was told to, and NMVS is called once.
func TestCurlSendsAgainAndThereIsOneOutcomeAndOneCall(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	l.start()
	tokens := filepath.Join(l.dir, "tokens")
	r := inProcess(t, nil, "", "gateway", "token", "--file", tokens, "--site", l.site(), "--device", "rowa-1")
	auth := []string{"-H", "Authorization: Bearer " + strings.TrimSpace(r.stdout)}
	lossy := &lossyQueue{Conn: l.conn}
	door, err := httpdoor.New(httpdoor.Config{Listen: "127.0.0.1:0", TokensFile: tokens}, httpdoor.Deps{Queue: lossy, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := door.Listen()
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = door.Serve(t.Context(), ln) }()
	url := "http://" + ln.Addr().String()
	ps := l.packs(2)
	for i, fault := range []func(){func() { lossy.lost = 1 }, func() { lossy.failed = 1 }} {
		id := []string{"answer-lost", "not-stored"}[i]
		lossy.mu.Lock()
		fault()
		lossy.mu.Unlock()
		sent := l.event("rowa-1", id, scan.Supply, ps[i], clean...)
		post := append(auth, url+"/v1/scans", "-H", "Content-Type: application/json", "--data-binary", string(sent.Body))
		if status, headers, body := curl(t, post...); status != "503" || headers.Get("Retry-After") == "" {
			t.Fatalf("%s: %s %s", id, status, body)
		}
		time.Sleep(300 * time.Millisecond) // beyond the stream's window: a copy is stored
		for range 2 {
			if status, _, body := curl(t, post...); status != "202" {
				t.Fatalf("%s, sent again: %s %s", id, status, body)
			}
		}
	}
	// curl listens as a robot does, and is told each once.
	listen := exec.CommandContext(t.Context(), "curl", append(auth, "--silent", "--no-buffer", "--max-time", "15", url+"/v1/outcomes?after=0")...)
	pipe, err := listen.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := listen.Start(); err != nil {
		t.Fatal(err)
	}
	heard := map[string]int{}
	for sc := bufio.NewScanner(pipe); len(heard) < 2 && sc.Scan(); {
		if data, ok := strings.CutPrefix(sc.Text(), "data: "); ok {
			var o scan.Outcome
			if err := json.Unmarshal([]byte(data), &o); err != nil || o.Result != scan.Done {
				t.Errorf("%v %s", err, data)
			}
			heard[o.EventID]++
		}
	}
	_ = listen.Process.Kill()
	_ = listen.Wait()
	if heard["answer-lost"] != 1 || heard["not-stored"] != 1 {
		t.Errorf("heard %v", heard)
	}
	l.settled(20 * time.Second)
	l.judge()
	l.expectCalls("G120", 2)
}

// The door of decom run itself: a scan in, and the pack's state and outcome back.
func TestDecomRunOpensItsDoorAndTellsWhereAPackStands(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	tokens := filepath.Join(l.dir, "tokens")
	r := inProcess(t, nil, "", "gateway", "token", "--file", tokens, "--site", l.site(), "--device", "rowa-1")
	auth := []string{"-H", "Authorization: Bearer " + strings.TrimSpace(r.stdout)}
	text, _ := os.ReadFile(l.config())
	write(t, l.dir, "decom.yaml", string(text)+"doors: {http: {listen: \"127.0.0.1:0\", tokens: tokens}}\n")
	run := l.start()
	m := regexp.MustCompile(`http (127\.0\.0\.1:\d+)`).FindStringSubmatch(run.log())
	if m == nil {
		t.Fatalf("no door:\n%s", run.log())
	}
	url := "http://" + m[1]
	p := l.packs(1)[0]
	sent := l.event("rowa-1", "e1", scan.Supply, p, clean...)
	where := append(auth, "--get", url+"/v1/packs", "--data-urlencode", "code="+p.Code(), "--data-urlencode", "serial="+p.Serial())
	if status, _, body := curl(t, where...); status != "200" || !strings.Contains(body, `"known":false`) {
		t.Errorf("before: %s %s", status, body)
	}
	if status, _, body := curl(t, append(auth, url+"/v1/scans", "-d", string(sent.Body))...); status != "202" {
		t.Fatalf("%s %s", status, body)
	}
	l.settled(20 * time.Second)
	l.judge()
	if status, _, body := curl(t, where...); status != "200" || !strings.Contains(body, `"phase":"inactive","op":"supply"`) || strings.Contains(body, p.Serial()) {
		t.Errorf("after: %s %s", status, body)
	}
	if status, _, body := curl(t, "http://"+run.addr+"/metrics"); status != "200" || !strings.Contains(body, `decom_door_scans_total{door="http",result="stored",site="`+l.site()+`"} 1`) {
		t.Errorf("metrics: %s", status)
	}
	run.signal(os.Interrupt)
	if code := run.waitEnd(20 * time.Second); code != 0 {
		t.Errorf("drain: exit code %d", code)
	}
}
