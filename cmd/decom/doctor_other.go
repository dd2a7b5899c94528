//go:build !linux

package main

import "errors"

var errNotLinux = errors.New("not known on this system")

// freeSpace is what this user may still write under dir, in bytes.
func freeSpace(string) (uint64, error) { return 0, errNotLinux }

// openFiles is how many files this process may have open.
func openFiles() (uint64, error) { return 0, errNotLinux }
