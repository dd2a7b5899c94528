package main

import (
	"bufio"
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
	"decom/worker/packstate/packstatetest"
)

// clinic is a healthy installation for the doctor: real servers as in production, the
// simulator behind mutual TLS, streams set up.
type clinic struct {
	*line
	monitor string
}

func newClinic(t *testing.T) *clinic {
	t.Helper()
	monitor := freeAddress("")
	out := &outside{
		nats:  queuetest.StartServer(t, queuetest.ServerConfig{SyncAlways: true, Extra: fmt.Sprintf("http: %q", monitor)}),
		redis: packstatetest.StartRedis(t, packstatetest.RedisOptions{AOF: true, Args: []string{"--databases", "64"}}),
	}
	c := &clinic{newLine(t, out, lineConfig{}), "http://" + monitor}
	text, err := os.ReadFile(c.config())
	if err != nil {
		t.Fatal(err)
	}
	write(t, c.dir, "decom.yaml", strings.ReplaceAll(string(text), ": "+lineTHold.String(), ": 20m")) // a line's is for tests only
	conn, err := queue.Connect(t.Context(), queue.Config{URL: out.nats.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Setup(t.Context(), []queue.Account{{Name: c.account, Sites: []string{c.site()}}}, false); err != nil {
		t.Fatal(err) // with the production's ack wait, which the line had shortened
	}
	return c
}

// examine runs decom doctor --json and returns its report.
func (c *clinic) examine(t *testing.T, env []string, args ...string) (doctorReport, result) {
	t.Helper()
	args = append([]string{"doctor", "--json", "--config", c.config(), "--nats-monitor", c.monitor}, args...)
	r := inProcess(t, env, "", args...)
	var report doctorReport
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("%v: %v\n%s\n%s", args, err, r.stdout, r.stderr)
	}
	return report, r
}

// find returns the finding of a check, and of what it is about if on is given.
func (r doctorReport) find(check, on string) (finding, bool) {
	for _, f := range r.Checks {
		if f.Check == check && strings.Contains(f.On, on) {
			return f, true
		}
	}
	return finding{}, false
}

// expect holds one finding against what a cause must lead to.
func (r doctorReport) expect(t *testing.T, check, on string, want level, says string) {
	t.Helper()
	for _, f := range r.Checks {
		if f.Check != check || !strings.Contains(f.On, on) || f.Level != want || !strings.Contains(f.Message.EN, says) {
			continue
		}
		if want != levelOK && (f.Do == nil || f.Do.EN == "" || f.Do.FR == "") {
			t.Errorf("%s %s does not say what to do", check, on)
		}
		if f.Message.FR == "" {
			t.Errorf("%s %s has no French", check, on)
		}
		return
	}
	t.Errorf("no finding %s %s %s that says %q; there are:\n%s", want, check, on, says, r.text())
}

func (r doctorReport) text() string {
	var b strings.Builder
	for _, f := range r.Checks {
		fmt.Fprintf(&b, "%s %s %s: %s\n", f.Level, f.Check, f.On, f.Message.EN)
	}
	return b.String()
}

// natsAPI asks the JetStream API over a plain connection.
func natsAPI(t *testing.T, url, subject, body string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "nats://"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "CONNECT {\"verbose\":false}\r\nSUB answer 1\r\nPUB $JS.API.%s answer %d\r\n%s\r\n", subject, len(body), body)
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		if strings.HasPrefix(line, "MSG ") {
			answer, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			return answer
		}
	}
}

func mustAPI(t *testing.T, url, subject, body string) {
	t.Helper()
	if answer := natsAPI(t, url, subject, body); strings.Contains(answer, `"error"`) {
		t.Fatalf("%s: %s", subject, answer)
	}
}

// TestDoctorIsGreenWhenAllIsWell: every check is ok, alone and beside a worker, in both
// languages; and NMVS has seen no login and no pack.
func TestDoctorIsGreenWhenAllIsWell(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	green := func(report doctorReport, r result) {
		t.Helper()
		if r.code != exitFine {
			t.Errorf("exit code %d: %s", r.code, r.stderr)
		}
		for _, f := range report.Checks {
			if f.Level != levelOK && f.Check != "dir.space" { // of this machine's disk
				t.Errorf("%s %s %s: %s", f.Level, f.Check, f.On, f.Message.EN)
			}
		}
	}
	report, r := c.examine(t, nil)
	green(report, r)
	for _, check := range []string{"config", "dir.write", "dir.space", "files.limit", "worker", "nats.server", "nats.sync", "nats.latency", "nats.clock",
		"nats.streams", "nats.capture", "nats.unrouted", "redis.server", "redis.persistence", "redis.latency",
		"nmvs.hold", "nmvs.tcp", "nmvs.certificate", "nmvs.tls", "nmvs.clock", "nmvs.ping"} {
		if _, ok := report.find(check, ""); !ok {
			t.Errorf("%s was not checked", check)
		}
	}
	for _, svc := range []string{"single", "bulk", "mixed", "support"} {
		report.expect(t, "nmvs.ping", "/"+svc, levelOK, "")
	}
	if calls := c.sim.Counts().Calls; len(calls) == 0 || calls["G482"] != 0 || calls["G110"]+calls["G120"] != 0 {
		t.Errorf("without --login NMVS saw %v", calls)
	}
	report, r = c.examine(t, nil, "--login")
	green(report, r)
	report.expect(t, "nmvs.login", c.account, levelOK, "accepted")
	if n := c.sim.Counts().Calls["G482"]; n != 1 {
		t.Errorf("--login made %d calls, want 1", n)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := c.launch(exe, "BE_DECOM=1")
	run.serving()
	report, r = c.examine(t, nil, "--set", "http.listen="+run.addr)
	green(report, r)
	report.expect(t, "worker", run.addr, levelOK, "runs since")
	text := inProcess(t, nil, "", "doctor", "--config", c.config(), "--nats-monitor", c.monitor, "--lang", "fr")
	if text.code != 0 || !strings.Contains(text.stdout, "ok   nats.sync: chaque écriture va au disque") {
		t.Errorf("French: exit %d\n%s", text.code, text.stdout)
	}
	if lines := strings.Count(text.stdout, "\n"); lines < 20 || lines != strings.Count(text.stdout, "ok   ")+strings.Count(text.stdout, "warn ")+1 {
		t.Errorf("not one line a check:\n%s", text.stdout)
	}
}

// TestDoctorFindsWhatIsWrongHere produces each fault of the configuration and machine.
func TestDoctorFindsWhatIsWrongHere(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	report, r := c.examine(t, []string{"DECOM_NATS_ULR=nats://x"})
	report.expect(t, "config", "", levelWarn, "DECOM_NATS_ULR is set, but there is no such key")
	if r.code != exitFine {
		t.Errorf("an unknown variable fails: exit %d", r.code)
	}
	report, r = c.examine(t, nil, "--set", "protocol.t_send=-1s", "--set", "dir=/proc/decom")
	report.expect(t, "config", "", levelFail, "t_send")
	report.expect(t, "dir.write", "/proc/decom", levelFail, "cannot write")
	report.expect(t, "nats.streams", "", levelOK, "") // it went on
	if r.code != exitFailure || !strings.Contains(r.stderr, "checks failed") {
		t.Errorf("exit %d, stderr %q", r.code, r.stderr)
	}
	report, _ = c.examine(t, nil, "--set", "nats.urll=x")
	report.expect(t, "config", "", levelFail, "unknown key")
	report, _ = c.examine(t, nil, "--set", "dir="+filepath.Join(c.dir, "password"))
	report.expect(t, "dir.write", "password", levelFail, "no folder")
	if r := inProcess(t, nil, "", "doctor", "--config", c.config(), "--account", "nobody"); r.code != exitUsage {
		t.Errorf("an account that is not there: exit %d", r.code)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `ulimit -n 64 && exec "$0" "$@"`, exe, "doctor", "--json", "--config", c.config())
	cmd.Env = []string{"BE_DECOM=1", "HOME=" + c.dir, "PATH=" + os.Getenv("PATH")}
	out, err := cmd.Output()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != exitFailure {
		t.Errorf("with 64 files: %v", err)
	}
	report = doctorReport{}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
	report.expect(t, "files.limit", "", levelFail, "64 open files")
}

func TestDoctorJudgesSpaceClocksAndExpiry(t *testing.T) {
	last := func(f func(*doctor)) level {
		var d doctor
		f(&d)
		return d.findings[len(d.findings)-1].Level
	}
	for free, want := range map[uint64]level{50 << 20: levelFail, 1 << 30: levelWarn, 100 << 30: levelOK} {
		if got := last(func(d *doctor) { d.space("x", free) }); got != want {
			t.Errorf("%d bytes free: %s, want %s", free, got, want)
		}
	}
	for _, tc := range []struct {
		skew, sure, wrong time.Duration
		want              level
	}{
		{900 * time.Millisecond, 0, 5 * time.Second, levelOK}, {-2 * time.Second, 0, 5 * time.Second, levelWarn},
		{-6 * time.Second, 0, 5 * time.Second, levelFail}, {6 * time.Second, 6 * time.Second, 5 * time.Second, levelOK}, {time.Hour, 0, 0, levelWarn},
	} {
		if got := last(func(d *doctor) { d.clock("c", "", tc.skew, tc.sure, tc.wrong) }); got != tc.want {
			t.Errorf("skew %v (± %v), wrong from %v: %s, want %s", tc.skew, tc.sure, tc.wrong, got, tc.want)
		}
	}
	day := 24 * time.Hour
	for _, tc := range []struct {
		left time.Duration
		want level
		says string
	}{
		{31 * day, levelOK, ""}, {29 * day, levelWarn, "29 days"}, {13 * day, levelWarn, "soon"},
		{6 * day, levelWarn, "URGENT"}, {23 * time.Hour, levelFail, "within a day"}, {-day, levelFail, "within a day"},
	} {
		var d doctor
		d.expiry("c", "", time.Now().Add(tc.left+time.Minute), tr("x", "x"))
		if f := d.findings[0]; f.Level != tc.want || !strings.Contains(f.Message.EN, tc.says) {
			t.Errorf("%v left: %s %s", tc.left, f.Level, f.Message.EN)
		}
	}
}

// TestDoctorAsksTheProcessWithTheEmbeddedServers: without it the streams cannot be looked
// at, and it says so; with it they are.
func TestDoctorAsksTheProcessWithTheEmbeddedServers(t *testing.T) {
	t.Parallel()
	p := metricProcess(t)
	name := p.cfg.src.name
	r := inProcess(t, nil, "", "doctor", "--config", name)
	if !strings.Contains(r.stdout, "ok   nats.streams") || !strings.Contains(r.stdout, "ok   nats.sync") {
		t.Errorf("beside the process:\n%s", r.stdout)
	}
	p.close()
	r = inProcess(t, nil, "", "doctor", "--config", name)
	if !strings.Contains(r.stdout, "warn nats.server embedded") || strings.Contains(r.stdout, "nats.streams") {
		t.Errorf("without the process:\n%s", r.stdout)
	}
	if !strings.Contains(r.stdout, "ok   redis.server embedded") {
		t.Errorf("embedded store:\n%s", r.stdout)
	}
}
