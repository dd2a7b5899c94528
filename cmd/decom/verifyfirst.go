package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"decom/worker"
)

func newVerifyFirstCommand(a *app) *cobra.Command {
	var p personFlags
	var account string
	var end bool
	c := &cobra.Command{
		Use:   "verify-first [ACCOUNT]",
		Short: a.text("Registre et Redis perdus : vérifier chaque boîte avant de l'envoyer", "Ledger and Redis lost: verify each pack before it is sent"),
		Long: a.text(`Quand le registre et Redis sont perdus ensemble, personne ne sait plus ce qui était envoyé. Avant de
redémarrer decom (après decom setup), et au moins T_HOLD après le dernier envoi (20 min, lots 24 h), cette
commande fait vérifier chaque boîte : seule une boîte vue active est envoyée, une boîte inactive devient une
alerte pour une personne, sans alerte au NMVS. Il reste un petit risque : ce qui est encore en route. Chaque
lecture coûte un appel de plus, jusqu'à --end. decom resume n'y met pas fin. Qui et pourquoi sont
écrits au registre de chaque compte.`,
			`When ledger and Redis are lost together, nobody knows any more what was sent. Before decom is
started again (after decom setup), and at least T_HOLD after the last call (20 min, bulks 24 h), this has each
pack verified: only a pack seen active is sent, an inactive one becomes an alert for a person, and raises
none at NMVS. A small risk remains: what is still on its way. Each scan costs one more call, until
--end. decom resume does not end it. Who and why are written to the ledger of each account.`),
		Example: `  decom verify-first --who "A. Martin" --why "disk of both stores lost on 24 November"
  decom verify-first chu-nord --end --who "A. Martin" --why "every pack of the stock was looked at"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.oneAccount(&account, args); err != nil {
				return err
			}
			return a.verifyFirst(c.Context(), account, !end, p)
		},
	}
	c.Flags().BoolVar(&end, "end", false, "packs are sent unverified again, as configured")
	c.Flags().StringVar(&account, "account", "", "one account; without it all")
	p.add(a, c)
	return c
}

func (a *app) verifyFirst(ctx context.Context, account string, on bool, flags personFlags) error {
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	names, err := d.accounts(account)
	if err != nil {
		return err
	}
	person, err := a.person(flags)
	if err != nil {
		return err
	}
	return a.eachAccount(names, func(name string) error {
		if err := d.intact(ctx, name); err != nil {
			return err
		}
		seq, err := worker.SetVerifyFirst(ctx, d.conn.Ledger(name), d.store, name, on, person)
		switch {
		case errors.Is(err, worker.ErrVerifyFirst):
			return a.errorf("c'est déjà ainsi ; rien n'est écrit", "%w; nothing was written", err)
		case err != nil:
			return err
		case on:
			a.sayf("%s : chaque boîte est vérifiée avant son envoi (enregistrement %d du registre).", "%s: each pack is verified before it is sent (ledger record %d).", name, seq)
		default:
			a.sayf("%s : les boîtes sont envoyées sans vérification, comme configuré (enregistrement %d du registre).", "%s: packs are sent unverified again, as configured (ledger record %d).", name, seq)
		}
		_ = d.conn.TellControl(name) // workers look by themselves
		return nil
	})
}
