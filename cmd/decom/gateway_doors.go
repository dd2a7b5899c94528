package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"decom/queue"
	"decom/queue/doors/files"
	httpdoor "decom/queue/doors/http"
	"decom/queue/doors/wwks2"
	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// entrances are the doors of one process, opened and not yet served.
type entrances struct {
	list []openDoor
}

// openDoor is one of them. run returns nil when ctx ends.
type openDoor struct {
	name string
	run  func(ctx context.Context) error
}

// openDoors opens what the configuration names. store may be nil: then nobody is told
// where a pack stands.
func openDoors(c *loaded, conn *queue.Conn, store *packstate.Store, met *doorMetrics, log *slog.Logger) (*entrances, error) {
	d := &entrances{}
	if c.Doors.HTTP.Listen != "" {
		if err := d.openHTTP(c, conn, store, met, log); err != nil {
			return nil, fmt.Errorf("doors.http: %w", err)
		}
	}
	known := c.profiles()
	reads := func(e scan.Event) (scan.Reason, scan.Text, bool) { return rejectionOf(known, e) }
	for i, f := range c.Doors.Files {
		w, err := files.NewWatcher(f.folder(), files.Deps{Publish: conn.PublishScans, Import: readImport, Read: reads, Count: met.files, Log: log})
		if err != nil {
			return nil, fmt.Errorf("doors.files.%d: %w", i, err)
		}
		d.add("files "+f.Folder, w.Run)
	}
	for i, r := range c.Doors.WWKS2 {
		if r.Listen != "" {
			continue // openInLine has it
		}
		l, err := wwks2.New(r.listener(&c.Config), wwks2.Deps{Publish: conn.PublishScans, Read: readFields, Count: met.wwks2, Log: log})
		if err != nil {
			return nil, fmt.Errorf("doors.wwks2.%d: %w", i, err)
		}
		d.add("wwks2 "+r.Robot, l.Run)
	}
	for _, r := range c.Doors.Consolidated {
		d.add("consolidated "+r.Site+"/"+cmp.Or(r.Device, "*"), receipts{r, c, conn, met, log.With("site", r.Site)}.run)
	}
	return d, nil
}

func (d *entrances) openHTTP(c *loaded, conn *queue.Conn, store *packstate.Store, met *doorMetrics, log *slog.Logger) error {
	cfg, err := c.httpDoorConfig()
	if err != nil {
		return err
	}
	deps := httpdoor.Deps{Queue: conn, Read: willBeRejected(c.profiles()), Log: log, Count: met.http}
	if store != nil {
		deps.Pack = packs{sites: accountsBySite(c.Accounts), peek: store.Peek}.find
	}
	door, err := httpdoor.New(cfg, deps)
	if err != nil {
		return err
	}
	ln, err := door.Listen()
	if err != nil {
		return err
	}
	d.add("http "+ln.Addr().String(), func(ctx context.Context) error { return door.Serve(ctx, ln) })
	return nil
}

func (d *entrances) add(name string, run func(context.Context) error) {
	d.list = append(d.list, openDoor{name, run})
}

func (d *entrances) names() []string {
	names := make([]string, len(d.list))
	for i, o := range d.list {
		names[i] = o.name
	}
	return names
}

// run serves every door until ctx ends. A door that fails ends no other one.
func (d *entrances) run(ctx context.Context) error {
	errs := make([]error, len(d.list))
	var wg sync.WaitGroup
	for i, o := range d.list {
		wg.Go(func() {
			if err := o.run(ctx); err != nil {
				errs[i] = fmt.Errorf("doors: %s: %w", o.name, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// openDoors opens the doors of decom run, with its own store and metrics.
func (p *process) openDoors() (*entrances, error) {
	p.met.registry.MustRegister(p.inLine.met.scans, p.inLine.met.trouble)
	d, err := openDoors(p.cfg, p.conn, p.store, p.inLine.met, p.log)
	if err == nil && len(d.list) > 0 {
		p.log.Info("doors are open", "doors", d.names())
	}
	return d, err
}

// serveDoors serves them until ctx ends; a door that fails is told, and the worker goes on.
func (p *process) serveDoors(ctx context.Context, d *entrances) {
	if err := d.run(ctx); err != nil {
		p.log.Error("a door has closed", "err", err)
	}
}

// doorMetrics counts what came through doors.
type doorMetrics struct{ scans, trouble *prometheus.CounterVec }

func newDoorMetrics() *doorMetrics {
	return &doorMetrics{scans: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "decom_door_scans_total", Help: "Scans that came through doors: stored, refused, or not acknowledged (later).",
	}, []string{"door", "site", "result"}), trouble: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "decom_door_inline_troubles_total",
		Help: "What went on to a stock system without being kept here as it should: late, not_kept, lost, cut_off, unreadable, broken, no_robot.",
	}, []string{"site", "what"})}
}

// inLine counts what went past a door in line.
func (m *doorMetrics) inLine(site string, what wwks2.Trouble) {
	m.trouble.WithLabelValues(site, string(what)).Inc()
}

func (m *doorMetrics) count(door, site string, stored, refused, later int) {
	for result, n := range map[string]int{"stored": stored, "refused": refused, "later": later} {
		if n > 0 {
			m.scans.WithLabelValues(door, site, result).Add(float64(n))
		}
	}
}

func (m *doorMetrics) http(who httpdoor.Principal, stored, refused, later int) {
	m.count("http", who.Site, stored, refused, later)
}

func (m *doorMetrics) files(site string, stored, refused int) {
	m.count("files", site, stored, refused, 0)
}
func (m *doorMetrics) wwks2(site string, stored, refused int) {
	m.count("wwks2", site, stored, refused, 0)
}

// rejectionOf reads a scan as the line will, by the device's profile.
func rejectionOf(known worker.Devices, e scan.Event) (scan.Reason, scan.Text, bool) {
	_, rejection := known.Read(e, time.Now())
	if rejection == nil {
		return "", scan.Text{}, false
	}
	return rejection.Reason, scan.Message(e.Op, scan.Rejected, rejection.Reason), true
}

func willBeRejected(known worker.Devices) func(scan.Event) *httpdoor.Warning {
	return func(e scan.Event) *httpdoor.Warning {
		reason, text, rejected := rejectionOf(known, e)
		if !rejected {
			return nil
		}
		return &httpdoor.Warning{Result: scan.Rejected, Reason: reason, Message: text}
	}
}

// readFields reads the text of a data carrier as the line will.
func readFields(text string) (scan.Fields, bool) {
	r, rejection := worker.Read(scan.Event{Scan: text}, time.Now())
	if rejection != nil {
		return scan.Fields{}, false
	}
	p := r.Pack
	return scan.Fields{Scheme: string(p.Scheme()), Code: p.Code(), Serial: p.Serial(), Batch: p.Batch(), Expiry: p.Expiry()}, true
}

func accountsBySite(accounts []Account) map[string]string {
	sites := map[string]string{}
	for _, a := range accounts {
		for _, s := range a.Sites {
			sites[s] = a.Name
		}
	}
	return sites
}

// packs tells where a pack stands for the account of a site, from the projection.
type packs struct {
	sites map[string]string
	peek  func(ctx context.Context, account string, ks []scan.PackID) (ledger.States, error)
}

var packPhases = map[ledger.Phase]scan.Text{
	ledger.Free:     {FR: "Boîte connue ici, non désactivée par nous.", EN: "Known here, not decommissioned by us."},
	ledger.Opened:   {FR: "Envoi en cours : la réponse du répertoire est attendue.", EN: "On its way: the repository's answer is awaited."},
	ledger.Due:      {FR: "En attente d'un nouvel envoi.", EN: "Waits to be sent again."},
	ledger.Inactive: {FR: "Boîte désactivée par nous.", EN: "Decommissioned by us."},
	ledger.Parked:   {FR: "La boîte attend la décision d'une personne.", EN: "The pack waits for a person."},
}

func (p packs) find(ctx context.Context, site, code, serial string) (httpdoor.Pack, error) {
	k, _, err := packName([]string{strings.TrimSpace(code), serial}, time.Now())
	if err != nil {
		return httpdoor.Pack{}, fmt.Errorf("%w: %w", httpdoor.ErrNotAPack, err)
	}
	out := httpdoor.Pack{Site: site, Account: p.sites[site], K: k,
		Message: scan.Text{FR: "Boîte jamais scannée ici.", EN: "Never scanned here."}}
	if out.Account == "" {
		return out, fmt.Errorf("no account names site %s", site)
	}
	states, err := p.peek(ctx, out.Account, []scan.PackID{k})
	if err != nil {
		return out, err
	}
	s, known := states[k]
	if !known {
		return out, nil
	}
	out.Known, out.Phase, out.Op, out.Message = true, s.Phase.String(), opText(s), packPhases[s.Phase]
	if s.Phase == ledger.Inactive && s.At > 0 {
		out.NMVSAt = scan.Time(time.Unix(s.At, 0))
	}
	return out, nil
}
