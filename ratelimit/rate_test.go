package ratelimit

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

func TestRateReadsWhatItWrites(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Rate
		out  string
	}{
		{"5/s", Rate{5, time.Second}, "5/s"},
		{"6/min", Rate{6, time.Minute}, "6/min"},
		{"6/m", Rate{6, time.Minute}, "6/min"},
		{"6 / minute", Rate{6, time.Minute}, "6/min"},
		{"100/h", Rate{100, time.Hour}, "100/h"},
		{"0.5/sec", Rate{0.5, time.Second}, "0.5/s"},
		{"1/10s", Rate{1, 10 * time.Second}, "1/10s"},
		{"1/1m30s", Rate{1, 90 * time.Second}, "1/1m30s"},
		{"20000/s", Rate{20000, time.Second}, "20000/s"},
	} {
		got, err := ParseRate(tt.text)
		if err != nil || got != tt.want || got.String() != tt.out {
			t.Errorf("%q: %v, %v, want %v", tt.text, got, err, tt.out)
		}
		if again, err := ParseRate(got.String()); err != nil || again != got {
			t.Errorf("%q written and read again: %v, %v", tt.text, again, err)
		}
	}
	var r Rate
	if err := json.Unmarshal([]byte(`"6/min"`), &r); err != nil || r != (Rate{6, time.Minute}) {
		t.Errorf("as text: %v, %v", r, err)
	}
	if out, err := json.Marshal(r); err != nil || string(out) != `"6/min"` {
		t.Errorf("as text: %s, %v", out, err)
	}
	if got := r.PerSecond(); math.Abs(got-0.1) > 1e-12 {
		t.Errorf("6/min is %v a second", got)
	}
}

func TestRateRefusesWhatIsNoFrequency(t *testing.T) {
	for _, text := range []string{"", "5", "5/", "/s", "x/s", "5/week", "0/s", "-1/s", "5/0s", "5/-1s", "NaN/s", "Inf/s", "5/s/s"} {
		r := Rate{1, time.Second}
		if err := r.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q read as %v", text, r)
		}
		if r != (Rate{1, time.Second}) {
			t.Errorf("%q: a refused text changed the rate", text)
		}
	}
}

func TestConfigReportsEveryProblemAtOnce(t *testing.T) {
	err := Config{
		Limits:      map[string]Rate{"single": {0, time.Second}, "bulk": {1, 0}},
		Share:       1.5,
		MinFraction: -1,
		Cooldown:    -1,
		Climb:       -1,
		Burst:       2 * time.Second,
	}.Validate()
	for _, word := range []string{"limit of single", "limit of bulk", "share", "minimum fraction", "cooldown", "climb", "burst"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("nothing about %q in: %v", word, err)
		}
	}
	if _, err := New(Config{Share: math.NaN()}); err == nil {
		t.Error("New took a share that is no number")
	}
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("the zero Config: %v", err)
	}
}

func TestPaceHalvesToTheFloorAndClimbsWithSteadySuccess(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	fresh := func() *pace {
		return &pace{limit: 8, share: 0.5, part: 1, least: 0.2, climb: 100 * time.Second, burst: time.Second, gained: at}
	}
	for _, tt := range []struct {
		name   string
		do     func(*pace)
		now    float64
		bucket int
	}{
		{"untouched", func(*pace) {}, 4, 4},
		{"success at the limit", func(p *pace) { p.succeeded(at.Add(time.Hour)) }, 4, 4},
		{"halved", func(p *pace) { p.tooFast(at) }, 2, 2},
		{"halved twice", func(p *pace) { p.tooFast(at); p.tooFast(at) }, 1, 1},
		{"floor", func(p *pace) {
			for range 20 {
				p.tooFast(at)
			}
		}, 0.8, 1},
		{"success at the same instant", func(p *pace) { p.tooFast(at); p.succeeded(at) }, 2, 2},
		{"success inside the cooldown", func(p *pace) { p.tooFast(at.Add(time.Minute)); p.succeeded(at.Add(time.Second)) }, 2, 2},
		{"ten seconds of success", func(p *pace) {
			p.tooFast(at)
			for i := range 10 {
				p.succeeded(at.Add(time.Duration(i+1) * time.Second))
			}
		}, 2 + 4*0.1, 3},
		{"one success after an hour counts as a second", func(p *pace) { p.tooFast(at); p.succeeded(at.Add(time.Hour)) }, 2 + 4*0.01, 3},
		{"never above the limit", func(p *pace) {
			p.tooFast(at)
			for i := range 1000 {
				p.succeeded(at.Add(time.Duration(i+1) * time.Second))
			}
		}, 4, 4},
		{"a slow service's calls count in full", func(p *pace) {
			p.limit, p.share = 0.2, 1
			p.tooFast(at)
			p.succeeded(at.Add(10 * time.Second))
		}, 0.2 * (0.5 + 0.1), 1},
	} {
		p := fresh()
		tt.do(p)
		if math.Abs(p.now()-tt.now) > 1e-9 || p.bucket() != tt.bucket {
			t.Errorf("%s: %v a second, bucket %d, want %v, %d", tt.name, p.now(), p.bucket(), tt.now, tt.bucket)
		}
	}
}
