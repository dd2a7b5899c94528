package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"decom/bench"
)

// benchTuneFlags are the flags of decom bench tune.
type benchTuneFlags struct {
	bench.Remote
	quota, bulk, target string
	account             string
	assume, verify      bool
	duration            time.Duration
}

func newBenchTuneCommand(a *app) *cobra.Command {
	var f benchTuneFlags
	c := &cobra.Command{
		Use:   "tune",
		Short: a.text("Trouver les réglages d'un compte", "Find an account's settings"),
		Long: a.text(`Propose lot, appels simultanés, débits, attente et nombre de processus pour un NMVS de cette latence et
de ce quota, dit pourquoi et ce qui limite, et imprime le YAML à coller. Mesure d'abord ce que coûte la
chaîne sur cette machine (quelques secondes ; --assume s'en passe). --verify essaie la proposition contre
un NMVS simulé de même latence et quota, plus loin du quota si besoin : code 99 si rien ne tient. Avec --config FICHIER, la
proposition est aussi relue comme le ferait « config check ».`,
			`Proposes batch, calls at once, rates, linger and number of processes for an NMVS of that latency and
quota, says why and what limits, and prints the YAML to paste. It first measures what the line costs on
this machine (some seconds; --assume does without). --verify tries the proposal against a simulated NMVS
of the same latency and quota, further below the quota if need be: exit code 99 if none holds. With --config FILE the proposal is also
read as "config check" would.`),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.benchTune(c.Context(), &f) },
	}
	fl := c.Flags()
	fl.DurationVar(&f.Latency, "latency", 300*time.Millisecond, "time of a call to NMVS")
	fl.StringVar(&f.quota, "quota", "", "single calls that NMVS takes, as in 5/s; default: not used")
	fl.StringVar(&f.bulk, "bulk", "", "bulks that NMVS takes, as in 6/min; default: not used")
	fl.DurationVar(&f.BulkTime, "bulk-time", 2*time.Second, "time from a bulk's submit to its result")
	fl.StringVar(&f.target, "target", "", "packs wanted, as in 50/s")
	fl.StringVar(&f.account, "account", "", "account of --config that the proposal is for; default: the first")
	fl.BoolVar(&f.assume, "assume", false, "take the costs of bench/README.md instead of measuring")
	fl.BoolVar(&f.verify, "verify", false, "try the proposal")
	fl.DurationVar(&f.duration, "duration", 30*time.Second, "how long to try")
	return c
}

// rates reads the flags that are rates.
func (f *benchTuneFlags) rates() error {
	for _, it := range []struct {
		name, text string
		to         *float64
		times      float64
	}{{"--quota", f.quota, &f.Quota, 1}, {"--bulk", f.bulk, &f.BulkQuota, 60}, {"--target", f.target, &f.Target, 1}} {
		if it.text == "" {
			continue
		}
		v, err := rateFlag(it.text)
		if err != nil {
			return usagef("%s: %v", it.name, err)
		}
		*it.to = v * it.times
	}
	if err := f.Validate(); err != nil {
		return usagef("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

func (a *app) benchTune(ctx context.Context, f *benchTuneFlags) error {
	if err := f.rates(); err != nil {
		return err
	}
	screen := newBenchScreen(a)
	cfg := bench.Config{Progress: screen.event, Duration: f.duration}
	if err := a.benchChildren(&cfg); err != nil {
		return err
	}
	if !f.assume || f.verify {
		dir, err := os.MkdirTemp("", "decom-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		cfg.Dir = dir
	}
	costs := bench.KnownCosts()
	if !f.assume {
		var err error
		if costs, err = cfg.Costs(ctx); err != nil {
			return err
		}
		screen.close()
		a.sayf("Coûts mesurés ici : unitaire %.0f boîtes/s, lots %.0f boîtes/s quand le NMVS répond aussitôt ; worker %.1f et %.1f s de CPU pour 100 000.",
			"Costs measured here: single %.0f packs/s, bulks %.0f packs/s when NMVS answers at once; worker %.1f and %.1f s of CPU for 100,000.",
			costs.SingleRate, costs.BulkRate, 100_000*costs.SingleCPU, 100_000*costs.BulkCPU)
	}
	t, err := f.Tune(costs)
	if err != nil {
		return usagef("%v", err)
	}
	var tried error
	if f.verify {
		if t, tried, err = a.benchTry(ctx, cfg, f.Remote, costs); err != nil {
			return err
		}
		screen.close()
	}
	a.benchProposal(&t)
	if err := a.benchAccepted(f.account, &t); err != nil {
		return err
	}
	return tried
}

// benchTry runs proposals against a simulator, each further below the quota, until one
// holds. tried says why the last one does not, if none does.
func (a *app) benchTry(ctx context.Context, cfg bench.Config, r bench.Remote, k bench.Costs) (t bench.Tuning, tried, err error) {
	for i, part := range bench.Headrooms() {
		r.Headroom = part
		if t, err = r.Tune(k); err != nil {
			return t, nil, err
		}
		one := cfg
		one.Dir = filepath.Join(cfg.Dir, fmt.Sprint(i))
		d, err := one.Verify(ctx, r, t)
		if err != nil {
			return t, nil, err
		}
		if tried = a.benchVerified(&t, &d); tried == nil {
			return t, nil, nil
		}
	}
	return t, tried, nil
}

// benchProposal prints the proposal, its reasons and the YAML.
func (a *app) benchProposal(t *bench.Tuning) {
	for _, why := range t.Why {
		fmt.Fprintln(a.stdout, "  "+a.lang.of(why))
	}
	limits := map[string]string{
		"target": a.text("rien : l'objectif est atteint", "nothing: the target is reached"),
		"quota":  a.text("le quota du NMVS", "NMVS's quota"),
		"cpu":    a.text("le processeur de cette machine", "this machine's processor"),
	}
	a.sayf("Débit attendu : %.4g boîtes/s. Ce qui limite : %s.", "Rate to expect: %.4g packs/s. What limits: %s.", t.Rate, limits[t.Limit])
	a.sayf("# à coller dans le compte ; %d processus « decom run »", "# paste into the account; %d process(es) of decom run", t.Processes)
	fmt.Fprint(a.stdout, "accounts:\n  - # name, sites, login ...\n"+t.YAML())
}

// benchAccepted reads the given configuration with the proposal in it, if one is given.
func (a *app) benchAccepted(account string, t *bench.Tuning) error {
	if a.flags.config == "" && a.getenv("DECOM_CONFIG") == "" {
		return nil
	}
	c, err := a.loadConfig(needWorker)
	if err != nil {
		return err
	}
	at := -1
	for i := range c.Accounts {
		if at < 0 && (account == "" || c.Accounts[i].Name == account) {
			at = i
		}
	}
	if at < 0 {
		return usagef("--account %s: not in %s", account, c.src.name)
	}
	saved := a.flags.set
	defer func() { a.flags.set = saved }()
	a.flags.set = append(append([]string{}, saved...), t.Settings(at)...)
	if _, err := a.loadConfig(needWorker); err != nil {
		return err
	}
	a.sayf("Accepté par config check dans %s, compte %s.", "Accepted by config check in %s, account %s.", c.src.name, c.Accounts[at].Name)
	return nil
}

// benchVerified judges a trial of the proposal.
func (a *app) benchVerified(t *bench.Tuning, d *bench.Trial) error {
	a.sayf("Essayé à limits.single %.4g/s, limits.bulk %.4g/min : %.4g boîtes/s voulues pendant %v, %.4g atteintes, %.4g dans la seconde moitié ; médiane %.4g ms, 99 %% %.4g ms ; « trop vite » %d fois ; perdus %d, envoyés deux fois %d, en doute %d.",
		"Tried with limits.single %.4g/s, limits.bulk %.4g/min: %.4g packs/s intended for %v, %.4g reached, %.4g in the second half; p50 %.4g ms, p99 %.4g ms; \"too fast\" %d times; lost %d, sent twice %d, in doubt %d.",
		t.Limits.Single, t.Limits.Bulk, d.Intended, d.For, d.Rate, d.Late, d.Latency.P50, d.Latency.P99, d.TooFast, d.Verdict.Lost, d.Verdict.SentTwice, d.Verdict.InDoubt)
	switch {
	case !d.Verdict.Good():
		return exitWith(exitThreshold, errors.New(a.text("perdus, doubles et doutes doivent être zéro", "lost, twice and in doubt must be zero")))
	case max(d.Rate, d.Late) < 0.9*d.Intended:
		return exitWith(exitThreshold, errors.New(a.text("la proposition ne tient pas : le débit voulu n'est pas atteint", "the proposal does not hold: the intended rate is not reached")))
	case d.TooFast > max(1, int(float64(d.Took)/60)):
		return exitWith(exitThreshold, errors.New(a.text("la proposition ne tient pas : le NMVS a dit « trop vite » plus d'une fois par minute", "the proposal does not hold: NMVS said \"too fast\" more than once a minute")))
	}
	return nil
}
