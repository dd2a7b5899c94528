package worker

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"decom/worker/scan"
)

func TestAProfileDecidesHowADeviceIsRead(t *testing.T) {
	const text = "]d20103400930000007217X4F2L2\x1d17271100\x1d10LOT42"
	french := "$dé" + strings.NewReplacer("0", "à", "1", "&", "2", "é", "3", "\"", "4", "'", "7", "è", "8", "_", "9", "ç").Replace(text[3:])
	devices := Devices{
		{Site: "chu-*", Name: "rowa-1", Symbology: true},
		{Name: "old-?", Separators: "^"},
		{Name: "desk-*", Keyboard: "french"},
		{Site: "sud", Separators: "{GS}"},
	}
	for _, d := range devices {
		if err := d.Validate(); err != nil {
			t.Error(err)
		}
	}
	for _, tc := range []struct{ name, site, device, text, reason string }{
		{"no profile, no identifier", "nord", "rowa-1", text[3:], ""},
		{"identifier demanded", "chu-nord", "rowa-1", text[3:], "layout"},
		{"identifier demanded and given", "chu-nord", "rowa-1", text, ""},
		{"declared style", "nord", "old-1", strings.ReplaceAll(text, "\x1d", "^"), ""},
		{"another style than declared", "nord", "old-1", strings.ReplaceAll(text, "\x1d", "{GS}"), "charset"},
		{"the pattern is whole", "nord", "old-12", strings.ReplaceAll(text, "\x1d", "^"), "charset"},
		{"undeclared style", "nord", "rowa-1", strings.ReplaceAll(text, "\x1d", "^"), "charset"},
		{"any device of a site", "sud", "x", strings.ReplaceAll(text, "\x1d", "{GS}"), ""},
		{"calibrated", "nord", "desk-2", french, ""},
		{"calibrated, a 6 that is ambiguous otherwise", "nord", "desk-2", strings.Replace(french, "X", "-", 1), ""},
		{"not calibrated, a 6", "nord", "rowa-2", strings.Replace(french, "X", "-", 1), "layout"},
		{"calibrated, no identifier", "nord", "desk-2", text[3:], "layout"},
	} {
		_, rejection := devices.Read(scan.Event{Scan: tc.text, Meta: scan.Meta{Site: tc.site, Device: tc.device}}, time.Now())
		switch {
		case rejection == nil && tc.reason != "":
			t.Errorf("%s: accepted, want %s", tc.name, tc.reason)
		case rejection != nil && string(rejection.Reason) != tc.reason:
			t.Errorf("%s: %s, want %q", tc.name, rejection.Reason, tc.reason)
		}
	}
	for _, d := range []Device{{Name: "[a"}, {Site: "a.b"}, {Separators: "GS"}, {Keyboard: "german"}} {
		if d.Validate() == nil {
			t.Errorf("%+v is valid", d)
		}
	}
}

func TestTheLineReadsByTheDevicesProfile(t *testing.T) {
	line(t, func(w *world) {
		w.cfg.Devices = Devices{{Name: "strict", Symbology: true}, {Name: "writes", Separators: "{GS}"}}
		w.start("w0", 0)
		bare := "01" + gtin + "21%s{GS}17" + testExp + "10" + testLot
		for device, want := range map[string]scan.Result{"strict": scan.Rejected, "writes": scan.Done, "other": scan.Rejected} {
			at := time.Now()
			body, err := json.Marshal(map[string]string{"scan": fmt.Sprintf(bare, device), "at": scan.Time(at)})
			if err != nil {
				t.Fatal(err)
			}
			if want == scan.Done { // the oracle knows packs that are read
				w.mu.Lock()
				w.events = append(w.events, event{id: device, device: device, serial: device, op: scan.Supply, at: at})
				w.mu.Unlock()
			}
			w.publishRaw(device, device, string(body))
			w.during(time.Minute)
			if got := w.outcomes()[device]; len(got) != 1 || got[0].Result != want {
				t.Errorf("%s: %+v, want %s", device, got, want)
			}
		}
	})
}
