#!/usr/bin/env bash
# Every check that needs no server: formatting, go vet, go fix, staticcheck, and the
# rules of the tree. Runs all of them, then fails if one did.
set -euo pipefail
. "$(dirname "$0")/env.sh"
need_go

started=$SECONDS
failed=""

# check NAME COMMAND...: the command's output is the complaint.
check() {
  local name="$1" at=$SECONDS
  shift
  if "$@"; then
    say "ok    $name ($((SECONDS - at)) s)"
  else
    say "FAIL  $name ($((SECONDS - at)) s)"
    failed="$failed $name"
  fi
}

# tracked [PATTERN...]: what git has, and what it would take.
tracked() { git ls-files -co --exclude-standard -- "$@" | while IFS= read -r f; do [ ! -f "$f" ] || printf '%s\n' "$f"; done; }

formatted() {
  local bad
  bad="$(tracked '*.go' | tr '\n' '\0' | xargs -0 gofmt -l)"
  [ -z "$bad" ] || { say "not formatted (gofmt -w FILE):"; say "$bad"; return 1; }
}

fixed() {
  # Exits 1 on a difference, and shows it.
  go fix -diff ./...
}

checked() { go tool -modfile=deploy/tools/go.mod staticcheck ./...; }

# The top of the tree is fixed, so that a newcomer finds everything by name.
top_level() {
  local bad
  bad="$(tracked | sed 's|/.*||' | sort -u | grep -vxE \
    'cmd|worker|queue|nmvs|ratelimit|bench|deploy|\.ci|\.gitignore|\.gitattributes|\.editorconfig|go\.mod|go\.sum|LICENSE|NOTICE|README\.md|Makefile' || true)"
  [ -z "$bad" ] || { say "not an entry of the top level (style: the shape is fixed):"; say "$bad"; return 1; }
  bad="$(tracked '*.go' | grep -E '(^|/)(util|utils|common|types|models|helpers)/' || true)"
  [ -z "$bad" ] || { say "a package is named after its job:"; say "$bad"; return 1; }
}

# portable: nothing of the machine it was written on. The patterns are put together
# here so that this file does not contain what it looks for.
portable() {
  local s=/ pattern words word found=0
  pattern="(^|[^A-Za-z0-9_.-])${s}(work|root|tmp|home${s}[a-z]+|Users${s}[A-Za-z]+)(${s}|[^A-Za-z0-9_.-]|\$)"
  if tracked | grep -vxE 'LICENSE|NOTICE|go\.sum|.*/go\.sum' | tr '\n' '\0' | xargs -0 grep -nIE "$pattern" --; then
    say "^ a path of one machine"
    found=1
  fi
  # The very machine this runs on, whatever it is called.
  words="$(printf '%s\n' "$PWD" "${HOME:-}" "$(uname -n)" "$(go env GOPROXY | tr ',|' '\n\n' | sed -n 's|^https*://\([^/:]*\).*|\1|p' | grep -vx 'proxy\.golang\.org' || true)")"
  while IFS= read -r word; do
    [ ${#word} -ge 6 ] && [ "$word" != localhost ] || continue
    if tracked | tr '\n' '\0' | xargs -0 grep -nIF -e "$word" --; then
      say "^ names the machine this check runs on"
      found=1
    fi
  done <<<"$words"
  return $found
}

# Long files are asked what they do twice; tables may be long, so this only tells.
size() {
  tracked '*.go' | while IFS= read -r f; do
    lines="$(wc -l <"$f" | tr -d ' ')"
    [ "$lines" -le 500 ] || say "warn  $f has $lines lines: past 400, ask what it does twice"
  done
}

check gofmt formatted
check vet go vet ./...
check fix fixed
check staticcheck checked
check tidy go mod tidy -diff
check top-level top_level
check portable portable
size

[ -z "$failed" ] || die "lint failed:$failed ($((SECONDS - started)) s)"
say "lint: fine ($((SECONDS - started)) s)"
