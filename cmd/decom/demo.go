package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"decom/worker/scan"
)

// demoFlags are the flags of decom demo.
type demoFlags struct {
	packs  int
	seed   uint64
	rate   float64
	faults string
	keep   bool
	dir    string
	redis  string
}

func newDemoCommand(a *app) *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use:   "demo",
		Short: a.text("Tout sur cette machine : robots, file, worker, NMVS simulé, et un juge", "Everything on this machine: robots, queue, worker, simulated NMVS, and a judge"),
		Long: a.text(`Démarre un serveur NATS avec stockage sur disque, un NMVS simulé en TLS mutuel, et « decom run » dans un
processus à part ; publie des lectures de boîtes de médicaments français réels par des robots inventés, laisse
des appels perdre leur réponse, tue le worker, et compare les résultats au journal du simulateur. Rien n'est à
installer. Code de sortie 0 seulement si rien n'est perdu, rien n'est envoyé deux fois et aucune boîte en
ordre n'a levé d'alerte ; sinon 99.`,
			"Starts a NATS server with a file store, an NMVS simulator behind mutual TLS, and `decom run` as a process of its own;\n"+
				"publishes scans of packs of real French medicines from made-up robots, lets some calls lose their answer, kills the\n"+
				"worker, and compares the outcomes with the simulator's own ledger. Nothing has to be installed.\n"+
				"Exit code 0 only if nothing was lost, nothing was sent twice and no pack in order raised an alert; 99 otherwise."),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.demo(c.Context(), f) },
	}
	fl := c.Flags()
	fl.IntVar(&f.packs, "packs", 2000, "how many `packs`")
	fl.Uint64Var(&f.seed, "seed", 1, "the same seed makes the same packs, scans and faults")
	fl.Float64Var(&f.rate, "rate", 0, "`scans` published a second; 0: all within half a minute, 100 at least")
	fl.StringVar(&f.faults, "faults", string(faultsLight), "what goes wrong: `none|light|heavy`")
	fl.BoolVar(&f.keep, "keep-running", false, "leave everything up afterwards, until Ctrl-C")
	fl.StringVar(&f.dir, "dir", "", "new or empty `folder` for everything, kept; default: a temporary one, removed if all went well")
	fl.StringVar(&f.redis, "redis", "", "`URL` of a Redis for the worker; default: its embedded store")
	return c
}

func (f *demoFlags) check() error {
	switch {
	case f.packs < 1 || f.packs > 1_000_000:
		return usagef("--packs %d: 1 to 1000000", f.packs)
	case f.rate < 0 || math.IsNaN(f.rate) || math.IsInf(f.rate, 0):
		return usagef("--rate %v: scans a second, 0 for the default", f.rate)
	}
	switch faultLevel(f.faults) {
	case faultsNone, faultsLight, faultsHeavy:
		return nil
	}
	return usagef("--faults %s: there are none, light and heavy", f.faults)
}

func (a *app) demo(ctx context.Context, f demoFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	dir, err := demoDir(f.dir)
	if err != nil {
		return err
	}
	a.demoBanner(f, dir)
	err = a.demoIn(ctx, f, dir)
	switch {
	case f.dir != "":
	case err == nil && !f.keep:
		err = os.RemoveAll(dir)
	default:
		a.sayf("Les fichiers restent dans %s ; le journal du processus de travail : worker.log.", "The files stay in %s; the worker's log is worker.log.", dir)
	}
	return err
}

// demoDir makes the folder. An old one would hold another demo's scans and ledger.
func demoDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "decom-demo-")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", usagef("--dir: %v", err)
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return "", usagef("--dir: %v", err)
	}
	if len(old) > 0 {
		return "", usagef("--dir %s is not empty: give a new folder", dir)
	}
	return dir, nil
}

// demoBanner says at once what is going to happen and what is not as in a hospital.
func (a *app) demoBanner(f demoFlags, dir string) {
	a.sayf("decom demo : %d boîtes de vrais médicaments français, graine %d, pannes « %s ».",
		"decom demo: %d packs of real French medicines, seed %d, faults %q.", f.packs, f.seed, f.faults)
	a.sayf("  robots -> NATS JetStream (fichiers) -> decom run (processus à part) -> NMVS simulé (SOAP, TLS mutuel)",
		"  robots -> NATS JetStream (files) -> decom run (a process of its own) -> simulated NMVS (SOAP, mutual TLS)")
	a.sayf("  fichiers : %s", "  files: %s", dir)
	a.sayf("  Pour la démo, les attentes sont raccourcies : t_hold %v au lieu de 20 min, redistribution %v au lieu de 60 s,",
		"  For the demo the waits are cut: t_hold %v instead of 20 min, redelivery %v instead of 60 s,", demoTHold, redelivery)
	a.sayf("  et « settle: %s » règle un doute sans personne. À ne pas copier dans un hôpital.",
		"  and `settle: %s` settles a doubt without a person. Not to be copied in a hospital.", demoSettle)
}

// demoIn is the demo in its folder: start, act, stop, judge.
func (a *app) demoIn(ctx context.Context, f demoFlags, dir string) (err error) {
	now := time.Now()
	sc := newScenario(f.seed, f.packs, now)
	sc.accounts = accountsFor(sc.accounts, f.redis, now)
	plan := planFaults(sc, f.seed, faultLevel(f.faults))
	plan.expect(sc)
	// What is around the worker outlives a Ctrl-C, so that the worker can drain.
	h, err := startHost(context.WithoutCancel(ctx), dir, sc, f)
	defer h.close()
	if err != nil {
		return err
	}
	if err := h.sim.Inject(plan.rules...); err != nil {
		return err
	}
	w, err := newDemoWorker(h, a.environ)
	if err != nil {
		return err
	}
	if err := w.start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.drain(20*time.Second)) }()

	show := &demoShow{app: a, host: h, worker: w, sc: sc, plan: plan, rate: f.rate, patience: plan.patience()}
	sum, err := show.run(ctx, f.keep)
	if err != nil {
		return err
	}
	sum.print(a)
	if !sum.verdict.good() {
		err = exitWith(exitThreshold, errors.New(a.lang.of(scan.Text{FR: "le juge n'est pas d'accord, voir ci-dessus", EN: "the judge does not agree, see above"})))
	} else {
		a.sayf("Rien de perdu, rien d'envoyé deux fois, aucune alerte pour une boîte en règle.",
			"Nothing lost, nothing sent twice, no alert for a pack in order.")
	}
	if f.keep {
		h.sayWhere(a)
		<-ctx.Done()
	}
	return err
}

// demoShow is a demo under way.
type demoShow struct {
	app      *app
	host     *demoHost
	worker   *demoWorker
	sc       *scenario
	plan     faultPlan
	rate     float64
	patience time.Duration // without any outcome; then what is missing is lost
	robots   *robots
	outcomes *collector
	screen   *demoScreen
}

// patience is longer than anything that the worker waits for with this plan.
func (p *faultPlan) patience() time.Duration {
	switch {
	case p.outage > 0:
		return 2 * time.Minute
	case p.kills > 0:
		return 75 * time.Second
	}
	return 30 * time.Second
}

// run publishes, disturbs, waits for every outcome, and judges.
func (d *demoShow) run(ctx context.Context, keep bool) (*summary, error) {
	if d.rate == 0 {
		d.rate = max(100, float64(len(d.sc.scans))/28)
	}
	want := d.sc.expected()
	d.robots = newRobots(d.host.conn, d.sc, d.rate)
	d.outcomes = newCollector(d.robots, want)
	d.screen = newDemoScreen(d.app, len(want))
	began := time.Now()

	work, stop := context.WithCancelCause(ctx)
	var group sync.WaitGroup
	spawn := func(what string, f func(context.Context) error) {
		group.Go(func() {
			if err := f(work); err != nil && work.Err() == nil {
				stop(fmt.Errorf("%s: %w", what, err))
			}
		})
	}
	spawn("robots", func(ctx context.Context) error { return d.robots.run(ctx, d.sc) })
	spawn("outcomes", func(ctx context.Context) error { return d.outcomes.run(ctx, d.host.conn) })
	spawn("screen", func(ctx context.Context) error { d.screen.run(ctx, d.robots, d.outcomes); return nil })
	err := d.direct(work)
	if err == nil && !keep {
		err = d.worker.drain(20 * time.Second)
	}
	if err == nil {
		err = pauseFor(work, 300*time.Millisecond) // for outcomes that nobody waits for
	}
	stop(nil)
	group.Wait()
	d.screen.close()
	if err != nil {
		return nil, err
	}
	return d.sum(began), nil
}

// direct kills the worker at its times and waits until all is settled, or nothing moves
// any more.
func (d *demoShow) direct(ctx context.Context) error {
	acts := d.acts()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-d.worker.ended:
			return d.worker.died(d.worker.cmd)
		case <-d.outcomes.all:
			if published, all := d.robots.progress(); published == all {
				return nil
			}
			if err := pauseFor(ctx, 10*time.Millisecond); err != nil { // a repeated message is still to come
				return err
			}
		case <-tick.C:
		}
		have, last := d.outcomes.progress()
		if len(acts) > 0 && have >= acts[0].at {
			if err := acts[0].do(ctx); err != nil {
				return err
			}
			acts = acts[1:]
		}
		if time.Since(last) > d.patience {
			d.screen.sayf("Plus aucun résultat depuis %v.", "No outcome for %v.", d.patience)
			return nil
		}
	}
}

// act is something that the demo does when so many outcomes are there.
type act struct {
	at int
	do func(context.Context) error
}

func (d *demoShow) acts() []act {
	total := len(d.sc.expected())
	var list []act
	for i := range d.plan.kills {
		list = append(list, act{at: total * (i + 1) / (d.plan.kills + 1), do: func(ctx context.Context) error {
			d.screen.sayf("SIGKILL au processus de travail ; il redémarre.", "SIGKILL for the worker process; it starts again.")
			return d.worker.restart(ctx, d.host)
		}})
		if i == 0 && d.plan.outage > 0 {
			list = append(list, act{at: total * 2 / 5, do: func(ctx context.Context) error {
				d.screen.sayf("Le NMVS est en maintenance pendant %v.", "NMVS is away for maintenance, %v.", d.plan.outage)
				return d.host.outage(ctx, d.plan.outage)
			}})
		}
	}
	return list
}

// sum gathers what the summary needs, and lets the judge look.
func (d *demoShow) sum(began time.Time) *summary {
	_, last := d.outcomes.progress()
	s := &summary{
		scans: len(d.sc.scans), packs: d.sc.packs, took: last.Sub(began),
		p50: d.outcomes.quantile(0.5), p99: d.outcomes.quantile(0.99),
		outcomes: d.outcomes.by, counts: d.host.sim.Counts(), starts: d.worker.starts, kills: d.worker.kills,
	}
	s.verdict = judge(evidence{
		sc: d.sc, outcomes: d.outcomes.by, extra: d.outcomes.extra, ledger: d.host.sim.Ledger(), pack: d.host.sim.Pack,
	})
	return s
}
