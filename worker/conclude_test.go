package worker

import (
	"testing"
	"time"

	"decom/nmvs"
	"decom/worker/gs1"
	"decom/worker/ledger"
	"decom/worker/scan"
)

func testAttempt(t testing.TB, op scan.Op, f func(*ledger.Attempt)) *ledger.Attempt {
	t.Helper()
	p := mustPack(t, "X1", "LOT1", "281100")
	o := ledger.Open{C: "C1", Svc: ledger.Single, Op: op, Product: product(p),
		Packs: []ledger.OpenPack{{Serial: "X1", Origin: ledger.Origin{Ev: "e", Src: "s/d", Op: op}}}}
	b := ledger.NewBook()
	b.Add(5, &ledger.Record{At: "2026-11-22T10:15:31.201Z", Open: []ledger.Open{o}})
	a := b.Attempt("C1")
	if f != nil {
		f(a)
	}
	return a
}

// only returns the one claim of an answer, nil if it makes none.
func only(t testing.TB, cs []claim) *claim {
	t.Helper()
	if len(cs) > 1 {
		t.Fatalf("one answer makes %d claims", len(cs))
	}
	for i := range cs {
		return &cs[i]
	}
	return nil
}

// TestAVerifyConcludesByTheTable is protocol.md section 5's table, row by row, for each
// grade of evidence that is at hand and each that is asked for.
func TestAVerifyConcludesByTheTable(t *testing.T) {
	found := func(state string, reasons ...string) nmvs.Finding {
		return nmvs.Finding{Class: nmvs.Success, State: state, Reasons: reasons, Code: "NMVS_SUCCESS"}
	}
	data := nmvs.Finding{Class: nmvs.Data, Reason: scan.UnknownSerial, Code: "NMVS_NC_PC_02"}
	used := func(a *ledger.Attempt) { a.Used = true }
	usedBulk := func(a *ledger.Attempt) { a.Used, a.Tx, a.Svc = true, "T", ledger.Bulk }
	pre := func(a *ledger.Attempt) { a.Pre = true }
	tx := func(a *ledger.Attempt) { a.Tx = "T" }
	probe := func(a *ledger.Attempt) { a.Probe = true }
	const supply, undo = scan.Supply, scan.UndoSupply
	for _, tt := range []struct {
		name   string
		op     scan.Op
		att    func(*ledger.Attempt)
		sends  uint8
		settle Grade
		f      nmvs.Finding
		kind   ledger.Kind
		result scan.Result
		reason scan.Reason
	}{
		{"ACTIVE, first send", supply, nil, 0, E2, found("ACTIVE"), ledger.Release, "", ""},
		{"ACTIVE, second doubtful send", supply, nil, 1, E2, found("ACTIVE"), ledger.Result, scan.Unresolved, scan.DoubtfulTwice},
		{"ACTIVE after a probe", supply, probe, 0, E2, found("ACTIVE"), ledger.Result, scan.Unresolved, scan.DoubtfulTwice},
		{"ACTIVE, accepted bulk [B15]", supply, tx, 0, E2, found("ACTIVE"), ledger.Result, scan.Unresolved, scan.NeverExecuted},
		{"ACTIVE, accepted bulk, weakest grade", supply, tx, 0, E4, found("ACTIVE"), ledger.Result, scan.Unresolved, scan.NeverExecuted},
		{"ACTIVE, undo", undo, nil, 0, E2, found("ACTIVE"), ledger.Result, scan.Done, scan.Confirmed},

		{"wanted, no evidence, e2 [B13]", supply, nil, 0, E2, found("INACTIVE", "SUPPLIED"), ledger.Result, scan.Unresolved, scan.NoEvidence},
		{"wanted, no evidence, e3", supply, nil, 0, E3, found("INACTIVE", "SUPPLIED"), ledger.Result, scan.Unresolved, scan.NoEvidence},
		{"wanted, no evidence, e4", supply, nil, 0, E4, found("INACTIVE", "SUPPLIED"), ledger.Result, scan.Done, scan.Confirmed},
		{"wanted, pre-verified, e2", supply, pre, 0, E2, found("INACTIVE", "SUPPLIED"), ledger.Result, scan.Unresolved, scan.NoEvidence},
		{"wanted, pre-verified, e3", supply, pre, 0, E3, found("INACTIVE", "SUPPLIED"), ledger.Result, scan.Done, scan.Confirmed},
		{"wanted, pre-verified, e4", supply, pre, 0, E4, found("INACTIVE", "SUPPLIED"), ledger.Result, scan.Done, scan.Confirmed},
		{"wanted, id of the bulk used, e2", supply, usedBulk, 0, E2, found("INACTIVE", "SUPPLIED"), ledger.Result, scan.Unresolved, scan.NoEvidence},
		{"wanted, id used, e2", supply, used, 0, E2, found("INACTIVE", "SUPPLIED"), ledger.Result, scan.Done, scan.Confirmed},
		{"wanted among others", supply, used, 0, E2, found("INACTIVE", "LOCKED", "SUPPLIED"), ledger.Result, scan.Done, scan.Confirmed},
		{"wanted, undo", undo, nil, 0, E2, found("INACTIVE", "SUPPLIED"), ledger.Release, "", ""},
		{"wanted, undo, twice", undo, nil, 1, E2, found("INACTIVE", "SUPPLIED"), ledger.Result, scan.Unresolved, scan.DoubtfulTwice},

		{"other reason", supply, nil, 0, E4, found("INACTIVE", "EXPORTED"), ledger.Result, scan.Alert, scan.AlreadyInactive},
		{"no reason given", supply, nil, 0, E4, found("INACTIVE"), ledger.Result, scan.Alert, scan.AlreadyInactive},
		{"by itself: expired", supply, nil, 0, E2, found("INACTIVE", "EXPIRED"), ledger.Result, scan.Refused, scan.ExpiredPack},
		{"by itself: recalled", supply, nil, 0, E2, found("INACTIVE", "RECALLED"), ledger.Result, scan.Refused, scan.Recalled},
		{"by itself: withdrawn", supply, nil, 0, E2, found("INACTIVE", "WITHDRAWN"), ledger.Result, scan.Refused, scan.Withdrawn},
		{"by itself, and by somebody", supply, nil, 0, E2, found("INACTIVE", "EXPIRED", "DESTROYED"), ledger.Result, scan.Alert, scan.AlreadyInactive},
		{"other reason, undo", undo, nil, 0, E2, found("INACTIVE", "DESTROYED"), ledger.Result, scan.Unresolved, scan.UndoDoubtful},

		{"data mismatch", supply, nil, 0, E4, data, ledger.Result, scan.Alert, scan.UnknownSerial},
		{"data mismatch, undo", undo, nil, 0, E4, data, ledger.Result, scan.Alert, scan.UnknownSerial},
		{"UNKNOWN", supply, nil, 0, E4, found("UNKNOWN"), ledger.Result, scan.Alert, scan.UnknownPack},
		{"unknown product", supply, nil, 0, E2, nmvs.Finding{Class: nmvs.UnknownProduct, Reason: scan.UnknownProduct}, ledger.Result, scan.Alert, scan.UnknownPack},
		{"may not ask", supply, nil, 0, E2, nmvs.Finding{Class: nmvs.Rule, Reason: scan.NotEntitled}, ledger.Result, scan.Unresolved, scan.NoAnswer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kind, a := conclude(testAttempt(t, tt.op, tt.att), 0, tt.f, ledger.State{Sends: tt.sends}, tt.settle)
			if kind != tt.kind || (a == nil) != (kind == ledger.Release) {
				t.Fatalf("concluded %s %+v, want %s", kind, a, tt.kind)
			}
			if a != nil && (a.Result != tt.result || a.Reason != tt.reason || !a.Called) {
				t.Errorf("concluded %s/%s, want %s/%s", a.Result, a.Reason, tt.result, tt.reason)
			}
		})
	}
}

// TestTheGradeIsOnTheLedger whichever grade settles.
func TestTheGradeIsOnTheLedger(t *testing.T) {
	f := nmvs.Finding{Class: nmvs.Success, State: "INACTIVE", Reasons: []string{"SUPPLIED"}}
	for want, set := range map[string]func(*ledger.Attempt){
		"e4": nil, "e3": func(a *ledger.Attempt) { a.Pre = true }, "e2": func(a *ledger.Attempt) { a.Used, a.Pre = true, true },
	} {
		for _, settle := range []Grade{E2, E3, E4} {
			if _, a := conclude(testAttempt(t, scan.Supply, set), 0, f, ledger.State{}, settle); a.Evidence != want {
				t.Errorf("evidence %q under settle %s, want %q", a.Evidence, settle, want)
			}
		}
	}
}

// TestEveryClassBecomesItsFact is the answer table of protocol.md section 3 over the
// closed set of classes; a class that is added must get a row.
func TestEveryClassBecomesItsFact(t *testing.T) {
	type want struct {
		kind   ledger.Kind // "" = nothing may be written
		result scan.Result
		called bool // off: a call was made
		rests  bool
	}
	off := want{kind: ledger.Off, called: true, rests: true}
	rows := map[nmvs.Class]want{
		nmvs.InDoubt:        {},
		nmvs.Success:        {kind: ledger.Result, result: scan.Done, called: true},
		nmvs.Repeat:         {kind: ledger.Result, result: scan.Done, called: true},
		nmvs.Foreign:        {kind: ledger.Result, result: scan.Alert, called: true},
		nmvs.Data:           {kind: ledger.Result, result: scan.Alert, called: true},
		nmvs.Rule:           {kind: ledger.Result, result: scan.Refused, called: true},
		nmvs.UnknownProduct: {kind: ledger.Result, result: scan.Refused, called: true},
		nmvs.UndoMismatch:   {kind: ledger.Result, result: scan.Alert, called: true},
		nmvs.NotReady:       {},
		nmvs.UsedID:         {},
		nmvs.NotSent:        {kind: ledger.Off},
		nmvs.TooFast:        off,
		nmvs.Busy:           off,
		nmvs.Setup:          off,
		nmvs.Login:          off,
		nmvs.Format:         {kind: ledger.Result, result: scan.Unresolved, called: true},
	}
	for _, class := range nmvs.Classes() {
		w, ok := rows[class]
		if !ok {
			t.Fatalf("class %s has no row", class)
		}
		ans := nmvs.Answer{Finding: nmvs.Finding{Class: class, Reason: "r", Code: "NMVS_X", At: noon}}
		var err error
		if !class.Answered() {
			err = &nmvs.Error{Class: class, Code: "NMVS_X"}
		}
		c := only(t, claimOf(testAttempt(t, scan.Supply, nil), ans, err, noon))
		if w.kind == "" {
			if c != nil {
				t.Errorf("%s writes %s; its fate is unknown [B7]", class, c.Kind)
			}
			continue
		}
		if c == nil || c.Kind != w.kind || len(c.Packs) != 1 || c.Of != 5 || c.C != "C1" || c.looked != -1 {
			t.Errorf("%s becomes %+v, want %s", class, c, w.kind)
			continue
		}
		a := c.Packs[0].Answer
		if (a != nil && a.Called) != w.called || (c.NotBefore != 0) != w.rests || a != nil && a.Result != w.result {
			t.Errorf("%s: answer %+v, not before %d", class, a, c.NotBefore)
		}
		if w.kind == ledger.Result && (a.Code != "NMVS_X" || a.NMVSAt == "" && w.result == scan.Done) {
			t.Errorf("%s loses what NMVS said: %+v", class, a)
		}
	}
}

// TestAFormatRefusalOfABulkGoesOnceAsSingles, then parks.
func TestAFormatRefusalOfABulkGoesOnceAsSingles(t *testing.T) {
	bulk := testAttempt(t, scan.Supply, func(a *ledger.Attempt) { a.Svc = ledger.Bulk })
	c := only(t, refusedWhole(bulk, nmvs.Format, true, "NMVS_TE_XM_01", noon))
	if c == nil || c.Kind != ledger.Off || c.Fact.Svc != ledger.Single || c.NotBefore != noon.Add(2*time.Second).UnixMilli() {
		t.Errorf("a bulk's becomes %+v", c)
	}
}

// TestARequestThatWeCannotWriteIsNotTriedForEver: nothing left, so it counts as no call; once as
// singles, then a person has to look.
func TestARequestThatWeCannotWriteIsNotTriedForEver(t *testing.T) {
	err := &nmvs.Error{Class: nmvs.NotSent, Err: nmvs.ErrBytes}
	c := only(t, claimOf(testAttempt(t, scan.Supply, nil), nmvs.Answer{}, err, noon))
	if c == nil || c.Kind != ledger.Result || c.Packs[0].Result != scan.Unresolved || c.Packs[0].Reason != scan.Format || c.Packs[0].Called {
		t.Errorf("a single's becomes %+v", c)
	}
	bulk := testAttempt(t, scan.Supply, func(a *ledger.Attempt) { a.Svc = ledger.Bulk })
	c = only(t, claimOf(bulk, nmvs.Answer{}, err, noon))
	if c == nil || c.Kind != ledger.Off || c.Fact.Svc != ledger.Single || c.Packs[0].Answer != nil {
		t.Errorf("a bulk's becomes %+v", c)
	}
	if c := only(t, claimOf(testAttempt(t, scan.Supply, func(a *ledger.Attempt) { a.Resent = true }), nmvs.Answer{}, err, noon)); c != nil {
		t.Errorf("after a resend it writes %s", c.Kind)
	}
}

// TestARefusalAfterAResendDecidesNothing is [B12b]: the first sender's refusal says
// nothing of the copy that went out again.
func TestARefusalAfterAResendDecidesNothing(t *testing.T) {
	for _, class := range []nmvs.Class{nmvs.NotSent, nmvs.TooFast, nmvs.Busy, nmvs.Setup, nmvs.Login, nmvs.Format} {
		att := testAttempt(t, scan.Supply, func(a *ledger.Attempt) { a.Resent = true })
		if c := only(t, claimOf(att, nmvs.Answer{}, &nmvs.Error{Class: class}, noon)); c != nil {
			t.Errorf("%s after a resend writes %s", class, c.Kind)
		}
	}
}

// TestARepeatedUndoProvesNothing: PCK_23 is about setting a property, never about removing it.
func TestARepeatedUndoProvesNothing(t *testing.T) {
	if c := only(t, claimOf(testAttempt(t, scan.UndoSupply, nil), nmvs.Answer{Finding: nmvs.Finding{Class: nmvs.Repeat}}, nil, noon)); c != nil {
		t.Errorf("an undo repeated becomes %+v", c.Packs[0].Answer)
	}
}

// TestEveryWordHasItsSentences walks all that code can write into an outcome: each
// pair of result and reason stands in the closed set, with French and English.
func TestEveryWordHasItsSentences(t *testing.T) {
	rows := map[[2]string]scan.ReasonInfo{}
	for _, r := range scan.Reasons() {
		key := [2]string{string(r.Result), string(r.Reason)}
		if _, twice := rows[key]; twice {
			t.Errorf("%v stands twice", key)
		}
		rows[key] = r
		for _, s := range []string{r.Text.FR, r.Text.EN, r.Advice.FR, r.Advice.EN} {
			if len(s) < 5 || s[len(s)-1] != '.' {
				t.Errorf("%v has no sentence: %q", key, s)
			}
		}
	}
	hold := func(from string, result scan.Result, reason scan.Reason) {
		if _, ok := rows[[2]string{string(result), string(reason)}]; !ok {
			t.Errorf("%s writes %s/%q, which has no text", from, result, reason)
		}
	}
	for _, r := range gs1.Reasons() {
		hold("gs1", scan.Rejected, scan.Reason(r.String()))
	}
	for _, op := range scan.Ops() {
		if m := scan.Message(op, scan.Done, ""); m.FR == "" || m.EN == "" {
			t.Errorf("%v done has no message", op)
		}
		wire, ok := nmvs.CodeFor(op, nmvs.Single, false, 5)
		if !ok {
			t.Fatalf("no operation for %v", op)
		}
		codes := append(nmvs.Codes(), nmvs.CodeInfo{Code: "NMVS_NC_NEW_99", Kind: nmvs.KindReturnCode}, nmvs.CodeInfo{Code: "NMVS_FE_LOT_99", Kind: nmvs.KindReturnCode})
		for _, info := range codes {
			if info.Kind != nmvs.KindReturnCode {
				continue
			}
			v := nmvs.Classify(info.Code, wire)
			f := nmvs.Finding{Class: v.Class, Reason: v.Reason, Code: info.Code}
			for _, state := range []string{"", "ACTIVE", "INACTIVE", "UNKNOWN"} {
				f.State = state
				if op.IsRead() {
					if v.Class.Answered() {
						a := answerOfRead(f)
						hold("a verify's "+info.Code, a.Result, a.Reason)
					}
					continue
				}
				if a, ok := answerOf(f, op); ok {
					hold(op.String()+"'s "+info.Code, a.Result, a.Reason)
				}
				if _, a := conclude(testAttempt(t, op, nil), 0, f, ledger.State{Sends: 1}, E2); a != nil {
					hold("the resolver after "+info.Code, a.Result, a.Reason)
				}
			}
		}
	}
}
