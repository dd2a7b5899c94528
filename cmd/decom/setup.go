package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"decom/queue"
)

func newSetupCommand(a *app) *cobra.Command {
	var dryRun, asJSON bool
	c := &cobra.Command{
		Use:   "setup",
		Short: a.text("Créer ou mettre à jour flux et consommateurs, et dire ce qui change", "Create or update streams and consumers, and say what changed"),
		Long: a.text(`Crée les flux DECOM_SCANS, DECOM_LEDGER et DECOM_OUTCOMES et les consommateurs de chaque compte, ou
change ce qui diffère. Rien n'est jamais supprimé. Ce qui ne peut être changé (le stockage, la protection
du registre) est signalé et laissé ; le code de sortie est alors 1.`,
			`Create the streams DECOM_SCANS, DECOM_LEDGER and DECOM_OUTCOMES and the consumers of every
account, or change what differs. Nothing is ever deleted. What cannot be changed
(the storage, the ledger's protection) is reported and left alone; the exit code
is then 1.`),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.setup(c.Context(), dryRun, asJSON) },
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would change")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// setupReport is what decom setup --json prints.
type setupReport struct {
	DryRun  bool          `json:"dry_run"`
	Changes []setupChange `json:"changes"`
}

type setupChange struct {
	Object string `json:"object"`          // stream, or stream/consumer
	Field  string `json:"field,omitempty"` // empty: created
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
}

func (a *app) setup(ctx context.Context, dryRun, asJSON bool) error {
	c, err := a.loadConfig(needQueue | needAccounts)
	if err != nil {
		return err
	}
	conn, err := c.connectQueue(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	changes, failed := setUp(ctx, conn, &c.Config, dryRun)
	if err := a.printChanges(changes, dryRun, asJSON); err != nil {
		return err
	}
	return failed
}

// printChanges tells what was done, also when something failed after it.
func (a *app) printChanges(changes []queue.Change, dryRun, asJSON bool) error {
	if asJSON {
		r := setupReport{DryRun: dryRun, Changes: []setupChange{}}
		for _, c := range changes {
			r.Changes = append(r.Changes, setupChange(c))
		}
		return json.NewEncoder(a.stdout).Encode(r)
	}
	for _, c := range changes {
		if _, err := fmt.Fprintln(a.stdout, c); err != nil {
			return err
		}
	}
	switch {
	case len(changes) == 0:
		a.sayf("Rien à changer.", "Nothing to change.")
	case dryRun:
		a.sayf("%d changement(s) à faire ; rien n'a été changé.", "%d change(s) to make; nothing was changed.", len(changes))
	default:
		a.sayf("%d changement(s).", "%d change(s) made.", len(changes))
	}
	return nil
}
