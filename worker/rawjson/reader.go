package rawjson

import (
	"math"
	"strings"
	"unicode/utf8"
)

// Reader walks one JSON text. Once something is not as it expects, it is spoilt:
// everything after gives zero values, and [Reader.End] says false.
type Reader struct {
	s   string
	i   int
	bad bool
}

// NewReader returns a reader of s, which must be UTF-8 to be read at all. Strings that it
// returns keep s in memory.
func NewReader(s string) Reader { return Reader{s: s, bad: !utf8.ValidString(s)} }

// Spoil says that the text is one for encoding/json.
func (r *Reader) Spoil() { r.bad = true }

// End says that the whole text was read, and nothing but white space is left.
func (r *Reader) End() bool {
	r.space()
	return !r.bad && r.i == len(r.s)
}

func (r *Reader) space() {
	for r.i < len(r.s) {
		switch r.s[r.i] {
		case ' ', '\t', '\n', '\r':
			r.i++
		default:
			return
		}
	}
}

// peek returns the next byte that is no white space, 0 at the end.
func (r *Reader) peek() byte {
	if r.i < len(r.s) && r.s[r.i] > ' ' {
		return r.s[r.i]
	}
	r.space()
	if r.bad || r.i >= len(r.s) {
		return 0
	}
	return r.s[r.i]
}

func (r *Reader) expect(c byte) {
	if r.bad || r.peek() != c {
		r.bad = true
		return
	}
	r.i++
}

// Open reads the bracket that begins an object or an array.
func (r *Reader) Open(bracket byte) { r.expect(bracket) }

// More says whether another member or element follows the n that were read; if not, it
// has read the closing bracket.
func (r *Reader) More(bracket byte, n int) bool {
	if r.bad {
		return false
	}
	if r.peek() == bracket {
		r.i++
		return false
	}
	if n > 0 {
		r.expect(',')
	}
	return !r.bad
}

// Names of one object, to find one that comes twice: encoding/json then takes the last.
type Names uint32

// Once notes that name number n of an object has come. It spoils the reader when it came
// before.
func (r *Reader) Once(seen *Names, n uint) {
	if *seen&(1<<n) != 0 {
		r.bad = true
	}
	*seen |= 1 << n
}

// Name reads a member's name and the colon. Names with escapes are for encoding/json.
func (r *Reader) Name() string {
	if r.bad || r.peek() != '"' {
		r.bad = true
		return ""
	}
	end := strings.IndexByte(r.s[r.i+1:], '"')
	if end < 0 {
		r.bad = true
		return ""
	}
	name := r.s[r.i+1 : r.i+1+end]
	r.i += end + 2
	r.expect(':')
	return name // one with an escape or a control character is none of ours: the caller spoils the reader
}

// Str reads a string. null is for encoding/json.
func (r *Reader) Str() string {
	if r.bad || r.peek() != '"' {
		r.bad = true
		return ""
	}
	from := r.i + 1
	for i := from; i < len(r.s); i++ {
		switch c := r.s[i]; {
		case c == '"':
			r.i = i + 1
			return r.s[from:i]
		case c == '\\':
			return r.escaped(from, i)
		case c < 0x20:
			r.bad = true
			return ""
		}
	}
	r.bad = true
	return ""
}

// escaped reads on at the first escape of a string. Escapes above U+007F, of which two may make one
// character, are for encoding/json.
func (r *Reader) escaped(from, i int) string {
	b := append(make([]byte, 0, 96), r.s[from:i]...)
	for i < len(r.s) {
		c := r.s[i]
		switch {
		case c == '"':
			r.i = i + 1
			return string(b)
		case c < 0x20:
			r.bad = true
			return ""
		case c != '\\':
			b = append(b, c)
			i++
			continue
		}
		c, n := unescape(r.s[i:])
		if n == 0 {
			break
		}
		b = append(b, c)
		i += n
	}
	r.bad = true
	return ""
}

// unescape reads one escape and its length, 0 for one that is not for us.
func unescape(s string) (c byte, n int) {
	if len(s) < 2 {
		return 0, 0
	}
	switch s[1] {
	case '"', '\\', '/':
		return s[1], 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		if len(s) < 6 || s[2] != '0' || s[3] != '0' {
			return 0, 0
		}
		hi, ok1 := nibble(s[4])
		lo, ok2 := nibble(s[5])
		if !ok1 || !ok2 || hi > 7 {
			return 0, 0
		}
		return hi<<4 | lo, 6
	}
	return 0, 0
}

func nibble(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// Strs reads an array of strings.
func (r *Reader) Strs() []string {
	out := []string{}
	r.Open('[')
	for n := 0; r.More(']', n); n++ {
		out = append(out, r.Str())
	}
	return out
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	r.peek()
	switch rest := r.s[min(r.i, len(r.s)):]; {
	case r.bad:
	case strings.HasPrefix(rest, "true"):
		r.i += 4
		return true
	case strings.HasPrefix(rest, "false"):
		r.i += 5
	default:
		r.bad = true
	}
	return false
}

// Uint reads a whole number that is not negative.
func (r *Reader) Uint() uint64 {
	if r.bad {
		return 0
	}
	r.peek()
	from, v := r.i, uint64(0)
	for ; r.i < len(r.s) && r.s[r.i] >= '0' && r.s[r.i] <= '9'; r.i++ {
		v = v*10 + uint64(r.s[r.i]-'0')
	}
	n := r.i - from
	if n == 0 || n > 19 || n > 1 && r.s[from] == '0' || r.i < len(r.s) && strings.IndexByte(".eE", r.s[r.i]) >= 0 {
		r.bad = true
		return 0
	}
	return v
}

// Int reads a whole number.
func (r *Reader) Int() int64 {
	neg := r.peek() == '-'
	if neg {
		r.i++
		if r.i >= len(r.s) || r.s[r.i] < '0' || r.s[r.i] > '9' {
			r.bad = true
		}
	}
	v := r.Uint()
	if v > math.MaxInt64 {
		r.bad = true
		return 0
	}
	if neg {
		return -int64(v)
	}
	return int64(v)
}
