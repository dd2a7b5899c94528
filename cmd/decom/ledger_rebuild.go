package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"decom/queue"
	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// ledgerTool signs the records of decom ledger.
const ledgerTool = "decom ledger"

func newLedgerRebuild(a *app) *cobra.Command {
	var p personFlags
	var account string
	c := &cobra.Command{
		Use:   "rebuild --account ACCOUNT",
		Short: a.text("Reconstruire Redis depuis le registre", "Rebuild Redis from the ledger"),
		Long: a.text(`Ôte ce que Redis tient du compte. Les workers en marche n'y trouvent rien, relisent le registre depuis son
premier enregistrement et le projettent de nouveau avant d'envoyer quoi que ce soit ; sans worker, le prochain
départ le fait. Avec plusieurs comptes, qui tient quelle boîte est réécrit aussi.
Refusé si le registre a perdu des enregistrements que Redis connaît : Redis en est alors le seul témoin.`,
			`Removes what Redis holds of the account. Running workers find nothing there, read the ledger from
its first record and project it anew before they send anything; without a worker the next one to
start does it. With several accounts, who holds which pack is written again too.
Refused when the ledger lost records that Redis remembers: Redis is then the only witness.`),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.ledgerRebuild(c.Context(), account, p) },
	}
	c.Flags().StringVar(&account, "account", "", "the account; needed")
	p.add(a, c)
	return c
}

func (a *app) ledgerRebuild(ctx context.Context, account string, flags personFlags) error {
	if account == "" {
		return a.usagef("quel compte ? Donner --account", "which account? Give --account")
	}
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	if _, err := d.accounts(account); err != nil {
		return err
	}
	if d.store.Embedded() {
		return a.errorf("l'état des boîtes est intégré : il est refait du registre à chaque départ de decom run", "the pack state is embedded: it is rebuilt from the ledger at each start of decom run")
	}
	if err := d.intact(ctx, account); err != nil {
		return err
	}
	records := d.conn.Ledger(account)
	held, err := heldPacks(ctx, records, account) // a ledger that does not fold must not be all that is left
	if err != nil {
		return fmt.Errorf("%w; nothing was changed, see decom ledger verify", err)
	}
	person, err := a.person(flags)
	if err != nil {
		return err
	}
	// A review that names no pack: a person's word for the record, which changes none.
	seq, err := worker.AppendFact(ctx, records, account, ledgerTool, func(context.Context, ledger.Head) (ledger.Fact, error) {
		return ledger.Fact{Kind: ledger.Review, Who: person.Who, Why: person.Why}, nil
	})
	if err != nil {
		return err
	}
	if err := d.store.Drop(ctx, account); err != nil && !errors.Is(err, packstate.ErrOvertaken) {
		return fmt.Errorf("run the same command again: %w", err)
	}
	a.sayf("Redis est vidé pour %s (enregistrement %d du registre) ; les workers le reconstruisent avant d'envoyer quoi que ce soit.",
		"Redis is emptied for %s (ledger record %d); workers rebuild it before they send anything.", account, seq)
	if len(d.cfg.Accounts) < 2 {
		return nil
	}
	n, others, err := own(ctx, d.store, account, held)
	if err != nil {
		return fmt.Errorf("who holds which pack, run the same command again: %w", err)
	}
	a.sayf("%d boîte(s) notée(s) comme tenues par %s ; %d le sont par un autre compte.", "%d pack(s) noted as held by %s; another account holds %d.", n, account, others)
	return nil
}

// heldPacks returns the packs that no other account may send: inactive by the account, on
// their way, due or put aside (protocol.md section 6).
func heldPacks(ctx context.Context, records worker.Records, account string) ([]scan.PackID, error) {
	states := ledger.States{}
	_, err := worker.WalkLedger(ctx, records, account, func(e queue.Entry, r *ledger.Record) error {
		if _, err := ledger.Fold(e.Seq, r, states); err != nil {
			return &worker.ChainError{Seq: e.Seq, Err: err}
		}
		return nil
	})
	var ks []scan.PackID
	for k, s := range states {
		if s.Phase != ledger.Free {
			ks = append(ks, k)
		}
	}
	slices.Sort(ks)
	return ks, err
}

// owners is the part of the store that says who holds a pack.
type owners interface {
	worker.Owners
	Head(ctx context.Context, account string) (ledger.Head, bool, error)
}

// own notes the packs as the account's. One that another account's projection calls free
// is taken over, as a worker would; another account's is left alone and counted.
func own(ctx context.Context, o owners, account string, ks []scan.PackID) (n, others int, err error) {
	for part := range slices.Chunk(ks, packstate.MaxPacks) {
		holders, err := o.Own(ctx, account, part)
		if err != nil {
			return n, others, err
		}
		for _, k := range part {
			holder := holders[k]
			if holder != account {
				if holder, err = takeOver(ctx, o, k, holder, account); err != nil {
					return n, others, err
				}
			}
			if holder == account {
				n++
			} else {
				others++
			}
		}
	}
	return n, others, nil
}

func takeOver(ctx context.Context, o owners, k scan.PackID, from, to string) (holder string, err error) {
	_, known, err := o.Head(ctx, from)
	if err != nil || !known { // an empty projection says nothing about the pack
		return from, err
	}
	states, err := o.Peek(ctx, from, []scan.PackID{k})
	if err != nil || states[k].Phase != ledger.Free {
		return from, err
	}
	return o.Take(ctx, k, from, to)
}
