#!/usr/bin/env bash
# Breaks one rule of the protocol at a time (worker/testdata/mutants/*.mut, as the overlay of
# a build: the tree stays as it is) and shows by which invariant, at which seed, the
# simulation notices. A mutant that lives, and was not expected to, is a hole in the
# simulation. One that does not fit the sources any more fails before anything runs.
#
#   deploy/dev/mutants.sh [SEEDS] [NAME...]     SEEDS a mutant at most, default 2000
set -euo pipefail
. "$(dirname "$0")/env.sh"
need_go

seeds="${1:-2000}"
shift || true
tmp="$(mktemp -d)"
trap 'rm -rf "$tmp"' EXIT
go test -vet=off ./worker -run '^TestEveryMutantStillFits$' -count=1 -mutants-to "$tmp" >"$tmp/fit.log" 2>&1 ||
  { grep -vE '^(---|FAIL|ok)' "$tmp/fit.log" >&2 || true; die "mutants are stale: refresh worker/testdata/mutants so that each edit's lines stand in the sources again"; }
names=("$@")
if [ "${#names[@]}" -eq 0 ]; then
  while IFS= read -r name; do names+=("$name"); done < <(find "$tmp" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort -V)
fi

# first FILE PATTERN: the first match, or nothing.
first() { grep -oE -m 1 "$2" "$1" || true; }

wrong=0
# mutate NAME: one row of the table.
mutate() {
  local name="$1" dir="$tmp/$1" log="$tmp/$1/log" what plan expect most kill verdict seed='' by='' began=$SECONDS
  [ -d "$dir" ] || { say "| $name | no such mutant | | | | |"; return 1; }
  what="$(<"$dir/what")" plan="$(<"$dir/plan")" expect="$(<"$dir/expect")" most="$(<"$dir/seeds")" kill="$(<"$dir/kill")"
  { [ -n "$most" ] && [ "$most" -lt "$seeds" ]; } || most="$seeds"
  if ! go test -vet=off -ldflags='-s -w' -overlay "$dir/overlay.json" -c -o "$dir/sim.test" ./worker >"$log" 2>&1; then
    say "| $name | $what | ${plan:-any} | DOES NOT BUILD: $(grep -m 1 -E '\.go:[0-9]+' "$log" || tail -n 1 "$log") | | $((SECONDS - began)) s |"
    return 1
  fi
  if (cd worker && GOMAXPROCS=1 "$dir/sim.test" -test.run '^TestRandomSchedulesKeepEveryInvariant$' -test.timeout 15m \
    -seed 1 -seeds "$most" -failures 1 -plan "$plan") >"$log" 2>&1; then
    verdict=holds seed="$most seeds"
    if [ -n "$kill" ] && ! (cd worker && "$dir/sim.test" -test.run "^$kill\$" -test.timeout 5m -test.v) >"$log" 2>&1; then
      verdict=killed by="$kill" seed="lives $most seeds"
    elif [ -n "$kill" ] && ! grep -q -- "^--- PASS: $kill" "$log"; then
      verdict="NO TEST $kill"
    fi
  else
    verdict=killed
    seed="$(first "$log" 'seed=[0-9]+' | sed 's/seed=//')"
    by="$(first "$log" '_test.go:[0-9]+: ([A-Z]{2,}|undo [^ ]* cites|resume)' | sed 's/.*: //')"
    [ -n "$by" ] || by="$(first "$log" '(panic|fatal error): .*')"
  fi
  rm -f "$dir/sim.test"
  case "$verdict $expect" in
    'killed killed') verdict="killed by ${by:-$(tail -n 1 "$log")}" ;;
    'holds holds') verdict='holds, as expected' ;;
    'killed holds') verdict="KILLED by ${by:-$(tail -n 1 "$log")}, though expected to hold" ;;
    'holds killed') verdict='**LIVES**' ;;
  esac
  say "| $name | $what | ${plan:-any} | $verdict | ${seed:-?} | $((SECONDS - began)) s |"
  case "$verdict" in 'killed by '* | 'holds, as expected') ;; *) return 1 ;; esac
}

began=$SECONDS
say "| mutant | rule broken | plan | verdict | seed | time |"
say "|---|---|---|---|---|---|"
for name in "${names[@]}"; do mutate "$name" || wrong=$((wrong + 1)); done
say ""
say "${#names[@]} mutants, $wrong not as expected, $((SECONDS - began)) s"
[ "$wrong" -eq 0 ]
