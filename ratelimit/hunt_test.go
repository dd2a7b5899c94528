package ratelimit

import (
	"flag"
	"fmt"
	"math"
	"sort"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// quota is NMVS's side: says whether one more call passes now.
type quota interface{ pass(at time.Time) bool }

// saving is a quota that saves up calls for so much time (a token bucket).
type saving struct {
	rate  float64
	depth float64 // calls
	have  float64
	at    time.Time
}

func (q *saving) pass(at time.Time) bool {
	if !q.at.IsZero() {
		q.have = min(q.depth, q.have+q.rate*at.Sub(q.at).Seconds())
	}
	if q.at = at; q.have < 1 {
		return false
	}
	q.have--
	return true
}

// fixed counts calls by the clock's windows.
type fixed struct {
	most   int
	per    time.Duration
	window int64
	n      int
}

func (q *fixed) pass(at time.Time) bool {
	if w := at.UnixNano() / int64(q.per); w != q.window {
		q.window, q.n = w, 0
	}
	if q.n >= q.most {
		return false
	}
	q.n++
	return true
}

// sliding remembers the calls of the last window, as the simulator does.
type sliding struct {
	most int
	per  time.Duration
	last []time.Time
}

func (q *sliding) pass(at time.Time) bool {
	for len(q.last) > 0 && at.Sub(q.last[0]) >= q.per {
		q.last = q.last[1:]
	}
	if len(q.last) >= q.most {
		return false
	}
	q.last = append(q.last, at)
	return true
}

// rehearsal is a load that always wants more, against quotas and latencies that change.
type rehearsal struct {
	l       *Limiter
	mu      sync.Mutex // guards the rest
	quota   quota
	latency time.Duration
	began   time.Time
	taken   []time.Time // calls that passed
	refused []time.Time
	flying  int
	most    int // at once
}

// run sends until end; change is called with the time since the start before each call.
func (r *rehearsal) run(t *testing.T, parallel int, end time.Duration, change func(r *rehearsal, at time.Duration)) {
	t.Helper()
	r.began = time.Now()
	var calls sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for time.Since(r.began) < end {
		r.mu.Lock()
		change(r, time.Since(r.began))
		free := r.flying < r.l.Parallel(parallel)
		r.mu.Unlock()
		if !free {
			time.Sleep(time.Millisecond)
			continue
		}
		if err := r.l.Take(t.Context(), "single", 1); err != nil {
			t.Fatal(err)
		}
		slots <- struct{}{}
		r.mu.Lock()
		r.flying++
		r.most = max(r.most, r.flying)
		r.mu.Unlock()
		calls.Go(func() {
			r.call()
			<-slots
		})
	}
	calls.Wait()
}

func (r *rehearsal) call() {
	began := time.Now()
	r.mu.Lock()
	latency := r.latency
	r.mu.Unlock()
	time.Sleep(latency / 2)
	r.mu.Lock()
	ok := r.quota.pass(time.Now())
	if ok {
		r.taken = append(r.taken, time.Now())
	} else {
		r.refused = append(r.refused, time.Now())
	}
	r.mu.Unlock()
	time.Sleep(latency - latency/2)
	r.mu.Lock()
	r.flying--
	r.mu.Unlock()
	if ok {
		r.l.Succeeded("single", began)
	} else {
		r.l.TooFast("single", began, 0)
	}
}

// count is how many of the times, which are in order, lie between two moments.
func (r *rehearsal) count(list []time.Time, from, to time.Duration) int {
	before := func(d time.Duration) int {
		return sort.Search(len(list), func(i int) bool { return list[i].Sub(r.began) >= d })
	}
	return before(to) - before(from)
}

// events counts refusals with those of calls that were under way by then as one.
func (r *rehearsal) events(from, to time.Duration) (n int) {
	var last time.Time
	for _, at := range r.refused {
		if d := at.Sub(r.began); d < from || d >= to || at.Sub(last) < r.latency {
			continue
		}
		n, last = n+1, at
	}
	return n
}

// followed is when, after a step, five seconds' mean first was within a tenth of a rate.
func (r *rehearsal) followed(step time.Duration, rate float64) time.Duration {
	for d := 5 * time.Second; d < 5*time.Minute; d += 100 * time.Millisecond {
		if got := float64(r.count(r.taken, step+d-5*time.Second, step+d)) / 5; math.Abs(got-rate) <= 0.1*rate {
			return d
		}
	}
	return -1
}

// quotas makes the kinds of quota of so many calls a second.
var quotas = map[string]func(rate float64) quota{
	"fixed window":   func(rate float64) quota { return &fixed{most: int(rate), per: time.Second} },
	"sliding window": func(rate float64) quota { return &sliding{most: int(rate), per: time.Second} },
	"token bucket":   func(rate float64) quota { return &saving{rate: rate, depth: rate, have: rate} },
}

func hunter(t *testing.T, most float64, change func(*Config)) *Limiter {
	t.Helper()
	cfg := Config{Limits: map[string]Rate{"single": {most, time.Second}}, Adaptive: true, Burst: 20 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// long repeats what was measured for bench/results/adaptive.md; the default run is shorter.
var long = flag.Bool("long", false, "rehearse ten minutes instead of four, and more cases")

func TestAnAdaptiveLimiterFillsAnUnknownQuota(t *testing.T) {
	cases := []struct {
		rate    float64
		latency time.Duration
	}{{40, 20 * time.Millisecond}, {40, 300 * time.Millisecond}, {10, 20 * time.Millisecond}, {10, 300 * time.Millisecond}, {150, 20 * time.Millisecond}, {150, 300 * time.Millisecond}}
	minutes := 10
	if !*long {
		cases, minutes = cases[:2], 4
	}
	for kind, make := range quotas {
		for _, c := range cases {
			t.Run(fmt.Sprintf("%s %v/s %v", kind, c.rate, c.latency), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := &rehearsal{l: hunter(t, 600, nil), quota: make(c.rate), latency: c.latency}
					end := time.Duration(minutes+1) * time.Minute
					r.run(t, 256, end, func(*rehearsal, time.Duration) {})
					fill := float64(r.count(r.taken, time.Minute, end)) / (60 * float64(minutes) * c.rate)
					events := r.events(time.Minute, end)
					t.Logf("filled to %.1f %%; refused %d in the first minute, then %d in %d minutes, at %d times; within a tenth after %v",
						100*fill, r.count(r.refused, 0, time.Minute), r.count(r.refused, time.Minute, end), minutes, events, r.followed(0, c.rate))
					// Measured over ten minutes: 97.2 to 99.7 % and 7 to 10 times; 13 times in one case, in which a
					// quota that saves up ten calls is hard to tell from a larger one. The order of goroutines moves
					// both a little.
					if most := minutes*3/2 + 1; fill < 0.965 || events > most {
						t.Errorf("filled to %.1f %%, refused at %d times", 100*fill, events)
					}
				})
			})
		}
	}
}

func TestAnAdaptiveLimiterFollowsSteps(t *testing.T) {
	for kind, make := range quotas {
		waits := []time.Duration{0, 15 * time.Second, 30 * time.Second, 45 * time.Second}
		if !*long {
			waits = waits[:1]
		}
		for _, wait := range waits {
			t.Run(fmt.Sprintf("%s +%v", kind, wait), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := &rehearsal{l: hunter(t, 160, nil), quota: make(40), latency: 20 * time.Millisecond}
					down, up, end := 2*time.Minute+wait, 4*time.Minute+wait, 6*time.Minute+wait
					now := 40.0
					r.run(t, 256, end, func(r *rehearsal, at time.Duration) {
						want := 40.0
						if at >= down && at < up {
							want = 10
						}
						if want != now {
							now, r.quota = want, make(want)
						}
					})
					t.Logf("down: followed after %v, up: after %v; refused %d %d %d", r.followed(down, 10), r.followed(up, 40),
						r.count(r.refused, time.Minute, down), r.count(r.refused, down+30*time.Second, up), r.count(r.refused, up+90*time.Second, end))
					if d := r.followed(down, 10); d < 0 || d > 30*time.Second {
						t.Errorf("the step to a quarter was followed after %v", d)
					}
					if d := r.followed(up, 40); d < 0 || d > 90*time.Second {
						t.Errorf("the step to four times was followed after %v", d)
					}
				})
			})
		}
	}
}

// The rehearsal must be able to fail: a limiter that does not adapt, and one that never probes.
func TestTheRehearsalTellsABadLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rehearsal{l: hunter(t, 160, func(c *Config) { c.Adaptive = false }), quota: quotas["sliding window"](40), latency: 20 * time.Millisecond}
		r.run(t, 256, 6*time.Minute, func(*rehearsal, time.Duration) {})
		if fill := float64(r.count(r.taken, time.Minute, 6*time.Minute)) / (300 * 40); fill > 0.9 {
			t.Errorf("a limiter with stops of a minute fills the quota to %.1f %%", 100*fill)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := &rehearsal{l: hunter(t, 160, nil), quota: quotas["sliding window"](10), latency: 20 * time.Millisecond}
		grown := false
		r.run(t, 256, 5*time.Minute, func(r *rehearsal, at time.Duration) {
			r.l.mu.Lock()
			r.l.buckets["single"].pace.hunt.probe = time.Now().Add(time.Hour)
			r.l.mu.Unlock()
			if at > 2*time.Minute && !grown {
				grown, r.quota = true, quotas["sliding window"](40)
			}
		})
		if d := r.followed(2*time.Minute, 40); d > 0 {
			t.Errorf("without probes a step to four times is followed after %v", d)
		}
	})
}

func TestCallsAtOnceGrowWithTheLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rehearsal{l: hunter(t, 40, nil), quota: quotas["token bucket"](1000), latency: 20 * time.Millisecond}
		if n := r.l.Parallel(64); n != 64 {
			t.Errorf("%d calls at once before the first answer, want as many as are configured", n)
		}
		few := 0
		r.run(t, 64, 3*time.Minute, func(r *rehearsal, at time.Duration) {
			if at > 90*time.Second && r.latency < time.Second {
				few, r.most, r.latency = r.most, 0, time.Second
			}
		})
		if got := float64(r.count(r.taken, 2*time.Minute, 3*time.Minute)) / 60; few > 4 || r.most < 40 || r.most > 64 || got < 39 {
			t.Errorf("at 20 ms up to %d calls at once, at 1 s up to %d and %.1f a second, want few, 40 to 64, and the limit of 40", few, r.most, got)
		}
		if n := r.l.Parallel(8); n != 8 {
			t.Errorf("%d calls at once, but 8 are configured", n)
		}
	})
}

func TestAStopGrowsWhileNMVSGoesOnRefusing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := hunter(t, 100, func(c *Config) { c.Cooldown = 10 * time.Second })
		var longest time.Duration
		for range 20 {
			if err := l.Take(t.Context(), "single", 1); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			time.Sleep(20 * time.Millisecond)
			l.TooFast("single", began, 0)
			l.TooFast("single", began, 0) // one more that was under way
			longest = max(longest, time.Until(l.State("single").CooldownUntil))
		}
		s := l.State("single")
		if longest != 10*time.Second || s.Phase != "falling" || s.TooFast != 40 {
			t.Errorf("the longest stop was %v, %+v; want 10 s, falling", longest, s)
		}
		time.Sleep(10 * time.Second)
		if now := l.State("single").Now; now <= 0 || now > 1 {
			t.Errorf("%v calls a second after twenty refusals in a row", now)
		}
	})
}

func TestAnAdaptiveLimiterStaysBelowItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rehearsal{l: hunter(t, 20, nil), quota: quotas["sliding window"](1000), latency: 20 * time.Millisecond}
		r.run(t, 64, 4*time.Minute, func(r *rehearsal, at time.Duration) {
			if at > 3*time.Minute && r.l.State("single").Limit > 5 { // a person tunes it
				if err := r.l.SetLimits(map[string]Rate{"single": {5, time.Second}}); err != nil {
					t.Error(err)
				}
			}
		})
		for from, want := range map[time.Duration]float64{time.Minute: 20, 3 * time.Minute: 5} {
			got := float64(r.count(r.taken, from+time.Second, from+time.Minute)) / 59
			if got > 1.01*want || got < 0.97*want {
				t.Errorf("%.2f calls a second after %v, the limit is %v", got, from, want)
			}
		}
	})
}

func TestAnIdleAccountDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := hunter(t, 100, nil)
		for range 600 {
			if err := l.Take(t.Context(), "single", 1); err != nil {
				t.Fatal(err)
			}
			l.Succeeded("single", time.Now())
			time.Sleep(time.Second)
		}
		if s := l.State("single"); s.Now != 25 {
			t.Errorf("after ten minutes with a call a second the rate is %v/s, began at 25/s: nothing has proved more", s.Now)
		}
	})
}
