package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"decom/nmvs"
	"decom/worker/scan"
)

func newExplainCommand(a *app) *cobra.Command {
	var list, asJSON bool
	c := &cobra.Command{
		Use:   "explain CODE",
		Short: a.text("Dire ce que signifie un code, et quoi faire", "Tell what a return code or one of our words means, and what to do"),
		Long: a.text(`Dit ce que CODE signifie et quoi faire : un code retour ou une notification du NMVS (avec ou sans NMVS_),
un motif d'état, un type d'alerte (A24), une opération (G120), un résultat ou un motif à nous (« recalled », ou
« refused/recalled »). Majuscules ou minuscules, peu importe. Un code que ce programme ne connaît pas est expliqué par sa famille, comme le
worker le traite.`,
			`Tell what CODE means and what to do: a return code or notification of NMVS (with or
without NMVS_), a state reason, a kind of alert (A24), an operation (G120), a result or a reason of ours
("recalled", or "refused/recalled"). Upper and lower case do not matter. A code that this program
does not know is explained by its family, as the worker treats it.`),
		Example: "  decom explain NMVS_NC_PCK_22\n  decom explain gs_missing --lang fr\n  decom explain --list",
		Args: func(_ *cobra.Command, args []string) error {
			if list && len(args) > 0 || !list && len(args) != 1 {
				return spokenUsagef("explain veut un CODE, ou --list", "explain wants one CODE, or --list")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if list {
				return a.explainList(asJSON)
			}
			return a.explain(args[0], asJSON)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return explainable(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().BoolVar(&list, "list", false, "list everything that can be explained")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object for each meaning, in both languages")
	return c
}

// explanation is one meaning of a word. A word may have several: "expired" is a
// reason of ours and a state reason of NMVS.
type explanation struct {
	Code    string    `json:"code"`
	Kind    string    `json:"kind"` // return code, notification, state reason, kind of alert, operation, result, reason
	Result  string    `json:"result,omitempty"`
	Class   string    `json:"class,omitempty"` // of return codes: what the worker makes of it
	Known   bool      `json:"known"`
	Meaning scan.Text `json:"meaning"`
	Advice  scan.Text `json:"advice"`
}

// resultTexts explains the closed set of results (contract.md section 5).
var resultTexts = []explanation{
	{Code: string(scan.Done),
		Meaning: scan.Text{FR: "Le NMVS a fait l'opération.", EN: "NMVS carried the operation out."},
		Advice:  scan.Text{FR: "Rien à faire.", EN: "Nothing to do."}},
	{Code: string(scan.Duplicate),
		Meaning: scan.Text{FR: "La boîte est déjà dans cet état, par nous ; rien n'a été envoyé.", EN: "The pack is already so, by us; nothing was sent."},
		Advice:  scan.Text{FR: "Rien à faire, sauf motif suspect_copy.", EN: "Nothing to do, unless the reason is suspect_copy."}},
	{Code: string(scan.Refused),
		Meaning: scan.Text{FR: "Une règle dit non, la nôtre ou celle du NMVS ; rien n'a changé.", EN: "A rule says no, ours or NMVS's; nothing changed."},
		Advice:  scan.Text{FR: "Le motif dit pourquoi : decom explain MOTIF.", EN: "The reason says why: decom explain REASON."}},
	{Code: string(scan.Alert),
		Meaning: scan.Text{FR: "Falsification possible, ou boîte rendue inactive par un autre.", EN: "Potential falsification, or made inactive by somebody else."},
		Advice:  scan.Text{FR: "Mettez la boîte en quarantaine et appelez un pharmacien.", EN: "Put the pack in quarantine and call a pharmacist."}},
	{Code: string(scan.Rejected),
		Meaning: scan.Text{FR: "Le scan n'est pas digne de foi ; rien n'a été envoyé.", EN: "The scan cannot be trusted; nothing was sent."},
		Advice:  scan.Text{FR: "Le motif dit pourquoi : decom explain MOTIF.", EN: "The reason says why: decom explain REASON."}},
	{Code: string(scan.Unresolved),
		Meaning: scan.Text{FR: "Les règles n'ont pas pu établir le sort de la boîte.", EN: "The rules could not establish what became of the pack."},
		Advice:  scan.Text{FR: "Une personne doit regarder : decom pack.", EN: "A person must look: decom pack."}},
}

// meanings returns everything that is explained without guessing.
func meanings() []explanation {
	var all []explanation
	for _, r := range resultTexts {
		r.Kind, r.Known = "result", true
		all = append(all, r)
	}
	for _, r := range scan.Reasons() {
		if r.Reason == scan.NoReason {
			continue // the result's own meaning, above
		}
		all = append(all, explanation{
			Code: string(r.Reason), Kind: "reason", Result: string(r.Result), Known: true, Meaning: r.Text, Advice: r.Advice,
		})
	}
	for _, c := range nmvs.Codes() {
		all = append(all, codeMeaning(c))
	}
	for _, k := range alertTexts {
		k.Kind, k.Known = kindAlert, true
		all = append(all, k)
	}
	return append(all, operationMeanings()...)
}

func codeMeaning(c nmvs.CodeInfo) explanation {
	e := explanation{Code: c.Code, Kind: c.Kind, Known: c.Known, Meaning: c.Text, Advice: c.Advice}
	if c.Kind == nmvs.KindReturnCode {
		e.Class = c.Class.String()
	}
	return e
}

func explainable() []string {
	var words []string
	for _, m := range meanings() {
		words = append(words, m.Code)
	}
	return words
}

// lookUp returns every meaning of a word; none if it is nonsense.
func lookUp(word string) []explanation {
	word = operationWord(strings.TrimSpace(word))
	result, reason, both := strings.Cut(word, "/")
	var found []explanation
	for _, m := range meanings() {
		switch {
		case both:
			if m.Kind == "reason" && strings.EqualFold(m.Result, result) && strings.EqualFold(m.Code, reason) {
				found = append(found, m)
			}
		case strings.EqualFold(m.Code, word), strings.EqualFold(m.Code, "NMVS_"+word):
			found = append(found, m)
		}
	}
	if len(found) == 0 && codeShaped(word) {
		info, _ := nmvs.Explain(word)
		found = append(found, codeMeaning(info))
	}
	return found
}

// codeShaped says whether a word is built as NMVS builds its codes, so that the
// unknown-code rule speaks about it.
func codeShaped(word string) bool {
	word, prefixed := strings.CutPrefix(strings.ToUpper(word), "NMVS_")
	for _, r := range word {
		if (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' {
			return false
		}
	}
	family, rest, ok := strings.Cut(word, "_")
	switch family {
	case "FE", "FI", "NC", "TE", "TI", "WF":
		return ok && rest != ""
	}
	return prefixed && word != ""
}

func (a *app) explain(word string, asJSON bool) error {
	found := lookUp(word)
	if len(found) == 0 {
		near, sure := alike(word)
		if !sure && len(near) > 0 {
			return usagef(a.text("%q n'est ni un code du NMVS ni un mot à nous ; proches : %s", "%q is no code of NMVS and no word of ours; near: %s"),
				word, strings.Join(near, ", "))
		}
		if !sure {
			return usagef(a.text("%q n'est ni un code du NMVS ni un mot à nous ; decom explain --list les montre tous",
				"%q is no code of NMVS and no word of ours; decom explain --list shows them all"), word)
		}
		found = lookUp(near[0])
	}
	for _, m := range found {
		if err := a.printMeaning(m, asJSON); err != nil {
			return err
		}
	}
	return nil
}

// alike returns a few words that a mistyped or shortened one may mean: PCK_22 is
// how people say NMVS_NC_PCK_22 on the telephone. sure says that the short form can mean
// only one.
func alike(word string) (words []string, sure bool) {
	const most = 5
	if _, reason, both := strings.Cut(word, "/"); both {
		word = reason
	}
	var found []string
	for _, known := range explainable() {
		if len(word) > 2 && len(found) < most && strings.HasSuffix(known, "_"+strings.ToUpper(word)) {
			found = append(found, known)
		}
	}
	if len(found) > 0 {
		return found, len(found) == 1 && strings.Contains(word, "_")
	}
	return slices.Compact(near(word, explainable(), most)), false
}

func (a *app) printMeaning(m explanation, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(a.stdout).Encode(m)
	}
	head := m.Code + "  (" + a.lang.of(kindText(m.Kind))
	if m.Result != "" {
		head += ", " + m.Result
	}
	if m.Class != "" {
		head += ", " + m.Class
	}
	_, err := fmt.Fprintf(a.stdout, "%s)\n  %s\n  -> %s\n", head, a.lang.of(m.Meaning), a.lang.of(m.Advice))
	return err
}

func kindText(kind string) scan.Text {
	switch kind {
	case nmvs.KindReturnCode:
		return scan.Text{FR: "code retour", EN: kind}
	case nmvs.KindNotification:
		return scan.Text{FR: "notification", EN: kind}
	case nmvs.KindStateReason:
		return scan.Text{FR: "motif d'état", EN: kind}
	case kindAlert:
		return scan.Text{FR: "type d'alerte", EN: kind}
	case kindOperation:
		return scan.Text{FR: "opération", EN: kind}
	case "result":
		return scan.Text{FR: "résultat", EN: kind}
	}
	return scan.Text{FR: "motif", EN: kind}
}

func (a *app) explainList(asJSON bool) error {
	for _, m := range meanings() {
		if asJSON {
			if err := a.printMeaning(m, true); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(a.stdout, "%-28s %-14s %s\n", m.Code, a.lang.of(kindText(m.Kind)), a.lang.of(m.Meaning)); err != nil {
			return err
		}
	}
	return nil
}
