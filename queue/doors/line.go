package doors

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"decom/worker/scan"
)

// FromLine makes an event of one line of input (contract.md section 7): { begins a JSON
// event, " a JSON string, anything else is the raw text of a data carrier. raw is that
// text where the line is nothing else. line must not change afterwards.
func FromLine(line []byte) (d Draft, raw string, fault *scan.Malformed) {
	switch {
	case bytes.HasPrefix(line, []byte("{")):
		d, fault = FromJSON(line)
		return d, "", fault
	case bytes.HasPrefix(line, []byte(`"`)):
		if d, fault = FromJSON(line); fault != nil {
			return d, "", fault
		}
		return d, d.TextOf("scan"), nil
	}
	text := UTF8(line)
	return FromText(text), text, nil
}

// UTF8 reads text as UTF-8, or as Windows-1252 where it is not: that is what Excel and
// old scanner software write in France.
func UTF8(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return Windows1252(b)
}

// Windows1252 reads text in that code page.
func Windows1252(b []byte) string {
	var s strings.Builder
	s.Grow(len(b) + 8)
	for _, c := range b {
		if c >= 0x80 && c < 0xa0 {
			s.WriteRune(windows1252[c-0x80])
		} else {
			s.WriteRune(rune(c))
		}
	}
	return s.String()
}

// windows1252 is the part of the code page that differs from Latin-1; its five
// unassigned bytes stay control characters, as the WHATWG encoding has it.
var windows1252 = [32]rune{
	'€', 0x81, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0x8d, 'Ž', 0x8f,
	0x90, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0x9d, 'ž', 'Ÿ',
}
