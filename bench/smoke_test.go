package bench

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestASmallRunMeasuresAndWritesItsFiles is decom bench run as a person starts it, with
// real processes.
func TestASmallRunMeasuresAndWritesItsFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("builds decom and starts five processes")
	}
	c := benchConfig(t)
	out := filepath.Join(c.Dir, "out")
	text, err := exec.CommandContext(t.Context(), c.Exe, "bench", "run", "--profile", Backlog, "--packs", "300", "--accounts", "2", "--out", out).CombinedOutput()
	if err != nil || !strings.Contains(string(text), "lost 0, sent twice 0, in doubt 0") {
		t.Fatalf("%v\n%s", err, text)
	}
	r, err := ReadResult(filepath.Join(out, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	d := r.Rounds[0]
	if !d.Verdict.Good() || d.Results["done"] != d.Packs || d.Packs != 600 || d.Rate <= 0 || d.Latency.Count != 300 {
		t.Errorf("%+v", d)
	}
	s, err := ReadSamples(out)
	if err != nil {
		t.Fatal(err)
	}
	if list, missing := Compare(s, s); len(list) < 5 || len(missing) != 0 {
		t.Errorf("a run compared with itself: %v, missing %v", list, missing)
	}
}
