//go:build !crash

package main

import "decom/worker"

// faultyNMVS is nil in every build that is shipped: see faulty_on.go.
var faultyNMVS func(worker.NMVS) worker.NMVS
