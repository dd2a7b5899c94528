package main

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// reviewTool signs the records of this command.
const reviewTool = "decom review"

func newReviewCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "review",
		Short: a.text("Ce qui attend une personne : alertes, boîtes sans réponse, scans rejetés", "What waits for a person: alerts, unresolved packs, rejected scans"),
		Long: a.text(`Une boîte pour laquelle le NMVS a levé une alerte, ou dont le sort ne peut être établi par les règles, est
mise de côté : aucune lecture ne l'envoie plus avant qu'une personne ait dit ce qu'il en est. Chaque action
demande qui et pourquoi, et s'écrit au registre ; les workers en marche l'y prennent.

PACK est le nom que montre « review ls », la lecture brute, ou un code produit et un numéro de série. Un nom
qui commence par « - » se met après « -- ».`,
			`A pack that NMVS raised an alert for, or whose fate the rules cannot establish, is put aside: no
scan sends it any more until a person says what it is. Every action asks who and why, and is
written to the ledger; running workers take it from there.

PACK is the name that "review ls" prints, the raw scan, or a product code and a serial. A name
that begins with "-" goes after "--".`),
		Args: groupArgs,
		RunE: groupArgs,
	}
	c.AddCommand(newReviewLs(a), newReviewShow(a), newReviewResolve(a), newReviewRetry(a))
	return c
}

func newReviewShow(a *app) *cobra.Command {
	var account string
	c := &cobra.Command{
		Use:   "show PACK|SCAN|CODE [SERIAL]",
		Short: a.text("L'histoire d'une boîte, et ce qui peut être fait", "One pack's history, and what may be done"),
		Args:  cobra.RangeArgs(1, 2),
		RunE:  func(c *cobra.Command, args []string) error { return a.reviewShow(c.Context(), args, account) },
	}
	c.Flags().StringVar(&account, "account", "", "only this account's ledger")
	return c
}

// statement is a command line that states something about a pack.
type statement struct {
	personFlags
	account string
	fact    func(*reviewCase) (ledger.FactPack, error)
}

func newReviewResolve(a *app) *cobra.Command {
	var s statement
	var as, op string
	c := &cobra.Command{
		Use:   "resolve PACK|SCAN|CODE [SERIAL]",
		Short: a.text("Dire ce qu'est une boîte mise de côté", "State what a pack put aside is"),
		Long: a.text(`--as inactive : elle est inactive au NMVS, et c'était nous (--op : comment, si ce n'est comme demandé).
--as active : le NMVS la montre active ; une nouvelle lecture l'envoie.
--as quarantined : elle reste de côté pour de bon et n'est plus listée.`,
			`--as inactive: it is inactive at NMVS, and it was us (--op: how, if not as was asked).
--as active: NMVS shows it active; a new scan sends it.
--as quarantined: it stays put aside for good and is not listed any more.`),
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			how := scan.Op(0)
			if op != "" {
				var err error
				if how, err = scan.ParseOp(op); err != nil {
					return spokenUsagef("--op %s : il y a %s", "--op %s: there are %s", op, opList())
				}
			}
			s.fact = func(rc *reviewCase) (ledger.FactPack, error) { return rc.resolution(as, how) }
			return a.reviewState(c.Context(), args, s)
		},
	}
	c.Flags().StringVar(&as, "as", "", "`inactive|active|quarantined`")
	c.Flags().StringVar(&op, "op", "", "with --as inactive: the `operation` that made it so; default: the one asked for")
	s.flags(a, c)
	return c
}

func newReviewRetry(a *app) *cobra.Command {
	var s statement
	seen := false
	c := &cobra.Command{
		Use:   "retry PACK|SCAN|CODE [SERIAL]",
		Short: a.text("Permettre qu'un nouveau scan renvoie la boîte", "Let a new scan send the pack again"),
		Long: a.text(`Refusé si le NMVS a dit en dernier que la boîte est inactive. Si le registre ne sait pas ce que dit le NMVS,
quelqu'un doit l'y avoir vue active : --seen-active.`,
			`Refused when NMVS said last that the pack is inactive. When the ledger does not know what NMVS
says, somebody must have seen the pack active there: --seen-active.`),
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			s.fact = func(rc *reviewCase) (ledger.FactPack, error) { return rc.retry(seen) }
			return a.reviewState(c.Context(), args, s)
		},
	}
	c.Flags().BoolVar(&seen, "seen-active", false, "somebody has seen the pack active at NMVS")
	s.flags(a, c)
	return c
}

func (s *statement) flags(a *app, c *cobra.Command) {
	s.add(a, c)
	c.Flags().StringVar(&s.account, "account", "", "the account, where several have put the pack aside")
}

var packNamePattern = regexp.MustCompile(`^[A-Za-z0-9_-]{16}$`)

// reviewName finds the pack meant: by the name that ls prints, or as decom pack does.
func reviewName(args []string) (scan.PackID, error) {
	if len(args) == 1 && packNamePattern.MatchString(args[0]) {
		return scan.PackID(args[0]), nil
	}
	k, _, err := packName(args, time.Now())
	return k, err
}

func (a *app) reviewShow(ctx context.Context, args []string, only string) error {
	k, err := reviewName(args)
	if err != nil {
		return err
	}
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	accounts, err := d.accounts(only)
	if err != nil {
		return err
	}
	known := false
	for _, account := range accounts {
		x := newCaseReader(d.conn.Ledger(account), account, map[scan.PackID]bool{k: true})
		if err := x.read(ctx); err != nil {
			return fmt.Errorf("ledger of %s: %w", account, err)
		}
		c := x.cases[k]
		if c == nil {
			continue
		}
		known = true
		a.sayf("boîte %s, produit %s, compte %s : %s", "pack %s, product %s, account %s: %s", k, c.Pack.Code(), account, c.State.Phase)
		_, err := history(ctx, d.conn.Ledger(account), account, k, func(e packEvent) error { a.printPackEvent(e); return nil })
		if err != nil {
			return fmt.Errorf("ledger of %s: %w", account, err)
		}
		if c.State.Phase == ledger.Parked {
			a.say(scan.Message(c.Op, c.Answer.Result, c.Answer.Reason))
		}
		for _, t := range c.advice() {
			fmt.Fprintln(a.stdout, "- "+a.lang.of(t))
		}
	}
	if !known {
		return spokenf("le registre ne sait rien de la boîte %s", "the ledger knows nothing of pack %s", k)
	}
	return nil
}

// reviewState writes a person's statement about one pack.
func (a *app) reviewState(ctx context.Context, args []string, s statement) error {
	k, err := reviewName(args)
	if err != nil {
		return err
	}
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	account, x, err := d.caseOf(ctx, k, s.account)
	if err != nil {
		return err
	}
	if _, err := s.fact(x.cases[k]); err != nil { // before somebody is asked for a name
		return err
	}
	person, err := a.person(s.personFlags)
	if err != nil {
		return err
	}
	if err := d.intact(ctx, account); err != nil {
		return err
	}
	seq, err := s.append(ctx, x, k, person)
	if err != nil {
		return err
	}
	if err := x.read(ctx); err != nil {
		return err
	}
	a.sayf("boîte %s, compte %s : %s (enregistrement %d du registre)", "pack %s, account %s: %s (ledger record %d)", k, account, x.cases[k].State.Phase, seq)
	return nil
}

// append writes the statement, judged against the ledger's very end: the pack may have
// moved since x was read.
func (s *statement) append(ctx context.Context, x *caseReader, k scan.PackID, p worker.Person) (uint64, error) {
	return worker.AppendFact(ctx, x.records, x.account, reviewTool, func(ctx context.Context, _ ledger.Head) (ledger.Fact, error) {
		if err := x.read(ctx); err != nil {
			return ledger.Fact{}, err
		}
		fp, err := s.fact(x.cases[k])
		fp.K = k
		return ledger.Fact{Kind: ledger.Review, Who: p.Who, Why: p.Why, Packs: []ledger.FactPack{fp}}, err
	})
}

// caseOf finds the account that has put the pack aside, and reads its ledger.
func (d *desk) caseOf(ctx context.Context, k scan.PackID, only string) (string, *caseReader, error) {
	accounts, err := d.accounts(only)
	if err != nil {
		return "", nil, err
	}
	var account string
	var found *caseReader
	elsewhere, phase := "", ledger.Phase(0)
	for _, name := range accounts {
		x := newCaseReader(d.conn.Ledger(name), name, map[scan.PackID]bool{k: true})
		if err := x.read(ctx); err != nil {
			return "", nil, fmt.Errorf("ledger of %s: %w", name, err)
		}
		c := x.cases[k]
		switch {
		case c == nil:
		case c.State.Phase != ledger.Parked:
			elsewhere, phase = name, c.State.Phase
		case found != nil:
			return "", nil, spokenUsagef("les comptes %s et %s ont tous deux mis la boîte de côté : donner --account", "accounts %s and %s have both put the pack aside: give --account", account, name)
		default:
			account, found = name, x
		}
	}
	if found == nil && elsewhere != "" {
		return "", nil, spokenf("la boîte %s n'attend personne ; pour le compte %s elle est %s", "pack %s does not wait for a person; for account %s it is %s", k, elsewhere, phase)
	}
	if found == nil {
		return "", nil, spokenf("la boîte %s n'attend personne", "pack %s does not wait for a person", k)
	}
	return account, found, nil
}
