package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"decom/nmvs"
	"decom/nmvs/sim"
	"decom/queue"
	"decom/queue/queuetest"
	"decom/worker/packstate/packstatetest"
)

// The process tests run `decom run` as it runs in a hospital: child processes against a
// real nats-server, a real redis-server, and the simulator behind mutual TLS. A line is
// one account with all that it needs.

// outside is the pair of servers that lines share: each line has its own account, site
// and Redis database, so lines do not see each other.
type outside struct {
	nats  *queuetest.Process
	redis *packstatetest.Server
	lines atomic.Int32
}

func startOutside(t *testing.T, redis packstatetest.RedisOptions) *outside {
	t.Helper()
	redis.Args = append(redis.Args, "--databases", "64")
	return &outside{nats: queuetest.StartServer(t, queuetest.ServerConfig{}), redis: packstatetest.StartRedis(t, redis)}
}

// lineConfig is what differs between lines. Zero is a fast single-pack line.
type lineConfig struct {
	mode    string        // default single
	settle  string        // default e4
	tResult time.Duration // default an hour
	idle    time.Duration // NMVS drops a connection without a request after it; default 30 s
	tHTTP   time.Duration // of a call, default lineTHTTP
	listing bool          // NMVS lists pending bulks
	rate    string        // of single calls; default 2000/s
	cert    string        // stem of the certificate's file; default client
	sim     sim.Settings
}

// The lines' waits: protocol.md section 9 in seconds. redelivery stands for AckWait.
const (
	lineTSend   = time.Second
	lineTGrace  = 1200 * time.Millisecond
	lineTHold   = 2500 * time.Millisecond
	lineTHTTP   = 1500 * time.Millisecond
	redelivered = 2 * time.Second

	listCode = "G197"
	password = "Line-Pass-2026"
)

// line is one account of one test, its simulator, and its processes.
type line struct {
	t       *testing.T
	out     *outside
	cfg     lineConfig
	account string
	dir     string
	pki     *sim.PKI
	sim     *sim.Sim
	nmvs    *nmvsServer
	conn    *queue.Conn
	kids    atomic.Int32
	want    map[string]sentScan // by event id
}

func newLine(t *testing.T, out *outside, cfg lineConfig) *line {
	t.Helper()
	n := out.lines.Add(1)
	if n > 63 {
		t.Fatal("more lines than Redis databases")
	}
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&cfg.mode, "single")
	def(&cfg.settle, "e4")
	def(&cfg.rate, "2000/s")
	def(&cfg.cert, "client")
	if cfg.tResult == 0 {
		cfg.tResult = time.Hour
	}
	if cfg.tHTTP == 0 {
		cfg.tHTTP = lineTHTTP
	}
	if cfg.idle == 0 {
		cfg.idle = 30 * time.Second
	}
	l := &line{t: t, out: out, cfg: cfg, account: fmt.Sprintf("line%d", n), dir: t.TempDir(), want: map[string]sentScan{}}
	l.startNMVS()
	var err error
	l.conn, err = queue.Connect(t.Context(), queue.Config{URL: out.nats.URL, Name: "test-" + l.account, AckWait: redelivered})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			l.tell()
		}
		l.conn.Close()
	})
	l.redeliverSoon()
	write(t, l.dir, "password", password+"\n")
	write(t, l.dir, "decom.yaml", l.yaml(n))
	return l
}

func (l *line) site() string { return "site-" + l.account }

// redeliverSoon makes what a dead process had in hand available again after seconds. Each
// process that starts sets the consumers back to a minute.
func (l *line) redeliverSoon() {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	if _, err := l.conn.Setup(ctx, []queue.Account{{Name: l.account, Sites: []string{l.site()}}}, false); err != nil {
		l.t.Fatal(err)
	}
}

func (l *line) startNMVS() {
	t := l.t
	t.Helper()
	var err error
	if l.pki, err = sim.NewPKI(l.dir, "robot01"); err != nil {
		t.Fatal(err)
	}
	set := l.cfg.sim
	if l.cfg.listing {
		set.Rules.ListCode = listCode
	}
	l.sim, err = sim.New(sim.Config{Seed: 7, PKI: l.pki, Settings: set, Accounts: []sim.Account{
		{ClientLoginID: "FR-LINE", UserID: "robot01", Password: password},
	}})
	if err != nil {
		t.Fatal(err)
	}
	conf, err := l.pki.ServerConfig(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	l.nmvs = &nmvsServer{t: t, handler: l.sim.Handler(), tls: conf, idle: l.cfg.idle, addr: "127.0.0.1:0"}
	l.nmvs.up()
	t.Cleanup(func() {
		l.sim.Close()
		l.nmvs.down()
	})
}

func (l *line) yaml(db int32) string {
	var b strings.Builder
	fmt.Fprintf(&b, "dir: worker\nnats: {url: %q}\nredis: {url: %q}\n", l.out.nats.URL, l.redisURL(db))
	b.WriteString("nmvs:\n  endpoints:\n")
	for _, svc := range nmvs.Services() {
		fmt.Fprintf(&b, "    %s: https://%s%s\n", svc, l.nmvs.addr, sim.Path(svc, 5))
	}
	fmt.Fprintf(&b, "  ca: ca.pem\nprotocol:\n  settle: %s\n  t_send: %s\n  t_reuse: 300ms\n  t_http_single: %s\n  t_http_bulk: %s\n",
		l.cfg.settle, lineTSend, l.cfg.tHTTP, l.cfg.tHTTP)
	fmt.Fprintf(&b, "  t_grace: %s\n  t_hold_single: %s\n  t_hold_bulk: %s\n  t_result: %s\n", lineTGrace, lineTHold, lineTHold, l.cfg.tResult)
	fmt.Fprintf(&b, "accounts:\n  - name: %s\n    sites: [%s]\n    client_login_id: FR-LINE\n    user_id: robot01\n", l.account, l.site())
	fmt.Fprintf(&b, "    password_file: password\n    certificate: %s.p12\n    passphrase_file: passphrase\n", l.cfg.cert)
	fmt.Fprintf(&b, "    mode: %s\n    limits: {single: %s, bulk: 200/s, parallel: 8, batch: 50}\n", l.cfg.mode, l.cfg.rate)
	if l.cfg.listing {
		fmt.Fprintf(&b, "    pending_list_code: %s\n", listCode)
	}
	b.WriteString("http: {listen: \"127.0.0.1:0\"}\nlog: {level: info, format: json}\n")
	return b.String()
}

func (l *line) redisURL(db int32) string { return fmt.Sprintf("redis://%s/%d", l.out.redis.Addr(), db) }

func (l *line) config() string { return filepath.Join(l.dir, "decom.yaml") }

// nmvsServer serves the simulator. Unlike sim.Start it can go away and come back at the
// same address, and drops idle connections soon.
type nmvsServer struct {
	t       *testing.T
	handler http.Handler
	tls     *tls.Config
	idle    time.Duration
	addr    string
	srv     *http.Server
}

func (n *nmvsServer) up() {
	n.t.Helper()
	var ln net.Listener
	var err error
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if ln, err = net.Listen("tcp", n.addr); err == nil {
			break
		}
		if time.Now().After(deadline) {
			n.t.Fatal(err)
		}
	}
	n.addr = ln.Addr().String()
	n.srv = &http.Server{Handler: n.handler, ReadHeaderTimeout: n.idle, IdleTimeout: n.idle, ErrorLog: discardLog()}
	go func(srv *http.Server) {
		if err := srv.Serve(tls.NewListener(ln, n.tls)); !errors.Is(err, http.ErrServerClosed) {
			n.t.Errorf("the simulator's server: %v", err)
		}
	}(n.srv)
}

// down closes the listener and every connection: dials are refused.
func (n *nmvsServer) down() { _ = n.srv.Close() }

// crashBuild is the binary with -tags crash, built once per test run. A test cannot
// remove it, because others use it, so each run removes what runs before it left.
func crashBuild() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "decom-test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	old, _ := filepath.Glob(filepath.Join(dir, "decom-crash-*")) // the pattern is well formed
	for _, name := range old {
		if st, err := os.Stat(name); err == nil && time.Since(st.ModTime()) > time.Hour {
			_ = os.Remove(name)
		}
	}
	bin := filepath.Join(dir, fmt.Sprintf("decom-crash-%d", os.Getpid()))
	return bin, goBuild(bin)
}
