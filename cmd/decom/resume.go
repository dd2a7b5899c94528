package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"decom/worker"
	"decom/worker/scan"
)

func newResumeCommand(a *app) *cobra.Command {
	var p personFlags
	var f resumeFlags
	c := &cobra.Command{
		Use:   "resume ACCOUNT",
		Short: a.text("Lever l'arrêt d'un compte, avec un nom et une raison", "Let a halted account go on, with a name and a reason"),
		Long: `Shows why the account is halted and lets it go on. Who and why are written to the ledger.

After a halt because the ledger lost records that Redis remembers, give --after-loss: every
pack that the lost records had changed is put aside for review, the scans since one hour before
the ledger's last record are delivered again, and Redis is emptied, so that the workers
project the ledger anew. It may be run again when it was interrupted.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.resume(c.Context(), args[0], p, f) },
	}
	p.add(c)
	c.Flags().DurationVar(&f.notice, "notice", worker.NoticeLoss, "with --after-loss: how long running workers get to notice the halt before it ends")
	c.Flags().BoolVar(&f.afterLoss, "after-loss", false, "the halt is for lost ledger records: put aside what they had changed")
	return c
}

type resumeFlags struct {
	afterLoss bool
	notice    time.Duration
}

func (a *app) resume(ctx context.Context, account string, flags personFlags, f resumeFlags) error {
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	if account == "" {
		return usagef("which account? Give its name")
	}
	if _, err := d.accounts(account); err != nil {
		return err
	}
	r := worker.Resumer{Account: account, Records: d.conn.Ledger(account), State: d.store, ResetScans: d.conn.ResetScans, Notice: f.notice}
	if f.afterLoss && d.store.Embedded() {
		// What the process holds in memory would outlive the loss.
		unlock, err := lockDir(d.cfg)
		if err != nil {
			return fmt.Errorf("the pack state is embedded in its process, which must be stopped first: %w", err)
		}
		defer unlock()
	}
	reasons, _, err := r.Halts(ctx)
	if err != nil {
		return err
	}
	for _, h := range reasons {
		a.sayf("%s est arrêté depuis l'enregistrement %d du registre : %s", "%s is halted since ledger record %d: %s", account, h.After, h.Why)
	}
	person, err := a.person(flags)
	if err != nil {
		return err
	}
	if f.afterLoss {
		return a.resumeAfterLoss(ctx, r, person)
	}
	seq, left, err := worker.Resume(ctx, r, person)
	switch {
	case errors.Is(err, worker.ErrNotHalted):
		return fmt.Errorf("%s: %w, nothing was written", account, err)
	case errors.Is(err, worker.ErrLedgerLost):
		return fmt.Errorf("%s: %w; nothing was written. Find out what happened to NATS (disk, restore from a backup); "+
			"then decom resume %s --after-loss puts aside every pack that the lost records had changed", account, err, account)
	case err != nil:
		return err
	}
	a.sayf("%s reprend (enregistrement %d du registre).", "%s goes on (ledger record %d).", account, seq)
	a.sayLeft(left)
	return nil
}

func (a *app) resumeAfterLoss(ctx context.Context, r worker.Resumer, p worker.Person) error {
	a.sayf("Les workers ont %s pour remarquer l'arrêt.", "Workers get %s to notice the halt.", r.Notice)
	loss, err := worker.ResumeAfterLoss(ctx, r, p)
	a.sayLoss(&loss)
	switch {
	case errors.Is(err, worker.ErrNotHalted):
		return fmt.Errorf("%s: %w, nothing was written. If the ledger did lose records, a running worker halts the account at its next scan", r.Account, err)
	case err != nil:
		return fmt.Errorf("%s is not resumed yet, run the same command again: %w", r.Account, err)
	}
	a.sayf("%s reprend (enregistrement %d du registre).", "%s goes on (ledger record %d).", r.Account, loss.Seq)
	a.sayLeft(loss.Left)
	return nil
}

// sayLoss tells what was found and done, step by step, also when it ended early.
func (a *app) sayLoss(l *worker.Loss) {
	if l.Lost {
		a.sayf("Le registre finit à l'enregistrement %d, Redis connaît le %d : des enregistrements sont perdus.",
			"The ledger ends at record %d, Redis knows record %d: records are lost.", l.Ledger.Seq, l.Redis.Seq)
	}
	if l.Parked > 0 || l.Dropped {
		a.sayf("%d boîte(s) mise(s) de côté : decom review ls les montre.", "%d pack(s) put aside: decom review ls shows them.", l.Parked)
	}
	if !l.Since.IsZero() {
		a.sayf("Les scans depuis %s seront redistribués.", "Scans since %s are delivered again.", scan.Time(l.Since))
	}
	if l.Dropped {
		a.sayf("Redis est vidé pour ce compte, les workers le reconstruisent du registre.", "Redis is emptied for this account, workers rebuild it from the ledger.")
	}
	if l.Seq == 0 || l.Lost {
		return
	}
	if l.Known {
		a.sayf("Redis et le registre concordent : rien à mettre de côté.", "Redis and the ledger agree: there is nothing to put aside.")
	}
	if l.File || !l.Known {
		a.sayf("Attention : Redis ne se souvient de rien. S'il y a eu des enregistrements perdus, leurs boîtes sont inconnues ici ; vérifiez auprès du répertoire celles des dernières heures avant de les scanner de nouveau.",
			"Careful: Redis remembers nothing. If records were lost, their packs are unknown here; verify those of the last hours with the repository before they are scanned again.")
	}
}

func (a *app) sayLeft(left string) {
	if left != "" {
		a.sayf("Une autre raison est venue entre-temps, l'arrêt demeure : %s", "Another reason came meanwhile, the halt stands: %s", left)
	}
}
