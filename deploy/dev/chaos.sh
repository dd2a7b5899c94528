#!/usr/bin/env bash
# Chaos on real processes (bench/chaos): RUNS plans from SEED on, SIDE of them side by side,
# against the binary of this tree. A failing run keeps its files and says how to repeat it.
#
#   deploy/dev/chaos.sh RUNS [SEED] [SIDE] [FAULT]
#   deploy/dev/chaos.sh soak DURATION [SEED]
set -euo pipefail
. "$(dirname "$0")/env.sh"

need_go
command -v redis-server >/dev/null 2>&1 ||
  die "redis-server 7.0 or newer is missing (Debian: apt-get install redis-server redis-sentinel; macOS: brew install redis)"
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT

echo "chaos: building decom and the rig; with an empty build cache that takes some minutes"
go build -o "$out/decom" ./cmd/decom
# The compiled test prints each run as it ends; go test would keep it to itself.
go test -c -o "$out/chaos" ./bench/chaos
cd bench/chaos
case "${1:?RUNS or soak}" in
soak)
  echo "soak: ${2:?DURATION} of load with faults, then the verdict; a line a minute"
  "$out/chaos" -test.run '^TestSoak$' -test.timeout 0 -bin "$out/decom" -soak "${2:?DURATION}" -seed "${3:-1}"
  ;;
*)
  echo "chaos: runs $1, from seed ${2:-1}, ${3:-3} side by side; each prints a line as it ends, the first after about half a minute"
  "$out/chaos" -test.run '^TestChaos$' -test.timeout 0 -bin "$out/decom" -chaos -runs "$1" -seed "${2:-1}" -side "${3:-3}" -fault "${4:-}"
  ;;
esac
