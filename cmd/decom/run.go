package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"decom/cmd/decom/tracing"
	"decom/queue"
	"decom/worker/packstate"
)

func newRunCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: a.text("Le worker : lectures de JetStream, boîtes au NMVS, résultats et registre en retour", "The worker: scans from JetStream, packs to NMVS, outcomes and ledger back"),
		Long: a.text(`Sert tous les comptes de la configuration jusqu'à ce qu'on l'arrête.
Le premier SIGTERM ou SIGINT vide la ligne : plus rien n'est pris, ce qui est envoyé voit sa réponse notée.
Un second arrête tout de suite ; rien n'est perdu, le prochain départ a seulement plus à éclaircir.
SIGHUP relit la configuration : log.level, et les mode et limits des comptes, changent aussitôt ; les autres
clés changées sont nommées et demandent un redémarrage, un fichier faux ne change rien. Certificats et
fichiers de mots de passe sont relus quand ils changent, sans signal. Sous systemd, il dit quand il est prêt,
relit et s'arrête, et bat pour le chien de garde tant que la boucle de chaque compte vit.`,
			"Serves every account of the configuration until it is stopped.\n"+
				"The first SIGTERM or SIGINT drains: nothing more is taken in, what was sent gets its answer recorded.\n"+
				"A second one ends at once; that loses nothing, it only leaves more for the next start to find out.\n"+
				"SIGHUP reads the configuration again: log.level, and the accounts' mode and limits, change at once; other\n"+
				"changed keys are named and need a restart, a wrong file changes nothing. Certificates and password files\n"+
				"are read again when they change, without a signal. Under systemd it tells when it is ready, reloads and stops,\n"+
				"and beats for the watchdog while every account's loop is alive."),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.run(c.Context()) },
	}
}

func (a *app) run(ctx context.Context) error {
	c, err := a.loadConfig(needWorker)
	if err != nil {
		return err
	}
	spared := make([]byte, garbage)
	defer runtime.KeepAlive(spared)
	hups := make(chan os.Signal, 1) // one that waits: it will read the newest file
	signal.Notify(hups, syscall.SIGHUP)
	defer signal.Stop(hups)
	level := new(slog.LevelVar)
	log := newLogger(a.stderr, c.Log, level)
	p, err := startProcess(ctx, c, log)
	if err != nil {
		return err
	}
	defer p.close()
	r := reloader{load: func() (*loaded, error) { return a.loadConfig(needWorker) }, level: level, log: log, began: c.Config,
		limits: p.setLimits, before: p.tell.reloading, after: p.reloaded}
	listening, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.run(listening, hups) })
	defer func() { stop(); wg.Wait() }()
	return p.serve(ctx)
}

// garbage is how many bytes more than by Go's default may pile up before the collector works (it
// took a seventh of a busy line's CPU: bench/results/profile.md). It is memory that the
// collector counts and nobody touches, so none of it is resident. GOGC=400 with a memory limit would do
// the same for a small process, and has a large one (200 accounts) collect without end.
const garbage = 16 << 20

// process is one running `decom run`: its connections, and a unit for each account.
type process struct {
	cfg      *loaded
	log      *slog.Logger
	worker   string // name#incarnation, as it stands in ledger records
	began    time.Time
	conn     *queue.Conn
	store    *packstate.Store
	units    []*unit
	met      *metrics
	traces   *tracing.Tracer // nil: nobody collects traces
	fleet    fleet
	samples  sampler
	tell     *notifier   // to the service manager
	draining atomic.Bool // set once, by the first signal
	unlock   func()
	inLine   *inLine // robots in line, served since before anything was connected
}

// startProcess connects to everything in the order in which the rest needs it. What
// is down at start ends the program with exit code 75; later it is waited for.
func startProcess(ctx context.Context, c *loaded, log *slog.Logger) (*process, error) {
	p := &process{cfg: c, log: log, worker: workerName(), began: time.Now(), tell: newNotifier(log), unlock: func() {}}
	if err := p.connect(ctx); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *process) connect(ctx context.Context) (err error) {
	if p.unlock, err = lockDir(p.cfg); err != nil {
		return err
	}
	if p.inLine, err = openInLine(ctx, p.cfg, p.log); err != nil {
		return err
	}
	if err := p.inLine.patiently(ctx, p.log, func() error { return p.openQueue(ctx) }); err != nil {
		return err
	}
	p.inLine.conn.Store(p.conn)
	if err := p.inLine.patiently(ctx, p.log, func() error { return p.openStore(ctx) }); err != nil {
		return err
	}
	if err := p.openTraces(); err != nil {
		return err
	}
	p.met = newMetrics(p)
	for i := range p.cfg.Accounts {
		u, err := p.newUnit(&p.cfg.Accounts[i])
		if err != nil {
			return fmt.Errorf("account %s: %w", p.cfg.Accounts[i].Name, err)
		}
		p.units = append(p.units, u)
	}
	return nil
}

// workerName tells this process and this start apart from every other one.
func workerName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "decom"
	}
	return host + "-" + strconv.Itoa(os.Getpid()) + "#" + strconv.FormatInt(time.Now().UnixMilli(), 36)
}

// natsURLFile is where a process with an embedded server leaves its address, for the
// other commands that are given the same configuration.
func natsURLFile(c *Config) string { return filepath.Join(c.Dir, "nats.url") }

// defaultNATS is where an embedded server listens if nobody else does.
const defaultNATS = "127.0.0.1:4222"

func (p *process) openQueue(ctx context.Context) error {
	cfg, err := p.cfg.queueConfig()
	if err != nil {
		return exitWith(exitConfig, err)
	}
	cfg.Name = p.worker
	cfg.OnLog = func(level, text string) { p.log.Warn("embedded NATS", "level", level, "text", text) }
	cfg.OnState = func(s queue.State) {
		switch {
		case s.Up && s.Err != nil:
			p.log.Warn("NATS connection is up, but something is wrong", "server", s.Server, "err", s.Err)
			return
		case s.Up:
			p.log.Info("NATS connection is up", "server", s.Server)
			return
		}
		p.log.Warn("NATS connection is down, scans wait in the stream", "err", s.Err)
	}
	if cfg.URL == "" {
		cfg.Listen = freeAddress(defaultNATS)
	}
	if cfg.MQTT, err = p.cfg.mqttDoor(p.log); err != nil {
		return exitWith(exitConfig, err)
	}
	if p.conn, err = dialQueue(ctx, cfg); err != nil {
		return err
	}
	if cfg.URL == "" {
		p.log.Info("queue: embedded NATS server", "dir", cfg.Dir, "url", "nats://"+cfg.Listen)
		if err := os.WriteFile(natsURLFile(&p.cfg.Config), []byte("nats://"+cfg.Listen+"\n"), 0o600); err != nil {
			return fmt.Errorf("note the address of the embedded NATS server: %w", err)
		}
	}
	if addr := p.conn.MQTTAddress(); addr != "" {
		p.log.Info("doors: MQTT is open", "address", addr)
	}
	changes, err := setUp(ctx, p.conn, &p.cfg.Config, false)
	if err != nil {
		return err
	}
	for _, c := range changes {
		p.log.Info("stream set up", "change", c.String())
	}
	return nil
}

// freeAddress returns want if nobody listens there, else a free port beside it.
func freeAddress(want string) string {
	for _, addr := range []string{want, "127.0.0.1:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		got := l.Addr().String()
		_ = l.Close()
		return got
	}
	return want
}

func (p *process) openStore(ctx context.Context) error {
	cfg, err := p.cfg.storeConfig()
	if err != nil {
		return exitWith(exitConfig, err)
	}
	p.store, err = packstate.Open(ctx, cfg)
	switch {
	case errors.Is(err, packstate.ErrUnavailable):
		return exitWith(exitDown, err)
	case err != nil:
		return exitWith(exitConfig, err)
	}
	for _, w := range p.store.Warnings() {
		p.log.Warn("Redis", "warning", w)
	}
	if p.store.Embedded() {
		p.log.Info("pack state: embedded store, rebuilt from the ledger", "dir", cfg.Dir)
	}
	return nil
}

// serve runs every account until ctx ends, then drains.
func (p *process) serve(ctx context.Context) error {
	if err := p.fleet.join(ctx, p); err != nil {
		return exitWith(exitDown, err)
	}
	web, err := p.listen()
	if err != nil {
		return exitWith(exitConfig, err)
	}
	debug, err := p.listenDebug()
	if err != nil {
		return exitWith(exitConfig, err)
	}
	doors, err := p.openDoors()
	if err != nil {
		return exitWith(exitConfig, err)
	}
	// Readiness goes off before anything else does.
	defer context.AfterFunc(ctx, func() {
		p.draining.Store(true)
		p.tell.stopping()
	})()
	// The helpers outlive the loops: their last records still need outcomes.
	helpers, end := context.WithCancel(context.WithoutCancel(ctx))
	var loops, rest sync.WaitGroup
	errs := make(chan error, len(p.units)) // one for each loop
	rest.Go(func() { p.fleet.keep(helpers, p) })
	rest.Go(func() { web.serve(helpers) })
	rest.Go(func() { debug.serve(helpers) })
	rest.Go(func() { p.serveDoors(ctx, doors) })
	rest.Go(func() { p.sample(helpers) })
	rest.Go(func() { p.housekeeping(helpers) })
	rest.Go(func() { p.watchControl(helpers) })
	for _, u := range p.units {
		rest.Go(func() { u.breaker.Run(helpers) })
		rest.Go(func() { u.log.greet(helpers, u.client, p.cfg.NMVS.Endpoints.used()) })
		rest.Go(func() { _ = u.publisher.Run(helpers) }) // ends with its context only
		loops.Go(func() { errs <- p.keepRunning(ctx, u) })
	}
	rest.Go(func() { p.tell.watchdog(helpers, watchdogEvery(), p.stuck) })
	p.tell.ready(fmt.Sprintf("%d account(s)", len(p.units)))
	p.log.Info("decom is running", "worker", p.worker, "accounts", len(p.units), "http", web.addr, "debug", debug.addr)
	loops.Wait()
	close(errs)
	p.drainOutcomes(helpers)
	p.tellLeft(helpers)
	end()
	rest.Wait()
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	p.log.Info("decom has drained", "cause", context.Cause(ctx))
	return errors.Join(all...)
}

// loopPause is the wait before an account's loop that failed begins anew.
const loopPause = 5 * time.Second

// keepRunning runs an account until ctx ends. A loop that ends before met something that
// must not happen; it says so and begins anew, and the other accounts go on meanwhile.
func (p *process) keepRunning(ctx context.Context, u *unit) error {
	for {
		err := u.loop.Run(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		u.live.failed(err)
		p.log.Error("account loop failed, begins anew", "account", u.cfg.Name, "err", err)
		select {
		case <-time.After(loopPause):
		case <-ctx.Done():
			return err
		}
	}
}

// outcomePatience is how long a drain waits for the last outcomes; what is left is
// published by the next start, or another process.
const outcomePatience = 3 * time.Second

func (p *process) drainOutcomes(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, outcomePatience)
	defer cancel()
	for _, u := range p.units {
		for {
			n, err := p.conn.Outbox(u.cfg.Name).Pending(ctx)
			if err != nil || n == 0 {
				break
			}
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-ctx.Done():
			}
			break
		}
	}
}

func (p *process) close() {
	if p.inLine != nil {
		p.inLine.stop() // before its connection goes
	}
	p.closeTraces()
	for _, u := range p.units {
		u.client.Close()
	}
	if p.store != nil {
		_ = p.store.Close()
	}
	if p.conn != nil {
		p.conn.Close()
	}
	p.unlock()
}
