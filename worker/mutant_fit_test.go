package worker_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var mutantsTo = flag.String("mutants-to", "", "write every mutant's changed files and build overlay into this directory")

// A mutant is a file of testdata/mutants: a head, then edits. A line of an edit that begins
// with "-" or " " must stand in the named file, in that order and exactly once; "+" and " "
// lines take their place. Indentation does not count, nor does anything around the edit: a
// mutant only goes stale when the very lines change that it breaks.
//
//	B1: release without T_HOLD        name and rule broken
//	plan: doubt=hold                  parts of the simulation's plan that stand fast
//	expect: killed                    or holds: another rule covers this one, see why
//	seeds: 300                        optional: never more seeds than that
//	kill: TestName                    optional: the directed test that kills what the seeds do not
//	why: ...                          needed with holds and kill
//
//	@ worker/resolve.go
//	-line
//	+line
type mutant struct {
	name, what, plan, expect, seeds, kill, why string

	files map[string]string // what the edits make of the files, by path from the module's root
}

var expectations = []string{"killed", "holds"}

// readMutant parses a mutant and applies it to the sources under root.
func readMutant(text, root string) (*mutant, error) {
	m := &mutant{files: map[string]string{}}
	head, edits, _ := strings.Cut(text, "\n@ ")
	for i, line := range strings.Split(strings.TrimSpace(head), "\n") {
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		field := map[string]*string{"plan": &m.plan, "expect": &m.expect, "seeds": &m.seeds, "kill": &m.kill, "why": &m.why}[name]
		switch {
		case i == 0 && ok:
			m.name, m.what = name, value
		case field == nil:
			return nil, fmt.Errorf("line %q: plan, expect, seeds, kill or why", line)
		default:
			*field = value
		}
	}
	if !slices.Contains(expectations, m.expect) {
		return nil, fmt.Errorf("expect %q: one of %q", m.expect, expectations)
	}
	if m.why == "" && (m.expect == "holds" || m.kill != "") {
		return nil, fmt.Errorf("expect %s, kill %q: why?", m.expect, m.kill)
	}
	for edit := range strings.SplitSeq(edits, "\n@ ") {
		path, body, _ := strings.Cut(strings.TrimSpace(edit), "\n")
		if err := m.edit(root, path, body); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// edit applies one edit to a file, which an edit before it may have changed.
func (m *mutant) edit(root, path, body string) error {
	src, changed := m.files[path]
	if !changed {
		b, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return err
		}
		src = string(b)
	}
	var before, after []string
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			continue
		}
		if line[0] != '+' {
			before = append(before, strings.TrimSpace(line[1:]))
		}
		if line[0] != '-' {
			after = append(after, line[1:])
		}
	}
	lines := strings.Split(src, "\n")
	at := -1
	for i := range len(lines) - len(before) + 1 {
		if !slices.EqualFunc(lines[i:i+len(before)], before, func(have, want string) bool { return strings.TrimSpace(have) == want }) {
			continue
		}
		if at >= 0 {
			return fmt.Errorf("%s has %q at lines %d and %d: refresh the mutant", path, before, at+1, i+1)
		}
		at = i
	}
	if at < 0 || len(before) == 0 {
		return fmt.Errorf("%s has no %q any more: refresh the mutant", path, before)
	}
	m.files[path] = strings.Join(slices.Replace(lines, at, at+len(before), after...), "\n")
	_, err := parser.ParseFile(token.NewFileSet(), path, m.files[path], parser.SkipObjectResolution)
	return err
}

// write leaves the changed files and a `go build -overlay` file in dir.
func (m *mutant) write(dir, root string) error {
	overlay := map[string]string{}
	for path, src := range m.files {
		to := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(to, []byte(src), 0o600); err != nil {
			return err
		}
		overlay[filepath.Join(root, path)] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"overlay.json": string(b), "what": m.what, "plan": m.plan, "expect": m.expect, "seeds": m.seeds, "kill": m.kill} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func mutants(t *testing.T) map[string]*mutant {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*mutant{}
	files, err := filepath.Glob("testdata/mutants/*.mut")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d mutants, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := readMutant(string(text), root)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if m.name+".mut" != filepath.Base(file) {
			t.Errorf("%s: its first line is of %s", file, m.name)
		}
		all[m.name] = m
		if *mutantsTo != "" {
			if err := m.write(filepath.Join(*mutantsTo, m.name), root); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

// TestEveryMutantStillFits: a changed line is noticed when it changes, not when somebody
// next runs `make mutants`. Deleting a mutant is no way out: see the next test.
func TestEveryMutantStillFits(t *testing.T) { mutants(t) }

// modelRuns are the ablations of the protocol's model (model/configs.go beside
// protocol.md), and B8a, which is its run P1f. A run that production code cannot express
// has the reason here instead of a mutant.
var modelRuns = map[string]string{
	"B1": "", "B1b": "", "B1c": "", "B2": "", "B2b": "", "B2c": "", "B3": "", "B3a": "", "B3b": "", "B4": "", "B5": "", "B5a": "", "B6": "",
	"B6b": "a round has no states to fold its facts onto but those that View gave for the ledger's head (round.go): what does not synchronise cannot append. " +
		"Its nearest relative, nobody looking into the ledger, is B16. The model lets B6b hold",
	"B7": "", "B8": "", "B8a": "", "B8b": "", "B8c": "", "B8d": "", "B8e": "", "B8f": "", "B9": "", "B10": "", "B10b": "", "B11": "",
	"B12": "", "B12b": "", "B12c": "", "B13": "", "B13b": "", "B14": "", "B15": "", "B16": "",
}

// TestEveryModelRunHasItsMutant, and every [Bx] in the sources names a rule that has one.
func TestEveryModelRunHasItsMutant(t *testing.T) {
	all := mutants(t)
	for name, reason := range modelRuns {
		if (all[name] == nil) == (reason == "") {
			t.Errorf("%s: a mutant, or the reason why there is none", name)
		}
	}
	for name := range maps.Keys(all) {
		if _, ok := modelRuns[name]; !ok && !strings.HasPrefix(name, "X") { // X...: rules that the model does not know
			t.Errorf("%s is no run of the model", name)
		}
	}
	mark := regexp.MustCompile(`\[(B\d+[a-z]?)[],-]`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	marks := 0
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range mark.FindAllStringSubmatch(string(src), -1) {
			if marks++; all[found[1]] == nil {
				t.Errorf("%s marks rule %s, which no mutant breaks", file, found[1])
			}
		}
	}
	if marks < 10 {
		t.Errorf("%d marks in the sources", marks)
	}
}

// TestAStaleMutantIsTold: an edit whose line is gone, or stands twice, fails.
func TestAStaleMutantIsTold(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.go"), []byte("package a\n\nvar x = 1\nvar y = 2\nvar (\n\tz = 3\n\tz2 = 3\n)\nvar (\n\tz = 3\n)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ text, want string }{
		{"M: x\nplan:\nexpect: killed\n\n@ a.go\n-var x = 1\n+var x = 2\n", ""},
		{"M: x\nplan:\nexpect: killed\n\n@ a.go\n-var x = 1\n-var y = 2\n+var y = 3\n\n@ a.go\n-var y = 3\n", ""},
		{"M: x\nplan:\nexpect: killed\n\n@ a.go\n-var x = 7\n", "refresh"},
		{"M: x\nplan:\nexpect: killed\n\n@ a.go\n-z = 3\n", "lines 6 and 10: refresh"},
		{"M: x\nplan:\nexpect: killed\n\n@ a.go\n+z = 3\n", "refresh"},
		{"M: x\nplan:\nexpect: killed\n\n@ a.go\n-var x = 1\n+var x = (\n", "expected"},
		{"M: x\nplan:\nexpect: killed\n\n@ b.go\n-z\n", "no such file"},
		{"M: x\nplan:\nexpect: dead\n\n@ a.go\n-var x = 1\n", "expect"},
		{"M: x\nplan:\nexpect: holds\n\n@ a.go\n-var x = 1\n", "why?"},
		{"M: x\nplans:\nexpect: killed\n\n@ a.go\n-var x = 1\n", "plan, expect"},
	} {
		_, err := readMutant(tt.text, dir)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%q: %v, want %q", tt.text, err, tt.want)
		}
	}
}
