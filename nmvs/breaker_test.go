package nmvs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeSender answers as it is told and remembers what it was asked.
type fakeSender struct {
	mu    sync.Mutex
	class Class
	code  string
	err   error // cause of a failure
	ping  Class
	calls []Act
	hold  chan struct{} // if set, calls wait for it
}

func (f *fakeSender) Do(ctx context.Context, call Call) (Answer, error) {
	f.mu.Lock()
	f.calls = append(f.calls, call.Act)
	class, cause, hold := f.class, f.err, f.hold
	if call.Act == ActPing {
		class, hold = f.ping, nil
	}
	code := f.code
	f.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			class, cause = NotSent, context.Cause(ctx)
		}
	}
	a := Answer{C: call.C, Finding: Finding{Class: class, Code: code}}
	if class.Answered() {
		return a, nil
	}
	return a, &Error{C: call.C, Class: class, Code: code, Err: cause}
}

func (f *fakeSender) answer(c Class) { f.mu.Lock(); defer f.mu.Unlock(); f.class, f.err = c, nil }

func (f *fakeSender) pings(c Class) { f.mu.Lock(); defer f.mu.Unlock(); f.ping = c }

func (f *fakeSender) count(act Act) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.calls {
		if a == act {
			n++
		}
	}
	return n
}

func newBreaker(t *testing.T, f *fakeSender, cfg BreakerConfig) *Breaker {
	t.Helper()
	b, err := NewBreaker(f, cfg)
	check(t, err)
	return b
}

func send(t *testing.T, b *Breaker, n int) (last error) {
	t.Helper()
	for range n {
		_, last = b.Do(t.Context(), supplyA)
	}
	return last
}

func TestFailuresInARowOpenOneServiceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{class: InDoubt}
		b := newBreaker(t, f, BreakerConfig{})
		send(t, b, 4)
		f.answer(Success)
		send(t, b, 1)
		f.answer(InDoubt)
		send(t, b, 4)
		if s := b.Status(Single); s.State != BreakerClosed || b.Admit(Single) != Unlimited {
			t.Fatalf("open after 4 failures in a row: %+v", s)
		}
		send(t, b, 1)
		if s := b.Status(Single); s.State != BreakerOpen || s.Cause == nil || s.Login || b.Admit(Single) != 0 {
			t.Fatalf("not open after 5: %+v", s)
		}
		before := f.count(ActPacks)
		a, err := b.Do(t.Context(), supplyA)
		if !errors.Is(err, ErrOpen) || a.Class != NotSent || f.count(ActPacks) != before {
			t.Errorf("an open breaker lets a call out: %s, %v", a.Class, err)
		}
		if b.Admit(Bulk) != Unlimited {
			t.Error("bulk is shut too")
		}
		f.answer(Success)
		if _, err := b.Do(t.Context(), bulkB); err != nil {
			t.Errorf("bulk: %v", err)
		}
	})
}

func TestWhatSpeaksOfHealthCounts(t *testing.T) {
	guard := fmt.Errorf("%w: fenced", ErrGuard)
	for _, tc := range []struct {
		class Class
		cause error
		open  bool
	}{
		{Success, nil, false}, {Repeat, nil, false}, {Foreign, nil, false}, {Data, nil, false}, {Rule, nil, false},
		{UnknownProduct, nil, false}, {UndoMismatch, nil, false}, {NotReady, nil, false}, {UsedID, nil, false},
		{TooFast, nil, false}, {Busy, nil, false}, {Format, nil, false}, {Format, ErrCall, false},
		{NotSent, guard, false}, {NotSent, ErrStopped, false}, {NotSent, ErrNotConfigured, false}, {NotSent, ErrBytes, false},
		{NotSent, errors.New("dial refused"), true}, {InDoubt, errors.New("502"), true}, {InDoubt, ErrTimeout, true},
		{InDoubt, ErrForeign, true}, {Setup, errors.New("404"), true},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeSender{class: tc.class, err: tc.cause}
			b := newBreaker(t, f, BreakerConfig{})
			send(t, b, 20)
			if open := b.Status(Single).State == BreakerOpen; open != tc.open {
				t.Errorf("%s (%v): open %v, want %v", tc.class, tc.cause, open, tc.open)
			}
		})
	}
}

func TestACancelledCallSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{class: InDoubt}
		b := newBreaker(t, f, BreakerConfig{Failures: 1})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.Do(ctx, supplyA); err == nil || b.Status(Single).State != BreakerClosed {
			t.Errorf("%v, %+v", err, b.Status(Single))
		}
	})
}

func TestOnlyAPingClosesAnOpenBreakerAndOnlyWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{class: InDoubt, ping: InDoubt}
		b := newBreaker(t, f, BreakerConfig{OpenFor: 10 * time.Second})
		send(t, b, 5)
		f.answer(Success)
		time.Sleep(10*time.Second - time.Millisecond)
		b.Probe(t.Context())
		if f.count(ActPing) != 0 || b.Status(Single).State != BreakerOpen {
			t.Fatalf("a ping went before its time")
		}
		time.Sleep(2 * time.Millisecond)
		if s := b.Status(Single); s.State != BreakerHalfOpen || b.Admit(Single) != 0 {
			t.Fatalf("%+v", s)
		}
		if err := send(t, b, 1); !errors.Is(err, ErrOpen) {
			t.Fatalf("a pack went out as a probe: %v", err)
		}
		b.Probe(t.Context()) // fails
		if f.count(ActPing) != 1 || b.Status(Single).State != BreakerOpen {
			t.Fatalf("%d pings, %+v", f.count(ActPing), b.Status(Single))
		}
		f.pings(Success)
		time.Sleep(10*time.Second + time.Millisecond)
		b.Probe(t.Context())
		if f.count(ActPing) != 2 || b.Status(Single).State != BreakerClosed {
			t.Fatalf("%d pings, %+v", f.count(ActPing), b.Status(Single))
		}
		if f.count(ActPacks) != 5 {
			t.Errorf("%d packs went out", f.count(ActPacks))
		}
	})
}

func TestAPingThatTheServiceDoesNotKnowProvesThatItLives(t *testing.T) {
	for class, want := range map[Class]BreakerState{Setup: BreakerClosed, Format: BreakerClosed, InDoubt: BreakerOpen, Login: BreakerOpen} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeSender{class: InDoubt, ping: class, code: "NMVS_X"}
			b := newBreaker(t, f, BreakerConfig{})
			send(t, b, 5)
			time.Sleep(31 * time.Second)
			b.Probe(t.Context())
			if s := b.Status(Single); s.State != want {
				t.Errorf("%s: %s, want %s", class, s.State, want)
			}
		})
	}
}

func TestRunPingsThroughAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{class: InDoubt, ping: NotSent}
		b := newBreaker(t, f, BreakerConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { b.Run(ctx) })
		time.Sleep(time.Hour)
		if f.count(ActPing) != 0 {
			t.Errorf("%d pings without need", f.count(ActPing))
		}
		send(t, b, 5)
		time.Sleep(10 * time.Minute)
		if n := f.count(ActPing); n < 18 || n > 20 { // one each 30 s
			t.Errorf("%d pings in 10 minutes", n)
		}
		f.answer(Success)
		f.pings(Success)
		time.Sleep(31 * time.Second)
		if b.Status(Single).State != BreakerClosed || f.count(ActPacks) != 5 {
			t.Errorf("%+v, %d packs", b.Status(Single), f.count(ActPacks))
		}
		cancel()
		wg.Wait()
	})
}

func TestAfterAnOutageTheLoadGrowsFromOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{class: InDoubt, ping: Success}
		b := newBreaker(t, f, BreakerConfig{Ramp: 8})
		send(t, b, 5)
		time.Sleep(31 * time.Second)
		b.Probe(t.Context())
		f.answer(Success)
		var got []int
		for range 4 {
			got = append(got, b.Admit(Single))
			send(t, b, 1)
		}
		if want := []int{1, 2, 4, Unlimited}; !slices.Equal(got, want) {
			t.Errorf("admitted %v, want %v", got, want)
		}
	})
}

func TestTheFirstLoginFailureStopsTheWholeAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{class: Login, ping: Success, code: "NMVS_FE_AU_01"}
		b := newBreaker(t, f, BreakerConfig{})
		send(t, b, 1)
		for _, svc := range Services() {
			if s := b.Status(svc); s.State != BreakerOpen || !s.Login || s.Cause == nil || b.Admit(svc) != 0 {
				t.Errorf("%s: %+v", svc, s)
			}
		}
		f.answer(Success)
		for range 100 { // time and pings do not help
			time.Sleep(time.Hour)
			b.Probe(t.Context())
		}
		if err := send(t, b, 3); !errors.Is(err, ErrOpen) || f.count(ActPacks) != 1 {
			t.Errorf("%v, %d calls", err, f.count(ActPacks))
		}
		b.Reset()
		if b.Admit(Single) != 1 || b.Status(Single).State != BreakerHalfOpen {
			t.Errorf("after a reset: admit %d, %+v", b.Admit(Single), b.Status(Single))
		}
		f.answer(Login)
		send(t, b, 3)
		if f.count(ActPacks) != 2 || b.Admit(Single) != 0 {
			t.Errorf("%d calls after a reset that did not help", f.count(ActPacks))
		}
		f.answer(Rule)
		b.Reset()
		if err := send(t, b, 2); err != nil || b.Admit(Bulk) != Unlimited || b.Status(Bulk).State != BreakerClosed {
			t.Errorf("%v, %+v", err, b.Status(Bulk))
		}
	})
}

func TestNewCredentialsAreTriedByOneCallAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stamp := "old"
		f := &fakeSender{class: Login}
		b := newBreaker(t, f, BreakerConfig{Stamp: func() string { return stamp }})
		send(t, b, 2)
		if f.count(ActPacks) != 1 {
			t.Fatalf("%d calls", f.count(ActPacks))
		}
		stamp = "new"
		f.answer(Success)
		f.mu.Lock()
		f.hold = make(chan struct{})
		f.mu.Unlock()
		if b.Admit(Single) != 1 {
			t.Fatalf("admit %d", b.Admit(Single))
		}
		var wg sync.WaitGroup
		wg.Go(func() { send(t, b, 1) })
		synctest.Wait()
		if b.Admit(Single) != 0 || b.Admit(Bulk) != 0 {
			t.Error("a second call is admitted while the first tries")
		}
		if err := send(t, b, 1); !errors.Is(err, ErrOpen) {
			t.Errorf("a second call went out: %v", err)
		}
		close(f.hold)
		wg.Wait()
		if f.count(ActPacks) != 2 || b.Admit(Single) != Unlimited {
			t.Errorf("%d calls, admit %d", f.count(ActPacks), b.Admit(Single))
		}
	})
}

func TestALateSuccessDoesNotUndoALoginFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{class: Success, hold: make(chan struct{})}
		b := newBreaker(t, f, BreakerConfig{})
		var wg sync.WaitGroup
		wg.Go(func() { send(t, b, 1) })
		synctest.Wait()
		hold := f.hold
		f.mu.Lock()
		f.hold, f.class = nil, Login
		f.mu.Unlock()
		send(t, b, 1)
		close(hold)
		wg.Wait()
		if b.Admit(Single) != 0 {
			t.Error("the account runs again")
		}
	})
}

func TestChangesAreToldInOrderAndUnderNoLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{class: InDoubt, ping: Success}
		var got []string
		var b *Breaker
		b = newBreaker(t, f, BreakerConfig{Services: []Service{Single}, OnChange: func(svc Service, s BreakerStatus) {
			got = append(got, fmt.Sprintf("%s %s %v", svc, s.State, s.Login))
			b.Admit(svc) // would deadlock under a lock
			b.Status(svc)
		}})
		send(t, b, 5)
		time.Sleep(31 * time.Second)
		b.Probe(t.Context())
		f.answer(Login)
		send(t, b, 1)
		b.Reset()
		f.answer(Success)
		send(t, b, 1)
		want := []string{"single open false", "single half_open false", "single closed false",
			"single open true", "single half_open true", "single closed false"}
		if !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

func TestABreakerUnderLoadKeepsItsCounts(t *testing.T) {
	f := &fakeSender{class: Success}
	b := newBreaker(t, f, BreakerConfig{OnChange: func(Service, BreakerStatus) {}})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				if i == 0 {
					f.answer([]Class{Success, InDoubt, Rule}[j%3])
				}
				_, _ = b.Do(context.Background(), supplyA)
				b.Admit(Single)
				b.Probe(context.Background())
			}
		})
	}
	wg.Wait()
	if n := b.lines[Single].flying; n != 0 || b.trying != 0 {
		t.Errorf("%d calls are still counted", n)
	}
}

func TestAPanicInACallFreesItsPlace(t *testing.T) {
	b := newBreaker(t, nil, BreakerConfig{})
	func() {
		defer func() { _ = recover() }()
		_, _ = b.Do(t.Context(), supplyA) // next is a nil *fakeSender
	}()
	if b.lines[Single].flying != 0 {
		t.Error("the call is still counted")
	}
}

func TestAServiceWithoutABreakerIsNotCalled(t *testing.T) {
	f := &fakeSender{class: Success}
	b := newBreaker(t, f, BreakerConfig{Services: []Service{Single}})
	if a, err := b.Do(t.Context(), bulkB); !errors.Is(err, ErrNotConfigured) || a.Class != NotSent || b.Admit(Bulk) != 0 {
		t.Errorf("%s, %v", a.Class, err)
	}
	for _, cfg := range []BreakerConfig{{Failures: -1}, {OpenFor: -1}, {Ramp: -1}, {Services: []Service{9}}} {
		if _, err := NewBreaker(f, cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

// A ping proves little of a service that hangs on packs: each time it closes the breaker,
// one more pack may be in doubt.
func TestAServiceThatPingsAndHangsCostsFewCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{class: InDoubt, ping: Success}
		b := newBreaker(t, f, BreakerConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go b.Run(ctx)
		for end := time.Now().Add(30 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
			if b.Admit(Single) > 0 {
				send(t, b, 1)
			}
		}
		if n := f.count(ActPacks); n > 5+8 {
			t.Errorf("%d calls in doubt in half an hour, want the five that opened it and one for each doubled wait", n)
		}
		f.answer(Success)
		time.Sleep(10 * time.Minute)
		send(t, b, 64)
		if got := b.Admit(Single); got != Unlimited {
			t.Errorf("a service that is well again is let %d calls, want no limit", got)
		}
	})
}

// Calls with the old certificate may still fail after the new one is in place: they must
// not hold the new one guilty.
func TestFailuresOfOldCredentialsDoNotLatchNewOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSender{class: Login, hold: make(chan struct{})}
		stamp := "old"
		var mu sync.Mutex
		b := newBreaker(t, f, BreakerConfig{Stamp: func() string { mu.Lock(); defer mu.Unlock(); return stamp }})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { _, _ = b.Do(context.Background(), supplyA) })
		}
		synctest.Wait()
		mu.Lock()
		stamp = "new" // while both are on their way
		mu.Unlock()
		close(f.hold)
		wg.Wait()
		f.answer(Success)
		if n := b.Admit(Single); n != 1 {
			t.Fatalf("%d calls may try the new credentials, want 1", n)
		}
		if err := send(t, b, 1); err != nil {
			t.Errorf("the new credentials are held back: %v", err)
		}
	})
}
