package bench

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"decom/bench/bare"
	"decom/nmvs/sim"
)

// Side is one worker of the side-by-side comparison: how fast it is undisturbed, and
// what becomes of packs when it is killed twice and some answers are lost on the way.
type Side struct {
	Name string  `json:"name"` // decom, plain
	Rate float64 `json:"packs_per_second"`
	CPU  float64 `json:"cpu_seconds_per_100k"` // all processes
	// The second part: Packs scans, LostAnswers calls carried out whose answer did not
	// arrive, Kills of the worker by SIGKILL.
	Packs       int            `json:"packs"`
	LostAnswers int            `json:"lost_answers"`
	Kills       int            `json:"kills"`
	Lost        int            `json:"lost"`
	SentTwice   int            `json:"sent_twice"`
	Alerts      int            `json:"alerts"` // that NMVS raised for packs that are in order
	Results     map[string]int `json:"results"`
	Settled     Seconds        `json:"settled_seconds"` // from the first scan to the last outcome
}

// What is measured side by side, in one call a pack.
const (
	sideParallel = 16
	sidePacks    = 2000 // undisturbed
	sideHurt     = 400  // disturbed
	sideRate     = 50   // disturbed, scans a second
	sideAnswers  = 5
)

// sideBySide measures decom and the plain worker on the same servers, one after the other.
func (c *Config) sideBySide(ctx context.Context) ([]Side, error) {
	if c.RedisServer == "" && c.RedisURL == "" {
		return nil, errors.New("the plain worker needs redis-server; there is none on this machine")
	}
	var list []Side
	names := []string{"decom", rolePlain}
	if c.Engine != "" {
		names = append(names, engineName)
	}
	for _, name := range names {
		c.tell(Event{What: "side", Name: name})
		s := Side{Name: name}
		if err := errors.Join(c.sideFast(ctx, &s), c.sideHurt(ctx, &s)); err != nil {
			return list, err
		}
		list = append(list, s)
	}
	return list, nil
}

// sideFast is the undisturbed part.
func (c *Config) sideFast(ctx context.Context, s *Side) error {
	one := *c
	one.Profile, one.Mode, one.Parallel, one.Accounts, one.Packs = Backlog, "single", sideParallel, 1, sidePacks
	one.Quota, one.BulkQuota, one.Told = 0, 0, 0
	if s.Name == "decom" {
		d, _, err := one.run(ctx, "side-decom", 1)
		s.Rate, s.CPU = d.Rate, d.CPUTotal
		return err
	}
	r, err := newRig(ctx, &one, filepath.Join(c.Dir, "side-"+s.Name+"-1"))
	defer r.close()
	if err != nil {
		return err
	}
	l := newLoad(&one, r.sites)
	if err := l.publish(ctx, r.conn, time.Now()); err != nil {
		return err
	}
	if s.Name == engineName {
		return r.engineFast(ctx, l, s)
	}
	before := cpuOf(r.pids)
	w, err := r.own(rolePlain, r.bare())
	if err != nil {
		return err
	}
	defer w.stop(5 * time.Second)
	unhook := context.AfterFunc(ctx, func() { _ = w.cmd.Process.Kill() })
	defer unhook()
	var done bare.Done
	if err := w.say(&done); err != nil {
		return err
	}
	s.Rate = done.Rate
	for name, used := range cpuOf(r.pids) {
		s.CPU += (used - before[name]).Seconds() * 100_000 / float64(one.Packs)
	}
	return nil
}

// sideHurt kills the worker at a third and at two thirds, and loses some answers.
func (c *Config) sideHurt(ctx context.Context, s *Side) error {
	one := *c
	one.Profile, one.Mode, one.Parallel, one.Accounts = Steady, "single", sideParallel, 1
	one.Packs, one.Rate, one.Duration, one.Latency = sideHurt, sideRate, sideHurt/sideRate*time.Second, 20*time.Millisecond
	one.Quota, one.BulkQuota, one.Told, one.Processes = 0, 0, 0, 1
	one.Set = append(slices.Clone(cutHolds), c.Set...)
	r, err := newRig(ctx, &one, filepath.Join(c.Dir, "hurt-"+s.Name))
	defer r.close()
	if err != nil {
		return err
	}
	h := &hurt{side: s, cfg: &one, rig: r, load: newLoad(&one, r.sites)}
	return h.run(ctx)
}

// hurt is the disturbed part under way.
type hurt struct {
	side   *Side
	cfg    *Config
	rig    *rig
	load   *load
	worker *child
}

// start lets the worker begin, or begin again.
func (h *hurt) start() (err error) {
	if h.side.Name == rolePlain {
		spec := h.rig.bare()
		spec.Packs = 1 << 30 // until it is stopped
		h.worker, err = h.rig.own(rolePlain, spec)
		return err
	}
	if h.side.Name == engineName {
		h.worker, err = h.rig.startEngine()
		return err
	}
	h.rig.workers, h.rig.https = nil, nil
	if err := h.rig.startWorkers(); err != nil {
		return err
	}
	h.worker = h.rig.workers[0]
	return nil
}

func (h *hurt) run(ctx context.Context) error {
	rules := make([]sim.Rule, sideAnswers)
	for i := range rules {
		rules[i] = sim.Rule{Ops: []string{"G120"}, Skip: 30 * (i + 1), Fault: sim.Fault{Kind: sim.Reset, When: sim.After}}
	}
	body, err := json.Marshal(rules)
	if err != nil {
		return err
	}
	if err := errors.Join(h.rig.control.send("POST", "/faults", string(body)), h.start()); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	began := time.Now()
	group.Go(func() { _ = h.load.follow(ctx, h.rig.conn, began.Add(-time.Second)) }) // an end too early shows as lost scans
	failed := make(chan error, 1)
	group.Go(func() { failed <- h.load.publish(ctx, h.rig.conn, began) })
	if err := h.watch(ctx, failed); err != nil {
		return err
	}
	if h.side.Name != "decom" {
		h.worker.stop(5 * time.Second)
	}
	return h.sum()
}

// watch kills at its times and waits for the last outcome, or for nothing to come any more.
func (h *hurt) watch(ctx context.Context, failed <-chan error) error {
	for {
		if err := h.rig.died(); err != nil {
			return err
		}
		sent, have, quiet := h.load.progress()
		if have == h.cfg.Packs || quiet > h.cfg.Patience && sent == h.cfg.Packs {
			return nil
		}
		if h.side.Kills < 2 && sent >= (h.side.Kills+1)*h.cfg.Packs/3 {
			h.side.Kills++
			h.worker.kill()
			h.rig.workers = nil // it did not die by itself
			if err := h.start(); err != nil {
				return err
			}
		}
		select {
		case err := <-failed:
			if err != nil {
				return err
			}
			failed = nil // all is published
		default:
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

func (h *hurt) sum() error {
	n, err := h.rig.control.counts()
	if err != nil {
		return err
	}
	h.load.mu.Lock()
	defer h.load.mu.Unlock()
	s := h.side
	s.Packs, s.LostAnswers = h.cfg.Packs, n.Faults["after reset"]
	s.Lost, s.SentTwice, s.Alerts, s.Results = h.cfg.Packs-h.load.have, n.SentTwice, sum(n.Alerts), h.load.results
	s.Settled = secondsOf(h.load.last.Sub(h.load.start))
	return nil
}
