#!/usr/bin/env bash
# The deterministic simulation (worker/random_test.go): SEEDS random schedules from SEED on,
# one process a CPU, without the race detector. PLAN holds parts of every schedule fast
# (worker/plan_test.go): PLAN=mode=bulk,stores=ledger. With SECONDS it begins no schedule
# after so long, and says how many it reached.
#
#   deploy/dev/simulate.sh SEEDS [SEED] [PLAN] [SECONDS]
set -euo pipefail
. "$(dirname "$0")/env.sh"

seeds="$1" first="${2:-1}" plan="${3:-}" limit="${4:-0}"
cpus="$(getconf _NPROCESSORS_ONLN)"
[ "$cpus" -le "$seeds" ] || cpus="$seeds"
[ "$limit" -gt 0 ] && budget="${limit}s" || budget=1000h
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT

go test -vet=off -c -o "$out/simulate" ./worker
began=$SECONDS
pids=()
for i in $(seq 0 $((cpus - 1))); do
  # GOMAXPROCS=1: what a seed draws is then drawn in the same order, nearly always.
  # GOGC: an eighth less time, for some more memory.
  (cd worker && GOMAXPROCS=1 GOGC=400 exec "$out/simulate" -test.run '^TestRandomSchedulesKeepEveryInvariant$' -test.timeout 0 \
    -seed $((first + i)) -seeds $((seeds - i)) -every "$cpus" -budget "$budget" -plan "$plan") >"$out/log.$i" 2>&1 &
  pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
# The sum over all processes; one that died says nothing.
ran="$(awk '/^schedules run: / { n += $3 } END { print n + 0 }' "$out"/log.*)"
if [ "$failed" -ne 0 ] || [ "$ran" -eq 0 ]; then
  cat "$out"/log.*
  say "simulation FAILED: $ran of $seeds seeds from $first, $((SECONDS - began)) s, $cpus processes"
  exit 1
fi
say "simulation: $ran of $seeds seeds from $first, 0 violations, $((SECONDS - began)) s, $cpus processes"
