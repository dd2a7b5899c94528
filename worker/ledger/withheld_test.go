package ledger

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"decom/worker/scan"
)

var (
	lotA = Scope{Lot: Lot{scan.GTIN, "03400930000007", "LOT/42:a"}}
	devA = Scope{Device: "chu-nord/rowa-1"}
)

func TestAScopeIsReadBackAsItWasWritten(t *testing.T) {
	for text, want := range map[string]Scope{
		"batch:GTIN|03400930000007|LOT/42:a": lotA,
		"batch:PPN|111234567842|A":           {Lot: Lot{scan.PPN, "111234567842", "A"}},
		"device:chu-nord/rowa-1":             devA,
	} {
		got, err := ParseScope(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q is %+v, %v, written as %q", text, got, err, got.String())
		}
		if got.Kind() != strings.SplitN(text, ":", 2)[0] {
			t.Errorf("%q is a %s", text, got.Kind())
		}
	}
	for _, text := range []string{"", "batch:", "device:", "device:site", "device:/d", "device:s/", "device:s/d/e", "batch:GTIN|1|A", "batch:GTIN|03400930000007|", "batch:EAN|03400930000007|A", "lot:GTIN|03400930000007|A", "batch:GTIN|03400930000007|A|B"} {
		if s, err := ParseScope(text); err == nil {
			t.Errorf("%q is taken as %+v", text, s)
		}
	}
}

func TestTheNewestWordAboutAScopeCountsAndAResumeDoesNotTouchIt(t *testing.T) {
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	seq := uint64(0)
	var c Controls
	add := func(kind Kind, at time.Time, until time.Time, s Scope) {
		seq++
		ctl := &Control{Scope: s.String()}
		if !until.IsZero() {
			ctl.Until = until.UnixMilli()
		}
		r := control(kind, "ann", ctl)
		r.At = scan.Time(at)
		if !c.Add(seq, r) {
			t.Errorf("record %d changed nothing", seq)
		}
	}
	want := func(now time.Time, scopes ...Scope) {
		t.Helper()
		var got []Scope
		for _, w := range c.Withholds(now) {
			got = append(got, w.Scope)
		}
		if !reflect.DeepEqual(got, scopes) {
			t.Errorf("at %v %v are withheld, want %v", now.Sub(noon), got, scopes)
		}
		for _, s := range []Scope{lotA, devA} {
			if in := strings.Contains(strings.Join(names(got), " "), s.String()); c.Withholding(s, now) != in {
				t.Errorf("Withholding(%v) is %v", s, !in)
			}
		}
	}
	want(noon)
	add(Withhold, noon, noon.Add(time.Hour), lotA)
	add(Withhold, noon, time.Time{}, devA)
	before := c
	want(noon, lotA, devA)
	if end := c.NextEnd(noon); !end.Equal(noon.Add(time.Hour)) {
		t.Errorf("the next end is %v", end)
	}
	want(noon.Add(time.Hour), devA)
	seq++
	c.Add(seq, control(Continue, "bob", nil))
	want(noon, lotA, devA)
	add(LetGo, noon, time.Time{}, lotA)
	want(noon, devA)
	if len(before.Withheld) != 2 || before.Withheld[0].Control.Scope != lotA.String() {
		t.Errorf("a copy taken before changed: %+v", before.Withheld)
	}
	add(Withhold, noon, noon.Add(time.Minute), lotA)
	add(Withhold, noon, noon.Add(2*time.Hour), lotA)
	want(noon.Add(time.Hour), devA, lotA)
	add(Withhold, noon.Add(3*time.Hour), time.Time{}, devA)
	if len(c.Withheld) != 1 {
		t.Errorf("%d stand in the list, one of them over for an hour", len(c.Withheld))
	}
	b, err := json.Marshal(c)
	var again Controls
	if err != nil || json.Unmarshal(b, &again) != nil || !reflect.DeepEqual(c, again) {
		t.Errorf("read back as %+v, %v", again, err)
	}
}

func names(list []Scope) (out []string) {
	for _, s := range list {
		out = append(out, s.String())
	}
	return out
}

// TestAnUnknownFactHaltsAnOlderProgram: that is what a program that knows no withhold does with
// one, instead of sending what is withheld.
func TestAnUnknownFactHaltsAnOlderProgram(t *testing.T) {
	r := control("withhold_more", "ann", &Control{Scope: lotA.String()})
	if _, err := Fold(1, r, States{}); err == nil {
		t.Error("a fact that nobody knows folds")
	}
	for _, k := range []Kind{Withhold, LetGo} {
		r := control(k, "ann", &Control{Scope: lotA.String()})
		if _, err := Fold(1, r, States{}); err != nil || !k.SetsControls() {
			t.Errorf("%s: %v", k, err)
		}
	}
}
