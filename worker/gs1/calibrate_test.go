package gs1

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTheTestCodeIsAPackWithEveryCharacter(t *testing.T) {
	r, err := Parse(TestCode, Options{Now: now2026})
	if err != nil || r.UI.Serial != "7X4F8L2" {
		t.Fatal(r, err)
	}
	for _, c := range testCSET82 {
		if !strings.ContainsRune(TestCode[3:], c) {
			t.Errorf("%c is missing", c)
		}
	}
}

// TestCalibrationFindsWhatTheDeviceDoes uses the tests' own tables of layouts.
func TestCalibrationFindsWhatTheDeviceDoes(t *testing.T) {
	if f := Calibrate(TestCode, TestCode+"\r\n"); !f.OK() {
		t.Errorf("%+v", f)
	}
	names := map[string]string{"swedish": "nordic"}
	for _, h := range append([]host{frenchHost, belgianHost}, otherHosts...) {
		want := h.name
		if n := names[want]; n != "" {
			want = n
		}
		if want == "caps lock" {
			continue
		}
		for _, way := range separatorWays {
			for _, noID := range []bool{false, true} {
				text := strings.ReplaceAll(TestCode, gs, way.text)
				if noID {
					text = text[3:]
				}
				f := Calibrate(TestCode, h.types(text))
				if !f.Known || f.Layout != want || f.NoID != noID || f.Separator != way.name || f.OK() {
					t.Errorf("%s, separator %q, no id %v: %+v", h.name, way.name, noID, f)
				}
			}
		}
	}
	for _, tc := range []struct {
		name, arrived string
		want          Finding
	}{
		{"caps lock", swapCase(TestCode), Finding{Known: true, Case: true}},
		{"no identifier", TestCode[3:], Finding{Known: true, NoID: true}},
		{"no separator", strings.ReplaceAll(TestCode, gs, ""), Finding{Known: true, Separator: "missing"}},
		{"suffix", TestCode + "3400930000007", Finding{Known: true, Suffix: "3400930000007"}},
		{"prefix", "01:" + TestCode, Finding{Known: true, Prefix: "01:"}},
		{"unknown layout", "+d2" + strings.ToUpper(TestCode[3:]), Finding{Layout: "german|italian|spanish"}},
		{"another code", "]d2" + body, Finding{}},
	} {
		if f := Calibrate(TestCode, tc.arrived); f != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, f, tc.want)
		}
	}
}

var calibratedHosts = map[Keyboard]host{
	KeyboardFrench: frenchHost, KeyboardBelgian: belgianHost,
	KeyboardItalian: otherHosts[1], KeyboardBritish: otherHosts[4],
}

// TestACalibratedLayoutIsUndoneWhole: every character, on each layout that can be undone.
func TestACalibratedLayoutIsUndoneWhole(t *testing.T) {
	for k, h := range calibratedHosts {
		r, err := Parse(h.types(TestCode), Options{Keyboard: k, Now: now2026})
		if err != nil || r.UI.Serial != "7X4F8L2" || !r.Repaired {
			t.Errorf("%s: %+v %v", h.name, r, err)
		}
		if r, err := Parse(TestCode, Options{Keyboard: k, Now: now2026}); k != KeyboardBritish && (err != nil || r.Repaired) {
			t.Errorf("%s, scanner set right since: %+v %v", h.name, r, err)
		}
		if _, err := Parse(h.types(TestCode[3:]), Options{Keyboard: k, Declared: true, Now: now2026}); err == nil {
			t.Errorf("%s: taken without its identifier", h.name)
		}
	}
	for _, name := range Keyboards() {
		if k, ok := ParseKeyboard(name); !ok || k == KeyboardNone {
			t.Errorf("%s is not read", name)
		}
	}
	if _, ok := ParseKeyboard("german"); ok {
		t.Error("german is undone: y and z change places beside dead keys")
	}
}

// TestNoProfileTurnsMangledTextIntoAWrongPack is the layout study's rule (domain guide, section 6): whatever a layout, a
// lost or a written separator, a lost identifier or Caps Lock made of a code, what is accepted is what was printed. The
// profiles are those that are true of the device: none, the identifier required, or the layout that it was calibrated to.
func TestNoProfileTurnsMangledTextIntoAWrongPack(t *testing.T) {
	hosts := append([]host{frenchHost, belgianHost, {name: "us"}}, otherHosts...)
	rapid.Check(t, func(t *rapid.T) {
		u := drawGTIN(t)
		sent := "]d2" + drawElements(t, u)
		h := rapid.SampledFrom(hosts).Draw(t, "host")
		way := rapid.SampledFrom(separatorWays[:]).Draw(t, "separator")
		opt := Options{Now: now2026, Declared: true}
		if rapid.Bool().Draw(t, "no identifier") {
			sent, opt.Declared = sent[3:], false
		}
		for k, calibrated := range calibratedHosts {
			if calibrated.name == h.name && rapid.Bool().Draw(t, "calibrated") {
				opt.Keyboard = k
			}
		}
		if way.name != "" && way.name != "missing" && rapid.Bool().Draw(t, "style declared") {
			opt.Escapes, opt.Written = true, way.name
		}
		for i := range len(way.text) {
			// A style that the code's own characters can spell is not one to declare.
			if opt.Escapes && strings.Contains(u.Serial+u.Batch, way.text[i:i+1]) {
				t.Skip("the style stands in the code")
			}
		}
		text := h.types(strings.ReplaceAll(sent, gs, way.text))
		got, err := Parse(text, opt)
		if err == nil && got.UI != u {
			t.Fatalf("%s, %+v: %q accepted as %+v, printed was %+v", h.name, opt, text, got.UI, u)
		}
	})
}
