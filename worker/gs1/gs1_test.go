package gs1

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const gs = "\x1d"

var (
	now2026  = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	declared = Options{Declared: true, Now: now2026}
	files    = Options{Declared: true, Bracketed: true, DigitalLink: true, Now: now2026}
	escaped  = Options{Declared: true, Escapes: true, Now: now2026}

	// gtin and ui are the pack of most tests.
	gtin = "03400930000007"
	ui   = UI{Scheme: GTIN, Code: gtin, Serial: "7X4F8L2", Batch: "LOT42", Expiry: "281100"}
	ppn  = UI{Scheme: PPN, Code: "111234567842", Serial: "AZ09", Batch: "L-1_A", Expiry: "281100"}

	body     = "01" + gtin + "217X4F8L2" + gs + "17281100" + "10LOT42"
	envelope = "[)>\x1e06\x1d9N111234567842\x1d1TL-1_A\x1dD281100\x1dSAZ09\x1e\x04"
)

func TestEveryAcceptedFormGivesTheSameIdentifier(t *testing.T) {
	tests := []struct {
		name string
		text string
		opt  Options
		want UI
		nhrn string
	}{
		{"symbology identifier", "]d2" + body, Options{}, ui, ""},
		{"leading FNC1 as GS", "]d2" + gs + body, Options{}, ui, ""},
		{"contract's example order, GS after a fixed field", "]d201" + gtin + "217X4F8L2" + gs + "17281100" + gs + "10LOT42", Options{}, ui, ""},
		{"trailing GS", "]d2" + body + gs, Options{}, ui, ""},
		{"declared", body, declared, ui, ""},
		{"declared, leading FNC1", gs + body, declared, ui, ""},
		{"national number", "]d2" + body + gs + "7113400930000007", Options{}, ui, "3400930000007"},
		{"first of two national numbers", "]d2" + body + gs + "710123" + gs + "7141234567", Options{}, ui, "123"},
		{"identifiers read past", "]d2" + "11260101" + "3103000123" + "30" + "12" + gs + "7003" + "2611221200" + gs + "91x" + gs + body, Options{}, ui, ""},
		{"same identifier twice, same value", "]d2" + body + gs + "17281100" + "10LOT42", Options{}, ui, ""},
		{"whole alphabet", "]d201" + gtin + "21!\"%&'()*+,-./:;<=>?" + gs + "17281100" + "10_az", Options{},
			UI{GTIN, gtin, "!\"%&'()*+,-./:;<=>?", "_az", "281100"}, ""},
		{"serial that looks like identifiers", "]d201" + gtin + "2117281100" + gs + "17281100" + "10LOT42", Options{},
			UI{GTIN, gtin, "17281100", "LOT42", "281100"}, ""},
		{"format 05 after ]d1", "]d1[)>\x1e05\x1d" + body + "\x1e\x04", Options{}, ui, ""},
		{"format 05 without identifier", "[)>\x1e05\x1d" + body + "\x1e\x04", Options{}, ui, ""},
		{"format 06 after ]d1", "]d1" + envelope, Options{}, ppn, ""},
		{"format 06 without identifier", envelope, Options{}, ppn, ""},
		{"format 06 with a GTIN beside", strings.Replace(envelope, "\x1dD", "\x1d8P"+gtin+"\x1dD", 1), Options{}, ppn, ""},
		{"bracketed", "(01)" + gtin + "(21)7X4F8L2(17)281100(10)LOT42", files, ui, ""},
		{"bracketed, closing bracket in a value", "(01)" + gtin + "(21)7X)4F(17)281100(10)LOT42", files,
			UI{GTIN, gtin, "7X)4F", "LOT42", "281100"}, ""},
		{"digital link", "https://id.example.org/a/01/" + gtin + "/10/LOT42/21/7X4F8L2?17=281100&x=y", files, ui, ""},
		{"digital link, percent signs", "https://id.example.org/01/" + gtin + "/10/L%2F%25/21/7X4F8L2?17=281100", files,
			UI{GTIN, gtin, "7X4F8L2", "L/%", "281100"}, ""},
		{`escaped \x1D`, "01" + gtin + `217X4F8L2\x1D17281100\x1d10LOT42`, escaped, ui, ""},
		{"escaped {GS}", "]d201" + gtin + "217X4F8L2{GS}1728110010LOT42", escaped, ui, ""},
		{"escaped <GS>", "]d2<GS>01" + gtin + "217X4F8L2<GS>1728110010LOT42", escaped, ui, ""},
		{"escaped ^", "01" + gtin + "217X4F8L2^1728110010LOT42", escaped, ui, ""},
		{"escaped envelope", `[)>\x1E06\x1D9N111234567842\x1D1TL-1_A\x1DD281100\x1DSAZ09\x1E\x04`, escaped, ppn, ""},
		{"escapes allowed, none there", body, escaped, ui, ""},
		{"not declared escapes are characters", "]d201" + gtin + "217<GS>X" + gs + "1728110010LOT42", Options{},
			UI{GTIN, gtin, "7<GS>X", "LOT42", "281100"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.text, tt.opt)
			if err != nil {
				t.Fatalf("Parse: %v", err)
			}
			if want := (Result{UI: tt.want, NHRN: tt.nhrn}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestEveryRefusalHasItsReasonAndOffset(t *testing.T) {
	const d2 = "]d2"
	tests := []struct {
		name   string
		text   string
		opt    Options
		reason Reason
		offset int
	}{
		{"nothing", "", declared, ReasonMalformed, 0},
		{"no identifier, not declared", body, Options{}, ReasonLayout, 0},
		{"AZERTY without identifier", "à&à\"'àà", declared, ReasonLayout, 0},
		{"AZERTY, ASCII keys only", "&(", declared, ReasonLayout, 0},
		{"German, Italian, Spanish identifier", "+d201" + gtin, declared, ReasonLayout, 0},
		{"unknown character before d2", "~d201" + gtin, declared, ReasonLayout, 0},
		{"Greek identifier", "]δ201" + gtin, declared, ReasonLayout, 0},
		{"AZERTY identifier, Caps Lock", "£D2" + body, declared, ReasonLayout, 0},
		{"AZERTY identifier, digits not mangled", "$d2" + body, declared, ReasonLayout, 0},
		{"German envelope", "ü=:06", declared, ReasonLayout, 0},
		{"Caps Lock", "]D2" + body, declared, ReasonCase, 1},
		{"Caps Lock, plain Data Matrix", "]D1" + envelope, declared, ReasonCase, 1},

		{"over-long serial", d2 + "01" + gtin + "21" + strings.Repeat("A", 21), Options{}, ReasonGSMissing, 21 + 20},
		{"serial, expiry and batch without GS", d2 + "01" + gtin + "217X4F8L21728110010LOT42", Options{}, ReasonGSMissing, 21 + 20},
		{"short serial swallowed the batch", d2 + "01" + gtin + "17281100" + "217X4F10LOT42", Options{}, ReasonGSMissing, 29 + 4},
		{"batch swallowed the serial", d2 + "01" + gtin + "17281100" + "10LOT42217X4F8L2", Options{}, ReasonGSMissing, 29 + 5},
		{"serial swallowed the expiry", d2 + "01" + gtin + "10LOT42" + gs + "217X417281100", Options{}, ReasonGSMissing, 29 + 3},
		{"serial swallowed the code", d2 + "17281100" + "10LOT42" + gs + "217X01" + gtin, Options{}, ReasonGSMissing, 21 + 2},
		{"count over-long", d2 + "01" + gtin + "30123456789", Options{}, ReasonGSMissing, 21 + 8},

		{"check digit", d2 + "0103400930000008" + "217X", Options{}, ReasonCheckDigit, 5},
		{"PPN check digits", strings.Replace(envelope, "7842", "7843", 1), Options{}, ReasonCheckDigit, 9},
		{"EAN-13, check digit", "3400930000008", declared, ReasonCheckDigit, 0},

		{"case", d2 + "0113400930000004" + "217X", Options{}, ReasonNotAPack, 5},
		{"variable measure", d2 + "01" + withCheck("9340093000000") + "217X", Options{}, ReasonNotAPack, 5},
		{"UCD", d2 + "01" + withCheck("0340089000000") + "217X", Options{}, ReasonNotAPack, 5},
		{"ACL", d2 + "01" + withCheck("0340109000000") + "217X", Options{}, ReasonNotAPack, 5},
		{"SSCC", d2 + "00" + "340093000000000017", Options{}, ReasonNotAPack, 3},
		{"contents of a case", d2 + "02" + gtin + "3710", Options{}, ReasonNotAPack, 3},
		{"EAN-13", "3400930000007", declared, ReasonNotAPack, 0},
		{"EAN-13, nothing declared", "3400930000007", Options{}, ReasonNotAPack, 0},
		{"GTIN alone", gtin, declared, ReasonNotAPack, 0},
		{"GS1-128", "]C1" + body, declared, ReasonNotAPack, 0},
		{"QR", "]Q3" + body, declared, ReasonNotAPack, 0},
		{"DataBar", "]e0" + body, declared, ReasonNotAPack, 0},
		{"EAN with identifier", "]E03400930000007", declared, ReasonNotAPack, 0},
		{"Data Matrix without FNC1", "]d1" + body, declared, ReasonNotAPack, 0},
		{"PPN of another agency", strings.Replace(envelope, "9N11", "9N12", 1), Options{}, ReasonNotAPack, 9},

		{"second serial", d2 + body + gs + "21OTHER", Options{}, ReasonConflict, 3 + len(body) + 3},
		{"second code", d2 + body + gs + "01" + withCheck("0340093000001"), Options{}, ReasonConflict, 3 + len(body) + 3},
		{"second national number", d2 + body + gs + "7101" + gs + "7102", Options{}, ReasonConflict, 3 + len(body) + 9},
		{"second batch, bracketed", "(01)" + gtin + "(10)A(10)B", files, ReasonConflict, 27},

		{"letters", "HELLO", declared, ReasonMalformed, 0},
		{"half an identifier", "]d", declared, ReasonMalformed, 0},
		{"identifier only is an empty code", d2, declared, ReasonMissingField, 3},
		{"unknown application identifier", d2 + "01" + gtin + "05", Options{}, ReasonMalformed, 19},
		{"letters where an identifier stands", d2 + "01" + gtin + "XX", Options{}, ReasonMalformed, 19},
		{"half an application identifier", d2 + body + gs + "1", Options{}, ReasonMalformed, 3 + len(body) + 1},
		{"two separators", d2 + "01" + gtin + "217X" + gs + gs + "17281100", Options{}, ReasonMalformed, 24},
		{"two leading separators", d2 + gs + gs + body, Options{}, ReasonMalformed, 4},
		{"brackets behind a symbology identifier", d2 + "(01)" + gtin, files, ReasonMalformed, 3},
		{"brackets not allowed", "(01)" + gtin, declared, ReasonMalformed, 0},
		{"bracket in a bracketed value", "(01)" + gtin + "(21)7(X(17)281100(10)L", files, ReasonMalformed, 23},
		{"envelope cut off", envelope[:len(envelope)-2], Options{}, ReasonMalformed, len(envelope) - 2},
		{"envelope of another format", "[)>\x1e12\x1dX\x1e\x04", Options{}, ReasonMalformed, 4},
		{"unknown data identifier", "[)>\x1e06\x1d7Q1\x1e\x04", Options{}, ReasonMalformed, 7},
		{"thirteen other identifiers", d2 + "91a\x1d92a\x1d93a\x1d94a\x1d95a\x1d96a\x1d97a\x1d98a\x1d99a\x1d240a\x1d241a\x1d243a\x1d250a", Options{}, ReasonMalformed, 3 + 9*4 + 3*5 + 3},
		{"link without product", "https://example.org/x", files, ReasonMalformed, 21},
		{"link not allowed", "https://example.org/01/" + gtin, declared, ReasonMalformed, 0},

		{"space in a serial", d2 + "01" + gtin + "217X 4", Options{}, ReasonCharset, 23},
		{"line end", d2 + body + "\r", Options{}, ReasonCharset, 3 + len(body)},
		{"second scan in one message", d2 + body + d2 + body, Options{}, ReasonCharset, 3 + len(body)},
		{"accent in a batch", d2 + "01" + gtin + "10é", Options{}, ReasonCharset, 21},
		{"letter in the code", d2 + "010340093000000X", Options{}, ReasonCharset, 18},
		{"letter in the expiry", d2 + "1728110O", Options{}, ReasonCharset, 10},
		{"letter in a numeric value", d2 + "30A", Options{}, ReasonCharset, 5},
		{"small letter in an IFA serial", strings.Replace(envelope, "SAZ09", "SAz09", 1), Options{}, ReasonCharset, 40},
		{"dash in an IFA serial", strings.Replace(envelope, "SAZ09", "SA-09", 1), Options{}, ReasonCharset, 40},
		{"escape not declared", "]d201" + gtin + `217X\x1D17281100`, declared, ReasonCharset, 23},
		{"offset is that of the escaped text", "]d2{GS}01" + gtin + "217X{GS}10 ", escaped, ReasonCharset, 33},

		{"empty serial", d2 + "01" + gtin + "21" + gs + "17281100", Options{}, ReasonLength, 21},
		{"empty batch at the end", d2 + "01" + gtin + "10", Options{}, ReasonLength, 21},
		{"short code", d2 + "01034009300000", Options{}, ReasonLength, 5},
		{"separator in the code", d2 + "01034009300000" + gs + "21", Options{}, ReasonLength, 5},
		{"short expiry", d2 + "172811", Options{}, ReasonLength, 5},
		{"bracketed CIP13", "(01)3400930000007(21)A", files, ReasonLength, 4},
		{"bracketed over-long serial", "(21)" + strings.Repeat("A", 21), files, ReasonLength, 4},
		{"PPN too short", strings.Replace(envelope, "7842", "78", 1), Options{}, ReasonLength, 9},
		{"IFA over-long serial", strings.Replace(envelope, "SAZ09", "S"+strings.Repeat("A", 21), 1), Options{}, ReasonLength, 39 + 20},
		{"text", d2 + strings.Repeat("A", maxText), Options{}, ReasonLength, maxText},

		{"month 13", d2 + "17281300", Options{}, ReasonExpiry, 5},
		{"month 00", d2 + "17280000", Options{}, ReasonExpiry, 5},
		{"31 April", d2 + "17280431", Options{}, ReasonExpiry, 5},
		{"29 February 2027", d2 + "17270229", Options{}, ReasonExpiry, 5},
		{"IFA month 13", strings.Replace(envelope, "D281100", "D281300", 1), Options{}, ReasonExpiry, 31},

		{"no batch", d2 + "01" + gtin + "217X" + gs + "17281100", Options{}, ReasonMissingField, 32},
		{"no expiry", d2 + "01" + gtin + "217X" + gs + "10L", Options{}, ReasonMissingField, 27},
		{"nothing but a count", d2 + "305", Options{}, ReasonMissingField, 6},
		{"IFA without code", "[)>\x1e06\x1dSAZ09\x1e\x04", Options{}, ReasonMissingField, 12},
		{"no serial", d2 + "01" + gtin + "17281100" + "10LOT42", Options{}, ReasonNotSerialised, 34},
		{"no serial, batch with a 21 in it", d2 + "01" + gtin + "17281100" + "10A2134", Options{}, ReasonNotSerialised, 34},
		{"IFA without serial", strings.Replace(envelope, "\x1dSAZ09", "", 1), Options{}, ReasonNotSerialised, 37},

		{"no code", d2 + "217X" + gs + "17281100" + "10L", Options{}, ReasonCombination, 19},
		{"code with count of contents", d2 + body + gs + "3710", Options{}, ReasonCombination, 3 + len(body) + 5},
		{"code with coupon", d2 + body + gs + "2551234567890123", Options{}, ReasonCombination, 3 + len(body) + 17},
		{"serial with third-party serial", d2 + body + gs + "235A", Options{}, ReasonCombination, 3 + len(body) + 5},

		{"serial ends in the EAN", d2 + "01" + gtin + "217X43400930000007" + gs + "17281100" + "10L", Options{}, ReasonGlued, 21},
		{"batch ends in the GTIN", d2 + "01" + gtin + "217X4" + gs + "17281100" + "10L" + gtin, Options{}, ReasonGlued, 35},
		{"IFA serial ends in the PPN", strings.Replace(envelope, "SAZ09", "SA111234567842", 1), Options{}, ReasonGlued, 39},
	}
	seen := map[Reason]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			seen[tt.reason] = true
			r, err := Parse(tt.text, tt.opt)
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("accepted as %+v", r)
			}
			if e.Reason != tt.reason || e.Offset != tt.offset {
				t.Errorf("got %v at %d, want %v at %d", e.Reason, e.Offset, tt.reason, tt.offset)
			}
			if r != (Result{}) {
				t.Errorf("a refused text gave %+v", r)
			}
		})
	}
	for _, r := range Reasons() {
		if !seen[r] {
			t.Errorf("no row has reason %v", r)
		}
	}
}

func TestLayoutRefusalNamesTheKeyboardFamily(t *testing.T) {
	for text, want := range map[string]string{
		"$d2" + body:           "azerty",
		"£D2" + body:           "azerty with caps lock",
		"+d2" + body:           "german|italian|spanish",
		")dě" + body:           "czech",
		"]δ2" + body:           "greek",
		"à&à\"'ààçàààààè":      "azerty",
		"é+éš":                 "czech",
		"~d2" + body:           "",
		"\u00e9\u4e16" + body:  "",
		"ü=:éà":                "german",
		"01" + gtin + "217X10": "",
	} {
		_, err := Parse(text, Options{})
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Errorf("%q: accepted", text)
			continue
		}
		if e.Reason != ReasonLayout || e.Layout != want {
			t.Errorf("%q: %v, layout %q, want layout %q", text, e.Reason, e.Layout, want)
		}
	}
}

func TestReasonWordsAreStableAndDistinct(t *testing.T) {
	want := "layout case gs_missing check_digit not_a_pack conflict malformed charset length expiry missing_field not_serialised combination glued"
	var words []string
	for _, r := range Reasons() {
		words = append(words, r.String())
	}
	if got := strings.Join(words, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if ReasonOK.String() != "" || reasonCount.String() != "reason(15)" {
		t.Errorf("ends: %q, %q", ReasonOK, reasonCount)
	}
}

func TestErrorNeverShowsTheScan(t *testing.T) {
	_, err := Parse("$d2SECRET", Options{})
	if got, want := err.Error(), "data carrier refused: layout at byte 0 (keyboard: azerty)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// withCheck appends the check digit to the first 13 digits of a GTIN.
func withCheck(digits string) string {
	for d := '0'; d <= '9'; d++ {
		if code := digits + string(d); CheckDigitOK(code) {
			return code
		}
	}
	panic("no check digit fits " + digits)
}

func TestSuccessDoesNotAllocate(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		opt  Options
	}{
		"]d2, machine's clock": {"]d2" + body, Options{}},
		"declared":             {body, declared},
		"escapes, none there":  {body, escaped},
		"national number":      {"]d2" + body + gs + "7113400930000007", Options{}},
		"bracketed":            {"(01)" + gtin + "(21)7X4F8L2(17)281100(10)LOT42", files},
		"format 05":            {"]d1[)>\x1e05\x1d" + body + "\x1e\x04", Options{}},
		"format 06":            {envelope, Options{}},
	} {
		n := testing.AllocsPerRun(100, func() {
			if _, err := Parse(tt.text, tt.opt); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
