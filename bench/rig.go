package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"decom/nmvs/sim"
	"decom/queue"
)

// rig is one set of fresh servers, the simulator and the workers, each its own process.
type rig struct {
	cfg      *Config
	dir      string
	nats     *child // nil: somebody else's
	redis    *child // nil: somebody else's, or none
	sim      *child
	workers  []*child
	conn     *queue.Conn
	natsURL  string
	redisURL string
	urls     map[string]string // of the simulator's services
	control  control
	names    []string // accounts
	sites    []string
	https    []string // addresses of the workers' web servers
	config   string   // file of decom run
	notes    []string // what is not as in a hospital
	pids     map[string][]int
}

// newRig starts everything but the workers. close must be called, on errors too.
func newRig(ctx context.Context, c *Config, dir string) (r *rig, err error) {
	r = &rig{cfg: c, dir: dir, pids: map[string][]int{}, natsURL: c.NATSURL, redisURL: c.RedisURL}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return r, err
	}
	mark := ""
	if c.NATSURL != "" || c.RedisURL != "" { // others' streams and keys: names that nobody had before
		mark = "-" + strconv.FormatInt(time.Now().UnixMilli(), 36)
	}
	for i := range c.Accounts {
		r.names = append(r.names, fmt.Sprintf("bench-%d%s", i+1, mark))
		r.sites = append(r.sites, fmt.Sprintf("bench-site-%d%s", i+1, mark))
	}
	if err := r.startSim(); err != nil {
		return r, err
	}
	if err := errors.Join(r.startNATS(), r.startRedis()); err != nil {
		return r, err
	}
	if len(c.Set) > 0 && c.Set[0] == cutHolds[0] {
		r.notes = append(r.notes, "holds_cut")
	}
	start, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if r.conn, err = queue.Connect(start, queue.Config{URL: r.natsURL, Name: "bench"}); err != nil {
		return r, err
	}
	if _, err := r.conn.Setup(start, r.accounts(), false); err != nil {
		return r, err
	}
	r.config = filepath.Join(dir, "decom.yaml")
	return r, os.WriteFile(r.config, []byte(r.yaml()), 0o600)
}

func (r *rig) accounts() []queue.Account {
	list := make([]queue.Account, len(r.names))
	for i, name := range r.names {
		list[i] = queue.Account{Name: name, Sites: []string{r.sites[i]}}
	}
	return list
}

// settings of the simulator: no faults; its quota and latency are the round's.
func (c *Config) settings(factor float64) sim.Settings {
	s := sim.Settings{AutoStock: sim.AutoStock{On: true}, LedgerLimit: -1,
		Latency: sim.Latency{Fixed: sim.Duration(c.Latency), Jitter: sim.Duration(c.Jitter)}}
	if c.Quota > 0 {
		if s.Limit.Calls = int(c.Quota * factor); float64(s.Limit.Calls) != c.Quota*factor { // no whole number a second
			s.Limit.Calls, s.Limit.Window = max(1, int(c.Quota*factor*10)), sim.Duration(10*time.Second)
		}
	}
	if c.BulkQuota > 0 {
		s.Limit.Bulks = max(1, int(c.BulkQuota*factor))
	}
	return s
}

// setQuota changes the simulator's quota while it runs.
func (r *rig) setQuota(factor float64) error {
	body, err := json.Marshal(map[string]any{"limit": r.cfg.settings(factor).Limit})
	if err != nil {
		return err
	}
	return r.control.send("PUT", "/settings", string(body))
}

// setAway lets NMVS refuse every call, or not any more.
func (r *rig) setAway(away bool) error {
	return r.control.send("PUT", "/settings", fmt.Sprintf(`{"maintenance":{"on":%v}}`, away))
}

func (r *rig) startSim() (err error) {
	spec := simSpec{Dir: filepath.Join(r.dir, "pki"), Accounts: len(r.names), Seed: r.cfg.Seed, Settings: r.cfg.settings(1)}
	if r.sim, err = r.own(roleSim, spec); err != nil {
		return err
	}
	var ready simReady
	if err := r.sim.say(&ready); err != nil {
		return err
	}
	r.urls, r.control = ready.URLs, control{ready.Control}
	return nil
}

// own starts a child that is decom itself in another part.
func (r *rig) own(role string, spec any) (*child, error) {
	c, err := start(role, r.dir, r.cfg.Env, true, spec, r.cfg.Exe, "bench", "child", role)
	if err == nil {
		r.pids[role] = append(r.pids[role], c.pid())
	}
	return c, err
}

func (r *rig) startNATS() (err error) {
	switch {
	case r.natsURL != "":
		r.notes = append(r.notes, "nats_yours")
		return nil
	case r.cfg.NATSServer == "":
		if r.nats, err = r.own(roleNATS, natsSpec{Dir: filepath.Join(r.dir, "nats"), Lazy: r.cfg.NoFsync}); err != nil {
			return err
		}
		var ready natsReady
		err = r.nats.say(&ready)
		r.natsURL = ready.URL
		return err
	}
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(addr)
	sync := "sync_interval: always"
	if r.cfg.NoFsync {
		sync = ""
	}
	file := filepath.Join(r.dir, "nats.conf")
	text := fmt.Sprintf("host: 127.0.0.1\nport: %s\njetstream { store_dir: %q\n%s }\n", port, filepath.Join(r.dir, "nats"), sync)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	r.natsURL = "nats://" + addr
	r.nats, err = r.foreign("nats", r.cfg.NATSServer, "-c", file)
	return errors.Join(err, r.await(r.nats, addr))
}

func (r *rig) startRedis() (err error) {
	switch {
	case r.redisURL != "":
		r.notes = append(r.notes, "redis_yours")
		return nil
	case r.cfg.RedisServer == "":
		r.notes = append(r.notes, "redis_embedded")
		return nil
	}
	for range 5 { // others on this machine look for free ports too
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		_, port, _ := net.SplitHostPort(addr)
		r.redis, err = r.foreign("redis", r.cfg.RedisServer, "--bind", "127.0.0.1", "--port", port, "--dir", r.dir, "--save", "", "--appendonly", "no")
		if err != nil {
			return err
		}
		if err = r.await(r.redis, addr); err == nil {
			r.redisURL = "redis://" + addr + "/0"
			return nil
		}
	}
	return errors.New("redis-server does not start: " + r.redis.lastWords())
}

// foreign starts a program that is not ours.
func (r *rig) foreign(name, exe string, args ...string) (*child, error) {
	c, err := start(name, r.dir, r.cfg.Env, false, nil, exe, args...)
	if err == nil {
		r.pids[name] = append(r.pids[name], c.pid())
	}
	return c, err
}

// await waits until a server takes connections.
func (r *rig) await(c *child, addr string) error {
	if c == nil {
		return nil // start has said why
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && !c.ended(); time.Sleep(10 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return conn.Close()
		}
	}
	return fmt.Errorf("%s takes no connection on %s: %s", c.name, addr, c.lastWords())
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// yaml is the workers' configuration: a hospital's but for the limits and the first poll.
func (r *rig) yaml() string {
	var b strings.Builder
	c := r.cfg
	pki := filepath.Join(r.dir, "pki")
	fmt.Fprintf(&b, "# Written by decom bench.\nnats:\n  url: %s\nredis:\n  url: %q\nnmvs:\n  version: 5\n  endpoints:\n", r.natsURL, r.redisURL)
	for _, svc := range services() {
		fmt.Fprintf(&b, "    %s: %s\n", svc, r.urls[svc])
	}
	fmt.Fprintf(&b, "  ca: %q\nprotocol:\n  t_poll: %s\naccounts:\n", filepath.Join(pki, "ca.pem"), c.Poll)
	for i, name := range r.names {
		fmt.Fprintf(&b, "  - name: %s\n    sites: [%s]\n    client_login_id: %s\n    user_id: %s\n", name, r.sites[i], clientLogin(i), userLogin(i))
		fmt.Fprintf(&b, "    password_file: %q\n    certificate: %q\n    passphrase_file: %q\n",
			filepath.Join(pki, "password"), filepath.Join(pki, "client.p12"), filepath.Join(pki, "passphrase"))
		fmt.Fprintf(&b, "    mode: %s\n    limits: %s\n", c.Mode, c.Limits().flow())
	}
	fmt.Fprintf(&b, "http:\n  listen: 127.0.0.1:0\nlog: {level: warn, format: json}\n")
	return b.String()
}

// unlimited is a rate that never decides.
const unlimited = 1_000_000

// Limits is the part of an account's configuration that bench varies and tune proposes.
type Limits struct {
	Single   float64       `json:"single"` // calls a second
	Bulk     float64       `json:"bulk"`   // calls a minute
	Parallel int           `json:"parallel"`
	Batch    int           `json:"batch"`
	Bulks    int           `json:"bulks"`
	Linger   time.Duration `json:"linger,omitempty"` // 0: the worker's default
	Adaptive bool          `json:"adaptive,omitempty"`
}

// Limits are what the accounts of c are told.
func (c *Config) Limits() Limits {
	l := Limits{Single: unlimited, Bulk: unlimited * 60, Parallel: c.Parallel, Batch: c.Batch, Bulks: c.Bulks, Linger: c.Linger, Adaptive: c.Adaptive}
	if c.Quota > 0 {
		l.Single = c.Quota
	}
	if c.BulkQuota > 0 {
		l.Bulk = 2 * c.BulkQuota // the worker's limit counts submits and polls, NMVS's submits
	}
	if c.Told > 0 {
		l.Single = c.Told
	}
	return l
}

// flow is the limits as one line of YAML.
func (l Limits) flow() string {
	s := fmt.Sprintf("{single: %s/s, bulk: %s/min, parallel: %d, batch: %d, bulks: %d", number(l.Single), number(l.Bulk), l.Parallel, l.Batch, l.Bulks)
	if l.Linger > 0 {
		s += fmt.Sprintf(", linger: %s", l.Linger)
	}
	if l.Adaptive {
		s += ", adaptive: true"
	}
	return s + "}"
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// startWorkers lets the workers begin.
func (r *rig) startWorkers() error {
	for i := range r.cfg.Processes {
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		name := fmt.Sprintf("worker-%d", i+1)
		args := []string{"run", "--config", r.config, "--set", "dir=" + filepath.Join(r.dir, name), "--set", "http.listen=" + addr}
		for _, s := range r.cfg.Set {
			args = append(args, "--set", s)
		}
		w, err := start(name, r.dir, r.cfg.Env, false, nil, r.cfg.Exe, args...)
		if err != nil {
			return err
		}
		r.workers, r.https = append(r.workers, w), append(r.https, addr)
		r.pids["worker"] = append(r.pids["worker"], w.pid())
	}
	return nil
}

// died says which worker has ended by itself, nil if none has.
func (r *rig) died() error {
	for _, w := range r.workers {
		if w.ended() {
			return fmt.Errorf("%s ended by itself (%s): %s", w.name, w.cmd.ProcessState, w.lastWords())
		}
	}
	return nil
}

// close ends every process of the round.
func (r *rig) close() {
	for _, w := range r.workers {
		w.stop(15 * time.Second)
	}
	if r.conn != nil {
		r.conn.Close()
	}
	for _, c := range []*child{r.sim, r.nats, r.redis} {
		if c != nil {
			c.stop(10 * time.Second)
		}
	}
}

// FindServer looks a program up in PATH; "" when there is none.
func FindServer(name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	return path
}
