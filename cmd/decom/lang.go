package main

import (
	"fmt"
	"strings"

	"decom/worker/scan"
)

// language is that of texts and errors for people; logs, JSON and causes are English.
type language string

const (
	english language = "en"
	french  language = "fr"
)

// of picks the sentence in this language.
func (l language) of(t scan.Text) string {
	if l == french {
		return t.FR
	}
	return t.EN
}

// guessLanguage looks for --lang before the flags are parsed, because help texts
// are made before that. settleLanguage has the last word.
func (a *app) guessLanguage(args []string) {
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--lang="); ok {
			a.flags.lang = value
		} else if arg == "--lang" && i+1 < len(args) {
			a.flags.lang = args[i+1]
		}
	}
	if a.settleLanguage() != nil {
		a.lang = english // told after parsing
	}
	a.flags.lang = ""
}

// settleLanguage decides before a command runs: the flag, else the locale in
// POSIX order, else English.
func (a *app) settleLanguage() error {
	switch l := language(strings.ToLower(a.flags.lang)); l {
	case english, french:
		a.lang = l
		return nil
	case "":
	default:
		return usagef("--lang %s: only fr and en are known", a.flags.lang)
	}
	a.lang = english
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := a.getenv(name); v != "" {
			if strings.HasPrefix(strings.ToLower(v), "fr") {
				a.lang = french
			}
			break
		}
	}
	return nil
}

// text picks between two sentences; for help texts, which are made when the
// command tree is.
func (a *app) text(fr, en string) string { return a.lang.of(scan.Text{FR: fr, EN: en}) }

// say writes one line for people on stdout, in their language.
func (a *app) say(t scan.Text) { fmt.Fprintln(a.stdout, a.lang.of(t)) }

// sayf writes one line for people on stdout, with the same values in both languages.
func (a *app) sayf(fr, en string, args ...any) {
	fmt.Fprintf(a.stdout, a.text(fr, en)+"\n", args...)
}

// warn writes a warning on stderr; it changes no exit code.
func (a *app) warn(text string) {
	fmt.Fprintln(a.stderr, a.text("decom: attention : ", "decom: warning: ")+text)
}
