package sim

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"decom/nmvs"
)

// step is one call and what it must come to.
type step struct {
	ask
	code    string // without NMVS_
	state   string
	alert   string // kind
	advance time.Duration
}

func TestEveryRuleAnswersItsCode(t *testing.T) {
	day := 24 * time.Hour
	undo := func(op, ref string) ask { return ask{op: op, ref: ref} }
	user2 := func(op string) ask { return ask{op: op, user: "DEMO-USER-02"} }
	x := func(op string) ask { return ask{op: op, code: gtinX, sn: "X1", batch: "LX", expiry: "280100"} }
	sup := step{ask: ask{op: "G120", c: "FIRST"}, code: "SUCCESS", state: "INACTIVE"}
	tests := []struct {
		name    string
		version int
		set     Settings
		steps   []step
	}{
		{name: "verify active", steps: []step{{ask: ask{op: "G110"}, code: "SUCCESS", state: "ACTIVE"}}},
		{name: "verify inactive", steps: []step{sup, {ask: ask{op: "G110"}, code: "SUCCESS", state: "INACTIVE"}}},
		{name: "verify inactive, other setting", set: Settings{Rules: Rules{VerifyInactiveCode: "NMVS_NC_PCK_03"}},
			steps: []step{sup, {ask: ask{op: "G110"}, code: "NC_PCK_03", state: "INACTIVE"}}},
		{name: "repeat", steps: []step{sup, {ask: ask{op: "G120"}, code: "NC_PCK_22", state: "INACTIVE", alert: "A24"}}},
		{name: "repeat within tolerance", set: Settings{Rules: Rules{Tolerance: 2}}, steps: []step{sup,
			{ask: ask{op: "G120"}, code: "NC_PCK_23", state: "INACTIVE"}, {ask: ask{op: "G120"}, code: "NC_PCK_23", state: "INACTIVE"},
			{ask: ask{op: "G120"}, code: "NC_PCK_22", state: "INACTIVE", alert: "A24"}}},
		{name: "tolerance is for the same user", set: Settings{Rules: Rules{Tolerance: 2}}, steps: []step{sup,
			{ask: user2("G120"), code: "NC_PCK_22", state: "INACTIVE", alert: "A24"}}},
		{name: "tolerance is for the same operation", set: Settings{Rules: Rules{Tolerance: 2}}, steps: []step{sup,
			{ask: ask{op: "G130"}, code: "NC_PCK_22", state: "INACTIVE", alert: "A24"}}},
		{name: "repeat, no-alert twin", set: Settings{Rules: Rules{NoAlertTwins: true}}, steps: []step{sup, {ask: ask{op: "G120"}, code: "NC_PCK_30", state: "INACTIVE"}}},
		{name: "no twins before V5", version: 4, set: Settings{Rules: Rules{NoAlertTwins: true}}, steps: []step{sup, {ask: ask{op: "G120"}, code: "NC_PCK_22", state: "INACTIVE", alert: "A24"}}},
		{name: "repeat, older code", set: Settings{Rules: Rules{RepeatCode: "NMVS_NC_PCK_11"}}, steps: []step{sup, {ask: ask{op: "G120"}, code: "NC_PCK_11", state: "INACTIVE", alert: "A24"}}},
		{name: "supplied by a stranger", steps: []step{{ask: ask{op: "G120", sn: "GONE"}, code: "NC_PCK_22", state: "INACTIVE", alert: "A24"}}},
		{name: "intermarket repeat, same property", steps: []step{{ask: x("G120"), code: "SUCCESS", state: "INACTIVE"}, {ask: x("G120"), code: "NC_PCK_19", state: "INACTIVE", alert: "A7"}}},
		{name: "intermarket repeat, other property", steps: []step{{ask: x("G120"), code: "SUCCESS", state: "INACTIVE"}, {ask: x("G130"), code: "NC_PCK_27", state: "INACTIVE", alert: "A24"}}},
		{name: "intermarket twins", set: Settings{Rules: Rules{NoAlertTwins: true}}, steps: []step{{ask: x("G120"), code: "SUCCESS", state: "INACTIVE"},
			{ask: x("G120"), code: "NC_PCK_28", state: "INACTIVE"}, {ask: x("G130"), code: "NC_PCK_31", state: "INACTIVE"}}},

		{name: "expired", steps: []step{{ask: ask{op: "G120", sn: "OLD", batch: "LOLD", expiry: "260131"}, code: "NC_PCK_02", state: "INACTIVE"}}},
		{name: "expires by the clock", steps: []step{{ask: ask{op: "G110", sn: "B1", batch: "L2", expiry: "280531"}, code: "SUCCESS", state: "ACTIVE"},
			{advance: 900 * day, ask: ask{op: "G445", body: "<t:Password>" + pass + "</t:Password><t:NewPassword>N3w-Ex4mple-Only!</t:NewPassword>"}, code: "SUCCESS"},
			{ask: ask{op: "G110", sn: "B1", batch: "L2", expiry: "280531", password: "N3w-Ex4mple-Only!"}, code: "SUCCESS", state: "INACTIVE"}}},
		{name: "recalled", steps: []step{{ask: ask{op: "G120", sn: "REC", batch: "LREC", expiry: "280100"}, code: "FE_LOT_01", state: "INACTIVE"}}},
		{name: "withdrawn", steps: []step{{ask: ask{op: "G120", code: "09521234000044", sn: "W1", batch: "LW", expiry: "280100"}, code: "FE_LOT_08", state: "INACTIVE"}}},
		{name: "no right for the product", steps: []step{{ask: ask{op: "G120", code: "09521234000051", sn: "D1", batch: "LD", expiry: "280100"}, code: "FE_AU_08"}}},

		{name: "product unknown", steps: []step{{ask: ask{op: "G120", code: "09521234000068"}, code: "NC_PC_01", state: "UNKNOWN"}}},
		{name: "check digit", steps: []step{{ask: ask{op: "G120", code: "09521234000069"}, code: "FE_GR_01", state: "UNKNOWN"}}},
		{name: "check digit off", set: Settings{Rules: Rules{SkipCheckDigit: true}}, steps: []step{{ask: ask{op: "G120", code: "09521234000069"}, code: "NC_PC_01", state: "UNKNOWN"}}},
		{name: "serial unknown", steps: []step{{ask: ask{op: "G120", sn: "a1"}, code: "NC_PC_02", state: "UNKNOWN", alert: "A3"}}},
		{name: "serial unknown on verify", steps: []step{{ask: ask{op: "G110", sn: "a1"}, code: "NC_PC_02", state: "UNKNOWN", alert: "A3"}}},
		{name: "serial unknown, twin", set: Settings{Rules: Rules{NoAlertTwins: true}}, steps: []step{{ask: ask{op: "G120", sn: "a1"}, code: "NC_PC_14", state: "UNKNOWN"}}},
		{name: "batch unknown", steps: []step{{ask: ask{op: "G120", batch: "L9"}, code: "FE_LOT_03", state: "UNKNOWN", alert: "A2"}}},
		{name: "batch unknown, twin", set: Settings{Rules: Rules{NoAlertTwins: true}}, steps: []step{{ask: ask{op: "G120", batch: "L9"}, code: "FE_LOT_15", state: "UNKNOWN"}}},
		{name: "other batch", steps: []step{{ask: ask{op: "G120", batch: "L2", expiry: "280531"}, code: "FE_LOT_13", state: "UNKNOWN", alert: "A68"}}},
		{name: "other batch, twin", set: Settings{Rules: Rules{NoAlertTwins: true}}, steps: []step{{ask: ask{op: "G120", batch: "L2", expiry: "280531"}, code: "FE_LOT_18", state: "UNKNOWN"}}},
		{name: "other batch in V2", version: 2, steps: []step{{ask: ask{op: "G120", batch: "L2", expiry: "280531"}, code: "FE_LOT_03", state: "UNKNOWN", alert: "A2"}}},
		{name: "expiry differs", steps: []step{{ask: ask{op: "G120", expiry: "271130"}, code: "FE_LOT_12", state: "UNKNOWN", alert: "A52"}}},
		{name: "expiry differs, twin", set: Settings{Rules: Rules{NoAlertTwins: true}}, steps: []step{{ask: ask{op: "G120", expiry: "271130"}, code: "FE_LOT_17", state: "UNKNOWN"}}},
		{name: "expiry differs in V2", version: 2, steps: []step{{ask: ask{op: "G120", expiry: "271130"}, code: "FE_LOT_06", state: "UNKNOWN", alert: "A52"}}},
		{name: "expiry by month", set: Settings{Rules: Rules{ExpiryByMonth: true}}, steps: []step{{ask: ask{op: "G120", expiry: "271130"}, code: "SUCCESS", state: "INACTIVE"}}},
		{name: "expiry is no date", steps: []step{{ask: ask{op: "G120", expiry: "271300"}, code: "FE_LOT_07", state: "UNKNOWN"}}},

		{name: "undo", steps: []step{sup, {ask: undo("G121", "FIRST"), code: "SUCCESS", state: "ACTIVE"}, {ask: ask{op: "G120"}, code: "SUCCESS", state: "INACTIVE"}}},
		{name: "undo without reference", steps: []step{sup, {ask: undo("G121", ""), code: "SUCCESS", state: "ACTIVE"}}},
		{name: "undo on the last day", steps: []step{sup, {advance: 10 * day, ask: undo("G121", ""), code: "SUCCESS", state: "ACTIVE"}}},
		{name: "undo too late", steps: []step{sup, {advance: 10*day + 1, ask: undo("G121", ""), code: "NC_PCK_05", state: "INACTIVE"}}},
		{name: "undo of export too late", steps: []step{{ask: ask{op: "G140"}, code: "SUCCESS", state: "INACTIVE"},
			{advance: 11 * day, ask: undo("G141", ""), code: "NC_PCK_20", state: "INACTIVE", alert: "A24"}}},
		{name: "undo of destroy too late in V2", version: 2, steps: []step{{ask: ask{op: "G130"}, code: "SUCCESS", state: "INACTIVE"},
			{advance: 11 * day, ask: undo("G131", ""), code: "NC_PCK_13", state: "INACTIVE"}}},
		{name: "undo of destroy in V2", version: 2, steps: []step{{ask: ask{op: "G130"}, code: "SUCCESS", state: "INACTIVE"}, {ask: undo("G131", ""), code: "SUCCESS", state: "ACTIVE"}}},
		{name: "undo with other window", set: Settings{Rules: Rules{UndoWindow: Duration(time.Hour)}}, steps: []step{sup, {advance: 2 * time.Hour, ask: undo("G121", ""), code: "NC_PCK_05", state: "INACTIVE"}}},
		{name: "undo by another user", steps: []step{sup, {ask: user2("G121"), code: "NC_PCK_21", state: "INACTIVE", alert: "A5"}}},
		{name: "undo by another user of the client, allowed", set: Settings{Rules: Rules{UndoByClient: true}}, steps: []step{sup, {ask: user2("G121"), code: "SUCCESS", state: "ACTIVE"}}},
		{name: "undo by another client", set: Settings{Rules: Rules{UndoByClient: true}}, steps: []step{sup,
			{ask: ask{op: "G121", client: "DEMO-SITE-02", user: "DEMO-USER-03"}, code: "NC_PCK_21", state: "INACTIVE", alert: "A5"}}},
		{name: "undo of a stranger's supply", steps: []step{{ask: ask{op: "G121", sn: "GONE"}, code: "NC_PCK_21", state: "INACTIVE", alert: "A5"}}},
		{name: "undo with wrong reference", steps: []step{sup, {ask: undo("G121", "OTHER"), code: "FE_TX_01", state: "INACTIVE"}}},
		{name: "undo of destroy with wrong reference", version: 2, steps: []step{{ask: ask{op: "G130"}, code: "SUCCESS", state: "INACTIVE"}, {ask: undo("G131", "OTHER"), code: "FE_TX_03", state: "INACTIVE"}}},
		{name: "undo of lock with wrong reference", steps: []step{{ask: ask{op: "G170"}, code: "SUCCESS", state: "INACTIVE"}, {ask: undo("G171", "OTHER"), code: "FE_TX_05", state: "INACTIVE"}}},
		{name: "undo does not match", steps: []step{sup, {ask: undo("G151", ""), code: "NC_PCK_06", state: "INACTIVE", alert: "A24"}}},
		{name: "undo does not match, twin", set: Settings{Rules: Rules{NoAlertTwins: true}}, steps: []step{sup, {ask: undo("G151", ""), code: "NC_PCK_29", state: "INACTIVE"}}},
		{name: "undo of an active pack", steps: []step{{ask: undo("G121", ""), code: "NC_PCK_06", state: "ACTIVE"}}},
		{name: "undo of an active pack in V2", version: 2, steps: []step{{ask: undo("G121", ""), code: "NC_PCK_04", state: "ACTIVE"},
			{ask: undo("G141", ""), code: "NC_PCK_07", state: "ACTIVE"}, {ask: undo("G171", ""), code: "NC_PCK_14", state: "ACTIVE"}}},
		{name: "undo of an expired pack", steps: []step{{ask: undo("G121", "") /* OLD */, code: "NC_PCK_06", state: "ACTIVE"},
			{ask: ask{op: "G121", sn: "OLD", batch: "LOLD", expiry: "260131"}, code: "NC_PCK_06", state: "INACTIVE"}}},
		{name: "no undo of destroy from V3 on", version: 3, steps: []step{{ask: undo("G131", ""), code: ""}}},

		{name: "manual supply and its undo", steps: []step{{ask: ask{op: "G122", manual: true}, code: "SUCCESS", state: "INACTIVE"}, {ask: ask{op: "G123"}, code: "SUCCESS", state: "ACTIVE"}}},
		{name: "manual stolen", steps: []step{{ask: ask{op: "G182", manual: true}, code: "SUCCESS", state: "INACTIVE"}, {ask: ask{op: "G110"}, code: "SUCCESS", state: "INACTIVE"}}},
		{name: "manual with batch", steps: []step{{ask: ask{op: "G122"}, code: "TE_XM_02"}}},

		{name: "same ClientTrxId", steps: []step{sup, {ask: ask{op: "G110", c: "FIRST"}, code: "TE_TX_01"}}},
		{name: "same ClientTrxId, other client", steps: []step{sup, {ask: ask{op: "G110", c: "FIRST", client: "DEMO-SITE-02", user: "DEMO-USER-03"}, code: "SUCCESS", state: "INACTIVE"}}},
		{name: "same ClientTrxId, other user of the client", steps: []step{sup, {ask: ask{op: "G110", c: "FIRST", user: "DEMO-USER-02"}, code: "TE_TX_01"}}},
		{name: "same ClientTrxId, allowed", set: Settings{Rules: Rules{AllowTrxReuse: true}}, steps: []step{sup, {ask: ask{op: "G110", c: "FIRST"}, code: "SUCCESS", state: "INACTIVE"}}},

		{name: "client unknown", steps: []step{{ask: ask{op: "G110", client: "NOBODY"}, code: "FE_AU_04"}}},
		{name: "user unknown", steps: []step{{ask: ask{op: "G110", user: "NOBODY"}, code: "FE_AU_01"}}},
		{name: "lock after three", steps: []step{
			{ask: ask{op: "G110", password: "Wr0ng-Word!"}, code: "FE_AU_01"}, {ask: ask{op: "G110", password: "Wr0ng-Word!"}, code: "FE_AU_01"},
			{ask: ask{op: "G110", password: "Wr0ng-Word!"}, code: "FE_AU_05"}, {ask: ask{op: "G110"}, code: "FE_AU_02"},
			{ask: user2("G110"), code: "SUCCESS", state: "ACTIVE"}}},
		{name: "a good login starts the count anew", set: Settings{Login: Login{LockAfter: 2}}, steps: []step{
			{ask: ask{op: "G110", password: "Wr0ng-Word!"}, code: "FE_AU_01"}, {ask: ask{op: "G110"}, code: "SUCCESS", state: "ACTIVE"},
			{ask: ask{op: "G110", password: "Wr0ng-Word!"}, code: "FE_AU_01"}, {ask: ask{op: "G110", password: "Wr0ng-Word!"}, code: "FE_AU_05"}}},
		{name: "password expires", steps: []step{{ask: ask{op: "G110"}, code: "SUCCESS", state: "ACTIVE"}, {advance: 90 * day, ask: ask{op: "G110"}, code: "FE_AU_11"}}},
		{name: "terms overdue", steps: []step{{ask: ask{op: "G482", header: true}, code: "NC_PMS_24"}, {ask: ask{op: "G483", body: "<t:Version>1</t:Version>"}, code: "NC_PMS_24"}}},
	}
	id := regexp.MustCompile(`^[A-Z]{2}(-[0-9A-Z]{3}){5}$`)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.version == 0 {
				tt.version = 5
			}
			r := newRig(t, tt.version, tt.set)
			for i, st := range tt.steps {
				r.Advance(st.advance)
				before := r.Counts()
				a := r.do(st.ask)
				want := "NMVS_" + st.code
				if st.code == "" {
					want = ""
				}
				if a.Code != want || st.state != "" && a.State != st.state {
					t.Fatalf("step %d %s: %q %q, want %q %q\n%s", i, st.op, a.Code, a.State, want, st.state, a.text)
				}
				if got := id.MatchString(a.Alert); got != (st.alert != "") {
					t.Errorf("step %d: alert id %q, want kind %q", i, a.Alert, st.alert)
				}
				after := r.Counts()
				if st.alert != "" && after.Alerts[st.alert] != before.Alerts[st.alert]+1 || st.alert == "" && fmt.Sprint(after.Alerts) != fmt.Sprint(before.Alerts) {
					t.Errorf("step %d: alerts %v after %v, want one more %q", i, after.Alerts, before.Alerts, st.alert)
				}
			}
		})
	}
}

func TestIntermarketAnswersTellLess(t *testing.T) {
	r := newRig(t, 5, Settings{Rules: Rules{ForeignReasonsUnknown: true}})
	home := r.do(ask{op: "G110"})
	if !strings.Contains(home.text, "ExpDateNMVS") || !strings.Contains(home.text, "NHRN") || strings.Contains(home.text, "IntermarketFlag") {
		t.Errorf("home reply: %s", home.text)
	}
	far := ask{op: "G120", code: gtinX, sn: "X1", batch: "LX", expiry: "280100"}
	a := r.do(far).want(t, "SUCCESS")
	if strings.Contains(a.text, "ExpDateNMVS") || !strings.Contains(a.text, "<ns1:IntermarketFlag>true</ns1:IntermarketFlag>") || a.Reason[0] != "UNKNOWN" {
		t.Errorf("intermarket reply: %s", a.text)
	}
	if a = r.do(far).want(t, "NC_PCK_19"); !strings.HasPrefix(a.Alert, "BE-") {
		t.Errorf("alert %q of a Belgian pack", a.Alert)
	}
}

func TestAlertIDStandsWhereTheSettingSays(t *testing.T) {
	for place, pattern := range map[string]string{
		"attribute": ` ns1:alertId="FR(-[0-9A-Z]{3}){5}"`, "element": `<ns1:AlertId>FR(-[0-9A-Z]{3}){5}</ns1:AlertId>`,
		"desc": `desc="[^"]* FR(-[0-9A-Z]{3}){5}\."`, "none": `PC_02`,
	} {
		r := newRig(t, 5, Settings{Rules: Rules{AlertPlace: place}})
		a := r.do(ask{op: "G110", sn: "nope"})
		if !regexp.MustCompile(pattern).MatchString(a.text) {
			t.Errorf("%s: %s", place, a.text)
		}
		if place == "none" && regexp.MustCompile(`(-[0-9A-Z]{3}){5}`).MatchString(a.text) {
			t.Errorf("none: %s", a.text)
		}
		l := r.Ledger()
		if e := l[len(l)-1]; e.Alert != "A3" || !strings.HasPrefix(e.AlertID, "FR-") || place != "none" && !strings.Contains(a.text, e.AlertID) {
			t.Errorf("%s: ledger says %+v", place, e)
		}
	}
}

func TestPasswordChangeKeepsTheOldOneForDays(t *testing.T) {
	r := newRig(t, 5, Settings{})
	change := func(login, current, fresh string) answer {
		return r.do(ask{op: "G445", password: login, body: "<t:Password>" + esc(current) + "</t:Password><t:NewPassword>" + esc(fresh) + "</t:NewPassword>"})
	}
	const second = "S3cond-Word!"
	change(pass, second, second).want(t, "FE_AU_10")
	change(pass, pass, pass).want(t, "FE_PMS_02")
	change(pass, pass, "weak").want(t, "FE_PMS_04")
	change(pass, pass, second).want(t, "SUCCESS")
	a := r.do(ask{op: "G110"}).want(t, "SUCCESS")
	if len(a.Notes) != 1 || a.Notes[0] != "NMVS_NOTIFY_AU_01 Old password in use. It stops working in 7 days." {
		t.Errorf("notes %q", a.Notes)
	}
	change(pass, pass, "Th1rd-Word!").want(t, "FE_AU_24")
	change(second, second, pass).want(t, "FE_PMS_03")
	if a = r.do(ask{op: "G110", password: second}).want(t, "SUCCESS"); len(a.Notes) != 0 {
		t.Errorf("notes %q", a.Notes)
	}
	r.Advance(7 * 24 * time.Hour)
	r.do(ask{op: "G110"}).want(t, "FE_AU_01")
	r.Advance(74 * 24 * time.Hour)
	if a = r.do(ask{op: "G110", password: second}).want(t, "SUCCESS"); len(a.Notes) != 1 || a.Notes[0] != "NMVS_NOTIFY_AU_02 Password expires in 9 days." {
		t.Errorf("notes %q", a.Notes)
	}
	r.Advance(9 * 24 * time.Hour)
	r.do(ask{op: "G110", password: second}).want(t, "FE_AU_11")
	change(second, second, "Th1rd-Word!").want(t, "SUCCESS")
	r.do(ask{op: "G110", password: "Th1rd-Word!"}).want(t, "SUCCESS")
}

func TestTermsStopCallsAfterTheDeadline(t *testing.T) {
	r := newRig(t, 5, Settings{})
	if err := r.Update(func(s *Settings) { s.Login.TermsVersion, s.Login.TermsDeadline = 3, start.Add(48*time.Hour) }); err != nil {
		t.Fatal(err)
	}
	a := r.do(ask{op: "G110"}).want(t, "SUCCESS")
	if len(a.Notes) != 1 || a.Notes[0] != "NMVS_NOTIFY_PMS_01 New terms are available. 2 days to accept them." {
		t.Errorf("notes %q", a.Notes)
	}
	r.Advance(48 * time.Hour)
	r.do(ask{op: "G110"}).want(t, "FE_AU_23")
	a = r.do(ask{op: "G482", header: true}).want(t, "SUCCESS")
	if !strings.Contains(a.text, "<ns1:Version>3</ns1:Version>") || !strings.Contains(a.text, "<ns1:AcceptedByUser>false<") {
		t.Error(a.text)
	}
	r.do(ask{op: "G483", body: "<t:Version>2</t:Version>"}).want(t, "FE_REQ_02")
	r.do(ask{op: "G483", body: "<t:Version>3</t:Version>"}).want(t, "SUCCESS")
	r.do(ask{op: "G483", body: "<t:Version>3</t:Version>"}).want(t, "NC_PMS_23")
	r.do(ask{op: "G110"}).want(t, "SUCCESS")
}

func TestRoleAndInitialPasswordAndUnlock(t *testing.T) {
	accs := accounts()
	accs[0].Deny = []string{"G130"}
	accs[1].Initial = true
	s, err := New(Config{Accounts: accs, Clock: func() time.Time { return start }, Settings: Settings{AutoStock: AutoStock{On: true}, Login: Login{LockAfter: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Sim: s, t: t, h: s.Handler()}
	r.do(ask{op: "G130"}).want(t, "FE_AU_15")
	r.do(ask{op: "G120"}).want(t, "SUCCESS")
	r.do(ask{op: "G110", user: "DEMO-USER-02"}).want(t, "FE_AU_11")
	r.do(ask{op: "G110", password: "Wr0ng-Word!"}).want(t, "FE_AU_05")
	if !s.Unlock("DEMO-SITE-01", "DEMO-USER-01") || s.Unlock("NO", "BODY") {
		t.Error("Unlock")
	}
	r.do(ask{op: "G110"}).want(t, "SUCCESS")
}

func TestFrequencyLimitCountsViolations(t *testing.T) {
	r := newRig(t, 5, Settings{Limit: Limit{Calls: 2, Window: Duration(time.Second)}})
	r.do(ask{op: "G110"}).want(t, "SUCCESS")
	r.Advance(600 * time.Millisecond)
	r.do(ask{op: "G110"}).want(t, "SUCCESS")
	r.do(ask{op: "G120", c: "FAST"}).want(t, "FI_SE_CLI_01")
	r.do(ask{op: "G110", user: "DEMO-USER-02"}).want(t, "SUCCESS") // another account's window
	r.Advance(400 * time.Millisecond)                              // the first is a second old
	r.do(ask{op: "G120", c: "FAST"}).want(t, "SUCCESS")            // the refused call did not use up its id
	if err := r.Update(func(s *Settings) { s.Limit.Mode, s.Limit.RetryAfter = "429", Duration(1500*time.Millisecond) }); err != nil {
		t.Fatal(err)
	}
	a := r.do(ask{op: "G110"})
	if a.status != 429 || a.header.Get("Retry-After") != "2" {
		t.Errorf("HTTP %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
	if n := r.Counts().TooFast; n != 2 {
		t.Errorf("%d violations counted, want 2", n)
	}
}

func TestTheLedgerJudges(t *testing.T) {
	r := newRig(t, 5, Settings{})
	k := Key{"GTIN", gtin1, "A1"}
	r.do(ask{op: "G120", c: "C1"}).want(t, "SUCCESS")
	if v := r.Verdict(); !v.Clean {
		t.Fatalf("after one supply: %s", v)
	}
	r.do(ask{op: "G121", c: "C2"}).want(t, "SUCCESS")
	r.do(ask{op: "G120", c: "C3"}).want(t, "SUCCESS")
	r.do(ask{op: "G110", c: "C4"}).want(t, "SUCCESS")
	r.do(ask{op: "G120", sn: "GONE"}).want(t, "NC_PCK_22")           // a stranger's pack: an alert, but not of our making
	r.do(ask{op: "G120", user: "DEMO-USER-02"}).want(t, "NC_PCK_22") // another account's pack
	if v := r.Verdict(); !v.Clean {
		t.Fatalf("after supply, undo, supply, strangers: %s", v)
	}
	p, _ := r.Pack(k)
	if p.Decommissions != 2 || p.Undos != 1 || p.State != "INACTIVE" || p.Reasons[0].C != "C3" || p.Reasons[0].User != "DEMO-USER-01" {
		t.Errorf("pack %+v", p)
	}
	r.do(ask{op: "G130", c: "C5"}).want(t, "NC_PCK_22")
	r.do(ask{op: "G121"}).want(t, "SUCCESS")
	r.do(ask{op: "G121", c: "C6"}).want(t, "NC_PCK_06")
	v := r.Verdict()
	if v.Clean || v.Counts.SentTwice != 1 || v.Counts.UndoTwice != 1 || v.Counts.SelfAlerts != 1 || len(v.Bad) != 1 || v.Bad[0].Key != k {
		t.Errorf("verdict %+v", v)
	}
	var twice []string
	for i, e := range r.Ledger() {
		if e.N != uint64(i+1) || !e.Answered {
			t.Errorf("entry %d: %+v", i, e)
		}
		if e.Twice {
			twice = append(twice, e.C)
		}
	}
	if fmt.Sprint(twice) != "[C5 C6]" {
		t.Errorf("twice: %v", twice)
	}
}

func TestRepeatsWithinToleranceAreStillSentTwice(t *testing.T) {
	r := newRig(t, 5, Settings{Rules: Rules{Tolerance: 1}})
	r.do(ask{op: "G120"}).want(t, "SUCCESS")
	r.do(ask{op: "G120"}).want(t, "NC_PCK_23")
	if c := r.Counts(); c.SentTwice != 1 || c.SelfAlerts != 0 || r.Verdict().Clean {
		t.Errorf("%+v", c)
	}
}

func TestLedgerLimitKeepsTheNewest(t *testing.T) {
	for _, limit := range []int{-1, 3} {
		r := newRig(t, 5, Settings{LedgerLimit: limit})
		for range 20 {
			r.do(ask{op: "G110"})
		}
		l := r.Ledger()
		if limit < 0 && len(l) != 0 || limit > 0 && (len(l) < limit || len(l) > 2*limit || l[len(l)-1].N != 20) {
			t.Errorf("limit %d: %d entries kept", limit, len(l))
		}
		if c := r.Counts(); c.Entries != 20 || c.Calls["G110"] != 20 {
			t.Errorf("limit %d: counts %+v", limit, c)
		}
	}
}

func TestAutoStockLeavesTheChosenSerialsUnknown(t *testing.T) {
	r := newRig(t, 5, Settings{AutoStock: AutoStock{On: true, UnknownPrefix: "NO", UnknownP: 0.25}})
	unknown := 0
	for i := range 400 {
		a := r.do(ask{op: "G120", code: "03400930000007", sn: fmt.Sprintf("Z%d", i), batch: "LOT", expiry: "291200"})
		if a.Code == "NMVS_NC_PC_02" {
			unknown++
			r.do(ask{op: "G110", code: "03400930000007", sn: fmt.Sprintf("Z%d", i), batch: "LOT", expiry: "291200"}).want(t, "NC_PC_02")
		}
	}
	if unknown < 60 || unknown > 140 {
		t.Errorf("%d of 400 unknown, want about 100", unknown)
	}
	r.do(ask{op: "G120", code: "03400930000007", sn: "NO1", batch: "LOT", expiry: "291200"}).want(t, "NC_PC_02")
	r.do(ask{op: "G110", code: "03400930000007", sn: "Z1", batch: "LOT", expiry: "291100"})
}

func TestOperationsBelongToTheirService(t *testing.T) {
	r := newRig(t, 5, Settings{})
	r.do(ask{op: "G120", path: nmvs.Bulk, pathSet: true}).want(t, "TE_REQ_02")
	r.do(ask{op: "G188", path: nmvs.Single, pathSet: true, body: "<t:RefNMVSTrxId>X</t:RefNMVSTrxId>"}).want(t, "TE_REQ_02")
}
