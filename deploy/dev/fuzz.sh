#!/usr/bin/env bash
# Runs every fuzz target of the project, one after another, FUZZTIME (30s) each.
# What a target finds is written under its package's testdata/fuzz: commit it.
# Inputs are not made smaller for long: by default Go takes a minute for each new one.
set -euo pipefail
. "$(dirname "$0")/env.sh"
need_go

count=0
# Only packages whose tests name a target are built.
for dir in $(git ls-files -co --exclude-standard -- '*_test.go' | xargs grep -l '^func Fuzz' | xargs -n 1 dirname | sort -u); do
  for target in $(go test -list '^Fuzz' "./$dir" | grep '^Fuzz'); do
    say "== $dir $target (${FUZZTIME:-30s})"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-30s}" -fuzzminimizetime 100x "./$dir"
    count=$((count + 1))
  done
done
[ "$count" -gt 0 ] || die "no fuzz target was found"
say "$count fuzz targets, nothing found"
