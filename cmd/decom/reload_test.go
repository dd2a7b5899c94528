package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// reloads makes a reloader over configurations that the test chooses.
func reloads(next func() (*loaded, error)) (*reloader, *bytes.Buffer) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	began := defaultConfig()
	began.Accounts = []Account{{Name: "chu", Password: "hush-hush"}}
	return &reloader{load: next, level: level, log: newLogger(&out, LogConfig{}, level), began: began}, &out
}

func TestReloadTakesWhatCanChangeAndNamesWhatNeedsARestart(t *testing.T) {
	next := defaultConfig()
	next.Accounts = []Account{{Name: "chu", Password: "other-hush", Limits: LimitsConfig{Single: "9/s"}}}
	next.Log.Level, next.Protocol.TSend = "debug", time.Second
	r, out := reloads(func() (*loaded, error) { return &loaded{Config: next}, nil })
	list := r.began.Accounts
	var taken []Account
	r.limits = func(a *Account) error { taken = append(taken, *a); return nil }
	r.reload()
	if r.level.Level() != slog.LevelDebug {
		t.Errorf("level %s, want debug", r.level.Level())
	}
	if len(taken) != 1 || taken[0].Limits.Single != "9/s" || taken[0].Password != "hush-hush" {
		t.Errorf("taken over: %+v", taken)
	}
	if list[0].Limits.Single != "" {
		t.Error("the list that the process was started with has changed under its readers")
	}
	for _, want := range []string{"need a restart", "protocol.t_send", "accounts.0.password", "a hold that has begun", "accounts.0.limits.single:  -> 9/s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in: %s", want, out)
		}
	}
	if strings.Contains(out.String(), "hush") {
		t.Errorf("it shows a secret: %s", out)
	}
	out.Reset()
	r.reload() // nothing new
	if len(taken) != 1 || !strings.Contains(out.String(), `"changed":[]`) {
		t.Errorf("the same once more: %d taken over, %s", len(taken), out)
	}
}

func TestReloadTakesNoLimitsOfAnAccountThatMoved(t *testing.T) {
	next := defaultConfig()
	next.Accounts = []Account{{Name: "new", Limits: LimitsConfig{Single: "9/s"}}, {Name: "chu"}}
	r, out := reloads(func() (*loaded, error) { return &loaded{Config: next}, nil })
	r.limits = func(a *Account) error { t.Errorf("taken over: %+v", a); return nil }
	r.reload()
	if !strings.Contains(out.String(), "accounts.0.name") || !strings.Contains(out.String(), "accounts.0.limits.single") {
		t.Errorf("%s", out)
	}
}

func TestReloadKeepsWhatItHasWhenTheNewOneIsWrong(t *testing.T) {
	r, out := reloads(func() (*loaded, error) { return nil, errors.New("decom.yaml:3:5: nats.urll: unknown key") })
	r.level.Set(slog.LevelWarn)
	r.reload()
	if r.level.Level() != slog.LevelWarn || !strings.Contains(out.String(), "nats.urll") {
		t.Errorf("level %s: %s", r.level.Level(), out)
	}
}

func TestEverySignalReloadsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		r, _ := reloads(func() (*loaded, error) { n++; return &loaded{Config: defaultConfig()}, nil })
		ctx, cancel := context.WithCancel(t.Context())
		hups := make(chan os.Signal)
		go r.run(ctx, hups)
		hups <- syscall.SIGHUP
		hups <- syscall.SIGHUP
		synctest.Wait()
		cancel()
		synctest.Wait()
		if n != 2 {
			t.Errorf("reloaded %d times, want 2", n)
		}
	})
}

func TestChangedKeysFindsAccountsThatCameAndWent(t *testing.T) {
	one, two := defaultConfig(), defaultConfig()
	two.Accounts = []Account{{Name: "new"}}
	for _, got := range [][]string{changedKeys(&one, &two), changedKeys(&two, &one)} {
		if !slices.Contains(got, "accounts.0.name") {
			t.Errorf("got %v", got)
		}
	}
	if got := changedKeys(&two, &two); len(got) != 0 {
		t.Errorf("nothing changed, got %v", got)
	}
}
