package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"decom/worker"
	"decom/worker/ledger"
	"decom/worker/scan"
)

// spanFlags say for which accounts, and for how long.
type spanFlags struct {
	account string        // empty: all of the configuration
	length  time.Duration // --for
	open    bool          // the flag that endless names
	endless string        // until-resumed, until-freed
	usual   string        // a length as people give it, for the question after it
}

// add adds the flags of a pause or a tune.
func (f *spanFlags) add(c *cobra.Command) {
	f.endless, f.usual = "until-resumed", "30m"
	c.Flags().StringVar(&f.account, "account", "", "only that account; default: every account of the configuration")
	c.Flags().DurationVar(&f.length, "for", 0, "how long, as 30m or 8h; it ends by itself then")
	c.Flags().BoolVar(&f.open, f.endless, false, "without an end: until somebody runs decom resume")
}

// addWithheld adds the flags of a withhold.
func (f *spanFlags) addWithheld(c *cobra.Command) {
	f.endless, f.usual = "until-freed", "168h"
	c.Flags().StringVar(&f.account, "account", "", "only that account; default: every account of the configuration that it concerns")
	c.Flags().DurationVar(&f.length, "for", 0, "how long, as 24h or 168h; it ends by itself then")
	c.Flags().BoolVar(&f.open, f.endless, false, "without an end: until somebody frees it")
}

// longestSpan is what --for takes; longer is meant to last until a person ends it.
const longestSpan = 31 * 24 * time.Hour

// until settles the end, zero for none.
func (f *spanFlags) until(a *app, now time.Time) (time.Time, error) {
	switch {
	case f.open && f.length != 0:
		return time.Time{}, a.usagef("--for et --%s se contredisent : n'en donner qu'un", "--for and --%s contradict each other: give one of them", f.endless)
	case f.open:
		return time.Time{}, nil
	case f.length == 0:
		return time.Time{}, a.usagef("pour combien de temps ? Donner --for %s, ou --%s pour une durée sans fin", "for how long? Give --for %s, or --%s for no end", f.usual, f.endless)
	case f.length < time.Second || f.length > longestSpan:
		return time.Time{}, a.usagef("--for %s : de 1s à %gh", "--for %s: from 1s to %gh", f.length, longestSpan.Hours())
	}
	return now.Add(f.length), nil
}

// oneAccount takes the account as an argument, too, as decom resume does.
func (a *app) oneAccount(flag *string, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if *flag != "" && *flag != args[0] {
		return a.usagef("deux comptes sont nommés : %s et %s", "two accounts are named: %s and %s", args[0], *flag)
	}
	*flag = args[0]
	if args[0] == "" {
		return a.usagef("le nom du compte est vide", "the account's name is empty")
	}
	return nil
}

func newPauseCommand(a *app) *cobra.Command {
	var p personFlags
	var s spanFlags
	c := &cobra.Command{
		Use:   "pause [ACCOUNT]",
		Short: a.text("Mettre en pause un compte, ou tous, avec un nom, une raison et une fin", "Pause an account, or all, with a name, a reason and an end"),
		Long: a.text(`Plus rien de nouveau n'est pris ni envoyé : les lectures attendent dans le flux, rien n'est perdu.
Ce qui était envoyé se termine, et les lectures du répertoire continuent (résultats de lots,
vérification de boîtes en doute) : elles n'y changent rien. Tous les processus s'y tiennent en quelques
secondes, un redémarrage ne lève pas la pause. Elle finit d'elle-même à son heure, ou par decom resume.
/readyz reste vert. Qui et pourquoi sont écrits au registre de chaque compte.`,
			`Nothing new is taken in or sent: scans wait in the stream, nothing is lost. What was sent is
finished, and reads of the repository go on (results of bulks, verifies of packs in doubt): they
change nothing there. Every process keeps to it within seconds, a restart does not end it. It
ends by itself at its time, or by decom resume. /readyz stays green. Who and why are written to
the ledger of each account.`),
		Example: `  decom pause --for 30m --who "A. Martin" --why "NMVS maintenance"
  decom pause chu-nord --until-resumed --who "A. Martin" --why "robot stocktaking"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.oneAccount(&s.account, args); err != nil {
				return err
			}
			return a.pause(c.Context(), s, p)
		},
	}
	s.add(c)
	p.add(a, c)
	return c
}

func (a *app) pause(ctx context.Context, s spanFlags, p personFlags) error {
	until, err := s.until(a, time.Now())
	if err != nil {
		return err
	}
	return a.setControls(ctx, s.account, p, ledger.Pause, ledger.Control{Until: millis(until)}, nil)
}

// setControls writes one control on the ledger of each account meant; check, when given, is
// asked for every account before anything is written.
func (a *app) setControls(ctx context.Context, account string, flags personFlags, kind ledger.Kind, c ledger.Control, check func(*Account) error) error {
	d, err := a.openDesk(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	names, err := d.accounts(account)
	if err != nil {
		return err
	}
	for i := range d.cfg.Accounts {
		if acc := &d.cfg.Accounts[i]; check != nil && (account == "" || acc.Name == account) {
			if err := check(acc); err != nil {
				return err
			}
		}
	}
	person, err := a.person(flags)
	if err != nil {
		return err
	}
	return a.eachAccount(names, func(name string) error {
		if err := d.intact(ctx, name); err != nil {
			return err
		}
		seq, err := worker.SetControl(ctx, d.conn.Ledger(name), name, kind, c, person)
		if err != nil {
			return err
		}
		a.sayControl(name, kind, c, seq)
		_ = d.conn.TellControl(name) // workers look by themselves
		return nil
	})
}

// eachAccount does f for every name, goes on when one fails, and tells them all.
func (a *app) eachAccount(names []string, f func(name string) error) error {
	var failed []error
	for _, name := range names {
		if err := f(name); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", name, err))
		}
	}
	if len(failed) > 0 && len(names) > 1 {
		a.sayf("%d compte(s) sur %d : fait.", "%d account(s) of %d: done.", len(names)-len(failed), len(names))
	}
	return errors.Join(failed...)
}

func (a *app) sayControl(name string, kind ledger.Kind, c ledger.Control, seq uint64) {
	end := a.endText(c.Until)
	if kind == ledger.Pause {
		a.sayf("%s : en pause %s (enregistrement %d du registre). Ce qui est envoyé se termine.", "%s: paused %s (ledger record %d). What was sent is finished.", name, end, seq)
		return
	}
	a.sayf("%s : réglé à %s %s (enregistrement %d du registre).", "%s: tuned to %s %s (ledger record %d).", name, limitsText(c.Limits), end, seq)
}

// endText says when something ends, in the reader's own time.
func (a *app) endText(until int64) string {
	if until == 0 {
		return a.text("jusqu'à decom resume", "until decom resume")
	}
	return fmt.Sprintf(a.text("jusqu'au %s", "until %s"), time.UnixMilli(until).Local().Format("2006-01-02 15:04:05 MST"))
}

func limitsText(l *ledger.Limits) string {
	var parts []string
	add := func(name, value string) {
		if value != "" && value != "0" {
			parts = append(parts, name+" "+value)
		}
	}
	add("single", l.Single)
	add("bulk", l.Bulk)
	add("parallel", fmt.Sprint(l.Parallel))
	add("batch", fmt.Sprint(l.Batch))
	return strings.Join(parts, ", ")
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// ControlStatus is a pause or a tune that counts now.
type ControlStatus struct {
	Who    string         `json:"who"`
	Why    string         `json:"why"`
	Since  string         `json:"since"`
	Until  string         `json:"until,omitempty"` // empty: until somebody resumes
	Record uint64         `json:"record"`          // of the ledger
	Limits *ledger.Limits `json:"limits,omitempty"`
}

func controlStatus(s *ledger.Standing) *ControlStatus {
	if s == nil {
		return nil
	}
	c := &ControlStatus{Who: s.Who, Why: s.Why, Since: s.At, Record: s.Seq, Limits: s.Limits}
	if s.Until != 0 {
		c.Until = scan.Time(time.UnixMilli(s.Until))
	}
	return c
}

// controls fills in what people set.
func (s *AccountStatus) controls(c ledger.Controls, now time.Time) {
	pause, tune := c.Now(now)
	s.Paused, s.Tuned, s.VerifyFirst = controlStatus(pause), controlStatus(tune), controlStatus(c.Verify)
	s.Withheld = withheldStatus(c.Withholds(now))
}

// controlLines tell what people set, for screens: one line each, without its mark.
func (s *AccountStatus) controlLines(l language) (lines []string) {
	tell := func(c *ControlStatus, fr, en string) {
		if c == nil {
			return
		}
		until := c.Until
		if until == "" {
			until = "decom resume"
		}
		lines = append(lines, fmt.Sprintf(l.of(scan.Text{FR: fr, EN: en}), until, c.Who, c.Why))
	}
	tell(s.Paused, "en PAUSE jusqu'à %s, par %s : %s", "PAUSED until %s, by %s: %s")
	if s.Tuned != nil {
		limits := strings.ReplaceAll(limitsText(s.Tuned.Limits), "%", "%%")
		tell(s.Tuned, "RÉGLÉ ("+limits+") jusqu'à %s, par %s : %s", "TUNED ("+limits+") until %s, by %s: %s")
	}
	if v := s.VerifyFirst; v != nil {
		lines = append(lines, fmt.Sprintf(l.of(scan.Text{FR: "chaque boîte est VÉRIFIÉE avant son envoi, jusqu'à decom verify-first --end, par %s : %s",
			EN: "each pack is VERIFIED before it is sent, until decom verify-first --end, by %s: %s"}), v.Who, v.Why))
	}
	return lines
}
