package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"decom/worker/scan"
)

//go:embed config_example.yaml
var exampleConfig string

func newConfigCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: a.text("Vérifier, montrer ou commencer une configuration", "Check, show or begin a configuration"),
		RunE:  groupArgs,
	}
	c.AddCommand(
		&cobra.Command{
			Use:   "check",
			Short: a.text("Signaler chaque problème de la configuration, avec sa ligne", "Report every problem of the configuration, with line and caret"),
			Args:  cobra.NoArgs,
			RunE:  func(*cobra.Command, []string) error { return a.configCheck() },
		},
		&cobra.Command{
			Use:   "show",
			Short: a.text("Afficher la configuration qui compte, secrets masqués", "Print the configuration that counts, all layers together, secrets masked"),
			Args:  cobra.NoArgs,
			RunE:  func(*cobra.Command, []string) error { return a.configShow() },
		},
		&cobra.Command{
			Use:   "init [FILE]",
			Short: a.text("Écrire une configuration commentée (decom.yaml ; - pour la sortie standard)", "Write a commented configuration to begin with (default decom.yaml, - for standard output)"),
			Args:  cobra.MaximumNArgs(1),
			RunE:  func(_ *cobra.Command, args []string) error { return a.configInit(args) },
		},
	)
	return c
}

func (a *app) configCheck() error {
	c, err := a.loadConfig(needWorker)
	if err != nil {
		return err
	}
	if len(c.stopped) > 0 {
		return exitWith(exitConfig, &configError{src: c.src, problems: c.stopped})
	}
	name := c.src.name
	if name == "" {
		name = a.lang.of(scan.Text{FR: "(sans fichier)", EN: "(no file)"})
	}
	sites := 0
	for i := range c.Accounts {
		sites += len(c.Accounts[i].Sites)
	}
	a.sayf("ok : %s, %d compte(s), %d site(s)", "ok: %s, %d account(s), %d site(s)", name, len(c.Accounts), sites)
	embedded := a.lang.of(scan.Text{FR: "intégré, sous " + c.Dir, EN: "embedded, under " + c.Dir})
	a.sayf("  file NATS : %s", "  NATS queue: %s", orText(maskURL(c.NATS.URL), embedded))
	store := maskURL(c.Redis.URL)
	if len(c.Redis.Addrs) > 0 {
		store = fmt.Sprint(c.Redis.Addrs)
	}
	a.sayf("  état Redis : %s", "  Redis state: %s", orText(store, embedded))
	a.sayf("  NMVS : version %d, %s", "  NMVS: version %d, %s", c.NMVS.Version, c.NMVS.Endpoints.Single)
	a.sayf("  protocole : doute %s, preuve %s", "  protocol: doubt %s, settle %s", c.Protocol.Doubt, c.Protocol.Settle)
	return nil
}

func orText(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// configShow prints what would count even where it is incomplete: it is the tool
// for finding out why it is.
func (a *app) configShow() error {
	c, err := a.loadConfig(0)
	if err != nil {
		return err
	}
	shown := c.masked()
	for _, l := range leaves(&shown) { // so that the text loads from any folder
		if l.tag.Get("path") == "true" && l.value.String() != "" {
			if abs, err := filepath.Abs(l.value.String()); err == nil {
				l.value.SetString(abs)
			}
		}
	}
	text, err := shown.yamlText()
	if err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	_, err = fmt.Fprint(a.stdout, text)
	return err
}

func (a *app) configInit(args []string) error {
	name := a.flags.config
	if len(args) > 0 {
		name = args[0]
	}
	if name == "" {
		name = "decom.yaml"
	}
	if name == "-" {
		_, err := fmt.Fprint(a.stdout, exampleConfig)
		return err
	}
	// 0600: the file will name secrets, and some people put them in.
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already; it was not changed", name)
	}
	if err != nil {
		return err
	}
	if _, err = f.WriteString(exampleConfig); err != nil {
		f.Close()
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	a.sayf("%s écrit. Complétez-le, puis : decom config check --config %[1]s", "%s written. Fill it in, then: decom config check --config %[1]s", name)
	return nil
}
