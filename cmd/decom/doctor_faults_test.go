package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"decom/nmvs/sim"
	"decom/queue/queuetest"
	"decom/worker/packstate/packstatetest"
)

// TestDoctorFindsWhatIsWrongWithNATS produces each fault with a real server.
func TestDoctorFindsWhatIsWrongWithNATS(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	at := func(url string) doctorReport {
		t.Helper()
		report, _ := c.examine(t, nil, "--set", "nats.url="+url)
		return report
	}
	at("nats://127.0.0.1:1").expect(t, "nats.server", "", levelFail, "not available")
	at(oldServer(t)).expect(t, "nats.server", "", levelFail, "2.9.10")
	denied := queuetest.StartServer(t, queuetest.ServerConfig{Extra: "authorization { user: u, password: secret-word }"})
	report := at(denied.URL)
	report.expect(t, "nats.server", "", levelFail, "refused the credentials")
	off := queuetest.StartServer(t, queuetest.ServerConfig{Extra: "jetstream: false"})
	at(off.URL).expect(t, "nats.server", "", levelFail, "JetStream")

	fresh := queuetest.StartServer(t, queuetest.ServerConfig{})
	report = at(fresh.URL)
	report.expect(t, "nats.streams", "DECOM_LEDGER", levelWarn, "does not exist")
	report.expect(t, "nats.sync", "", levelWarn, "another server")
	report.expect(t, "nats.capture", "", levelOK, "")
	mustAPI(t, fresh.URL, "STREAM.CREATE.EVERYTHING", `{"name":"EVERYTHING","subjects":["decom.*.>"],"storage":"memory","retention":"limits"}`)
	at(fresh.URL).expect(t, "nats.capture", "EVERYTHING", levelFail, "decom.*.>")
}

// TestDoctorFindsWhatOthersDidToTheStreams changes the streams of a healthy installation.
func TestDoctorFindsWhatOthersDidToTheStreams(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	url := c.out.nats.URL
	mustAPI(t, url, "STREAM.UPDATE.DECOM_SCANS",
		`{"name":"DECOM_SCANS","subjects":["decom.scan.>"],"storage":"file","retention":"limits","discard":"old","max_age":3600000000000,"max_bytes":1000000,"num_replicas":1,"duplicate_window":100000000}`)
	mustAPI(t, url, "CONSUMER.DELETE.DECOM_LEDGER.outbox-"+c.account, "")
	mustAPI(t, url, "CONSUMER.CREATE.DECOM_SCANS.decom-former", `{"stream_name":"DECOM_SCANS","config":{"name":"decom-former","durable_name":"decom-former","ack_policy":"explicit"}}`)
	if _, err := c.conn.PublishScan(t.Context(), "nobodys", "rowa", "x", []byte(strings.Repeat("x", 900_000))); err != nil {
		t.Fatal(err)
	}
	report, r := c.examine(t, nil)
	report.expect(t, "nats.streams", "DECOM_SCANS", levelFail, "discard is DiscardOld")
	report.expect(t, "nats.streams", "DECOM_SCANS", levelFail, "max_age is 1h")
	report.expect(t, "nats.streams", "DECOM_LEDGER/outbox-", levelWarn, "does not exist")
	report.expect(t, "nats.consumers", "", levelWarn, "decom-former")
	report.expect(t, "nats.unrouted", "nobodys", levelWarn, "1 scan(s)")
	report.expect(t, "nats.storage", "DECOM_SCANS", levelWarn, "of 976 KiB")
	if r.code != exitFailure {
		t.Errorf("exit %d", r.code)
	}
}

// oldServer speaks just enough to be taken for Debian's nats-server.
func oldServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "INFO {\"server_id\":\"OLD\",\"version\":\"2.9.10\",\"proto\":1,\"max_payload\":1048576,\"headers\":true,\"jetstream\":true}\r\nPONG\r\n")
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	return "nats://" + l.Addr().String()
}

// TestDoctorFindsWhatIsWrongWithRedis produces each fault with a real server.
func TestDoctorFindsWhatIsWrongWithRedis(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	at := func(url string) doctorReport {
		t.Helper()
		report, _ := c.examine(t, nil, "--set", "redis.url="+url)
		return report
	}
	at("redis://:hidden@127.0.0.1:1/0").expect(t, "redis.server", "redis://:***@127.0.0.1:1", levelFail, "not available")
	evicting := packstatetest.StartRedis(t, packstatetest.RedisOptions{Args: []string{"--maxmemory-policy", "allkeys-lru"}})
	at(evicting.URL()).expect(t, "redis.server", "", levelFail, "allkeys-lru")
	forgetful := packstatetest.StartRedis(t, packstatetest.RedisOptions{Args: []string{"--maxmemory", "3mb"}})
	report := at(forgetful.URL())
	report.expect(t, "redis.server", "", levelOK, "noeviction")
	report.expect(t, "redis.persistence", "", levelWarn, "no append-only file")
	at("redis://nobody:hidden-word@"+forgetful.Addr()).expect(t, "redis.server", "nobody:***@", levelFail, "user is refused")
}

// TestDoctorFindsWhatIsWrongWithNMVS produces each fault with the simulator.
func TestDoctorFindsWhatIsWrongWithNMVS(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	with := func(sets ...string) doctorReport {
		t.Helper()
		var args []string
		for _, s := range sets {
			args = append(args, "--set", s)
		}
		report, _ := c.examine(t, nil, args...)
		return report
	}
	known := with("nmvs.idle_timeout=2m", "nmvs.longest_call=1m", "protocol.t_hold_single=20m", "protocol.t_hold_bulk=24h")
	known.expect(t, "nmvs.hold", "", levelOK, "20m, is longer than what NMVS needs")
	with("nmvs.idle_timeout=15m", "nmvs.longest_call=5m", "protocol.t_hold_single=20m", "protocol.t_hold_bulk=24h").
		expect(t, "config", "", levelWarn, "protocol.t_hold_single is 20m, not more than t_send + nmvs.idle_timeout + nmvs.longest_call")
	with("nmvs.endpoints.single=https://nmvs.invalid:8443/x").expect(t, "nmvs.dns", "nmvs.invalid", levelFail, "")
	with("nmvs.endpoints.single=https://127.0.0.1:1/x").expect(t, "nmvs.tcp", "127.0.0.1:1", levelFail, "refused")
	stranger, err := sim.NewPKI(t.TempDir(), "robot01")
	if err != nil {
		t.Fatal(err)
	}
	write(t, c.dir, "other-ca.pem", string(stranger.CA))
	with("nmvs.ca="+filepath.Join(c.dir, "other-ca.pem")).expect(t, "nmvs.tls", c.account, levelFail, "not signed by nmvs.ca")
	with("nmvs.ca="+c.config()).expect(t, "nmvs.ca", "", levelFail, "no PEM")
	elsewhere, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	c.serve(t, elsewhere, c.sim.Handler())
	with("nmvs.endpoints.single=https://"+elsewhere.Addr().String()+"/x").expect(t, "nmvs.tls", elsewhere.Addr().String(), levelFail, "another name")

	cert := "accounts.0.certificate=" + c.dir + "/"
	with(cert+"foreign.p12").expect(t, "nmvs.tls", c.account, levelFail, "refuses our client certificate")
	with(cert+"expired.p12").expect(t, "nmvs.certificate", c.account, levelFail, "expired")
	with(cert+"none.p12").expect(t, "nmvs.certificate", c.account, levelFail, "none.p12")
	with("accounts.0.passphrase=wrong", cert+"client.p12").expect(t, "nmvs.certificate", c.account, levelFail, "")
	if _, err := c.pki.Issue("soon", "robot01", time.Now().AddDate(0, 0, 10)); err != nil {
		t.Fatal(err)
	}
	with(cert+"soon.p12").expect(t, "nmvs.certificate", c.account, levelWarn, "soon, valid until")

	with("nmvs.endpoints.bulk=https://"+c.nmvs.addr+"/nowhere").expect(t, "nmvs.ping", "/bulk", levelFail, "404")
	if err := c.sim.Inject(sim.Rule{Fault: sim.Fault{Kind: sim.HTTP, When: sim.Before, Status: http.StatusServiceUnavailable}}); err != nil {
		t.Fatal(err)
	}
	with().expect(t, "nmvs.ping", "", levelFail, "503")

	late, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.serve(t, late, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		c.sim.Handler().ServeHTTP(w, r)
	}))
	with("nmvs.endpoints.single=https://"+late.Addr().String()+sim.Path(0, 5)).expect(t, "nmvs.clock", late.Addr().String(), levelWarn, "off ours")
}

// serve has the simulator answer at one more address.
func (c *clinic) serve(t *testing.T, l net.Listener, h http.Handler) {
	t.Helper()
	srv := &http.Server{Handler: h, ErrorLog: discardLog()}
	go func() { // ends with Close
		if err := srv.Serve(tls.NewListener(l, c.nmvs.tls)); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("server: %v", err)
		}
	}()
	t.Cleanup(func() { _ = srv.Close() })
}

// TestDoctorTriesAWrongLoginOnce: it fails, says to repair first, and makes one call.
func TestDoctorTriesAWrongLoginOnce(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	write(t, c.dir, "password", "Wrong-Pass-2026\n")
	report, r := c.examine(t, nil, "--login")
	report.expect(t, "nmvs.login", c.account, levelFail, "refused")
	if f, _ := report.find("nmvs.login", c.account); f.Do == nil || !strings.Contains(f.Do.EN, "BEFORE any other try") {
		t.Errorf("advice: %+v", f.Do)
	}
	if n := c.sim.Counts().Calls["G482"]; n != 1 || r.code != exitFailure {
		t.Errorf("%d login calls, exit %d", n, r.code)
	}
	if strings.Contains(r.stdout+r.stderr, "Wrong-Pass-2026") {
		t.Error("the password is told")
	}
}

// TestDoctorTellsWhatTheWorkerTells, and knows a stranger at its port.
func TestDoctorTellsWhatTheWorkerTells(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	s := Status{Worker: "w#1", Accounts: []AccountStatus{{Account: c.account, Halted: true, HaltedWhy: "the ledger lost records", Parked: 3,
		Trouble: "redis: down", Services: []ServiceStatus{{Service: "bulk", Breaker: "open", Cause: "HTTP 500"}}}}}
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(s) }))
	t.Cleanup(worker.Close)
	report, r := c.examine(t, nil, "--set", "http.listen="+strings.TrimPrefix(worker.URL, "http://"))
	report.expect(t, "worker.halt", c.account, levelFail, "the ledger lost records")
	report.expect(t, "worker.review", c.account, levelWarn, "3 pack(s)")
	report.expect(t, "worker.trouble", c.account, levelWarn, "redis: down")
	report.expect(t, "worker.breaker", c.account+"/bulk", levelWarn, "HTTP 500")
	if r.code != exitFailure {
		t.Errorf("a halt does not fail: exit %d", r.code)
	}
	stranger := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(stranger.Close)
	report, _ = c.examine(t, nil, "--set", "http.listen="+strings.TrimPrefix(stranger.URL, "http://"))
	report.expect(t, "worker", "", levelWarn, "not decom")
}
