package gs1

import (
	"strings"
	"time"
)

// maxOthers is how many identifiers beside 01, 10, 17 and 21 one code may have. Packs have one or two; a bound keeps the
// reader free of allocations.
const maxOthers = 12

// span is a value's place in the text; end 0 means absent.
type span struct{ start, end uint16 }

// reader collects the elements of one code. It lives on the caller's stack.
type reader struct {
	text                        string
	now                         time.Time
	code, serial, batch, expiry span
	others                      [maxOthers]other
	nOthers                     int
	has37, has255, has235       bool
}

type other struct {
	ai    uint16
	value span
}

func (r *reader) cut(s span) string { return r.text[s.start:s.end] }

// parseElements reads the GS1 element string text[start:end].
func parseElements(text string, start, end int, now time.Time) (Result, Reason, int) {
	r := reader{text: text[:end], now: now}
	if reason, off := r.elements(start); reason != ReasonOK {
		return Result{}, reason, off
	}
	return r.finish()
}

// elements reads identifier and value, one after the other, until the end of the text.
func (r *reader) elements(i int) (Reason, int) {
	s := r.text
	if i < len(s) && s[i] == separator {
		i++ // a leading FNC1 may be transmitted as GS
	}
	for i < len(s) {
		if i+1 >= len(s) {
			return ReasonMalformed, i
		}
		d0, d1 := s[i]-'0', s[i+1]-'0'
		if d0 > 9 || d1 > 9 {
			return ReasonMalformed, i // no identifier here, or a second separator
		}
		var reason Reason
		var off, next int
		switch d0*10 + d1 {
		case 1:
			reason, off, next = r.readCode(i + 2)
		case 17:
			reason, off, next = r.readExpiry(i + 2)
		case 21:
			reason, off, next = r.readText(i+2, &r.serial)
		case 10:
			reason, off, next = r.readText(i+2, &r.batch)
		default:
			reason, off, next = r.readOther(i)
		}
		if reason != ReasonOK {
			return reason, off
		}
		i = next
		if i < len(s) && s[i] == separator {
			i++
		}
	}
	return ReasonOK, 0
}

// place stores a value, or compares it with the one that the same identifier had before.
func (r *reader) place(at *span, start, end int) Reason {
	value := span{uint16(start), uint16(end)}
	if at.end != 0 && r.cut(*at) != r.cut(value) {
		return ReasonConflict
	}
	*at = value
	return ReasonOK
}

func (r *reader) readCode(i int) (reason Reason, off, next int) {
	end := i + 14
	if reason, off = r.fixed(i, 14); reason != ReasonOK {
		return reason, off, 0
	}
	if reason = checkGTIN(r.text[i:end]); reason != ReasonOK {
		return reason, i, 0
	}
	return r.place(&r.code, i, end), i, end
}

func (r *reader) readExpiry(i int) (reason Reason, off, next int) {
	end := i + 6
	if reason, off = r.fixed(i, 6); reason != ReasonOK {
		return reason, off, 0
	}
	if reason = checkExpiry(r.text[i:end], r.now); reason != ReasonOK {
		return reason, i, 0
	}
	return r.place(&r.expiry, i, end), i, end
}

// fixed wants n digits at i. Whether the digits make sense is the caller's question.
func (r *reader) fixed(i, n int) (Reason, int) {
	s := r.text
	for k := i; k < i+n; k++ {
		if k >= len(s) || s[k] == separator {
			return ReasonLength, i
		}
		if s[k]-'0' > 9 {
			return ReasonCharset, k
		}
	}
	return ReasonOK, 0
}

// readText reads a serial or batch: it ends at the separator or the end, nowhere else.
func (r *reader) readText(i int, at *span) (reason Reason, off, next int) {
	s, end := r.text, i
	for end < len(s) && classes[s[end]]&classText != 0 {
		end++
	}
	switch {
	case end < len(s) && s[end] != separator:
		return ReasonCharset, end, 0
	case end == i:
		return ReasonLength, i, 0
	case end-i > maxField:
		return ReasonGSMissing, i + maxField, 0
	}
	return r.place(at, i, end), i, end
}

// readOther reads past an identifier that makes no pack, and refuses those that prove another thing.
func (r *reader) readOther(i int) (reason Reason, off, next int) {
	ai, spec, ok := lookupAI(r.text[i:])
	if !ok {
		return ReasonMalformed, i, 0
	}
	if spec.digits == 2 && (ai == 0 || ai == 2 || ai == 3) {
		return ReasonNotAPack, i, 0 // SSCC, and the contents of a case
	}
	start := i + int(spec.digits)
	end := start
	limit := len(r.text)
	if total := int(predefined[leading(spec.lo, spec.digits)]); total != 0 && i+total < limit {
		limit = i + total
	}
	mask := uint8(classText)
	if spec.numeric {
		mask = classDigit
	}
	for end < limit && classes[r.text[end]]&mask != 0 {
		end++
	}
	switch length := end - start; {
	case end < limit && r.text[end] != separator:
		return ReasonCharset, end, 0
	case length < int(spec.min):
		return ReasonLength, start, 0
	case length > int(spec.max):
		return ReasonGSMissing, start + int(spec.max), 0
	}
	return r.keep(ai, start, end), start, end
}

// keep notes an identifier of the list, for repeats, combinations and the national number.
func (r *reader) keep(ai uint16, start, end int) Reason {
	switch ai {
	case 37:
		r.has37 = true
	case 255:
		r.has255 = true
	case 235:
		r.has235 = true
	}
	for k := range r.nOthers {
		if r.others[k].ai == ai {
			return r.place(&r.others[k].value, start, end)
		}
	}
	if r.nOthers == maxOthers {
		return ReasonMalformed
	}
	r.others[r.nOthers] = other{ai, span{uint16(start), uint16(end)}}
	r.nOthers++
	return ReasonOK
}

// nhrn gives the first national number.
func (r *reader) nhrn() string {
	for k := range r.nOthers {
		if ai := r.others[k].ai; ai >= 710 && ai <= 717 {
			return r.cut(r.others[k].value)
		}
	}
	return ""
}

// finish asks whether the elements together are one pack.
func (r *reader) finish() (Result, Reason, int) {
	if r.code.end == 0 || r.serial.end == 0 || r.batch.end == 0 || r.expiry.end == 0 {
		reason, off := r.incomplete()
		return Result{}, reason, off
	}
	if reason := r.combination(); reason != ReasonOK {
		return Result{}, reason, len(r.text)
	}
	res := Result{UI: UI{
		Scheme: GTIN, Code: r.cut(r.code), Serial: r.cut(r.serial), Batch: r.cut(r.batch), Expiry: r.cut(r.expiry),
	}}
	if glued(res.UI.Code, res.UI.Serial) {
		return Result{}, ReasonGlued, int(r.serial.start)
	}
	if glued(res.UI.Code, res.UI.Batch) {
		return Result{}, ReasonGlued, int(r.batch.start)
	}
	if r.nOthers > 0 {
		res.NHRN = r.nhrn()
	}
	return res, ReasonOK, 0
}

func (r *reader) combination() Reason {
	if r.code.end != 0 && (r.has37 || r.has255) || r.serial.end != 0 && r.has235 {
		return ReasonCombination
	}
	return ReasonOK
}

// incomplete names what is wrong with a code that lacks one of the four elements.
func (r *reader) incomplete() (Reason, int) {
	if at, found := r.swallowed(); found {
		return ReasonGSMissing, at
	}
	end := len(r.text)
	if reason := r.combination(); reason != ReasonOK {
		return reason, end
	}
	any := r.serial.end != 0 || r.batch.end != 0 || r.expiry.end != 0
	switch {
	case r.code.end == 0 && any:
		return ReasonCombination, end
	case r.code.end != 0 && r.serial.end == 0:
		return ReasonNotSerialised, end
	}
	return ReasonMissingField, end
}

// swallowed looks in serial and batch for the element that is absent: then a separator was lost on the way. It only
// chooses the refusal's word and place; the text is never split there.
func (r *reader) swallowed() (at int, found bool) {
	for _, field := range [...]span{r.serial, r.batch} {
		if field.end == 0 {
			continue
		}
		value := r.cut(field)
		for i := 1; i < len(value); i++ {
			if r.absentAt(value[i:]) {
				return int(field.start) + i, true
			}
		}
	}
	return 0, false
}

// minSwallowedSerial is how long the rest behind a "21" must be to be taken for a swallowed serial: many a batch of an
// unserialised product has a 21 in it, hardly any serial is shorter.
const minSwallowedSerial = 6

func (r *reader) absentAt(s string) bool {
	switch {
	case r.code.end == 0 && len(s) >= 16 && strings.HasPrefix(s, "01"):
		return CheckDigitOK(s[2:16])
	case r.expiry.end == 0 && len(s) >= 8 && strings.HasPrefix(s, "17"):
		return checkExpiry(s[2:8], r.now) == ReasonOK
	case r.batch.end == 0 && len(s) > 2 && strings.HasPrefix(s, "10"):
		return true
	case r.serial.end == 0 && len(s) >= 2+minSwallowedSerial && strings.HasPrefix(s, "21"):
		return true
	}
	return false
}
