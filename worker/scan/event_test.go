package scan

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var stored = time.Date(2026, 11, 22, 10, 15, 31, 0, time.UTC)

var meta = Meta{Site: "chu-nord", Device: "rowa-1", Seq: 42, Stored: stored}

// TestDecodeKeepsTheContract is contract.md section 4's table: what is taken, under
// which id, and which field is named where it is not.
func TestDecodeKeepsTheContract(t *testing.T) {
	withID := meta
	withID.MsgID = "hdr"
	badID := meta
	badID.MsgID = "é"
	full := `{"v":1,"id":"01JD3W6Q0ZK9","op":"undo_supply","entry":"manual","scan":"x","at":"2026-11-22T10:15:30.5Z","ref":"BL","operator":"robot","atd_checked":true}`
	for _, tt := range []struct {
		name, body string
		m          Meta
		id         string
		op         Op
		field      string // of the fault; "-" = none, "" = the whole body
	}{
		{"everything", full, withID, "01JD3W6Q0ZK9", UndoSupply, "-"},
		{"as little as possible", `{"scan":"x"}`, meta, "42@DECOM_SCANS", Supply, "-"},
		{"id from the header", `{"scan":"x"}`, withID, "hdr", Supply, "-"},
		{"body beats header", `{"id":"b","scan":"x"}`, withID, "b", Supply, "-"},
		{"bad header id", `{"scan":"x"}`, badID, "42@DECOM_SCANS", Supply, "-"},
		{"64 characters of id", `{"id":"` + strings.Repeat("a", 64) + `","scan":"x"}`, meta, strings.Repeat("a", 64), Supply, "-"},
		{"unknown fields", `{"scan":"x","later":{"a":1}}`, meta, "42@DECOM_SCANS", Supply, "-"},
		{"pack instead of scan", `{"pack":{"scheme":"GTIN","code":"1","serial":"2","batch":"3","expiry":"4"}}`, meta, "42@DECOM_SCANS", Supply, "-"},
		{"CloudEvent", `{"specversion":"1.0","id":"ce","source":"s","type":"t","data":{"op":"verify","scan":"x"}}`, withID, "ce", Verify, "-"},
		{"CloudEvent's id beats the data's", `{"specversion":"1.0","id":"ce","data":{"id":"in","scan":"x"}}`, meta, "ce", Supply, "-"},
		{"CloudEvent without id", `{"specversion":"1.0","data":{"id":"in","scan":"x"}}`, meta, "in", Supply, "-"},

		{"65 characters of id", `{"id":"` + strings.Repeat("a", 65) + `","scan":"x"}`, withID, "hdr", 0, "id"},
		{"empty id", `{"id":"","scan":"x"}`, withID, "hdr", 0, "id"},
		{"id not ASCII", `{"id":"é","scan":"x"}`, meta, "42@DECOM_SCANS", 0, "id"},
		{"id is a number", `{"id":7,"scan":"x"}`, meta, "42@DECOM_SCANS", 0, "id"},
		{"another version", `{"v":2,"id":"b","scan":"x"}`, meta, "b", 0, "v"},
		{"unknown operation", `{"id":"b","op":"sell","scan":"x"}`, meta, "b", 0, "op"},
		{"operation is a number", `{"id":"b","op":1,"scan":"x"}`, withID, "b", 0, "op"},
		{"unknown entry", `{"id":"b","entry":"dreamt","scan":"x"}`, meta, "b", 0, "entry"},
		{"no time", `{"id":"b","scan":"x","at":"yesterday"}`, meta, "b", 0, "at"},
		{"year 9999", `{"id":"b","scan":"x","at":"9999-01-01T00:00:00Z"}`, meta, "b", 0, "at"},
		{"both", `{"id":"b","scan":"x","pack":{}}`, meta, "b", 0, "pack"},
		{"neither", `{"id":"b"}`, meta, "b", 0, "scan"},
		{"CloudEvent without data", `{"specversion":"1.0","id":"ce"}`, meta, "ce", 0, "data"},
		{"CloudEvent with text as data", `{"specversion":"1.0","id":"ce","data":"x"}`, withID, "ce", 0, "data"},
		{"CloudEvent with a wrong field", `{"specversion":"1.0","id":"ce","data":{"id":"in","op":1}}`, withID, "ce", 0, "data"},
		{"CloudEvent without id, with a wrong field", `{"specversion":"1.0","data":{"id":"in","op":1}}`, withID, "in", 0, "data"},
		{"empty", " \n", withID, "hdr", 0, ""},
		{"not JSON", `]d2010340`, meta, "42@DECOM_SCANS", 0, ""},
		{"two objects", `{"scan":"x"}{"scan":"y"}`, meta, "42@DECOM_SCANS", 0, ""},
		{"an array", `[{"scan":"x"}]`, meta, "42@DECOM_SCANS", 0, ""},
		{"not UTF-8", "{\"scan\":\"\xff\"}", meta, "42@DECOM_SCANS", 0, ""},
		{"oversize", `{"scan":"` + strings.Repeat("x", MaxEvent) + `"}`, withID, "hdr", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Decode([]byte(tt.body), tt.m)
			if e.ID != tt.id || e.Source() != "chu-nord/rowa-1" {
				t.Errorf("id %q of %s, want %q", e.ID, e.Source(), tt.id)
			}
			if tt.field == "-" {
				if err != nil || e.Op != tt.op {
					t.Errorf("op %v, %v; want %v", e.Op, err, tt.op)
				}
				return
			}
			var m *Malformed
			if !errors.As(err, &m) || m.Field != tt.field {
				t.Errorf("error %v (%T), want one of field %q", err, err, tt.field)
			}
		})
	}
}

// TestDecodeRejectsADeviceThatIsNone: contract.md section 3. The event keeps its id and its source,
// so that the sender learns of it. A source that is not known yet (a door's draft) is not judged.
func TestDecodeRejectsADeviceThatIsNone(t *testing.T) {
	for device, ok := range map[string]bool{
		"": true, "rowa-1": true, strings.Repeat("d", 64): true,
		strings.Repeat("d", 65): false, "a.b": false, "é": false, "a/b": false, "*": false, "r\uFFFD": false,
	} {
		m := meta
		m.Device = device
		e, err := Decode([]byte(`{"id":"b","scan":"x"}`), m)
		bad, _ := errors.AsType[*Malformed](err)
		if ok != (err == nil) || e.ID != "b" || e.Device != device || !ok && bad.Field != "subject" {
			t.Errorf("%q: %+v, %v", device, e, err)
		}
	}
}

// TestDecodeGivesBackWhatTheDeviceSaid: kept fields are kept exactly, text is not trimmed.
func TestDecodeGivesBackWhatTheDeviceSaid(t *testing.T) {
	e, err := Decode([]byte(`{"id":" a ","entry":"manual","scan":" ]d2X\u001d ","at":"2026-11-22T11:15:30.25+01:00","ref":" r","operator":"o","atd_checked":false}`), meta)
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != " a " || e.Scan != " ]d2X\x1d " || e.Entry != Manual || e.Ref != " r" || e.Operator != "o" || e.ATD == nil || *e.ATD {
		t.Errorf("decoded %+v", e)
	}
	if want := time.Date(2026, 11, 22, 10, 15, 30, 250e6, time.UTC); !e.At.Equal(want) || e.Key().MS != want.UnixMilli() || !e.Timed() {
		t.Errorf("at %v, key %d", e.At, e.Key().MS)
	}
	bare, err := Decode([]byte(`{"scan":"x"}`), meta)
	if err != nil || bare.Timed() || bare.Key().MS != stored.UnixMilli() {
		t.Errorf("without at: timed %v, key %d, %v", bare.Timed(), bare.Key().MS, err)
	}
}

// TestOpsAreTheContracts: names, numbers stored in Redis, and what reverses what.
func TestOpsAreTheContracts(t *testing.T) {
	names := strings.Fields("supply verify destroy export sample free_sample lock stolen undo_supply undo_export undo_sample undo_free_sample undo_lock")
	if len(Ops()) != len(names) {
		t.Fatalf("%d operations, the contract has %d", len(Ops()), len(names))
	}
	for i, name := range names {
		op, err := ParseOp(name)
		if err != nil || op != Op(i+1) || op.String() != name || Ops()[i] != op {
			t.Errorf("%s is %d (%v), want %d", name, op, err, i+1)
		}
		under, undo := strings.CutPrefix(name, "undo_")
		if op.IsUndo() != undo || undo && op.Undoes().String() != under || !undo && op.Undoes() != 0 {
			t.Errorf("%s: undo %v, of %v", name, op.IsUndo(), op.Undoes())
		}
		if op.IsRead() != (name == "verify") || op.Final() != (name == "destroy" || name == "stolen") {
			t.Errorf("%s: read %v, final %v", name, op.IsRead(), op.Final())
		}
	}
}

// TestOpsSurviveARecord: what is written into a record must be readable again, the
// and what could not be read is not written: such a record would halt the account.
func TestOpsSurviveARecord(t *testing.T) {
	if b, err := Op(0).MarshalText(); err == nil {
		t.Errorf("no operation is written as %q", b)
	}
	for _, op := range Ops() {
		b, err := op.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		got := Op(99)
		if err := got.UnmarshalText(b); err != nil || got != op {
			t.Errorf("%v becomes %q becomes %v, %v", op, b, got, err)
		}
	}
}

// TestPacksHideTheirSerial: whatever prints a pack by accident reveals nothing.
func TestPacksHideTheirSerial(t *testing.T) {
	p, err := NewPack(GTIN, "03400930000007", "SECRET1", "LOT", "281100")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{p.String(), p.LogValue().String(), string(p.ID())} {
		if strings.Contains(s, "SECRET1") {
			t.Errorf("%q shows the serial", s)
		}
	}
	q, _ := NewPack(GTIN, "03400930000007", "SECRET1", "LOT2", "281100")
	if p.ID() != q.ID() || len(p.ID()) != 16 || p.Print() == q.Print() {
		t.Error("a pack is named by code and serial alone, and fingerprinted by batch and expiry")
	}
}

// TestNewPackRefusesWhatNMVSWould: lengths and alphabets, nothing repaired.
func TestNewPackRefusesWhatNMVSWould(t *testing.T) {
	for _, f := range [][5]string{
		{"EAN", "03400930000007", "S", "L", "281100"}, {"GTIN", "3400930000007", "S", "L", "281100"},
		{"GTIN", "0340093000000X", "S", "L", "281100"}, {"GTIN", "03400930000007", "", "L", "281100"},
		{"GTIN", "03400930000007", "S 1", "L", "281100"}, {"GTIN", "03400930000007", "S", "L\x1d", "281100"},
		{"GTIN", "03400930000007", strings.Repeat("S", 21), "L", "281100"}, {"GTIN", "03400930000007", "S", strings.Repeat("L", 21), "281100"},
		{"GTIN", "03400930000007", "S", "L", "2811"}, {"PPN", "11012345678", "S", "L", "281100"},
	} {
		if p, err := NewPack(Scheme(f[0]), f[1], f[2], f[3], f[4]); err == nil || !p.IsZero() {
			t.Errorf("%q was taken", f)
		}
	}
}
