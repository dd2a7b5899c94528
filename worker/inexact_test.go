//go:build !exact

package worker

// exact: see exact_test.go.
const exact = false

// seedRuntime does nothing: the order of maps, of select and of timers of one instant is Go's own.
func seedRuntime(uint64) {}
