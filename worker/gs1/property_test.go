package gs1

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	testCSET82 = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
	testUpper  = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

func drawText(t *rapid.T, alphabet, name string) string {
	return rapid.StringOfN(rapid.SampledFrom([]rune(alphabet)), 1, maxField, -1).Draw(t, name)
}

func drawExpiry(t *rapid.T) string {
	month := rapid.IntRange(1, 12).Draw(t, "month")
	day := rapid.IntRange(0, 28).Draw(t, "day")
	return fmt.Sprintf("%02d%02d%02d", rapid.IntRange(0, 99).Draw(t, "year"), month, day)
}

func drawGTIN(t *rapid.T) UI {
	digits := "0340093" + rapid.StringMatching(`[0-9]{6}`).Draw(t, "code")
	u := UI{GTIN, withCheck(digits), drawText(t, testCSET82, "serial"), drawText(t, testCSET82, "batch"), drawExpiry(t)}
	if glued(u.Code, u.Serial) || glued(u.Code, u.Batch) {
		t.Skip("refused on purpose")
	}
	return u
}

// drawElements writes u as an element string, the fields in any order, with or without superfluous separators and other
// identifiers.
func drawElements(t *rapid.T, u UI) string {
	fields := []string{"01" + u.Code, "17" + u.Expiry, "21" + u.Serial, "10" + u.Batch}
	if rapid.Bool().Draw(t, "with others") {
		fields = append(fields, "240X1", "11260101", "7113400930000007")
	}
	fields = rapid.Permutation(fields).Draw(t, "order")
	superfluous := rapid.Bool().Draw(t, "superfluous separators")
	var b strings.Builder
	for i, f := range fields {
		b.WriteString(f)
		fixed := predefined[(f[0]-'0')*10+f[1]-'0'] != 0
		if i < len(fields)-1 && !fixed || superfluous {
			b.WriteString(gs)
		}
	}
	return b.String()
}

func TestRoundTripInEveryFieldOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := drawGTIN(t)
		got, err := Parse(drawElements(t, u), declared)
		if err != nil || got.UI != u {
			t.Fatalf("%+v: %+v, %v", u, got, err)
		}
		if reason, field := check(u, now2026); reason != ReasonOK {
			t.Fatalf("%+v: Check says %v in %s", u, reason, field)
		}
	})
}

func TestRoundTripOfPPN(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pzn := "11" + rapid.StringMatching(`[0-9]{8}`).Draw(t, "pzn")
		code := ""
		for c := range 97 {
			if code = fmt.Sprintf("%s%02d", pzn, c); ValidPPN(code) {
				break
			}
		}
		u := UI{PPN, code, drawText(t, testUpper, "serial"), drawText(t, testUpper+"-_", "batch"), drawExpiry(t)}
		if glued(u.Code, u.Serial) || glued(u.Code, u.Batch) {
			t.Skip("refused on purpose")
		}
		got, err := Parse(encode(u), Options{Now: now2026})
		if err != nil || got.UI != u {
			t.Fatalf("%+v: %+v, %v", u, got, err)
		}
		if reason, field := check(u, now2026); reason != ReasonOK {
			t.Fatalf("%+v: Check says %v in %s", u, reason, field)
		}
	})
}

// encode writes u as its data carrier is transmitted.
func encode(u UI) string {
	if u.Scheme == PPN {
		return "]d1[)>\x1e06\x1d9N" + u.Code + "\x1d1T" + u.Batch + "\x1dD" + u.Expiry + "\x1dS" + u.Serial + "\x1e\x04"
	}
	return "]d201" + u.Code + "21" + u.Serial + gs + "17" + u.Expiry + "10" + u.Batch
}

// A lost separator must never give the printed pack's code with another serial, whatever the order of the four fields.
func TestLostSeparatorsNeverGiveAnotherPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := drawGTIN(t)
		fields := rapid.Permutation([]string{"01" + u.Code, "17" + u.Expiry, "21" + u.Serial, "10" + u.Batch}).Draw(t, "order")
		text := "]d2" + strings.Join(fields, "")
		got, err := Parse(text, Options{Now: now2026})
		if err == nil && got.UI != u {
			t.Fatalf("%q accepted as %+v, printed was %+v", text, got.UI, u)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"]d2" + body, body, envelope, "]d1" + envelope, "]d1[)>\x1e05\x1d" + body + "\x1e\x04",
		"(01)" + gtin + "(21)7X4F8L2(17)281100(10)LOT42",
		"https://id.example.org/01/" + gtin + "/10/L%2F/21/7X4F8L2?17=281100",
		"01" + gtin + `217X4F8L2\x1D17281100{GS}10LOT42`, "]D2" + body, "$dé" + body, "$dé", "]d", "é+", "\xff\xfe", "",
		frenchHost.types("]d201" + gtin + "21AB" + gs + "17271231" + "10L"),
		belgianHost.types("]d201" + gtin + "21AB" + gs + "17271231" + "10L"),
		"]d2" + body + gs + "7113400930000007" + gs + "3100000001", "]d200340093000000000017",
	} {
		f.Add(text, byte(0xf))
		f.Add(text, byte(0))
	}
	f.Fuzz(func(t *testing.T, text string, permissions byte) {
		opt := Options{Declared: permissions&1 != 0, Bracketed: permissions&2 != 0, DigitalLink: permissions&4 != 0,
			Escapes: permissions&8 != 0, Now: now2026}
		got, err := Parse(text, opt)
		if err != nil {
			e, ok := err.(*Error)
			if !ok || e.Reason == ReasonOK || e.Reason >= reasonCount || e.Offset < 0 || e.Offset > len(text) {
				t.Fatalf("%q: error %#v", text, err)
			}
			if got != (Result{}) {
				t.Fatalf("%q: refused and %+v", text, got)
			}
			return
		}
		if reason, field := check(got.UI, now2026); reason != ReasonOK {
			t.Fatalf("%q: accepted %+v, Check says %v in %s", text, got.UI, reason, field)
		}
		again, err := Parse(encode(got.UI), Options{Now: now2026})
		if err != nil || again.UI != got.UI {
			t.Fatalf("%q: %+v written and read again: %+v, %v", text, got.UI, again.UI, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, bm := range []struct {
		name, text string
		opt        Options
	}{
		{"d2", "]d2" + body, Options{}},
		{"long", "]d201" + gtin + "21ABCDEFGHIJ1234567890" + gs + "17281130" + "10BATCH00012345", Options{}},
		{"nhrn", "]d2" + body + gs + "7113400930000007", Options{}},
		{"ifa", envelope, Options{}},
		{"repaired", frenchHost.types("]d201" + gtin + "21AB" + gs + "17271231" + "10L"), Options{}},
		{"refused", "]d2" + body + gs + "21OTHER", Options{}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bm.text)))
			for b.Loop() {
				_, _ = Parse(bm.text, bm.opt)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "parses/s")
		})
	}
}
