#!/usr/bin/env bash
# Runs every test of the project under the race detector, against real servers.
# It gets what is missing first. Nothing is skipped: a server that cannot be had
# is a failure, with the command that helps.
#
#   deploy/dev/test.sh            everything
#   deploy/dev/test.sh ./queue/...  some packages, the same way
set -euo pipefail
. "$(dirname "$0")/env.sh"

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# install COMMAND BREW-PACKAGE DEBIAN-PACKAGE...: gets COMMAND from the package manager.
install() {
  local command="$1" brew="$2"
  shift 2
  if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
      die "$command is missing, and installing it needs a password. Run this, then make test again:
  sudo apt-get update && sudo apt-get install -y --no-install-recommends $*"
    fi
    say "$command is missing: apt-get install $*"
    # Package lists may be absent or old: refresh them only when the first try fails.
    apt_install "$@" >/dev/null 2>&1 || { as_root apt-get update -q && apt_install "$@"; } ||
      die "apt-get could not install $*; install $command by hand, then make test again"
  elif command -v brew >/dev/null 2>&1; then
    say "$command is missing: brew install $brew"
    brew install --quiet "$brew" || die "brew could not install $brew; install $command by hand, then make test again"
  else
    die "$command is missing, and there is neither apt-get nor brew here. Install $command so that it is in PATH, then make test again"
  fi
  hash -r
  command -v "$command" >/dev/null 2>&1 || die "$command is still not in PATH after the installation"
}

need_redis() {
  # Debian starts the service it installs; the tests use servers of their own.
  command -v redis-server >/dev/null 2>&1 || install redis-server redis redis-server
  local version
  version="$(redis-server --version | sed -n 's/.* v=\([0-9]*\).*/\1/p')"
  [ "${version:-0}" -ge 7 ] ||
    die "redis-server is $(redis-server --version): decom needs 7.0 or newer in PATH"
  say "redis-server: $(redis-server --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p')"
}

# The race detector links C code everywhere but on macOS.
need_cc() {
  local cc
  export CGO_ENABLED=1
  cc="$(go env CC)"
  [ "$(uname -s)" = Darwin ] || command -v "${cc%% *}" >/dev/null 2>&1 || install "${cc%% *}" gcc gcc libc6-dev
}

# The tests start nats-server from the version in go.mod and keep the binary in the
# user's cache. Compiling it here first keeps two test processes from doing it at once.
need_nats() {
  local version
  version="$(go list -m -f '{{.Version}}' github.com/nats-io/nats-server/v2)"
  say "nats-server: $version, built from go.mod"
  go build -o /dev/null github.com/nats-io/nats-server/v2
}

started=$SECONDS
need_go
say "go: $(go env GOVERSION), $(go env GOOS)/$(go env GOARCH)"
need_cc
need_redis
need_nats

packages=("$@")
[ ${#packages[@]} -gt 0 ] || packages=(./...)

say "go vet"
go vet "${packages[@]}"

# Real servers and real time run in these tests: as many packages at once as there
# are processors, two at least, four at most, or waiting tests starve running ones.
cpus="$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)"
[ "$cpus" -ge 2 ] || cpus=2
[ "$cpus" -le 4 ] || cpus=4

say "go test -race (the first time, compiling takes longer than testing)"
testing=$SECONDS
status=0
# CI makes a missing server a failure instead of a skip. Explicit flags win over any
# GOFLAGS. The filter keeps what a person wants to see: see deploy/dev/testlog.awk.
run() { CI=1 go test -json=false -v -race -vet=off -count=1 -timeout=8m "$@" 2>&1; }
again="$(mktemp)"
trap 'rm -f "$again"' EXIT
run -p="$cpus" "${packages[@]}" | awk -v again="$again" -f deploy/dev/testlog.awk || status=$?
# Real processes on a machine that others use, too, miss a deadline now and then. At most
# three such tests get a second run, alone, and are named as UNSTABLE; a test that found a
# promise broken gets none.
if [ "$status" -ne 0 ] && [ -s "$again" ] && ! grep -q '^!' "$again" && [ "$(wc -l <"$again")" -le 3 ]; then
  status=0
  while read -r package name; do
    say "UNSTABLE: $name of $package failed; once more, alone"
    run -run "^$name\$" "$package" </dev/null | awk -f deploy/dev/testlog.awk || status=1
  done <"$again"
  [ "$status" -ne 0 ] || say "UNSTABLE, passed when run alone: $(cut -d' ' -f2 "$again" | paste -sd' ')"
fi
# Random schedules of the whole line, without the race detector: with it they take ten times
# as long. Two idle processors need a minute for all; no machine gets more than three.
if [ $# -eq 0 ]; then
  say "simulation, for ${SIMULATE_SECONDS:=170} s at most"
  deploy/dev/simulate.sh 20000 1 "" "$SIMULATE_SECONDS" || status=1
fi
say "time: $((SECONDS - testing)) s for build and tests, $((SECONDS - started)) s in all"
exit "$status"
