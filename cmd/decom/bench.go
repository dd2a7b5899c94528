package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"decom/bench"
	"decom/ratelimit"
	"decom/worker/scan"
)

// benchFlags are the flags of decom bench run.
type benchFlags struct {
	bench.Config
	rate    string
	bulk    string
	sweeps  []string
	ceiling bool
	stages  bool
	side    bool
	out     string
	keep    bool
}

func newBenchCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "bench",
		Short: a.text("Mesurer, comparer, dimensionner", "Measure, compare, size"),
		RunE:  groupArgs,
	}
	c.AddCommand(newBenchRunCommand(a), newBenchCompareCommand(a), newBenchPlanCommand(a), newBenchTuneCommand(a), newBenchRebuildCommand(a), newBenchChildCommand(a))
	return c
}

// newBenchChildCommand is how bench starts its servers as processes of their own.
func newBenchChildCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "child PART",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return bench.Serve(c.Context(), args[0], a.stdin, a.stdout)
		},
	}
}

func newBenchRunCommand(a *app) *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "run",
		Short: a.text("Mesurer la chaîne entière avec de vrais serveurs", "Measure the whole line with real servers"),
		Long: a.text(`Mesure la chaîne entière : nats-server, redis-server, NMVS simulé en TLS mutuel et « decom run »,
chacun dans son processus, sur cette machine ; jamais le vrai NMVS. La charge part quand elle doit
partir, que la chaîne suive ou non ; une latence compte depuis le départ voulu.

Profils : steady (débit constant), burst (pointe du matin, x 10), delivery (une livraison de
60 000 boîtes), outage (200 comptes rattrapent une panne nationale), quota (le quota du NMVS tombe
au quart puis revient), backlog (tout attend avant le démarrage : le débit maximal).

Écrit result.json, bench.txt (pour benchstat) et report.html, un seul fichier, sans Internet.
Code 99 si un scan est perdu, une boîte envoyée deux fois ou en doute.`,
			`Measures the whole line: nats-server, redis-server, a simulated NMVS behind mutual TLS and
"decom run", each a process of its own, on this machine; never the real NMVS. Load leaves when it is
meant to, whether or not the line keeps up; a latency counts from the intended start.

Profiles: steady (an even rate), burst (a morning, x 10), delivery (one delivery of 60,000 packs),
outage (200 accounts catch up after a national outage), quota (NMVS's quota falls to a quarter and
comes back), backlog (everything lies there before the start: the highest rate).

Writes result.json, bench.txt (for benchstat) and report.html: one file, no network.
Exit code 99 if a scan is lost, a pack sent twice or in doubt.`),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.benchRun(c.Context(), &f) },
	}
	f.define(c)
	return c
}

func (f *benchFlags) define(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.Profile, "profile", bench.Steady, strings.Join(bench.Profiles(), "|"))
	fl.IntVar(&f.Packs, "packs", 0, "packs of a round; 0: the profile's")
	fl.IntVar(&f.Accounts, "accounts", 0, "NMVS accounts; 0: the profile's")
	fl.DurationVar(&f.Duration, "duration", 0, "how long scans arrive; 0: the profile's")
	fl.StringVar(&f.rate, "rate", "", "scans a second that arrive; default: what the quota allows, x 0.8")
	fl.StringVar(&f.Mode, "mode", "", "single|bulk|mixed|auto (default mixed; the quota profile: single)")
	fl.IntVar(&f.Parallel, "parallel", 0, "calls at once and account (default 4)")
	fl.IntVar(&f.Batch, "batch", 0, "packs in a bulk (default 500)")
	fl.IntVar(&f.Bulks, "bulks", 0, "bulks on their way at once (default 4)")
	fl.DurationVar(&f.Linger, "linger", 0, "how long a fetch waits to fill; 0: the worker's default")
	fl.IntVar(&f.Processes, "processes", 0, "decom run processes (default 1)")
	fl.DurationVar(&f.Latency, "latency", 0, "time that every call to NMVS takes")
	fl.DurationVar(&f.Jitter, "jitter", 0, "up to this much more, at random")
	fl.Float64Var(&f.Quota, "quota", 0, "single calls a second and account that NMVS takes; 0: no limit")
	fl.StringVar(&f.bulk, "bulk", "", "bulks a minute and account that NMVS takes, as in 6/min; default: no limit")
	fl.Float64Var(&f.Told, "told", 0, "calls a second that the worker is told; 0: the quota (quota profile: 4 times as much)")
	fl.BoolVar(&f.Adaptive, "adaptive", false, "the worker follows NMVS's quota by itself (limits.adaptive), below what it is told")
	fl.DurationVar(&f.Poll, "poll", 0, "time from a bulk's submit to the first poll (default 1ms)")
	fl.IntVar(&f.Rounds, "rounds", 1, "repetitions with fresh servers; 5 or more to compare")
	fl.Uint64Var(&f.Seed, "seed", 1, "seed of the simulator")
	fl.BoolVar(&f.NoFsync, "no-fsync", false, "let nats-server sync every 2 minutes instead of after each write")
	fl.DurationVar(&f.Patience, "patience", 0, "without any outcome for so long what is missing is lost (default 1m)")
	fl.BoolVar(&f.Even, "even", false, "sweep at the even load of --rate and --duration, not at the highest rate")
	fl.StringArrayVar(&f.sweeps, "sweep", nil, "vary one setting, as in batch=50,100,500 (repeatable): batch, parallel, bulks, linger, processes, accounts, packs, latency, quota")
	fl.BoolVar(&f.ceiling, "ceiling", false, "measure the bare pipeline too, in turn, and the ratio to it")
	fl.BoolVar(&f.stages, "stages", false, "measure each step of the line alone")
	fl.BoolVar(&f.side, "side-by-side", false, "measure what a user would write instead, and kill both")
	fl.StringVar(&f.Engine, "engine", "", "`program` of bench/engine: compare a stream engine too (with --side-by-side)")
	fl.StringVar(&f.out, "out", "", "`folder` for result.json, bench.txt, report.html; default bench-PROFILE-TIME")
	fl.StringVar(&f.NATSServer, "nats-server", "", "nats-server `program`; default: the one in PATH if new enough, else decom's own in a process of its own")
	fl.BoolVar(&f.keep, "keep", false, "keep the servers' files")
}

// benchRun measures, writes the files and judges.
func (a *app) benchRun(ctx context.Context, f *benchFlags) error {
	p, err := a.benchPlan(f)
	if err != nil {
		return err
	}
	if f.out == "" {
		f.out = "bench-" + p.Profile + "-" + time.Now().Format("20060102-150405")
	}
	if p.Dir, err = os.MkdirTemp("", "decom-bench-"); err != nil {
		return err
	}
	if !f.keep {
		defer os.RemoveAll(p.Dir)
	}
	screen := newBenchScreen(a)
	p.Progress = screen.event
	a.benchBanner(p)
	r, err := bench.Run(ctx, *p)
	screen.close()
	if r != nil {
		r.Command = append([]string{"decom"}, os.Args[min(1, len(os.Args)):]...)
		if len(r.Rounds)+len(r.Sweeps)+len(r.Stages) > 0 {
			err = errors.Join(err, r.WriteFiles(f.out, a.lang == french))
		}
	}
	if err != nil {
		return err
	}
	a.benchSummary(r)
	a.sayf("Écrit : %s, bench.txt, report.html", "Written: %s, bench.txt, report.html", filepath.Join(f.out, "result.json"))
	return a.benchVerdict(r)
}

// benchVerdict is exit code 99 for anything that must be zero and is not.
func (a *app) benchVerdict(r *bench.Result) error {
	v := r.Verdict()
	a.sayf("perdus %d, envoyés deux fois %d, en doute %d, résultats en trop %d, non faits %d, registre du NMVS différent %d",
		"lost %d, sent twice %d, in doubt %d, outcomes too many %d, not done %d, NMVS's ledger differs by %d",
		v.Lost, v.SentTwice, v.InDoubt, v.Extra, v.NotDone, v.Unchanged)
	if v.Good() {
		return nil
	}
	return exitWith(exitThreshold, errors.New(a.text("ces nombres doivent être zéro : voir result.json", "these numbers must be zero: see result.json")))
}

// benchPlan makes the plan from flags and, where a configuration is given, its servers.
func (a *app) benchPlan(f *benchFlags) (*bench.Plan, error) {
	var err error
	if f.rate != "" {
		if f.Rate, err = rateFlag(f.rate); err != nil {
			return nil, usagef("--rate: %v", err)
		}
	}
	if f.bulk != "" {
		perSec, err := rateFlag(f.bulk)
		if err != nil {
			return nil, usagef("--bulk: %v", err)
		}
		f.BulkQuota = perSec * 60
	}
	f.Set = a.flags.set
	p := &bench.Plan{Config: f.Config, Ceiling: f.ceiling, Stages: f.stages, Side: f.side}
	if a.flags.config != "" {
		if err := a.benchServers(&p.Config); err != nil {
			return nil, err
		}
	}
	if err := a.benchChildren(&p.Config); err != nil {
		return nil, err
	}
	for _, text := range f.sweeps {
		s, err := bench.ParseSweep(text)
		if err != nil {
			return nil, usagef("--%v", err)
		}
		p.Sweeps = append(p.Sweeps, s)
	}
	p.Config = p.WithDefaults()
	p.Dir = "x" // made later; everything else is judged now
	if err := p.Validate(); err != nil {
		return nil, usagef("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return p, nil
}

// benchChildren finds the programs that the measurement starts. The children get this
// process's environment but for decom's own variables, which would change their configuration.
func (a *app) benchChildren(c *bench.Config) (err error) {
	if c.Exe, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	c.Env = slices.DeleteFunc(slices.Clone(a.environ), func(v string) bool { return strings.HasPrefix(v, "DECOM_") })
	c.RedisServer = bench.FindServer("redis-server")
	if c.NATSServer != "" {
		if !bench.GoodNATS(c.NATSServer) {
			return usagef("--nats-server %s: does not run, or is older than 2.12.6", c.NATSServer)
		}
	} else if found := bench.FindServer("nats-server"); found != "" && bench.GoodNATS(found) {
		c.NATSServer = found
	}
	return nil
}

// benchServers takes NATS and Redis from a configuration, if they are on this machine: load
// must never reach anybody's production. NMVS is always the simulator.
func (a *app) benchServers(c *bench.Config) error {
	cfg, err := a.loadConfig(0)
	if err != nil {
		return err
	}
	if len(cfg.Redis.Addrs) > 0 {
		return exitWith(exitConfig, errors.New("bench: redis.addrs: bench loads one Redis on this machine, give redis.url"))
	}
	c.NATSURL, c.RedisURL = cfg.NATS.URL, cfg.Redis.URL
	for key, list := range map[string]string{"nats.url": c.NATSURL, "redis.url": c.RedisURL} {
		for text := range strings.SplitSeq(list, ",") {
			if text == "" || strings.HasPrefix(text, "unix:") {
				continue
			}
			u, err := url.Parse(text)
			if err != nil || !onThisMachine(u.Hostname()) {
				return exitWith(exitConfig, fmt.Errorf("bench: %s is not a loopback address: bench loads servers on this machine only, never production", key))
			}
		}
	}
	return nil
}

// onThisMachine says that a name can only be this machine.
func onThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// rateFlag reads 5, 5/s, 6/min or 100/h as calls a second.
func rateFlag(text string) (float64, error) {
	if !strings.Contains(text, "/") {
		text += "/s"
	}
	r, err := ratelimit.ParseRate(text)
	if err != nil {
		return 0, err
	}
	return r.N / r.Per.Seconds(), nil
}

// benchBanner says what is about to run, and what is not as in a hospital.
func (a *app) benchBanner(p *bench.Plan) {
	a.sayf("decom bench : profil %s, %d boîtes, %d compte(s), mode %s, %d tour(s).", "decom bench: profile %s, %d packs, %d account(s), mode %s, %d round(s).",
		p.Profile, p.Packs, p.Accounts, p.Mode, p.Rounds)
	for _, n := range p.Servers() {
		a.say(n)
	}
	if p.Duration > 0 && p.Profile != bench.Delivery && p.Profile != bench.Backlog {
		a.sayf("  %.4g scans/s voulus pendant %v.", "  %.4g scans/s intended for %v.", p.Rate, p.Duration)
	}
}

// benchSummary prints the figures; the rest is in the report.
func (a *app) benchSummary(r *bench.Result) {
	for _, line := range r.Summary() {
		a.say(line)
	}
}

// benchScreen shows progress on a terminal and a line a step elsewhere.
type benchScreen struct {
	app  *app
	tty  bool
	open bool
}

func newBenchScreen(a *app) *benchScreen {
	return &benchScreen{app: a, tty: isTerminal(a.stderr)}
}

// event is called by one goroutine at a time.
func (s *benchScreen) event(e bench.Event) {
	if e.What == "sample" {
		if s.tty {
			fmt.Fprintf(s.app.stderr, "\r\x1b[K  %s %d/%d", e.Name, e.Done, e.Total)
			s.open = true
		}
		return
	}
	s.close()
	words := map[string]scan.Text{
		"round":   {FR: "tour", EN: "round"},
		"ceiling": {FR: "chaîne nue", EN: "bare pipeline"},
		"sweep":   {FR: "balayage", EN: "sweep"},
		"stage":   {FR: "étape seule", EN: "stage alone"},
		"side":    {FR: "côte à côte", EN: "side by side"},
		"verify":  {FR: "vérification", EN: "verification"},
	}
	text := "  " + s.app.lang.of(words[e.What]) + " " + e.Name
	if e.Of > 1 {
		text += fmt.Sprintf(" (%d/%d)", e.Round, e.Of)
	}
	fmt.Fprintln(s.app.stderr, text)
}

func (s *benchScreen) close() {
	if s.open {
		fmt.Fprint(s.app.stderr, "\r\x1b[K")
		s.open = false
	}
}
