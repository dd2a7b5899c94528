package gs1

import "strings"

// isLink reports whether text is a web address at all.
func isLink(text string) bool {
	return strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://")
}

// parseLink reads a GS1 Digital Link URI: /01/{gtin}, optionally /10/{batch} and /21/{serial} in the path, the others in
// the query. Values are percent-decoded once.
func parseLink(text string, opt *Options) (Result, Reason, int) {
	path := strings.Index(text, "/01/")
	if path < 0 {
		return Result{}, ReasonMalformed, len(text)
	}
	if end := strings.IndexByte(text, '#'); end >= 0 {
		return Result{}, ReasonMalformed, end
	}
	query := strings.IndexByte(text, '?')
	if query >= 0 && query < path {
		return Result{}, ReasonMalformed, query
	}
	// The elements are put together as an element string and read by the same strict reader.
	out := make([]byte, 0, len(text))
	rest, at := text[path+1:], path+1
	inQuery := false
	for rest != "" {
		stop, mark := "/?", byte('/')
		if inQuery {
			stop, mark = "&;", '='
		}
		ai, tail, found := strings.Cut(rest, string(mark))
		if !found {
			return Result{}, ReasonMalformed, at
		}
		end := strings.IndexAny(tail, stop)
		if end < 0 {
			end = len(tail)
		}
		numbered := len(ai) >= 2 && firstOutside(ai, classDigit) == len(ai)
		switch {
		case numbered:
			var ok bool
			if out, ok = appendLinkElement(out, ai, tail[:end]); !ok {
				return Result{}, ReasonMalformed, at
			}
		case !inQuery:
			return Result{}, ReasonMalformed, at // a query may carry other parameters, the path may not
		}
		if end == len(tail) {
			break
		}
		inQuery = inQuery || tail[end] == '?'
		at += len(ai) + 1 + end + 1
		rest = tail[end+1:]
	}
	element := string(out)
	r, reason, _ := parseElements(element, 0, len(element), opt.Now)
	if reason != ReasonOK {
		return Result{}, reason, path
	}
	return r, ReasonOK, 0
}

// appendLinkElement adds identifier, decoded value and a separator where one is needed.
func appendLinkElement(out []byte, ai, value string) ([]byte, bool) {
	switch ai {
	case "01", "10", "17", "21":
	default:
		// Whole identifiers only: "310" before "3..." would be read as 3103.
		if _, spec, ok := lookupAI(ai); !ok || int(spec.digits) != len(ai) {
			return out, false
		}
	}
	if len(out) > 0 {
		out = append(out, separator)
	}
	out = append(out, ai...)
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c == '%' {
			if i+2 >= len(value) {
				return out, false
			}
			hi, lo := unhex(value[i+1]), unhex(value[i+2])
			if hi > 15 || lo > 15 {
				return out, false
			}
			c, i = hi<<4|lo, i+2
		}
		if classes[c]&classText == 0 {
			return out, false // a separator written in a value would open another element
		}
		out = append(out, c)
	}
	return out, true
}

func unhex(c byte) byte {
	switch {
	case c-'0' <= 9:
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}
