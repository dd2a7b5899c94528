package rawjson

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const hex = "0123456789abcdef"

// plainText and plainHTML mark the bytes that stand for themselves in a JSON string: without
// and with the escapes of json.Marshal for <, > and &.
var plainText, plainHTML = plain(""), plain("<>&")

func plain(but string) *[256]bool {
	var t [256]bool
	for c := byte(0x20); c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\' && strings.IndexByte(but, c) < 0
	}
	return &t
}

// AppendString appends s in quotes. html escapes <, > and & too, as json.Marshal does.
// Bytes that are not UTF-8 become U+FFFD.
func AppendString(b []byte, s string, html bool) []byte {
	table := plainText
	if html {
		table = plainHTML
	}
	b = append(b, '"')
	i := 0
	for i < len(s) && table[s[i]] {
		i++
	}
	if i < len(s) {
		b, s = appendUnusual(b, s, i, table)
	}
	b = append(b, s...)
	return append(b, '"')
}

// appendUnusual appends s up to its last byte that is not plain, of which i is the first, and
// returns the rest.
func appendUnusual(b []byte, s string, i int, table *[256]bool) ([]byte, string) {
	done := 0
	for i < len(s) {
		c := s[i]
		if table[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[done:i]...)
			b = appendEscape(b, c)
			i++
			done = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, s[done:i]...)
			b = append(b, `\ufffd`...)
			done = i + size
		case r == '\u2028' || r == '\u2029': // no line breaks in JavaScript's eyes
			b = append(b, s[done:i]...)
			b = append(b, `\u202`...)
			b = append(b, hex[r&0xf])
			done = i + size
		}
		i += size
	}
	return b, s[done:]
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
}

// AppendStrings appends an array of strings; a nil one is null.
func AppendStrings(b []byte, ss []string, html bool) []byte {
	if ss == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, s := range ss {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, s, html)
	}
	return append(b, ']')
}

// Object writes the members of one object in the order of its calls. The zero
// Object is not usable; get one from [NewObject]. Names must need no escaping.
type Object struct {
	B     []byte // the text so far
	html  bool
	comma bool
}

// NewObject begins an object behind b. html is as for [AppendString].
func NewObject(b []byte, html bool) Object { return Object{B: append(b, '{'), html: html} }

// End closes the object and returns the text.
func (o *Object) End() []byte { return append(o.B, '}') }

// Name begins a member; its value must be appended to B next.
func (o *Object) Name(name string) {
	if o.comma {
		o.B = append(o.B, ',')
	}
	o.comma = true
	o.B = append(o.B, '"')
	o.B = append(o.B, name...)
	o.B = append(o.B, '"', ':')
}

// Str writes a string.
func (o *Object) Str(name, s string) {
	o.Name(name)
	o.B = AppendString(o.B, s, o.html)
}

// OptStr writes a string that is not empty.
func (o *Object) OptStr(name, s string) {
	if s != "" {
		o.Str(name, s)
	}
}

// Int writes a number.
func (o *Object) Int(name string, n int64) {
	o.Name(name)
	o.B = strconv.AppendInt(o.B, n, 10)
}

// OptInt writes a number that is not 0.
func (o *Object) OptInt(name string, n int64) {
	if n != 0 {
		o.Int(name, n)
	}
}

// Uint writes a number.
func (o *Object) Uint(name string, n uint64) {
	o.Name(name)
	o.B = strconv.AppendUint(o.B, n, 10)
}

// Bool writes true or false.
func (o *Object) Bool(name string, v bool) {
	o.Name(name)
	o.B = strconv.AppendBool(o.B, v)
}

// OptBool writes true, or nothing.
func (o *Object) OptBool(name string, v bool) {
	if v {
		o.Bool(name, v)
	}
}

// OptBoolPtr writes what v points to, or nothing.
func (o *Object) OptBoolPtr(name string, v *bool) {
	if v != nil {
		o.Bool(name, *v)
	}
}
