package main

import (
	"slices"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagUsages returns each flag's text by command and name.
func flagUsages(t *testing.T, lang language) map[string]string {
	t.Helper()
	a := &app{stdout: t.Output(), stderr: t.Output(), lang: lang}
	root := newRoot(a)
	a.speakUsage(root)
	all := map[string]string{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" || lang == french {
				all[c.CommandPath()+" --"+f.Name] = f.Usage
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return all
}

func TestEveryFlagIsExplainedInBothLanguages(t *testing.T) {
	words := []string{ // to choose from, the same in both
		"decom bench run --profile", "decom ledger export --format", "decom review resolve --as",
		"decom report day --format", "decom report indicators --format",
	}
	en, fr := flagUsages(t, english), flagUsages(t, french)
	if len(en) < 100 {
		t.Fatalf("%d flags: they are not read right", len(en))
	}
	used := map[string]bool{}
	for name, text := range en {
		used[text] = true
		switch same := fr[name] == text; {
		case text == "" || fr[name] == "":
			t.Errorf("%s: %q, %q: a text is missing", name, text, fr[name])
		case same && !slices.Contains(words, name):
			t.Errorf("%s has no French text (flagTexts): %q", name, text)
		}
	}
	for text := range flagTexts {
		if !used[text] {
			t.Errorf("flagTexts explains what no flag says: %q", text)
		}
	}
}
