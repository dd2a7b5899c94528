#!/usr/bin/env bash
# Breaks one rule of the protocol at a time (worker/testdata/mutants/*.patch, applied to a
# copy of the tree) and shows by which invariant, at which seed, the simulation notices.
# A mutant that lives, and was not expected to, is a hole in the simulation.
#
#   deploy/dev/mutants.sh [SEEDS] [NAME...]     SEEDS a mutant, default 3000
set -euo pipefail
. "$(dirname "$0")/env.sh"

seeds="${1:-3000}"
shift || true
names=("$@")
if [ "${#names[@]}" -eq 0 ]; then
  for f in worker/testdata/mutants/*.patch; do names+=("$(basename "$f" .patch)"); done
fi
tmp="$(mktemp -d)"
trap 'rm -rf "$tmp"' EXIT
git ls-files -z -co --exclude-standard -- go.mod go.sum nmvs queue ratelimit worker >"$tmp/files"
mkdir "$tmp/tree"
tar --null -T "$tmp/files" -cf - | tar -xf - -C "$tmp/tree"

wrong=0
# mutate NAME: one row of the table.
mutate() {
  local name="$1" patch="$PWD/worker/testdata/mutants/$1.patch" dir="$tmp/tree" what plan expect verdict seed inv
  what="$(sed -n "1s/^$name: //p" "$patch")"
  plan="$(sed -n 's/^plan: //p' "$patch")"
  expect="$(sed -n 's/^expect: //p' "$patch")"
  if ! patch -s -p1 -d "$dir" <"$patch" >"$tmp/$name.log" 2>&1 ||
    ! (cd "$dir" && go test -vet=off -c -o "$tmp/sim.test" ./worker) >>"$tmp/$name.log" 2>&1; then
    patch -s -R -f -p1 -d "$dir" <"$patch" >/dev/null 2>&1 || true
    say "| $name | $what | ${plan:-any} | DOES NOT APPLY OR BUILD: $(tail -n 1 "$tmp/$name.log") | |"
    return 1
  fi
  if (cd "$dir/worker" && GOMAXPROCS=1 timeout 300 "$tmp/sim.test" -test.run '^TestRandomSchedulesKeepEveryInvariant$' -test.timeout 0 \
    -seed 1 -seeds "$seeds" -failures 1 -plan "$plan") >"$tmp/$name.log" 2>&1; then
    verdict=holds
    say "| $name | $what | ${plan:-any} | $([ "$expect" = holds ] && echo 'holds, as expected' || echo LIVES) | $seeds seeds |"
  else
    verdict=killed
    seed="$(grep -o -m 1 'seed=[0-9]*' "$tmp/$name.log" || true)"
    inv="$(grep -oE -m 1 '_test.go:[0-9]+: [A-Z]{3,}|panic: .*|undo [^ ]* cites' "$tmp/$name.log" | sed 's/.*: //' || true)"
    say "| $name | $what | ${plan:-any} | killed by ${inv:-$(tail -n 1 "$tmp/$name.log")} | ${seed:-no seed} |"
  fi
  patch -s -R -p1 -d "$dir" <"$patch"
  [ "$verdict" = "$expect" ]
}

say "| mutant | rule broken | plan | verdict | seed |"
say "|---|---|---|---|---|"
for name in "${names[@]}"; do mutate "$name" || wrong=$((wrong + 1)); done
say ""
say "${#names[@]} mutants, $wrong not as expected"
[ "$wrong" -eq 0 ]
