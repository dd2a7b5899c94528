package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"decom/queue"
	"decom/queue/queuetest"
	"decom/worker/scan"
)

// arrivals is when the scans of one device were in the stream.
type arrivals struct {
	n  atomic.Int64
	mu sync.Mutex
	at map[string]time.Time // by serial; guarded by mu
}

func follow(t *testing.T, conn *queue.Conn, device string) *arrivals {
	a := &arrivals{at: map[string]time.Time{}}
	began, done := time.Now(), make(chan struct{})
	go func() {
		defer close(done)
		_ = conn.ReadScans(t.Context(), "nord", device, began, func(s queue.StoredScan) error {
			a.n.Add(1)
			e, err := scan.Decode(s.Body, s.Meta)
			serial := ""
			if e.Fields != nil {
				serial = e.Fields.Serial
			} else if _, rest, ok := strings.Cut(e.Scan, "0000721"); ok {
				serial, _, _ = strings.Cut(rest, "\x1d")
			}
			if err != nil || serial == "" {
				return nil
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			a.at[serial] = time.Now()
			return nil
		})
	}()
	t.Cleanup(func() { <-done })
	return a
}

// waits returns how long after since the scan with this serial was there.
func (a *arrivals) waits(t *testing.T, serial string, since time.Time) time.Duration {
	for deadline := since.Add(90 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		a.mu.Lock()
		at, there := a.at[serial]
		a.mu.Unlock()
		if there {
			return at.Sub(since)
		}
		if time.Now().After(deadline) || t.Context().Err() != nil {
			t.Errorf("%s is not in the stream", serial)
			return time.Since(since)
		}
	}
}

// tcpRobot says to each of its clients what it is told to; the channel has no room, so that
// a client that does not read stops who speaks.
type tcpRobot struct {
	ln  net.Listener
	say chan string
}

func newTCPRobot(t *testing.T) *tcpRobot {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &tcpRobot{ln, make(chan string)}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			go func() {
				defer conn.Close()
				for {
					select {
					case text := <-r.say:
						if _, err := io.WriteString(conn, text); err != nil {
							return
						}
					case <-t.Context().Done():
						return
					}
				}
			}()
		}
	}()
	return r
}

// stockSystem connects to a door in line and counts what it hears.
func stockSystem(t *testing.T, address string) *atomic.Int64 {
	t.Helper()
	var conn net.Conn
	eventually(t, 90*time.Second, "the door in line", func() (err error) {
		conn, err = net.Dial("tcp", address)
		return err
	})
	t.Cleanup(func() { _ = conn.Close() })
	heard := &atomic.Int64{}
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buf)
			heard.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	return heard
}

// floods is one gateway with two doors of each kind, at one site: one for the flood, one for
// a device that has something to say now and then.
type floods struct {
	t       *testing.T
	conn    *queue.Conn
	g       *gatewayProcess
	dir     string
	robots  map[string]*tcpRobot
	heard   *atomic.Int64 // by the calm robot's stock system
	devices map[string]*arrivals
	labels  atomic.Int64 // scanned by the flood's dock
	turn    int
}

func (f *floods) doors() string {
	place := func(device string) string { return "site: nord, device: " + device + ", mode: exit" }
	return fmt.Sprintf(`doors:
  files:
    - {folder: flood, site: nord, device: flood-folder, poll: 50ms, stable: 100ms}
    - {folder: calm, site: nord, device: calm-folder, poll: 50ms, stable: 100ms}
  wwks2:
    - {robot: %q, %s}
    - {robot: %q, %s}
    - {listen: %q, upstream: %q, %s}
    - {listen: %q, upstream: %q, %s}
  consolidated: [{site: nord}]
`, f.at("flood-robot"), place("flood-robot"), f.at("calm-robot"), place("calm-robot"),
		freeAddress(""), f.at("flood-inline"), place("flood-inline"), freeAddress(""), f.at("calm-inline"), place("calm-inline"))
}

func (f *floods) at(robot string) string { return f.robots[robot].ln.Addr().String() }

func startFloods(t *testing.T) *floods {
	srv := queuetest.StartServer(t, queuetest.ServerConfig{})
	f := &floods{t: t, dir: t.TempDir(), robots: map[string]*tcpRobot{}, devices: map[string]*arrivals{}}
	for _, name := range []string{"flood-robot", "calm-robot", "flood-inline", "calm-inline"} {
		f.robots[name] = newTCPRobot(t)
	}
	for _, sub := range []string{"flood", "calm"} {
		if err := os.Mkdir(filepath.Join(f.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	doors := f.doors()
	config := write(t, f.dir, "decom.yaml", "nats: {url: "+srv.URL+"}\n"+minimal+consolidatedSenders+doors)
	var csv strings.Builder
	csv.WriteString("gtin;série;lot;péremption;sscc;bl\r\n")
	for i := range 400 { // each in a container of its own
		fmt.Fprintf(&csv, "03400930000007;CC%d;LOT42;281100;%s;BL-7\r\n", i, label(i))
	}
	for _, args := range [][]string{{"setup"}, {"consolidated", "add", write(t, f.dir, "delivery.csv", csv.String()), "--site", "nord", "--device", "calm-goods", "--sender", "alloga"}} {
		if r := inProcess(t, nil, "", append(args, "--config", config)...); r.code != 0 {
			t.Fatalf("%v: %+v", args, r)
		}
	}
	f.g = startGateway(t, config, "nord", "calm-desk")
	var err error
	if f.conn, err = queue.Connect(t.Context(), queue.Config{URL: srv.URL}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.conn.Close)
	for _, kind := range []string{"folder", "robot", "inline"} {
		f.devices["calm-"+kind], f.devices["flood-"+kind] = follow(t, f.conn, "calm-"+kind), follow(t, f.conn, "flood-"+kind)
	}
	f.devices["calm-goods"] = follow(t, f.conn, "calm-goods")
	_, rest, _ := strings.Cut(doors, "listen: \"")
	flood, rest, _ := strings.Cut(rest, `"`)
	_, rest, _ = strings.Cut(rest, "listen: \"")
	calm, _, _ := strings.Cut(rest, `"`)
	stockSystem(t, flood)
	f.heard = stockSystem(t, calm)
	return f
}

// label is the SSCC of a made-up container.
func label(i int) string {
	s := fmt.Sprintf("03400930%09d", i)
	sum := 0
	for k, c := range s {
		sum += int(c-'0') * []int{3, 1}[k%2]
	}
	return s + string(rune('0'+(10-sum%10)%10))
}

// ask has every calm device say something, all at once, and adds how long each took.
func (f *floods) ask(took map[string]time.Duration) {
	f.turn++
	serial := fmt.Sprintf("CALM%d", f.turn)
	var mu sync.Mutex
	var all sync.WaitGroup
	probe := func(name string, wait func() time.Duration) {
		all.Go(func() {
			d := wait()
			mu.Lock()
			defer mu.Unlock()
			took[name] = max(took[name], d)
		})
	}
	probe("desk over HTTP (curl)", func() time.Duration {
		began := time.Now()
		if status, _, body := curl(f.t, append(f.g.auth(), f.g.url+"/v1/scans", "-H", "Idempotency-Key: "+serial, "-H", "Content-Type: text/plain", "-d", strings.ReplaceAll(packText, "7X4F8L2", serial))...); status != "202" {
			f.t.Errorf("%s %s", status, body)
		}
		return time.Since(began)
	})
	probe("folder", func() time.Duration {
		began := time.Now()
		write(f.t, filepath.Join(f.dir, "calm"), serial+".txt", strings.ReplaceAll(packText, "7X4F8L2", serial)+"\n")
		return f.devices["calm-folder"].waits(f.t, serial, began)
	})
	probe("robot", func() time.Duration {
		began := time.Now()
		f.robots["calm-robot"].say <- wwksOutput(f.turn, serial)
		return f.devices["calm-robot"].waits(f.t, serial, began)
	})
	probe("robot in line", func() time.Duration {
		began, order, before := time.Now(), wwksOutput(f.turn, serial), f.heard.Load()
		f.robots["calm-inline"].say <- order
		for f.heard.Load() < before+int64(len(order)) && time.Since(began) < 90*time.Second {
			time.Sleep(time.Millisecond)
		}
		d := time.Since(began)
		mu.Lock()
		took["stock system in line"] = max(took["stock system in line"], d)
		mu.Unlock()
		return f.devices["calm-inline"].waits(f.t, serial, began)
	})
	probe("label", func() time.Duration {
		began := time.Now()
		if _, err := f.conn.PublishScan(f.t.Context(), "nord", "calm-dock", "", []byte(`{"scan":"]C100`+label(f.turn)+`"}`)); err != nil {
			f.t.Error(err)
		}
		return f.devices["calm-goods"].waits(f.t, fmt.Sprintf("CC%d", f.turn), began)
	})
	all.Wait()
}

// begin starts an endless flood of one kind and returns how it is ended, when it is one.
func (f *floods) begin(kind string) (end func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	begun := f.devices["flood-"+kind]
	one := map[string]func(i int) bool{
		"folder": func(i int) bool { // a file of 5,000 lines as soon as one is done
			if left, _ := filepath.Glob(filepath.Join(f.dir, "flood", "*.txt")); len(left) > 1 {
				return true
			}
			var b strings.Builder
			for k := range 5000 {
				b.WriteString(strings.ReplaceAll(packText, "7X4F8L2", fmt.Sprintf("F%dK%d", i, k)) + "\n")
			}
			return os.WriteFile(filepath.Join(f.dir, "flood", fmt.Sprintf("%d.txt", i)), []byte(b.String()), 0o600) == nil
		},
		"labels": func(i int) bool { // that no file lists, and each asks for all of them
			scans := make([]queue.Scan, 20)
			for k := range scans {
				scans[k] = queue.Scan{Site: "nord", Device: "flood-dock", Body: []byte(`{"scan":"]C100` + label(1_000_000+20*i+k) + `"}`)}
			}
			_, err := f.conn.PublishScans(f.t.Context(), scans)
			f.labels.Add(int64(len(scans)))
			return err == nil
		},
	}[kind]
	if one == nil {
		one = func(i int) bool { // 20 orders in one packet
			var b strings.Builder
			for k := range 20 {
				b.WriteString(wwksOutput(20*i+k, fmt.Sprintf("F%dK%d", i, k)))
			}
			select {
			case f.robots["flood-"+kind].say <- b.String():
			case <-stop:
			}
			return true
		}
	}
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond): // what the network costs: this machine is also the flood's
			}
			if !one(i) {
				f.t.Errorf("the flood of %s has ended", kind)
				return
			}
		}
	}()
	eventually(f.t, 90*time.Second, "a flood of "+kind, func() error {
		if begun == nil && f.labels.Load() > 1000 || begun != nil && begun.n.Load() > 500 {
			return nil
		}
		return errors.New("not yet")
	})
	return func() { close(stop); <-done }
}

// TestTheFloodOfOneDoorLeavesTheOthersLatencyAlone: a folder that gets file upon file, a
// robot, a robot in line and a dock with labels that nobody knows, each without an end. What
// the others say is in the stream, and at the stock system, as soon as before. The bound is
// for a busy machine: a scan that stands behind such a flood comes when it ends, or never.
func TestTheFloodOfOneDoorLeavesTheOthersLatencyAlone(t *testing.T) {
	f := startFloods(t)
	calm := map[string]time.Duration{}
	f.ask(map[string]time.Duration{}) // connections and caches
	for range 2 {
		f.ask(calm)
	}
	t.Logf("calm: %v", calm)
	for _, kind := range []string{"folder", "robot", "inline", "labels"} {
		end := f.begin(kind)
		took := map[string]time.Duration{}
		for range 2 {
			f.ask(took)
		}
		end()
		t.Logf("flood of %s: %v", kind, took)
		for who, d := range took {
			if limit := 5*calm[who] + 10*time.Second; d > limit {
				t.Errorf("flood of %s: %s waited %v, %v without it, want at most %v", kind, who, d, calm[who], limit)
			}
		}
	}
	for _, kind := range []string{"folder", "robot", "inline"} {
		t.Logf("%d scans of the flood of %s in the stream", f.devices["flood-"+kind].n.Load(), kind)
	}
	t.Logf("%d labels of the flood", f.labels.Load())
}
