package nmvs

import (
	"bytes"
	"regexp"
	"strconv"
	"unicode/utf8"
)

// Classes of bytes.
const (
	classPlain uint8 = 1 << iota // stands for itself in text and attribute values
	className                    // may stand in a name, colons apart
)

// charClass is never written after it is built. Bytes above ASCII have no class.
var charClass = func() (t [256]uint8) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = classPlain
	}
	t['\t'], t['\n'] = classPlain, classPlain
	for _, c := range `&<>"'` {
		t[c] = 0
	}
	for c := range t {
		if b := byte(c); letterOrDigit(b) || b == '_' || b == '.' || b == '-' {
			t[c] |= className
		}
	}
	return t
}()

func isSpace(b byte) bool { return b == ' ' || b == '\n' || b == '\t' || b == '\r' }

func isNameStart(b byte) bool { return b == '_' || letterOrDigit(b) && b > '9' }

// isChar is the Char production of XML 1.0 section 2.2.
func isChar(r rune) bool {
	return r >= 0x20 && r <= 0xd7ff || r == '\t' || r == '\n' || r == '\r' || r >= 0xe000 && r <= 0xfffd ||
		r >= 0x10000 && r <= utf8.MaxRune
}

// content reads the text up to the next "<".
func (s *scanner) content() (token, error) {
	end, err := s.chars('<')
	s.text = s.buf[s.tok : s.tok+end]
	return tokenText, err
}

// inCDATA is the stop of [scanner.chars] for "]]>".
const inCDATA = 0

// chars reads characters up to stop: "<" for content, a quote for an attribute's value,
// or inCDATA. It leaves pos at stop (behind it in CDATA), has put the meaning of what it
// read over it in the buffer, which is never longer, and returns where that ends, as an
// offset from tok.
func (s *scanner) chars(stop byte) (int, error) {
	w := s.pos - s.tok
	bare := w // no "]" that ends a CDATA section stands before it
	for {
		i := s.pos
		for i < s.end && charClass[s.buf[i]]&classPlain != 0 {
			i++
		}
		w += s.move(w, i-s.pos)
		b, ok := s.peek()
		if !ok {
			return w, s.cut()
		}
		switch {
		case b == stop && stop != inCDATA:
			return w, nil
		case b == '<' && stop != inCDATA:
			return w, replyError("an attribute's value holds <")
		case b == '&' && stop != inCDATA:
			r, err := s.reference()
			if err != nil {
				return w, err
			}
			w += utf8.EncodeRune(s.buf[s.tok+w:s.pos], r)
			bare = w
		case b == '>' && w-bare >= 2 && s.buf[s.tok+w-1] == ']' && s.buf[s.tok+w-2] == ']':
			if stop == inCDATA {
				s.pos++
				return w - 2, nil
			}
			if stop == '<' {
				return w, replyError("]]> stands in a text")
			}
			w += s.move(w, 1)
		case b == '\r': // a line end, with or without \n: XML 1.0 section 2.11
			s.pos++
			s.buf[s.tok+w] = '\n'
			w++
			if b, ok := s.peek(); ok && b == '\n' {
				s.pos++
			}
		case b < utf8.RuneSelf && isChar(rune(b)): // a mark that means nothing here
			w += s.move(w, 1)
		default:
			n, err := s.char()
			if err != nil {
				return w, err
			}
			w += s.move(w, n)
		}
	}
}

// move takes n bytes at pos as they are, to the offset w.
func (s *scanner) move(w, n int) int {
	if to := s.tok + w; to != s.pos {
		copy(s.buf[to:], s.buf[s.pos:s.pos+n])
	}
	s.pos += n
	return n
}

// char checks the character that comes next, and returns its length.
func (s *scanner) char() (int, error) {
	for !utf8.FullRune(s.buf[s.pos:s.end]) {
		if !s.more() {
			return 0, s.cut()
		}
	}
	r, n := utf8.DecodeRune(s.buf[s.pos:s.end])
	if r == utf8.RuneError && n <= 1 {
		return 0, replyError("it is not UTF-8")
	}
	if !isChar(r) {
		return 0, replyError("it holds the character %U", r)
	}
	return n, nil
}

// reference reads "&...;".
func (s *scanner) reference() (rune, error) {
	s.pos++
	start := s.pos - s.tok
	for {
		b, ok := s.peek()
		if !ok {
			return 0, s.cut()
		}
		s.pos++
		if b == ';' {
			break
		}
		if s.pos-s.tok-start > maxRef {
			return 0, replyError("a reference is too long")
		}
	}
	name := s.buf[s.tok+start : s.pos-1]
	switch string(name) {
	case "lt":
		return '<', nil
	case "gt":
		return '>', nil
	case "amp":
		return '&', nil
	case "apos":
		return '\'', nil
	case "quot":
		return '"', nil
	}
	if len(name) < 2 || name[0] != '#' {
		return 0, replyError("it uses an entity")
	}
	digits, base := name[1:], 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(string(digits), base, 32)
	if err != nil || n > utf8.MaxRune || !isChar(rune(n)) {
		return 0, replyError("a character reference stands for no character")
	}
	return rune(n), nil
}

// commentOrCDATA reads on behind "<!". It says whether there is a text.
func (s *scanner) commentOrCDATA() (text bool, err error) {
	b, ok := s.peek()
	switch {
	case !ok:
		return false, s.cut()
	case b == '-':
		if err = s.literal("--"); err != nil {
			return false, err
		}
		return false, s.comment()
	case b != '[':
		return false, errMark
	case len(s.open) == 0:
		return false, errOutside
	}
	if err = s.literal("[CDATA["); err != nil {
		return false, err
	}
	start := s.pos - s.tok
	end, err := s.chars(inCDATA)
	s.text = s.buf[s.tok+start : s.tok+max(start, end)]
	return true, err
}

// comment skips the rest of a comment, whatever its length is.
func (s *scanner) comment() error {
	for {
		s.tok = s.pos
		b, ok := s.peek()
		if !ok {
			return s.cut()
		}
		if b == '-' {
			s.pos++
			if b, ok = s.peek(); !ok {
				return s.cut()
			}
			if b == '-' {
				s.pos++
				return s.literal(">") // "--" stands nowhere else in a comment
			}
			continue
		}
		n, err := s.char()
		if err != nil {
			return err
		}
		s.pos += n
	}
}

// declaration reads on behind "<?". Only the XML declaration is allowed, once, before
// the outermost element.
func (s *scanner) declaration() error {
	if s.rooted || s.declared {
		return replyError("it has a processing instruction")
	}
	s.declared = true
	start := s.pos - s.tok
	for {
		body := s.buf[s.tok+start : s.pos]
		if bytes.HasSuffix(body, []byte("?>")) {
			if !declares(body[:len(body)-2]) {
				return replyError("its declaration is not that of XML 1.0 in UTF-8")
			}
			return nil
		}
		if len(body) > maxDecl {
			return replyError("its declaration is too long")
		}
		if _, ok := s.peek(); !ok {
			return s.cut()
		}
		s.pos++
	}
}

// declares says that a declaration is the one we can read.
func declares(b []byte) bool {
	switch string(b) {
	case `xml version="1.0" encoding="UTF-8"`, `xml version="1.0" encoding="utf-8"`, `xml version="1.0"`:
		return true // nearly all are: not worth an expression
	}
	return declPattern.Match(b)
}

// declPattern is XML 1.0 section 2.8.
var declPattern = regexp.MustCompile(`^xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:"1\.0"|'1\.0')` +
	`(?:[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*(?:"(?i:utf-8)"|'(?i:utf-8)'))?` +
	`(?:[ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*(?:"(?:yes|no)"|'(?:yes|no)'))?[ \t\r\n]*$`)
