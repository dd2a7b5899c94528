//go:build race

package bench

// raceEnabled: the race detector multiplies memory, so its runs only measure that the
// bulk works.
const raceEnabled = true
