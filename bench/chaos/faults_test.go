package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"decom/nmvs/sim"
)

// faultKind is one thing that goes wrong in a hospital.
type faultKind struct {
	name        string
	least, most time.Duration // how long it lasts
	target      string        // worker, nats, redis, nmvs, or line: two faults never hold one target at once
	cluster     bool          // needs three nats-servers
	redis       string        // needs this kind of Redis
	single      string        // "nats" or "redis": needs one server alone
	aof         bool          // needs Redis to keep a file
	loses       string        // "ledger" or "redis": what forgets; both in one run is beyond the promise (A2), and so is one ledger twice
	begin       func(r *rig, s step) (end func() error, err error)
}

// on names what the fault has in hand.
func (k faultKind) on(p plan, s step) string {
	switch k.target {
	case "worker":
		return fmt.Sprintf("worker%d", s.Who%p.Workers)
	case "line":
		return fmt.Sprintf("line%d", s.Who%p.Workers)
	}
	return k.target
}

// fits says whether a combined plan's servers can have the fault.
func (k faultKind) fits(p plan) bool {
	switch {
	case k.cluster && !p.Cluster, k.redis != "" && k.redis != p.Redis, k.aof && !p.AOF,
		k.single == "nats" && p.Cluster, k.single == "redis" && p.Redis != "":
		return false
	}
	for _, s := range p.Steps {
		if other := faultByName(s.Fault).loses; other != "" && k.loses != "" && (other != k.loses || k.loses == "ledger") {
			return false
		}
	}
	return true
}

func faultByName(name string) faultKind {
	for _, k := range faultKinds() {
		if k.name == name {
			return k
		}
	}
	return faultKind{}
}

const (
	ms  = time.Millisecond
	sec = time.Second
)

// faultKinds lists every fault. The order decides which seed gets which alone.
func faultKinds() []faultKind {
	list := []faultKind{
		{name: "worker-kill", least: 100 * ms, most: 2 * sec, target: "worker", begin: killWorker},
		{name: "worker-pause", least: tHold + 1500*ms, most: tHold + 3*sec, target: "worker", begin: pauseWorker},
		{name: "worker-pause-short", least: tSend + 100*ms, most: tHold, target: "worker", begin: pauseWorker},
		{name: "worker-restart", least: 100 * ms, most: 500 * ms, target: "worker", begin: restartWorker},
		{name: "nats-kill", least: 100 * ms, most: 3 * sec, target: "nats", single: "nats", begin: killNATS},
		{name: "nats-freeze", least: 500 * ms, most: 5 * sec, target: "nats", begin: freezeNATS},
		{name: "nats-disk-full", least: sec, most: 3 * sec, target: "nats", single: "nats", begin: fillNATS},
		{name: "nats-leader-kill", least: 300 * ms, most: 4 * sec, target: "nats", cluster: true, begin: killLeader},
		{name: "nats-node-kill", least: 300 * ms, most: 4 * sec, target: "nats", cluster: true, begin: killNATS},
		{name: "redis-kill", least: 100 * ms, most: 3 * sec, target: "redis", single: "redis", aof: true, begin: killRedis}, // its file has all that it answered
		{name: "redis-kill-lose-file", least: 100 * ms, most: 3 * sec, target: "redis", single: "redis", loses: "redis", begin: killRedisLoseFile},
		{name: "redis-rollback", least: 100 * ms, most: 2 * sec, target: "redis", single: "redis", aof: true, loses: "redis", begin: rollBackRedis},
		{name: "redis-flush", most: 0, target: "redis", single: "redis", loses: "redis", begin: flushRedis},
		{name: "redis-freeze", least: 500 * ms, most: 5 * sec, target: "redis", single: "redis", begin: freezeRedis},
		{name: "redis-disk-full", least: sec, most: 3 * sec, target: "redis", single: "redis", aof: true, loses: "redis", begin: fillRedis},
		{name: "sentinel-failover", least: 2 * sec, most: 3 * sec, target: "redis", redis: "sentinel", loses: "redis", begin: failover},
		{name: "sentinel-master-kill", least: 4 * sec, most: 5 * sec, target: "redis", redis: "sentinel", loses: "redis", begin: killMaster},
		{name: "nmvs-not-executed", least: sec, most: 3 * sec, target: "nmvs", begin: nmvsFaults(sim.Before)},
		{name: "nmvs-executed-lost", least: sec, most: 3 * sec, target: "nmvs", begin: nmvsFaults(sim.After)},
		{name: "nmvs-late", least: sec, most: 3 * sec, target: "nmvs", begin: nmvsFaults(sim.Late)},
		{name: "nmvs-maintenance", least: 500 * ms, most: 3 * sec, target: "nmvs", begin: maintain},
		{name: "nmvs-too-fast", least: 500 * ms, most: 2 * sec, target: "nmvs", begin: tooFast},
	}
	list = append(list,
		faultKind{name: "clock-step", least: 500 * ms, most: 5 * sec, target: "worker", begin: stepClock},
		faultKind{name: "worker-disk-full", least: sec, most: 3 * sec, target: "worker", begin: fillWorker},
		faultKind{name: "embedded-disk-full", least: sec, most: 3 * sec, target: "worker", redis: "embedded", begin: fillWorker},
		faultKind{name: "nats-restore", least: 2 * sec, most: 4 * sec, target: "nats", single: "nats", aof: true, loses: "ledger", begin: loseTail(false)},
		faultKind{name: "nats-restore-3", least: 2 * sec, most: 4 * sec, target: "nats", cluster: true, aof: true, loses: "ledger", begin: loseTail(false)},
		faultKind{name: "ledger-tail", least: 2 * sec, most: 4 * sec, target: "nats", single: "nats", aof: true, loses: "ledger", begin: loseTail(true)},
		faultKind{name: "ledger-tail-3", least: 2 * sec, most: 4 * sec, target: "nats", cluster: true, aof: true, loses: "ledger", begin: loseTail(true)},
	)
	// The lines between one worker and a server, as toxiproxy can harm them.
	for _, to := range []string{"nats", "redis", "nmvs"} {
		single := ""
		if to == "redis" {
			single = "redis"
		}
		for _, x := range []struct{ name, kind, stream, attributes string }{
			{"slow", "latency", "", `{"latency":300,"jitter":200}`},
			{"narrow", "bandwidth", "", `{"rate":30}`},
			{"mute-up", "timeout", "upstream", `{"timeout":0}`},
			{"mute-down", "timeout", "downstream", `{"timeout":0}`},
			{"reset", "reset_peer", "", `{"timeout":50}`},
			{"cut-up", "limit_data", "upstream", `{"bytes":3000}`},
			{"cut-down", "limit_data", "downstream", `{"bytes":3000}`},
		} {
			list = append(list, faultKind{name: to + "-line-" + x.name, least: 500 * ms, most: 4 * sec, target: "line", single: single, begin: toxic(to, x.kind, x.stream, x.attributes)})
		}
		list = append(list, faultKind{name: to + "-line-refused", least: 500 * ms, most: 4 * sec, target: "line", single: single, begin: refuse(to)})
	}
	return list
}

func (r *rig) worker(s step) *worker { return r.procs[s.Who%len(r.procs)] }

func killWorker(r *rig, s step) (func() error, error) {
	w := r.worker(s)
	if err := w.end(syscall.SIGKILL, 5*sec); err != nil {
		return nil, err
	}
	return func() error { w.start(); return nil }, nil
}

func pauseWorker(r *rig, s step) (func() error, error) {
	w := r.worker(s)
	w.signal(syscall.SIGSTOP)
	return func() error { w.signal(syscall.SIGCONT); return nil }, nil
}

// restartWorker is what an upgrade does: SIGTERM, drain, start.
// fillWorker fills the disk under the worker's own folder, and has it start on it.
func fillWorker(r *rig, s step) (func() error, error) {
	w := r.worker(s)
	free, err := fillDisk(w.data())
	if err != nil {
		return nil, err
	}
	if r.plan.Redis != "embedded" || s.Rand%2 == 0 {
		if err := w.end(syscall.SIGKILL, 5*sec); err != nil {
			return nil, err
		}
		w.start()
	}
	return func() error { free(); return nil }, nil
}

func restartWorker(r *rig, s step) (func() error, error) {
	w := r.worker(s)
	done := make(chan error, 1)
	go func() { done <- w.end(syscall.SIGTERM, 30*sec) }()
	return func() error {
		err := <-done
		w.start()
		return err
	}, nil
}

func killNATS(r *rig, s step) (func() error, error) {
	srv := r.nats[s.Who%len(r.nats)]
	srv.Kill()
	return func() error { srv.Start(); return nil }, nil
}

func freezeNATS(r *rig, s step) (func() error, error) {
	srv := r.nats[s.Who%len(r.nats)]
	srv.Freeze()
	return func() error { srv.Thaw(); return nil }, nil
}

// fillNATS fills the disk under JetStream. Room alone does not bring nats-server 2.15.2 back
// (deploy/runbook.md): a person restarts it.
func fillNATS(r *rig, _ step) (func() error, error) {
	srv := r.nats[0]
	free, err := fillDisk(srv.Dir)
	if err != nil {
		return nil, err
	}
	return func() error {
		free()
		srv.Kill()
		srv.Start()
		return nil
	}, nil
}

func killLeader(r *rig, s step) (func() error, error) {
	n, err := r.ledgerLeader()
	if err != nil { // no leader just now: any node will do
		n = s.Who % len(r.nats)
	}
	srv := r.nats[n]
	srv.Kill()
	return func() error { srv.Start(); return nil }, nil
}

func killRedis(r *rig, _ step) (func() error, error) {
	srv := r.redis.main
	srv.Kill()
	return func() error { srv.Start(); return nil }, nil
}

func killRedisLoseFile(r *rig, _ step) (func() error, error) {
	srv := r.redis.main
	srv.Kill()
	if err := removeAOF(r); err != nil {
		return nil, err
	}
	return func() error { srv.Start(); return nil }, nil
}

func removeAOF(r *rig) error {
	return os.RemoveAll(filepath.Join(r.dir, "redis", "appendonlydir"))
}

// rollBackRedis gives Redis the files that it had when the run began.
func rollBackRedis(r *rig, s step) (func() error, error) {
	srv := r.redis.main
	aof, old := filepath.Join(r.dir, "redis", "appendonlydir"), filepath.Join(r.dir, fmt.Sprintf("redis-old-%d", s.At))
	srv.Kill()
	if err := os.CopyFS(old, os.DirFS(aof)); err != nil {
		return nil, err
	}
	srv.Start()
	return func() error { // what came since is forgotten
		srv.Kill()
		if err := removeAOF(r); err != nil {
			return err
		}
		if err := os.CopyFS(aof, os.DirFS(old)); err != nil {
			return err
		}
		srv.Start()
		return nil
	}, nil
}

func flushRedis(r *rig, _ step) (func() error, error) {
	_, err := askRedis(r.redis.main.Addr(), "FLUSHALL")
	return nil, err
}

func freezeRedis(r *rig, _ step) (func() error, error) {
	pid := r.redis.main.PID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return nil, err
	}
	return func() error { return syscall.Kill(pid, syscall.SIGCONT) }, nil
}

// fillRedis fills the disk under the append-only file: Redis ends itself.
func fillRedis(r *rig, _ step) (func() error, error) {
	free, err := fillDisk(filepath.Join(r.dir, "redis"))
	if err != nil {
		return nil, err
	}
	return func() error {
		free()
		r.redis.main.Kill()
		r.redis.main.Start()
		return nil
	}, nil
}

func failover(r *rig, s step) (func() error, error) {
	_, err := askRedis(r.redis.sentinels[s.Who%len(r.redis.sentinels)], "SENTINEL", "FAILOVER", "decom-test")
	if err != nil && strings.Contains(err.Error(), "INPROG") {
		err = nil
	}
	return nil, err
}

// killMaster kills the first master; when it comes back it is made a replica.
func killMaster(r *rig, _ step) (func() error, error) {
	r.redis.main.Kill()
	return func() error { r.redis.main.Start(); return nil }, nil
}

// nmvsFaults makes a third of the calls fail at one moment; the kinds take turns.
func nmvsFaults(when string) func(*rig, step) (func() error, error) {
	return func(r *rig, s step) (func() error, error) {
		kinds := []sim.Fault{{Kind: sim.Reset}, {Kind: sim.Cut}, {Kind: sim.SOAPFault}, {Kind: sim.Garbled}, {Kind: sim.HTTP, Status: 502}, {Kind: sim.Code, Code: "NMVS_TI_TO_01"}, {Kind: sim.Hang, For: sim.Duration(5 * sec)}}
		var rules []sim.Rule
		for i := range 3 {
			f := kinds[(int(s.Rand%uint64(len(kinds)))+i*2)%len(kinds)]
			if f.When = when; when == sim.Late {
				f.Delay = sim.Duration(lateMost - time.Duration(s.Rand%uint64(2*sec)))
			}
			if when == sim.Before && f.Kind == sim.Cut {
				f.Kind = sim.Reset
			}
			rules = append(rules, sim.Rule{P: 0.12, Fault: f})
		}
		return func() error { return r.sim.do("PUT", "/settings", map[string]any{"faults": []sim.Rule{}}) }, r.sim.do("PUT", "/settings", map[string]any{"faults": rules})
	}
}

func maintain(r *rig, s step) (func() error, error) {
	mode := []string{"503", "error"}[s.Rand%2]
	set := func(on bool) error {
		return r.sim.do("PUT", "/settings", map[string]any{"maintenance": map[string]any{"on": on, "mode": mode}})
	}
	return func() error { return set(false) }, set(true)
}

func tooFast(r *rig, s step) (func() error, error) {
	mode := []string{"code", "429"}[s.Rand%2]
	set := func(calls, bulks int) error {
		return r.sim.do("PUT", "/settings", map[string]any{"limit": map[string]any{"calls": calls, "bulks": bulks, "bulk_window": "1s", "mode": mode}})
	}
	return func() error { return set(0, 0) }, set(5, 1)
}

func (r *rig) line(to string, s step) *line {
	w := r.worker(s)
	switch to {
	case "nats":
		return w.lines.nats[int(s.Rand%uint64(len(w.lines.nats)))]
	case "redis":
		return w.lines.redis
	}
	return w.lines.nmvs
}

func toxic(to, kind, stream, attributes string) func(*rig, step) (func() error, error) {
	return func(r *rig, s step) (func() error, error) {
		l := r.line(to, s)
		if l == nil {
			return nil, errors.New("this line has no proxy")
		}
		heal, err := l.disturb(kind, stream, attributes)
		if err != nil {
			return nil, err
		}
		return func() error { heal(); return nil }, nil
	}
}

func refuse(to string) func(*rig, step) (func() error, error) {
	return func(r *rig, s step) (func() error, error) {
		l := r.line(to, s)
		if l == nil {
			return nil, errors.New("this line has no proxy")
		}
		return l.refuse(), nil
	}
}
