package rawjson_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"decom/worker/rawjson"
)

// TestStringsAreWrittenAsEncodingJSONWritesThem and the fuzz target hold the writer to its oracle.
func TestStringsAreWrittenAsEncodingJSONWritesThem(t *testing.T) {
	for c := range 256 {
		sameString(t, "a"+string([]byte{byte(c)})+"z")
	}
	for _, s := range []string{"", "é", "a\u2028b\u2029", "\xff\xfe", "\xe2\x80", "\xe2\x80\xa8", "\U0001f48a", "<&>'\"\\/", "\x1d17"} {
		sameString(t, s)
	}
}

func sameString(t *testing.T, s string) {
	t.Helper()
	for _, html := range []bool{true, false} {
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(html)
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
		if got := rawjson.AppendString(nil, s, html); string(got) != string(bytes.TrimSuffix(want.Bytes(), []byte("\n"))) {
			t.Errorf("%q, html %t: %s, encoding/json writes %s", s, html, got, want.Bytes())
		}
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\u2028\xff<\x00")
	f.Fuzz(sameString)
}

// value is one of each thing that a Reader reads.
type value struct {
	S string   `json:"s"`
	I int64    `json:"i"`
	U uint64   `json:"u"`
	B bool     `json:"b"`
	L []string `json:"l"`
}

func read(text string) (v value, ok bool) {
	r := rawjson.NewReader(text)
	var seen rawjson.Names
	r.Open('{')
	for n := 0; r.More('}', n); n++ {
		switch r.Name() {
		case "s":
			r.Once(&seen, 0)
			v.S = r.Str()
		case "i":
			r.Once(&seen, 1)
			v.I = r.Int()
		case "u":
			r.Once(&seen, 2)
			v.U = r.Uint()
		case "b":
			r.Once(&seen, 3)
			v.B = r.Bool()
		case "l":
			r.Once(&seen, 4)
			v.L = r.Strs()
		default:
			r.Spoil()
		}
	}
	return v, r.End()
}

var texts = []struct {
	text string
	want bool // the reader takes it
}{
	{`{}`, true}, {`{"s":"x","i":-12,"u":3,"b":true,"l":["a","b"]}`, true},
	{" {\n\t\"b\" : false , \"l\" : [ ] , \"s\" : \"\\u001d\\n\\\"\\/\\u0041\" } \r\n", true},
	{`{"s":"é\\"}`, true}, {`{"i":0,"u":0}`, true}, {`{"i":-0}`, true}, {`{"i":9223372036854775807}`, true},
	{`{"i":9223372036854775808}`, false}, {`{"u":18446744073709551615}`, false}, {`{"i":01}`, false}, {`{"i":1.0}`, false},
	{`{"i":1e2}`, false}, {`{"i":-}`, false}, {`{"i":}`, false}, {`{"i":"1"}`, false}, {`{"u":-1}`, false},
	{`{"s":null}`, false}, {`{"S":"x"}`, false}, {`{"x":1}`, false}, {`{"s":"a","s":"b"}`, false},
	{`{"s":"\u00e9"}`, false}, {`{"s":"\ud83d\udc8a"}`, false}, {`{"s":"\x"}`, false}, {`{"s":"\u12"}`, false},
	{"{\"s\":\"a\nb\"}", false}, {"{\"s\":\"\xff\"}", false}, {`{"s":"a`, false}, {`{"s":"a\`, false}, {`{"s`, false},
	{`{"s":"a",}`, false}, {`{,"s":"a"}`, false}, {`{"s" "a"}`, false}, {`{"s":"a"}x`, false}, {`{"s":"a"}{}`, false},
	{`{"l":["a",]}`, false}, {`{"l":["a"`, false}, {`{"b":truex}`, false}, {`{"b":tru}`, false}, {``, false}, {`[]`, false},
	{`{"a\"":1}`, false}, {`null`, false}, {"\u00a0{}", false}, {"\ufeff{}", false}, {`{"\u0073":"x"}`, false},
}

func TestTheReaderTakesTheUsualTextOnly(t *testing.T) {
	for _, tt := range texts {
		if _, ok := read(tt.text); ok != tt.want {
			t.Errorf("%q: taken %t", tt.text, ok)
		}
		agree(t, tt.text)
	}
}

// agree fails unless what the reader takes is what encoding/json takes, with the same value.
func agree(t *testing.T, text string) {
	got, ok := read(text)
	if !ok {
		return
	}
	var want value
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatalf("%q is taken, encoding/json says %v", text, err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if !bytes.Equal(a, b) {
		t.Fatalf("%q: read as %s, encoding/json reads %s", text, a, b)
	}
}

func FuzzReader(f *testing.F) {
	for _, tt := range texts {
		f.Add(tt.text)
	}
	f.Fuzz(agree)
}
