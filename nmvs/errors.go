package nmvs

import (
	"errors"
	"fmt"
)

// Error is the one error of [Client.Do] and [Breaker.Do].
type Error struct {
	Op     string // operation code, "G120"
	C      string // ClientTrxId
	Class  Class  // what the caller may do next; never one that is [Class.Answered]
	Code   string // return code, if one was read
	Status int    // HTTP status, 0 if none came
	Err    error  // cause; nil when the return code says it all
}

// Error never holds a password, a serial or a part of a body.
func (e *Error) Error() string {
	s := fmt.Sprintf("call %s: %s", e.C, e.Class)
	if e.Op != "" {
		s = e.Op + " " + s
	}
	if e.Code != "" {
		s += ": " + clip(e.Code)
	}
	if e.Status != 0 && e.Status != 200 {
		s += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Sentinels of calls that NMVS never saw.
var (
	// ErrNotConfigured marks a call to a service or operation that the
	// configuration leaves out.
	ErrNotConfigured = errors.New("not configured")
	// ErrTimeout marks a call that had no whole answer in its time.
	ErrTimeout = errors.New("no answer in time")
	// ErrBytes marks a call whose bytes are not those that [Call.SHA] names.
	ErrBytes = errors.New("the request differs from the one that was recorded")
	// ErrStopped marks a call given up before its guard had let it pass.
	ErrStopped = errors.New("stopped before writing")
	// ErrGuard marks a call that its guard refused; the guard's error is in the
	// chain too.
	ErrGuard = errors.New("guard refused")
)
