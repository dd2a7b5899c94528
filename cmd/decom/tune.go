package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"decom/ratelimit"
	"decom/worker"
	"decom/worker/ledger"
)

func newTuneCommand(a *app) *cobra.Command {
	var p personFlags
	var s spanFlags
	var l ledger.Limits
	c := &cobra.Command{
		Use:   "tune [ACCOUNT]",
		Short: a.text("Changer les limites d'un compte, ou de tous, sans redémarrage", "Change the limits of an account, or of all, without a restart"),
		Long: a.text(`Les débits sont ceux du compte sur toute la flotte, parallel celui de chaque processus. Ce qui n'est pas
donné reste comme configuré ; un nouveau réglage remplace le précédent en entier. Plus que la
configuration ne compte qu'avec --above-config. Il finit de lui-même à son heure, ou par decom resume.
Qui et pourquoi sont écrits au registre de chaque compte.`,
			`Rates are the account's over the whole fleet, parallel is each process's. What is not given stays
as configured; a new tune replaces the one before as a whole. More than the configuration
counts only with --above-config. It ends by itself at its time, or by decom resume. Who and why
are written to the ledger of each account.`),
		Example: `  decom tune --single 3/s --bulk 4/min --for 2h --who "A. Martin" --why "NMVS asked for less"
  decom tune chu-nord --batch 200 --until-resumed --who "A. Martin" --why "large bulks time out"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.oneAccount(&s.account, args); err != nil {
				return err
			}
			for _, name := range []string{"parallel", "batch"} {
				if n, _ := c.Flags().GetInt(name); c.Flags().Changed(name) && n < 1 {
					return a.usagef("--%s %d : au moins 1 ; pour ne rien envoyer, decom pause", "--%s %d: at least 1; to send nothing, decom pause", name, n)
				}
			}
			return a.tune(c.Context(), s, p, l)
		},
	}
	f := c.Flags()
	f.StringVar(&l.Single, "single", "", "calls of the single service, verifies included, as `3/s`")
	f.StringVar(&l.Bulk, "bulk", "", "calls of the bulk services, polls included, as `4/min`")
	f.IntVar(&l.Parallel, "parallel", 0, "calls at once of each process")
	f.IntVar(&l.Batch, "batch", 0, "most packs of one bulk")
	f.BoolVar(&l.Above, "above-config", false, "the limits may be above those of the configuration: NMVS may lock an account that is too fast")
	s.add(c)
	p.add(a, c)
	return c
}

func (a *app) tune(ctx context.Context, s spanFlags, p personFlags, l ledger.Limits) error {
	until, err := s.until(a, time.Now())
	if err != nil {
		return err
	}
	if l == (ledger.Limits{Above: l.Above}) {
		return a.usagef("quelle limite ? Donner --single, --bulk, --parallel ou --batch", "which limit? Give --single, --bulk, --parallel or --batch")
	}
	for name, text := range map[string]string{"single": l.Single, "bulk": l.Bulk} {
		if _, err := ratelimit.ParseRate(text); text != "" && err != nil {
			return a.usagef("--%s %q : donner des appels par durée, plus de 0, comme 5/s, 6/min ou 1/10s", "--%s %q: give calls per time, above 0, as 5/s, 6/min or 1/10s", name, text)
		}
	}
	if l.Parallel > worker.MaxParallel || l.Batch > ledger.MaxPacks {
		return a.usagef("au plus --parallel %d et --batch %d", "at most --parallel %d and --batch %d", worker.MaxParallel, ledger.MaxPacks)
	}
	return a.setControls(ctx, s.account, p, ledger.Tune, ledger.Control{Until: millis(until), Limits: &l}, func(acc *Account) error {
		return a.belowConfig(acc, l)
	})
}

// belowConfig refuses what is above an account's configuration, unless that was said.
func (a *app) belowConfig(acc *Account, l ledger.Limits) error {
	live, err := acc.live()
	if err != nil {
		return exitWith(exitConfig, err)
	}
	_, above, err := worker.Narrowed(live, l)
	if err != nil || len(above) == 0 || l.Above {
		return err
	}
	return a.usagef("plus que la configuration de %s n'en permet : %s (single %s, bulk %s, parallel %d, batch %d). Donner moins, ou --above-config si le NMVS l'a permis ; rien n'est écrit",
		"more than the configuration of %s allows: %s (single %s, bulk %s, parallel %d, batch %d). Give less, or --above-config if NMVS has allowed it; nothing was written",
		acc.Name, strings.Join(above, ", "), acc.Limits.Single, acc.Limits.Bulk, acc.Limits.Parallel, acc.Limits.Batch)
}

// live is what of an account's configuration may change while it runs.
func (acc *Account) live() (worker.Live, error) {
	rates, err := acc.rates()
	if err != nil {
		return worker.Live{}, err
	}
	return worker.Live{Mode: worker.Mode(acc.Mode), Parallel: acc.Limits.Parallel, Batch: acc.Limits.Batch,
		BulkFrom: bulkFrom(acc), BulkInFlight: acc.Limits.Bulks, Rates: rates}, nil
}
