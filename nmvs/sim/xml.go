package sim

import (
	"bytes"
	"errors"
	"regexp"
	"unicode/utf8"
)

// lexer reads XML 1.0 with namespaces from a byte slice, without copying. It
// knows what SOAP allows: no DTD, UTF-8 only. The slices it hands out point
// into the document unless an entity had to be replaced.
//
// It exists for speed, because benches drive the simulator: BenchmarkReaders
// compares it with encoding/xml. FuzzLexer holds it to the same reading.
type lexer struct {
	b    []byte
	i    int
	open []element
	ns   []binding
	// of the token returned last
	name  name
	attrs []attr
	text  []byte

	closing bool // an empty-element tag's end is due
	rooted  bool
}

type token uint8

const (
	tokStart token = iota
	tokEnd
	tokText
	tokEOF
)

type name struct{ space, local []byte }

type element struct {
	raw  []byte // as written, with prefix: the end tag must repeat it
	name name
	ns   int // length of lexer.ns before it
}

type binding struct{ prefix, uri []byte }

type attr struct {
	raw   []byte
	name  name
	value []byte
}

const maxDepth = 32

// The reasons for which a document is not well-formed.
var (
	errNotXML   = errors.New("not well-formed")
	errEncoding = errors.New("not well-formed: not UTF-8, or a character that XML forbids")
	errDTD      = errors.New("not well-formed: a document type declaration")
	errEnd      = errors.New("not well-formed: ends too early")
	errNesting  = errors.New("not well-formed: end tag does not fit")
	errPrefix   = errors.New("not well-formed: namespace prefix not declared")
)

func newLexer(b []byte) (*lexer, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if !goodChars(b) {
		return nil, errEncoding
	}
	l := &lexer{b: b, open: make([]element, 0, 16), ns: make([]binding, 0, 8), attrs: make([]attr, 0, 4)}
	return l, l.declaration()
}

// goodChars checks the whole document at once, so that nothing later has to.
func goodChars(b []byte) bool {
	ascii := true
	for _, c := range b {
		if c < 0x20 && c != '\n' && c != '\t' && c != '\r' {
			return false
		}
		if c >= 0x80 {
			ascii = false
		}
	}
	return ascii || utf8.Valid(b) && !bytes.Contains(b, []byte("\uFFFE")) && !bytes.Contains(b, []byte("\uFFFF"))
}

// declaration skips <?xml ...?> and checks the encoding in it.
func (l *lexer) declaration() error {
	if !bytes.HasPrefix(l.b, []byte("<?xml")) || len(l.b) > 5 && nameChar(l.b[5]) {
		return nil
	}
	m := declarationForm.FindSubmatch(l.b)
	if m == nil {
		return errNotXML
	}
	if len(m[1]) > 0 && !bytes.EqualFold(m[1][1:len(m[1])-1], []byte("utf-8")) {
		return errEncoding
	}
	l.i = len(m[0])
	return nil
}

// declarationForm is never written. XML 1.1 is another language.
var declarationForm = regexp.MustCompile(`^<\?xml[ \t\r\n]+version=(?:"1\.0"|'1\.0')(?:[ \t\r\n]+encoding=("[^"<>]+"|'[^'<>]+'))?` +
	`(?:[ \t\r\n]+standalone=(?:"yes"|"no"|'yes'|'no'))?[ \t\r\n]*\?>`)

// next returns the next token. Text comes in one piece, comments and
// processing instructions left out.
func (l *lexer) next() (token, error) {
	if l.closing {
		l.closing = false
		return l.pop()
	}
	l.text = nil
	for {
		if l.i >= len(l.b) {
			if len(l.open) > 0 || !l.rooted {
				return 0, errEnd
			}
			return tokEOF, nil
		}
		if l.b[l.i] != '<' {
			if err := l.chars(); err != nil {
				return 0, err
			}
			continue
		}
		rest := l.b[l.i:]
		skip, err := l.aside(rest)
		if err != nil {
			return 0, err
		}
		if skip {
			continue
		}
		if l.text != nil && len(l.open) > 0 {
			return tokText, nil
		}
		l.text = nil
		if len(rest) > 1 && rest[1] == '/' {
			return l.endTag()
		}
		return l.startTag()
	}
}

// aside handles what is neither text nor tag: comments, CDATA, instructions.
func (l *lexer) aside(rest []byte) (bool, error) {
	var close string
	switch {
	case bytes.HasPrefix(rest, []byte("<!--")):
		end := bytes.Index(rest[4:], []byte("--"))
		if end < 0 {
			return false, errEnd
		}
		if len(rest) < 4+end+3 || rest[4+end+2] != '>' {
			return false, errNotXML
		}
		l.i += 4 + end + 3
		return true, nil
	case bytes.HasPrefix(rest, []byte("<![CDATA[")):
		end := bytes.Index(rest, []byte("]]>"))
		if end < 0 {
			return false, errEnd
		}
		if len(l.open) == 0 {
			return false, errNotXML
		}
		l.append(newlines(rest[9:end]))
		l.i += end + 3
		return true, nil
	case bytes.HasPrefix(rest, []byte("<?")):
		close = "?>"
		if len(rest) < 3 || !nameStart(rest[2]) || len(rest) > 5 && bytes.EqualFold(rest[2:5], []byte("xml")) && !nameChar(rest[5]) {
			return false, errNotXML
		}
	case bytes.HasPrefix(rest, []byte("<!")):
		return false, errDTD
	default:
		return false, nil
	}
	end := bytes.Index(rest, []byte(close))
	if end < 0 {
		return false, errEnd
	}
	l.i += end + len(close)
	return true, nil
}

func (l *lexer) append(t []byte) {
	if l.text == nil {
		l.text = t[:len(t):len(t)]
		return
	}
	l.text = append(l.text[:len(l.text):len(l.text)], t...)
}

func (l *lexer) chars() error {
	end := bytes.IndexByte(l.b[l.i:], '<')
	if end < 0 {
		end = len(l.b) - l.i
	}
	t := l.b[l.i : l.i+end]
	l.i += end
	if len(l.open) == 0 {
		if len(bytes.TrimLeft(t, " \t\r\n")) > 0 {
			return errNotXML
		}
		return nil
	}
	if bytes.Contains(t, []byte("]]>")) {
		return errNotXML
	}
	t, err := unescape(newlines(t), false)
	if err != nil {
		return err
	}
	l.append(t)
	return nil
}

func (l *lexer) startTag() (token, error) {
	if len(l.open) == 0 && l.rooted || len(l.open) == maxDepth {
		return 0, errNotXML
	}
	l.rooted = true
	l.i++
	raw, prefix, local, err := l.qname()
	if err != nil {
		return 0, err
	}
	el := element{raw: raw, ns: len(l.ns)}
	l.attrs = l.attrs[:0]
	for {
		spaced := l.space()
		if l.i >= len(l.b) {
			return 0, errEnd
		}
		c := l.b[l.i]
		if c == '>' {
			l.i++
			break
		}
		if c == '/' {
			if l.i+1 >= len(l.b) || l.b[l.i+1] != '>' {
				return 0, errNotXML
			}
			l.i += 2
			l.closing = true
			break
		}
		if !spaced {
			return 0, errNotXML
		}
		if err := l.attribute(el.ns); err != nil {
			return 0, err
		}
	}
	if el.name.space, err = l.resolve(prefix, true); err != nil {
		return 0, err
	}
	el.name.local = local
	if err := l.resolveAttrs(); err != nil {
		return 0, err
	}
	l.open = append(l.open, el)
	l.name = el.name
	return tokStart, nil
}

// attribute reads one attribute, or a namespace declaration. mark is where the
// declarations of this tag begin.
func (l *lexer) attribute(mark int) error {
	raw, prefix, local, err := l.qname()
	if err != nil {
		return err
	}
	l.space()
	if l.i >= len(l.b) || l.b[l.i] != '=' {
		return errNotXML
	}
	l.i++
	l.space()
	if l.i >= len(l.b) || l.b[l.i] != '"' && l.b[l.i] != '\'' {
		return errNotXML
	}
	q := l.b[l.i]
	l.i++
	end := bytes.IndexByte(l.b[l.i:], q)
	if end < 0 {
		return errEnd
	}
	v := l.b[l.i : l.i+end]
	l.i += end + 1
	if bytes.IndexByte(v, '<') >= 0 {
		return errNotXML
	}
	if v, err = unescape(newlines(v), true); err != nil {
		return err
	}
	switch {
	case prefix == nil && string(local) == "xmlns":
		return l.bind(mark, nil, v)
	case string(prefix) == "xmlns":
		if len(v) == 0 || string(local) == "xmlns" {
			return errNotXML
		}
		return l.bind(mark, local, v)
	}
	l.attrs = append(l.attrs, attr{raw: raw, name: name{space: prefix, local: local}, value: v})
	return nil
}

func (l *lexer) bind(mark int, prefix, uri []byte) error {
	for _, b := range l.ns[mark:] {
		if bytes.Equal(b.prefix, prefix) {
			return errNotXML
		}
	}
	l.ns = append(l.ns, binding{prefix, uri})
	return nil
}

func (l *lexer) resolveAttrs() error {
	for i := range l.attrs {
		a := &l.attrs[i]
		space, err := l.resolve(a.name.space, false)
		if err != nil {
			return err
		}
		a.name.space = space
		for _, o := range l.attrs[:i] {
			if bytes.Equal(o.name.local, a.name.local) && bytes.Equal(o.name.space, a.name.space) {
				return errNotXML
			}
		}
	}
	return nil
}

// xmlSpace is never written.
var xmlSpace = []byte("http://www.w3.org/XML/1998/namespace")

func (l *lexer) resolve(prefix []byte, element bool) ([]byte, error) {
	if prefix == nil && !element {
		return nil, nil
	}
	for i := len(l.ns) - 1; i >= 0; i-- {
		if bytes.Equal(l.ns[i].prefix, prefix) {
			return l.ns[i].uri, nil
		}
	}
	if prefix == nil {
		return nil, nil
	}
	if string(prefix) == "xml" {
		return xmlSpace, nil
	}
	return nil, errPrefix
}

func (l *lexer) endTag() (token, error) {
	l.i += 2
	raw, _, _, err := l.qname()
	if err != nil {
		return 0, err
	}
	l.space()
	if l.i >= len(l.b) {
		return 0, errEnd
	}
	if l.b[l.i] != '>' {
		return 0, errNotXML
	}
	l.i++
	if len(l.open) == 0 || !bytes.Equal(l.open[len(l.open)-1].raw, raw) {
		return 0, errNesting
	}
	return l.pop()
}

func (l *lexer) pop() (token, error) {
	el := l.open[len(l.open)-1]
	l.open = l.open[:len(l.open)-1]
	l.ns = l.ns[:el.ns]
	l.name = el.name
	l.attrs = l.attrs[:0]
	return tokEnd, nil
}
