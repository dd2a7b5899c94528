package gs1

import (
	"strings"
)

// Finding is what a device does to a text that is known.
type Finding struct {
	// Known says that the arrived text is explained whole by what follows.
	Known bool
	// Layout is the host's layout that the device types into, "" for none (or none that is known). Keyboard is the same
	// where it can be undone.
	Layout   string
	Keyboard Keyboard
	// NoID: the symbology identifier is not sent.
	NoID bool
	// Case: upper and lower case are swapped.
	Case bool
	// Separator is how the separator arrives: "" as it is, "missing", or as written: \x1D, {GS}, <GS>, ^.
	Separator string
	// Prefix and Suffix are what the device adds.
	Prefix, Suffix string
}

// OK says that the device is set as it should be.
func (f *Finding) OK() bool {
	return f.Known && f.Layout == "" && !f.NoID && !f.Case && f.Separator == "" && f.Prefix == "" && f.Suffix == ""
}

// separatorWays are the ways in which a separator arrives, the right one first.
var separatorWays = [...]struct{ name, text string }{
	{"", string(rune(separator))}, {"missing", ""}, {`\x1D`, `\x1D`}, {`\x1D`, `\x1d`}, {"{GS}", "{GS}"}, {"<GS>", "<GS>"}, {"^", "^"},
}

// Calibrate finds out what a device did to sent, a text that is known to the byte, symbology identifier included. It
// compares with everything that it knows devices do and guesses nothing: what it cannot explain whole is not Known, with
// the Layout that the beginning gives away. The more characters sent has, the fewer layouts look alike.
func Calibrate(sent, arrived string) Finding {
	arrived = strings.TrimRight(arrived, "\r\n")
	for _, swapped := range [...]bool{false, true} {
		for _, way := range separatorWays {
			for _, noID := range [...]bool{false, true} {
				for i := -1; i < len(layouts); i++ {
					f := Finding{Known: true, NoID: noID, Case: swapped, Separator: way.name}
					if text, ok := f.expect(sent, way.text, i, arrived); ok {
						return text
					}
				}
			}
		}
	}
	return Finding{Layout: family(arrived)}
}

// expect makes what would arrive and compares; i is the layout, -1 for none.
func (f Finding) expect(sent, way string, i int, arrived string) (Finding, bool) {
	text := sent
	if f.NoID {
		text = strings.TrimPrefix(text, "]d2")
	}
	text = strings.ReplaceAll(text, string(rune(separator)), way)
	if f.Case {
		text = swapCase(text)
	}
	if i >= 0 {
		f.Layout, f.Keyboard = layouts[i].name, layouts[i].keyboard
		text = layouts[i].types(text)
	}
	before, after, ok := strings.Cut(arrived, text)
	if !ok {
		return f, false
	}
	f.Prefix, f.Suffix = before, after
	// A whole identifier before the text is no prefix: it was sent.
	return f, !f.NoID || !strings.HasSuffix(f.Prefix, "]d2")
}

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, s)
}

// TestCode is a data carrier for calibration: a pack of no real product, and in AI 91 every character that a serial may
// hold, so that no two layouts look alike.
const TestCode = "]d20103400930000007" + "17281100" + "10LOT42\x1d" + "217X4F8L2\x1d" +
	"91!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
