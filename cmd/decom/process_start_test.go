package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"decom/nmvs/sim"
	"decom/queue"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// saysOnce holds the end of a process that could not start: its exit code, and one
// sentence on its own line, not a stack or a list.
func (r *decomRun) saysOnce(code int, words ...string) {
	r.t.Helper()
	if got := r.waitEnd(45 * time.Second); got != code {
		r.t.Errorf("exit code %d, want %d", got, code)
	}
	text := r.log()
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, word := range words {
		if !strings.Contains(text, word) {
			r.t.Errorf("it does not say %q:\n%s", word, text)
		}
	}
	n := 0
	for _, line := range lines {
		if strings.HasPrefix(line, "decom: ") && !strings.HasPrefix(line, "decom: warning: ") {
			n++
		}
	}
	if n != 1 || strings.Contains(text, "goroutine ") {
		r.t.Errorf("%d sentences, want one:\n%s", n, text)
	}
}

func deadAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestRunThatCannotStartSaysOneSentence: a dead server is exit 75, a certificate that cannot
// work is exit 78, each before anything was taken in.
func TestRunThatCannotStartSaysOneSentence(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	type row struct {
		name, set string
		code      int
		says      []string
	}
	nats, redis := deadAddr(t), deadAddr(t)
	rows := []row{
		{"dead NATS", "DECOM_NATS_URL=nats://" + nats, exitDown, []string{"NATS is not available", nats}},
		{"dead Redis", "DECOM_REDIS_URL=redis://" + redis, exitDown, []string{"redis is not available", redis}},
		{"wrong passphrase", "DECOM_ACCOUNTS_0_PASSPHRASE_FILE=wrong", exitConfig, []string{"the passphrase is wrong"}},
	}
	inTurns(t, 3, rows, func(r row) string { return r.name }, func(t *testing.T, r row) {
		l := newLine(t, out, lineConfig{})
		write(t, l.dir, "wrong", "not-the-passphrase\n")
		l.supply(l.packs(1))
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		l.launch(exe, "BE_DECOM=1", r.set).saysOnce(r.code, r.says...)
		l.start()
		l.judge() // the scan that came meanwhile is not lost
	})
}

// TestAServerThatDoesNotSetUpIsADependencyDown: NATS lets everybody connect, but where it keeps
// its consumers stands a file, and it answers nothing about them. Both commands that set streams up say
// 75, and a supervisor tries again.
func TestAServerThatDoesNotSetUpIsADependencyDown(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	found := 0
	err := filepath.WalkDir(out.nats.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.Name() != "obs" {
			return err
		}
		found++
		if err := os.Rename(path, path+".away"); err != nil {
			return err
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
		return filepath.SkipDir
	})
	if err != nil || found == 0 {
		t.Fatalf("the server's consumers: %d folders, %v", found, err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	another := "DECOM_ACCOUNTS_0_NAME=another" // whose consumers are not there yet
	l.launch(exe, "BE_DECOM=1", another).saysOnce(exitDown, "NATS is not available", "setup")
	if r := inProcess(t, []string{another}, "", "setup", "--config", l.config()); r.code != exitDown {
		t.Errorf("decom setup: code %d\n%s", r.code, r.stderr)
	}
}

// TestACertificateThatNMVSRefusesLosesNothing: it is of another authority, which only NMVS
// can tell. The scans wait; with the right file in its place they are carried out,
// without a restart.
func TestACertificateThatNMVSRefusesLosesNothing(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{cert: "used"})
	place := func(name string) {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(l.dir, name+".p12"))
		if err != nil {
			t.Fatal(err)
		}
		write(t, l.dir, "used.p12.new", string(b))
		if err := os.Rename(filepath.Join(l.dir, "used.p12.new"), filepath.Join(l.dir, "used.p12")); err != nil {
			t.Fatal(err)
		}
	}
	place("foreign")
	r := l.start()
	l.supply(l.packs(12))
	eventually(t, 30*time.Second, "the process says why it waits", func() error {
		s, err := r.accountStatus()
		if err == nil && (s.Services[0].Breaker != "open" || !strings.Contains(s.Services[0].Cause, "certificate") || s.InFlight > 0) {
			err = fmt.Errorf("breaker %s, cause %q, %d calls in flight", s.Services[0].Breaker, s.Services[0].Cause, s.InFlight)
		}
		return err
	})
	ready(r)
	if n := l.calls("G120"); n != 0 {
		t.Errorf("%d calls passed with a foreign certificate", n)
	}
	place("client") // only now: a call that failed later would count against the new file
	l.settled(40 * time.Second)
	l.judge()
}

// TestBadInputGetsItsOutcomeAndHarmsNobody sends what a broken or hostile device may
// send through the real stream, between good scans.
func TestBadInputGetsItsOutcomeAndHarmsNobody(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	r := l.start()
	l.supply(l.packs(5))
	huge := func(n int) []byte {
		return []byte(`{"v":1,"id":"huge","scan":"` + strings.Repeat("x", n-len(`{"v":1,"id":"huge","scan":""}`)) + `"}`)
	}
	// A message of 1 MiB does not pass the server's own limit with its header; the
	// largest that passes does.
	if _, err := l.conn.PublishScan(t.Context(), l.site(), "bad", "mib", huge(1<<20)); err == nil {
		l.want["mib"] = sentScan{allowed: []string{"rejected/malformed"}}
	} else {
		t.Logf("1 MiB: %v", err)
	}
	malformed := func(device, id, wantID string, body []byte) {
		t.Helper()
		a, err := l.conn.PublishScan(t.Context(), l.site(), device, id, body)
		if err != nil {
			t.Fatal(err)
		}
		if wantID == "" {
			wantID = fmt.Sprintf("%d@DECOM_SCANS", a.Seq)
		}
		l.want[wantID] = sentScan{allowed: []string{"rejected/malformed"}}
	}
	malformed("bad", "large", "large", huge(1<<20-512))
	malformed("bad", "over", "over", huge(scan.MaxEvent+1))
	malformed("bad", "cut", "cut", []byte(`{"v":1,"id":"cut","pack":{"sch`))
	malformed("bad", "empty", "empty", nil)
	malformed("bad", "binary", "binary", []byte{0, 0xff, 0xfe, 0x1d})
	malformed("bad", "array", "array", []byte(`[1,2,3]`))
	malformed("bad", "", "", []byte(`{"v":1,"id":"née","op":"supply","scan":"x"}`))
	malformed("bad", "unknown-op", "unknown-op", []byte(`{"v":1,"id":"unknown-op","op":"explode","scan":"x"}`))
	malformed("bad", "typed", "typed", []byte(`{"v":1,"id":"typed","op":7}`))
	malformed("bad", "version", "version", []byte(`{"v":99,"id":"version","scan":"x"}`))
	malformed("bad", "deep", "deep", []byte(`{"v":1,"id":"deep","pack":`+strings.Repeat("[", 20000)+`}`))
	l.want["mangled"] = sentScan{allowed: []string{"rejected/layout", "rejected/not_a_pack", "rejected/malformed", "rejected/structure"}}
	l.publish([]queue.Scan{{Site: l.site(), Device: "bad", ID: "mangled", Body: []byte(`{"v":1,"id":"mangled","scan":"hello world"}`)}})
	l.supply(l.packs(5))
	l.judge()
	if n := l.calls("G120"); n != 10 {
		t.Errorf("%d change calls for 10 good packs", n)
	}
	ready(r)
}

// TestBrokenAnswersOfNMVSNeverCountAsDone puts every reply that cannot be trusted in the
// way of a pack of its own, once without and once with the effect.
func TestBrokenAnswersOfNMVSNeverCountAsDone(t *testing.T) {
	t.Parallel()
	out := startOutside(t, packstatetest.RedisOptions{})
	l := newLine(t, out, lineConfig{})
	kinds := []string{sim.Garbled, sim.Cut, sim.WrongEcho, sim.WrongPack, sim.SOAPFault, sim.HTTP}
	for _, kind := range kinds {
		for when, outcome := range map[string]string{sim.Before: "done", sim.After: "done/confirmed"} {
			p := l.packs(1)
			l.supply(p, outcome)
			err := l.sim.Inject(sim.Rule{Ops: []string{"G120"}, Serial: p[0].Serial(), Fault: sim.Fault{Kind: kind, When: when}})
			if err != nil {
				t.Fatal(err)
			}
		}
		l.supply(l.packs(4), "done") // so that the breaker counts no row of failures
	}
	l.start()
	l.settled(60 * time.Second)
	l.judge()
}
