package sim

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// refusal is why a request is not even looked at: the code of
// nmvs-interface.md 1.13 and the reason, for people.
type refusal struct {
	code string
	why  string
}

// reader walks a request along the schema. The first thing that does not fit
// is kept in bad, and every later step does nothing, so that the walk can be
// written as the schema reads.
type reader struct {
	*lexer
	types   string // namespace of everything below the root element
	version int
	bad     *refusal
	peeked  bool
	tok     token
}

func (r *reader) fail(format string, args ...any) {
	if r.bad == nil {
		r.bad = &refusal{codeSchema, fmt.Sprintf(format, args...)}
	}
}

// peek makes the next token that is not white space the current one.
func (r *reader) peek() (token, bool) {
	for r.bad == nil && !r.peeked {
		tok, err := r.next()
		if err != nil {
			r.bad = &refusal{codeNotXML, err.Error()}
			return 0, false
		}
		if tok == tokText && len(bytes.TrimLeft(r.text, " \t\n\r")) == 0 {
			continue
		}
		r.tok, r.peeked = tok, true
	}
	return r.tok, r.bad == nil
}

// is says whether the next token opens the element of that name.
func (r *reader) is(space, local string) bool {
	tok, ok := r.peek()
	return ok && tok == tokStart && string(r.name.local) == local && string(r.name.space) == space
}

// in opens an element of the type namespace without attributes.
func (r *reader) in(local string) bool { return r.enter(r.types, local, 0) }

// enter opens an element that may have up to n attributes of the types
// namespace, which the caller reads with take.
func (r *reader) enter(space, local string, n int) bool {
	if !r.is(space, local) {
		if r.bad == nil {
			r.fail("wants element %s here", local)
		}
		return false
	}
	r.peeked = false
	own := 0
	for _, a := range r.attrs {
		if string(a.name.space) != xsi {
			own++
		}
	}
	if own > n {
		r.fail("element %s has an attribute too many", local)
	}
	return r.bad == nil
}

const xsi = "http://www.w3.org/2001/XMLSchema-instance"

// take returns the attribute of that name; it must be there.
func (r *reader) take(local string) []byte {
	for _, a := range r.attrs {
		if string(a.name.local) == local && string(a.name.space) == r.types {
			return a.value
		}
	}
	r.fail("attribute %s is missing", local)
	return nil
}

// out closes the element: nothing but white space may be left in it.
func (r *reader) out(local string) {
	tok, ok := r.peek()
	if ok && tok != tokEnd {
		r.fail("element %s holds more than it may", local)
	}
	r.peeked = false
}

// content returns the text up to the end of the element just opened.
func (r *reader) content(local string) []byte {
	if r.bad != nil {
		return nil
	}
	var text []byte
	tok, err := r.next()
	if err == nil && tok == tokText {
		text = r.text
		tok, err = r.next()
	}
	if err != nil {
		r.bad = &refusal{codeNotXML, err.Error()}
	} else if tok != tokEnd {
		r.fail("element %s holds an element, wants text", local)
	}
	return text
}

// leaf reads <local>text</local> and checks text against an alphabet.
func (r *reader) leaf(local string, ok *[256]bool, min, max int) []byte {
	if !r.in(local) {
		return nil
	}
	t := r.content(local)
	r.check(local, t, ok, min, max)
	return t
}

func (r *reader) check(local string, t []byte, ok *[256]bool, min, max int) {
	if r.bad == nil && !inAlphabet(t, ok, min, max) {
		r.fail("%s must be %d to %d characters of its alphabet", local, min, max)
	}
}

// free reads an element of any text, its length counted in characters.
func (r *reader) free(local string, min, max int) []byte {
	if !r.in(local) {
		return nil
	}
	t := r.content(local)
	if n := utf8.RuneCount(t); r.bad == nil && (n < min || n > max) {
		r.fail("%s must be %d to %d characters", local, min, max)
	}
	return t
}

// drain reads to the end after a refusal by schema, because a document that is
// not well-formed is refused as that.
func (r *reader) drain() {
	for r.bad == nil || r.bad.code != codeNotXML {
		tok, err := r.next()
		if err != nil {
			r.bad = &refusal{codeNotXML, err.Error()}
			return
		}
		if tok == tokEOF {
			return
		}
	}
}

// inAlphabet checks length and characters; a nil alphabet allows all.
func inAlphabet[T string | []byte](t T, ok *[256]bool, min, max int) bool {
	if len(t) < min || len(t) > max {
		return false
	}
	if ok != nil {
		for i := 0; i < len(t); i++ {
			if !ok[t[i]] {
				return false
			}
		}
	}
	return true
}

func alphabet(ranges string) *[256]bool {
	var t [256]bool
	for i := 0; i < len(ranges); i++ {
		t[ranges[i]] = true
	}
	return &t
}

const (
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lower  = "abcdefghijklmnopqrstuvwxyz"
	digits = "0123456789"
)

// The alphabets of nmvs-interface.md 1.4; never written.
var (
	idChars     = alphabet(upper + lower + digits + "-")
	digitChars  = alphabet(digits)
	serialChars = alphabet("!\"%&'()*+,-./:;<=>?_" + upper + lower + digits)
	nhrnChars   = alphabet(upper + digits)
	lowerChars  = alphabet(lower)
)
