package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"decom/nmvs"
	"decom/worker"
	"decom/worker/packstate"
	"decom/worker/scan"

	"decom/queue"
)

// Status is what `decom status --json` and GET /status give. Fields are added, never
// renamed.
type Status struct {
	At       string            `json:"at"`
	Source   string            `json:"source"` // "worker": asked a running process; "stores": read from NATS and Redis
	Worker   string            `json:"worker,omitempty"`
	Since    string            `json:"since,omitempty"`
	Version  string            `json:"version"`
	Fleet    []string          `json:"fleet,omitempty"` // processes that are alive
	NATS     string            `json:"nats"`            // up, or what is wrong
	Redis    string            `json:"redis"`
	Unrouted map[string]uint64 `json:"unrouted,omitempty"`    // site, or subject without a device -> scans that reach no account
	Lost     []LostTopicStatus `json:"lost_topics,omitempty"` // MQTT topics whose events went nowhere, of 7 days
	Accounts []AccountStatus   `json:"accounts"`

	lostKnown bool // Lost was read
}

// AccountStatus is one account's part.
type AccountStatus struct {
	Account       string                 `json:"account"`
	Sites         []string               `json:"sites"`
	Halted        bool                   `json:"halted"`
	HaltedWhy     string                 `json:"halted_why,omitempty"`
	Pending       uint64                 `json:"pending"`        // scans in the stream, not delivered yet
	Unacked       uint64                 `json:"unacked"`        // delivered, not disposed of: held ones too
	OldestSeconds float64                `json:"oldest_seconds"` // age of the oldest of them
	Open          int                    `json:"open"`           // packs with an open attempt
	InDoubt       int                    `json:"in_doubt"`       // open, and nobody here waits for their answer
	Due           int                    `json:"due"`            // accepted, to be sent again
	Parked        int                    `json:"parked"`         // wait for a person
	InFlight      int                    `json:"in_flight"`      // calls of this process
	Submitted     int                    `json:"submitted"`      // packs of bulks that wait for their result
	NextBulk      int                    `json:"next_bulk"`      // packs that the next bulk may take
	Held          int                    `json:"held"`
	Outcomes      uint64                 `json:"outcomes_waiting"` // ledger records whose outcomes are not published yet
	Results       map[scan.Result]uint64 `json:"results,omitempty"`
	Services      []ServiceStatus        `json:"services,omitempty"`
	Rank          int                    `json:"rank"` // 0: this process serves the account
	Certificate   string                 `json:"certificate_until,omitempty"`
	Trouble       string                 `json:"trouble,omitempty"`
	LedgerWaits   float64                `json:"ledger_waiting_seconds,omitempty"` // a record cannot be stored: is NATS's disk full?
	Paused        *ControlStatus         `json:"paused,omitempty"`                 // by a person: nothing new is sent
	Tuned         *ControlStatus         `json:"tuned,omitempty"`                  // by a person: other limits
	VerifyFirst   *ControlStatus         `json:"verify_first,omitempty"`           // both stores lost: each pack is verified before it is sent
	Withheld      []WithheldStatus       `json:"withheld,omitempty"`               // batches and devices of which nothing new is sent
	WithheldScans int                    `json:"withheld_scans,omitempty"`         // their scans that this process keeps waiting
	Stores        string                 `json:"stores,omitempty"`                 // why figures of the stores are missing

	Password string        `json:"password_until,omitempty"` // once NMVS has said so
	Alerts   []AlertStatus `json:"alerts,omitempty"`         // the newest of this process, oldest first

	certificateUntil time.Time
	passwordUntil    time.Time
	sending          int // packs of attempts that a sender of this process is busy with
}

// AlertStatus is one potential falsification that this process met.
type AlertStatus struct {
	At      string      `json:"at"`
	Device  string      `json:"device"`
	Reason  scan.Reason `json:"reason"`
	AlertID string      `json:"alert_id,omitempty"` // NMVS's
}

// ServiceStatus is one NMVS service of an account.
type ServiceStatus struct {
	Service  string  `json:"service"`
	Breaker  string  `json:"breaker"`
	Since    string  `json:"since,omitempty"`
	Cause    string  `json:"cause,omitempty"`
	Limit    float64 `json:"limit_per_second"` // this process's share of the account's limit
	Rate     float64 `json:"rate_per_second"`  // allowed now
	Waited   float64 `json:"waited_seconds"`
	Cooldown string  `json:"cooldown_until,omitempty"`
	// Of an account with limits.adaptive: growing, falling, searching, steady or probing; the rate that held so far; how
	// long a call takes.
	Phase string  `json:"phase,omitempty"`
	Holds float64 `json:"holds_per_second,omitempty"`
	Took  float64 `json:"call_seconds,omitempty"`
}

// statusPatience bounds what one status may wait for stores that are away.
const statusPatience = 2 * time.Second

// status gathers the running process's view.
func (p *process) status() Status {
	ctx, cancel := context.WithTimeout(context.Background(), statusPatience)
	defer cancel()
	s := statusOfStores(ctx, p.cfg, p.conn, p.store)
	s.Source, s.Worker, s.Since, s.Fleet = "worker", p.worker, scan.Time(p.began), p.fleet.members()
	for i, u := range p.units {
		u.fill(&s.Accounts[i])
		s.Accounts[i].Rank = p.fleet.rank(u.cfg.Name)
	}
	return s
}

func (u *unit) fill(s *AccountStatus) {
	u.live.mu.Lock()
	s.Account, s.Sites = u.cfg.Name, u.cfg.Sites
	n := u.live.load
	s.sending = n.Sending
	s.InFlight, s.InDoubt, s.Submitted, s.NextBulk = n.Calls, n.InDoubt, n.Submitted, n.NextBulk
	if time.Since(u.live.heldAt) < troubleFresh {
		s.Held = u.live.held
	}
	s.Halted = s.Halted || u.live.halted
	if s.HaltedWhy == "" {
		s.HaltedWhy = u.live.why
	}
	if time.Since(u.live.lastBad) < troubleFresh {
		s.Trouble = u.live.trouble
	}
	s.controls(u.live.pace.Controls(), time.Now())
	s.WithheldScans = n.Withheld
	s.Alerts = slices.Clone(u.live.alerts)
	if s.passwordUntil = u.live.passwordUntil; !s.passwordUntil.IsZero() {
		s.Password = scan.Time(s.passwordUntil)
	}
	s.Results = map[scan.Result]uint64{}
	maps.Copy(s.Results, u.live.results)
	u.live.mu.Unlock()
	if u.cert != nil {
		s.certificateUntil = u.cert.Expiry()
		s.Certificate = scan.Time(s.certificateUntil)
		if time.Now().After(s.certificateUntil) {
			s.Trouble = joinTrouble("certificate: it expired on "+s.Certificate+", nothing is sent for this account until its file is replaced", s.Trouble)
		}
	}
	if still := u.loop.Stuck(stuckAfter); still > 0 {
		s.Trouble = joinTrouble("account loop: it has not moved for "+still.Round(time.Second).String()+", restart this process", s.Trouble)
	}
	s.LedgerWaits = u.ledgerFull().Seconds()
	for _, svc := range nmvs.Services() {
		b := u.breaker.Status(svc)
		st := ServiceStatus{Service: svc.String(), Breaker: string(b.State), Since: scan.Time(b.Since)}
		if b.Cause != nil && b.State != nmvs.BreakerClosed {
			st.Cause = b.Cause.Error()
		}
		if svc == nmvs.Single || svc == nmvs.Bulk {
			l := u.limiter.State(svc.String())
			st.Limit, st.Rate, st.Waited = l.Limit, l.Now, l.Waited.Seconds()
			st.Phase, st.Holds, st.Took = l.Phase, l.Holds, l.Took.Seconds()
			if l.CooldownUntil.After(time.Now()) {
				st.Cooldown = scan.Time(l.CooldownUntil)
			}
		}
		s.Services = append(s.Services, st)
	}
}

func joinTrouble(first, then string) string {
	if then == "" {
		return first
	}
	return first + "; " + then
}

// sideBySide is how many accounts' figures are asked for at once.
const sideBySide = 16

// statusOfStores reads what NATS and Redis know; it works without any worker running. Both
// are asked at once and each on its own time: one that is away must not look like the other.
func statusOfStores(ctx context.Context, c *loaded, conn *queue.Conn, store *packstate.Store) Status {
	s := Status{At: scan.Time(time.Now()), Source: "stores", Version: version(), NATS: "up", Redis: "up",
		Accounts: make([]AccountStatus, len(c.Accounts))}
	up := conn.Up()
	if !up {
		s.NATS = "down"
	}
	var all sync.WaitGroup
	all.Go(func() {
		if err := store.Ping(ctx); err != nil {
			s.Redis = err.Error()
		}
	})
	if up {
		all.Go(func() { s.Unrouted, _ = conn.Unrouted(ctx, c.queueAccounts()) })
		if c.Doors.MQTT.on() {
			all.Go(func() { s.Lost, s.lostKnown = lostTopics(ctx, conn) })
		}
	}
	slots := make(chan struct{}, sideBySide)
	for i := range c.Accounts {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			s.Accounts[i] = accountOfStores(ctx, &c.Accounts[i], conn, store, up)
		})
	}
	all.Wait()
	return s
}

var errNATSDown = errors.New("NATS is down")

func accountOfStores(ctx context.Context, a *Account, conn *queue.Conn, store *packstate.Store, up bool) AccountStatus {
	s := AccountStatus{Account: a.Name, Sites: a.Sites}
	errNATS := errNATSDown
	var both sync.WaitGroup
	if up {
		both.Go(func() {
			pending, err1 := conn.Scans(a.Name).Pending(ctx)
			s.Pending, s.Unacked = pending.Pending, pending.AckPending
			if !pending.Oldest.IsZero() {
				s.OldestSeconds = max(time.Since(pending.Oldest).Seconds(), 0)
			}
			var err2 error
			s.Outcomes, err2 = conn.Outbox(a.Name).Pending(ctx)
			errNATS = errors.Join(err1, err2)
		})
	}
	counts, err1 := store.Counts(ctx, a.Name)
	s.Open, s.InDoubt, s.Due, s.Parked = counts.Open, counts.Open, counts.Due, counts.Parked
	note, halted, err2 := store.Halted(ctx, a.Name)
	if s.Halted = halted; halted {
		_, s.HaltedWhy = worker.HaltNote(note)
	}
	both.Wait()
	if err := errors.Join(errNATS, err1, err2); err != nil {
		s.Stores = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return s
}

func newStatusCommand(a *app) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "status",
		Short: a.text("Un instantané : attente, doutes, ce qui attend une personne, disjoncteurs et limites", "One snapshot: backlog, doubts, what waits for people, breakers and limits"),
		Long: a.text(`Demande au processus en marche, à http.listen ; s'il n'y en a pas, à NATS et Redis mêmes.`,
			"Asks the running process at http.listen; if none answers, NATS and Redis themselves."),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.status(c.Context(), asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "JSON object on standard output")
	return c
}

func (a *app) status(ctx context.Context, asJSON bool) error {
	c, err := a.loadConfig(needLook)
	if err != nil {
		return err
	}
	s, err := askWorker(ctx, c)
	if err != nil {
		if s, err = askStores(ctx, c); err != nil {
			return err
		}
	}
	if asJSON {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	return a.printStatus(s)
}

func askWorker(ctx context.Context, c *loaded) (Status, error) {
	var s Status
	if c.HTTP.Listen == "" {
		return s, errors.New("http.listen is empty")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*statusPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.HTTP.Listen+"/status", nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("%s answers %s", req.URL, resp.Status)
	}
	return s, json.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&s)
}

func askStores(ctx context.Context, c *loaded) (Status, error) {
	if c.NATS.URL == "" && c.Redis.URL == "" && len(c.Redis.Addrs) == 0 {
		return Status{}, exitWith(exitDown, spokenf("aucun decom run ne répond à http://%s/status, et ses magasins sont intégrés : démarrer decom run, ou vérifier http.listen", "no decom run answers at http://%s/status, and its stores are embedded: start decom run, or check http.listen", c.HTTP.Listen))
	}
	conn, err := c.connectQueue(ctx)
	if err != nil {
		return Status{}, err
	}
	defer conn.Close()
	cfg, err := c.storeConfig()
	if err != nil {
		return Status{}, exitWith(exitConfig, err)
	}
	if cfg.Embedded() {
		return Status{}, exitWith(exitDown, spokenf("aucun decom run ne répond à http://%s/status, et son état des boîtes est intégré : démarrer decom run, ou vérifier http.listen", "no decom run answers at http://%s/status, and its pack state is embedded: start decom run, or check http.listen", c.HTTP.Listen))
	}
	store, err := packstate.Open(ctx, cfg)
	if err != nil {
		return Status{}, exitWith(exitDown, err)
	}
	defer store.Close()
	s := statusOfStores(ctx, c, conn, store)
	for i := range s.Accounts { // what a worker would tell
		acc := &s.Accounts[i]
		controls, err := worker.ControlsOf(ctx, conn.Ledger(acc.Account), store, acc.Account)
		if err != nil && acc.Stores == "" {
			acc.Stores = err.Error()
		}
		acc.controls(controls, time.Now())
	}
	return s, nil
}

func (a *app) printStatus(s Status) error {
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	say := func(fr, en string, args ...any) {
		fmt.Fprintf(w, a.text(fr, en)+"\n", args...)
	}
	if s.Worker != "" {
		say("processus\t%s depuis %s", "process\t%s since %s", s.Worker, s.Since)
	}
	say("NATS %s, Redis %s", "NATS %s, Redis %s", s.NATS, s.Redis)
	for site, n := range s.Unrouted {
		say("! %s", "! %s", a.lang.of(unroutedText(site, n)))
	}
	for _, line := range lostLines(a.lang, s.Lost) {
		say("! %s", "! %s", line)
	}
	say("compte\tattente\tplus ancien\touverts\ten doute\tà renvoyer\tà examiner\tdisjoncteur\tdébit", "account\tbacklog\toldest\topen\tin doubt\tdue\tto review\tbreaker\trate")
	for i := range s.Accounts {
		c := &s.Accounts[i]
		breaker, rate := "-", "-"
		if len(c.Services) > 0 {
			breaker, rate = c.Services[0].Breaker, fmt.Sprintf("%.3g/s", c.Services[0].Rate)
			if phase := c.Services[0].Phase; phase != "" {
				rate += " (" + a.lang.of(phaseText(phase)) + ")"
			}
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", c.Account, c.Pending+c.Unacked,
			(time.Duration(c.OldestSeconds) * time.Second).String(), c.Open, c.InDoubt, c.Due, c.Parked, breaker, rate)
	}
	// Below the table: a line of another shape in it would break its columns.
	for i := range s.Accounts {
		a.sayWrong(&s.Accounts[i], say)
	}
	return w.Flush()
}

// phaseText is what an adaptive limiter is doing.
func phaseText(phase string) scan.Text {
	switch phase {
	case "growing":
		return scan.Text{FR: "monte", EN: "growing"}
	case "falling":
		return scan.Text{FR: "baisse", EN: "falling"}
	case "searching":
		return scan.Text{FR: "cherche le quota", EN: "searching the quota"}
	case "probing":
		return scan.Text{FR: "essaie un peu plus", EN: "trying a little more"}
	}
	return scan.Text{FR: "stable", EN: "steady"}
}

// sayWrong tells what is wrong with an account, or what people set for it.
func (a *app) sayWrong(c *AccountStatus, say func(fr, en string, args ...any)) {
	if c.Halted {
		say("! %s est ARRÊTÉ : %s", "! %s is HALTED: %s", c.Account, c.HaltedWhy)
	}
	for _, line := range c.controlLines(a.lang) {
		say("! %s : %s", "! %s: %s", c.Account, line)
	}
	for _, line := range c.withheldLines(a.lang) {
		say("! %s : %s", "! %s: %s", c.Account, line)
	}
	if c.Stores != "" {
		say("! %s : chiffres incomplets, 0 peut vouloir dire inconnu : %s", "! %s: figures are missing, 0 may mean unknown: %s", c.Account, c.Stores)
	}
	if c.Trouble != "" {
		say("! %s attend : %s", "! %s waits: %s", c.Account, c.Trouble)
	}
	if c.LedgerWaits > 0 {
		say("! %s : un enregistrement attend depuis %s d'être stocké ; le disque de NATS est-il plein ?", "! %s: a record has waited %s to be stored; is NATS's disk full?",
			c.Account, (time.Duration(c.LedgerWaits) * time.Second).String())
	}
}

// embeddedURL is the address that a running process with an embedded server left, or "".
func embeddedURL(c *Config) string {
	b, err := os.ReadFile(natsURLFile(c))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
