package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"decom/worker/scan"
)

// doctorFlags are the flags of decom doctor.
type doctorFlags struct {
	asJSON   bool
	login    bool
	accounts []string
	monitor  string
}

func newDoctorCommand(a *app) *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor",
		Short: a.text("Vérifier tout ce dont decom dépend, et dire quoi faire", "Check all that decom rests on, and say what to do"),
		Long: a.text(`Vérifie la configuration, NATS, Redis, le NMVS, les horloges, le disque et les limites du
système : une ligne par contrôle, ok, warn ou fail, et quoi faire. Ne change rien, ne touche aucune
boîte, et peut tourner à côté de decom run. Code de sortie 1 s'il y a un fail.

--login essaie l'identifiant de chaque compte par la lecture des conditions d'utilisation. Un mot de
passe faux compte dans le blocage du compte par le NMVS : une fois, puis corriger.`,
			`Checks the configuration, NATS, Redis, NMVS, clocks, disk and the system's limits: one line a
check, ok, warn or fail, and what to do. It changes nothing, touches no pack, and may run beside
decom run. Exit code 1 if there is a fail.

--login tries each account's login by reading the terms of use. A wrong password counts towards
NMVS's lock of the account: once, then repair.`),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.doctor(c.Context(), f) },
	}
	fl := c.Flags()
	fl.BoolVar(&f.asJSON, "json", false, "one JSON object on standard output")
	fl.BoolVar(&f.login, "login", false, "try each account's login, without a change of any pack")
	fl.StringSliceVar(&f.accounts, "account", nil, "look at the NMVS side of these accounts only")
	fl.StringVar(&f.monitor, "nats-monitor", "", "`URL` of the NATS server's monitoring (default: port 8222 of its host)")
	return c
}

// level is how a check ended.
type level string

// The levels of contract.md section 1.
const (
	levelOK   level = "ok"
	levelWarn level = "warn" // works, and somebody should know
	levelFail level = "fail" // does not work, or is not safe
)

// finding is one line of the doctor.
type finding struct {
	Check   string     `json:"check"`        // stable word, as nats.streams
	On      string     `json:"on,omitempty"` // account, service, stream, address
	Level   level      `json:"level"`
	Message scan.Text  `json:"message"`
	Do      *scan.Text `json:"do,omitempty"` // what to do, unless ok
}

// doctorReport is what decom doctor --json prints.
type doctorReport struct {
	At      string    `json:"at"`
	Version string    `json:"version"`
	Level   level     `json:"level"` // the worst one
	Checks  []finding `json:"checks"`
}

// doctor collects findings; tell, when set, is told each one at once.
type doctor struct {
	cfg      *loaded
	flags    doctorFlags
	tell     func(finding)
	findings []finding
}

// tr makes a sentence in both languages, with the same values in each.
func tr(fr, en string, args ...any) scan.Text {
	return scan.Text{FR: oneLine(fmt.Sprintf(fr, args...)), EN: oneLine(fmt.Sprintf(en, args...))}
}

// oneLine keeps a finding on one line, whatever an error's text has in it.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

func (d *doctor) add(f finding) {
	d.findings = append(d.findings, f)
	if d.tell != nil {
		d.tell(f)
	}
}

func (d *doctor) ok(check, on string, message scan.Text) {
	d.add(finding{Check: check, On: on, Level: levelOK, Message: message})
}

func (d *doctor) warn(check, on string, message, do scan.Text) {
	d.add(finding{Check: check, On: on, Level: levelWarn, Message: message, Do: &do})
}

func (d *doctor) fail(check, on string, message, do scan.Text) {
	d.add(finding{Check: check, On: on, Level: levelFail, Message: message, Do: &do})
}

// count says how many findings have the level.
func (d *doctor) count(l level) (n int) {
	for _, f := range d.findings {
		if f.Level == l {
			n++
		}
	}
	return n
}

func (d *doctor) worst() level {
	for _, l := range []level{levelFail, levelWarn} {
		if d.count(l) > 0 {
			return l
		}
	}
	return levelOK
}

func (a *app) doctor(ctx context.Context, f doctorFlags) error {
	d := &doctor{flags: f}
	if !f.asJSON {
		d.tell = a.printFinding
	}
	if err := d.run(ctx, a); err != nil {
		return err
	}
	if f.asJSON {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		err := enc.Encode(doctorReport{At: scan.Time(time.Now()), Version: version(), Level: d.worst(), Checks: d.findings})
		if err != nil {
			return err
		}
	} else {
		a.sayf("%d ok, %d warn, %d fail", "%d ok, %d warn, %d fail", d.count(levelOK), d.count(levelWarn), d.count(levelFail))
	}
	if n := d.count(levelFail); n > 0 {
		return exitWith(exitFailure, fmt.Errorf("doctor: %d checks failed", n))
	}
	return nil
}

// checkPatience bounds each group of checks: a dependency that hangs is a finding, too.
const checkPatience = 20 * time.Second

// run makes every check that the configuration allows.
func (d *doctor) run(ctx context.Context, a *app) error {
	if !d.configuration(a) {
		return nil
	}
	for _, name := range d.flags.accounts {
		if !slices.ContainsFunc(d.cfg.Accounts, func(acc Account) bool { return acc.Name == name }) {
			return a.usagef("--account %s : la configuration n'a pas ce compte", "--account %s: the configuration has no such account", name)
		}
	}
	for _, group := range []func(context.Context){d.local, d.robots, d.worker, d.nats, d.redis, d.nmvs} {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		one, cancel := context.WithTimeoutCause(ctx, checkPatience, errors.New("no answer in "+checkPatience.String()))
		group(one)
		cancel()
	}
	return nil
}

func (a *app) printFinding(f finding) {
	on := ""
	if f.On != "" {
		on = " " + f.On
	}
	todo := ""
	if f.Do != nil {
		todo = " -> " + a.lang.of(*f.Do)
	}
	fmt.Fprintf(a.stdout, "%-4s %s%s: %s%s\n", f.Level, f.Check, on, a.lang.of(f.Message), todo)
}
