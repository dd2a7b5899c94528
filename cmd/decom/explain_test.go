package main

import (
	"encoding/json"
	"strings"
	"testing"

	"decom/nmvs"
	"decom/worker/gs1"
	"decom/worker/scan"
)

func TestExplainKnowsEveryCodeResultAndReasonInBothLanguages(t *testing.T) {
	var words []string
	for _, c := range nmvs.Codes() {
		words = append(words, c.Code, strings.ToLower(c.Code), strings.TrimPrefix(c.Code, "NMVS_"))
	}
	for _, r := range scan.Reasons() {
		words = append(words, string(r.Result))
		if r.Reason != scan.NoReason {
			words = append(words, string(r.Reason), string(r.Result)+"/"+string(r.Reason))
		}
	}
	for _, r := range gs1.Reasons() {
		words = append(words, r.String())
	}
	for _, r := range []scan.Result{scan.Done, scan.Duplicate, scan.Refused, scan.Alert, scan.Rejected, scan.Unresolved} {
		words = append(words, string(r))
	}
	for _, word := range words {
		found := lookUp(word)
		if len(found) == 0 {
			t.Errorf("%s is not explained", word)
		}
		for _, m := range found {
			if !m.Known || m.Meaning.FR == "" || m.Meaning.EN == "" || m.Advice.FR == "" || m.Advice.EN == "" {
				t.Errorf("%s: incomplete: %+v", word, m)
			}
		}
	}
	if len(words) < 200 {
		t.Errorf("only %d words: the tables were not read", len(words))
	}
}

func TestExplainTreatsUnknownCodesByTheirFamily(t *testing.T) {
	for word, class := range map[string]string{
		"NMVS_NC_ZZ_99": "rule", "nc_zz_99": "rule", "NMVS_TE_ZZ_1": "format", "NMVS_ZZZ": "in_doubt",
	} {
		found := lookUp(word)
		if len(found) != 1 || found[0].Known || found[0].Class != class || found[0].Meaning.FR == "" {
			t.Errorf("%s: %+v, want one unknown code of class %s", word, found, class)
		}
	}
}

func TestExplainTakesTheShortFormOfACode(t *testing.T) {
	for word, code := range map[string]string{"PCK_22": "NMVS_NC_PCK_22", "pc_01": "NMVS_NC_PC_01", "AU_02": ""} {
		r := inProcess(t, nil, "", "explain", word)
		if code == "" { // NMVS_AU_02 or NOTIFY_AU_02: whoever asks must say which
			if r.code != exitUsage || !strings.Contains(r.stderr, "AU_02, ") {
				t.Errorf("%s: code %d, want the codes it may mean: %s", word, r.code, r.stderr)
			}
			continue
		}
		if r.code != 0 || !strings.HasPrefix(r.stdout, code+" ") {
			t.Errorf("%s: code %d: %s%s", word, r.code, r.stdout, r.stderr)
		}
	}
}

func TestExplainRefusesNonsenseWithNearWords(t *testing.T) {
	for word, near := range map[string]string{
		"gs_missng": "gs_missing", "refused/recaled": "recalled", "NMVS_SUCESS ": "",
	} {
		r := inProcess(t, nil, "", "explain", word)
		if near == "" { // NMVS_ and letters: a code that may exist tomorrow
			if r.code != 0 {
				t.Errorf("%s: code %d, want 0", word, r.code)
			}
			continue
		}
		if r.code != exitUsage || !strings.Contains(r.stderr, near) || r.stdout != "" {
			t.Errorf("%s: code %d, stderr %q, want %s named", word, r.code, r.stderr, near)
		}
	}
	if r := inProcess(t, nil, "", "explain", "<script>"); r.code != exitUsage || !strings.Contains(r.stderr, "--list") {
		t.Errorf("nonsense: %+v", r)
	}
	if r := inProcess(t, nil, "", "explain"); r.code != exitUsage {
		t.Errorf("no word: %+v", r)
	}
}

func TestExplainListAndJSONAreComplete(t *testing.T) {
	r := inProcess(t, nil, "", "explain", "--list", "--json")
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if len(lines) != len(meanings()) {
		t.Errorf("%d lines, want %d", len(lines), len(meanings()))
	}
	for _, line := range lines {
		var m explanation
		if err := json.Unmarshal([]byte(line), &m); err != nil || m.Code == "" || m.Meaning.EN == "" {
			t.Errorf("%s: %v", line, err)
		}
	}
	if r := inProcess(t, nil, "", "explain", "--list"); strings.Count(r.stdout, "\n") != len(meanings()) {
		t.Errorf("--list has %d lines", strings.Count(r.stdout, "\n"))
	}
}

// TestExplainKnowsTheKindsOfAlerts: they stand on the telephone, in demo's summary and in France MVO's letters.
func TestExplainKnowsTheKindsOfAlerts(t *testing.T) {
	for _, kind := range []string{"A1", "A2", "A3", "A5", "A7", "A24", "a52", "A68"} {
		for _, lang := range []string{"fr", "en"} {
			r := inProcess(t, nil, "", "explain", kind, "--lang", lang)
			if r.code != exitFine || !strings.HasPrefix(r.stdout, strings.ToUpper(kind)+"  (") || strings.Count(r.stdout, "\n") != 3 {
				t.Errorf("%s %s: %+v", kind, lang, r)
			}
		}
	}
	if r := inProcess(t, nil, "", "explain", "A4"); r.code != exitUsage {
		t.Errorf("nobody has named A4: %+v", r)
	}
}
