package main

import (
	"math/rand/v2"
	"strings"

	"decom/worker/scan"
)

const (
	dataMatrixID = "]d2" // AIM identifier of a GS1 Data Matrix
	groupSep     = "\x1d"
)

// element is one field of a GS1 element string; fixed ones need no separator.
type element struct {
	ai, value string
	fixed     bool
}

func elementsOf(p scan.Pack) (code, serial, expiry, batch element) {
	return element{"01", p.Code(), true}, element{"21", p.Serial(), false},
		element{"17", p.Expiry(), true}, element{"10", p.Batch(), false}
}

// carrierText writes elements the way a scanner sends them: a separator behind each
// variable one that is not the last.
func carrierText(id string, elements ...element) string {
	var b strings.Builder
	b.WriteString(id)
	for i, e := range elements {
		b.WriteString(e.ai)
		b.WriteString(e.value)
		if !e.fixed && i < len(elements)-1 {
			b.WriteString(groupSep)
		}
	}
	return b.String()
}

// carrierOrders are the field orders seen on packs, the commonest twice
// (domain.md section 5). Numbers: 0 code, 1 serial, 2 expiry, 3 batch.
var carrierOrders = [...][4]int{{0, 1, 2, 3}, {0, 1, 2, 3}, {0, 2, 3, 1}, {0, 3, 2, 1}, {0, 1, 3, 2}, {2, 3, 0, 1}}

// carrier is a sound Data Matrix of the pack, in one of the forms that makers print and
// scanners send: any field order, sometimes a national number, a separator too many
// behind a fixed field, a leading FNC1, or no symbology identifier.
func carrier(rng *rand.Rand, p scan.Pack) string {
	code, serial, expiry, batch := elementsOf(p)
	all := [...]element{code, serial, expiry, batch}
	var list []element
	for _, i := range carrierOrders[rng.IntN(len(carrierOrders))] {
		list = append(list, all[i])
	}
	if rng.IntN(8) == 0 {
		list = append(list, element{"711", p.Code()[1:], false})
	}
	id := dataMatrixID
	switch rng.IntN(20) {
	case 0, 1:
		id = ""
	case 2:
		id += groupSep
	}
	text := carrierText(id, list...)
	if rng.IntN(12) == 0 {
		text = strings.Replace(text, "17"+p.Expiry()+"10", "17"+p.Expiry()+groupSep+"10", 1)
	}
	return text
}

// plainCarrier is the commonest form, for scans that get mangled afterwards.
func plainCarrier(id string, p scan.Pack) string {
	code, serial, expiry, batch := elementsOf(p)
	return carrierText(id, code, serial, expiry, batch)
}

// envelope is the IFA form of a German pack: ISO 15434 with a PPN.
func envelope(p scan.Pack) string {
	return "[)>\x1e06\x1d9N" + p.Code() + "\x1d1T" + p.Batch() + "\x1dD" + p.Expiry() + "\x1dS" + p.Serial() + "\x1e\x04"
}

// azerty is what a French host makes of a US keyboard scanner's text (domain.md section 6).
func azerty(text string) string {
	const (
		sent    = "1234567890!\"%&'()*,-./:;<>?_aqwzmAQWZM]"
		arrived = "&é\"'(-è_çà1%57ù908;):!Mm./§°qazw,QAZW?$"
	)
	keys := []rune(arrived)
	return strings.Map(func(r rune) rune {
		if i := strings.IndexRune(sent, r); i >= 0 {
			return keys[i]
		}
		return r
	}, text)
}

// capsLock inverts the case of letters.
func capsLock(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, text)
}

// checkDigit is the mod 10 digit that completes digits (weights 3, 1 from the right).
func checkDigit(digits string) string {
	sum := 0
	for i, weight := len(digits)-1, 3; i >= 0; i, weight = i-1, 4-weight {
		sum += weight * int(digits[i]-'0')
	}
	return string(rune('0' + (10-sum%10)%10))
}

// ppnOf makes a German product number of an 8-digit PZN (domain.md section 5).
func ppnOf(pzn string) string {
	code, sum := "11"+pzn, 0
	for i := range len(code) {
		sum += (i + 2) * int(code[i])
	}
	sum %= 97
	return code + string(rune('0'+sum/10)) + string(rune('0'+sum%10))
}
