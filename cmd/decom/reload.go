package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// reloader answers SIGHUP. It reads the whole configuration again and judges it as a
// start would; only then it takes over what can change while the worker runs, and it
// names what needs a restart, and why. A configuration that is wrong changes nothing, and
// decom_config_reload_failed says so.
//
// Certificates and password files need no signal: they are read again when they change.
type reloader struct {
	load  func() (*loaded, error)
	level *slog.LevelVar
	log   *slog.Logger
	began Config // what runs: as started, with what was taken over since. Owned by run
	// limits takes over an account's mode and limits. nil: there is no worker.
	limits func(*Account) error
	// told is called before and after: metrics and the service manager hang here. nil: nobody.
	before func()
	after  func(err error, at time.Time)
}

// liveKey matches what can change without a restart. An account is found by its name, so a list
// whose accounts moved changes names, which need a restart.
var liveKey = regexp.MustCompile(`^(log\.level|accounts\.\d+\.(mode|limits\.[a-z_]+))$`)

// restartWhy says, by the beginning of a key, why it cannot change while attempts are open.
var restartWhy = []struct{ prefix, why string }{
	{"dir", "the folder is locked at start"},
	{"nats.", "the connection and the streams are set up at start"},
	{"redis.", "the pack state is opened at start"},
	{"nmvs.", "open attempts are rendered for the services they began with"},
	{"protocol.", "a hold that has begun must not change under its attempt"},
	{"accounts.", "consumers, logins and holds belong to an account's start"},
	{"http.", "the address is taken at start"},
	{"log.", "the log is opened at start"},
	{"trace.", "the sender of traces is started at start"},
}

func whyRestart(keys []string) (why []string) {
	for _, it := range restartWhy {
		if slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, it.prefix) }) {
			why = append(why, strings.TrimSuffix(it.prefix, ".")+": "+it.why)
		}
	}
	return why
}

// run handles each signal until ctx ends.
func (r *reloader) run(ctx context.Context, hups <-chan os.Signal) {
	for {
		select {
		case <-hups:
			r.reload()
		case <-ctx.Done():
			return
		}
	}
}

func (r *reloader) reload() {
	if r.before != nil {
		r.before()
	}
	err := r.take()
	if err != nil {
		r.log.Error("SIGHUP: the configuration is wrong, the one of before stays", "err", err)
	}
	if r.after != nil {
		r.after(err, time.Now())
	}
}

func (r *reloader) take() error {
	c, err := r.load()
	if err != nil {
		return err
	}
	var taken, restart []string
	for _, key := range changedKeys(&r.began, &c.Config) {
		if liveKey.MatchString(key) && sameAccount(&r.began, &c.Config, key) {
			taken = append(taken, key)
		} else {
			restart = append(restart, key)
		}
	}
	changes := describeKeys(&r.began, &c.Config, taken)
	if err := r.takeOver(c, taken); err != nil {
		return err
	}
	if len(restart) > 0 {
		r.log.Warn("SIGHUP: configuration read, but these keys need a restart", "keys", restart, "because", whyRestart(restart),
			"changed", changes, "log_level", c.Log.level().String())
		return nil
	}
	r.log.Info("SIGHUP: configuration read", "changed", changes, "log_level", c.Log.level().String())
	return nil
}

// takeOver makes the keys count.
func (r *reloader) takeOver(c *loaded, taken []string) error {
	r.began.Accounts = slices.Clone(r.began.Accounts) // others hold the list of the start
	for i := range r.began.Accounts {
		prefix := fmt.Sprintf("accounts.%d.", i)
		if !slices.ContainsFunc(taken, func(k string) bool { return strings.HasPrefix(k, prefix) }) {
			continue
		}
		acc := r.began.Accounts[i]
		acc.Mode, acc.Limits = c.Accounts[i].Mode, c.Accounts[i].Limits
		if r.limits != nil {
			if err := r.limits(&acc); err != nil {
				return fmt.Errorf("account %s: %w", acc.Name, err)
			}
		}
		r.began.Accounts[i] = acc
	}
	r.began.Log.Level = c.Log.Level
	r.level.Set(c.Log.level())
	return nil
}

// sameAccount says whether a key's account has the same name in both, or the key is no account's.
func sameAccount(a, b *Config, key string) bool {
	var i int
	if n, _ := fmt.Sscanf(key, "accounts.%d.", &i); n == 0 {
		return true
	}
	return i < len(a.Accounts) && i < len(b.Accounts) && a.Accounts[i].Name == b.Accounts[i].Name
}

// describeKeys tells changes as "key: before -> after"; only keys without secrets come here.
func describeKeys(a, b *Config, keys []string) []string {
	values := func(c *Config) map[string]string {
		m := map[string]string{}
		for _, l := range leaves(c) {
			m[l.path] = fmt.Sprint(l.value.Interface())
		}
		return m
	}
	before, after := values(a), values(b)
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k + ": " + before[k] + " -> " + after[k]
	}
	return out
}

// changedKeys lists the keys whose values differ, in the order of the struct; accounts
// that only one of the two has count with each of their keys.
func changedKeys(a, b *Config) (keys []string) {
	before := map[string]any{}
	for _, l := range leaves(a) {
		before[l.path] = l.value.Interface()
	}
	for _, l := range leaves(b) {
		was, known := before[l.path]
		delete(before, l.path)
		if !known || !reflect.DeepEqual(was, l.value.Interface()) {
			keys = append(keys, l.path)
		}
	}
	for _, l := range leaves(a) {
		if _, gone := before[l.path]; gone {
			keys = append(keys, l.path)
		}
	}
	return keys
}
