//go:build !crash

package main

// crashStep is nil in every build that is shipped: see crash_on.go.
var crashStep func(step string)
