package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"decom/bench/bare"
)

// Ceiling is what the bare pipeline reaches in the same run, each round right after the
// product's: fetch, one script a batch, one SOAP call a batch, one ledger record a batch,
// ack; no checks, no outcomes. In mode single it is what the calls alone allow, so many at once,
// with nothing before or after them.
type Ceiling struct {
	Rates  []float64 `json:"packs_per_second"`
	Ratios []float64 `json:"ratios"` // the product's rate over the ceiling's, round by round
	// Rate and Ratio are the medians.
	Rate  float64            `json:"rate"`
	Ratio float64            `json:"ratio"`
	CPU   map[string]float64 `json:"cpu_seconds_per_100k"` // of the last round
}

// ceiling measures one round of the bare pipeline and adds it.
func (c *Config) ceiling(ctx context.Context, to *Result, product float64, n int) error {
	if c.RedisServer == "" && c.RedisURL == "" && c.Mode != "single" {
		return errors.New("the bare pipeline needs redis-server; there is none on this machine")
	}
	one := *c
	one.Profile, one.Accounts = Backlog, 1
	one.Quota, one.BulkQuota = 0, 0
	if to.Ceiling == nil {
		to.Ceiling = &Ceiling{}
	}
	rate, cpu, err := one.bareRound(ctx, n)
	if err != nil {
		return err
	}
	t := to.Ceiling
	t.Rates, t.Ratios, t.CPU = append(t.Rates, rate), append(t.Ratios, product/rate), cpu
	t.Rate, t.Ratio = median(t.Rates), median(t.Ratios)
	return nil
}

// bareRound lets the bare pipeline work off a backlog with fresh servers.
func (c *Config) bareRound(ctx context.Context, n int) (rate float64, cpu map[string]float64, err error) {
	r, err := newRig(ctx, c, filepath.Join(c.Dir, fmt.Sprintf("ceiling-%d", n)))
	defer r.close()
	if err != nil {
		return 0, nil, err
	}
	role := roleLean
	if c.Mode == "single" {
		role = roleCalls
	} else if err := newLoad(c, r.sites).publish(ctx, r.conn, time.Now()); err != nil {
		return 0, nil, err
	}
	before := cpuOf(r.pids)
	w, err := r.own(role, r.bare())
	if err != nil {
		return 0, nil, err
	}
	defer w.stop(5 * time.Second)
	unhook := context.AfterFunc(ctx, func() { _ = w.cmd.Process.Kill() })
	defer unhook()
	var done bare.Done
	if err := w.say(&done); err != nil {
		return 0, nil, err
	}
	cpu = map[string]float64{}
	for name, used := range cpuOf(r.pids) {
		cpu[name] = (used - before[name]).Seconds() * 100_000 / float64(c.Packs)
	}
	if seen, err := r.control.counts(); err != nil || seen.changed()+c.Batch*2 < c.Packs {
		// The last bulks are carried out when somebody looks; nobody does.
		return 0, nil, errors.Join(err, fmt.Errorf("the bare pipeline says %d packs, the simulator saw %d", done.Packs, seen.changed()))
	}
	return done.Rate, cpu, nil
}

// bare is what the pipelines of package bare must know.
func (r *rig) bare() bare.Spec {
	pki := filepath.Join(r.dir, "pki")
	s := bare.Spec{NATS: r.natsURL, Redis: r.redisURL, Single: r.urls["single"], Mixed: r.urls["mixed"],
		CA: filepath.Join(pki, "ca.pem"), Cert: filepath.Join(pki, "client.pem"), Key: filepath.Join(pki, "client-key.pem"),
		Client: clientLogin(0), User: userLogin(0), Password: password,
		Packs: r.cfg.Packs, Batch: r.cfg.Batch, Parallel: r.cfg.Parallel, Site: r.sites[0]}
	for _, d := range devices {
		s.Subjects = append(s.Subjects, "decom.scan."+r.sites[0]+"."+d)
	}
	return s
}

// serveBare plays a bare pipeline and says what it did.
func serveBare(ctx context.Context, role string, raw json.RawMessage, say func(any) error) error {
	var spec bare.Spec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return err
	}
	run := bare.Lean
	switch role {
	case rolePlain:
		run = bare.Plain
	case roleCalls:
		run = bare.Calls
	}
	done, err := run(ctx, spec)
	if err != nil {
		return err
	}
	if err := say(done); err != nil {
		return err
	}
	<-ctx.Done() // its CPU time is read while it lives
	return nil
}
