package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"decom/nmvs"
	"decom/nmvs/sim"
	"decom/queue/doors"
)

// simFlags are the flags of decom sim.
type simFlags struct {
	listen    []string
	control   string
	dir       string
	version   int
	seed      uint64
	accounts  int
	sites     []string
	faults    string
	latency   time.Duration
	jitter    time.Duration
	limit     int
	bulkDelay time.Duration
	autoStock bool
	stock     string
	settings  string
}

func newSimCommand(a *app) *cobra.Command {
	var f simFlags
	c := &cobra.Command{
		Use:   "sim",
		Short: a.text("Simuler le NMVS comme un serveur", "Serve a simulated NMVS"),
		Long: a.text(`Simule le NMVS : services unitaire, lot, mixte et support, en TLS mutuel, avec ses propres
règles, un journal qui juge le client, et des pannes à la demande.

Le dossier reçoit une autorité jetable, un certificat de serveur, des certificats de client
(bon, périmé, étranger) et decom-sim.yaml, une configuration prête à l'emploi, affichée aussi
au démarrage. Avec --control, le simulateur se commande en JSON pendant qu'il tourne : GET /counts,
/verdict, /ledger, /packs/CLE ; PUT /settings ; POST /faults, /stock, /clock, /reset.`,
			`Serve a simulated NMVS: single, bulk, mixed and support services over mutual TLS, with its own
idea of the rules, a ledger that judges the client, and faults on demand.

The folder gets a throw-away authority, a server certificate, client certificates (a good one, an
expired one, a stranger's) and decom-sim.yaml, a configuration ready for use, which is also printed
at start. With --control the simulator is driven by JSON while it runs: GET /counts, /verdict,
/ledger, /packs/KEY; PUT /settings; POST /faults, /stock, /clock, /reset.`),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.sim(c.Context(), f) },
	}
	fl := c.Flags()
	fl.StringSliceVar(&f.listen, "listen", []string{"127.0.0.1:8443"}, "one address for all services, or four: single, bulk, mixed, support")
	fl.StringVar(&f.control, "control", "", "address of the JSON control interface; it asks no password")
	fl.StringVar(&f.dir, "dir", "decom-sim", "folder of the certificates and of decom-sim.yaml")
	fl.IntVar(&f.version, "interface", 5, "interface version, 2 to 5")
	fl.Uint64Var(&f.seed, "seed", 1, "makes faults, latencies and ids repeatable")
	fl.IntVar(&f.accounts, "accounts", 1, "number of accounts that may log in")
	fl.StringSliceVar(&f.sites, "sites", nil, "sites of the first account in decom-sim.yaml (default site-1)")
	fl.StringVar(&f.faults, "faults", "none", "none, light or heavy: share of calls that suffer")
	fl.DurationVar(&f.latency, "latency", 0, "time that every call takes")
	fl.DurationVar(&f.jitter, "jitter", 0, "up to this much more, at random")
	fl.IntVar(&f.limit, "limit", 0, "calls a second and account before \"too fast\"; 0 = no limit")
	fl.DurationVar(&f.bulkDelay, "bulk-delay", 0, "time from the start of a bulk to its result")
	fl.BoolVar(&f.autoStock, "auto-stock", true, "create products and packs at first sight")
	fl.StringVar(&f.stock, "stock", "", "JSON `file` with the packs in store")
	fl.StringVar(&f.settings, "settings", "", "JSON `file` with any other setting, as PUT /settings takes it")
	return c
}

// sim runs the simulator until ctx ends.
func (a *app) sim(ctx context.Context, f simFlags) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	if cfg.PKI, err = sim.NewPKI(f.dir, cfg.Accounts[0].UserID); err != nil {
		return err
	}
	s, err := sim.New(cfg)
	if err != nil {
		return usagef("%v", err)
	}
	if err := f.fill(s); err != nil {
		return err
	}
	urls, stop, err := s.Start(ctx, f.listen...)
	if err != nil {
		return err
	}
	defer func() { _ = stop() }() // ended by ctx already, or never began to matter
	control, err := a.serveControl(ctx, f.control, s)
	if err != nil {
		return err
	}
	if err := a.printSimConfig(f, cfg, urls, control); err != nil {
		return err
	}
	<-ctx.Done()
	counts := s.Counts()
	calls := 0
	for _, n := range counts.Calls {
		calls += n
	}
	a.sayf("%d appels, %d boîtes ; %s", "%d calls, %d packs; %s", calls, counts.Packs, s.Verdict())
	return nil
}

// simPassword fits NMVS's password rules; it protects nothing.
const simPassword = "Simulator-1"

// config makes the simulator's configuration from the flags. What the settings
// file says wins: it is the more detailed one.
func (f *simFlags) config() (sim.Config, error) {
	cfg := sim.Config{Version: f.version, Seed: f.seed}
	if f.accounts < 1 || f.accounts > 99 {
		return cfg, usagef("--accounts %d: 1 to 99", f.accounts)
	}
	for i := range f.accounts {
		cfg.Accounts = append(cfg.Accounts, sim.Account{
			ClientLoginID: fmt.Sprintf("FR-SIM-%04d", i+1), UserID: fmt.Sprintf("robot%02d", i+1), Password: simPassword,
		})
	}
	faults, err := simFaults(f.faults)
	if err != nil {
		return cfg, err
	}
	cfg.Settings.Faults = faults
	cfg.Settings.Latency.Fixed, cfg.Settings.Latency.Jitter = sim.Duration(f.latency), sim.Duration(f.jitter)
	cfg.Settings.Limit.Calls = f.limit
	cfg.Settings.Bulk.Delay = sim.Duration(f.bulkDelay)
	cfg.Settings.AutoStock.On = f.autoStock
	if f.settings != "" {
		if err := readJSON(f.settings, &cfg.Settings); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

// simFaults is what the words of --faults stand for. Every fault comes before
// and after the effect, because a client cannot tell them apart.
func simFaults(level string) ([]sim.Rule, error) {
	var share float64
	switch level {
	case "", "none":
		return nil, nil
	case "light":
		share = 0.004
	case "heavy":
		share = 0.02
	default:
		return nil, usagef("--faults %s: there are none, light and heavy", level)
	}
	var rules []sim.Rule
	for _, f := range []sim.Fault{
		{Kind: sim.Reset}, {Kind: sim.Cut}, {Kind: sim.HTTP, Status: http.StatusServiceUnavailable},
		{Kind: sim.Code}, {Kind: sim.Garbled},
	} {
		for _, when := range []string{sim.Before, sim.After} {
			if f.When = when; f.Kind == sim.Code || f.Kind == sim.HTTP || f.Kind == sim.Reset || when == sim.After {
				rules = append(rules, sim.Rule{P: share, Fault: f})
			}
		}
	}
	return rules, nil
}

// fill puts the packs of --stock into the store.
func (f *simFlags) fill(s *sim.Sim) error {
	if f.stock == "" {
		return nil
	}
	var stock []sim.Stock
	if err := readJSON(f.stock, &stock); err != nil {
		return err
	}
	return s.AddStock(stock...)
}

// readJSON reads a file that has exactly the fields of v.
func readJSON(name string, v any) error {
	file, err := os.Open(name)
	if err != nil {
		return spokenFileError(err)
	}
	defer file.Close()
	dec := json.NewDecoder(file)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// serveControl starts the control interface and returns its URL, "" if there is
// none. It ends with ctx.
func (a *app) serveControl(ctx context.Context, addr string, s *sim.Sim) (string, error) {
	if addr == "" {
		return "", nil
	}
	if host, _, err := net.SplitHostPort(addr); err != nil {
		return "", usagef("--control %s: wants host:port", addr)
	} else if !loopback(host) {
		a.warn("--control " + addr + ": others on the network can drive the simulator")
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", err
	}
	srv := &http.Server{Handler: s.ControlHandler(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }() // ends by Close
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	return "http://" + l.Addr().String(), nil
}

// printSimConfig writes decom-sim.yaml and shows it. The file begins where the
// folder is, the screen's copy has whole paths, so that both can be used as they are.
func (a *app) printSimConfig(f simFlags, cfg sim.Config, urls map[nmvs.Service]string, control string) error {
	dir, err := filepath.Abs(f.dir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte(simPassword+"\n"), 0o600); err != nil {
		return err
	}
	name := filepath.Join(dir, "decom-sim.yaml")
	if err := os.WriteFile(name, []byte(simYAML(f, cfg, urls, "")), 0o600); err != nil {
		return err
	}
	a.sayf("# Simulateur NMVS prêt. À coller dans la configuration (ou --config %s) :",
		"# NMVS simulator ready. Paste this into the configuration (or use --config %s):", name)
	if _, err := fmt.Fprint(a.stdout, simYAML(f, cfg, urls, dir)); err != nil {
		return err
	}
	if control != "" {
		a.sayf("# Commande : %s/counts", "# Control: %s/counts", control)
	}
	a.sayf("# Ctrl-C pour arrêter.", "# Ctrl-C ends it.")
	return nil
}

// simYAML is the part of a configuration that makes decom use this simulator.
func simYAML(f simFlags, cfg sim.Config, urls map[nmvs.Service]string, dir string) string {
	var b strings.Builder
	path := func(name string) string { return string(doors.Encode(filepath.Join(dir, name))) } // JSON texts are YAML texts
	fmt.Fprintf(&b, "nmvs:\n  version: %d\n  endpoints:\n", cfg.Version)
	for _, svc := range nmvs.Services() {
		fmt.Fprintf(&b, "    %s: %s\n", svc, urls[svc])
	}
	fmt.Fprintf(&b, "  ca: %s\naccounts:\n", path("ca.pem"))
	for i, acc := range cfg.Accounts {
		sites := fmt.Sprintf("site-%d", i+1)
		if i == 0 && len(f.sites) > 0 {
			sites = strings.Join(f.sites, ", ")
		}
		fmt.Fprintf(&b, "  - name: sim-%d\n    sites: [%s]\n    client_login_id: %s\n    user_id: %s\n", i+1, sites, acc.ClientLoginID, acc.UserID)
		fmt.Fprintf(&b, "    password_file: %s\n    certificate: %s\n    passphrase_file: %s\n", path("password"), path("client.p12"), path("passphrase"))
	}
	return b.String()
}
