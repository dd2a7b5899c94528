package ratelimit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Rate is so many calls in so much time: "5/s", "6/min", "100/h", "1/10s". The zero Rate is no rate at all.
type Rate struct {
	N   float64
	Per time.Duration
}

// units are the words for one period, the first of each period the one that String writes.
var units = [...]struct {
	word string
	per  time.Duration
}{
	{"s", time.Second}, {"sec", time.Second}, {"second", time.Second},
	{"min", time.Minute}, {"m", time.Minute}, {"minute", time.Minute},
	{"h", time.Hour}, {"hour", time.Hour},
}

// ParseRate reads "N/PERIOD": N a decimal number above 0, PERIOD s, min, h or a duration such as 10s.
func ParseRate(text string) (Rate, error) {
	number, period, found := strings.Cut(text, "/")
	if !found {
		return Rate{}, fmt.Errorf("rate %q: want calls per time, for example 5/s, 6/min or 1/10s", text)
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil {
		return Rate{}, fmt.Errorf("rate %q: %q is no number of calls", text, number)
	}
	r := Rate{N: n}
	period = strings.TrimSpace(period)
	for _, u := range units {
		if u.word == period {
			r.Per = u.per
		}
	}
	if r.Per == 0 {
		if r.Per, err = time.ParseDuration(period); err != nil {
			return Rate{}, fmt.Errorf("rate %q: %q is no period (s, min, h, or a duration such as 10s)", text, period)
		}
	}
	if err := r.Validate(); err != nil {
		return Rate{}, fmt.Errorf("rate %q: %w", text, err)
	}
	return r, nil
}

// Validate refuses what is no frequency: nothing, negative, not a number, without end.
func (r Rate) Validate() error {
	if !(r.N > 0) || math.IsInf(r.N, 0) {
		return errors.New("the number of calls must be above 0 (to send nothing, pause the account)")
	}
	if r.Per <= 0 {
		return errors.New("the period must be above 0")
	}
	return nil
}

// PerSecond gives the rate in calls a second.
func (r Rate) PerSecond() float64 { return r.N / r.Per.Seconds() }

// String gives the form that ParseRate reads.
func (r Rate) String() string {
	n := strconv.FormatFloat(r.N, 'f', -1, 64)
	for _, u := range units {
		if u.per == r.Per {
			return n + "/" + u.word
		}
	}
	return n + "/" + r.Per.String()
}

// MarshalText is String, for configuration files.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRate, for configuration files.
func (r *Rate) UnmarshalText(text []byte) error {
	parsed, err := ParseRate(string(text))
	if err == nil {
		*r = parsed
	}
	return err
}
