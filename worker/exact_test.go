//go:build exact

package worker

import (
	_ "unsafe" // for go:linkname
)

// exact says that this build replays a seed bit by bit (deploy/dev/exact.sh).
const exact = true

//go:linkname seedRuntime runtime.exactSeed
func seedRuntime(seed uint64)
