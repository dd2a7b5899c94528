package ledger

import (
	"testing"

	"decom/worker/scan"
)

// A record that cannot be read back halts its account: whatever a device sends, what
// is written about it must be readable.
func TestWhateverADeviceSendsItsNoteCanBeReadBack(t *testing.T) {
	for _, body := range []string{
		``, `{`, `null`, `[]`, `{"op":"explode","scan":"x"}`, `{"op":7}`, `{"id":"","scan":"x"}`, `{"id":"\u00e9","scan":"x"}`,
		`{"entry":"guessed","scan":"x"}`, `{"at":"yesterday","scan":"x"}`, `{"at":"0001-01-01T00:00:00Z","scan":"x"}`,
		`{"v":2,"scan":"x"}`, `{"scan":"x","pack":{}}`, `{"ref":"\ud800","scan":"x"}`, "{\"scan\":\"\\u001d\\u0000\"}",
		`{"specversion":"1.0","data":{"op":"?"}}`, `{"specversion":"1.0"}`,
	} {
		e, err := scan.Decode([]byte(body), scan.Meta{Site: "s", Device: "d", Seq: 7})
		if err == nil {
			e.Ref = body
		}
		r := &Record{Account: "a", Note: []Note{{
			Origin: Origin{Ev: e.ID, Src: e.Source(), Key: e.Key().MS, Ref: e.Ref, Operator: e.Operator, Op: e.Op},
			Answer: Answer{Result: scan.Rejected, Reason: scan.MalformedScan},
		}}}
		payload, err := Encode(r, Head{})
		if err != nil {
			t.Errorf("%s: cannot be written: %v", body, err)
			continue
		}
		if _, err := Decode(payload, "a"); err != nil {
			t.Errorf("%s: cannot be read back: %v", body, err)
		}
	}
	if _, err := Encode(&Record{Account: "a", Note: []Note{{}}}, Head{}); err == nil {
		t.Error("a note without an operation was written")
	}
}
