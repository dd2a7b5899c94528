package main

import (
	"errors"
	"strings"
	"testing"
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
	} {
		for lang, want := range map[string]string{"fr": tt.fr, "en": tt.en} {
			byFlag := inProcess(t, nil, "", append(tt.args, "--lang", lang)...)
			byLocale := inProcess(t, []string{"LANG=" + lang + "_FR.UTF-8"}, "", tt.args...)
			for _, r := range []result{byFlag, byLocale} {
				if r.code != exitUsage || !strings.Contains(r.stderr, want) {
					t.Errorf("%v in %s: code %d, %q does not say %q", tt.args, lang, r.code, r.stderr, want)
				}
			}
		}
	}
	cause := errors.New("cause")
	if err := spokenUsagef("fr %w", "en %w", cause); !errors.Is(err, cause) || french.inLanguage(err) != "fr cause" || err.Error() != "en cause" {
		t.Errorf("%v", err)
	}
}
