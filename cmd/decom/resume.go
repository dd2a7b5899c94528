package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/scan"
)

func newResumeCommand(a *app) *cobra.Command {
	var p personFlags
	var f resumeFlags
	c := &cobra.Command{
		Use:   "resume [ACCOUNT]",
		Short: a.text("Lever l'arrêt, la pause ou le réglage d'un compte, avec un nom et une raison", "End an account's halt, pause or tune, with a name and a reason"),
		Long: a.text(`Montre pourquoi le compte est arrêté, en pause ou réglé, et y met fin. Qui et pourquoi sont écrits au
registre. Sans compte : fin de la pause et du réglage de tous les comptes ; un arrêt ne se lève que par
le nom de son compte, pour que quelqu'un ait lu sa raison.

Après un arrêt parce que le registre a perdu des enregistrements que Redis connaît, donner --after-loss :
chaque boîte qu'ils avaient changée est mise de côté pour examen, les lectures depuis une heure avant le
dernier enregistrement sont redistribuées, et Redis est vidé pour que les workers le refassent du
registre. Peut être relancé s'il a été interrompu.`,
			`Shows why the account is halted, paused or tuned, and ends it. Who and why are written to the
ledger. Without an account: ends the pause and the tune of every account; a halt ends only by
its account's name, so that somebody has read its reason.

After a halt because the ledger lost records that Redis remembers, give --after-loss: every
pack that the lost records had changed is put aside for review, the scans since one hour before
the ledger's last record are delivered again, and Redis is emptied, so that the workers
project the ledger anew. It may be run again when it was interrupted.`),
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.oneAccount(&f.account, args); err != nil {
				return err
			}
			if f.account == "" {
				if f.afterLoss {
					return a.usagef("quel compte ? --after-loss veut son nom", "which account? --after-loss wants its name")
				}
				return a.resumeAll(c.Context(), p)
			}
			return a.resume(c.Context(), f.account, p, f)
		},
	}
	p.add(a, c)
	c.Flags().StringVar(&f.account, "account", "", "the account; default: every pause and tune of the configuration's accounts")
	c.Flags().DurationVar(&f.notice, "notice", worker.NoticeLoss.Round(time.Second), "with --after-loss: how long running workers get to notice the halt before it ends")
	c.Flags().BoolVar(&f.afterLoss, "after-loss", false, "the halt is for lost ledger records: put aside what they had changed")
	return c
}

type resumeFlags struct {
	account   string
	afterLoss bool
	notice    time.Duration
}

func (a *app) resume(ctx context.Context, account string, flags personFlags, f resumeFlags) error {
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	if _, err := d.accounts(account); err != nil {
		return err
	}
	r := worker.Resumer{Account: account, Records: d.conn.Ledger(account), State: d.store, ResetScans: d.conn.ResetScans, ResetOutbox: d.conn.ResetOutbox, Notice: f.notice}
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
	controls, err := worker.ControlsOf(ctx, r.Records, d.store, account)
	if err != nil {
		return err
	}
	standing := a.sayStanding(account, controls)
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
	if standing && len(reasons) == 0 {
		return a.endControls(ctx, d, account, controls, person)
	}
	seq, left, err := worker.Resume(ctx, r, person)
	switch {
	case errors.Is(err, worker.ErrNotHalted):
		return a.errorf("%[1]s n'est ni arrêté, ni en pause, ni réglé ; rien n'est écrit", "%s: %w, nor paused or tuned; nothing was written", account, err)
	case errors.Is(err, worker.ErrLedgerLost):
		return a.errorf("%s : %w ; rien n'est écrit. Chercher ce qui est arrivé à NATS (disque, restauration) ; "+
			"puis decom resume %s --after-loss met de côté chaque boîte que les enregistrements perdus avaient changée",
			"%s: %w; nothing was written. Find out what happened to NATS (disk, restore from a backup); "+
				"then decom resume %s --after-loss puts aside every pack that the lost records had changed", account, err, account)
	case err != nil:
		return err
	}
	a.sayf("%s reprend (enregistrement %d du registre).", "%s goes on (ledger record %d).", account, seq)
	a.sayLeft(left)
	if standing {
		return a.endControls(ctx, d, account, controls, person)
	}
	return nil
}

// sayStanding tells what people set for the account, and whether a resume ends any of it.
func (a *app) sayStanding(account string, c ledger.Controls) bool {
	var s AccountStatus
	s.controls(c, time.Now())
	lines := s.controlLines(a.lang)
	for _, line := range lines {
		a.sayf("%s : %s", "%s: %s", account, line)
	}
	return s.Paused != nil || s.Tuned != nil
}

// endControls ends the pause and the tune that were shown.
func (a *app) endControls(ctx context.Context, d *desk, account string, seen ledger.Controls, p worker.Person) error {
	if err := d.intact(ctx, account); err != nil {
		return err
	}
	seq, err := worker.EndControls(ctx, d.conn.Ledger(account), d.store, account, seen, p)
	if errors.Is(err, worker.ErrControlsMoved) {
		return a.errorf("%[1]s : quelqu'un d'autre vient de changer la pause ou le réglage ; rien n'est écrit, regarder et recommencer", "%s: %w; nothing was written", account, err)
	}
	if err != nil {
		return err
	}
	a.sayf("%s : fin de la pause et du réglage (enregistrement %d du registre), les limites configurées comptent.",
		"%s: pause and tune are over (ledger record %d), the configured limits count.", account, seq)
	_ = d.conn.TellControl(account) // workers look by themselves
	return nil
}

// resumeAll ends the pause and the tune of every account, and names those that are halted.
func (a *app) resumeAll(ctx context.Context, flags personFlags) error {
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	names, err := d.accounts("")
	if err != nil {
		return err
	}
	seen := map[string]ledger.Controls{}
	var standing []string
	for _, name := range names {
		note, halted, err := d.store.Halted(ctx, name)
		if err != nil {
			return err
		}
		if halted {
			_, why := worker.HaltNote(note)
			a.sayf("%s est arrêté (%s) : seulement par son nom, decom resume %s", "%s is halted (%s): only by its name, decom resume %s", name, why, name)
		}
		c, err := worker.ControlsOf(ctx, d.conn.Ledger(name), d.store, name)
		if err != nil {
			return err
		}
		if seen[name] = c; a.sayStanding(name, c) {
			standing = append(standing, name)
		}
	}
	if len(standing) == 0 {
		return a.errorf("aucun compte n'est en pause ni réglé ; rien n'est écrit", "no account is paused or tuned; nothing was written")
	}
	person, err := a.person(flags)
	if err != nil {
		return err
	}
	return a.eachAccount(standing, func(name string) error { return a.endControls(ctx, d, name, seen[name], person) })
}

func (a *app) resumeAfterLoss(ctx context.Context, r worker.Resumer, p worker.Person) error {
	a.sayf("Les workers ont %s pour remarquer l'arrêt.", "Workers get %s to notice the halt.", r.Notice.Round(time.Second))
	loss, err := worker.ResumeAfterLoss(ctx, r, p)
	a.sayLoss(&loss)
	if chain, ok := errors.AsType[*worker.ChainError](err); ok {
		return a.errorf("%[1]s : le registre est rompu à l'enregistrement %[3]d : %[2]w. --after-loss n'y peut rien et n'a rien mis de côté. "+
			"decom resume %[1]s seul reprend avec ce que Redis sait ; si Redis a perdu ce compte, il continue sous un autre nom de compte, après verify-first (deploy/runbook.md, « The chain is broken »)",
			"%[1]s: the ledger is broken at record %[3]d: %[2]w. --after-loss cannot mend that, and put nothing aside. "+
				"decom resume %[1]s alone goes on with what Redis knows; when Redis has lost the account, it goes on under another account name, after verify-first (deploy/runbook.md, \"The chain is broken\")",
			r.Account, chain, chain.Seq)
	}
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
