#!/usr/bin/env bash
# The deterministic simulation (worker/random_test.go): SEEDS random schedules from SEED on,
# one process a CPU, without the race detector. PLAN holds parts of every schedule fast
# (worker/plan_test.go): PLAN=mode=bulk,stores=ledger. With SECONDS it begins no schedule
# after so long, and says how many it reached.
#
# Once a minute it says how far it is; stopped by Ctrl-C or SIGTERM it says what it has done and
# from which seed the rest goes on. Output goes to a file, too, where SIMULATE_LOG names one.
# EXACT=1 builds with deploy/dev/exact.sh: a seed is then one story, bit by bit (about two minutes
# of compiling the first time).
#
#   deploy/dev/simulate.sh SEEDS [SEED] [PLAN] [SECONDS]
set -euo pipefail
. "$(dirname "$0")/env.sh"

seeds="$1" first="${2:-1}" plan="${3:-}" limit="${4:-0}"
cpus="$(getconf _NPROCESSORS_ONLN)"
[ "$cpus" -le "$seeds" ] || cpus="$seeds"
[ "$limit" -gt 0 ] && budget="${limit}s" || budget=1000h
out="$(mktemp -d)"
pids=()
trap 'rm -rf "$out"' EXIT
if [ -n "${SIMULATE_LOG:-}" ]; then exec > >(tee -a "$SIMULATE_LOG") 2>&1; fi

build=() gogc=800 limit_memory=off
if [ "${EXACT:-0}" = 1 ]; then # no collection while a seed runs: it would reorder what runs
  deploy/dev/exact.sh "$out/runtime"
  build=(-tags exact -overlay "$out/runtime/overlay.json") gogc=off limit_memory=1500MiB
fi
go test -vet=off ${build[@]+"${build[@]}"} -c -o "$out/simulate" ./worker
began=$SECONDS
for i in $(seq 0 $((cpus - 1))); do
  # GOMAXPROCS=1: what a seed draws is then drawn in the same order, nearly always.
  # GOGC: a tenth less time, for some more memory.
  (cd worker && GOMAXPROCS=1 GOGC=$gogc GOMEMLIMIT=$limit_memory exec "$out/simulate" -test.run '^TestRandomSchedulesKeepEveryInvariant$' -test.timeout 0 \
    -seed $((first + i)) -seeds $((seeds - i)) -every "$cpus" -budget "$budget" -plan "$plan") >"$out/log.$i" 2>&1 &
  pids+=($!)
done

# Each process says now and then "schedules run: N failed: N next: SEED"; its last word counts.
sums() { awk '/^schedules run: / { n[FILENAME] = $3; f[FILENAME] = $5; s[FILENAME] = $7 }
  END { for (i in n) { ran += n[i]; bad += f[i]; if (next_seed == "" || s[i] < next_seed) next_seed = s[i] }
        print ran + 0, bad + 0, next_seed + 0 }' "$out"/log.*; }
stopped() {
  trap '' INT TERM
  kill -TERM "${pids[@]}" 2>/dev/null || true
  wait "${pids[@]}" 2>/dev/null || true
  read -r ran bad next <<<"$(sums)"
  say "simulation STOPPED: $ran of $seeds seeds from $first, $bad violations, $((SECONDS - began)) s; every seed below $next is done"
  say "the rest: make simulate SEEDS=$((first + seeds - next)) SEED=$next PLAN=$plan"
  grep -h '^FAILED: ' "$out"/log.* || true
  exit 130
}
trap stopped INT TERM
progress() {
  trap 'kill "$nap" 2>/dev/null || true; exit 0' TERM
  while :; do
    sleep 60 >/dev/null 2>&1 & nap=$!
    wait "$nap"
    read -r ran bad next <<<"$(sums)"
    say "$(date +%H:%M:%S) $ran of $seeds seeds from $first, $bad violations, $((SECONDS - began)) s; every seed below $next is done"
  done
}
progress &
ticker=$!
trap 'kill "$ticker" 2>/dev/null || true; rm -rf "$out"' EXIT

failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
read -r ran bad next <<<"$(sums)"
if [ "$failed" -ne 0 ] || [ "$ran" -eq 0 ]; then
  cat "$out"/log.*
  say "simulation FAILED: $ran of $seeds seeds from $first, $bad violations, $((SECONDS - began)) s, $cpus processes"
  exit 1
fi
say "simulation: $ran of $seeds seeds from $first, 0 violations, $((SECONDS - began)) s, $cpus processes"
