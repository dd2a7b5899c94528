package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"decom/nmvs"
)

func logOf(t *testing.T) (*nmvsLog, func() []string) {
	t.Helper()
	var out bytes.Buffer
	l := newNMVSLog(newLogger(&out, LogConfig{}, new(slog.LevelVar)), "chu")
	return l, func() []string {
		if out.Len() == 0 {
			return nil
		}
		return strings.Split(strings.TrimSpace(out.String()), "\n")
	}
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i, w := range want {
		if !strings.Contains(got[i], w) || !strings.Contains(got[i], `"account":"chu"`) {
			t.Errorf("line %d is %s, want %q", i, got[i], w)
		}
	}
}

// An outage of a night is hundreds of pings; its log is two lines.
func TestAnOutageIsToldWhenItBeginsAndWhenItEnds(t *testing.T) {
	l, lines := logOf(t)
	cause := errors.New("connection refused")
	for range 100 {
		l.changed(nmvs.Single, nmvs.BreakerStatus{State: nmvs.BreakerOpen, Cause: cause})
		l.changed(nmvs.Single, nmvs.BreakerStatus{State: nmvs.BreakerHalfOpen, Cause: cause})
	}
	for range 2 {
		l.changed(nmvs.Single, nmvs.BreakerStatus{State: nmvs.BreakerClosed, Cause: cause})
	}
	wantLines(t, lines(), "connection refused", "NMVS answers again")
	if strings.Contains(lines()[1], "refused") {
		t.Errorf("good news with the cause of the bad: %s", lines()[1])
	}
	l.changed(nmvs.Single, nmvs.BreakerStatus{State: nmvs.BreakerOpen, Cause: cause})
	if n := len(lines()); n != 3 {
		t.Errorf("the next outage is not told: %d lines", n)
	}
}

func TestARefusedLoginIsToldOnceForAllServices(t *testing.T) {
	l, lines := logOf(t)
	for _, state := range []nmvs.BreakerState{nmvs.BreakerOpen, nmvs.BreakerHalfOpen} {
		for _, svc := range nmvs.Services() {
			l.changed(svc, nmvs.BreakerStatus{State: state, Login: true, Cause: errors.New("NMVS_FE_AU_02")})
		}
	}
	wantLines(t, lines(), "NMVS_FE_AU_02", "credentials have changed")
}

func TestRedisIsToldWhenItGoesAndWhenItComesBack(t *testing.T) {
	l, lines := logOf(t)
	o := outage{log: l.log, away: "Redis does not answer", back: "Redis answers again"}
	for range 3 {
		o.seen(nil)
	}
	for range 3 {
		o.seen(errors.New("refused"))
	}
	for range 3 {
		o.seen(nil)
	}
	wantLines(t, lines(), "Redis does not answer", "Redis answers again")
}

func TestALostAnswerIsToldWithItsCause(t *testing.T) {
	l, lines := logOf(t)
	k := link{Breaker: breakerThat(t, nmvs.InDoubt), notice: func([]nmvs.Notice) {}, log: l}
	for _, act := range []nmvs.Act{nmvs.ActPing, nmvs.ActPacks} {
		_, _ = k.Do(t.Context(), nmvs.Call{Act: act, Service: nmvs.Single})
	}
	wantLines(t, lines(), "broken XML")
}

// breakerThat is a breaker whose calls all end in this class.
func breakerThat(t *testing.T, class nmvs.Class) *nmvs.Breaker {
	t.Helper()
	b, err := nmvs.NewBreaker(sender(func() (nmvs.Answer, error) {
		return nmvs.Answer{Finding: nmvs.Finding{Class: class}}, errors.New("broken XML")
	}), nmvs.BreakerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sender answers pings as the test says.
type sender func() (nmvs.Answer, error)

func (s sender) Do(context.Context, nmvs.Call) (nmvs.Answer, error) { return s() }

func TestAStartSaysOnceThatNMVSDoesNotAnswerAndOnceThatItDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, lines := logOf(t)
		began := time.Now()
		l.greet(t.Context(), sender(func() (nmvs.Answer, error) {
			if time.Since(began) < 10*time.Minute {
				return nmvs.Answer{}, errors.New("certificate signed by unknown authority")
			}
			return nmvs.Answer{}, nil
		}), []nmvs.Service{nmvs.Single})
		wantLines(t, lines(), "unknown authority", "NMVS answers")
	})
}

func TestAGreetingSaysWhatToLookAt(t *testing.T) {
	for want, tt := range map[string]struct {
		class nmvs.Class
		err   error
	}{
		"nmvs.ca":                   {nmvs.NotSent, fmt.Errorf("call: %w", &tls.CertificateVerificationError{Err: errors.New("x509")})},
		"the account's certificate": {nmvs.Login, errors.New("remote error: tls: unknown certificate authority")},
		"does not answer":           {nmvs.NotSent, errors.New("connection refused")},
	} {
		if got := whyNoAnswer(nmvs.Answer{Finding: nmvs.Finding{Class: tt.class}}, tt.err); !strings.Contains(got, want) {
			t.Errorf("%v: %q, want %q in it", tt.err, got, want)
		}
	}
}

func TestAForgottenSiteIsToldOnceAnHour(t *testing.T) {
	told, now, n := unroutedTold{}, time.Now(), 0
	for range 2 * 60 * 2 { // two hours of looks
		if told.news("nowhere", now) {
			n++
		}
		now = now.Add(30 * time.Second)
	}
	if n != 2 || !told.news("elsewhere", now) {
		t.Errorf("told %d times in two hours, want 2, and each site for itself", n)
	}
}

func TestAGreetingEndsWithTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := logOf(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		l.greet(ctx, sender(func() (nmvs.Answer, error) { return nmvs.Answer{}, errors.New("no") }), nmvs.Services())
	})
}
