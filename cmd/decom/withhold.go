package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// What a person withholds and frees: a batch (decom batch) or a device (decom device). It is a
// fact on the ledger as a pause is, and so is what the workers withhold by themselves.

func newBatchCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "batch",
		Short: a.text("Retenir un lot, et le libérer", "Withhold a batch, and free it"),
		Long: a.text(`Un lot dont le NMVS ne connaît pas les numéros de série, alors que les lecteurs en lisent bien d'autres,
n'a sans doute pas été chargé par le fabricant : les workers le retiennent d'eux-mêmes, pour sept jours.
Rien de nouveau n'en est envoyé, ses lectures attendent dans le flux. Quand le fabricant l'a chargé :
decom batch free.`,
			`A batch whose serials NMVS does not know, while the scanners read others well, was most likely
not uploaded by its manufacturer: the workers withhold it by themselves, for seven days. Nothing
new of it is sent, its scans wait in the stream. When the manufacturer has uploaded it:
decom batch free.`),
		Args: groupArgs,
		RunE: groupArgs,
	}
	c.AddCommand(newWithholdCommand(a, ledger.ScopeBatch), newFreeCommand(a, ledger.ScopeBatch), newWithheldLs(a, ledger.ScopeBatch))
	return c
}

// scopeUse and scopeArgs are how the scope of each kind is written.
var (
	scopeUse  = map[string]string{ledger.ScopeBatch: "CODE LOT", ledger.ScopeDevice: "SITE/DEVICE"}
	scopeArgs = map[string]int{ledger.ScopeBatch: 2, ledger.ScopeDevice: 1}
)

func newWithholdCommand(a *app, kind string) *cobra.Command {
	var p personFlags
	var f spanFlags
	example := `  decom batch withhold 03400930000007 LOT42 --for 168h --who "A. Martin" --why "the manufacturer is told"`
	if kind == ledger.ScopeDevice {
		example = `  decom device withhold chu-nord/rowa-1 --until-freed --who "A. Martin" --why "its lens is scratched"`
	}
	c := &cobra.Command{
		Use:   "withhold " + scopeUse[kind],
		Short: a.text("N'en envoyer rien de nouveau, avec un nom, une raison et une fin", "Send nothing new of it, with a name, a reason and an end"),
		Long: a.text(`Ses lectures attendent dans le flux, rien n'est perdu. Ce qui n'a pas besoin d'appel est répondu comme
toujours, ce qui était envoyé se termine, les vérifications continuent. Qui et pourquoi sont écrits au
registre de chaque compte concerné.`,
			`Its scans wait in the stream, nothing is lost. What needs no call is answered as always, what was
sent is finished, verifies go on. Who and why are written to the ledger of each account meant.`),
		Example: example,
		Args:    cobra.ExactArgs(scopeArgs[kind]),
		RunE: func(c *cobra.Command, args []string) error {
			until, err := f.until(a, time.Now())
			if err != nil {
				return err
			}
			return a.setWithheld(c.Context(), kind, args, f.account, p, func(ctx context.Context, d *desk, name string, s ledger.Scope, person worker.Person) error {
				seq, err := worker.SetWithheld(ctx, d.conn.Ledger(name), d.store, name, s, until, person)
				if errors.Is(err, worker.ErrWithheldFull) {
					return a.errorf("%d de cette sorte sont déjà retenus ; rien n'est écrit. En libérer d'abord", "%d of this kind are withheld already; nothing was written. Free some first", ledger.MaxWithheld)
				}
				if err == nil {
					a.sayf("%s : %s retenu %s (enregistrement %d du registre). Ce qui est envoyé se termine.", "%s: %s withheld %s (ledger record %d). What was sent is finished.",
						name, scopeText(s), a.freedText(millis(until)), seq)
				}
				return err
			})
		},
	}
	f.addWithheld(c)
	p.add(a, c)
	return c
}

func newFreeCommand(a *app, kind string) *cobra.Command {
	var p personFlags
	var account string
	c := &cobra.Command{
		Use:   "free " + scopeUse[kind],
		Short: a.text("Le libérer, avec un nom et une raison", "Free it, with a name and a reason"),
		Long: a.text(`Ses lectures partent d'elles-mêmes, en quelques minutes. Qui et pourquoi sont écrits au registre.`,
			`Its scans go on by themselves, within minutes. Who and why are written to the ledger.`),
		Args: cobra.ExactArgs(scopeArgs[kind]),
		RunE: func(c *cobra.Command, args []string) error {
			freed := 0
			err := a.setWithheld(c.Context(), kind, args, account, p, func(ctx context.Context, d *desk, name string, s ledger.Scope, person worker.Person) error {
				seq, err := worker.FreeWithheld(ctx, d.conn.Ledger(name), d.store, name, s, person)
				if errors.Is(err, worker.ErrNotWithheld) {
					return nil
				}
				if err == nil {
					freed++
					a.sayf("%s : %s libéré (enregistrement %d du registre). Ses lectures partent en quelques minutes.", "%s: %s freed (ledger record %d). Its scans go on within minutes.",
						name, scopeText(s), seq)
				}
				return err
			})
			if err == nil && freed == 0 {
				return a.errorf("%s n'est pas retenu ; rien n'est écrit (decom %s ls montre ce qui l'est)", "%s is not withheld; nothing was written (decom %s ls shows what is)", strings.Join(args, " "), kind)
			}
			return err
		},
	}
	c.Flags().StringVar(&account, "account", "", "only that account; default: every account of the configuration that it concerns")
	p.add(a, c)
	return c
}

// setWithheld does one thing about a scope for every account that it concerns.
func (a *app) setWithheld(ctx context.Context, kind string, args []string, account string, flags personFlags,
	do func(ctx context.Context, d *desk, name string, s ledger.Scope, p worker.Person) error,
) error {
	s, err := a.scope(kind, args)
	if err != nil {
		return err
	}
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	names, err := d.accounts(account)
	if err != nil {
		return err
	}
	if s.Device != "" {
		if names, err = d.accountsOf(a, names, s.Device); err != nil {
			return err
		}
	}
	person, err := a.person(flags)
	if err != nil {
		return err
	}
	return a.eachAccount(names, func(name string) error {
		if err := d.intact(ctx, name); err != nil {
			return err
		}
		if err := do(ctx, d, name, s, person); err != nil {
			return err
		}
		_ = d.conn.TellControl(name) // workers look by themselves
		return nil
	})
}

// accountsOf leaves the accounts that serve the device's site.
func (d *desk) accountsOf(a *app, names []string, device string) ([]string, error) {
	site, _, _ := strings.Cut(device, "/")
	var left, sites []string
	for i := range d.cfg.Accounts {
		acc := &d.cfg.Accounts[i]
		sites = append(sites, acc.Sites...)
		for _, name := range names {
			for _, s := range acc.Sites {
				if name == acc.Name && s == site {
					left = append(left, name)
				}
			}
		}
	}
	if len(left) == 0 {
		return nil, a.usagef("aucun compte ne sert le site %q ; la configuration a : %s", "no account serves site %q; the configuration has: %s", site, strings.Join(sites, ", "))
	}
	return left, nil
}

// scope reads what is written on the command line.
func (a *app) scope(kind string, args []string) (ledger.Scope, error) {
	if kind == ledger.ScopeDevice {
		s, err := ledger.ParseScope(ledger.ScopeDevice + ":" + args[0])
		if err != nil {
			return s, a.usagef("%q ne désigne pas un lecteur : donner SITE/APPAREIL", "%q names no device: give SITE/DEVICE", args[0])
		}
		return s, nil
	}
	code, scheme := args[0], scan.GTIN
	switch {
	case len(code) == 13:
		code = "0" + code
	case len(code) < 14:
		scheme = scan.PPN
	}
	// Serial and expiry are no part of it; the check digit is judged: a slip of the finger must
	// not withhold nothing.
	r, rej := worker.Read(scan.Event{Fields: &scan.Fields{Scheme: string(scheme), Code: code, Serial: "X", Batch: args[1], Expiry: "301231"}}, time.Now())
	if rej != nil {
		m := scan.Message(scan.Supply, scan.Rejected, rej.Reason)
		return ledger.Scope{}, a.usagef("%[4]s (%[2]s, %[3]s) : donner un GTIN ou CIP13, et le lot comme imprimé", "%[1]s (%[2]s, %[3]s): give a GTIN or CIP13, and the batch as printed", m.EN, rej.Reason, rej.Field, m.FR)
	}
	return ledger.Scope{Lot: ledger.LotOf(r.Pack)}, nil
}

// scopeText names a scope for people.
func scopeText(s ledger.Scope) string {
	if s.Device != "" {
		return s.Device
	}
	return s.Lot.Code + " " + s.Lot.Batch
}

func (a *app) freedText(until int64) string {
	if until == 0 {
		return a.text("jusqu'à ce que quelqu'un le libère", "until somebody frees it")
	}
	return a.endText(until)
}

// WithheldStatus is a batch or a device of which nothing new is sent.
type WithheldStatus struct {
	Scope   string      `json:"scope"`            // batch or device
	Scheme  scan.Scheme `json:"scheme,omitempty"` // of a batch
	Product string      `json:"product,omitempty"`
	Batch   string      `json:"batch,omitempty"`
	Device  string      `json:"device,omitempty"`
	ControlStatus
}

func withheldStatus(list []ledger.Withheld) (all []WithheldStatus) {
	for i := range list {
		s := list[i].Scope
		all = append(all, WithheldStatus{Scope: s.Kind(), Scheme: s.Lot.Scheme, Product: s.Lot.Code, Batch: s.Lot.Batch, Device: s.Device,
			ControlStatus: *controlStatus(&list[i].Standing)})
	}
	return all
}

// reason is why, in the reader's language where the workers wrote it.
func (w *WithheldStatus) reason(l language) string {
	if w.Who != worker.Auto {
		return w.Why
	}
	for _, it := range []struct{ why, fr string }{
		{worker.WhyMissingUpload, "chargement manquant : le NMVS ne connaît pas les numéros de série de ce lot, lus par des lecteurs qui en lisent bien d'autres"},
		{worker.WhyDeparts, "ses alertes et ses lectures rejetées s'écartent de celles des autres lecteurs du compte (ses dernières réponses, puis celles des autres)"},
	} {
		if figures, ok := strings.CutPrefix(w.Why, it.why); ok {
			return l.of(scan.Text{FR: it.fr, EN: it.why}) + figures
		}
	}
	return w.Why
}

// name is what is withheld.
func (w *WithheldStatus) name() string {
	if w.Device != "" {
		return w.Device
	}
	return w.Product + " " + w.Batch
}

// withheldLines tell what is withheld, for screens: one line each, without its mark.
func (s *AccountStatus) withheldLines(l language) (lines []string) {
	for i := range s.Withheld {
		w := &s.Withheld[i]
		until := w.Until
		if until == "" {
			until = "decom " + w.Scope + " free"
		}
		text := scan.Text{FR: "lot %s RETENU jusqu'à %s, par %s : %s", EN: "batch %s WITHHELD until %s, by %s: %s"}
		if w.Device != "" {
			text = scan.Text{FR: "lecteur %s RETENU jusqu'à %s, par %s : %s", EN: "device %s WITHHELD until %s, by %s: %s"}
		}
		lines = append(lines, fmt.Sprintf(l.of(text), w.name(), until, w.Who, w.reason(l)))
	}
	if s.WithheldScans > 0 {
		lines = append(lines, fmt.Sprintf(l.of(scan.Text{FR: "%d lecture(s) de ce qui est retenu attendent", EN: "%d scan(s) of what is withheld wait"}), s.WithheldScans))
	}
	return lines
}

func newWithheldLs(a *app, kind string) *cobra.Command {
	var account string
	var asJSON bool
	c := &cobra.Command{
		Use:   "ls",
		Short: a.text("Ce qui est retenu", "What is withheld"),
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.withheldLs(c.Context(), kind, account, asJSON) },
	}
	c.Flags().StringVar(&account, "account", "", "only this account")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return c
}

func (a *app) withheldLs(ctx context.Context, kind, account string, asJSON bool) error {
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	names, err := d.accounts(account)
	if err != nil {
		return err
	}
	type row struct {
		Account string `json:"account"`
		WithheldStatus
	}
	var rows []row
	for _, name := range names {
		c, err := worker.ControlsOf(ctx, d.conn.Ledger(name), d.store, name)
		if err != nil {
			return fmt.Errorf("account %s: %w", name, err)
		}
		for _, w := range withheldStatus(c.Withholds(time.Now())) {
			if w.Scope == kind {
				rows = append(rows, row{name, w})
			}
		}
	}
	if asJSON {
		enc := json.NewEncoder(a.stdout)
		for i := range rows {
			if err := enc.Encode(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(rows) == 0 {
		a.sayf("Rien n'est retenu.", "Nothing is withheld.")
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, a.text("depuis\tcompte\tretenu\tjusqu'à\tpar\tpourquoi", "since\taccount\twithheld\tuntil\tby\twhy"))
	for i := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", rows[i].Since, rows[i].Account, rows[i].name(), dash(rows[i].Until), rows[i].Who, rows[i].reason(a.lang))
	}
	return w.Flush()
}
