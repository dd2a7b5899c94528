package bench

import (
	"os"
	"path/filepath"
	"testing"
)

// TestASmallRunMeasuresAndWritesItsFiles is the harness itself with real processes.
func TestASmallRunMeasuresAndWritesItsFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("builds decom and starts five processes")
	}
	c := benchConfig(t)
	c.Packs, c.Accounts = 300, 2
	r, err := Run(t.Context(), Plan{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	d := r.Rounds[0]
	if !d.Verdict.Good() || d.Results["done"] != d.Packs || d.Rate <= 0 || d.Latency.Count == 0 {
		t.Errorf("%+v", d)
	}
	out := filepath.Join(t.TempDir(), "out")
	if err := r.WriteFiles(out, false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, "report.html")); err != nil {
		t.Error(err)
	}
	s, err := ReadSamples(out)
	if err != nil {
		t.Fatal(err)
	}
	if list, missing := Compare(s, s); len(list) < 5 || len(missing) != 0 {
		t.Errorf("a run compared with itself: %v, missing %v", list, missing)
	}
}
