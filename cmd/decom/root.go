package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes of contract.md section 1.
const (
	exitFine      = 0
	exitFailure   = 1  // run-time failure
	exitUsage     = 2  // wrong command line
	exitDown      = 75 // a dependency is down at start
	exitConfig    = 78 // the configuration is wrong
	exitThreshold = 99 // a benchmark or verification threshold was missed
)

// exitError is an error that knows the exit code it deserves. Any other error
// that a command returns counts as exitFailure.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exitWith gives err an exit code; nil stays nil.
func exitWith(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code: code, err: err}
}

func usagef(format string, args ...any) error {
	return exitWith(exitUsage, fmt.Errorf(format, args...))
}

// app is what a command may touch of the world outside: streams, environment,
// and the flags that every command has.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string // NAME=value, as os.Environ gives it

	flags globalFlags
	lang  language // for human text; settled before a command runs
}

// globalFlags are the flags of every command.
type globalFlags struct {
	config string   // --config; empty: DECOM_CONFIG, else no file
	set    []string // --set key=value, in order
	lang   string   // --lang; empty: the locale's
}

func processApp() *app {
	return &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}
}

// getenv returns the last value of name, as a shell would.
func (a *app) getenv(name string) string {
	for i := len(a.environ) - 1; i >= 0; i-- {
		if n, v, ok := strings.Cut(a.environ[i], "="); ok && n == name {
			return v
		}
	}
	return ""
}

// newRoot builds the command tree. Only commands that do something are in it.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "decom",
		Short:         a.text("Désactiver des boîtes de médicaments : robots -> NATS -> NMVS", "Decommission medicine packs: robots -> NATS -> NMVS"),
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetVersionTemplate("decom {{.Version}}\n")
	f := root.PersistentFlags()
	f.StringVar(&a.flags.config, "config", "", a.text("`fichier` de configuration (YAML) ; sans lui : DECOM_CONFIG", "configuration `file` (YAML); default: DECOM_CONFIG"))
	f.StringArrayVar(&a.flags.set, "set", nil, a.text("remplacer une clé, comme --set nats.url=... (`nom=valeur`, répétable)", "override one key, as in --set nats.url=... (`key=value`, repeatable)"))
	f.StringVar(&a.flags.lang, "lang", "", a.text("langue des textes pour les personnes, `fr|en` ; sans elle : celle du système", "language of texts for people, `fr|en`; default: the locale's"))
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return a.settleLanguage() }
	for _, add := range commands() {
		root.AddCommand(add(a))
	}
	return root
}

// groupArgs makes a command that only has sub-commands say so.
func groupArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(c, args[0])
	}
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return spokenUsagef("%s veut une commande : %s", "%s wants a command: %s", c.CommandPath(), strings.Join(names, ", "))
}

// execute runs one command line and returns the process's exit code. It is the
// only place that prints an error.
func execute(ctx context.Context, a *app, args []string) int {
	a.guessLanguage(args)
	root := newRoot(a)
	root.SetArgs(args)
	markRun(root)
	a.speakUsage(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitFine
	}
	code := exitUsage // cobra's own complaints are about the command line
	if e, ok := errors.AsType[*exitError](err); ok {
		code = e.code
	}
	fmt.Fprintln(a.stderr, "decom: "+strings.TrimRight(a.lang.inLanguage(err), "\n"))
	if code == exitUsage {
		fmt.Fprintf(a.stderr, a.text("Usage : %s\nVoir %s --help.\n", "Usage: %s\nSee %s --help.\n"), cmd.UseLine(), cmd.CommandPath())
	}
	return code
}

// markRun gives every error that comes out of a command's own work an exit code,
// so that what is left are cobra's complaints about the command line.
func markRun(c *cobra.Command) {
	if run := c.RunE; run != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			err := run(c, args)
			if _, ok := errors.AsType[*exitError](err); ok {
				return err
			}
			return exitWith(exitFailure, err)
		}
	}
	for _, sub := range c.Commands() {
		markRun(sub)
	}
}

// packaged is the version of the package that this binary came in; the linker sets it
// (deploy/deb/build.sh), nothing else does.
var packaged string

// version tells the package's version, else the module's, and the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	switch {
	case packaged != "":
		v = packaged
	case v == "", v == "(devel)":
		v = "development"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && !strings.Contains(v, s.Value[:12]) {
			v += " " + s.Value[:12]
		}
	}
	return v + " (" + info.GoVersion + ")"
}
