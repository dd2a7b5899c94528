package main

import (
	"strings"
	"testing"

	"decom/queue"
)

func TestScansThatReachNobodyAreToldWithWhatIsWrong(t *testing.T) {
	for key, want := range map[string][2]string{
		"ghost":                 {"3 scans du site ghost : aucun compte ne le nomme", "3 scans of site ghost: no account names it"},
		queue.NoDevice("north"): {"le sujet ne nomme aucun appareil", "3 scans on decom.scan.north: the subject names no device"},
	} {
		if got := unroutedText(key, 3); !strings.Contains(got.FR, want[0]) || !strings.Contains(got.EN, want[1]) {
			t.Errorf("%s: %+v", key, got)
		}
	}
}
