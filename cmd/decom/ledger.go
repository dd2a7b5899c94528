package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"decom/queue"
	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

func newLedgerCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "ledger",
		Short: a.text("Vérifier, exporter le registre ; reconstruire Redis", "Check and export the ledger; rebuild Redis"),
		Args:  groupArgs,
		RunE:  groupArgs,
	}
	c.AddCommand(newLedgerVerify(a), newLedgerExport(a), newLedgerRebuild(a))
	return c
}

func newLedgerVerify(a *app) *cobra.Command {
	var account string
	asJSON := false
	c := &cobra.Command{
		Use:   "verify",
		Short: a.text("Relire tout le registre : chaîne de hachage, sens, comparaison avec Redis", "Read the whole ledger: hash chain, meaning, comparison with Redis"),
		Long: a.text(`Lit chaque enregistrement, vérifie que chacun nomme le précédent par son numéro et son SHA-256 et peut le
suivre, et demande à Redis s'il connaît un enregistrement que le registre n'a pas. Code de sortie 99 si
quelque chose ne va pas, avec le numéro de l'enregistrement.`,
			`Reads every record, checks that each names the one before by sequence and SHA-256 and that it
can follow it, and asks Redis whether it knows a record that the ledger does not hold. The exit
code is 99 when something is wrong, with the record's sequence.`),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.ledgerVerify(c.Context(), account, asJSON) },
	}
	c.Flags().StringVar(&account, "account", "", "only this account")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object an account")
	return c
}

// ledgerReport is what decom ledger verify --json prints for an account.
type ledgerReport struct {
	Account string         `json:"account"`
	OK      bool           `json:"ok"`
	Records int            `json:"records"`
	Bytes   int64          `json:"bytes"`
	Last    uint64         `json:"last_seq"`
	Hash    string         `json:"last_hash"`
	At      string         `json:"last_at"`
	Notes   int            `json:"notes"`
	Opens   int            `json:"opens"`
	Facts   map[string]int `json:"facts"` // by kind
	Packs   map[string]int `json:"packs"` // by state
	Redis   string         `json:"redis"` // ok, none, or what is wrong
	BadSeq  uint64         `json:"bad_seq,omitempty"`
	Error   string         `json:"error,omitempty"`
}

func (a *app) ledgerVerify(ctx context.Context, only string, asJSON bool) error {
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	accounts, err := d.accounts(only)
	if err != nil {
		return err
	}
	enc, bad := json.NewEncoder(a.stdout), error(nil)
	for _, account := range accounts {
		r, err := verifyLedger(ctx, d.conn.Ledger(account), d.store, account)
		if err != nil {
			return fmt.Errorf("ledger of %s: %w", account, err)
		}
		if !r.OK {
			bad = errors.Join(bad, fmt.Errorf("ledger of %s: %s", account, r.Error))
		}
		if !asJSON {
			a.printLedgerReport(&r)
		} else if err := enc.Encode(&r); err != nil {
			return err
		}
	}
	return exitWith(exitThreshold, bad)
}

// verifyLedger walks one ledger. An error means that it could not be read; what is
// wrong with it is in the report.
func verifyLedger(ctx context.Context, records worker.Records, w worker.Witness, account string) (ledgerReport, error) {
	r := ledgerReport{Account: account, Facts: map[string]int{}, Packs: map[string]int{}, Redis: "ok"}
	states := ledger.States{}
	last, err := worker.WalkLedger(ctx, records, account, func(e queue.Entry, rec *ledger.Record) error {
		if _, err := ledger.Fold(e.Seq, rec, states); err != nil {
			return &worker.ChainError{Seq: e.Seq, Err: err}
		}
		r.Records++
		r.Bytes += int64(len(e.Payload))
		r.Notes += len(rec.Note)
		r.Opens += len(rec.Open)
		for i := range rec.Fact {
			r.Facts[string(rec.Fact[i].Kind)]++
		}
		return nil
	})
	r.Last, r.Hash, r.At = last.Seq, last.Hash, scan.Time(last.Time)
	for _, s := range states {
		r.Packs[s.Phase.String()]++
	}
	if chain, ok := errors.AsType[*worker.ChainError](err); ok {
		r.BadSeq, r.Error = chain.Seq, err.Error()
		r.Redis = ""
		return r, nil
	}
	if errors.Is(err, queue.ErrGap) {
		r.Error = err.Error()
		return r, nil
	}
	if err != nil {
		return r, err
	}
	_, inRedis, err := w.Head(ctx, account)
	if err != nil {
		return r, err
	}
	if _, onDisk, _ := w.LoadHead(account); !inRedis && !onDisk { // a damaged file is CheckWitness's word
		r.Redis = "none"
	}
	switch err := worker.CheckWitness(ctx, records, w, account); {
	case errors.Is(err, worker.ErrLedgerLost), errors.Is(err, packstate.ErrHeadFile):
		r.Redis, r.Error = err.Error(), err.Error()
		return r, nil
	case err != nil:
		return r, err
	}
	r.OK = true
	return r, nil
}

func (a *app) printLedgerReport(r *ledgerReport) {
	verdict := a.text("en ordre", "sound")
	if !r.OK {
		verdict = a.text("PAS en ordre", "NOT sound")
	}
	a.sayf("%s : registre %s, %d enregistrements (%d octets) jusqu'au %d (%.12s, %s)", "%s: ledger %s, %d records (%d bytes) up to %d (%.12s, %s)",
		r.Account, verdict, r.Records, r.Bytes, r.Last, r.Hash, r.At)
	a.sayf("  %d scans classés, %d envois ouverts, faits : %s", "  %d scans disposed of, %d attempts opened, facts: %s", r.Notes, r.Opens, counted(r.Facts))
	a.sayf("  boîtes : %s ; Redis %s", "  packs: %s; Redis %s", counted(r.Packs), r.Redis)
	if r.Error != "" {
		fmt.Fprintln(a.stdout, "  "+r.Error)
	}
}
