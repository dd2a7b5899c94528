package gs1

import "strings"

// escapes are the ways a source may write the control characters of a data carrier, none the beginning of another.
var escapes = [...]struct {
	written string
	plain   byte
}{
	{`\x1D`, separator}, {`\x1d`, separator}, {"{GS}", separator}, {"<GS>", separator}, {"^", separator},
	{`\x1E`, recordSep}, {`\x1e`, recordSep}, {"{RS}", recordSep}, {"<RS>", recordSep},
	{`\x04`, endOfText}, {"{EOT}", endOfText}, {"<EOT>", endOfText},
}

// escapeAt gives the control character written at the start of s and how many bytes it takes; 0 bytes when there is none.
// Only the given way of writing counts, all of them when it is empty.
func escapeAt(s, written string) (plain byte, size int) {
	if written != "" && s[0] != written[0] {
		return 0, 0
	}
	switch s[0] {
	case '\\', '{', '<', '^':
		for _, e := range escapes {
			if strings.HasPrefix(s, e.written) {
				return e.plain, len(e.written)
			}
		}
	}
	return 0, 0
}

// unescape converts written control characters; changed is false, and nothing allocated, when there are none.
func unescape(text, written string) (plain string, changed bool) {
	if !strings.ContainsAny(text, `\{<^`) {
		return text, false
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		c, size := escapeAt(text[i:], written)
		if size == 0 {
			c, size = text[i], 1
		} else {
			changed = true
		}
		out = append(out, c)
		i += size
	}
	if !changed {
		return text, false
	}
	return string(out), true
}

// escapedOffset gives the place in the text as written of byte off of the unescaped one.
func escapedOffset(text, written string, off int) int {
	i := 0
	for ; off > 0 && i < len(text); off-- {
		_, size := escapeAt(text[i:], written)
		i += max(size, 1)
	}
	return i
}
