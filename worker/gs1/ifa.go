package gs1

import "strings"

// parseEnvelope reads an ISO 15434 message at text[start:]: "[)>" RS, format, GS, data, RS EOT. Format 05 holds a GS1
// element string, format 06 the data identifiers of the IFA.
func parseEnvelope(text string, start int, opt *Options) (Result, Reason, int) {
	const head, tail = "[)>\x1e", "\x1e\x04"
	body := start + len(head) + 3 // behind format and separator
	switch {
	case !strings.HasPrefix(text[start:], head):
		if looksMangled(text[start:]) {
			return Result{}, ReasonLayout, start
		}
		return Result{}, ReasonMalformed, start
	case len(text) < body || text[body-1] != separator:
		return Result{}, ReasonMalformed, start + len(head)
	case len(text) < body+len(tail) || !strings.HasSuffix(text, tail):
		return Result{}, ReasonMalformed, len(text) // cut off, or a device that drops the trailer
	}
	end := len(text) - len(tail)
	switch text[start+len(head) : body-1] {
	case "05":
		return parseElements(text, body, end, opt.Now)
	case "06":
		r := reader{text: text[:end], now: opt.Now}
		return r.ifa(body)
	}
	return Result{}, ReasonMalformed, start + len(head)
}

// ifa reads data identifiers, each value ended by a separator or the end.
func (r *reader) ifa(i int) (Result, Reason, int) {
	for i < len(r.text) {
		end := len(r.text)
		if n := strings.IndexByte(r.text[i:], separator); n >= 0 {
			end = i + n
		}
		if reason, off := r.ifaElement(i, end); reason != ReasonOK {
			return Result{}, reason, off
		}
		i = end + 1
	}
	if r.code.end == 0 || r.serial.end == 0 || r.batch.end == 0 || r.expiry.end == 0 {
		if r.code.end != 0 && r.serial.end == 0 {
			return Result{}, ReasonNotSerialised, len(r.text)
		}
		return Result{}, ReasonMissingField, len(r.text)
	}
	res := Result{UI: UI{
		Scheme: PPN, Code: r.cut(r.code), Serial: r.cut(r.serial), Batch: r.cut(r.batch), Expiry: r.cut(r.expiry),
	}}
	switch {
	case glued(res.UI.Code, res.UI.Serial):
		return Result{}, ReasonGlued, int(r.serial.start)
	case glued(res.UI.Code, res.UI.Batch):
		return Result{}, ReasonGlued, int(r.batch.start)
	}
	return res, ReasonOK, 0
}

// ifaElement reads one data identifier (up to three digits and a letter) and its value, text[i:end].
func (r *reader) ifaElement(i, end int) (Reason, int) {
	start := i
	for start < end && start < i+3 && r.text[start]-'0' <= 9 {
		start++
	}
	if start >= end {
		return ReasonMalformed, i
	}
	start++
	if start >= end {
		return ReasonLength, start
	}
	value := r.text[start:end]
	switch r.text[i:start] {
	case "9N":
		if reason := checkPPN(value); reason != ReasonOK {
			return reason, start
		}
		return r.place(&r.code, start, end), start
	case "S":
		return r.ifaText(&r.serial, start, end, serialMask(PPN))
	case "1T":
		return r.ifaText(&r.batch, start, end, batchMask(PPN))
	case "D":
		if reason := checkExpiry(value, r.now); reason != ReasonOK {
			return reason, start
		}
		return r.place(&r.expiry, start, end), start
	case "8P", "16D", "27Q", "33L":
		// A GTIN beside the PPN, date of manufacture, count, link: allowed on a pack, not part of its identifier.
		if off := firstOutside(value, classText); off != len(value) {
			return ReasonCharset, start + off
		}
		return ReasonOK, 0
	}
	return ReasonMalformed, i
}

func (r *reader) ifaText(at *span, start, end int, mask uint8) (Reason, int) {
	value := r.text[start:end]
	if off := firstOutside(value, mask); off != len(value) {
		return ReasonCharset, start + off
	}
	if len(value) > maxField {
		return ReasonLength, start + maxField
	}
	return r.place(at, start, end), start
}
