package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"decom/nmvs"
	"decom/nmvs/sim"
	"decom/queue"
	"decom/queue/doors"
	"decom/worker/scan"
)

// demoHost is what the demo puts around the worker: a NATS server with a file store,
// and the NMVS simulator behind mutual TLS. The worker knows them by their
// addresses only.
type demoHost struct {
	dir      string
	accounts []demoAccount
	conn     *queue.Conn
	sim      *sim.Sim
	urls     map[nmvs.Service]string
	stop     func() error
	config   string // file for decom run
	http     string // where the worker's web server will be
}

// demoPassword is every demo account's; the simulator wants a strong one.
const demoPassword = "Demo-Pass-2026"

// redelivery is how long scans that a killed worker had in hand wait until another one
// gets them. Production waits 60 s, most of a demo.
const redelivery = time.Second

// startHost starts NATS and the simulator with the scenario's stock, and writes the
// worker's configuration. close must be called, on errors too.
func startHost(ctx context.Context, dir string, sc *scenario, f demoFlags) (*demoHost, error) {
	h := &demoHost{dir: dir, accounts: sc.accounts, http: "127.0.0.1:0"}
	if f.keep { // then somebody wants to look
		h.http = freeAddress("127.0.0.1:8080")
	}
	var err error
	h.conn, err = queue.Connect(ctx, queue.Config{
		Dir: filepath.Join(dir, "nats"), Listen: "127.0.0.1:0", Name: "decom-demo", AckWait: redelivery,
	})
	if err != nil {
		return h, err
	}
	if _, err := h.conn.Setup(ctx, h.queueAccounts(), false); err != nil {
		return h, err
	}
	ids, err := h.startSim(ctx, sc, f.seed)
	if err != nil {
		return h, err
	}
	h.config = filepath.Join(dir, "decom.yaml")
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "password"), []byte(demoPassword+"\n"), 0o600),
		os.WriteFile(h.config, []byte(h.yaml(ids, f.redis)), 0o600),
	)
	return h, err
}

func (h *demoHost) close() {
	if h.stop != nil {
		_ = h.stop()
	}
	if h.conn != nil {
		h.conn.Close()
	}
}

func (h *demoHost) queueAccounts() []queue.Account {
	list := make([]queue.Account, len(h.accounts))
	for i, a := range h.accounts {
		list[i].Name = a.name
		for _, s := range a.sites {
			list[i].Sites = append(list[i].Sites, s.name)
		}
	}
	return list
}

// startSim starts the simulator with a certificate for each account.
func (h *demoHost) startSim(ctx context.Context, sc *scenario, seed uint64) ([]sim.Identity, error) {
	pki, err := sim.NewPKI(filepath.Join(h.dir, "pki"), h.accounts[0].user)
	if err != nil {
		return nil, err
	}
	cfg := sim.Config{Seed: seed, PKI: pki}
	// A repository answers within 300 ms (Delegated Regulation 2016/161 article 35);
	// packs of other markets take longer.
	cfg.Settings.Latency = sim.Latency{Fixed: sim.Duration(10 * time.Millisecond), Jitter: sim.Duration(30 * time.Millisecond), Foreign: sim.Duration(200 * time.Millisecond)}
	cfg.Settings.Login.BindCertificate = true
	var ids []sim.Identity
	for _, a := range h.accounts {
		cfg.Accounts = append(cfg.Accounts, sim.Account{ClientLoginID: a.client, UserID: a.user, Password: demoPassword})
		id, err := pki.Issue(a.name, a.user, time.Now().AddDate(2, 0, 0))
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if h.sim, err = sim.New(cfg); err != nil {
		return nil, err
	}
	if err := h.sim.AddStock(sc.stock...); err != nil {
		return nil, err
	}
	h.urls, h.stop, err = h.sim.Start(ctx)
	return ids, err
}

// The demo's parameters. Waits are cut to seconds, so that doubts are settled while
// somebody watches; a hospital must not copy them (protocol.md section 9).
const (
	demoTSend   = time.Second
	demoTReuse  = 500 * time.Millisecond
	demoTHTTP   = 2 * time.Second
	demoTGrace  = 2 * time.Second
	demoTHold   = 4 * time.Second
	demoPar     = 8
	demoLimit   = "400/s"
	demoSettle  = "e4"
	demoVersion = 5
)

// yaml is the configuration of the worker: that of a hospital but for the waits.
func (h *demoHost) yaml(ids []sim.Identity, redisURL string) string {
	var b strings.Builder
	q := func(s string) string { return string(doors.Encode(s)) } // JSON texts are YAML texts
	fmt.Fprintf(&b, "# Written by decom demo. The waits are cut to seconds: not for a hospital.\n")
	fmt.Fprintf(&b, "dir: worker\nnats:\n  url: %s\nredis:\n  url: %s\n", h.conn.URL(), q(redisURL))
	fmt.Fprintf(&b, "nmvs:\n  version: %d\n  endpoints:\n", demoVersion)
	for _, svc := range nmvs.Services() {
		fmt.Fprintf(&b, "    %s: %s\n", svc, h.urls[svc])
	}
	fmt.Fprintf(&b, "  ca: pki/ca.pem\n")
	fmt.Fprintf(&b, "protocol:\n  settle: %s\n  t_send: %s\n  t_reuse: %s\n  t_http_single: %s\n  t_grace: %s\n  t_hold_single: %s\n",
		demoSettle, demoTSend, demoTReuse, demoTHTTP, demoTGrace, demoTHold)
	b.WriteString("accounts:\n")
	for i, a := range h.accounts {
		var sites []string
		for _, s := range a.sites {
			sites = append(sites, s.name)
		}
		fmt.Fprintf(&b, "  - name: %s\n    sites: [%s]\n    client_login_id: %s\n    user_id: %s\n    password_file: password\n",
			a.name, strings.Join(sites, ", "), a.client, a.user)
		fmt.Fprintf(&b, "    certificate: %s\n    passphrase_file: pki/passphrase\n", q(filepath.Join("pki", filepath.Base(ids[i].P12File))))
		fmt.Fprintf(&b, "    mode: single\n    limits: {single: %s, parallel: %d}\n", demoLimit, demoPar)
	}
	fmt.Fprintf(&b, "http:\n  listen: %s\nlog: {level: info, format: json}\n", h.http)
	return b.String()
}

// comeBackSoon makes scans and records that the killed worker had in hand available
// again now, not in a minute: it shortens the consumers' ack wait while no worker
// runs. The next one sets it right again when it starts.
func (h *demoHost) comeBackSoon(ctx context.Context) error {
	if _, err := h.conn.Setup(ctx, h.queueAccounts(), false); err != nil {
		return err
	}
	return pauseFor(ctx, redelivery+500*time.Millisecond)
}

// outage makes NMVS refuse every call for that long.
func (h *demoHost) outage(ctx context.Context, d time.Duration) error {
	err := h.sim.Update(func(s *sim.Settings) { s.Maintenance.On = true })
	if err == nil {
		err = pauseFor(ctx, d)
	}
	return errors.Join(err, h.sim.Update(func(s *sim.Settings) { s.Maintenance.On = false }))
}

// pauseFor waits, or returns the cause of ctx's end.
func pauseFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// accountsFor returns the demo's accounts under names that no earlier demo had: with an
// outside Redis, its keys would contradict the new ledger.
func accountsFor(accounts []demoAccount, redisURL string, now time.Time) []demoAccount {
	if redisURL == "" {
		return accounts
	}
	for i := range accounts {
		accounts[i].name += "-" + strconv.FormatInt(now.UnixMilli(), 36)
	}
	return accounts
}

// sayWhere prints how to reach everything, for --keep-running.
func (h *demoHost) sayWhere(a *app) {
	site := h.accounts[0].sites[0]
	for _, l := range []scan.Text{
		{FR: "Tout reste en marche jusqu'à Ctrl-C :", EN: "Everything stays up until Ctrl-C:"},
		{FR: "  file NATS        " + h.conn.URL(), EN: "  NATS queue       " + h.conn.URL()},
		{FR: "  NMVS simulé      " + h.urls[nmvs.Single], EN: "  simulated NMVS   " + h.urls[nmvs.Single]},
		{FR: "  état, métriques  http://" + h.http + "/status", EN: "  status, metrics  http://" + h.http + "/status"},
		{FR: "  configuration    " + h.config, EN: "  configuration    " + h.config},
		{FR: "Pour envoyer un scan :", EN: "To send a scan of your own:"},
	} {
		a.say(l)
	}
	fmt.Fprintf(a.stdout, "  decom publish --config %s --site %s --device %s\n", h.config, site.name, site.devices[0])
}
