package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"decom/cmd/decom/report"
	"decom/nmvs"
	"decom/queue"
	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/scan"
)

func newReportCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "report",
		Short: a.text("Le rapport du jour d'une PUI ; les indicateurs officiels", "The day's report of a PUI; the official indicators"),
		Args:  groupArgs,
		RunE:  groupArgs,
	}
	c.AddCommand(newReportDay(a), newReportIndicators(a))
	return c
}

// reportFlags are those of both reports.
type reportFlags struct {
	account, site, date, zone, format string
	asJSON, serials                   bool
}

func (f *reportFlags) add(a *app, c *cobra.Command) {
	c.Flags().StringVar(&f.account, "account", "", a.text("ce compte seulement", "only this account"))
	c.Flags().StringVar(&f.date, "date", "", a.text("le `jour` : 2026-11-24, today ou yesterday", "the `day`: 2026-11-24, today or yesterday"))
	c.Flags().StringVar(&f.zone, "zone", report.Zone, a.text("où le jour commence et finit, comme Indian/Reunion", "where the day begins and ends, as Indian/Reunion"))
	c.Flags().StringVar(&f.format, "format", "text", "`text|json|csv|xlsx`")
	c.Flags().BoolVar(&f.asJSON, "json", false, a.text("comme --format json", "as --format json"))
}

func newReportDay(a *app) *cobra.Command {
	var f reportFlags
	c := &cobra.Command{
		Use:   "day [DAY]",
		Short: a.text("Ce qu'un jour a donné, par site, appareil et heure", "What came of a day, by site, device and hour"),
		Long: a.text(`Compte les résultats d'un jour (aujourd'hui, sauf indication contraire) d'après le registre : opérations
faites, doublons, refus, alertes, rejets avec leurs motifs, par appareil et par heure, lectures et saisies à
la main ; les boîtes sans résultat en fin de journée ; celles qui attendaient une personne ; ce que des
personnes ont décidé. Le jour va de minuit à minuit à Paris (23 ou 25 heures aux changements d'heure), selon
l'heure d'enregistrement. Un jour clos donne toujours le même rapport ; il nomme l'enregistrement sur
lequel il repose. Les lectures qu'aucun worker n'avait encore prises sont dans « decom status ».`,
			`Counts the outcomes of a day (today, unless told otherwise) from the ledger: operations done,
duplicates, refusals, alerts, rejections with their reasons, by device and hour, scanned and typed by
hand; the packs without a result at the end of the day; those that waited for a person; what people
decided. The day goes from midnight to midnight in Paris (23 or 25 hours when clocks change), by the time
of recording. A day that is over always gives the same report, which names the record it rests on.
Scans that no worker had taken in are in "decom status".`),
		Example: `  decom report day yesterday
  decom report day 2026-11-24 --format xlsx > 2026-11-24.xlsx`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			day, err := a.reportDay(&f, args)
			if err != nil {
				return err
			}
			return a.dayReport(c.Context(), f, day)
		},
	}
	f.add(a, c)
	c.Flags().StringVar(&f.site, "site", "", a.text("ce site seulement", "only this site"))
	c.Flags().BoolVar(&f.serials, "serials", false, a.text("montrer les numéros de série de ce qui attend", "show serial numbers of what waits"))
	return c
}

func newReportIndicators(a *app) *cobra.Command {
	var f reportFlags
	c := &cobra.Command{
		Use:   "indicators",
		Short: a.text("PUI enregistrées, connectées, actives, par région", "PUIs registered, connected, active, by region"),
		Long: a.text(`Les indicateurs officiels, par compte (une PUI pivot), région, outre-mer et statut, en fin de journée :

enregistrée : compte et certificat. Le compte a client_login_id et user_id et un certificat utilisable.
connectée : conditions acceptées, certificat installé, connexion ouverte. Le NMVS a répondu à un appel.
active : au moins une transaction de vérification ou de désactivation à laquelle le NMVS a répondu
(quelle que soit la réponse) en deux mois glissants ; les annulations ne comptent pas.

Chaque état contient le suivant. « Jours » : jusqu'au dernier où la PUI sera active si rien ne vient.
« Part désactivée » : faites, parmi les lectures qui demandaient une désactivation, sans les doublons.
« Taux d'alerte » : alertes parmi les réponses du NMVS. Région, FINESS et statut viennent des clés region,
finess et legal_status du compte. Les comptes de cette configuration seulement sont comptés.`,
			`The official indicators, by account (a pivot PUI), region, overseas and legal status, at the end of a day:

registered: account and certificate. The account has client_login_id and user_id and a usable certificate.
connected: terms accepted, certificate installed, connection opened. NMVS has answered a call.
active: at least one verification or decommissioning that NMVS answered (whatever it answered) in two
rolling months; taking back does not count.

Each state holds the next one. "Days": to the last one on which the PUI is active if nothing more comes.
"Share decommissioned": done, among the scans that asked to decommission, duplicates left out. "Alert rate":
alerts among the answers of NMVS. Region, FINESS and status come from the account's keys region,
finess and legal_status. Only the accounts of this configuration are counted.`),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			day, err := a.reportDay(&f, nil)
			if err != nil {
				return err
			}
			return a.indicators(c.Context(), f, day)
		},
	}
	f.add(a, c)
	return c
}

// reportDay judges the flags before anything is read.
func (a *app) reportDay(f *reportFlags, args []string) (report.Day, error) {
	if f.asJSON {
		f.format = "json"
	}
	switch f.format {
	case "text", "json", "csv":
	case "xlsx":
		if isTerminal(a.stdout) {
			return report.Day{}, a.usagef("un fichier xlsx n'est pas du texte : le diriger vers un fichier, > rapport.xlsx", "an xlsx file is no text: direct it into a file, > report.xlsx")
		}
	default:
		return report.Day{}, a.usagef("--format %q : il y a text, json, csv et xlsx", "--format %q: there are text, json, csv and xlsx", f.format)
	}
	if len(args) > 0 && f.date != "" {
		return report.Day{}, a.usagef("le jour est donné deux fois : %s et --date %s", "the day is given twice: %s and --date %s", args[0], f.date)
	}
	text := f.date
	if len(args) > 0 {
		text = args[0]
	}
	now := time.Now()
	if _, err := report.NewDay("", f.zone, now); err != nil {
		return report.Day{}, a.usagef("--zone %q : donner un fuseau comme Europe/Paris ou Indian/Reunion", "--zone %q: give a time zone as Europe/Paris or Indian/Reunion", f.zone)
	}
	day, err := report.NewDay(text, f.zone, now)
	if err != nil {
		return day, a.usagef("%q n'est pas un jour : donner 2026-11-24, today ou yesterday", "%q is no day: give 2026-11-24, today or yesterday", text)
	}
	if day.From.After(now) {
		return day, a.usagef("le %s n'a pas encore commencé", "%s has not begun yet", day.Date())
	}
	return day, nil
}

// books is what reports read: no Redis, no NMVS.
type books struct {
	*desk
	names []string
}

func (a *app) openBooks(ctx context.Context, only string) (*books, error) {
	c, err := a.loadConfig(needQueue | needAccounts)
	if err != nil {
		return nil, err
	}
	d := &desk{cfg: c}
	names, err := d.accounts(only)
	if err != nil {
		return nil, err
	}
	if d.conn, err = c.connectQueue(ctx); err != nil {
		return nil, err
	}
	return &books{desk: d, names: names}, nil
}

func (d *desk) pui(account string) (*Account, report.PUI) {
	for i := range d.cfg.Accounts {
		if acc := &d.cfg.Accounts[i]; acc.Name == account {
			region, _ := report.Region(acc.Region)
			return acc, report.PUI{Account: account, Sites: acc.Sites, FINESS: acc.FINESS, Region: region, Status: acc.LegalStatus}
		}
	}
	return &Account{}, report.PUI{Account: account}
}

var errDayOver = errors.New("the day is over")

// walk hands an account's records to take until that returns false, and judges their chain.
func (b *books) walk(ctx context.Context, account string, take func(queue.Entry, *ledger.Record) (bool, error)) error {
	_, err := worker.WalkLedger(ctx, b.conn.Ledger(account), account, func(e queue.Entry, r *ledger.Record) error {
		more, err := take(e, r)
		if err == nil && !more {
			return errDayOver
		}
		return err
	})
	if chain, ok := errors.AsType[*worker.ChainError](err); ok {
		return spokenf("le registre de %[1]s n'est pas entier à l'enregistrement %[2]d, rien n'est compté : decom ledger verify --account %[1]s (%[3]w)",
			"the ledger of %[1]s is not whole at record %[2]d, nothing is counted: decom ledger verify --account %[1]s (%[3]w)", account, chain.Seq, err)
	}
	if err != nil && !errors.Is(err, errDayOver) {
		return fmt.Errorf("ledger of %s: %w", account, err)
	}
	return nil
}

func (a *app) dayReport(ctx context.Context, f reportFlags, day report.Day) error {
	b, err := a.openBooks(ctx, f.account)
	if err != nil {
		return err
	}
	defer b.conn.Close()
	var all []*report.DayReport
	for _, account := range b.names {
		d, err := b.day(ctx, account, f, day)
		if err != nil {
			return err
		}
		if f.site == "" || len(d.Sites) > 0 {
			all = append(all, d)
		}
	}
	if len(all) == 0 {
		return a.usagef("le site %q n'est pas dans la configuration et n'a pas eu de lecture ce jour-là", "site %q is not in the configuration and had no scan on this day", f.site)
	}
	out := bufio.NewWriter(a.stdout)
	if err := a.writeDays(out, f.format, all); err != nil {
		return err
	}
	return out.Flush()
}

func (a *app) writeDays(out io.Writer, format string, all []*report.DayReport) error {
	switch format {
	case "json":
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		for _, d := range all {
			if err := enc.Encode(d); err != nil {
				return err
			}
		}
		return nil
	case "csv":
		var rows [][]any
		for _, d := range all {
			rows = append(rows, d.CSVRows()...)
		}
		return report.WriteCSV(out, report.DayColumns, rows, harmless)
	case "xlsx":
		return report.WriteXLSX(out, report.DaySheets(all, a.lang.of))
	}
	for i, d := range all {
		if i > 0 {
			if _, err := fmt.Fprintln(out); err != nil {
				return err
			}
		}
		if err := d.Text(out, a.lang.of); err != nil {
			return err
		}
	}
	return nil
}

// day reads an account's ledger up to the end of the day.
func (b *books) day(ctx context.Context, account string, f reportFlags, day report.Day) (*report.DayReport, error) {
	r, x := report.NewReader(day), newCaseReader(b.conn.Ledger(account), account, nil)
	x.brief = true
	var head ledger.Head
	err := b.walk(ctx, account, func(e queue.Entry, rec *ledger.Record) (bool, error) {
		if !r.Take(e.Head(), e.Time, rec) {
			return false, nil
		}
		head = e.Head()
		return true, x.take(e.Seq, rec)
	})
	if err != nil {
		return nil, err
	}
	if err := b.nameless(ctx, account, x, head); err != nil {
		return nil, err
	}
	var stands []report.Stand
	var items []reviewItem
	for k, c := range x.cases {
		switch {
		case c.State.Phase == ledger.Due:
			stands = append(stands, report.Stand{Source: c.Source, End: report.Due})
		case c.waits():
			stands = append(stands, report.Stand{Source: c.Source, End: report.Waiting})
			items = append(items, c.item(account, k, f.serials))
		}
	}
	sortReview(items)
	var waiting []report.WaitingPack
	for i := range items {
		waiting = append(waiting, items[i].waitingPack())
	}
	_, pui := b.pui(account)
	return r.Finish(pui, f.site, stands, waiting, time.Now()), nil
}

// nameless looks up what older records know of packs that were put aside without a scan, as
// after lost records: the brief reading has forgotten them. It ends with the record head.
func (b *books) nameless(ctx context.Context, account string, x *caseReader, head ledger.Head) error {
	only := map[scan.PackID]bool{}
	for k, c := range x.cases {
		if c.waits() && c.Pack.IsZero() {
			only[k] = true
		}
	}
	if len(only) == 0 {
		return nil
	}
	whole := newCaseReader(x.records, account, only)
	err := b.walk(ctx, account, func(e queue.Entry, rec *ledger.Record) (bool, error) {
		if e.Seq > head.Seq {
			return false, nil
		}
		return true, whole.take(e.Seq, rec)
	})
	for k := range only {
		if c := whole.cases[k]; c != nil {
			x.cases[k] = c
		}
	}
	return err
}

func (it *reviewItem) waitingPack() report.WaitingPack {
	return report.WaitingPack{Since: it.Since, Pack: it.Pack, Scheme: it.Scheme, Product: it.Product, Serial: it.Serial, Batch: it.Batch, Expiry: it.Expiry,
		Op: it.Op, Result: it.Result, Reason: it.Reason, Code: it.Code, AlertID: it.AlertID, Source: it.Source, Event: it.Event, Message: it.Message}
}

func (a *app) indicators(ctx context.Context, f reportFlags, day report.Day) error {
	b, err := a.openBooks(ctx, f.account)
	if err != nil {
		return err
	}
	defer b.conn.Close()
	var all []report.Standing
	for _, account := range b.names {
		y := report.NewTally(day)
		err := b.walk(ctx, account, func(e queue.Entry, rec *ledger.Record) (bool, error) { return y.Take(e.Head(), e.Time, rec), nil })
		if err != nil {
			return err
		}
		acc, pui := b.pui(account)
		all = append(all, y.Finish(pui, acc.credentials()))
	}
	x := report.Count(day, all)
	out := bufio.NewWriter(a.stdout)
	switch f.format {
	case "json":
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		err = enc.Encode(x)
	case "csv":
		err = report.WriteCSV(out, report.IndicatorColumns, x.Rows(), harmless)
	case "xlsx":
		err = report.WriteXLSX(out, x.Sheets(a.lang.of))
	default:
		err = x.Text(out, a.lang.of)
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

// credentials tells whether the account could log in, without logging in.
func (a *Account) credentials() report.Credentials {
	c := report.Credentials{Named: a.ClientLoginID != "" && a.UserID != ""}
	if a.Certificate == "" && a.CertificateFile == "" {
		return c
	}
	cert, err := nmvs.LoadCertificate(a.certConfig())
	if err != nil {
		c.Problem = err.Error()
		return c
	}
	c.Certificate = cert.Expiry()
	return c
}
