package nmvs

import (
	"bytes"
	"io"
)

// scanner reads the XML that SOAP needs out of a stream, without an allocation per
// token: elements, attributes, namespaces, text, CDATA, the five entities, numeric
// references, comments and one XML declaration in UTF-8. It accepts nothing that
// encoding/xml refuses, and refuses more: what a reply of NMVS has no reason to hold,
// and what two readers may understand differently (scanner_test.go lists it with the
// reasons). A refusal wraps [ErrReply] and tells nothing of the body.
//
// A token's slices lie in the scanner's buffer and are valid until the next call of
// next. Not safe for concurrent use.
type scanner struct {
	in   io.Reader
	err  error // of in, once it has failed or ended
	buf  []byte
	tok  int // where the token starts that is read now; offsets in spans count from here
	pos  int // next byte to look at
	end  int // end of what was read
	used bool

	name  xmlName    // of the element that the last token opened or closed
	attrs []attrSpan // of the element that the last token opened; see attr
	text  []byte     // of the last text token

	open   []openElement
	names  []byte // the names of the open elements, one behind the other
	spaces []binding
	hot    int // place in spaces of the prefix looked up last; -1: spaces has changed since
	words  interner

	empty    bool // the element that opened last closes with the next token
	declared bool // there was an XML declaration
	rooted   bool // the outermost element has opened
}

// token is what next has read.
type token uint8

const (
	tokenStart token = iota // name, attrs
	tokenEnd                // name
	tokenText               // text
)

// xmlName is a name with the namespace that its prefix stands for. As in encoding/xml,
// the space of a namespace declaration is "xmlns", or "" for the default namespace.
type xmlName struct {
	space string
	local []byte
}

type xmlAttr struct {
	xmlName
	value []byte
}

// openElement is an element whose end tag is awaited. Like what stands below it holds
// places, not pointers, which the collector would follow: there are thousands.
type openElement struct {
	name   int // start of its name in names
	local  int // start of the part behind the prefix
	spaces int // bindings in force outside it
	space  int // place of its namespace in spaces
}

// binding is a prefix, "" for the default, and its namespace.
type binding struct{ prefix, space string }

// Places in spaces that are always the same.
const (
	spaceXML = iota
	spaceNone
	spaceXMLNS
)

// nameSpan and attrSpan are offsets from tok: the buffer may move while a tag is read.
type nameSpan struct{ start, local, end int }

type attrSpan struct {
	nameSpan
	value, valueEnd int
	space           int // place of its namespace in spaces
}

// Limits of one reply. They are far above what NMVS has a reason to send, and keep a
// hostile one from costing more than its bytes.
const (
	maxDepth  = 64      // the deepest reply has 11
	maxAttrs  = 64      // of one element; duplicates are looked for in pairs
	maxSpaces = 64      // namespaces in force at one place; a reply has 3
	maxToken  = 4 << 20 // longest tag or text, bytes; the terms and conditions are the longest text
	maxRef    = 32      // longest reference, bytes
	maxDecl   = 256     // longest XML declaration, bytes
)

const (
	scanBuffer     = 32 << 10
	keepScanBuffer = 256 << 10
)

var (
	errOutside = replyError("there is text outside the envelope")
	errMark    = replyError("it has a DTD, or an unknown mark")
	errName    = replyError("a name is not one")
	errPrefix  = replyError("a prefix has no namespace")
)

const xmlSpace = "http://www.w3.org/XML/1998/namespace"

// reset starts over with another stream.
func (s *scanner) reset(in io.Reader) {
	if len(s.buf) == 0 {
		s.buf = make([]byte, scanBuffer)
	}
	s.in, s.err, s.tok, s.pos, s.end, s.used = in, nil, 0, 0, 0, false
	s.empty, s.declared, s.rooted = false, false, false
	s.open, s.names, s.hot = s.open[:0], s.names[:0], -1
	s.spaces = append(s.spaces[:0], binding{"xml", xmlSpace}, binding{"", ""}, binding{"xmlns", "xmlns"})
}

// release lets go of the stream, and of buffers that a long one has made large.
func (s *scanner) release() {
	s.in, s.err, s.name, s.text = nil, nil, xmlName{}, nil
	if len(s.buf) > keepScanBuffer {
		s.buf = nil
	}
	if cap(s.names) > scanBuffer {
		s.names = nil
	}
	clear(s.spaces[:cap(s.spaces)])
}

// more reads on; what stands before tok is given up. False: there is no more, err says
// why.
func (s *scanner) more() bool {
	if s.err != nil {
		return false
	}
	if s.tok > 0 {
		s.end = copy(s.buf, s.buf[s.tok:s.end])
		s.pos -= s.tok
		s.tok = 0
	}
	if s.end == len(s.buf) {
		if s.end >= maxToken {
			s.err = replyError("a tag or a text is too long")
			return false
		}
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	for range 100 {
		n, err := s.in.Read(s.buf[s.end:])
		s.end += n
		s.err = err
		if n > 0 {
			return true
		}
		if err != nil {
			return false
		}
	}
	s.err = io.ErrNoProgress
	return false
}

func (s *scanner) peek() (byte, bool) {
	if s.pos == s.end && !s.more() {
		return 0, false
	}
	return s.buf[s.pos], true
}

// cut is the error of a stream that ended before the document did.
func (s *scanner) cut() error {
	if s.err == io.EOF {
		return replyError("it ends before the envelope does")
	}
	return s.err
}

// next reads a token. At the end of a whole document it returns io.EOF.
func (s *scanner) next() (token, error) {
	if s.empty {
		s.empty = false
		return s.closeElement()
	}
	for {
		s.tok = s.pos
		b, ok := s.peek()
		switch {
		case !ok && s.err == io.EOF && s.rooted && len(s.open) == 0:
			return 0, io.EOF
		case !ok:
			return 0, s.cut()
		case b != '<' && len(s.open) > 0:
			return s.content()
		case b != '<':
			if err := s.outside(b); err != nil {
				return 0, err
			}
			continue
		}
		s.used = true
		s.pos++
		if b, ok = s.peek(); !ok {
			return 0, s.cut()
		}
		switch b {
		case '/':
			s.pos++
			return s.endTag()
		case '?':
			s.pos++
			if err := s.declaration(); err != nil {
				return 0, err
			}
		case '!':
			s.pos++
			if text, err := s.commentOrCDATA(); text || err != nil {
				return tokenText, err
			}
		default:
			return s.startTag()
		}
	}
}

// outside allows white space around the outermost element, and one byte order mark
// as the very first thing.
func (s *scanner) outside(b byte) error {
	switch {
	case isSpace(b):
		s.pos++
	case b == 0xef && !s.used:
		if err := s.literal("\xef\xbb\xbf"); err != nil {
			return err
		}
	default:
		return errOutside
	}
	s.used = true
	return nil
}

// literal skips want, which must come next.
func (s *scanner) literal(want string) error {
	for s.end-s.pos < len(want) {
		if !s.more() {
			return s.cut()
		}
	}
	if string(s.buf[s.pos:s.pos+len(want)]) != want {
		return errMark
	}
	s.pos += len(want)
	return nil
}

// space skips white space, and says whether there was any.
func (s *scanner) space() bool {
	some := false
	for {
		for s.pos < s.end && isSpace(s.buf[s.pos]) {
			s.pos++
			some = true
		}
		if s.pos < s.end || !s.more() {
			return some
		}
	}
}

// qname reads a name, with or without a prefix: ASCII only.
func (s *scanner) qname() (n nameSpan, err error) {
	n.start = s.pos - s.tok
	n.local = n.start
	for {
		i := s.pos
		for i < s.end && charClass[s.buf[i]]&className != 0 {
			i++
		}
		s.pos = i
		if i == s.end {
			if !s.more() {
				return n, s.cut()
			}
			continue
		}
		n.end = i - s.tok
		if n.end == n.local || !isNameStart(s.buf[s.tok+n.local]) {
			return n, errName
		}
		if s.buf[i] != ':' {
			return n, nil
		}
		if n.local != n.start { // a second colon
			return n, errName
		}
		s.pos++
		n.local = n.end + 1
	}
}

// startTag reads on behind "<".
func (s *scanner) startTag() (token, error) {
	switch {
	case len(s.open) == 0 && s.rooted:
		return 0, replyError("there is an element behind the envelope")
	case len(s.open) == maxDepth:
		return 0, replyError("elements are nested too deep")
	}
	name, err := s.qname()
	if err != nil {
		return 0, err
	}
	s.attrs = s.attrs[:0]
	if s.pos < s.end && s.buf[s.pos] == '>' { // most tags
		s.pos++
		return s.openElement(name)
	}
	for {
		spaced := s.space()
		b, ok := s.peek()
		switch {
		case !ok:
			return 0, s.cut()
		case b == '>':
			s.pos++
			return s.openElement(name)
		case b == '/':
			s.pos++
			if b, ok = s.peek(); !ok {
				return 0, s.cut()
			}
			if b != '>' {
				return 0, replyError("a tag is not closed")
			}
			s.pos++
			s.empty = true
			return s.openElement(name)
		case !spaced || len(s.attrs) == maxAttrs:
			return 0, replyError("a tag has too many attributes, or no space before one")
		}
		if err := s.attribute(); err != nil {
			return 0, err
		}
	}
}

func (s *scanner) attribute() error {
	name, err := s.qname()
	if err != nil {
		return err
	}
	if s.pos == s.end || s.buf[s.pos] != '=' { // most have no space there
		s.space()
	}
	if b, ok := s.peek(); !ok {
		return s.cut()
	} else if b != '=' {
		return replyError("an attribute has no value")
	}
	s.pos++
	quote, ok := s.peek()
	if ok && isSpace(quote) {
		s.space()
		quote, ok = s.peek()
	}
	if !ok {
		return s.cut()
	}
	if quote != '"' && quote != '\'' {
		return replyError("an attribute's value is not quoted")
	}
	s.pos++
	a := attrSpan{nameSpan: name, value: s.pos - s.tok}
	if a.valueEnd, err = s.chars(quote); err != nil {
		return err
	}
	s.pos++ // the quote
	s.attrs = append(s.attrs, a)
	return nil
}

// endTag reads on behind "</". The name must be the open element's, prefix included.
func (s *scanner) endTag() (token, error) {
	if len(s.open) == 0 {
		return 0, replyError("an end tag closes nothing")
	}
	want := s.names[s.open[len(s.open)-1].name:]
	for s.end-s.pos < len(want) {
		if !s.more() {
			return 0, s.cut()
		}
	}
	if !bytes.Equal(s.buf[s.pos:s.pos+len(want)], want) {
		return 0, replyError("an end tag closes another element")
	}
	s.pos += len(want)
	if s.pos < s.end && s.buf[s.pos] == '>' {
		s.pos++
		return s.closeElement()
	}
	s.space()
	b, ok := s.peek()
	if !ok {
		return 0, s.cut()
	}
	if b != '>' {
		return 0, replyError("an end tag closes another element, or is not closed")
	}
	s.pos++
	return s.closeElement()
}

func (s *scanner) closeElement() (token, error) {
	e := &s.open[len(s.open)-1]
	s.name = xmlName{s.spaces[e.space].space, s.names[e.local:]}
	s.names = s.names[:e.name]
	if e.spaces < len(s.spaces) {
		s.spaces, s.hot = s.spaces[:e.spaces], -1
	}
	s.open = s.open[:len(s.open)-1]
	return tokenEnd, nil
}
