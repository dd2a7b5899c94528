package ratelimit

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// perSecond makes a limiter of one service "s" with so many calls a second.
func perSecond(t *testing.T, n float64, change func(*Config)) *Limiter {
	t.Helper()
	cfg := Config{Limits: map[string]Rate{"s": {n, time.Second}}}
	if change != nil {
		change(&cfg)
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// wantTake takes n and checks how long that took, to a microsecond.
func wantTake(t *testing.T, l *Limiter, service string, n int, want time.Duration) {
	t.Helper()
	began := time.Now()
	if err := l.Take(t.Context(), service, n); err != nil {
		t.Fatalf("Take(%s, %d): %v", service, n, err)
	}
	if got := time.Since(began); (got - want).Abs() > time.Microsecond {
		t.Errorf("Take(%s, %d) took %v, want %v", service, n, got, want)
	}
}

func TestNoFullBucketAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		if n := l.TryTake("single", 100) + l.TryTake("bulk", 100); n != 0 {
			t.Errorf("%d calls at start", n)
		}
		wantTake(t, l, "single", 1, 200*time.Millisecond)
		wantTake(t, l, "bulk", 1, 10*time.Second-200*time.Millisecond)
	})
}

func TestIdlingGathersNoMoreThanTheBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			rate  float64
			burst time.Duration
			want  int
		}{{5, 0, 2}, {5, time.Second, 5}, {5, time.Millisecond, 1}, {0.1, 0, 1}, {1000, 0, 250}, {4, 0, 1}} {
			l := perSecond(t, tt.rate, func(c *Config) { c.Burst = tt.burst })
			time.Sleep(time.Hour)
			if got := l.TryTake("s", 10000); got != tt.want {
				t.Errorf("%v/s, burst %v: %d at once, want %d", tt.rate, tt.burst, got, tt.want)
			}
			if got := l.TryTake("s", 10000); got != 0 {
				t.Errorf("%v/s: %d more in the same instant", tt.rate, got)
			}
		}
	})
}

func TestNoWindowSeesMoreThanBurstAndRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, burst = 50, 13 // 250 ms of 50/s
		l := perSecond(t, rate, nil)
		var mu sync.Mutex
		var starts []time.Time
		var wg sync.WaitGroup
		for k := range 8 {
			wg.Go(func() {
				for i := range 40 {
					n := 1 + (k+i)%4
					if k%2 == 0 {
						if err := l.Take(t.Context(), "s", n); err != nil {
							t.Error(err)
						}
					} else {
						n = l.TryTake("s", n)
						time.Sleep(time.Duration(k*i) * time.Millisecond)
					}
					mu.Lock()
					for range n {
						starts = append(starts, time.Now())
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		slices.SortFunc(starts, time.Time.Compare)
		if len(starts) < 400 {
			t.Fatalf("only %d calls: the test shows nothing", len(starts))
		}
		for i := range starts {
			for j := i; j < len(starts); j++ {
				window := starts[j].Sub(starts[i]).Seconds()
				if got, most := float64(j-i), burst+rate*window+1; got > most {
					t.Fatalf("%v calls in %v s, at most %v", got+1, window, most)
				}
			}
		}
	})
}

func TestMoreCallsThanGatherAtOnceWaitTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := perSecond(t, 5, nil)
		wantTake(t, l, "s", 100, 20*time.Second)
		wantTake(t, l, "s", 1, 200*time.Millisecond)
		time.Sleep(time.Hour)
		if got := l.TryTake("s", 100); got != 2 {
			t.Errorf("after it %d gather, want 2", got)
		}
	})
}

func TestTooLateIsSaidAtOnceAndSpendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := perSecond(t, 5, nil)
		for _, tt := range []struct {
			n        int
			deadline time.Duration
			late     bool
		}{
			{1, 199 * time.Millisecond, true}, {1, 200 * time.Millisecond, true}, {100, 19 * time.Second, true},
			{1, 201 * time.Millisecond, false},
		} {
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
			err := l.Take(ctx, "s", tt.n)
			cancel()
			if tt.late && (!errors.Is(err, ErrTooLate) || time.Since(began) != 0) {
				t.Errorf("%d calls in %v: %v after %v", tt.n, tt.deadline, err, time.Since(began))
			}
			if !tt.late && err != nil {
				t.Errorf("%d calls in %v: %v", tt.n, tt.deadline, err)
			}
		}
		if got := l.State("s"); got.Taken != 1 || got.Waiting != 0 || got.Waited.Round(time.Millisecond) != 200*time.Millisecond {
			t.Errorf("%+v", got)
		}
		wantTake(t, l, "s", 1, 200*time.Millisecond)
	})
}

func TestACancelledWaiterGivesItsPlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := perSecond(t, 5, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Take(ctx, "s", 50) }()
		time.Sleep(100 * time.Millisecond)
		if got := l.State("s").Waiting; got != 1 {
			t.Errorf("%d wait, want 1", got)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		if got := l.State("s"); got.Taken != 0 || got.Waiting != 0 {
			t.Errorf("%+v", got)
		}
		wantTake(t, l, "s", 1, 100*time.Millisecond) // as if nobody had asked
		if err := l.Take(ctx, "s", 1); !errors.Is(err, context.Canceled) {
			t.Errorf("already cancelled: %v", err)
		}
	})
}

func TestAPlaceGivenUpDuringACooldownCountsNoTimeTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := perSecond(t, 8, func(c *Config) { c.Burst = time.Second })
		l.TooFast("s", time.Time{}, time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Take(ctx, "s", 4) }()
		time.Sleep(time.Second)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		// 4/s from the end of the cooldown on: were the minute itself counted, all four could start at its end.
		wantTake(t, l, "s", 4, time.Minute)
	})
}

func TestAPlaceGivenUpAfterItsTimeIsGivenBackToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := perSecond(t, 8, func(c *Config) { c.Burst = time.Second })
		b := l.buckets["s"]
		l.mu.Lock()
		place, err := l.reserve(t.Context(), b, 8)
		l.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		// The timer and ctx's end race on a busy machine: time has passed when the waiter gets to run.
		time.Sleep(time.Second + time.Millisecond)
		l.mu.Lock()
		l.cancel(b, place)
		l.mu.Unlock()
		wantTake(t, l, "s", 8, 0)
	})
}

func TestTooFastStopsTheAccountAndHalvesTheService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New(Config{Limits: map[string]Rate{"single": {5, time.Second}, "bulk": {1, time.Second}}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		l.TooFast("single", time.Time{}, 0)
		if n := l.TryTake("single", 1) + l.TryTake("bulk", 1); n != 0 {
			t.Errorf("%d calls during the cooldown", n)
		}
		s := l.State("single")
		if s.Limit != 5 || s.Now != 0 || s.TooFast != 1 || !s.CooldownUntil.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("during the cooldown: %+v", s)
		}
		wantTake(t, l, "single", 1, time.Minute+400*time.Millisecond) // no full bucket after it either
		wantTake(t, l, "bulk", 1, 600*time.Millisecond)               // its rate is whole
		if s := l.State("single"); s.Now != 2.5 || !s.CooldownUntil.IsZero() {
			t.Errorf("after the cooldown: %+v", s)
		}
	})
}

func TestRetryAfterIsHonouredUpToAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for ask, want := range map[time.Duration]time.Duration{
			5 * time.Second: 5 * time.Second, 0: time.Minute, -time.Second: time.Minute, 1000 * time.Hour: time.Hour,
		} {
			l := perSecond(t, 4, nil)
			l.TooFast("s", time.Time{}, ask)
			wantTake(t, l, "s", 1, want+500*time.Millisecond)
		}
	})
}

func TestAnswersOfCallsUnderWayDoNotHalveAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := New(Config{Limits: map[string]Rate{"s": {4, time.Second}, "other": {4, time.Second}}})
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			l.TooFast("s", time.Time{}, 10*time.Second)
			time.Sleep(time.Second)
		}
		l.TooFast("s", time.Time{}, 2*time.Second) // shorter: changes nothing
		l.TooFast("other", time.Time{}, time.Second)
		if got := time.Until(l.State("s").CooldownUntil); got != 9*time.Second {
			t.Errorf("cooldown has %v left, want 9s", got)
		}
		time.Sleep(10 * time.Second)
		if s, o := l.State("s"), l.State("other"); s.Now != 2 || s.TooFast != 5 || o.Now != 2 || o.TooFast != 1 {
			t.Errorf("s %+v, other %+v", s, o)
		}
		l.TooFast("s", time.Time{}, time.Second) // after the cooldown it is news
		time.Sleep(2 * time.Second)
		if s := l.State("s"); s.Now != 1 {
			t.Errorf("second halving: %+v", s)
		}
	})
}

func TestWaitersObeyACooldownThatBeginsWhileTheyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := perSecond(t, 4, nil)
		began := time.Now()
		patient, hasty := make(chan time.Duration, 2), make(chan error, 1)
		for range 2 {
			go func() {
				if err := l.Take(t.Context(), "s", 4); err != nil {
					t.Error(err)
				}
				patient <- time.Since(began)
			}()
		}
		synctest.Wait()
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			hasty <- l.Take(ctx, "s", 1)
		}()
		time.Sleep(500 * time.Millisecond)
		l.TooFast("s", time.Time{}, 0)
		if err := <-hasty; !errors.Is(err, ErrTooLate) || time.Since(began) != 500*time.Millisecond {
			t.Errorf("deadline inside the cooldown: %v after %v", err, time.Since(began))
		}
		for _, want := range []time.Duration{62500 * time.Millisecond, 64500 * time.Millisecond} {
			if got := <-patient; (got - want).Abs() > time.Microsecond {
				t.Errorf("started after %v, want %v", got, want)
			}
		}
		if got := l.State("s").Taken; got != 8 {
			t.Errorf("%d taken, want 8", got)
		}
	})
}

func TestTheRateClimbsBackWhileCallsSucceed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := perSecond(t, 4, nil)
		l.TooFast("s", time.Time{}, 0)
		last := 0.0
		began := time.Now()
		for l.State("s").Now < 4 {
			if err := l.Take(t.Context(), "s", 1); err != nil {
				t.Fatal(err)
			}
			now := l.State("s").Now
			if now < last {
				t.Fatalf("fell from %v to %v", last, now)
			}
			last = now
			l.Succeeded("s", time.Time{})
			if time.Since(began) > time.Hour {
				t.Fatalf("still at %v", now)
			}
		}
		if got := time.Since(began).Round(time.Second); got < 5*time.Minute || got > 7*time.Minute {
			t.Errorf("half a limit came back in %v, want the cooldown and 5 min", got)
		}
		l.Succeeded("s", time.Time{})
		if got := l.State("s").Now; got != 4 {
			t.Errorf("climbed past the limit: %v", got)
		}
	})
}

func TestShareIsAPartOfTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := perSecond(t, 4, func(c *Config) { c.Share = 0.5 })
		wantTake(t, l, "s", 4, 2*time.Second)
		done := make(chan time.Duration, 1)
		began := time.Now()
		go func() {
			if err := l.Take(t.Context(), "s", 4); err != nil {
				t.Error(err)
			}
			done <- time.Since(began)
		}()
		time.Sleep(time.Second)
		if err := l.SetShare(0.25); err != nil {
			t.Fatal(err)
		}
		// Two gathered at 2/s; the one that fits into the bucket is kept, the other three come at 1/s.
		if got := <-done; (got - 4*time.Second).Abs() > time.Microsecond {
			t.Errorf("waited %v, want 4s", got)
		}
		for _, bad := range []float64{0, -1, 1.1} {
			if err := l.SetShare(bad); err == nil {
				t.Errorf("share %v taken", bad)
			}
		}
		if got := l.State("s").Limit; got != 1 {
			t.Errorf("limit %v, want 1", got)
		}
	})
}

func TestWhatIsGivenBackMayStartAgainButNeverMoreThanTheBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := perSecond(t, 8, nil) // 2 gather
		wantTake(t, l, "s", 8, time.Second)
		l.Return("s", 1)
		if got := l.State("s").Taken; got != 7 {
			t.Errorf("taken %d, want 7", got)
		}
		wantTake(t, l, "s", 1, 0)
		l.Return("s", 5)
		if got := l.TryTake("s", 10); got != 2 {
			t.Errorf("%d at once, want the 2 that fit", got)
		}
		l.Return("s", 2)
		time.Sleep(time.Hour)
		if got := l.TryTake("s", 10); got != 2 {
			t.Errorf("%d at once after an hour, want 2: what was given back does not add up with what gathered", got)
		}
		l.Return("s", 1)
		l.TooFast("s", time.Time{}, time.Second)
		l.Return("s", 1)
		time.Sleep(time.Second)
		if got := l.TryTake("s", 1); got != 0 {
			t.Error("a call given back before or in a cooldown starts right after it")
		}
		l.Return("s", 100)
		if got := l.State("s").Taken; got > 20 {
			t.Errorf("giving back more than was taken: taken %d", got)
		}
	})
}

func TestAServiceWithoutLimitCannotStart(t *testing.T) {
	l := perSecond(t, 4, nil)
	if err := l.Take(t.Context(), "x", 1); !errors.Is(err, ErrNoLimit) {
		t.Errorf("Take: %v", err)
	}
	if got := l.TryTake("x", 1); got != 0 {
		t.Errorf("TryTake: %d", got)
	}
	l.Return("x", 1)
	l.Succeeded("x", time.Time{})
	if got := l.State("x"); got != (State{}) {
		t.Errorf("State: %+v", got)
	}
	if err := l.Take(t.Context(), "s", 0); err != nil {
		t.Errorf("nothing asked: %v", err)
	}
}

func BenchmarkTryTake(b *testing.B) {
	l, err := New(Config{Limits: map[string]Rate{"s": {1e9, time.Second}}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		l.TryTake("s", 1)
	}
}

func TestALimitChangesWhileItIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := perSecond(t, 50, func(c *Config) { c.Burst = time.Second })
		time.Sleep(time.Minute) // 50 gather
		if err := l.SetLimits(map[string]Rate{"s": {2, time.Second}}); err != nil {
			t.Fatal(err)
		}
		if got := l.TryTake("s", 100); got > 2 {
			t.Errorf("%d calls that gathered under the old limit leave at once under the new one", got)
		}
		wantTake(t, l, "s", 1, 500*time.Millisecond)
		done := make(chan time.Duration, 1)
		began := time.Now()
		go func() {
			_ = l.Take(t.Context(), "s", 10) // 5 s at the old rate
			done <- time.Since(began)
		}()
		time.Sleep(time.Second)
		if err := l.SetLimits(map[string]Rate{"s": {100, time.Second}}); err != nil {
			t.Fatal(err)
		}
		if took := <-done; took > 1200*time.Millisecond {
			t.Errorf("who waits goes on waiting under the old limit: %v", took)
		}
		if got := l.State("s").Limit; got != 100 {
			t.Errorf("the limit shows as %v", got)
		}
	})
}

func TestANewLimitKeepsWhatWasLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := perSecond(t, 8, nil)
		l.TooFast("s", time.Time{}, time.Second)
		if err := l.SetLimits(map[string]Rate{"s": {4, time.Second}}); err != nil {
			t.Fatal(err)
		}
		if got := l.State("s"); got.Now != 0 || got.CooldownUntil.IsZero() {
			t.Errorf("a new limit ended the cooldown: %+v", got)
		}
		time.Sleep(time.Second)
		if got := l.State("s"); got.Limit != 4 || got.Now != 2 {
			t.Errorf("after the cooldown %v of %v, want 2 of 4", got.Now, got.Limit)
		}
	})
}

func TestAWrongLimitChangesNothing(t *testing.T) {
	l := perSecond(t, 8, nil)
	for _, bad := range []map[string]Rate{{"s": {0, time.Second}}, {"s": {1, time.Second}, "other": {1, time.Second}}, {"s": {-1, time.Hour}}} {
		if err := l.SetLimits(bad); err == nil {
			t.Errorf("%v is taken", bad)
		}
		if got := l.State("s").Limit; got != 8 {
			t.Errorf("%v made the limit %v", bad, got)
		}
	}
}
