package worker

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"decom/worker/ledger"
	"decom/worker/scan"
)

var update = flag.Bool("update", false, "write golden files anew")

// TestOutcomesAreTheContracts holds the JSON of contract.md section 5 to a golden file:
// one outcome for each note and each final word, none for what settles nothing.
func TestOutcomesAreTheContracts(t *testing.T) {
	p := mustPack(t, "X4F8L2", "LOT42", "281100")
	yes := true
	origin := func(ev string, op scan.Op) ledger.Origin {
		return ledger.Origin{Ev: ev, Src: "chu-nord/rowa-1", Key: 1763806530000, Timed: true, Op: op}
	}
	full := origin("01JD3W6Q0ZK9", scan.Supply)
	full.Ref, full.Operator, full.ATD, full.Repaired = "BL-2026-118", "robot", &yes, true
	opened := ledger.Record{Open: []ledger.Open{
		{C: "C-ONE", Svc: ledger.Single, Op: scan.Supply, Product: product(p), Packs: []ledger.OpenPack{{Serial: "X4F8L2", Origin: full, Calls: 1}}},
		{C: "C-MIX", Svc: ledger.Mixed, Packs: []ledger.OpenPack{
			{Serial: "A", C: "ITEM-1", Product: product(p), Origin: origin("m1", scan.UndoSupply)},
			{Serial: "B", C: "ITEM-2", Product: product(p), Origin: origin("m2", scan.Destroy)}}},
	}}
	fact := func(c string, kind ledger.Kind, i int, a *ledger.Answer) ledger.Fact {
		return ledger.Fact{C: c, Of: 5, Kind: kind, Packs: []ledger.FactPack{{I: i, K: p.ID(), Answer: a}}}
	}
	rec := ledger.Record{At: "2026-11-22T10:16:00.000Z",
		Note: []ledger.Note{
			{Origin: origin("n1", scan.Supply), K: p.ID(), Pack: &p, Answer: ledger.Answer{Result: scan.Duplicate, Reason: scan.SuspectCopy}},
			{Origin: origin("n2", scan.Supply), Offset: 0, Answer: ledger.Answer{Result: scan.Rejected, Reason: scan.MalformedScan}},
			{Origin: origin("n3", scan.Supply), K: p.ID(), Pack: &p, Answer: ledger.Answer{Result: scan.Rejected, Reason: scan.Conflict}},
			{Origin: origin("n4", scan.Verify), K: p.ID(), Pack: &p, Trx: "C-READ", Answer: ledger.Answer{Result: scan.Done, Code: "NMVS_SUCCESS",
				State: "INACTIVE", Reasons: []string{"SUPPLIED"}, NMVSTrx: "T0", NMVSAt: "2026-11-22T10:15:59.000Z"}},
		},
		Open: []ledger.Open{{C: "C-NEW", Svc: ledger.Single, Op: scan.Supply, Product: product(p), Packs: []ledger.OpenPack{{Serial: "Z", Origin: origin("o", scan.Supply)}}}},
		Fact: []ledger.Fact{
			fact("C-ONE", ledger.Result, 0, &ledger.Answer{Result: scan.Done, Code: "NMVS_SUCCESS", State: "INACTIVE", Reasons: []string{"SUPPLIED"},
				NMVSTrx: "T1", NMVSAt: "2026-11-22T10:15:59.000Z", Called: true}),
			fact("C-MIX", ledger.Result, 1, &ledger.Answer{Result: scan.Alert, Reason: scan.AlreadyInactive, Code: "NMVS_NC_PCK_22", AlertID: "FR-1", Called: true}),
			fact("C-MIX", ledger.Park, 0, nil),
			fact("C-ONE", ledger.Off, 0, &ledger.Answer{Called: true}),
			fact("C-ONE", ledger.Release, 0, nil),
			fact("C-ONE", ledger.Fence, 0, nil),
			{C: "C-ONE", Of: 5, Kind: ledger.Submitted, Tx: "T9"},
			{Kind: ledger.Review, Who: "anna", Packs: []ledger.FactPack{{K: p.ID(), To: ledger.Inactive, Op: scan.Supply}}},
			{Kind: ledger.Halt, Why: "x"},
		}}
	asked := []uint64{}
	outs, err := outcomesOf(nil, "chu-exemple", 77, &rec, func(seq uint64, _ string) (*ledger.Record, error) { asked = append(asked, seq); return &opened, nil })
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	for i := range outs {
		b, _, err := outs[i].body(nil)
		if err != nil {
			t.Fatal(err)
		}
		buf.WriteString(outs[i].ref + "\n")
		if err := json.Indent(&buf, b, "", "  "); err != nil {
			t.Fatal(err)
		}
		buf.WriteByte('\n')
	}
	for _, seq := range asked {
		if seq != 5 {
			t.Errorf("record %d was asked for as an opening", seq)
		}
	}
	name := filepath.Join("testdata", "outcomes.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, buf.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, buf.Bytes()) {
		t.Errorf("outcomes differ from %s (-update writes it):\n%s", name, buf.Bytes())
	}
}

// TestAnIDWithoutATimeIsSentOnceAndToldTwice says what a device gets that sets `id` and no `at`, and
// publishes again. Its time is the stream's, a new one each time, so that neither rule 1 nor rule 3 of
// protocol.md section 4 knows the scan again: the id alone, of which 24 bits are kept, may be another
// scan's, which would then have no outcome. Nothing is sent; within the hour of the outcomes' window nothing is told;
// later the same event has a second outcome.
func TestAnIDWithoutATimeIsSentOnceAndToldTwice(t *testing.T) {
	line(t, func(w *world) {
		w.start("w0", 0)
		e, _ := w.scanned("d1", "S1", scan.Supply)
		timeless := `{"id":"` + e.id + `","pack":{"scheme":"GTIN","code":"` + gtin + `","serial":"S1","batch":"` + lotOf("S1") + `","expiry":"` + testExp + `"}}`
		timed := w.scan("d1", "S2", scan.Supply)
		told := func(after time.Duration, want ...string) {
			t.Helper()
			w.during(after)
			w.publishRaw("d1", e.id, timeless)
			w.publish(timed)
			w.during(time.Minute)
			var got []string
			for _, o := range w.outcomes()[e.id] {
				got = append(got, string(o.Result)+"/"+string(o.Reason))
			}
			if !slices.Equal(got, want) || w.changes() != 2 || len(w.outcomes()[timed.id]) != 1 {
				t.Errorf("told %v, want %v; %d calls, want 2; with a time %v", got, want, w.changes(), w.outcomes()[timed.id])
			}
		}
		told(0, "done/")
		told(30*time.Minute, "done/")
		told(2*time.Hour, "done/", "duplicate/suspect_copy")
	})
}
