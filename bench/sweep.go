package bench

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sweep varies one setting and leaves the others.
type Sweep struct {
	Param  string  `json:"param"` // batch, parallel, bulks, linger, processes, latency, accounts, quota
	Points []Point `json:"points"`
	// Knee is the value beyond which more (of latency: less) gains no more than a tenth of
	// the best rate; empty when no point has a rate.
	Knee string `json:"knee"`
}

// Point is one value of a sweep.
type Point struct {
	Value  string  `json:"value"`
	X      float64 `json:"x"`    // the value as a number; durations in ms
	Rate   float64 `json:"rate"` // median of the rounds
	Rounds []Round `json:"rounds"`
}

// sweepParams says how a value is put into a configuration; never changed.
var sweepParams = map[string]func(c *Config, value string) (x float64, err error){
	"batch":     func(c *Config, v string) (float64, error) { return sweepInt(&c.Batch, v) },
	"parallel":  func(c *Config, v string) (float64, error) { return sweepInt(&c.Parallel, v) },
	"bulks":     func(c *Config, v string) (float64, error) { return sweepInt(&c.Bulks, v) },
	"processes": func(c *Config, v string) (float64, error) { return sweepInt(&c.Processes, v) },
	"accounts":  func(c *Config, v string) (float64, error) { return sweepInt(&c.Accounts, v) },
	"packs":     func(c *Config, v string) (float64, error) { return sweepInt(&c.Packs, v) },
	"latency":   func(c *Config, v string) (float64, error) { return sweepTime(&c.Latency, v) },
	"linger":    func(c *Config, v string) (float64, error) { return sweepTime(&c.Linger, v) },
	"quota": func(c *Config, v string) (float64, error) {
		q, err := strconv.ParseFloat(v, 64)
		c.Quota = q
		return q, err
	},
}

func sweepInt(to *int, v string) (float64, error) {
	n, err := strconv.Atoi(v)
	*to = n
	return float64(n), err
}

func sweepTime(to *time.Duration, v string) (float64, error) {
	if v == "0" {
		v = "0s"
	}
	d, err := time.ParseDuration(v)
	*to = d
	return float64(d) / float64(time.Millisecond), err
}

// ParseSweep reads PARAM=VALUE,VALUE,...
func ParseSweep(text string) (Sweep, error) {
	name, list, ok := strings.Cut(text, "=")
	apply, known := sweepParams[name]
	if !ok || !known || list == "" {
		return Sweep{}, fmt.Errorf("sweep %q: wants NAME=VALUE,VALUE... with one of batch, parallel, bulks, linger, processes, accounts, packs, latency, quota", text)
	}
	s := Sweep{Param: name}
	for v := range strings.SplitSeq(list, ",") {
		var c Config
		x, err := apply(&c, v)
		if err != nil {
			return Sweep{}, fmt.Errorf("sweep %s: value %q: %w", name, v, err)
		}
		s.Points = append(s.Points, Point{Value: v, X: x})
	}
	return s, nil
}

// runSweep measures each value in each round, round after round, so that a machine that
// gets slower does not make the last values look bad.
func (c *Config) runSweep(ctx context.Context, s *Sweep) error {
	for round := range c.Rounds {
		for i := range s.Points {
			p := &s.Points[i]
			one := *c
			if _, err := sweepParams[s.Param](&one, p.Value); err != nil {
				return err
			}
			if err := one.Validate(); err != nil {
				return fmt.Errorf("sweep %s=%s: %w", s.Param, p.Value, err)
			}
			c.tell(Event{What: "sweep", Name: s.Param + "=" + p.Value, Round: round + 1, Of: c.Rounds})
			d, _, err := one.run(ctx, fmt.Sprintf("%s-%s", s.Param, p.Value), round+1)
			if err != nil {
				return fmt.Errorf("sweep %s=%s: %w", s.Param, p.Value, err)
			}
			d.Timeline = Timeline{} // of a point only the sums are shown
			p.Rounds = append(p.Rounds, d)
		}
	}
	for i := range s.Points {
		s.Points[i].Rate = median(rates(s.Points[i].Rounds))
	}
	s.Knee = knee(s.Param, s.Points)
	return nil
}

func rates(rounds []Round) []float64 {
	list := make([]float64, len(rounds))
	for i := range rounds {
		list[i] = rounds[i].Rate
	}
	return list
}

// median of a list, 0 of an empty one.
func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(list))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// kneeShare of the best rate is as good as the best.
const kneeShare = 0.9

// knee is the cheapest value that reaches nine tenths of the best rate: the smallest of
// what costs something (batch, parallel, processes ...), the largest latency that does
// no harm.
func knee(param string, points []Point) string {
	best := 0.0
	for _, p := range points {
		best = max(best, p.Rate)
	}
	if best == 0 {
		return ""
	}
	sorted := slices.SortedFunc(slices.Values(points), func(a, b Point) int {
		if a.X < b.X {
			return -1
		}
		return 1
	})
	if param == "latency" || param == "accounts" || param == "packs" {
		slices.Reverse(sorted)
	}
	for _, p := range sorted {
		if p.Rate >= kneeShare*best {
			return p.Value
		}
	}
	return ""
}
