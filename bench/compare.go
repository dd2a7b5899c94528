package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
)

// Samples are the figures of one run: by benchmark and unit, one value a round.
type Samples struct {
	File   string
	values map[[2]string][]float64 // name, unit
	order  [][2]string
	better map[string]int // by unit: 1 higher, -1 lower is better
}

// ReadSamples reads a result.json, a file in the Go benchmark format, or a folder that
// holds one of them.
func ReadSamples(name string) (*Samples, error) {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		name = filepath.Join(name, "result.json")
	}
	var text []byte
	if strings.HasSuffix(name, ".json") {
		r, err := ReadResult(name)
		if err != nil {
			return nil, err
		}
		text = []byte(r.BenchText())
	} else {
		var err error
		if text, err = os.ReadFile(name); err != nil {
			return nil, err
		}
	}
	return parseSamples(name, text)
}

func parseSamples(name string, text []byte) (*Samples, error) {
	s := &Samples{File: name, values: map[[2]string][]float64{}, better: map[string]int{}}
	in := benchfmt.NewReader(bytes.NewReader(text), name)
	for in.Scan() {
		switch rec := in.Result().(type) {
		case *benchfmt.Result:
			for _, v := range rec.Values {
				key := [2]string{rec.Name.String(), v.Unit}
				if _, seen := s.values[key]; !seen {
					s.order = append(s.order, key)
				}
				s.values[key] = append(s.values[key], v.Value)
			}
		case *benchfmt.SyntaxError:
			return nil, fmt.Errorf("%s: %w", name, rec)
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for _, key := range s.order {
		if s.better[key[1]] = in.Units().GetBetter(key[1]); s.better[key[1]] == 0 && strings.HasSuffix(key[1], "/s") {
			s.better[key[1]] = 1 // a rate, in a text without the line that says so
		}
	}
	if len(s.order) == 0 {
		return nil, fmt.Errorf("%s: holds no benchmark: wants result.json, bench.txt or what `go test -bench` prints", name)
	}
	return s, nil
}

// Comparison is one figure of two runs.
type Comparison struct {
	Name, Unit string
	Old, New   float64 // medians
	N1, N2     int
	// P is the probability of such a difference if there were none (Mann-Whitney);
	// Significant: it is below Alpha.
	P, Alpha    float64
	Significant bool
	// Change is new over old, less 1; Worse is how much worse in the unit's sense, 0 or more.
	Change, Worse float64
	Warnings      []string
}

// Compare holds two runs against each other, figure by figure, and names what stands in
// one of them only.
func Compare(before, after *Samples) (list []Comparison, missing []string) {
	for _, key := range before.order {
		now, ok := after.values[key]
		if !ok {
			missing = append(missing, key[0]+" "+key[1]+" (A)")
			continue
		}
		list = append(list, compare(key, before, before.values[key], now))
	}
	for _, key := range after.order {
		if _, ok := before.values[key]; !ok {
			missing = append(missing, key[0]+" "+key[1]+" (B)")
		}
	}
	return list, missing
}

func compare(key [2]string, units *Samples, was, is []float64) Comparison {
	a := benchmath.NewSample(slices.Clone(was), &benchmath.DefaultThresholds)
	b := benchmath.NewSample(slices.Clone(is), &benchmath.DefaultThresholds)
	cmp := benchmath.AssumeNothing.Compare(a, b)
	c := Comparison{Name: key[0], Unit: key[1], N1: cmp.N1, N2: cmp.N2, P: cmp.P, Alpha: cmp.Alpha, Significant: cmp.P < cmp.Alpha,
		Old: benchmath.AssumeNothing.Summary(a, 0.95).Center, New: benchmath.AssumeNothing.Summary(b, 0.95).Center}
	for _, w := range cmp.Warnings {
		c.Warnings = append(c.Warnings, w.Error())
	}
	if c.Old != 0 {
		c.Change = c.New/c.Old - 1
	}
	if c.Worse = c.Change; units.better[key[1]] > 0 {
		c.Worse = -c.Change
	}
	c.Worse = max(0, c.Worse)
	return c
}
