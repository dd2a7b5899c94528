package queue_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"decom/queue"

	"github.com/nats-io/nats.go"
)

// mosquitto returns the MQTT client of another make, or skips.
func mosquitto(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: apt-get install mosquitto-clients", name)
	}
	return path
}

// mqttServer is an embedded server with MQTT: each device's password is its name backwards.
func mqttServer(t *testing.T) (c *queue.Conn, log func() string) {
	t.Helper()
	var mu sync.Mutex
	var lines strings.Builder
	c = connect(t, queue.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0", OnLog: func(_, text string) {
		mu.Lock()
		defer mu.Unlock()
		lines.WriteString(text + "\n")
	}, MQTT: &queue.MQTT{Listen: "127.0.0.1:0", Allow: func(user, password string) (string, string, bool) {
		site, device, ok := strings.Cut(user, "/")
		return site, device, ok && password == "pw-"+device
	}}})
	if _, err := c.Setup(t.Context(), []queue.Account{{Name: "chu", Sites: []string{"nord"}}}, false); err != nil {
		t.Fatal(err)
	}
	return c, func() string { mu.Lock(); defer mu.Unlock(); return lines.String() }
}

func login(c *queue.Conn, device string) []string {
	host, port, _ := strings.Cut(c.MQTTAddress(), ":")
	return []string{"-h", host, "-p", port, "-V", "mqttv311", "-u", "nord/" + device, "-P", "pw-" + device, "-i", device}
}

func pub(t *testing.T, c *queue.Conn, device, topic, body string, more ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	args := append(login(c, device), "-q", "1", "-t", topic, "-m", body)
	out, err := exec.CommandContext(ctx, mosquitto(t, "mosquitto_pub"), append(args, more...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// lost waits until want topics are lost.
func lost(t *testing.T, c *queue.Conn, want int) []queue.LostTopic {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		list, err := c.Lost(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(list) >= want || time.Now().After(deadline) {
			return list
		}
	}
}

func TestAnMQTTPublishIsAScanOfItsDevice(t *testing.T) {
	t.Parallel()
	c, log := mqttServer(t)
	if err := pub(t, c, "rowa-1", "decom/scan/nord/rowa-1", `{"id":"e1"}`); err != nil {
		t.Fatal(err, log())
	}
	ds, err := c.Scans("chu").Fetch(t.Context(), 10, time.Second, 0)
	if err != nil || len(ds) != 1 || string(ds[0].Data()) != `{"id":"e1"}` || ds[0].Meta().Site != "nord" || ds[0].Meta().Device != "rowa-1" {
		t.Fatalf("%v %v", ds, err)
	}
	// A resend, with DUP, is stored as another copy; the id makes it the same scan.
	d := dialDevice(t, c, "rowa-1")
	d.publish("rowa-1", `{"id":"e1"}`, true)
	if ds, err = c.Scans("chu").Fetch(t.Context(), 10, time.Second, 0); err != nil || len(ds) != 1 || string(ds[0].Data()) != `{"id":"e1"}` {
		t.Fatalf("sent again: %v %v", ds, err)
	}
	if list := lost(t, c, 0); len(list) != 0 {
		t.Errorf("lost: %v", list)
	}
}

func TestAnMQTTTopicThatNobodyTakesIsShownAsItWasWritten(t *testing.T) {
	t.Parallel()
	c, log := mqttServer(t)
	topics := []string{"/decom/scan/nord/rowa-1", "decom.scan.nord.rowa-1", "decom//scan/nord/rowa-1", "Decom/scan/nord/rowa-1", "scan/nord/rowa-1", "decom/scan"}
	for _, topic := range topics {
		if err := pub(t, c, "rowa-1", topic, `{"id":"e1"}`); err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
	}
	list := lost(t, c, len(topics))
	for _, topic := range topics {
		if !slices.Contains(list, queue.LostTopic{Topic: topic, Events: 1}) {
			t.Errorf("%s is not shown", topic)
		}
	}
	if len(list) != len(topics) {
		t.Errorf("%v\n%s", list, log())
	}
}

// The server answers a refused publish with PUBACK: a robot believes that all is well.
func TestAForeignTopicIsRefusedAndShown(t *testing.T) {
	t.Parallel()
	c, log := mqttServer(t)
	refused := []string{"decom/scan/nord/rowa-2", "decom/scan/sud/rowa-1", "decom/scan/nord", "decom/scan/nord/rowa-1/x", "decom/ledger/chu", "decom/outcome/nord/rowa-1", "$JS/API/STREAM/PURGE/DECOM_SCANS", "anything/else"}
	for _, topic := range refused {
		if err := pub(t, c, "rowa-1", topic, `{"id":"e1"}`); err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
	}
	list := lost(t, c, len(refused))
	for _, topic := range refused {
		if !slices.Contains(list, queue.LostTopic{Topic: topic, Device: "nord/rowa-1", Events: 1}) {
			t.Errorf("%s is not shown as refused", topic)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if ds, err := c.Scans("chu").Fetch(ctx, 10, 300*time.Millisecond, 0); len(ds) != 0 {
		t.Errorf("%d scans came through: %v", len(ds), err)
	}
	in, err := c.Inspect(t.Context(), []queue.Account{{Name: "chu", Sites: []string{"nord"}}}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range in.Streams {
		if s.Messages != 0 {
			t.Errorf("%s has %d messages", s.Name, s.Messages)
		}
	}
	if len(in.Captures) != 0 {
		t.Errorf("captures: %v", in.Captures)
	}
	if t.Failed() {
		t.Logf("%v\n%s", list, log())
	}
}

func TestAnMQTTClientMustSayWhoItIs(t *testing.T) {
	t.Parallel()
	c, _ := mqttServer(t)
	host, port, _ := strings.Cut(c.MQTTAddress(), ":")
	for _, who := range [][]string{nil, {"-u", "nord/rowa-1"}, {"-u", "nord/rowa-1", "-P", "wrong"}, {"-u", "nord/*", "-P", "pw-x"}, {"-u", "decom", "-P", ""}} {
		args := append([]string{"-h", host, "-p", port, "-q", "1", "-t", "decom/scan/nord/rowa-1", "-m", "x"}, who...)
		out, err := exec.CommandContext(t.Context(), mosquitto(t, "mosquitto_pub"), args...).CombinedOutput()
		if err == nil {
			t.Errorf("%v was let in", who)
		} else if !strings.Contains(strings.ToLower(string(out)), "not authori") {
			t.Errorf("%v: %s", who, out)
		}
	}
	// NATS clients are let in on the loopback address, as without MQTT.
	other, err := queue.Connect(t.Context(), queue.Config{URL: c.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.PublishScan(t.Context(), "nord", "d", "e", []byte("{}")); err != nil {
		t.Error(err)
	}
}

func TestADeviceHearsItsOwnOutcomesOnly(t *testing.T) {
	t.Parallel()
	c, log := mqttServer(t)
	sub := func(topic string) (string, error) {
		args := append(login(c, "rowa-1"), "-q", "1", "-t", topic, "-W", "2", "-C", "1")
		args[len(login(c, "rowa-1"))-1] = "sub-" + strings.NewReplacer("/", "-", "+", "p", "#", "h").Replace(topic)
		out, err := exec.CommandContext(t.Context(), mosquitto(t, "mosquitto_sub"), args...).CombinedOutput()
		return string(out), err
	}
	other, err := nats.Connect(c.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var wg sync.WaitGroup
	var mu sync.Mutex
	heard := map[string]string{}
	for _, topic := range []string{"decom/outcome/nord/rowa-1", "decom/outcome/nord/rowa-2", "decom/outcome/#", "decom/scan/+/+", "#", "$MQTT/sub/#", "$JS/API/#"} {
		wg.Go(func() {
			text, _ := sub(topic)
			mu.Lock()
			defer mu.Unlock()
			heard[topic] = text
		})
	}
	for range 10 {
		time.Sleep(150 * time.Millisecond)
		for _, device := range []string{"rowa-1", "rowa-2"} {
			if err := other.Publish("decom.outcome.nord."+device, []byte(device)); err != nil {
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
	for topic, text := range heard {
		own := topic == "decom/outcome/nord/rowa-1"
		if own != (strings.TrimSpace(text) == "rowa-1") || !own && strings.Contains(text, "rowa-2") {
			t.Errorf("%s heard %q", topic, text)
		}
	}
	if t.Failed() {
		t.Log(log())
	}
}

// hears runs mosquitto_sub until it was told n outcomes, or seconds are over.
func hears(t *testing.T, c *queue.Conn, qos, id string, n, seconds int, more ...string) []string {
	t.Helper()
	args := append(login(c, "rowa-1"), "-q", qos, "-t", "decom/outcome/nord/rowa-1", "-W", strconv.Itoa(seconds), "-C", strconv.Itoa(n))
	args[len(login(c, "rowa-1"))-1] = id
	out, _ := exec.CommandContext(t.Context(), mosquitto(t, "mosquitto_sub"), append(args, more...)...).CombinedOutput()
	return strings.Fields(string(out))
}

// subscribes opens a session of QoS 1 that outlives its connection, and leaves.
func subscribes(t *testing.T, c *queue.Conn, id string) {
	t.Helper()
	args := append(login(c, "rowa-1"), "-q", "1", "-c", "-E", "-t", "decom/outcome/nord/rowa-1", "-W", "20")
	args[len(login(c, "rowa-1"))-1] = id
	if out, err := exec.CommandContext(t.Context(), mosquitto(t, "mosquitto_sub"), args...).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_sub: %v %s", err, out)
	}
}

// TestOutcomesWaitForADeviceThatIsAway: mosquitto with a session that stays is told what
// was decided while it was away, each outcome once, and nothing again; repeating an outcome,
// as after an answer that was lost, tells it no second time.
func TestOutcomesWaitForADeviceThatIsAway(t *testing.T) {
	t.Parallel()
	c, log := mqttServer(t)
	tell := func(ids ...string) {
		t.Helper()
		for _, id := range ids {
			if _, err := c.PublishOutcome(t.Context(), "nord", "rowa-1", id, "chu/1/0", []byte(id)); err != nil {
				t.Fatal(err, log())
			}
		}
	}
	tell("nobody-was-there") // no session yet: kept in DECOM_OUTCOMES only
	subscribes(t, c, "stays")
	tell("a", "b", "a")
	// In any order: what was on its way to a connection that just ended comes again after the server's 30 s.
	if got := hears(t, c, "1", "stays", 2, 90, "-c"); !slices.Equal(slices.Sorted(slices.Values(got)), []string{"a", "b"}) {
		t.Errorf("told %v, want a and b\n%s", got, log())
	}
	for _, next := range []string{"c", "d"} {
		tell(next)
		if got := hears(t, c, "1", "stays", 1, 90, "-c"); !slices.Equal(got, []string{next}) { // an older one would come first
			t.Errorf("told %v, want %s", got, next)
		}
	}
	out := map[string]bool{}
	if err := c.Outcomes(t.Context(), queue.OutcomeFilter{}, func(o queue.StoredOutcome) error { out[o.EventID] = true; return nil }); err != nil || len(out) != 5 {
		t.Errorf("stored: %v %v", out, err)
	}
}

// TestADeviceThatListensIsToldOnceWhateverItsQoS.
func TestADeviceThatListensIsToldOnceWhateverItsQoS(t *testing.T) {
	t.Parallel()
	c, log := mqttServer(t)
	var wg sync.WaitGroup
	told := map[string][]string{}
	var mu sync.Mutex
	for _, qos := range []string{"0", "1"} {
		wg.Go(func() {
			list := hears(t, c, qos, "qos-"+qos, 5, 30)
			mu.Lock()
			defer mu.Unlock()
			told[qos] = list
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	sent := 0
	for going := true; going; { // some after both listen, however slow they are
		select {
		case <-done:
			going = false
		case <-time.After(100 * time.Millisecond):
			sent++
			if _, err := c.PublishOutcome(t.Context(), "nord", "rowa-1", fmt.Sprintf("o%d", sent), "chu/1/0", fmt.Appendf(nil, "o%d", sent)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for qos, list := range told {
		if each := slices.Compact(slices.Sorted(slices.Values(list))); len(list) != 5 || len(each) != len(list) {
			t.Errorf("QoS %s was told %v\n%s", qos, list, log())
		}
	}
}

func TestMQTTSettingsAreJudged(t *testing.T) {
	t.Parallel()
	allow := func(string, string) (string, string, bool) { return "", "", false }
	for _, tc := range []struct {
		cfg  queue.Config
		want string
	}{
		{queue.Config{URL: "nats://127.0.0.1:1", MQTT: &queue.MQTT{Listen: "127.0.0.1:1", Allow: allow}}, "a url is given"},
		{queue.Config{Dir: "x", MQTT: &queue.MQTT{Listen: "1883", Allow: allow}}, "mqtt.listen"},
		{queue.Config{Dir: "x", MQTT: &queue.MQTT{Listen: "127.0.0.1:1"}}, "who may connect"},
		{queue.Config{Dir: "x", MQTT: &queue.MQTT{Listen: "127.0.0.1:1", Allow: allow, KeyFile: "k"}}, "without its certificate"},
	} {
		if err := tc.cfg.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %s", err, tc.want)
		}
	}
	taken, _ := mqttServer(t)
	_, err := queue.Connect(t.Context(), queue.Config{Dir: t.TempDir(), MQTT: &queue.MQTT{Listen: taken.MQTTAddress(), Allow: allow}})
	if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "MQTT") {
		t.Errorf("a port that is taken: %v", err)
	}
}

// device speaks MQTT by hand: what mosquitto does not do is to send again with DUP, or to
// tell how long a PUBACK took.
type device struct {
	t    *testing.T
	conn net.Conn
}

func dialDevice(t *testing.T, c *queue.Conn, name string) *device {
	t.Helper()
	conn, err := net.Dial("tcp", c.MQTTAddress())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	d := &device{t, conn}
	body := append([]byte("\x00\x04MQTT\x04\xc2\x00\x3c"), mqttText(name)...)
	body = append(append(body, mqttText("nord/"+name)...), mqttText("pw-"+name)...)
	d.send(0x10, body)
	ack := make([]byte, 4)
	if _, err := io.ReadFull(conn, ack); err != nil || ack[3] != 0 {
		t.Fatalf("%s: CONNACK %v %v", name, ack, err)
	}
	return d
}

func mqttText(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

func (d *device) send(kind byte, body []byte) {
	packet := append(binary.AppendUvarint([]byte{kind}, uint64(len(body))), body...)
	if _, err := d.conn.Write(packet); err != nil && d.t.Context().Err() == nil {
		d.t.Error(err)
	}
}

// publish sends an event with QoS 1 and waits for its PUBACK.
func (d *device) publish(name, body string, dup bool) {
	kind := byte(0x32)
	if dup {
		kind |= 8
	}
	d.send(kind, append(append(mqttText("decom/scan/nord/"+name), 0, 1), body...))
	ack := make([]byte, 4)
	if _, err := io.ReadFull(d.conn, ack); err != nil || ack[0] != 0x40 {
		d.t.Errorf("%s: PUBACK %v %v", name, ack, err)
	}
}

// latencies is how long n PUBACKs took, sorted.
func (d *device) latencies(name string, n int) []time.Duration {
	took := make([]time.Duration, n)
	for i := range took {
		began := time.Now()
		d.publish(name, fmt.Sprintf(`{"id":"%s-%d"}`, name, i), false)
		took[i] = time.Since(began)
		time.Sleep(5 * time.Millisecond)
	}
	slices.Sort(took)
	return took
}

// One device sends without waiting for anything; another one's PUBACKs come as before. What
// they take without the flood, in the same run, is the measure: a busy machine slows both.
func TestTheFloodOfOneMQTTDeviceLeavesTheOthersLatencyAlone(t *testing.T) {
	c, _ := mqttServer(t)
	const n = 100
	desk := dialDevice(t, c, "desk")
	calm := desk.latencies("desk", n)
	robot := dialDevice(t, c, "rowa-1")
	var flood sync.WaitGroup
	sent := 0
	flood.Go(func() { _, _ = io.Copy(io.Discard, robot.conn) })
	flood.Go(func() {
		body := append(mqttText("decom/scan/nord/rowa-1"), "\x00\x01"+`{"id":"flood"}`...)
		for one := append([]byte{0x32, byte(len(body))}, body...); ; sent++ {
			if _, err := robot.conn.Write(one); err != nil {
				return // closed below
			}
		}
	})
	busy := desk.latencies("desk", n)
	_ = robot.conn.Close()
	flood.Wait()
	t.Logf("PUBACK after, median and 99th: calm %v %v, beside %d events of a flood %v %v", calm[n/2], calm[n*99/100], sent, busy[n/2], busy[n*99/100])
	ds, err := c.Scans("chu").Fetch(t.Context(), 1000, time.Second, 0)
	if flooded := len(ds) - 2*n; err != nil || flooded < n/2 {
		t.Errorf("%d events of the flood were stored: that was none: %v", flooded, err)
	} else {
		t.Logf("%d of them were let through", flooded)
	}
	// What the machine does to everybody is in both runs; without a pace the desk's events stand
	// behind thousands of the flood's, every one of them, and the median shows it, too.
	if limit := 10*calm[n/2] + 500*time.Millisecond; busy[n/2] > limit {
		t.Errorf("median %v beside a flood and %v without it, want at most %v", busy[n/2], calm[n/2], limit)
	}
	if limit := 10*calm[n*99/100] + 10*time.Second; busy[n*99/100] > limit {
		t.Errorf("99th %v beside a flood and %v without it, want at most %v", busy[n*99/100], calm[n*99/100], limit)
	}
}
