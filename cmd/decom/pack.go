package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"decom/queue"
	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

func newPackCommand(a *app) *cobra.Command {
	var asJSON bool
	var account string
	c := &cobra.Command{
		Use:   "pack SCAN-OR-CODE [SERIAL]",
		Short: a.text("Toute l'histoire d'une boîte, d'après le registre", "One pack's whole history, from the ledger"),
		Long: a.text(`Désigne la boîte par le texte brut de son code, ou par code produit (GTIN ou CIP13) et numéro de série,
et montre tout ce que le registre en sait, le plus ancien d'abord.`,
			"Names the pack by the raw text of its data carrier, or by product code (GTIN or CIP13) and serial,\n"+
				"and prints everything the ledger knows of it, oldest first."),
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error { return a.pack(c.Context(), args, account, asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	c.Flags().StringVar(&account, "account", "", "only this account's ledger")
	return c
}

// packName finds the pack's name: scheme, code and serial are all that it takes.
func packName(args []string, now time.Time) (scan.PackID, string, error) {
	if len(args) == 1 {
		r, rej := worker.ReadImport(args[0], now)
		if rej != nil {
			m := scan.Message(scan.Supply, scan.Rejected, rej.Reason)
			return "", "", spokenUsagef("la lecture ne peut être lue (%[1]s) : %[3]s", "the scan cannot be read (%[1]s): %[2]s", rej.Reason, m.EN, m.FR)
		}
		return r.Pack.ID(), r.Pack.Code(), nil
	}
	code, scheme := args[0], scan.GTIN
	switch {
	case len(code) == 13:
		code = "0" + code
	case len(code) < 14:
		scheme = scan.PPN
	}
	// Batch and expiry are no part of the name. The check digit is judged, too: a slip of
	// the finger must not read as "never scanned here".
	f := scan.Fields{Scheme: string(scheme), Code: code, Serial: args[1], Batch: "X", Expiry: "301231"}
	r, rej := worker.Read(scan.Event{Fields: &f}, now)
	if rej != nil {
		m := scan.Message(scan.Supply, scan.Rejected, rej.Reason)
		return "", "", spokenUsagef("%[4]s (%[2]s, %[3]s) : donner la lecture brute, ou un GTIN ou CIP13 et un numéro de série", "%[1]s (%[2]s, %[3]s): give the raw scan, or a GTIN or CIP13 and a serial", m.EN, rej.Reason, rej.Field, m.FR)
	}
	return r.Pack.ID(), r.Pack.Code(), nil
}

// packEvent is one line of a pack's history.
type packEvent struct {
	Seq     uint64         `json:"seq"`
	At      string         `json:"at"`
	By      string         `json:"by"`
	Account string         `json:"account"`
	What    string         `json:"what"` // note, open, or a fact's kind
	Op      string         `json:"op,omitempty"`
	Event   string         `json:"event_id,omitempty"`
	Source  string         `json:"source,omitempty"`
	Trx     string         `json:"client_trx_id,omitempty"`
	Service ledger.Service `json:"service,omitempty"`
	Who     string         `json:"who,omitempty"`
	Why     string         `json:"why,omitempty"`
	*ledger.Answer
}

func (a *app) pack(ctx context.Context, args []string, only string, asJSON bool) error {
	k, code, err := packName(args, time.Now())
	if err != nil {
		return err
	}
	c, err := a.loadConfig(needLook)
	if err != nil {
		return err
	}
	conn, err := c.connectQueue(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	found := 0
	enc := json.NewEncoder(a.stdout)
	if !asJSON {
		a.sayf("boîte %s, produit %s", "pack %s, product %s", k, code)
	}
	for i := range c.Accounts {
		name := c.Accounts[i].Name
		if only != "" && only != name {
			continue
		}
		tell := func(e packEvent) error {
			if asJSON {
				return enc.Encode(e)
			}
			a.printPackEvent(e)
			return nil
		}
		controls, err := history(ctx, conn.Ledger(name), name, k, func(e packEvent) error {
			found++
			return tell(e)
		})
		if err != nil {
			return fmt.Errorf("ledger of %s: %w", name, err)
		}
		for _, e := range withheldEvents(name, controls, code, scannedBatch(args)) {
			if err := tell(e); err != nil {
				return err
			}
		}
		if !asJSON {
			a.printPackState(ctx, c, name, k)
		}
	}
	if found == 0 && !asJSON {
		a.sayf("rien dans le registre : cette boîte n'a jamais été scannée ici", "nothing on the ledger: this pack was never scanned here")
	}
	return nil
}

// history walks an account's ledger for one pack, and returns what is set for the account. Facts about its attempts as a whole
// (submitted, used) belong to it too.
func history(ctx context.Context, l *queue.Ledger, account string, k scan.PackID, fn func(packEvent) error) (c ledger.Controls, err error) {
	attempts := map[string]scan.Op{}
	_, err = l.Read(ctx, 1, func(e queue.Entry) error {
		r, err := ledger.Decode(e.Payload, account)
		if err != nil {
			return fmt.Errorf("record %d: %w", e.Seq, err)
		}
		c.Add(e.Seq, r)
		for _, ev := range packEvents(r, k, attempts) {
			ev.Seq, ev.At, ev.By, ev.Account = e.Seq, r.At, r.By, account
			if err := fn(ev); err != nil {
				return err
			}
		}
		return nil
	})
	return c, err
}

// scannedBatch is the batch that the raw text of a scan names, "" when only code and serial are given.
func scannedBatch(args []string) string {
	if len(args) != 1 {
		return ""
	}
	r, rej := worker.ReadImport(args[0], time.Now())
	if rej != nil {
		return ""
	}
	return r.Pack.Batch()
}

// withheldEvents tell why scans of the pack may wait: its batch is withheld, or, when that is not
// known, a batch of its product.
func withheldEvents(account string, c ledger.Controls, code, batch string) (evs []packEvent) {
	for _, w := range c.Withholds(time.Now()) {
		if l := w.Scope.Lot; l.Code == code && w.Scope.Device == "" && (batch == "" || l.Batch == batch) {
			evs = append(evs, packEvent{Seq: w.Seq, At: w.At, Account: account, What: "withheld", Source: w.Scope.String(), Who: w.Who, Why: w.Why})
		}
	}
	return evs
}

func packEvents(r *ledger.Record, k scan.PackID, attempts map[string]scan.Op) []packEvent {
	var evs []packEvent
	for i := range r.Note {
		if n := &r.Note[i]; n.K == k {
			evs = append(evs, packEvent{What: "note", Op: n.Op.String(), Event: n.Ev, Source: n.Src, Trx: n.Trx, Answer: &n.Answer})
		}
	}
	for i := range r.Open {
		o := &r.Open[i]
		for j := range o.Packs {
			if p, err := o.Pack(j); err != nil || p.ID() != k {
				continue
			}
			op := o.Packs[j].Op
			attempts[o.C] = op
			evs = append(evs, packEvent{What: "open", Op: op.String(), Event: o.Packs[j].Ev, Source: o.Packs[j].Src, Trx: o.Trx(j), Service: o.Svc})
		}
	}
	for i := range r.Fact {
		f := &r.Fact[i]
		base := packEvent{What: string(f.Kind), Trx: f.C, Who: f.Who, Why: f.Why}
		if op, ok := attempts[f.C]; ok {
			base.Op = op.String()
			if len(f.Packs) == 0 {
				evs = append(evs, base)
			}
		}
		for j := range f.Packs {
			if f.Packs[j].K == k {
				e := base
				e.Answer = f.Packs[j].Answer
				evs = append(evs, e)
			}
		}
	}
	return evs
}

var packWords = map[string]scan.Text{
	"note":      {FR: "scan classé sans appel", EN: "scan disposed of without a call"},
	"open":      {FR: "envoi ouvert", EN: "attempt opened"},
	"submitted": {FR: "lot accepté par le répertoire", EN: "bulk accepted by the repository"},
	"result":    {FR: "résultat", EN: "result"},
	"off":       {FR: "non envoyé, ou refusé en bloc : à renvoyer", EN: "not sent, or refused as a whole: due again"},
	"fence":     {FR: "sans réponse : mise en attente", EN: "no answer: held"},
	"release":   {FR: "vérifié non fait : à renvoyer", EN: "verified as not done: due again"},
	"park":      {FR: "mise de côté", EN: "put aside"},
	"review":    {FR: "décision d'une personne", EN: "a person's decision"},
	"withheld":  {FR: "lot retenu, ses lectures attendent", EN: "batch withheld, its scans wait"},
}

func (a *app) printPackEvent(e packEvent) {
	word := a.lang.of(packWords[e.What])
	if word == "" {
		word = e.What
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  #%-6d %s", e.At, e.Seq, word)
	for _, s := range []string{e.Op, string(e.Service)} {
		if s != "" {
			b.WriteString(" " + s)
		}
	}
	if e.Answer != nil && e.Answer.Result != "" {
		fmt.Fprintf(&b, ": %s", e.Answer.Result)
		for _, s := range []string{string(e.Answer.Reason), e.Answer.Code, e.Answer.State, strings.Join(e.Answer.Reasons, ","), e.Answer.AlertID} {
			if s != "" {
				b.WriteString(" " + s)
			}
		}
	}
	if e.Source != "" {
		fmt.Fprintf(&b, "  [%s %s]", e.Source, e.Event)
	}
	if e.Trx != "" {
		b.WriteString("  trx " + e.Trx)
	}
	if e.Who != "" {
		fmt.Fprintf(&b, "  %s: %s", e.Who, e.Why)
	}
	fmt.Fprintln(a.stdout, b.String())
}

// printPackState adds what Redis says, if it can be asked: the ledger is the authority.
func (a *app) printPackState(ctx context.Context, c *loaded, account string, k scan.PackID) {
	cfg, err := c.storeConfig()
	if err != nil || cfg.Embedded() {
		return
	}
	store, err := packstate.Open(ctx, cfg)
	if err != nil {
		return
	}
	defer store.Close()
	states, err := store.Peek(ctx, account, []scan.PackID{k})
	if s, ok := states[k]; err == nil && ok {
		a.sayf("état (compte %s) : %s %s", "state (account %s): %s %s", account, s.Phase, opText(s))
	}
}

func opText(s ledger.State) string {
	if s.Op == 0 {
		return ""
	}
	return s.Op.String()
}
