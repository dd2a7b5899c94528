package gs1

import "strings"

// Keyboard is the host layout that a device was calibrated to (domain guide, section 6 rule 4). Zero: none, only what
// proves itself is repaired.
type Keyboard uint8

// The layouts that can be undone: one character for each, none of them a dead key.
const (
	KeyboardNone Keyboard = iota
	KeyboardFrench
	KeyboardBelgian
	KeyboardItalian
	KeyboardBritish
)

// layout is what a host makes of a scanner that types as a US keyboard, pair by pair; what is not listed passes unchanged.
type layout struct {
	name     string
	from, to string
	keyboard Keyboard // zero: it cannot be undone safely (dead keys, letters that change places beside an intact look)
}

// layouts are known for calibration, so that the refusal names the one setting to change.
var layouts = [...]layout{
	{"french", usKeys, frenchKeys, KeyboardFrench},
	{"belgian", usKeys, belgianKeys, KeyboardBelgian},
	{"british", "\"@", "@\"", KeyboardBritish},
	{"italian", "]-=+/\"'&()*:;<>?_", "+'ì^-°à/)=(çò;:_?", KeyboardItalian},
	{"german", "yzYZ]-=+/\"'&()*:;<>?_", "zyZY+ß´`-Ää/)=(Öö;:_?", 0},
	{"spanish", "]-=+/\"'&()*:;<>?_", "+'¡¿-¨´/)=(Ññ;:_?", 0},
	{"nordic", "]-=+/\"'&()*:;<>?_", "¨+´`-Ää/)=(Öö;:_?", 0},
	{"hungarian", "0yzYZ]-=+/\"'%&()*:;<>?_", "özyZYúüóÓ-Áá%=)Ö(Éé?:_Ü", 0},
	{"czech", "1234567890yzYZ]-=!\"%&'()*/:;?_", "+ěščřžýáíézyZY)=´1!57§908-\"ů_%", 0},
}

// types gives what arrives when text is typed.
func (l *layout) types(text string) string {
	from, to := []rune(l.from), []rune(l.to)
	return strings.Map(func(r rune) rune {
		for i, f := range from {
			if f == r {
				return to[i]
			}
		}
		return r
	}, text)
}

// ParseKeyboard reads the name of a layout that can be undone.
func ParseKeyboard(name string) (k Keyboard, ok bool) {
	for i := range layouts {
		if l := &layouts[i]; l.name == name && l.keyboard != 0 {
			return l.keyboard, true
		}
	}
	return KeyboardNone, name == ""
}

// Keyboards names the layouts that can be undone.
func Keyboards() (names []string) {
	for i := range layouts {
		if layouts[i].keyboard != 0 {
			names = append(names, layouts[i].name)
		}
	}
	return names
}

var undoItalian, undoBritish = undoOf(KeyboardItalian), undoOf(KeyboardBritish)

func undoOf(k Keyboard) (undo undoMap) {
	for i := range layouts {
		if l := &layouts[i]; l.keyboard == k {
			return buildUndoFrom(l.from, l.to)
		}
	}
	return undo
}

// calibrated gives the map of a device's layout and how the symbology identifier arrives there.
func (k Keyboard) calibrated() (undo *undoMap, id string) {
	switch k {
	case KeyboardFrench:
		return &undoFrench, azertyID
	case KeyboardBelgian:
		return &undoBelgian, azertyID
	case KeyboardItalian:
		return &undoItalian, "+d2"
	case KeyboardBritish:
		return &undoBritish, "]d2"
	}
	return nil, ""
}

// parseCalibrated reads a text of a device whose layout is known from its calibration. Only a text that begins as the
// identifier arrives on that layout is undone; "]d2" as it is proves that no layout stands between; all else is refused.
func parseCalibrated(text string, opt *Options) (Result, Reason, int) {
	undo, id := opt.Keyboard.calibrated()
	switch {
	case strings.HasPrefix(text, id):
	case strings.HasPrefix(text, "]d2"):
		return parseElements(text, len("]d2"), len(text), opt.Now)
	default:
		strict := *opt
		strict.Keyboard, strict.Declared = KeyboardNone, false
		r, reason, off := parseForm(text, &strict)
		if reason == ReasonOK && r.Repaired { // by the proof of another family than the calibrated one
			return Result{}, ReasonLayout, 0
		}
		return r, reason, off
	}
	sent, ok := undo.undone(text)
	if !ok {
		return Result{}, ReasonLayout, 0
	}
	r, reason, off := parseElements(sent, len("]d2"), len(sent), opt.Now)
	if reason != ReasonOK {
		return Result{}, reason, min(off, len(text))
	}
	r.Repaired = sent != text
	return r, ReasonOK, 0
}
