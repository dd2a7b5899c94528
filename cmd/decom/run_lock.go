package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockDir keeps a second process out of a directory that holds embedded stores
// (contract.md section 7: one process per dir). With outside stores any number may run.
func lockDir(c *loaded) (unlock func(), err error) {
	store, err := c.storeConfig()
	if err != nil {
		return func() {}, exitWith(exitConfig, err)
	}
	if c.NATS.URL != "" && !store.Embedded() {
		return func() {}, nil
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return func() {}, exitWith(exitConfig, fmt.Errorf("dir: %w", err))
	}
	name := filepath.Join(c.Dir, "decom.pid")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return func() {}, exitWith(exitConfig, fmt.Errorf("dir: %w", err))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return func() {}, exitWith(exitDown, fmt.Errorf("dir %s is used by another decom process (see %s): stop it, or give this one another dir", c.Dir, name))
		}
		return func() {}, fmt.Errorf("lock %s: %w", name, err)
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintln(f, os.Getpid())
	return func() { _ = f.Close() }, nil
}
