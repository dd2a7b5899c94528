package queue

import "testing"

func TestSubjectsCollideWhenOneMessageFitsBoth(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"decom.scan.>", ">", true},
		{"decom.scan.>", "decom.>", true},
		{"decom.scan.>", "decom.scan", false},
		{"decom.scan.>", "*.scan.x", true},
		{"decom.ledger.*", "decom.ledger.a.b", false},
		{"decom.ledger.*", "decom.*.a", true},
		{"decom.ledger.*", "decom.control.*", false},
		{"decom.outcome.>", "dec.>", false},
	} {
		if collide(tc.a, tc.b) != tc.want || collide(tc.b, tc.a) != tc.want {
			t.Errorf("collide(%s, %s) != %v", tc.a, tc.b, tc.want)
		}
	}
}
