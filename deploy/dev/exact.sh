#!/usr/bin/env bash
# Prepares a build in which one seed of the simulation is one story, bit by bit: writes into DIR
# an overlay of Go's runtime whose order of map entries, of ready select cases and of timers of
# one instant comes from the seed, and in which no goroutine is preempted. Nothing of the Go
# installation is changed, and nothing but the simulation is built like that.
#
#   deploy/dev/exact.sh DIR      then: go test -tags exact -overlay DIR/overlay.json ./worker
set -euo pipefail
. "$(dirname "$0")/env.sh"

dir="$1" runtime="$(go env GOROOT)/src/runtime"

# change FILE OLD NEW: OLD must stand there once, or this is a Go that nobody has looked at.
change() {
  [ -f "$dir/$1" ] || cp "$runtime/$1" "$dir/$1"
  [ "$(grep -cF -- "$2" "$dir/$1")" -eq 1 ] ||
    die "exact replay knows the runtime of Go 1.26; $(go env GOVERSION) has another $1: run without EXACT=1, or teach deploy/dev/exact.sh"
  OLD="$2" NEW="$3" awk 'BEGIN { old = ENVIRON["OLD"]; new = ENVIRON["NEW"] }
    { i = index($0, old); if (i) $0 = substr($0, 1, i - 1) new substr($0, i + length(old)); print }' "$dir/$1" >"$dir/$1.new"
  mv "$dir/$1.new" "$dir/$1"
}

mkdir -p "$dir"
change select.go 'cheaprandn(uint32(norder + 1))' 'exactRandn(uint32(norder + 1))'
change time.go 't.rand = cheaprand()' 't.rand = exactRand32()'
change proc.go 'const forcePreemptNS = 10 * 1000 * 1000 // 10ms' 'const forcePreemptNS = 3600 * 1000 * 1000 * 1000'
change rand.go 'func rand() uint64 {' 'func rand() uint64 {
	if exactState != 0 {
		return exactRand()
	}'
cat >>"$dir/rand.go" <<'GO'

var exactState uint64 // 0: as always

// exactSeed has all that follows depend on seed alone.
//
//go:linkname exactSeed
func exactSeed(seed uint64) { exactState = seed }

//go:nosplit
func exactRand() uint64 {
	exactState += 0x9e3779b97f4a7c15
	z := exactState
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

//go:nosplit
func exactRand32() uint32 {
	if exactState == 0 {
		return cheaprand()
	}
	return uint32(exactRand())
}

//go:nosplit
func exactRandn(n uint32) uint32 {
	return uint32((uint64(exactRand32()) * uint64(n)) >> 32)
}
GO
{
  printf '{"Replace": {'
  sep=''
  for f in select.go time.go proc.go rand.go; do
    printf '%s"%s": "%s"' "$sep" "$runtime/$f" "$dir/$f"
    sep=', '
  done
  printf '}}\n'
} >"$dir/overlay.json"
