package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestAPharmacyPersonsErrorsAreInTheirLanguage: --lang, or the locale, decides; exit codes and
// causes stay what they are.
func TestAPharmacyPersonsErrorsAreInTheirLanguage(t *testing.T) {
	for _, tt := range []struct {
		args   []string
		fr, en string
	}{
		{[]string{"publish", "--dry-run", "--op", "explode"}, "il y a", "there are"},
		{[]string{"publish"}, "manque", "is missing"},
		{[]string{"explain"}, "veut un CODE", "wants one CODE"},
		{[]string{"explain", "NO_SUCH_CODE_AT_ALL"}, "n'est ni un code", "is no code"},
		{[]string{"pause", "--who", "a", "--why", "b"}, "pour combien de temps", "for how long"},
		{[]string{"tune", "--for", "1m"}, "quelle limite", "which limit"},
		{[]string{"tune", "--for", "1m", "--single", "foo"}, `--single "foo" : donner des appels par durée`, `--single "foo": give calls per time`},
		{[]string{"publsh"}, `decom n'a pas de commande "publsh" ; proche : publish`, `decom has no command "publsh"; near: publish`},
		{[]string{"ledger", "xyzzy"}, `decom ledger n'a pas de commande "xyzzy" ; decom ledger --help`, `decom ledger has no command "xyzzy"; decom ledger --help`},
		{[]string{"review"}, "veut une commande : ls, resolve, retry, show", "wants a command: ls, resolve, retry, show"},
		{[]string{"status", "extra"}, `ne prend pas d'argument : "extra" est de trop`, `takes no argument: "extra" is one too many`},
		{[]string{"pause", "a", "b"}, `"b" est un argument de trop`, `"b" is an argument too many`},
		{[]string{"pack"}, "il manque un argument", "an argument is missing"},
		{[]string{"status", "--nope"}, "--nope : cette option n'existe pas", "--nope: there is no such flag"},
		{[]string{"status", "-x"}, "-x : cette option n'existe pas", "-x: there is no such flag"},
		{[]string{"pause", "--for"}, "--for : il manque une valeur", "--for: a value is missing"},
		{[]string{"pause", "--for", "30"}, `--for "30" : donner une durée avec son unité`, `--for "30": give a duration with its unit`},
		{[]string{"bench", "plan", "--backlog", "x"}, `--backlog "x" : donner un nombre entier`, `--backlog "x": give a whole number`},
		{[]string{"ledger", "rebuild"}, "quel compte ?", "which account?"},
		{[]string{"ledger", "export", "--format", "pdf"}, "il y a jsonl, csv et xlsx", "there are jsonl, csv and xlsx"},
		{[]string{"consolidated", "add", "f"}, "--site manque", "--site is missing"},
		{[]string{"gateway", "token", "--file", "f", "--site", "é", "--device", "d"}, `--site "é" : de 1 à 64`, `--site "é" must be 1 to 64`},
		{[]string{"device", "calibrate", "--code", "foo"}, "donner le texte avec parenthèses", "wants bracketed text"},
	} {
		for lang, want := range map[string]string{"fr": tt.fr, "en": tt.en} {
			byFlag := inProcess(t, nil, "", append([]string{"--lang", lang}, tt.args...)...)
			byLocale := inProcess(t, []string{"LANG=" + lang + "_FR.UTF-8"}, "", tt.args...)
			for _, r := range []result{byFlag, byLocale} {
				if r.code != exitUsage || !strings.Contains(r.stderr, want) {
					t.Errorf("%v in %s: code %d, %q does not say %q", tt.args, lang, r.code, r.stderr, want)
				}
				if lang == "fr" && !strings.Contains(r.stderr, "Voir decom") {
					t.Errorf("%v in %s: %q does not say where to read on", tt.args, lang, r.stderr)
				}
				for _, jargon := range []string{"strconv", "time:", "map[", "pflag", "%!"} {
					if strings.Contains(r.stderr, jargon) {
						t.Errorf("%v in %s: %q speaks of Go", tt.args, lang, r.stderr)
					}
				}
			}
		}
	}
	for lang, want := range map[string]string{"fr": "la première ligne d'un fichier CSV doit nommer", "en": "the first line of a CSV file must name"} {
		file := write(t, t.TempDir(), "a.csv", "price,name\n1,x\n")
		if r := inProcess(t, nil, "", "publish", "--dry-run", file, "--lang", lang); r.code != exitFailure || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: %+v", lang, r)
		}
	}
	cause := errors.New("cause")
	if err := spokenUsagef("fr %w", "en %w", cause); !errors.Is(err, cause) || french.inLanguage(err) != "fr cause" || err.Error() != "en cause" {
		t.Errorf("%v", err)
	}
}

// TestEveryCommandHasItsHelpInBothLanguages: a text that is the same in both was forgotten.
func TestEveryCommandHasItsHelpInBothLanguages(t *testing.T) {
	var fr, en []*cobra.Command
	var walk func(into *[]*cobra.Command, c *cobra.Command)
	walk = func(into *[]*cobra.Command, c *cobra.Command) {
		*into = append(*into, c)
		for _, sub := range c.Commands() {
			walk(into, sub)
		}
	}
	walk(&fr, newRoot(&app{lang: french}))
	walk(&en, newRoot(&app{lang: english}))
	if len(fr) != len(en) || len(en) < 30 {
		t.Fatalf("%d and %d commands", len(fr), len(en))
	}
	for i, e := range en {
		f := fr[i]
		if e.Hidden {
			continue
		}
		if e.CommandPath() != f.CommandPath() || e.Short == "" || e.Short == f.Short || (e.Long == "") != (f.Long == "") || e.Long != "" && e.Long == f.Long {
			t.Errorf("%s and %s: the help is not in both languages", e.CommandPath(), f.CommandPath())
		}
	}
	if r := inProcess(t, nil, "", "review", "--help", "--lang", "fr"); !strings.Contains(r.stdout, "Commandes :") || strings.Contains(r.stdout, "Available") {
		t.Errorf("%s", r.stdout)
	}
}
