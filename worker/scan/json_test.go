package scan

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
)

// fill sets every field of v at random, now and then to its zero value, so that a
// field which a hand-written codec forgot shows.
func fill(r *rand.Rand, v reflect.Value) {
	if r.IntN(4) == 0 {
		v.SetZero()
		return
	}
	if p, ok := v.Addr().Interface().(*Pack); ok {
		*p = Pack{scheme: GTIN, code: "03400930000007", serial: word(r) + "s", batch: word(r) + "b", expiry: "281100"}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(word(r))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(r.Int64N(2000) - 1000)
	case reflect.Uint8: // Op
		v.SetUint(uint64(1 + r.IntN(13)))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(r, field)
		}
	default:
		panic("no random value for " + v.Type().String())
	}
}

func word(r *rand.Rand) string {
	words := []string{"supply", "é", "a<b>&c", "x\x1d17", "\u2028", "\"q\"", "NMVS_SUCCESS", "2026-11-22T10:15:31.201Z"}
	return words[r.IntN(len(words))]
}

func TestAnOutcomeIsWrittenAsEncodingJSONWritesIt(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var buf []byte
	for range 2000 {
		var o Outcome
		fill(r, reflect.ValueOf(&o).Elem())
		want, errWant := json.Marshal(&o)
		got, err := o.AppendJSON(buf[:0])
		buf = got
		if (err == nil) != (errWant == nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%s, %v\nencoding/json: %s, %v", got, err, want, errWant)
		}
	}
}

func TestTheUsualEventNeedsNoReflection(t *testing.T) {
	for _, text := range []string{
		`{"id":"01JD3W6Q0ZK9","scan":"]d20103400930000007217X4F8L2\u001d17281100\u001d10LOT42"}`,
		`{"v":1,"id":"a","op":"undo_supply","entry":"manual","pack":{"scheme":"GTIN","code":"1","serial":"2","batch":"3","expiry":"4"},` +
			`"at":"2026-11-22T10:15:30.5Z","ref":"BL é","operator":"robot","atd_checked":true}`,
	} {
		if _, ok := readEvent(text); !ok {
			t.Errorf("%s is left to encoding/json", text)
		}
	}
}

func FuzzReadEvent(f *testing.F) {
	f.Add(`{"id":"01JD3W6Q0ZK9","scan":"]d201034\u001d17281100"}`)
	f.Add(`{"v":1,"op":"x","entry":"manual","pack":{"scheme":"GTIN","code":"1","serial":"2","batch":"3","expiry":"4"},"at":"2","ref":"BL","operator":"r","atd_checked":true}`)
	f.Add(`{"ID":"a","scan":null,"pack":{},"pack":{"code":"1"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := readEvent(text)
		if !ok {
			return
		}
		var want eventJSON
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("%q is taken, encoding/json says %v", text, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %+v, encoding/json reads %+v", text, got, want)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(`{"id":"01JD3W6Q0ZK9","scan":"]d20103400930000007217X4F8L2\u001d17281100\u001d10LOT42"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(body, meta); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOutcome(b *testing.B) {
	p, err := NewPack(GTIN, "03400930000007", "7X4F8L2", "LOT42", "281100")
	if err != nil {
		b.Fatal(err)
	}
	o := Outcome{V: 1, EventID: "01JD3W6Q0ZK9", Site: "chu-nord", Device: "rowa-1", Account: "chu", Op: Supply, Pack: &p, Result: Done,
		Code: "NMVS_SUCCESS", State: "INACTIVE", StateReasons: []string{"SUPPLIED"}, ClientTrxID: "01JD3W7ZC5V8M2ABCDEFGHIJKL",
		At: "2026-11-22T10:15:31.201Z", Message: Message(Supply, Done, NoReason)}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		if buf, err = o.AppendJSON(buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
