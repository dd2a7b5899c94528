package main

import (
	"strings"
	"testing"
	"time"
)

func TestAPackIsNamedByWhatAPersonTypes(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	want, _, err := packName([]string{"]d20103400930000007217X4F8L2\x1d17281100\x1d10LOT42"}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"03400930000007", "7X4F8L2"}, {"3400930000007", "7X4F8L2"}} {
		if got, code, err := packName(args, now); err != nil || got != want || code != "03400930000007" {
			t.Errorf("%q: %s, %s, %v", args, got, code, err)
		}
	}
	for _, args := range [][]string{{"03400930000008", "7X4F8L2"}, {"3400930000008", "7X4F8L2"}, {"03400930000007", "7X4F8\x1dL2"}, {"0340093000000", "X"}} {
		if _, _, err := packName(args, now); err == nil || !strings.Contains(err.Error(), "GTIN or CIP13") {
			t.Errorf("%q is taken for a pack: %v", args, err)
		}
	}
	if _, code, err := packName([]string{"110375286414", "7X4F8L2"}, now); err != nil || code != "110375286414" {
		t.Errorf("a PPN: %s, %v", code, err)
	}
}
