package main

import (
	"strings"
	"testing"

	"decom/worker"
	"decom/worker/scan"
)

func TestCalibrateTellsWhichSettingToChange(t *testing.T) {
	for _, tc := range []struct {
		name, scanned string
		args          []string
		code          int
		want          []string
	}{
		{"right", worker.CalibrationCode + "\r\n", nil, 0, []string{"<GS>217X4F8L2<GS>91", "nothing to change"}},
		{"written separators", strings.ReplaceAll(worker.CalibrationCode, "\x1d", "^"), []string{"--device", "desk-1"}, exitThreshold, []string{"written as ^", "- {device: desk-1, symbology: required, separators: '^'}"}},
		{"no identifier, in French", worker.CalibrationCode[3:], []string{"--lang", "fr"}, exitThreshold, []string{"Transmit AIM Code ID", "Ne vous en servez pas"}},
		{"French host, a pack at hand", mangled(), []string{"--code", "(01)03400930000007(21)7X4F8L2(17)281100(10)LOT42"}, exitThreshold, []string{"keyboard country"}},
		{"JSON", worker.CalibrationCode[3:], []string{"--json"}, exitThreshold, []string{`"ok":false`, `"word":"identifier"`}},
		{"nothing scanned", "", nil, exitFailure, []string{"no scan arrived"}},
		{"code that is none", "x", []string{"--code", "0101"}, exitUsage, []string{"bracketed"}},
	} {
		r := inProcess(t, nil, tc.scanned, append([]string{"device", "calibrate"}, tc.args...)...)
		if r.code != tc.code {
			t.Errorf("%s: %+v", tc.name, r)
		}
		for _, want := range tc.want {
			if !strings.Contains(r.stdout+r.stderr, want) {
				t.Errorf("%s: no %q in %s%s", tc.name, want, r.stdout, r.stderr)
			}
		}
	}
}

func TestDeviceProfilesAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"devices:\n  - {device: 'a.b'}\n":         `devices.0.device: "a.b" is no pattern`,
		"devices:\n  - {site: '[a'}\n":            `devices.0.site: "[a" is no pattern`,
		"devices:\n  - {symbology: requierd}\n":   `"requierd" is not optional or required, did you mean required?`,
		"devices:\n  - {separators: GS}\n":        `devices.0.separators: "GS" is not raw, \x1D, {GS}, <GS> or ^`,
		"devices:\n  - {keyboard: german}\n":      `devices.0.keyboard: "german" is not french, belgian, british or italian`,
		"devices:\n  - {device: a, mode: exti}\n": `devices.0.mode: "exti": write goods-in (at goods-in, à la réception), robot-input (on robot input, à l'entrée du robot) or exit (at exit, à la sortie)`,
		"devices:\n  - {device: a, modes: x}\n":   `devices.0.modes: unknown key`,
	} {
		r := inProcess(t, nil, "", "config", "check", "--config", write(t, t.TempDir(), "decom.yaml", minimal+text))
		if r.code != exitConfig || !strings.Contains(r.stderr+r.stdout, want) {
			t.Errorf("%s: %+v", text, r)
		}
	}
	c, warnings, err := load(t, need(0), minimal+"devices:\n  - {device: 'rowa-*', symbology: required, separators: raw}\n  - {separators: '{GS}', keyboard: french}\n", nil, nil)
	if err != nil || warnings != "" {
		t.Fatal(err, warnings)
	}
	p := c.profiles()
	if len(p) != 2 || p[0] != (worker.Device{Name: "rowa-*", Symbology: true}) || p[1] != (worker.Device{Separators: "{GS}", Keyboard: "french"}) {
		t.Errorf("%+v", p)
	}
}

// TestADoorWarnsByTheDevicesProfile: what the line will take is not warned of.
func TestADoorWarnsByTheDevicesProfile(t *testing.T) {
	e := scan.Event{Scan: strings.ReplaceAll(packText, "\x1d", "{GS}"), Meta: scan.Meta{Site: "nord", Device: "d"}}
	if w := willBeRejected(nil)(e); w == nil || w.Reason != "charset" {
		t.Errorf("no profile: %+v", w)
	}
	if w := willBeRejected(worker.Devices{{Separators: "{GS}"}})(e); w != nil {
		t.Errorf("with the profile: %+v", w)
	}
}
