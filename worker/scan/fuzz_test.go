package scan

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzDecode: whatever a device publishes, Decode either refuses it with one short
// clause and an id by which the sender knows its scan, or gives an event that is checked and
// that reads the same when it is written again.
func FuzzDecode(f *testing.F) {
	for _, body := range []string{
		`{"v":1,"id":"01JD3W6Q0ZK9","op":"undo_supply","entry":"manual","scan":"x","at":"2026-11-22T10:15:30.5Z","ref":"BL","operator":"robot","atd_checked":true}`,
		`{"pack":{"scheme":"GTIN","code":"03400930000007","serial":"S1","batch":"LOT42","expiry":"281100"}}`,
		`{"specversion":"1.0","id":"ce","data":{"id":"in","op":"verify","scan":"x"}}`,
		`{"specversion":"1.0","data":{"specversion":"1.0","data":{"scan":"x"}}}`,
		`{"id":7,"scan":"x"}`, `{"v":1e999}`, `{"id":"b","at":"9999-01-01T00:00:00Z","scan":""}`, "]d2010340", " \n", "[", "\xff", "null", `{"ID":"a","id":"b","scan":"\ud800"}`,
	} {
		f.Add([]byte(body), "hdr", int64(0))
		f.Add([]byte(body), "é", int64(-1))
	}
	f.Fuzz(func(t *testing.T, body []byte, msgID string, seconds int64) {
		m := Meta{Site: "s", Device: "d", Seq: 42, MsgID: msgID, Stored: stored.Add(time.Duration(seconds%1e6) * time.Second)}
		e, err := Decode(body, m)
		if !validID(e.ID) || e.Op.String() == "" || e.Meta != m {
			t.Fatalf("%q: id %q, op %v, meta %+v", body, e.ID, e.Op, e.Meta)
		}
		if _, unwritable := json.Marshal(e.Op); unwritable != nil {
			t.Fatalf("%q: its rejection cannot be written: %v", body, unwritable)
		}
		if err != nil {
			var fault *Malformed
			if !errors.As(err, &fault) || fault.Why == "" || len(err.Error()) > 300 || !utf8.ValidString(err.Error()) {
				t.Fatalf("%q: refused with %q", body, err)
			}
			return
		}
		if !utf8.ValidString(e.Scan + e.Ref + e.Operator) {
			t.Fatalf("%q: not text: %+v", body, e)
		}
		if k := e.Key(); k.MS > m.Stored.UnixMilli() {
			t.Fatalf("%q: key %v lies after the time at which the stream took it", body, k)
		}
		if again, err := Decode(written(t, e), m); err != nil || !sameEvent(again, e) {
			t.Fatalf("%q: %+v written and read again: %+v, %v", body, e, again, err)
		}
	})
}

// written is the event as a device would publish it.
func written(t *testing.T, e Event) []byte {
	t.Helper()
	j := map[string]any{"id": e.ID, "op": e.Op.String(), "entry": e.Entry, "ref": e.Ref, "operator": e.Operator}
	if e.Fields != nil {
		j["pack"] = e.Fields
	} else {
		j["scan"] = e.Scan
	}
	if e.Timed() {
		j["at"] = e.At.Format(time.RFC3339Nano)
	}
	if e.ATD != nil {
		j["atd_checked"] = *e.ATD
	}
	b, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sameEvent(a, b Event) bool {
	if !a.At.Equal(b.At) {
		return false
	}
	a.At = b.At
	return reflect.DeepEqual(a, b)
}

// FuzzNewPack: a pack that is accepted has exactly the fields that were given, survives
// JSON, and shows no serial in a log.
func FuzzNewPack(f *testing.F) {
	f.Add("GTIN", "03400930000007", "S1", "LOT42", "281100")
	f.Add("PPN", "111234567842", "S1", "LOT42", "281100")
	f.Add("gtin", "03400930000007", " S1", "LOT\x1d42", "2811")
	f.Fuzz(func(t *testing.T, scheme, code, serial, batch, expiry string) {
		p, err := NewPack(Scheme(scheme), code, serial, batch, expiry)
		if err != nil {
			var fault *Malformed
			if !errors.As(err, &fault) || fault.Field == "" || fault.Why == "" || !p.IsZero() {
				t.Fatalf("refused with %q and %+v", err, p)
			}
			return
		}
		if string(p.Scheme()) != scheme || p.Code() != code || p.Serial() != serial || p.Batch() != batch || p.Expiry() != expiry {
			t.Fatalf("%q %q %q %q %q became %+v", scheme, code, serial, batch, expiry, p)
		}
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var again Pack
		if err := json.Unmarshal(b, &again); err != nil || again != p || again.ID() != p.ID() || len(p.ID()) != 16 {
			t.Fatalf("%s read again: %+v, %v", b, again, err)
		}
	})
}
