package consolidated

import "strings"

// epc is an identifier of a file, read.
type epc struct {
	pack   bool   // a trade item; else a container
	code   string // of a trade item: GTIN
	serial string
	id     string // of a container: as [Container.ID]
	ok     bool
}

// readEPC reads an sgtin or sscc URN (EPC Tag Data Standard 1.x, sections 6.3.1 and 6.3.2)
// or a GS1 Digital Link URI. A trade item whose indicator is not 0 is a case: whether it
// is a container shows when something is in it, so it comes back as both.
func readEPC(text string) epc {
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, "urn:epc:id:sgtin:"); ok {
		return readSGTIN(rest)
	}
	if rest, ok := strings.CutPrefix(text, "urn:epc:id:sscc:"); ok {
		company, ref, ok := strings.Cut(rest, ".")
		if !ok || len(company) < 6 || len(company)+len(ref) != 17 || !digits(company) || !digits(ref) {
			return epc{}
		}
		n := ref[:1] + company + ref[1:]
		return epc{id: n + checkDigit(n), ok: true}
	}
	if strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://") {
		return readLink(text)
	}
	return epc{}
}

func readSGTIN(rest string) epc {
	parts := strings.SplitN(rest, ".", 3)
	if len(parts) != 3 || len(parts[0]) < 6 || len(parts[1]) < 1 || len(parts[0])+len(parts[1]) != 13 || !digits(parts[0]) || !digits(parts[1]) {
		return epc{}
	}
	serial, ok := unescape(parts[2])
	if !ok {
		return epc{}
	}
	// The indicator digit is the first of the item reference (domain.md section 8).
	n := parts[1][:1] + parts[0] + parts[1][1:]
	return item(n+checkDigit(n), serial)
}

// readLink reads https://HOST/.../01/GTIN/21/SERIAL and https://HOST/.../00/SSCC. What
// stands behind (batch, query) is not looked at: an event says it in its own place.
func readLink(text string) epc {
	path, _, _ := strings.Cut(text, "?")
	_, rest, item01 := strings.Cut(path, "/01/")
	if before, after, ok := strings.Cut(path, "/00/"); ok && !(item01 && strings.Contains(before+"/", "/01/")) {
		n, _, _ := strings.Cut(after, "/")
		return epc{id: n, ok: validSSCC(n)}
	}
	if !item01 {
		return epc{}
	}
	parts := strings.Split(rest, "/")
	for i := 1; i+1 < len(parts); i += 2 {
		if parts[i] == "21" {
			serial, ok := unescape(parts[i+1])
			if !ok {
				return epc{}
			}
			return item(parts[0], serial)
		}
	}
	return epc{}
}

func item(code, serial string) epc {
	e := epc{pack: true, code: code, serial: serial, ok: true}
	if !strings.HasPrefix(code, "0") {
		e.id = "01" + code + "21" + serial
	}
	return e
}

// unescape reads percent-escapes once; false when one is broken.
func unescape(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, s != ""
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", false
			}
			hi, lo := strings.IndexByte(hexDigits, lower(s[i+1])), strings.IndexByte(hexDigits, lower(s[i+2]))
			if hi < 0 || lo < 0 {
				return "", false
			}
			c, i = byte(hi<<4|lo), i+2
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

const hexDigits = "0123456789abcdef"

func lower(c byte) byte {
	if c >= 'A' && c <= 'F' {
		return c + 'a' - 'A'
	}
	return c
}

// checkDigit is that of GS1 numbers: weights 3 and 1 from the right.
func checkDigit(digits string) string {
	sum, weight := 0, 3
	for i := len(digits) - 1; i >= 0; i-- {
		sum += weight * int(digits[i]-'0')
		weight ^= 2
	}
	return string(rune('0' + (10-sum%10)%10))
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func validSSCC(s string) bool {
	return len(s) == 18 && digits(s) && checkDigit(s[:17]) == s[17:]
}

// ReadRef reads what was scanned or typed at receipt: an SSCC label (with or without
// symbology identifier, bracketed, as URN or Digital Link, or its 18 digits) or the number
// of a delivery note, which is given back as it is.
func ReadRef(text string) (ref string, sscc bool) {
	text = strings.TrimSpace(text)
	n := text
	for _, prefix := range []string{"]C1", "]d2", "]e0", "]Q3"} { // GS1-128, Data Matrix, DataBar, QR
		n = strings.TrimPrefix(n, prefix)
	}
	n = strings.TrimPrefix(n, "\x1d")
	if rest, ok := strings.CutPrefix(n, "(00)"); ok {
		n = rest
	} else if len(n) >= 20 && strings.HasPrefix(n, "00") {
		n = n[2:]
		if len(n) > 18 { // other elements may follow an SSCC, which has a fixed length
			n = n[:18]
		}
	}
	if validSSCC(n) {
		return n, true
	}
	if e := readEPC(text); e.ok && !e.pack {
		return e.id, true
	}
	return text, false
}
