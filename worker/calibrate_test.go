package worker

import (
	"strings"
	"testing"
	"time"

	"decom/worker/scan"
)

// TestACalibrationEndsInAdviceOrAProfileThatWorks: what the profile is said to read is
// read, and nothing is advised without a sentence in both languages.
func TestACalibrationEndsInAdviceOrAProfileThatWorks(t *testing.T) {
	from, to := []rune("1234567890!\"%&'()*,-./:;<>?_aqwzmAQWZM]"), []rune("&é\"'(-è_çà1%57ù908;):!Mm./§°qazw,QAZW?$")
	french := strings.Map(func(r rune) rune {
		for i, f := range from {
			if f == r {
				return to[i]
			}
		}
		return r
	}, CalibrationCode)
	for _, tc := range []struct {
		name, arrived, words string
		ok, profile          bool
	}{
		{"right", CalibrationCode + "\r", "", true, false},
		{"french host", french, "layout", false, true},
		{"written separators", strings.ReplaceAll(CalibrationCode, "\x1d", "{GS}"), "separator", false, true},
		{"no identifier", CalibrationCode[3:], "identifier", false, false},
		{"no separators and no identifier", strings.ReplaceAll(CalibrationCode[3:], "\x1d", ""), "identifier separator", false, false},
		{"suffix", CalibrationCode + "X", "suffix", false, false},
		{"nonsense", "hello", "unknown", false, false},
		{"nothing", "", "unknown", false, false},
	} {
		c := Calibrate(CalibrationCode, tc.arrived)
		var words []string
		for _, a := range c.Advice {
			words = append(words, a.Word)
			if a.Text.FR == "" || a.Text.EN == "" || a.Text.FR == a.Text.EN {
				t.Errorf("%s: %+v", tc.name, a)
			}
		}
		if c.OK != tc.ok || strings.Join(words, " ") != tc.words || (c.Profile != nil) != tc.profile {
			t.Errorf("%s: %+v", tc.name, c)
		}
		if c.Profile == nil {
			continue
		}
		r, rejection := Devices{*c.Profile}.Read(scan.Event{Scan: tc.arrived}, time.Now())
		if err := c.Profile.Validate(); err != nil || rejection != nil || r.Pack.Serial() != "7X4F8L2" {
			t.Errorf("%s: profile %+v reads %+v, %v, %v", tc.name, c.Profile, r, rejection, err)
		}
	}
}
