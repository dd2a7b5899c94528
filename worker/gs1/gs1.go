package gs1

import (
	"strings"
	"time"
)

// Scheme is the kind of a product code, as NMVS names it.
type Scheme uint8

const (
	// GTIN is a GS1 product code of 14 digits.
	GTIN Scheme = iota + 1
	// PPN is the IFA's product code; the German one is 11, the 8-digit PZN and two check digits.
	PPN
)

// String gives "GTIN" or "PPN", and "" for anything else.
func (s Scheme) String() string {
	switch s {
	case GTIN:
		return "GTIN"
	case PPN:
		return "PPN"
	}
	return ""
}

// ParseScheme reads the word of String; ok is false for any other text, other case too.
func ParseScheme(text string) (s Scheme, ok bool) {
	switch text {
	case "GTIN":
		return GTIN, true
	case "PPN":
		return PPN, true
	}
	return 0, false
}

// UI is a pack's unique identifier, byte for byte as printed. Scheme, Code and Serial name the pack; Batch and Expiry
// (YYMMDD, day 00 = the whole month) are evidence that goes with it. The strings are parts of the parsed text.
type UI struct {
	Scheme Scheme
	Code   string
	Serial string
	Batch  string
	Expiry string
}

// Options says what the source of a text is trusted with. The zero value takes only what proves itself.
type Options struct {
	// Declared takes an element string without symbology identifier as GS1 Data Matrix, because the device's profile or
	// the import says so. See the package comment for what this gives up.
	Declared bool
	// Bracketed takes the "(01)..." form. For file imports only.
	Bracketed bool
	// DigitalLink takes GS1 Digital Link URIs. For file imports only.
	DigitalLink bool
	// Escapes converts written control characters: \x1D, {GS}, <GS> and ^ (and the same for RS and EOT). Only for sources
	// that declare the style: in another source these are legal characters of a serial.
	Escapes bool
	// Written narrows Escapes to one of these ways of writing a separator; empty means all of them.
	Written string
	// Keyboard is the host layout that the device was calibrated to.
	Keyboard Keyboard
	// Now is the day for the century rule of two-digit years; zero means the machine's clock.
	Now time.Time
}

// Result is what a text was read as.
type Result struct {
	UI UI
	// Repaired says that the text arrived mangled and the UI was proved from it. Keep the raw text.
	Repaired bool
	// NHRN is the national reimbursement number (AI 710 to 717, the first one) or empty.
	NHRN string
}

const (
	separator = 0x1d // GS: ends a field of variable length, how scanners send FNC1
	recordSep = 0x1e // RS of ISO 15434
	endOfText = 0x04 // EOT of ISO 15434

	// maxText is far above a Data Matrix's 2,335 characters, also when every separator is written out.
	maxText = 8 << 10
	// maxField is the longest serial and batch (X..20).
	maxField = 20
)

// Parse reads one scan. The error is always an *Error with reason and offset. A success allocates nothing unless
// separators were escaped, the text was repaired or a URI had percent signs.
func Parse(text string, opt Options) (Result, error) {
	r, reason, off := parse(text, &opt)
	if reason == ReasonOK {
		return r, nil
	}
	e := &Error{Reason: reason, Offset: off}
	if reason == ReasonLayout {
		e.Layout = family(text)
	}
	return Result{}, e
}

func parse(text string, opt *Options) (Result, Reason, int) {
	if len(text) == 0 {
		return Result{}, ReasonMalformed, 0
	}
	if len(text) > maxText {
		return Result{}, ReasonLength, maxText
	}
	if opt.Escapes {
		if plain, changed := unescape(text, opt.Written); changed {
			r, reason, off := parseForm(plain, opt)
			return r, reason, escapedOffset(text, opt.Written, off)
		}
	}
	return parseForm(text, opt)
}

// parseForm tells the forms apart by their first bytes; no form is tried after another one failed.
func parseForm(text string, opt *Options) (Result, Reason, int) {
	if opt.Keyboard != KeyboardNone {
		return parseCalibrated(text, opt)
	}
	if strings.HasPrefix(text, "]d2") {
		return parseElements(text, 3, len(text), opt.Now)
	}
	switch first := text[0]; {
	case first == ']':
		return parseOtherID(text, opt)
	case first == '[':
		return parseEnvelope(text, 0, opt)
	case first == '$':
		return parseAzerty(text, opt)
	case first == '(' && opt.Bracketed:
		return parseBracketed(text, opt)
	case first-'0' <= 9 || first == separator:
		return parseBare(text, opt)
	case opt.DigitalLink && isLink(text):
		return parseLink(text, opt)
	}
	if looksMangled(text) {
		return Result{}, ReasonLayout, 0
	}
	return Result{}, ReasonMalformed, 0
}

// parseOtherID handles a text whose symbology identifier is not "]d2".
func parseOtherID(text string, opt *Options) (Result, Reason, int) {
	if len(text) < 3 {
		return Result{}, ReasonMalformed, 0
	}
	kind, modifier := text[1], text[2]
	switch {
	case kind == 'D' && modifier-'0' <= 9:
		return Result{}, ReasonCase, 1
	case kind == 'd' && modifier == '1' && strings.HasPrefix(text[3:], "[)>"):
		return parseEnvelope(text, 3, opt)
	case classes[kind]&classAlnum == 0 || classes[modifier]&classAlnum == 0:
		return Result{}, ReasonLayout, 0
	}
	// Plain Data Matrix, GS1-128, DataBar, QR, EAN: none of them may carry a pack's identifier.
	return Result{}, ReasonNotAPack, 0
}

// parseBare handles text that starts with a digit or FNC1, without symbology identifier.
func parseBare(text string, opt *Options) (Result, Reason, int) {
	if reason := bareCode(text); reason != ReasonOK {
		return Result{}, reason, 0
	}
	if !opt.Declared {
		return Result{}, ReasonLayout, 0
	}
	return parseElements(text, 0, len(text), opt.Now)
}

// bareCode recognises a linear product code: only digits, as long as an EAN-8, UPC, EAN-13 or ITF-14, and its check digit
// right. A serialised element string is never that short.
func bareCode(text string) Reason {
	switch len(text) {
	case 8, 12, 13, 14:
	default:
		return ReasonOK
	}
	for i := range len(text) {
		if text[i]-'0' > 9 {
			return ReasonOK
		}
	}
	if mod10(text) {
		return ReasonNotAPack
	}
	if len(text) == 13 {
		return ReasonCheckDigit
	}
	return ReasonOK
}
