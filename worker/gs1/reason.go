package gs1

import "strconv"

// Reason says why a text is no trustworthy unique identifier. The set is closed and the words of String are stable: they
// are the outcome's reason (contract, section 5), a metric label, a log key and the tests' word.
type Reason uint8

const (
	// ReasonOK is the zero value: nothing is wrong.
	ReasonOK Reason = iota
	// ReasonLayout: mangled by a keyboard layout and not provably repaired, or no symbology identifier to prove the
	// layout right where one is needed.
	ReasonLayout
	// ReasonCase: the symbology identifier arrived as "]D2", so the case of everything is inverted (Caps Lock).
	ReasonCase
	// ReasonGSMissing: a separator is missing: a variable field is over-long, or the element that is not there stands
	// inside another one. It is never split where it would fit: two splits often validate.
	ReasonGSMissing
	// ReasonCheckDigit: the product code's check digit (mod 10, or mod 97 for a PPN) is wrong.
	ReasonCheckDigit
	// ReasonNotAPack: a well-made code of something else: a case (indicator digit 1 to 9), a dose unit (UCD, 34008), a
	// French health product (ACL, 3401), a logistic unit (SSCC), an EAN, another symbology.
	ReasonNotAPack
	// ReasonConflict: one application identifier twice with two values.
	ReasonConflict
	// ReasonMalformed: the text has not the form of a data carrier (empty, unknown identifier, two separators in a row).
	ReasonMalformed
	// ReasonCharset: a character outside the field's alphabet.
	ReasonCharset
	// ReasonLength: a field, or the text, is empty, too short or too long.
	ReasonLength
	// ReasonExpiry: an expiry date that no calendar has.
	ReasonExpiry
	// ReasonMissingField: product code, batch or expiry is absent.
	ReasonMissingField
	// ReasonNotSerialised: a product code without a serial: a pack outside the directive's scope, or an old one.
	ReasonNotSerialised
	// ReasonCombination: identifiers that may not stand together (01 with 37 or 255, 21 with 235), or that need another
	// one (10, 17, 21 without 01).
	ReasonCombination
	// ReasonGlued: batch or serial ends in the pack's own product code: the device sent two codes as one, or adds a suffix.
	ReasonGlued

	reasonCount
)

var reasonWords = [reasonCount]string{
	ReasonOK:            "",
	ReasonLayout:        "layout",
	ReasonCase:          "case",
	ReasonGSMissing:     "gs_missing",
	ReasonCheckDigit:    "check_digit",
	ReasonNotAPack:      "not_a_pack",
	ReasonConflict:      "conflict",
	ReasonMalformed:     "malformed",
	ReasonCharset:       "charset",
	ReasonLength:        "length",
	ReasonExpiry:        "expiry",
	ReasonMissingField:  "missing_field",
	ReasonNotSerialised: "not_serialised",
	ReasonCombination:   "combination",
	ReasonGlued:         "glued",
}

// String gives the stable word; empty for ReasonOK.
func (r Reason) String() string {
	if r < reasonCount {
		return reasonWords[r]
	}
	return "reason(" + strconv.Itoa(int(r)) + ")"
}

// Reasons gives every reason there is but ReasonOK, for whoever lists, explains or counts them.
func Reasons() []Reason {
	all := make([]Reason, 0, reasonCount-1)
	for r := ReasonOK + 1; r < reasonCount; r++ {
		all = append(all, r)
	}
	return all
}

// Error is the only error of this package. It never holds text of the scan: serials do not belong in logs.
type Error struct {
	// Reason is never ReasonOK.
	Reason Reason
	// Offset is the byte in the input, as it was given, where the fault shows: the first wrong byte, or the start of the
	// value for a fault of the whole value, or the input's length for something absent.
	Offset int
	// Layout names the keyboard family that the prefix gives away ("azerty", "german|italian|spanish", ...), so that the
	// repair is one setting at the device. Empty when it cannot be told or the reason is another one.
	Layout string
}

// Error gives reason, offset and keyboard family.
func (e *Error) Error() string {
	msg := "data carrier refused: " + e.Reason.String() + " at byte " + strconv.Itoa(e.Offset)
	if e.Layout != "" {
		msg += " (keyboard: " + e.Layout + ")"
	}
	return msg
}
