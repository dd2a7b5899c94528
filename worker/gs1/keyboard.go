package gs1

import (
	"strings"
	"unicode/utf8"
)

// What a US keyboard scanner means, and what a French and a Belgian host make of it (domain guide, section 6). Characters
// that are not listed pass unchanged. The Belgian layouts of the operating systems (comma, period, French) differ on the
// number pad only, so one map undoes all of them.
const (
	usKeys      = "1234567890" + "!\"%&'()*" + ",-./:;<>?_" + "aqwzmAQWZM" + "]" + "+="
	frenchKeys  = "&é\"'(-è_çà" + "1%57ù908" + ";):!Mm./§°" + "qazw,QAZW?" + "$" + "+="
	belgianKeys = "&é\"'(§è!çà" + "1%57ù908" + ";):=Mm./+°" + "qazw,QAZW?" + "$" + "_-"
)

// azertyID is how the symbology identifier "]d2" arrives on the French and Belgian hosts, and only there.
const azertyID = "$dé"

// undoMap gives, by the character that arrived (all are in Latin-1), the one that was sent; 0: no key makes it.
type undoMap [256]byte

var (
	undoFrench  = buildUndo(frenchKeys)
	undoBelgian = buildUndo(belgianKeys)
)

func buildUndo(keys string) undoMap { return buildUndoFrom(usKeys, keys) }

// buildUndoFrom takes the characters that a layout changes, pair by pair.
func buildUndoFrom(sent, keys string) (undo undoMap) {
	undo[separator] = separator
	for c := range undo {
		if (classes[c]&classText != 0 || c == ']') && strings.IndexByte(sent, byte(c)) < 0 {
			undo[c] = byte(c)
		}
	}
	i := 0
	for _, arrived := range keys {
		undo[arrived] = sent[i]
		i++
	}
	return undo
}

// undone gives what was sent, or ok false when the layout cannot have made the text.
func (undo *undoMap) undone(text string) (sent string, ok bool) {
	out := make([]byte, 0, len(text))
	for _, arrived := range text {
		if arrived >= rune(len(undo)) || undo[arrived] == 0 {
			return "", false
		}
		out = append(out, undo[arrived])
	}
	return string(out), true
}

// parseAzerty reads a text that arrived through a French or Belgian host. Both layouts are undone and read strictly; it is
// proof only when all readings that are valid agree, because the two differ on 6, 8 and symbols. Everything short of
// proof is ReasonLayout, whatever was wrong with the readings.
func parseAzerty(text string, opt *Options) (Result, Reason, int) {
	if !strings.HasPrefix(text, azertyID) {
		return Result{}, ReasonLayout, 0
	}
	var proved Result
	for _, undo := range [...]*undoMap{&undoFrench, &undoBelgian} {
		sent, ok := undo.undone(text)
		if !ok {
			continue
		}
		r, reason, _ := parseElements(sent, len("]d2"), len(sent), opt.Now)
		if reason != ReasonOK {
			continue
		}
		if proved.Repaired && (proved.UI != r.UI || proved.NHRN != r.NHRN) {
			return Result{}, ReasonLayout, 0
		}
		proved = r
		proved.Repaired = true
	}
	if !proved.Repaired {
		return Result{}, ReasonLayout, 0
	}
	return proved, ReasonOK, 0
}

// idFamilies: what "]d2" becomes, and the layouts known to do that. For the message only.
var idFamilies = [...]struct{ prefix, name string }{
	{"$d", "azerty"},
	{"£D2", "azerty with caps lock"},
	{"+d2", "german|italian|spanish"},
	{"¨d2", "nordic|swiss"},
	{"úd2", "hungarian"},
	{")dě", "czech"},
	{"ädľ", "slovak"},
	{"*d2", "dutch"},
	{"đd2", "croatian|slovenian"},
	{"õd2", "estonian"},
	{"üd2", "turkish"},
	{"´d2", "portuguese"},
	{"]δ2", "greek"},
	{"ъв2", "russian"},
	{"ü=:", "german"}, // "[)>" of an ISO 15434 envelope
}

// digitRows: what the digits of an identifier's first application identifier become when no symbology identifier was sent.
var digitRows = [...]struct{ keys, name string }{
	{"&é\"'(-è_çà§!", "azerty"},
	{"+ěščřžýáíé", "czech"},
	{"+ľščťžýáíé", "slovak"},
}

// family names the keyboard layout that the beginning of text gives away, "" when it cannot be told.
func family(text string) string {
	for _, f := range idFamilies {
		if strings.HasPrefix(text, f.prefix) {
			return f.name
		}
	}
	a, b := firstRunes(text)
	for _, row := range digitRows {
		if strings.ContainsRune(row.keys, a) && strings.ContainsRune(row.keys, b) {
			return row.name
		}
	}
	return ""
}

// looksMangled tells a text that a keyboard layout has damaged from plain nonsense, by its first two characters: an
// unknown character before the d of "]d2", anything outside ASCII, or two keys of a digit row.
func looksMangled(text string) bool {
	a, b := firstRunes(text)
	if a == utf8.RuneError || classAlnumASCII(a) {
		return family(text) != ""
	}
	return b == 'd' || b == 'D' || a >= utf8.RuneSelf || b >= utf8.RuneSelf || family(text) != ""
}

func classAlnumASCII(r rune) bool {
	return r < utf8.RuneSelf && classes[r]&classAlnum != 0
}

func firstRunes(text string) (a, b rune) {
	a, size := utf8.DecodeRuneInString(text)
	b, _ = utf8.DecodeRuneInString(text[size:])
	return a, b
}
