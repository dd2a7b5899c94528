package gs1

import (
	"strings"
	"time"
)

// The alphabets, one bit each.
const (
	classText  = 1 << iota // CSET 82: serials and batches of GS1 codes
	classDigit             // 0-9
	classAlnum             // A-Z a-z 0-9
	classUpper             // A-Z 0-9: serials of IFA codes
	classDash              // - _: batches of IFA codes, beside classUpper
)

var classes = buildClasses()

func buildClasses() (t [256]uint8) {
	for c := byte('0'); c <= '9'; c++ {
		t[c] |= classText | classDigit | classAlnum | classUpper
	}
	for c := byte('A'); c <= 'Z'; c++ {
		t[c] |= classText | classAlnum | classUpper
		t[c+'a'-'A'] |= classText | classAlnum
	}
	for _, c := range []byte("!\"%&'()*+,-./:;<=>?_") {
		t[c] |= classText
	}
	t['-'] |= classDash
	t['_'] |= classDash
	return t
}

// firstOutside gives the index of the first byte of s that is in none of the alphabets of mask, or len(s).
func firstOutside(s string, mask uint8) int {
	for i := range len(s) {
		if classes[s[i]]&mask == 0 {
			return i
		}
	}
	return len(s)
}

// ValidText reports whether s may be a serial or batch of a GS1 code: 1 to 20 characters of CSET 82.
func ValidText(s string) bool {
	return len(s) >= 1 && len(s) <= maxField && firstOutside(s, classText) == len(s)
}

// CheckDigitOK reports whether gtin14 is 14 digits with the right check digit (mod 10, weights 3 and 1).
func CheckDigitOK(gtin14 string) bool {
	return len(gtin14) == 14 && firstOutside(gtin14, classDigit) == 14 && mod10(gtin14)
}

// ValidGTIN reports whether code is the GTIN of a pack: 14 digits, the check digit right, and neither a case nor one of
// the French codes that are no packs.
func ValidGTIN(code string) bool {
	return checkGTIN(code) == ReasonOK
}

// ValidPPN reports whether code is a German PPN: 11, eight digits, two check digits (mod 97).
func ValidPPN(code string) bool {
	return checkPPN(code) == ReasonOK
}

// mod10 checks the last of some digits against the others. The caller knows that they are digits.
func mod10(digits string) bool {
	sum, weight := 0, 1
	for i := len(digits) - 1; i >= 0; i-- {
		sum += weight * int(digits[i]-'0')
		weight ^= 2 // 1, 3, 1, ...
	}
	return sum%10 == 0
}

func checkGTIN(code string) Reason {
	if len(code) != 14 {
		return ReasonLength
	}
	threes, ones := 0, 0
	for i := 0; i < 14; i += 2 {
		a, b := code[i]-'0', code[i+1]-'0'
		if a > 9 || b > 9 {
			return ReasonCharset
		}
		threes += int(a)
		ones += int(b)
	}
	if (3*threes+ones)%10 != 0 {
		return ReasonCheckDigit
	}
	if notAPack(code) {
		return ReasonNotAPack
	}
	return ReasonOK
}

// notAPack knows the GTINs that are right but never the code of a pack: indicator 1 to 8 is a case, 9 a variable measure;
// 34008 is a French dose unit (UCD), 3401 another French health product (ACL).
func notAPack(code string) bool {
	return code[0] != '0' || strings.HasPrefix(code, "034008") || strings.HasPrefix(code, "03401")
}

func checkPPN(code string) Reason {
	if len(code) != 12 {
		return ReasonLength
	}
	if firstOutside(code, classDigit) != 12 {
		return ReasonCharset
	}
	if code[0] != '1' || code[1] != '1' {
		return ReasonNotAPack // another registration agency than the German one: NMVS takes no such code
	}
	sum := 0
	for i := range 10 {
		sum += (i + 2) * int(code[i])
	}
	if sum%97 != int(code[10]-'0')*10+int(code[11]-'0') {
		return ReasonCheckDigit
	}
	return ReasonOK
}

// Check holds the fields of an already split identifier (the event's pack object) to the rules of Parse. It gives
// ReasonOK and "", or the reason and the name of the first bad field: scheme, code, serial, batch or expiry. Nothing is
// padded: a CIP13 is no GTIN of 14 digits.
func Check(u UI) (Reason, string) {
	return check(u, time.Time{})
}

// CheckManual is Check for an identifier that a person typed (G122, G182): batch and expiry may both be empty.
func CheckManual(u UI) (Reason, string) {
	if u.Batch == "" && u.Expiry == "" {
		return checkCodeSerial(u)
	}
	return Check(u)
}

func check(u UI, now time.Time) (Reason, string) {
	if r, field := checkCodeSerial(u); r != ReasonOK {
		return r, field
	}
	if r := checkText(u.Batch, batchMask(u.Scheme)); r != ReasonOK {
		return r, "batch"
	}
	if glued(u.Code, u.Batch) {
		return ReasonGlued, "batch"
	}
	if u.Expiry == "" {
		return ReasonMissingField, "expiry"
	}
	if r := checkExpiry(u.Expiry, now); r != ReasonOK {
		return r, "expiry"
	}
	return ReasonOK, ""
}

func checkCodeSerial(u UI) (Reason, string) {
	var r Reason
	switch {
	case u.Scheme != GTIN && u.Scheme != PPN:
		return ReasonMalformed, "scheme"
	case u.Code == "":
		return ReasonMissingField, "code"
	case u.Scheme == GTIN:
		r = checkGTIN(u.Code)
	default:
		r = checkPPN(u.Code)
	}
	if r != ReasonOK {
		return r, "code"
	}
	if u.Serial == "" {
		return ReasonNotSerialised, "serial"
	}
	if r = checkText(u.Serial, serialMask(u.Scheme)); r != ReasonOK {
		return r, "serial"
	}
	if glued(u.Code, u.Serial) {
		return ReasonGlued, "serial"
	}
	return ReasonOK, ""
}

func serialMask(s Scheme) uint8 {
	if s == PPN {
		return classUpper
	}
	return classText
}

func batchMask(s Scheme) uint8 {
	if s == PPN {
		return classUpper | classDash
	}
	return classText
}

func checkText(s string, mask uint8) Reason {
	switch {
	case s == "":
		return ReasonMissingField
	case len(s) > maxField:
		return ReasonLength
	case firstOutside(s, mask) != len(s):
		return ReasonCharset
	}
	return ReasonOK
}

// glued reports whether value ends in the pack's own product code (for a GTIN also as EAN-13): no manufacturer prints
// that, a device that sends two codes in one message does.
func glued(code, value string) bool {
	if len(value) < 12 {
		return false
	}
	if strings.HasSuffix(value, code) {
		return true
	}
	return len(code) == 14 && strings.HasSuffix(value, code[1:])
}
