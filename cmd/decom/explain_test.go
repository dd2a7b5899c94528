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

// TestExplainKnowsTheOperationNumbers, as nmvs-interface.md 1.8 has them: what is written here by hand
// is that page, not our table.
func TestExplainKnowsTheOperationNumbers(t *testing.T) {
	for code, says := range map[string][]string{ // service, state after, how it is taken back, our word
		"G110": {"single service", "changes nothing", "op verify"},
		"G120": {"single service", "INACTIVE / SUPPLIED", "Undone by G121", "op supply"},
		"G121": {"single service", "ACTIVE", "op undo_supply"},
		"G122": {"single service", "INACTIVE / SUPPLIED", "typed by hand", "Undone by G123", "entry manual"},
		"G123": {"single service", "ACTIVE", "op undo_supply"},
		"G130": {"single service", "INACTIVE / DESTROYED", "Cannot be undone", "op destroy"},
		"G131": {"V2 only", "never calls"},
		"G140": {"INACTIVE / EXPORTED", "Undone by G141", "op export"}, "G141": {"ACTIVE", "op undo_export"},
		"G150": {"INACTIVE / SAMPLE", "Undone by G151", "op sample"}, "G151": {"ACTIVE", "op undo_sample"},
		"G160": {"INACTIVE / FREESAMPLE", "Undone by G161", "op free_sample"}, "G161": {"ACTIVE", "op undo_free_sample"},
		"G170": {"INACTIVE / LOCKED", "Undone by G171", "op lock"}, "G171": {"ACTIVE", "op undo_lock"},
		"G180": {"INACTIVE / STOLEN", "Cannot be undone", "op stolen"}, "G181": {"V2 only"},
		"G182": {"INACTIVE / STOLEN", "Cannot be undone", "typed by hand"},
		"G115": {"bulk service", "changes nothing", "G110"},
		"G125": {"bulk service", "INACTIVE / SUPPLIED", "100,000", "Undone by G127"}, "G127": {"bulk service", "ACTIVE"},
		"G135": {"INACTIVE / DESTROYED", "Cannot be undone"}, "G137": {"V2 only"},
		"G145": {"INACTIVE / EXPORTED", "Undone by G147"}, "G147": {"ACTIVE"},
		"G155": {"INACTIVE / SAMPLE", "Undone by G157"}, "G157": {"ACTIVE"},
		"G165": {"INACTIVE / FREESAMPLE", "Undone by G167"}, "G167": {"ACTIVE"},
		"G175": {"INACTIVE / LOCKED", "Undone by G177"}, "G177": {"ACTIVE"},
		"G185": {"INACTIVE / STOLEN", "Cannot be undone"}, "G187": {"V2 only"},
		"G188": {"bulk service", "result"}, "G195": {"mixed service", "100,000"}, "G196": {"mixed service", "G195"},
		"G445": {"support service", "password"}, "G482": {"support service", "terms"}, "G483": {"support service", "accepts"},
		"G615": {"PKI", "TAN"}, "G101": {"retrieve", "pending_list_code"},
	} {
		found := lookUp(strings.ToLower(code))
		if len(found) != 1 || found[0].Code != code || !found[0].Known || found[0].Meaning.FR == "" || found[0].Advice.FR == "" {
			t.Errorf("%s: %+v", code, found)
			continue
		}
		text := found[0].Meaning.EN + " " + found[0].Advice.EN
		for _, s := range says {
			if !strings.Contains(text, s) {
				t.Errorf("%s does not say %q: %s", code, s, text)
			}
		}
		if french := found[0].Meaning.FR; strings.Contains(french, ": .") || strings.Contains(text, ": .") {
			t.Errorf("%s says nothing of what it does: %s", code, french)
		}
	}
	for _, o := range nmvs.Operations() { // no number of the table is left out above
		if found := lookUp(o.Name); o.Kind != nmvs.KindPing && (len(found) != 1 || found[0].Code != o.Code || found[0].Kind != kindOperation) {
			t.Errorf("%s: %+v", o.Name, found)
		}
	}
	for _, word := range []string{"urn:G120Dispense", "G120Request", "g120response", "NMVS_G120"} {
		if r := inProcess(t, nil, "", "explain", word, "--lang", "fr"); r.code != exitFine || !strings.HasPrefix(r.stdout, "G120  (opération)\n") {
			t.Errorf("%s: %+v", word, r)
		}
	}
	if r := inProcess(t, nil, "", "explain", "G199"); r.code != exitUsage {
		t.Errorf("nobody has named G199: %+v", r)
	}
}
