package gs1

import (
	"testing"
	"time"
)

func TestCheckHoldsSplitFieldsToTheSameRules(t *testing.T) {
	with := func(change func(*UI)) UI { u := ui; change(&u); return u }
	withPPN := func(change func(*UI)) UI { u := ppn; change(&u); return u }
	tests := []struct {
		name   string
		in     UI
		reason Reason
		field  string
	}{
		{"a pack", ui, ReasonOK, ""},
		{"a PPN pack", ppn, ReasonOK, ""},
		{"nothing", UI{}, ReasonMalformed, "scheme"},
		{"scheme", with(func(u *UI) { u.Scheme = 3 }), ReasonMalformed, "scheme"},
		{"no code", with(func(u *UI) { u.Code = "" }), ReasonMissingField, "code"},
		{"CIP13 is not padded", with(func(u *UI) { u.Code = gtin[1:] }), ReasonLength, "code"},
		{"code with a letter", with(func(u *UI) { u.Code = "0340093000000O" }), ReasonCharset, "code"},
		{"check digit", with(func(u *UI) { u.Code = "03400930000008" }), ReasonCheckDigit, "code"},
		{"case", with(func(u *UI) { u.Code = "13400930000004" }), ReasonNotAPack, "code"},
		{"UCD", with(func(u *UI) { u.Code = withCheck("0340089000000") }), ReasonNotAPack, "code"},
		{"ACL", with(func(u *UI) { u.Code = withCheck("0340109000000") }), ReasonNotAPack, "code"},
		{"GTIN as PPN", with(func(u *UI) { u.Scheme = PPN }), ReasonLength, "code"},
		{"PPN as GTIN", withPPN(func(u *UI) { u.Scheme = GTIN }), ReasonLength, "code"},
		{"PPN check digits", withPPN(func(u *UI) { u.Code = "111234567843" }), ReasonCheckDigit, "code"},
		{"PPN of another agency", withPPN(func(u *UI) { u.Code = "121234567842" }), ReasonNotAPack, "code"},
		{"PPN with a letter", withPPN(func(u *UI) { u.Code = "11123456784A" }), ReasonCharset, "code"},
		{"no serial", with(func(u *UI) { u.Serial = "" }), ReasonNotSerialised, "serial"},
		{"over-long serial", with(func(u *UI) { u.Serial = "123456789012345678901" }), ReasonLength, "serial"},
		{"serial with GS", with(func(u *UI) { u.Serial = "A\x1d17" }), ReasonCharset, "serial"},
		{"serial ends in the EAN", with(func(u *UI) { u.Serial = "A" + gtin[1:] }), ReasonGlued, "serial"},
		{"PPN serial in small letters", withPPN(func(u *UI) { u.Serial = "abc" }), ReasonCharset, "serial"},
		{"no batch", with(func(u *UI) { u.Batch = "" }), ReasonMissingField, "batch"},
		{"batch with a space", with(func(u *UI) { u.Batch = "LOT 42" }), ReasonCharset, "batch"},
		{"batch ends in the GTIN", with(func(u *UI) { u.Batch = "A" + gtin }), ReasonGlued, "batch"},
		{"PPN batch with a dot", withPPN(func(u *UI) { u.Batch = "A.1" }), ReasonCharset, "batch"},
		{"no expiry", with(func(u *UI) { u.Expiry = "" }), ReasonMissingField, "expiry"},
		{"expiry with century", with(func(u *UI) { u.Expiry = "20281100" }), ReasonLength, "expiry"},
		{"expiry with dashes", with(func(u *UI) { u.Expiry = "28-11-" }), ReasonCharset, "expiry"},
		{"expiry in month 13", with(func(u *UI) { u.Expiry = "281300" }), ReasonExpiry, "expiry"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if reason, field := Check(tt.in); reason != tt.reason || field != tt.field {
				t.Errorf("got %v in %q, want %v in %q", reason, field, tt.reason, tt.field)
			}
		})
	}
}

func TestCheckManualAllowsNeitherBatchNorExpiryButNotOneAlone(t *testing.T) {
	u := ui
	u.Batch, u.Expiry = "", ""
	if reason, field := CheckManual(u); reason != ReasonOK {
		t.Errorf("without both: %v in %s", reason, field)
	}
	u.Serial = ""
	if reason, field := CheckManual(u); reason != ReasonNotSerialised || field != "serial" {
		t.Errorf("without serial: %v in %s", reason, field)
	}
	u = ui
	u.Batch = ""
	if reason, field := CheckManual(u); reason != ReasonMissingField || field != "batch" {
		t.Errorf("without batch: %v in %s", reason, field)
	}
	if reason, field := CheckManual(ui); reason != ReasonOK {
		t.Errorf("with all: %v in %s", reason, field)
	}
}

func TestCheckDigits(t *testing.T) {
	for code, want := range map[string]bool{
		gtin: true, "09521234000013": true, "03400921604696": true, "03400921604697": false, "3400930000007": false,
		"0340093000000a": false, "": false,
	} {
		if got := CheckDigitOK(code); got != want {
			t.Errorf("CheckDigitOK(%q) = %v", code, got)
		}
		if got := ValidGTIN(code); got != want {
			t.Errorf("ValidGTIN(%q) = %v", code, got)
		}
	}
	if !CheckDigitOK("13400930000004") || ValidGTIN("13400930000004") {
		t.Error("a case has a right check digit and is no pack")
	}
	if !ValidPPN("111234567842") || ValidPPN("111234567843") {
		t.Error("PPN of the domain guide")
	}
}

func TestAlphabetIsCSET82(t *testing.T) {
	const cset82 = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
	legal := map[byte]bool{}
	for i := range len(cset82) {
		legal[cset82[i]] = true
	}
	if len(legal) != 82 {
		t.Fatalf("the test's alphabet has %d characters", len(legal))
	}
	for c := range 256 {
		if got := ValidText(string([]byte{byte(c)})); got != legal[byte(c)] {
			t.Errorf("ValidText(%q) = %v", []byte{byte(c)}, got)
		}
	}
	if ValidText("") || !ValidText(cset82[:20]) || ValidText(cset82[:21]) {
		t.Error("1 to 20 characters")
	}
}

func TestLastDayIsTheMidnightAfterThePrintedDayOrMonth(t *testing.T) {
	day := func(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }
	tests := []struct {
		expiry string
		now    time.Time
		want   time.Time // zero: not a date
	}{
		{"281100", now2026, day(2028, 12, 1)},
		{"281200", now2026, day(2029, 1, 1)},
		{"281130", now2026, day(2028, 12, 1)},
		{"281115", now2026, day(2028, 11, 16)},
		{"280229", now2026, day(2028, 3, 1)},
		{"270229", now2026, time.Time{}},
		{"000229", now2026, day(2000, 3, 1)},
		{"000229", day(2051, 1, 1), time.Time{}}, // 2100 is no leap year
		{"000228", day(2051, 1, 1), day(2100, 3, 1)},
		{"760101", now2026, day(2076, 1, 2)}, // 50 ahead
		{"770101", now2026, day(1977, 1, 2)}, // 51 ahead
		{"010101", day(2051, 1, 1), day(2101, 1, 2)},
		{"020101", day(2051, 1, 1), day(2002, 1, 2)}, // 49 behind
		{"990101", day(2101, 1, 1), day(2099, 1, 2)},
		{"281300", now2026, time.Time{}},
		{"2811", now2026, time.Time{}},
		{"", now2026, time.Time{}},
	}
	for _, tt := range tests {
		got, ok := LastDay(tt.expiry, tt.now)
		if !got.Equal(tt.want) || ok == tt.want.IsZero() {
			t.Errorf("LastDay(%q, %d) = %v, %v, want %v", tt.expiry, tt.now.Year(), got, ok, tt.want)
		}
	}
	// The day is UTC's also when the clock's zone is another.
	if got, _ := LastDay("281100", now2026.In(time.FixedZone("", 14*3600))); !got.Equal(day(2028, 12, 1)) {
		t.Errorf("another zone: %v", got)
	}
}

func TestValidExpiryKnowsEveryDayOfTheCalendar(t *testing.T) {
	for d := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() < 2032; d = d.AddDate(0, 0, 1) {
		if s := d.Format("060102"); !ValidExpiry(s) {
			t.Errorf("%s is a day", s)
		}
		if next := d.AddDate(0, 0, 1); next.Month() != d.Month() {
			if s := d.Format("0601") + string([]byte{'0' + byte((d.Day()+1)/10), '0' + byte((d.Day()+1)%10)}); ValidExpiry(s) {
				t.Errorf("%s is no day", s)
			}
			if !ValidExpiry(d.Format("0601") + "00") {
				t.Errorf("day 00 of %s", d.Format("2006-01"))
			}
		}
	}
}

func TestSchemeWords(t *testing.T) {
	for _, s := range []Scheme{GTIN, PPN} {
		if got, ok := ParseScheme(s.String()); !ok || got != s {
			t.Errorf("%v: %v, %v", s, got, ok)
		}
	}
	if _, ok := ParseScheme("gtin"); ok || Scheme(0).String() != "" {
		t.Error("only the exact words")
	}
}
