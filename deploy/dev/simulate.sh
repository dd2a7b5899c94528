#!/usr/bin/env bash
# The deterministic simulation (worker/random_test.go): SEEDS random schedules from SEED on,
# one process a CPU, without the race detector. PLAN holds parts of every schedule fast
# (worker/plan_test.go): PLAN=mode=bulk,stores=ledger.
#
#   deploy/dev/simulate.sh SEEDS [SEED] [PLAN]
set -euo pipefail
. "$(dirname "$0")/env.sh"

seeds="$1" first="${2:-1}" plan="${3:-}"
cpus="$(getconf _NPROCESSORS_ONLN)"
[ "$cpus" -le "$seeds" ] || cpus="$seeds"
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT

go test -c -o "$out/simulate" ./worker
began=$SECONDS
pids=()
for i in $(seq 0 $((cpus - 1))); do
  # GOMAXPROCS=1: what a seed draws is then drawn in the same order, nearly always.
  (cd worker && GOMAXPROCS=1 exec "$out/simulate" -test.run '^TestRandomSchedulesKeepEveryInvariant$' -test.timeout 0 \
    -seed $((first + i)) -seeds $((seeds - i)) -every "$cpus" -plan "$plan") >"$out/log.$i" 2>&1 &
  pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
if [ "$failed" -ne 0 ]; then
  cat "$out"/log.*
  say "simulation FAILED: $seeds seeds from $first, $((SECONDS - began)) s, $cpus processes"
  exit 1
fi
say "simulation: $seeds seeds from $first, 0 violations, $((SECONDS - began)) s, $cpus processes"
