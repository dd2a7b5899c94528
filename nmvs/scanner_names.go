package nmvs

import "bytes"

// attr returns an attribute of the element that the last token opened.
func (s *scanner) attr(i int) xmlAttr {
	a := &s.attrs[i]
	tag := s.buf[s.tok:]
	return xmlAttr{xmlName{s.spaces[a.space].space, tag[a.local:a.end]}, tag[a.value:a.valueEnd]}
}

// openElement takes the tag that was just read: declarations first, they hold for the
// tag itself.
func (s *scanner) openElement(n nameSpan) (token, error) {
	tag := s.buf[s.tok:s.pos]
	e := openElement{name: len(s.names), local: len(s.names) + n.local - n.start, spaces: len(s.spaces)}
	for i := range s.attrs {
		a := &s.attrs[i]
		if tag[a.start] != 'x' { // declares nothing
			continue
		}
		if err := s.declare(tag[a.start:a.local], tag[a.local:a.end], tag[a.value:a.valueEnd]); err != nil {
			return 0, err
		}
	}
	e.space = s.resolve(tag[n.start:n.local])
	if e.space < 0 || e.space == spaceXMLNS || string(tag[n.start:n.end]) == "xmlns" {
		return 0, errPrefix
	}
	s.names = append(s.names, tag[n.start:n.end]...)
	s.open = append(s.open, e)
	s.rooted = true
	s.name = xmlName{s.spaces[e.space].space, s.names[e.local:]}
	for i := range s.attrs {
		a := &s.attrs[i]
		if a.start == a.local { // the default namespace is not one of attributes
			a.space = spaceNone
		} else if a.space = s.resolve(tag[a.start:a.local]); a.space < 0 {
			return 0, errPrefix
		}
		for j := range i {
			b := &s.attrs[j]
			if bytes.Equal(tag[b.local:b.end], tag[a.local:a.end]) && s.spaces[b.space].space == s.spaces[a.space].space {
				return 0, replyError("an attribute stands twice")
			}
		}
	}
	return tokenStart, nil
}

// declare takes an attribute if it declares a namespace. The prefix comes with its colon.
func (s *scanner) declare(prefix, local, value []byte) error {
	switch {
	case len(prefix) == 0 && string(local) == "xmlns":
		local = nil
	case string(prefix) != "xmlns:":
		return nil
	case string(local) == "xml" || string(local) == "xmlns" || len(value) == 0:
		return replyError("a reserved prefix is declared, or one without a namespace")
	}
	if string(value) == xmlSpace || string(value) == "http://www.w3.org/2000/xmlns/" {
		return replyError("a reserved namespace is declared")
	}
	if len(s.spaces) == maxSpaces {
		return replyError("too many namespaces")
	}
	s.spaces, s.hot = append(s.spaces, binding{s.words.get(local), s.words.get(value)}), -1
	return nil
}

// resolve returns the place of the namespace of a prefix, which comes with its colon, in
// spaces; -1 if it has none. No prefix is the default namespace.
func (s *scanner) resolve(prefix []byte) int {
	if len(prefix) > 0 {
		prefix = prefix[:len(prefix)-1]
	}
	if s.hot >= 0 && s.spaces[s.hot].prefix == string(prefix) {
		return s.hot
	}
	for i := len(s.spaces) - 1; i >= 0; i-- {
		if s.spaces[i].prefix == string(prefix) {
			s.hot = i
			return i
		}
	}
	return -1
}

// interner gives the same short text out without a new allocation, as long as no other
// takes its place: a reply repeats its states, codes and namespaces. It never grows. Not
// for serials and ids, which would push the others out.
type interner [128]string

// longestWord is the longest text kept, bytes.
const longestWord = 64

func (t *interner) get(b []byte) string {
	n := len(b)
	if n == 0 {
		return ""
	}
	if n > longestWord {
		return string(b)
	}
	h := uint32(n)
	for _, c := range [...]byte{b[0], b[n/2], b[n-1], b[n-1-n/4]} {
		h = h*31 + uint32(c)
	}
	first, second := &t[h%uint32(len(t))], &t[(h^1)%uint32(len(t))]
	switch {
	case *first == string(b):
		return *first
	case *second == string(b):
		return *second
	}
	*first, *second = string(b), *first
	return *first
}
