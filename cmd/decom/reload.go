package main

import (
	"context"
	"log/slog"
	"os"
	"reflect"
	"slices"
)

// reloader answers SIGHUP. It reads the whole configuration again and judges it as a
// start would; only then it takes over what can change while the worker runs, and it
// names what needs a restart. A configuration that is wrong changes nothing.
//
// Certificates and password files need no signal: they are read again when they change.
type reloader struct {
	load  func() (*loaded, error)
	level *slog.LevelVar
	log   *slog.Logger
	began Config // as the process was started
}

// liveKeys can change without a restart.
var liveKeys = []string{"log.level"}

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
	c, err := r.load()
	if err != nil {
		r.log.Error("SIGHUP: the configuration is wrong, the one of before stays", "err", err)
		return
	}
	restart := changedKeys(&r.began, &c.Config)
	restart = slices.DeleteFunc(restart, func(key string) bool { return slices.Contains(liveKeys, key) })
	r.level.Set(c.Log.level())
	if len(restart) > 0 {
		r.log.Warn("SIGHUP: configuration read, but these keys need a restart", "keys", restart, "log_level", c.Log.level().String())
		return
	}
	r.log.Info("SIGHUP: configuration read", "log_level", c.Log.level().String())
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
