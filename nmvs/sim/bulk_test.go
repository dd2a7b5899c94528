package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"decom/nmvs"
)

type mixedItem struct{ element, op, code, sn, c, ref string }

func mixed(items ...mixedItem) string {
	var b strings.Builder
	b.WriteString("<t:TrxList>")
	for _, i := range items {
		batch, expiry := "L1", "271100"
		if i.code == gtin2 {
			batch, expiry = "B2201", "280531"
		}
		b.WriteString(fmt.Sprintf(`<t:TrxItem><t:%s t:reqType="%s"><t:Product><t:ProductCode t:scheme="GTIN">%s</t:ProductCode>`, i.element, i.op, i.code))
		if i.element != "ItemMan" {
			b.WriteString("<t:Batch><t:Id>" + batch + "</t:Id><t:ExpDate>" + expiry + "</t:ExpDate></t:Batch>")
		}
		b.WriteString(`</t:Product><t:Pack t:sn="` + i.sn + `"/><t:Transaction><t:ClientTrxId>` + i.c + `</t:ClientTrxId><t:Language>eng</t:Language>`)
		if i.ref != "" {
			b.WriteString("<t:RefClientTrxId>" + i.ref + "</t:RefClientTrxId>")
		}
		b.WriteString("</t:Transaction></t:" + i.element + "></t:TrxItem>")
	}
	return b.String() + "</t:TrxList>"
}

func bulkAsk(op string, serials ...string) ask {
	return ask{op: op, code: gtin2, batch: "B2201", expiry: "280531", serials: serials}
}

func poll(op, tx string) ask { return ask{op: op, body: "<t:RefNMVSTrxId>" + tx + "</t:RefNMVSTrxId>"} }

func bulkSettings(b BulkRules) Settings { return Settings{Bulk: b} }

func TestABulkIsAcceptedThenNotReadyThenDone(t *testing.T) {
	r := newRig(t, 5, bulkSettings(BulkRules{Delay: Duration(10 * time.Second), PerPack: Duration(time.Second)}))
	r.do(ask{op: "G130", code: gtin2, batch: "B2201", expiry: "280531", sn: "S2"}).want(t, "SUCCESS")
	sub := r.do(bulkAsk("G125", "S1", "S2", "NOPE")).want(t, "SUCCESS")
	if sub.State != "" || len(sub.Tx) != 32 {
		t.Errorf("acknowledgement %s", sub.text)
	}
	r.Advance(13*time.Second - 1)
	r.do(poll("G188", sub.Tx)).want(t, "FE_TX_02")
	if p, _ := r.Pack(Key{"GTIN", gtin2, "S1"}); p.State != "ACTIVE" {
		t.Error("the pack changed before the bulk was due")
	}
	r.Advance(1)
	if p, _ := r.Pack(Key{"GTIN", gtin2, "S1"}); p.State != "INACTIVE" || p.Decommissions != 1 {
		t.Errorf("nobody polled yet, pack %+v", p)
	}
	a := r.do(poll("G188", sub.Tx)).want(t, "NC_PCK_24")
	want := map[string]string{"S1": codeSuccess, "S2": codeInactive, "NOPE": codeNoSerial}
	for sn, code := range want {
		if a.Packs[sn] != code {
			t.Errorf("%s: %s, want %s", sn, a.Packs[sn], code)
		}
	}
	if a.States["S1"] != "INACTIVE" || a.States["NOPE"] != "UNKNOWN" || !strings.Contains(a.text, "<ns1:ReqType>G125</ns1:ReqType>") {
		t.Error(a.text)
	}
	r.do(poll("G188", sub.Tx)).want(t, "NC_PCK_24") // readable twice by default
	r.do(ask{op: "G188", client: "DEMO-SITE-02", user: "DEMO-USER-03", body: "<t:RefNMVSTrxId>" + sub.Tx + "</t:RefNMVSTrxId>"}).want(t, "FE_TX_02")
	r.do(poll("G196", sub.Tx)).want(t, "FE_TX_02")
	r.Advance(24*time.Hour + 1)
	r.do(poll("G188", sub.Tx)).want(t, "FE_TX_02")
	var lines []string
	for _, e := range r.Ledger() {
		if e.Tx == sub.Tx {
			lines = append(lines, fmt.Sprintf("%s/%s/%t/%t/%s", e.Op, e.Key.Serial, e.Effect, e.Late, e.At.Sub(start)))
		}
	}
	if got := strings.Join(lines, " "); got != "G125//false/false/0s G125/S1/true/true/13s G125/S2/false/true/13s G125/NOPE/false/true/13s" {
		t.Errorf("ledger: %s", got)
	}
}

func TestBulkSummariesAndReadOnceAndSchema(t *testing.T) {
	r := newRig(t, 5, bulkSettings(BulkRules{ReadOnce: true}))
	tx := r.do(bulkAsk("G115", "S1", "S3")).want(t, "SUCCESS").Tx
	r.do(poll("G188", tx)).want(t, "SUCCESS")
	r.do(poll("G188", tx)).want(t, "FE_TX_02")
	tx = r.do(bulkAsk("G125", "N1", "N2")).want(t, "SUCCESS").Tx
	r.do(poll("G188", tx)).want(t, "NC_PCK_17")
	r.do(bulkAsk("G125", "S1", "S1")).want(t, "TE_XM_02")
	r.do(ask{op: "G125", code: gtin2, body: `<t:Product><t:ProductCode t:scheme="GTIN">` + gtin2 + `</t:ProductCode><t:Batch><t:Id>B2201</t:Id><t:ExpDate>280531</t:ExpDate></t:Batch></t:Product><t:Packs></t:Packs>`}).want(t, "TE_XM_02")
	for _, op := range []string{"G125", "G127", "G135", "G145", "G147", "G155", "G157", "G165", "G167", "G175", "G177", "G185"} {
		r.do(bulkAsk(op, "S1")).want(t, "SUCCESS")
	}
	for _, op := range []string{"G137", "G187"} {
		if a := r.do(bulkAsk(op, "S1")); !strings.Contains(a.text, "TE_XM_02") {
			t.Errorf("%s in V5: %s", op, a.text)
		}
	}
	r2 := newRig(t, 2, Settings{})
	for _, op := range []string{"G137", "G187"} {
		r2.do(bulkAsk(op, "S1")).want(t, "SUCCESS")
	}
}

func TestBulkUndoTakesTheReferenceOfTheBulk(t *testing.T) {
	r := newRig(t, 5, Settings{})
	sub := bulkAsk("G155", "S1", "S2")
	sub.c = "BULK-1"
	r.do(sub).want(t, "SUCCESS")
	undo := bulkAsk("G157", "S1", "S2")
	undo.ref = "WRONG"
	tx := r.do(undo).want(t, "SUCCESS").Tx
	if a := r.do(poll("G188", tx)).want(t, "NC_PCK_24"); a.Packs["S1"] != codeRefOther {
		t.Error(a.text)
	}
	undo.ref = "BULK-1"
	tx = r.do(undo).want(t, "SUCCESS").Tx
	if a := r.do(poll("G188", tx)).want(t, "SUCCESS"); a.States["S1"] != "ACTIVE" {
		t.Error(a.text)
	}
}

func TestBulksDoNotReachOtherMarkets(t *testing.T) {
	r := newRig(t, 5, Settings{})
	x := ask{op: "G115", code: gtinX, batch: "LX", expiry: "280100", serials: []string{"X1"}}
	tx := r.do(x).want(t, "SUCCESS").Tx
	if a := r.do(poll("G188", tx)).want(t, "NC_PCK_17"); a.Packs["X1"] != codeNoProduct {
		t.Error(a.text)
	}
	if err := r.Update(func(s *Settings) { s.Rules.BulkForeign = true }); err != nil {
		t.Fatal(err)
	}
	tx = r.do(x).want(t, "SUCCESS").Tx
	r.do(poll("G188", tx)).want(t, "SUCCESS")
}

func TestMixedBulkGivesEveryItemItsOwnFate(t *testing.T) {
	r := newRig(t, 5, Settings{})
	r.do(ask{op: "G150", c: "ORIG", code: gtin2, batch: "B2201", expiry: "280531", sn: "S1"}).want(t, "SUCCESS")
	r.do(ask{op: "G110", c: "USED"}).want(t, "SUCCESS")
	sub := r.do(ask{op: "G195", body: mixed(
		mixedItem{"Item", "G120", gtin1, "A1", "I1", ""},
		mixedItem{"ItemUndo", "G151", gtin2, "S1", "I2", "ORIG"},
		mixedItem{"ItemMan", "G122", gtin2, "S2", "I3", ""},
		mixedItem{"Item", "G120", gtin1, "A2", "USED", ""},
		mixedItem{"Item", "G110", gtin1, "NOPE", "I5", ""},
	)}).want(t, "SUCCESS")
	a := r.do(poll("G196", sub.Tx)).want(t, "NC_PCK_24")
	want := map[string]string{"I1": codeSuccess, "I2": codeSuccess, "I3": codeSuccess, "USED": codeTrxUsed, "I5": codeNoSerial}
	for id, code := range want {
		if a.Packs[id] != code {
			t.Errorf("%s: %q, want %s", id, a.Packs[id], code)
		}
	}
	if a.States["I2"] != "ACTIVE" || a.States["I3"] != "INACTIVE" || strings.Join(a.Order, " ") == "I1 I2 I3 USED I5" {
		t.Errorf("order %v, states %v", a.Order, a.States)
	}
	if p, _ := r.Pack(Key{"GTIN", gtin1, "A1"}); p.Reasons[0].C != "I1" {
		t.Errorf("%+v", p)
	}
	r.do(ask{op: "G121", ref: "I1"}).want(t, "SUCCESS")
}

func TestMixedBulkRefusesWhatItCannotTellApart(t *testing.T) {
	a1 := mixedItem{"Item", "G120", gtin1, "A1", "M1", ""}
	again, sameID := a1, a1
	again.c, again.op = "M2", "G130"
	sameID.sn = "A2"
	for name, tt := range map[string]struct {
		items []mixedItem
		set   Settings
		code  string
	}{
		"one pack twice":          {items: []mixedItem{a1, again}, code: "FE_REQ_02"},
		"one pack twice, allowed": {items: []mixedItem{a1, again}, set: Settings{Rules: Rules{AllowRepeatedPacks: true}}, code: "SUCCESS"},
		"one id twice":            {items: []mixedItem{a1, sameID}, code: "FE_REQ_02"},
		"undo in Item":            {items: []mixedItem{{"Item", "G121", gtin1, "A1", "M1", ""}}, code: "TE_XM_02"},
		"undo in Item, allowed":   {items: []mixedItem{{"Item", "G121", gtin1, "A1", "M1", ""}}, set: Settings{Rules: Rules{MixedUndo: "both"}}, code: "SUCCESS"},
		"change in ItemUndo":      {items: []mixedItem{{"ItemUndo", "G120", gtin1, "A1", "M1", ""}}, code: "TE_XM_02"},
		"scanned in ItemMan":      {items: []mixedItem{{"ItemMan", "G120", gtin1, "A1", "M1", ""}}, code: "TE_XM_02"},
		"G123":                    {items: []mixedItem{{"ItemUndo", "G123", gtin1, "A1", "M1", ""}}, code: "TE_XM_02"},
		"bulk code":               {items: []mixedItem{{"Item", "G125", gtin1, "A1", "M1", ""}}, code: "TE_XM_02"},
	} {
		t.Run(name, func(t *testing.T) {
			newRig(t, 5, tt.set).do(ask{op: "G195", body: mixed(tt.items...)}).want(t, tt.code)
		})
	}
}

func TestCapacityQueuesAndOnePerAccountRefuses(t *testing.T) {
	r := newRig(t, 5, bulkSettings(BulkRules{Delay: Duration(10 * time.Second), Capacity: 1, OnePerAccount: true}))
	tx1 := r.do(bulkAsk("G115", "S1")).want(t, "SUCCESS").Tx
	r.do(bulkAsk("G115", "S2")).want(t, "FI_BAT_01")
	second := bulkAsk("G115", "S2")
	second.client, second.user = "DEMO-SITE-02", "DEMO-USER-03"
	tx2 := r.do(second).want(t, "SUCCESS").Tx
	p2 := poll("G188", tx2)
	p2.client, p2.user = "DEMO-SITE-02", "DEMO-USER-03"
	r.Advance(10 * time.Second)
	r.do(poll("G188", tx1)).want(t, "SUCCESS")
	r.do(p2).want(t, "FE_TX_02")
	r.do(bulkAsk("G115", "S2")).want(t, "SUCCESS")
	r.Advance(10 * time.Second)
	r.do(p2).want(t, "SUCCESS")
	if c := r.Counts(); c.BulksLate != 2 || c.Bulks != 3 || c.BulksDone != 2 {
		t.Errorf("%+v", c)
	}
}

func TestBulksWaitThroughMaintenance(t *testing.T) {
	for name, window := range map[string]bool{"switch": false, "window": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 5, bulkSettings(BulkRules{Delay: Duration(time.Minute)}))
			tx := r.do(bulkAsk("G125", "S1")).want(t, "SUCCESS").Tx
			set := func(change func(*Maintenance)) {
				if err := r.Update(func(s *Settings) { change(&s.Maintenance) }); err != nil {
					t.Fatal(err)
				}
			}
			if window {
				set(func(m *Maintenance) { m.Windows = []Window{{start.Add(time.Second), start.Add(time.Hour)}} })
			} else {
				set(func(m *Maintenance) { m.On = true })
			}
			r.Advance(30 * time.Minute)
			if a := r.do(poll("G188", tx)); a.status != 503 {
				t.Errorf("HTTP %d in maintenance", a.status)
			}
			set(func(m *Maintenance) { m.Mode = "error" })
			r.do(poll("G188", tx)).want(t, "ERROR")
			if p, _ := r.Pack(Key{"GTIN", gtin2, "S1"}); p.State != "ACTIVE" {
				t.Error("carried out during maintenance")
			}
			r.Advance(30 * time.Minute)
			set(func(m *Maintenance) { m.On = false })
			r.do(poll("G188", tx)).want(t, "SUCCESS")
			p, _ := r.Pack(Key{"GTIN", gtin2, "S1"})
			if p.State != "INACTIVE" || !p.Reasons[0].At.Equal(start.Add(time.Hour)) {
				t.Errorf("%+v", p)
			}
			if c := r.Counts(); c.BulksParked != 1 || c.Maintained != 2 {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestACrashLeavesABulkHalfDone(t *testing.T) {
	for then, codes := range map[string][2]string{"never": {"FE_TX_02", "FE_TX_02"}, "partial": {"NC_PCK_24", "NC_PCK_24"}, "resume": {"FE_TX_02", "SUCCESS"}} {
		t.Run(then, func(t *testing.T) {
			r := newRig(t, 5, Settings{})
			if err := r.Inject(Rule{Fault: Fault{Kind: Crash, At: 2, Then: then, Delay: Duration(time.Hour)}}); err != nil {
				t.Fatal(err)
			}
			r.do(ask{op: "G110"}).want(t, "SUCCESS") // not a submit: the script waits
			tx := r.do(bulkAsk("G125", "S1", "S2", "S3")).want(t, "SUCCESS").Tx
			a := r.do(poll("G188", tx)).want(t, codes[0])
			if then == "partial" && (len(a.Order) != 2 || a.Packs["S3"] != "") {
				t.Errorf("partial result %v", a.Packs)
			}
			if n := r.Counts().Effects["G125"]; n != 2 {
				t.Errorf("%d packs done at the crash, want 2", n)
			}
			r.Advance(time.Hour)
			r.do(poll("G188", tx)).want(t, codes[1])
			if n := r.Counts().Effects["G125"]; (n == 3) != (then == "resume") {
				t.Errorf("%d packs done in the end", n)
			}
			if r.Counts().BulksCrashed != 1 {
				t.Errorf("%+v", r.Counts())
			}
		})
	}
}

func TestResultsMayLackPacks(t *testing.T) {
	r := newRig(t, 5, Settings{AutoStock: AutoStock{On: true}, Bulk: BulkRules{MissP: 0.5, InOrder: true}})
	var serials []string
	for i := range 200 {
		serials = append(serials, fmt.Sprint("P", i))
	}
	tx := r.do(bulkAsk("G125", serials...)).want(t, "SUCCESS").Tx
	a := r.do(poll("G188", tx)).want(t, "SUCCESS")
	if n := len(a.Order); n < 60 || n > 140 {
		t.Errorf("%d of 200 in the result", n)
	}
	if n := r.Counts().Effects["G125"]; n != 200 {
		t.Errorf("%d carried out", n)
	}
}

func TestAResultMayBeALetter(t *testing.T) {
	r := newRig(t, 5, Settings{})
	tx := r.do(bulkAsk("G125", "S1")).want(t, "SUCCESS").Tx
	if err := r.Inject(Rule{Ops: []string{"G188"}, Fault: Fault{Kind: Message}}); err != nil {
		t.Fatal(err)
	}
	a := r.do(poll("G188", tx)).want(t, "SUCCESS")
	if len(a.Order) != 0 || !strings.Contains(a.text, "<ns1:Message><ns1:From><ns1:ClientLoginId>DEMO-SITE-01</ns1:ClientLoginId><ns1:UserId>") || !strings.Contains(a.text, "<ns1:Content>") {
		t.Error(a.text)
	}
	if a = r.do(poll("G188", tx)).want(t, "SUCCESS"); len(a.Order) != 1 {
		t.Error(a.text)
	}
}

func TestPendingBulksAreListedOnlyWhereThereIsACode(t *testing.T) {
	r := newRig(t, 5, Settings{})
	list := func() answer {
		body := strings.ReplaceAll(r.xml(ask{op: "G482", header: true}), "G482", "G101")
		return r.post(1, body)
	}
	if a := list(); !strings.Contains(a.text, "TE_XM_02") {
		t.Error(a.text)
	}
	if err := r.Update(func(s *Settings) { s.Rules.ListCode = "G101" }); err != nil {
		t.Fatal(err)
	}
	if a := list().want(t, "SUCCESS"); strings.Contains(a.text, "TransactionList") {
		t.Error(a.text)
	}
	sub := bulkAsk("G115", "S1")
	sub.c = "MINE"
	tx := r.do(sub).want(t, "SUCCESS").Tx
	m := r.do(ask{op: "G195", c: "MIX", body: mixed(mixedItem{"Item", "G120", gtin1, "A1", "I1", ""})}).want(t, "SUCCESS").Tx
	a := list().want(t, "SUCCESS")
	for _, part := range []string{
		"<ns1:BulkTransactionList><ns1:Transaction><ns1:ClientTrxId>MINE</ns1:ClientTrxId><ns1:NMVSTrxId>" + tx + "<",
		"<ns1:MixedBulkTransactionList><ns1:Transaction><ns1:ClientTrxId>MIX</ns1:ClientTrxId><ns1:NMVSTrxId>" + m + "<",
	} {
		if !strings.Contains(a.text, part) {
			t.Errorf("%s lacks %s", a.text, part)
		}
	}
}

func TestAHundredThousandPacksAreTheLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("short: two requests of 4 MB")
	}
	r := newRig(t, 5, Settings{AutoStock: AutoStock{On: true}})
	serials := make([]string, 100_001)
	for i := range serials {
		serials[i] = fmt.Sprint("P", i)
	}
	r.do(bulkAsk("G125", serials...)).want(t, "TE_XM_02")
	tx := r.do(bulkAsk("G125", serials[:100_000]...)).want(t, "SUCCESS").Tx
	text := r.raw(nmvs.Bulk, r.xml(poll("G188", tx))).Body.String() // too long to be read by encoding/xml under -race
	if n := strings.Count(text, "<ns1:Pack "); n != 100_000 || strings.Count(text, `"NMVS_SUCCESS"`) != n+1 {
		t.Errorf("%d packs in the result", n)
	}
}
