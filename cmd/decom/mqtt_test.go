package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"decom/queue"
	"decom/worker/packstate/packstatetest"
	"decom/worker/scan"
)

// mqttLine is a line whose decom run has NATS, and the MQTT listener, in itself. Its tests do
// not run side by side: each embedded server would like port 4222.
func mqttLine(t *testing.T) (l *line, run *decomRun, client []string) {
	t.Helper()
	for _, name := range []string{"mosquitto_pub", "mosquitto_sub"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed: apt-get install mosquitto-clients", name)
		}
	}
	l = newLine(t, startOutside(t, packstatetest.RedisOptions{}), lineConfig{})
	r := inProcess(t, nil, "", "gateway", "token", "--file", filepath.Join(l.dir, "tokens"), "--site", l.site(), "--device", "rowa-1")
	text, err := os.ReadFile(l.config())
	if err != nil {
		t.Fatal(err)
	}
	write(t, l.dir, "decom.yaml", strings.Replace(string(text), "nats: {url: \""+l.out.nats.URL+"\"}\n", "", 1)+
		"doors: {mqtt: {listen: \"127.0.0.1:0\", tokens: tokens}}\n")
	run = l.start()
	m := regexp.MustCompile(`MQTT is open","address":"127\.0\.0\.1:(\d+)"`).FindStringSubmatch(run.log())
	if m == nil {
		t.Fatalf("no MQTT:\n%s", run.log())
	}
	before := l.conn
	t.Cleanup(func() { l.conn.Close(); l.conn = before }) // the process is gone by then, and with it its server
	url, err := os.ReadFile(filepath.Join(l.dir, "worker", "nats.url"))
	if err == nil {
		l.conn, err = queue.Connect(t.Context(), queue.Config{URL: strings.TrimSpace(string(url)), KeepLost: true, AckWait: redelivered})
	}
	if err != nil {
		t.Fatal(err)
	}
	l.redeliverSoon()
	return l, run, []string{"-h", "127.0.0.1", "-p", m[1], "-V", "mqttv311", "-u", l.site() + "/rowa-1", "-P", strings.TrimSpace(r.stdout), "-q", "1"}
}

// hear collects the outcomes that mosquitto_sub is told until ctx ends.
func hear(ctx context.Context, t *testing.T, l *line, client []string) <-chan scan.Outcome {
	t.Helper()
	sub := exec.CommandContext(ctx, "stdbuf", append(append([]string{"-oL", "mosquitto_sub"}, client...), "-d", "-t", "decom/outcome/"+l.site()+"/rowa-1")...)
	pipe, err := sub.StdoutPipe()
	if err == nil {
		err = sub.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	heard, ready := make(chan scan.Outcome, 100), make(chan struct{})
	go func() {
		for sc := bufio.NewScanner(pipe); sc.Scan(); {
			var o scan.Outcome
			switch line := sc.Text(); {
			case strings.HasPrefix(line, "Subscribed"):
				close(ready)
			case strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &o) == nil:
				heard <- o
			}
		}
		_ = sub.Wait()
		close(heard)
	}()
	select {
	case <-ready:
	case <-time.After(10 * time.Second):
		t.Fatal("mosquitto_sub is not subscribed")
	}
	return heard
}

// A robot that does not know whether its event was stored sends the same one again: NMVS is
// called once, and there is one outcome.
func TestMosquittoSendsAgainAndThereIsOneOutcomeAndOneCall(t *testing.T) {
	l, _, client := mqttLine(t)
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	heard := hear(ctx, t, l, client)
	sent := l.event("rowa-1", "m1", scan.Supply, l.packs(1)[0], clean...)
	pub := func() {
		t.Helper()
		args := append(slices.Clone(client), "-t", "decom/scan/"+l.site()+"/rowa-1", "-m", string(sent.Body))
		if out, err := exec.CommandContext(t.Context(), "mosquitto_pub", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	pub()
	pub() // before its outcome
	select {
	case o := <-heard:
		if o.EventID != "m1" || o.Result != scan.Done {
			t.Errorf("heard %+v", o)
		}
	case <-ctx.Done():
		t.Fatal("the robot is not told")
	}
	pub() // and after it
	select {
	case o, open := <-heard:
		if open {
			t.Errorf("told twice: %+v", o)
		}
	case <-time.After(2 * time.Second):
	}
	l.settled(20 * time.Second)
	l.judge()
	l.expectCalls("G120", 1)
}

// What a device publishes to a topic of nobody's, or of another device's, is shown wherever
// people look.
func TestALostMQTTTopicIsShownWhereverPeopleLook(t *testing.T) {
	l, run, client := mqttLine(t)
	for _, topic := range []string{"/decom/scan/" + l.site() + "/rowa-1", "decom/scan/" + l.site() + "/rowa-2"} {
		if out, err := exec.CommandContext(t.Context(), "mosquitto_pub", append(slices.Clone(client), "-t", topic, "-m", "{}")...).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		_, _, metrics := curl(t, "http://"+run.addr+"/metrics")
		if strings.Contains(metrics, "decom_lost_topics 2") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the metric does not say 2")
		}
	}
	for _, lang := range []string{"fr", "en"} {
		at := []string{"--config", l.config(), "--lang", lang, "--set", "http.listen=" + run.addr}
		status := inProcess(t, nil, "", append([]string{"status"}, at...)...)
		doctor := inProcess(t, nil, "", append([]string{"doctor"}, at...)...)
		for what, text := range map[string]string{"status": status.stdout, "doctor": doctor.stdout} {
			word := map[string]string{"fr": "refusés et perdus", "en": "refused and lost"}[lang]
			if !strings.Contains(text, `"/decom/scan/`+l.site()+`/rowa-1"`) || !strings.Contains(text, word) || !strings.Contains(text, `/rowa-2"`) {
				t.Errorf("%s %s:\n%s", what, lang, text)
			}
		}
		if !strings.Contains(doctor.stdout, "fail mqtt.listen 127.0.0.1:0") { // the port is unknown to another process
			t.Errorf("doctor:\n%s", doctor.stdout)
		}
	}
}

func TestTheMQTTDoorIsJudgedWithLineAndCaret(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"another server", "nats: {url: \"nats://h:1\"}\ndoors: {mqtt: {listen: \"127.0.0.1:1883\", tokens: decom.yaml}}\n", "doors.mqtt.listen: is the embedded NATS server's"},
		{"no other server", "doors: {mqtt: {outside: true}}\n", "doors.mqtt.outside: is for the server at nats.url"},
		{"no tokens", "doors: {mqtt: {listen: \"127.0.0.1:1883\"}}\n", "doors.mqtt.tokens: is missing"},
		{"no such tokens", "doors: {mqtt: {listen: \"127.0.0.1:1883\", tokens: none}}\n", "doors.mqtt.tokens: there is no file none"},
		{"address", "doors: {mqtt: {listen: \"1883\", tokens: t}}\n", "doors.mqtt.listen: \"1883\" is not host:port"},
		{"a port twice", "doors: {mqtt: {listen: \"127.0.0.1:8080\", tokens: t}}\n", "doors.mqtt.listen: \"127.0.0.1:8080\" is http.listen already"},
		{"half of TLS", "doors: {mqtt: {key_file: k}}\n", "doors.mqtt.key_file: certificate_file and key_file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, err := load(t, needQueue|needDoors, tc.text, nil, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v\nwant %s", err, tc.want)
			}
		})
	}
	if _, warnings, err := load(t, needQueue, "doors: {mqtt: {listen: \"0.0.0.0:1883\", tokens: t}}\n", nil, nil); err != nil || !strings.Contains(warnings, "in the clear") {
		t.Errorf("%v; %s", err, warnings)
	}
}
