package nmvs

import (
	"strings"
	"testing"

	"decom/worker/scan"
)

func operation(t testing.TB, code string) Operation {
	t.Helper()
	o, ok := Lookup(code)
	if !ok {
		t.Fatalf("no operation %s", code)
	}
	return o
}

// wantCodes is written from nmvs-interface.md 1.13 and protocol.md section 3, apart
// from the table under test: class, reason and alert, then the codes of a change.
var wantCodes = []struct {
	class  Class
	reason scan.Reason
	alert  Alert
	codes  string
}{
	{Success, "", AlertNo, "SUCCESS"},
	{Repeat, WhyConfirmed, AlertNo, "NC_PCK_23 FE_PKI_09 NC_PMS_23"},
	{Foreign, WhyAlreadyInactive, AlertYes, "NC_PCK_22 NC_PCK_19 NC_PCK_27"},
	{Foreign, WhyAlreadyInactive, AlertMaybe, "NC_PCK_11"},
	{Foreign, WhyAlreadyInactive, AlertNo, "NC_PCK_28 NC_PCK_30 NC_PCK_31"},
	{UnknownProduct, WhyUnknownProduct, AlertNo, "NC_PC_01"},
	{Data, WhyUnknownSerial, AlertYes, "NC_PC_02"},
	{Data, WhyUnknownSerial, AlertNo, "NC_PC_14"},
	{Data, WhyUnknownBatch, AlertYes, "FE_LOT_03"},
	{Data, WhyUnknownBatch, AlertNo, "FE_LOT_15"},
	{Data, WhyWrongExpiry, AlertYes, "FE_LOT_12"},
	{Data, WhyWrongExpiry, AlertNo, "FE_LOT_17"},
	{Data, WhyWrongExpiry, AlertMaybe, "FE_LOT_02 FE_LOT_04 FE_LOT_06"},
	{Data, WhyWrongBatch, AlertYes, "FE_LOT_13"},
	{Data, WhyWrongBatch, AlertNo, "FE_LOT_18"},
	{Rule, WhyWrongExpiry, AlertNo, "FE_LOT_07"},
	{Rule, WhyUnknownProduct, AlertNo, "NC_PC_06"},
	{Rule, WhyRecalled, AlertNo, "FE_LOT_01"},
	{Rule, WhyWithdrawn, AlertNo, "FE_LOT_08"},
	{Rule, WhyExpired, AlertNo, "NC_PCK_02 NC_PCK_09"},
	{Rule, WhyNotEntitled, AlertNo, "FE_AU_08 FE_AU_09 FE_AU_12 FE_AU_15 FE_BR_01"},
	{Rule, WhyNotDispensable, AlertMaybe, "NC_PCK_01 NC_PCK_03"},
	{Rule, WhyLocked, AlertMaybe, "NC_PCK_08"},
	{Rule, WhyLocked, AlertNo, "NC_PCK_15"},
	{Rule, WhyOther, AlertMaybe, "NC_PC_07 NC_PC_10 NC_PCK_18 NC_PCK_17 NC_PCK_24"},
	{Rule, WhyOther, AlertNo, "NC_PC_11 FE_LOT_05 FE_LOT_09 FE_LOT_10 NC_PCK_12 NC_PCK_16 NC_PCK_10 NC_PCK_25 " +
		"FI_CFG_01 FI_CFG_02 FI_CFG_03 FE_PKI_07 NC_PMS_24"},
	{Rule, WhyTooLate, AlertMaybe, "NC_PCK_05 NC_PCK_13"},
	{Rule, WhyTooLate, AlertYes, "NC_PCK_20"},
	{Rule, WhyNotOurs, AlertYes, "NC_PCK_21"},
	{Rule, WhyWrongRef, AlertMaybe, "FE_TX_01 FE_TX_03 FE_TX_05"},
	{UsedID, "", AlertNo, "TE_TX_01"},
	{Format, "", AlertNo, "FE_TX_04 TE_TX_02 TE_XM_01 TE_XM_02 TE_JS_01 TE_JS_02 FE_REQ_01 FE_REQ_02 " +
		"FE_PMS_02 FE_PMS_03 FE_PMS_04 FE_GR_01 FE_GR_02 FE_GR_03 FE_GR_04 FE_SN_02"},
	{Setup, "", AlertNo, "TE_REQ_02 TI_RT_01"},
	{TooFast, "", AlertNo, "FI_SE_CLI_01"},
	{Busy, "", AlertNo, "FI_BAT_01 WF_NC_01 TI_AU_01"},
	{InDoubt, "", AlertMaybe, "TI_TO_01 TI_RT_02 TI_XM_01 ERROR"},
	{InDoubt, "", AlertNo, "TI_CFG_01 TI_CFG_02"},
	{Login, "", AlertNo, "FE_AU_01 FE_AU_02 FE_AU_03 FE_AU_04 FE_AU_05 FE_AU_06 FE_AU_07 FE_AU_10 FE_AU_11 FE_AU_13 FE_AU_14 " +
		"FE_AU_17 FE_AU_18 FE_AU_23 FE_AU_24 FE_PKI_01 FE_PKI_05 FE_PKI_06 FE_PKI_08"},
	// Codes that depend on the kind of operation: as the answer to a decommission.
	{Format, "", AlertNo, "FE_TX_02"},
	{Rule, WhyOther, AlertMaybe, "NC_PCK_04 NC_PCK_07 NC_PCK_14"},
	{Rule, WhyOther, AlertYes, "NC_PCK_06"},
	{Rule, WhyOther, AlertNo, "NC_PCK_29"},
}

func TestEveryCodeHasTheClassOfTheProtocol(t *testing.T) {
	supply := operation(t, "G120")
	seen := map[string]bool{}
	for _, w := range wantCodes {
		for name := range strings.FieldsSeq(w.codes) {
			code := prefix + name
			if seen[code] {
				t.Errorf("%s is listed twice in the test", code)
			}
			seen[code] = true
			want := Verdict{Class: w.class, Reason: w.reason, Alert: w.alert, Known: true}
			if got := Classify(code, supply); got != want {
				t.Errorf("Classify(%s) = %+v, want %+v", code, got, want)
			}
		}
	}
	for _, c := range Codes() {
		if c.Kind == KindReturnCode && !seen[c.Code] {
			t.Errorf("%s is in the table, not in the test", c.Code)
		}
	}
}

func TestACodeDependsOnTheOperation(t *testing.T) {
	for _, tc := range []struct {
		code, op string
		want     Class
	}{
		{"NMVS_NC_PCK_04", "G121", UndoMismatch}, {"NMVS_NC_PCK_06", "G121", UndoMismatch}, {"NMVS_NC_PCK_07", "G141", UndoMismatch},
		{"NMVS_NC_PCK_14", "G171", UndoMismatch}, {"NMVS_NC_PCK_29", "G127", UndoMismatch},
		{"NMVS_FE_TX_02", "G188", NotReady}, {"NMVS_FE_TX_02", "G196", NotReady}, {"NMVS_FE_TX_02", "G125", Format},
		{"NMVS_NC_PCK_24", "G188", Success}, {"NMVS_NC_PCK_17", "G196", Success}, {"NMVS_NC_PCK_17", "G125", Rule},
	} {
		if got := Classify(tc.code, operation(t, tc.op)); got.Class != tc.want {
			t.Errorf("Classify(%s, %s) = %s, want %s", tc.code, tc.op, got.Class, tc.want)
		}
	}
}

func TestAnUnknownCodeIsJudgedByItsPrefix(t *testing.T) {
	supply := operation(t, "G120")
	for code, want := range map[string]Verdict{
		"NMVS_NC_PCK_99": {Class: Rule, Reason: WhyOther, Alert: AlertMaybe}, "NMVS_FE_AU_99": {Class: Login},
		"NMVS_FE_PKI_99": {Class: Login}, "NMVS_FE_LOT_14": {Class: Format, Alert: AlertMaybe}, "NMVS_TE_NEW_01": {Class: Format},
		"NMVS_TI_NEW_01": {Class: InDoubt, Alert: AlertMaybe}, "NMVS_FI_NEW_01": {Class: InDoubt, Alert: AlertMaybe},
		"NMVS_WF_NC_02": {Class: InDoubt, Alert: AlertMaybe}, "": {Class: InDoubt, Alert: AlertMaybe},
		"NMVS_SUCCESS_2": {Class: InDoubt, Alert: AlertMaybe}, "nmvs_success": {Class: InDoubt, Alert: AlertMaybe},
		"NMVS_SUCCESS ": {Class: InDoubt, Alert: AlertMaybe}, "NC_PCK_22": {Class: InDoubt, Alert: AlertMaybe},
	} {
		if got := Classify(code, supply); got != want {
			t.Errorf("Classify(%q) = %+v, want %+v", code, got, want)
		}
	}
}

func TestThePacksStateCorrectsTheCode(t *testing.T) {
	for _, tc := range []struct {
		name, code, op, state string
		reasons               []string
		class                 Class
		reason                scan.Reason
	}{
		{"inactive by expiry is nobody's deed", "NC_PCK_22", "G120", "INACTIVE", []string{"EXPIRED"}, Rule, WhyExpired},
		{"recalled", "NC_PCK_19", "G120", "INACTIVE", []string{"SUPPLIED", "RECALLED"}, Rule, WhyRecalled},
		{"withdrawn", "NC_PCK_30", "G130", "INACTIVE", []string{"WITHDRAWN"}, Rule, WhyWithdrawn},
		{"supplied by another", "NC_PCK_22", "G120", "INACTIVE", []string{"SUPPLIED"}, Foreign, WhyAlreadyInactive},
		{"verify tells by state: old code", "NC_PCK_03", "G110", "INACTIVE", []string{"SUPPLIED"}, Success, ""},
		{"verify tells by state: recalled", "FE_LOT_01", "G110", "INACTIVE", []string{"RECALLED"}, Success, ""},
		{"verify tells by state: foreign code", "NC_PCK_22", "G110", "INACTIVE", []string{"SUPPLIED"}, Success, ""},
		{"verify without a state keeps the code", "NC_PCK_03", "G110", "", nil, Rule, WhyNotDispensable},
		{"verify of wrong data stays so", "FE_LOT_12", "G110", "ACTIVE", nil, Data, WhyWrongExpiry},
		{"verify refused stays so", "FE_AU_08", "G110", "ACTIVE", nil, Rule, WhyNotEntitled},
		{"done, but still active", "SUCCESS", "G120", "ACTIVE", nil, InDoubt, ""},
		{"done before, but active", "NC_PCK_23", "G120", "ACTIVE", nil, InDoubt, ""},
		{"undone, but still supplied", "SUCCESS", "G121", "INACTIVE", []string{"SUPPLIED"}, InDoubt, ""},
		{"undone, inactive for another reason", "SUCCESS", "G121", "INACTIVE", []string{"EXPIRED"}, Success, ""},
		{"done, pack of another country", "SUCCESS", "G120", "INACTIVE", []string{"UNKNOWN"}, Success, ""},
		{"done, no pack in the reply", "SUCCESS", "G120", "", nil, Success, ""},
	} {
		var f Finding
		op := operation(t, tc.op)
		f.judge(new(classifier), &replyCode{given: true, code: prefix + tc.code}, &op, tc.state, tc.reasons, "")
		if f.Class != tc.class || f.Reason != tc.reason {
			t.Errorf("%s: %s %q, want %s %q", tc.name, f.Class, f.Reason, tc.class, tc.reason)
		}
	}
}

func TestEveryCodeIsExplainedInBothLanguages(t *testing.T) {
	for _, c := range Codes() {
		for _, s := range []string{c.Text.FR, c.Text.EN, c.Advice.FR, c.Advice.EN} {
			if !strings.HasSuffix(s, ".") || len(s) < 8 {
				t.Errorf("%s %s: %q is no sentence", c.Kind, c.Code, s)
			}
		}
		for _, asked := range []string{c.Code, strings.ToLower(strings.TrimPrefix(c.Code, prefix))} {
			if got, ok := Explain(asked); !ok || got != c {
				t.Errorf("Explain(%q) = %+v, %v", asked, got, ok)
			}
		}
	}
	for code, want := range map[string]struct {
		name  string
		class Class
	}{
		"NC_PCK_26": {"NMVS_NC_PCK_26", Rule}, "NMVS_FE_FAQ_03": {"NMVS_FE_FAQ_03", Format}, "ti_xx_01": {"NMVS_TI_XX_01", InDoubt},
		"HELLO": {"HELLO", InDoubt}, "": {"", InDoubt},
	} {
		got, ok := Explain(code)
		if ok || got.Known || got.Code != want.name || got.Class != want.class || got.Text.FR == "" || got.Advice.EN == "" {
			t.Errorf("Explain(%q) = %+v, %v", code, got, ok)
		}
	}
}

func TestClassesNameWhatMayComeNext(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Classes() {
		if seen[c.String()] || strings.HasPrefix(c.String(), "class(") {
			t.Errorf("class %d is named %s", c, c)
		}
		seen[c.String()] = true
		if c.Answered() && c.NoEffect() {
			t.Errorf("%s is answered and without effect", c)
		}
	}
	if InDoubt.Answered() || InDoubt.NoEffect() || InDoubt != 0 {
		t.Error("in doubt permits something, or is not the zero class")
	}
	if !NotSent.NoEffect() || !Login.RefusedWhole() || NotSent.RefusedWhole() || UsedID.NoEffect() {
		t.Error("no effect: not_sent and refusals of the whole only")
	}
}
