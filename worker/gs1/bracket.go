package gs1

import "strings"

// parseBracketed reads "(01)03400930000007(21)X4F8L2..." as people and spreadsheets write it. Brackets are also legal
// in serials and batches: an opening bracket that starts no known identifier is refused, never taken as text.
func parseBracketed(text string, opt *Options) (Result, Reason, int) {
	r := reader{text: text, now: opt.Now}
	for i := 0; i < len(text); {
		if text[i] != '(' {
			return Result{}, ReasonMalformed, i
		}
		closing := strings.IndexByte(text[i:], ')')
		if closing < 3 || closing > 5 {
			return Result{}, ReasonMalformed, i
		}
		start := i + closing + 1
		end := len(text)
		if n := strings.IndexByte(text[start:], '('); n >= 0 {
			end = start + n
		}
		if reason, off := r.bracketed(text[i+1:start-1], start, end); reason != ReasonOK {
			return Result{}, reason, off
		}
		i = end
	}
	return r.finish()
}

// bracketed takes the value text[start:end] of one written identifier.
func (r *reader) bracketed(ai string, start, end int) (Reason, int) {
	value := r.text[start:end]
	if off := firstOutside(value, classText); off != len(value) {
		return ReasonCharset, start + off
	}
	switch ai {
	case "01":
		if reason := checkGTIN(value); reason != ReasonOK {
			return reason, start
		}
		return r.place(&r.code, start, end), start
	case "17":
		if reason := checkExpiry(value, r.now); reason != ReasonOK {
			return reason, start
		}
		return r.place(&r.expiry, start, end), start
	case "21", "10":
		if reason := checkText(value, classText); reason == ReasonMissingField || reason == ReasonLength {
			return ReasonLength, start
		}
		if ai == "21" {
			return r.place(&r.serial, start, end), start
		}
		return r.place(&r.batch, start, end), start
	}
	number, spec, ok := lookupAI(ai)
	switch {
	case !ok || int(spec.digits) != len(ai):
		return ReasonMalformed, start - len(ai) - 2
	case number == 0 || number == 2 || number == 3:
		return ReasonNotAPack, start - len(ai) - 2
	case len(value) < int(spec.min) || len(value) > int(spec.max):
		return ReasonLength, start
	case spec.numeric && firstOutside(value, classDigit) != len(value):
		return ReasonCharset, start
	}
	return r.keep(number, start, end), start
}
