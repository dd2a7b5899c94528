package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"decom/worker/scan"
)

// fill sets every field of v at random, now and then to its zero value: a field that the
// codecs forgot shows.
func fill(r *rand.Rand, v reflect.Value) {
	if r.IntN(3) == 0 {
		v.SetZero()
		return
	}
	switch p := v.Addr().Interface().(type) {
	case *scan.Pack:
		*p, _ = scan.NewPack(scan.GTIN, "03400930000007", "S\"<7", "LOT&42", "281100")
		return
	case *Phase:
		*p = Phase(r.IntN(5))
		return
	}
	switch v.Kind() {
	case reflect.String:
		words := []string{"supply", "é", "a<b>&c", "x\x1d17", "\u2028", "\"q\"", "NMVS_SUCCESS", "2026-11-22T10:15:31.201Z"}
		v.SetString(words[r.IntN(len(words))])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64N(2000) - 1000)
	case reflect.Uint64:
		v.SetUint(r.Uint64() >> 3)
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
			if field.CanSet() { // the others are not written
				fill(r, field)
			}
		}
	default:
		panic("no random value for " + v.Type().String())
	}
}

func plainly(r *Record) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(r)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}

func TestARecordIsWrittenAndReadAsEncodingJSONDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	fast := 0
	for range 3000 {
		var rec Record
		fill(r, reflect.ValueOf(&rec).Elem())
		want, errWant := plainly(&rec)
		got, err := appendRecord(nil, &rec)
		if (err == nil) != (errWant == nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%s, %v\nencoding/json: %s, %v", got, err, want, errWant)
		}
		if err == nil && sameReading(t, got) {
			fast++
		}
	}
	if fast < 300 {
		t.Errorf("only %d records were read without encoding/json", fast)
	}
}

// sameReading fails unless what readRecord takes is what encoding/json reads; it says
// whether it took it.
func sameReading(t *testing.T, payload []byte) bool {
	t.Helper()
	got, ok := readRecord(payload)
	if !ok {
		return false
	}
	var want Record
	if err := json.Unmarshal(payload, &want); err != nil {
		t.Fatalf("%s is taken, encoding/json says %v", payload, err)
	}
	if !reflect.DeepEqual(got, &want) {
		t.Fatalf("%s\nread as %+v\nencoding/json: %+v", payload, got, &want)
	}
	return true
}

// usual is what a mixed bulk of n packs leaves on the ledger: its opening and its results.
func usual(n int) (open, result *Record) {
	o := Open{C: "01JD3W7ZC5V8M2ABCDEFGHIJKL", Svc: Mixed, SHA: Hash(nil)}
	f := Fact{C: o.C, Of: 805, Kind: Result}
	for i := range n {
		p := OpenPack{Serial: fmt.Sprintf("b%07d", i), C: "01JD3W7ZC5V8M2ABCDEFGHIJKL",
			Product: &Product{Scheme: scan.GTIN, Code: "03400930000007", Batch: "LOT42", Expiry: "291100"},
			Origin:  Origin{Ev: fmt.Sprintf("backlog-%07d", i), Src: "site-1/bench", Key: 1763806530000, Op: scan.Supply}}
		o.Packs = append(o.Packs, p)
		q, _ := scan.NewPack(scan.GTIN, "03400930000007", p.Serial, "LOT42", "291100")
		f.Packs = append(f.Packs, FactPack{I: i, K: q.ID(), Answer: &Answer{Result: scan.Done, Code: "NMVS_SUCCESS", State: "INACTIVE",
			Reasons: []string{"SUPPLIED"}, NMVSTrx: "A0B1C2D3E4F5", NMVSAt: "2026-11-22T10:15:31.201Z", Called: true}})
	}
	head := Record{Account: "chu-exemple", By: "pharma1#7", At: "2026-11-22T10:15:31.201Z"}
	a, b := head, head
	a.Open, b.Fact = []Open{o}, []Fact{f}
	return &a, &b
}

func TestTheUsualRecordsNeedNoReflection(t *testing.T) {
	open, result := usual(3)
	note := &Record{Account: "a", Note: []Note{{Origin: Origin{Ev: "e", Src: "s/d", Op: scan.Supply}, K: "k", Answer: Answer{Result: scan.Duplicate}}}}
	for _, r := range []*Record{open, result, note} {
		payload, err := Encode(r, Head{Seq: 812, Hash: Hash(nil)})
		if err != nil {
			t.Fatal(err)
		}
		if !sameReading(t, payload) {
			t.Errorf("%s is left to encoding/json", payload)
		}
	}
}

func FuzzReadRecord(f *testing.F) {
	open, result := usual(2)
	for _, r := range []*Record{open, result} {
		payload, err := Encode(r, Head{Seq: 812, Hash: Hash(nil)})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
	}
	f.Add([]byte(`{"v":2,"note":[{"ev":"a","pack":{"scheme":"GTIN","code":"03400930000007","serial":"1","batch":"2","expiry":"281100"},"offset":3,"detail":"d","trx":"t"}],"fact":[{"kind":"review","packs":[{"i":0,"k":"","to":"free","op":"lock","probe":true,"reasons":[]}]}]}`))
	f.Fuzz(func(t *testing.T, payload []byte) { sameReading(t, payload) })
}

func BenchmarkRecord(b *testing.B) {
	const n = 500
	open, result := usual(n)
	for _, bb := range []struct {
		name string
		rec  *Record
	}{{"open", open}, {"result", result}} {
		payload, err := Encode(bb.rec, Head{Seq: 812, Hash: Hash(nil)})
		if err != nil {
			b.Fatal(err)
		}
		b.Run("encode/"+bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Encode(bb.rec, Head{Seq: 812, Hash: Hash(nil)}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/pack")
			b.ReportMetric(float64(len(payload))/n, "B/pack")
		})
		b.Run("decode/"+bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(payload, "chu-exemple"); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/pack")
		})
		b.Run("fold/"+bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				states := make(States, n)
				if _, err := Fold(805, bb.rec, states); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/pack")
		})
		b.Run("touched/"+bb.name, func(b *testing.B) {
			for b.Loop() {
				if len(bb.rec.Touched()) != n {
					b.Fatal("packs are missing")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/pack")
		})
	}
}
