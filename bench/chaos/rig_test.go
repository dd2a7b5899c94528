package chaos

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"decom/nmvs"
	"decom/nmvs/sim"
	"decom/queue"
	"decom/queue/queuetest"
	"decom/worker/packstate"
	"decom/worker/packstate/packstatetest"
)

// The waits of protocol.md section 9, in seconds. T_HOLD is longer than T_SEND, NMVS's
// patience with an idle connection and the longest delay that a fault gives a request
// together (A3), or the rig itself would break the assumption that it tests upon.
const (
	tSend       = time.Second
	tHTTP       = 1200 * time.Millisecond
	tGrace      = 1500 * time.Millisecond
	tHold       = 4 * time.Second
	tResult     = 10 * time.Second
	idleNMVS    = 1500 * time.Millisecond
	lateMost    = 3 * time.Second // more than T_GRACE: whoever releases without a hold is found out
	redelivered = 2 * time.Second
)

// rig is one set of servers, proxies and workers, all of this run's own.
type rig struct {
	t     *testing.T
	dir   string // kept when the run fails
	plan  plan
	nats  []*queuetest.Process
	redis *redisSide
	sim   *simulator
	tap   *tap
	conn  *queue.Conn // past all proxies: the judge's own
	procs []*worker

	mu    sync.Mutex // guards the rest
	bad   []string   // what must not happen and did, in the order in which it was seen
	did   []string   // what the rig's person did
	again bool       // NATS was restored: scans have to be published again
}

// fault notes something that must not happen. Any goroutine may call it.
func (r *rig) fault(format string, a ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.bad) < 40 {
		r.bad = append(r.bad, fmt.Sprintf(format, a...))
	}
}

func (r *rig) sub(name string) string {
	d := filepath.Join(r.dir, name)
	if err := os.MkdirAll(d, 0o755); err != nil {
		r.t.Fatal(err)
	}
	return d
}

func newRig(t *testing.T, p plan, dir string) *rig {
	t.Helper()
	r := &rig{t: t, dir: dir, plan: p, tap: newTap()}
	r.startNATS()
	r.startRedis()
	r.sim = startSimulator(t, r.sub("sim"), p)
	r.connect()
	for i := range p.Workers {
		r.procs = append(r.procs, r.newWorker(i))
	}
	for _, w := range r.procs {
		w.start()
	}
	for _, w := range r.procs {
		if err := w.serving(40 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.redeliverSoon(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) startNATS() {
	cfg := queuetest.ServerConfig{SyncAlways: r.plan.SyncAlways, Dir: r.sub("nats0"), JetStream: "limits { default_max_consumers: -1 }"}
	if !r.plan.Cluster {
		if r.plan.uses("nats-disk-full") {
			mountSmall(r.t, cfg.Dir, "24m")
		}
		r.nats = []*queuetest.Process{queuetest.StartServer(r.t, cfg)}
		return
	}
	const n = 3
	routes, ports := make([]string, n), make([]int, n)
	for i := range n {
		ports[i] = freePort(r.t)
		routes[i] = fmt.Sprintf("nats://127.0.0.1:%d", ports[i])
	}
	for i := range n {
		c := cfg
		c.Dir = r.sub(fmt.Sprintf("nats%d", i))
		// no_advertise: a worker that learned the servers' own addresses would go round its proxies.
		c.Extra = fmt.Sprintf("server_name: n%d\ncluster { name: c, no_advertise: true, listen: \"127.0.0.1:%d\", routes: [%s] }", i, ports[i], strings.Join(routes, ", "))
		r.nats = append(r.nats, queuetest.StartServer(r.t, c))
	}
}

func (r *rig) natsURL() string {
	urls := make([]string, len(r.nats))
	for i, s := range r.nats {
		urls[i] = s.URL
	}
	return strings.Join(urls, ",")
}

// connect opens the judge's connection and sets the streams up.
func (r *rig) connect() {
	r.t.Helper()
	cfg := queue.Config{URL: r.natsURL(), Name: "judge", AckWait: redelivered, AnswerWait: 2 * time.Second}
	if r.plan.Direct || r.plan.Steady {
		cfg.AckWait = 0
	}
	if r.plan.Cluster {
		cfg.Replicas = 3
	}
	var err error
	for end := time.Now().Add(120 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(r.t.Context(), 15*time.Second+time.Duration(r.plan.Accounts)*100*time.Millisecond)
		if r.conn == nil {
			r.conn, err = queue.Connect(ctx, cfg)
		}
		if err == nil {
			_, err = r.conn.Setup(ctx, r.plan.accounts(), false)
		}
		cancel()
		if err == nil {
			break
		}
		if time.Now().After(end) { // a cluster needs a moment for its first leaders
			r.t.Fatalf("set up the streams: %v", err)
		}
	}
	r.t.Cleanup(r.conn.Close)
}

// redeliverSoon makes what a dead process had in hand available again after seconds; each
// process that starts sets the consumers back to a minute.
func (r *rig) redeliverSoon(patience time.Duration) error {
	if r.plan.Direct || r.plan.Steady {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	_, err := r.conn.Setup(ctx, r.plan.accounts(), false)
	return err
}

// simulator is `decom sim` behind a relay that drops idle connections.
type simulator struct {
	t       *testing.T
	dir     string
	control string
	listen  string
	addr    string // of the relay, which a worker's proxy leads to
	cmd     *exec.Cmd
}

func startSimulator(t *testing.T, dir string, p plan) *simulator {
	t.Helper()
	bin, err := decomBinary()
	if err != nil {
		t.Fatal(err)
	}
	s := &simulator{t: t, dir: dir, control: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	s.listen = fmt.Sprintf("127.0.0.1:%d", freePort(t))
	log, err := os.Create(filepath.Join(dir, "sim.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() // the child has its own copy
	set := sim.Settings{}
	set.AutoStock.On = true
	set.Latency = sim.Latency{Fixed: sim.Duration(2 * time.Millisecond), Jitter: sim.Duration(p.Latency)}
	set.Bulk.Delay = sim.Duration(50 * time.Millisecond)
	if p.Long {
		set.LedgerLimit = 1000
	}
	b, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "settings.json"), string(b))
	s.cmd = exec.Command(bin, "sim", "--dir", dir, "--listen", s.listen, "--control", s.control, "--seed", fmt.Sprint(p.Seed),
		"--accounts", fmt.Sprint(min(p.Accounts, 99)), "--settings", filepath.Join(dir, "settings.json"))
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(30 * time.Millisecond) {
		var v sim.Counts
		if err = s.get("/counts", &v); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the simulator does not answer: %v", err)
		}
	}
	s.addr = startRelay(t, s.listen, idleNMVS, nil).addr
	return s
}

func (s *simulator) get(path string, v any) error {
	resp, err := http.Get("http://" + s.control + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return os.ErrNotExist
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

func (s *simulator) do(method, path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, "http://"+s.control+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return nil
}

// decomBinary builds decom once for all runs, or takes the one that -bin names.
var decomBinary = sync.OnceValues(func() (string, error) {
	if *binFlag != "" {
		return filepath.Abs(*binFlag)
	}
	dir, err := os.MkdirTemp("", "decom-chaos-bin")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "decom")
	out, err := exec.Command("go", "build", "-o", bin, "decom/cmd/decom").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build decom: %w\n%s", err, out)
	}
	return bin, nil
})

// worker is one `decom run` behind its own proxies, started again when it ended because a
// server was down, as a supervisor would.
type worker struct {
	r        *rig
	name     string
	config   string
	logs     string
	natsURLs []string // by its own proxies
	clock    string   // file of the wall clock's offset; only plans with a clock step have one
	lines    struct {
		nats  []*line
		redis *line // nil with Sentinel or Cluster: clients are told the servers' own addresses
		nmvs  *line
	}

	mu       sync.Mutex // guards the rest
	cmd      *exec.Cmd
	starts   int
	expected bool // somebody ends it on purpose: the supervisor leaves it alone
	ended    chan struct{}
	frozen   bool
}

func (r *rig) newWorker(i int) *worker {
	name := fmt.Sprintf("worker%d", i)
	dir := r.sub(name)
	w := &worker{r: r, name: name, config: filepath.Join(dir, "decom.yaml"), logs: filepath.Join(dir, "log")}
	if r.plan.uses("worker-disk-full") || r.plan.uses("embedded-disk-full") {
		mountSmall(r.t, r.sub(filepath.Join(name, "data")), "1m")
	}
	if r.plan.uses("clock-step") {
		w.clock = filepath.Join(dir, "clock")
		if err := setStep(w.clock, 0); err != nil {
			r.t.Fatal(err)
		}
	}
	if r.plan.Direct {
		r.configure(w)
		r.t.Cleanup(w.stop)
		return w
	}
	for _, s := range r.nats {
		l := startLine(r.t, strings.TrimPrefix(s.URL, "nats://"))
		w.lines.nats = append(w.lines.nats, l)
		addr := l.addr()
		if !r.plan.Long {
			addr = startRelay(r.t, addr, 0, r.tap).addr
		}
		w.natsURLs = append(w.natsURLs, "nats://"+addr)
	}
	w.lines.nmvs = startLine(r.t, r.sim.addr)
	if r.redis.proxied() {
		w.lines.redis = startLine(r.t, r.redis.main.Addr())
	}
	r.configure(w)
	r.t.Cleanup(w.stop)
	return w
}

// configure writes the worker's configuration for the plan as it is now.
func (r *rig) configure(w *worker) {
	dir, redis := filepath.Dir(w.config), r.redis.yaml("")
	if r.plan.Direct {
		write(r.t, w.config, r.yaml(dir, r.natsURL(), redis, r.sim.listen))
		return
	}
	if w.lines.redis != nil {
		redis = r.redis.yaml(w.lines.redis.addr())
	}
	write(r.t, w.config, r.yaml(dir, strings.Join(w.natsURLs, ","), redis, w.lines.nmvs.addr()))
}

// yaml is a worker's configuration.
func (r *rig) yaml(dir, natsURL, redis, nmvsAddr string) string {
	var b strings.Builder
	replicas := 1
	if r.plan.Cluster {
		replicas = 3
	}
	fmt.Fprintf(&b, "dir: %q\nnats: {url: %q, replicas: %d}\nredis: %s\nnmvs:\n  endpoints:\n", filepath.Join(dir, "data"), natsURL, replicas, redis)
	for _, svc := range nmvs.Services() {
		fmt.Fprintf(&b, "    %s: https://%s%s\n", svc, nmvsAddr, sim.Path(svc, 5))
	}
	fmt.Fprintf(&b, "  ca: %q\nprotocol: {doubt: %s, settle: %s, t_send: %s, t_reuse: 300ms, t_http_single: %s, t_http_bulk: %s, t_grace: %s, t_hold_single: %s, t_hold_bulk: %s, t_result: %s, t_poll: 50ms}\naccounts:\n",
		filepath.Join(r.sim.dir, "ca.pem"), cmp.Or(r.plan.Doubt, "hold"), r.plan.Settle, tSend, tHTTP, tHTTP, tGrace, tHold, tHold, tResult)
	if r.plan.Direct { // a measurement, with production's waits
		cut := strings.Index(b.String(), "protocol: {doubt")
		text := b.String()[:cut]
		b.Reset()
		b.WriteString(text + "accounts:\n")
	}
	for i, a := range r.plan.accounts() {
		login := i%99 + 1
		fmt.Fprintf(&b, "  - {name: %s, sites: [%s], client_login_id: FR-SIM-%04d, user_id: robot%02d, password_file: %q, certificate: %q, passphrase_file: %q,\n     mode: %s, limits: {single: 2000/s, bulk: 200/s, parallel: 8, batch: 50}}\n",
			a.Name, a.Sites[0], login, login, filepath.Join(r.sim.dir, "password"), filepath.Join(r.sim.dir, "client.p12"), filepath.Join(r.sim.dir, "passphrase"), r.plan.Mode)
	}
	debug := ""
	if r.plan.Long { // the soak keeps profiles of the heap
		debug = `, debug: "127.0.0.1:0"`
	}
	b.WriteString("http: {listen: \"127.0.0.1:0\"" + debug + "}\nlog: {level: info, format: json}\n")
	return b.String()
}

// start runs the process and a supervisor for it.
func (w *worker) start() {
	build := decomBinary
	if w.clock != "" {
		build = stepBinary
	}
	bin, err := build()
	if err != nil {
		w.r.fault("%v", err)
		return
	}
	log, err := os.OpenFile(w.logs, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.r.fault("%v", err)
		return
	}
	defer log.Close() // the child has its own copy
	cmd := exec.Command(bin, "run", "--config", w.config)
	cmd.Env = []string{"HOME=" + filepath.Dir(w.config), "PATH=" + os.Getenv("PATH")}
	if w.clock != "" {
		cmd.Env = append(cmd.Env, stepEnv+"="+w.clock)
	}
	if w.r.plan.Long && !w.r.plan.Direct { // decom lets five times what it holds pile up, up to 128 MiB; a soak wants to see what it holds
		cmd.Env = append(cmd.Env, "GOGC=25", "GODEBUG="+os.Getenv("GODEBUG")) // memprofilerate=4096 for finer profiles
	}
	cmd.Stdout, cmd.Stderr = log, log
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := cmd.Start(); err != nil {
		w.r.fault("start %s: %v", w.name, err)
		return
	}
	w.cmd, w.expected, w.ended, w.frozen = cmd, false, make(chan struct{}), false
	w.starts++
	go w.watch(cmd, w.ended)
}

// exitDown is decom's exit code when a server is down at its start (contract.md).
const exitDown = 75

func (w *worker) watch(cmd *exec.Cmd, ended chan struct{}) {
	err := cmd.Wait()
	w.mu.Lock()
	expected := w.expected
	w.mu.Unlock()
	close(ended)
	if expected {
		return
	}
	if cmd.ProcessState.ExitCode() != exitDown {
		w.r.fault("LIVE: %s ended by itself: %v", w.name, err)
	}
	time.Sleep(300 * time.Millisecond)
	w.mu.Lock()
	expected = w.expected
	w.mu.Unlock()
	if !expected {
		w.start()
	}
}

// end sends a signal after which the process is to stay away, and waits for its end.
func (w *worker) end(s syscall.Signal, patience time.Duration) error {
	w.mu.Lock()
	w.expected = true
	cmd, ended := w.cmd, w.ended
	w.mu.Unlock()
	if cmd == nil {
		return nil
	}
	_ = cmd.Process.Signal(s)
	select {
	case <-ended:
		return nil
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		<-ended
		return fmt.Errorf("%s did not end within %v after %v", w.name, patience, s)
	}
}

func (w *worker) stop() { _ = w.end(syscall.SIGKILL, 10*time.Second) }

// data is the worker's own folder.
func (w *worker) data() string { return filepath.Join(filepath.Dir(w.config), "data") }

func (w *worker) signal(s syscall.Signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cmd != nil {
		_ = w.cmd.Process.Signal(s)
	}
}

func (w *worker) pid() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cmd == nil {
		return 0
	}
	return w.cmd.Process.Pid
}

// log is all that the process has said, over every start.
func (w *worker) log() string {
	b, err := os.ReadFile(w.logs)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// addr is the web server of the newest start; empty while it does not serve.
func (w *worker) addr() string {
	addr, _ := w.addrs()
	return addr
}

// addrs are the newest start's web server and, where the plan asks for one, its debug server.
func (w *worker) addrs() (addr, debug string) {
	w.mu.Lock()
	starts := w.starts
	w.mu.Unlock()
	n := 0
	for text := range strings.Lines(w.log()) {
		var m struct{ Msg, HTTP, Debug string }
		if strings.Contains(text, "decom is running") && json.Unmarshal([]byte(text), &m) == nil {
			addr, debug, n = m.HTTP, m.Debug, n+1
		}
	}
	// Starts that ended with exit code 75 said nothing; the newest is up if its own web server answers.
	if n == 0 || n > starts {
		return "", ""
	}
	return addr, debug
}

// serving waits until the process answers.
func (w *worker) serving(patience time.Duration) error {
	err := errors.New("it has not said that it runs")
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if addr := w.addr(); addr != "" {
			var resp *http.Response
			if resp, err = quick.Get("http://" + addr + "/livez"); err == nil {
				_ = resp.Body.Close()
				return nil
			}
		}
	}
	text := w.log()
	return fmt.Errorf("%s does not serve within %v: %w\n%s", w.name, patience, err, text[max(0, len(text)-1500):])
}

// quick asks a process of this machine.
var quick = &http.Client{Timeout: 4 * time.Second}

// status is the part of /status that this package looks at.
type status struct {
	Worker   string   `json:"worker"`
	Fleet    []string `json:"fleet"`
	Accounts []struct {
		Account  string            `json:"account"`
		Halted   bool              `json:"halted"`
		Why      string            `json:"halted_why"`
		Pending  uint64            `json:"pending"`
		Unacked  uint64            `json:"unacked"`
		Open     int               `json:"open"`
		InDoubt  int               `json:"in_doubt"`
		Due      int               `json:"due"`
		Parked   int               `json:"parked"`
		Results  map[string]uint64 `json:"results"`
		Rank     int               `json:"rank"`
		Trouble  string            `json:"trouble"`
		Services []struct {
			Service, Breaker, Cause string
		} `json:"services"`
	} `json:"accounts"`
}

func (w *worker) status() (s status, err error) {
	addr := w.addr()
	if addr == "" {
		return s, errors.New(w.name + " is not up")
	}
	resp, err := quick.Get("http://" + addr + "/status")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// redisSide is Redis as the run has it.
type redisSide struct {
	main      *packstatetest.Server // alone, or the first master; nil: embedded in the worker
	replica   *packstatetest.Server
	sentinels []string // addresses
	nodes     []string // of a Redis Cluster
}

// proxied says whether workers reach Redis by an address that the rig chooses.
func (s *redisSide) proxied() bool { return s.main != nil && len(s.sentinels)+len(s.nodes) == 0 }

func (s *redisSide) yaml(addr string) string {
	switch {
	case s.main == nil:
		return "{}" // embedded in the process
	case len(s.sentinels) > 0:
		return fmt.Sprintf("{addrs: [%s], master: %s}", quoted(s.sentinels), packstatetest.Master)
	case len(s.nodes) > 0:
		return fmt.Sprintf("{addrs: [%s]}", quoted(s.nodes))
	case addr == "":
		addr = s.main.Addr()
	}
	return fmt.Sprintf("{url: \"redis://%s/0\"}", addr)
}

func quoted(list []string) string { return `"` + strings.Join(list, `", "`) + `"` }

// config is how the judge reads it, past all proxies.
func (s *redisSide) config() packstate.Config {
	switch {
	case len(s.sentinels) > 0:
		return packstate.Config{Addrs: s.sentinels, Master: packstatetest.Master}
	case len(s.nodes) > 0:
		return packstate.Config{Addrs: s.nodes}
	}
	return packstate.Config{URL: s.main.URL()}
}

func (r *rig) startRedis() {
	opt := packstatetest.RedisOptions{Dir: r.sub("redis"), AOF: r.plan.AOF}
	if r.plan.uses("redis-disk-full") {
		mountSmall(r.t, opt.Dir, "6m")
	}
	switch r.plan.Redis {
	case "sentinel":
		r.redis = startSentinels(r)
	case "cluster":
		r.redis = startRedisCluster(r)
	case "embedded":
		r.redis = &redisSide{}
	default:
		r.redis = &redisSide{main: packstatetest.StartRedis(r.t, opt)}
	}
}

// startSentinels starts a master, a replica and three sentinels that fail over after a second.
func startSentinels(r *rig) *redisSide {
	s := &redisSide{main: packstatetest.StartRedis(r.t, packstatetest.RedisOptions{Dir: r.sub("redis"), AOF: r.plan.AOF})}
	host, port, _ := strings.Cut(s.main.Addr(), ":")
	s.replica = packstatetest.StartRedis(r.t, packstatetest.RedisOptions{Dir: r.sub("replica"), AOF: r.plan.AOF, Args: []string{"--replicaof", host + " " + port}})
	for i := range 3 {
		dir := r.sub(fmt.Sprintf("sentinel%d", i))
		p := freePort(r.t)
		conf := filepath.Join(dir, "sentinel.conf")
		write(r.t, conf, fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %q\nlogfile %q\nsentinel monitor %[4]s 127.0.0.1 %[5]s 2\nsentinel down-after-milliseconds %[4]s 1000\nsentinel failover-timeout %[4]s 4000\n",
			p, dir, filepath.Join(dir, "log"), packstatetest.Master, port))
		cmd := exec.Command("redis-server", conf, "--sentinel")
		if err := cmd.Start(); err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		s.sentinels = append(s.sentinels, fmt.Sprintf("127.0.0.1:%d", p))
	}
	r.await("the sentinels know the replica and each other", 60*time.Second, func() error {
		for _, a := range s.sentinels {
			text, err := askRedis(a, "INFO", "sentinel")
			if err == nil && !strings.Contains(text, "status=ok") || !strings.Contains(text, "slaves=1,sentinels=3") {
				err = fmt.Errorf("%s: %s", a, text)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return s
}

// startRedisCluster starts three masters that share the slots.
func startRedisCluster(r *rig) *redisSide {
	s := &redisSide{}
	slots := [][2]string{{"0", "5460"}, {"5461", "10922"}, {"10923", "16383"}}
	for i := range slots {
		srv := packstatetest.StartRedis(r.t, packstatetest.RedisOptions{Dir: r.sub(fmt.Sprintf("redis%d", i)), AOF: r.plan.AOF,
			Args: []string{"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"}})
		s.nodes = append(s.nodes, srv.Addr())
		srv.Do("CLUSTER", "ADDSLOTSRANGE", slots[i][0], slots[i][1])
		if i == 0 {
			s.main = srv
		} else {
			host, port, _ := strings.Cut(s.nodes[0], ":")
			srv.Do("CLUSTER", "MEET", host, port)
		}
	}
	r.await("the Redis Cluster is whole", 30*time.Second, func() error {
		for _, a := range s.nodes {
			text, err := askRedis(a, "CLUSTER", "INFO")
			if err == nil && (!strings.Contains(text, "cluster_state:ok") || !strings.Contains(text, "cluster_known_nodes:3")) {
				err = fmt.Errorf("%s: %s", a, text)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return s
}

func (r *rig) await(what string, patience time.Duration, f func() error) {
	r.t.Helper()
	if err := eventually(patience, f); err != nil {
		r.t.Fatalf("%s: not within %v: %v", what, patience, err)
	}
}

func eventually(patience time.Duration, f func() error) error {
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := f()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// mountSmall puts a small file system under dir, so that a full disk is this run's own.
func mountSmall(t *testing.T, dir, size string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		fmt.Printf("%s: NOT RUN: a full disk needs the right to mount a tmpfs (root): %v\n", t.Name(), err)
		t.Skipf("a full disk needs the right to mount a tmpfs (root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// fillDisk writes until nothing fits any more; the returned func gives the space back.
func fillDisk(dir string) (free func(), err error) {
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	block := make([]byte, 4096)
	for {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return func() { _ = os.Remove(name) }, nil
		} else if err != nil {
			return nil, err
		}
	}
}
