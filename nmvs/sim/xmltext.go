package sim

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// newlines turns CR LF and lone CR into LF.
func newlines(t []byte) []byte {
	if bytes.IndexByte(t, '\r') < 0 {
		return t
	}
	t = bytes.ReplaceAll(t, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(t, []byte("\r"), []byte("\n"))
}

// unescape replaces entities; in an attribute, white space becomes a space.
func unescape(t []byte, attribute bool) ([]byte, error) {
	if bytes.IndexByte(t, '&') < 0 && !(attribute && bytes.ContainsAny(t, "\t\n")) {
		return t, nil
	}
	out := make([]byte, 0, len(t))
	for i := 0; i < len(t); i++ {
		c := t[i]
		switch {
		case attribute && (c == '\t' || c == '\n'):
			out = append(out, ' ')
		case c != '&':
			out = append(out, c)
		default:
			end := bytes.IndexByte(t[i:], ';')
			if end < 0 {
				return nil, errNotXML
			}
			r, ok := entity(t[i+1 : i+end])
			if !ok {
				return nil, errNotXML
			}
			out = utf8.AppendRune(out, r)
			i += end
		}
	}
	return out, nil
}

func entity(e []byte) (rune, bool) {
	switch string(e) {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	if len(e) < 2 || e[0] != '#' {
		return 0, false
	}
	num, base := string(e[1:]), 10
	if e[1] == 'x' {
		num, base = string(e[2:]), 16
	}
	if num == "" || num[0] == '+' || num[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(num, base, 32)
	if err != nil {
		return 0, false
	}
	r := rune(n)
	good := r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
	return r, good
}

func nameStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func nameChar(c byte) bool {
	return nameStart(c) || c >= '0' && c <= '9' || c == '-' || c == '.'
}

// qname reads prefix:local at l.i.
func (l *lexer) qname() (raw, prefix, local []byte, err error) {
	start, colon := l.i, -1
	for ; l.i < len(l.b); l.i++ {
		c := l.b[l.i]
		if c == ':' {
			if colon >= 0 {
				return nil, nil, nil, errNotXML
			}
			colon = l.i
			continue
		}
		first := l.i == start || colon == l.i-1
		if first && !nameStart(c) || !nameChar(c) {
			break
		}
	}
	raw = l.b[start:l.i]
	if colon < 0 {
		if len(raw) == 0 {
			return nil, nil, nil, errNotXML
		}
		return raw, nil, raw, nil
	}
	if colon == start || colon == l.i-1 {
		return nil, nil, nil, errNotXML
	}
	return raw, l.b[start:colon], l.b[colon+1 : l.i], nil
}

func (l *lexer) space() bool {
	start := l.i
	for l.i < len(l.b) && (l.b[l.i] == ' ' || l.b[l.i] == '\n' || l.b[l.i] == '\t' || l.b[l.i] == '\r') {
		l.i++
	}
	return l.i > start
}
