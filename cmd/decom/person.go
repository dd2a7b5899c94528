package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"decom/queue"
	"decom/worker"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// desk is what people's tools work with: the configuration and both stores. With an
// embedded store of another process, store shows its head files and nothing else.
type desk struct {
	cfg   *loaded
	conn  *queue.Conn
	store *packstate.Store
}

// openDesk connects both stores; what is down ends the command with exit code 75.
func (a *app) openDesk(ctx context.Context) (*desk, error) {
	c, err := a.loadConfig(needLook)
	if err != nil {
		return nil, err
	}
	cfg, err := c.storeConfig()
	if err != nil {
		return nil, exitWith(exitConfig, err)
	}
	conn, err := c.connectQueue(ctx)
	if err != nil {
		return nil, err
	}
	store, err := packstate.Open(ctx, cfg)
	if err != nil {
		conn.Close()
		return nil, exitWith(exitDown, err)
	}
	return &desk{cfg: c, conn: conn, store: store}, nil
}

func (d *desk) close() {
	_ = d.store.Close() // nothing is buffered
	d.conn.Close()
}

// accounts returns the names of the accounts meant: that one, or all.
func (d *desk) accounts(only string) ([]string, error) {
	var names []string
	for i := range d.cfg.Accounts {
		if n := d.cfg.Accounts[i].Name; only == "" || only == n {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		var all []string
		for i := range d.cfg.Accounts {
			all = append(all, d.cfg.Accounts[i].Name)
		}
		return nil, spokenUsagef("le compte %q n'est pas dans la configuration ; elle a : %s", "account %q is not in the configuration; it has: %s", only, strings.Join(all, ", "))
	}
	return names, nil
}

// intact refuses to write when the ledger lost records that a store remembers.
func (d *desk) intact(ctx context.Context, account string) error {
	err := worker.CheckWitness(ctx, d.conn.Ledger(account), d.store, account)
	if errors.Is(err, worker.ErrLedgerLost) {
		return spokenf("%w ; rien n'est écrit. Mettre d'abord fin à la perte : decom resume %s --after-loss", "%w; nothing was written. End the loss first: decom resume %s --after-loss", err, account)
	}
	return err
}

// personFlags are who decides and why; every action of people has them.
type personFlags struct{ who, why string }

func (p *personFlags) add(a *app, c *cobra.Command) {
	c.Flags().StringVar(&p.who, "who", "", a.text("qui décide : un `nom`, gardé au registre pour de bon", "who decides: a `name`, kept on the ledger for good"))
	c.Flags().StringVar(&p.why, "why", "", a.text("pourquoi : une ligne de `texte`, gardée au registre pour de bon", "why: one line of `text`, kept on the ledger for good"))
}

// person settles who and why: the flags, else a person at a terminal is asked.
func (a *app) person(p personFlags) (worker.Person, error) {
	if (p.who == "" || p.why == "") && isTerminal(a.stdin) {
		if err := a.ask(bufio.NewReader(a.stdin), &p); err != nil {
			return worker.Person{}, err
		}
	}
	who := worker.Person{Who: strings.TrimSpace(p.who), Why: strings.TrimSpace(p.why)}
	if who.Who == "" || who.Why == "" {
		return who, spokenUsagef("chaque action est signée, donner --who NOM et --why TEXTE", "every action is signed, give --who NAME and --why TEXT")
	}
	if err := who.Validate(); err != nil {
		return who, spokenUsagef("chaque action est signée, donner --who NOM et --why TEXTE (%s)", "every action is signed, give --who NAME and --why TEXT (%s)", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return who, nil
}

// ask puts the missing questions on standard error, so that standard output stays
// the command's result.
func (a *app) ask(in *bufio.Reader, p *personFlags) error {
	for _, q := range []struct {
		into *string
		text scan.Text
	}{
		{&p.who, scan.Text{FR: "Votre nom : ", EN: "Your name: "}},
		{&p.why, scan.Text{FR: "Pourquoi : ", EN: "Why: "}},
	} {
		if *q.into != "" {
			continue
		}
		fmt.Fprint(a.stderr, a.lang.of(q.text))
		line, err := in.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		*q.into = strings.TrimSpace(line)
	}
	return nil
}
