# Sourced by the scripts of this directory: one Go environment, whatever the
# caller's. The caller has set -euo pipefail.

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ -f go.mod ] || die "deploy/dev is not inside the project"

# Flags of the caller (-mod=vendor, -json, -tags ...) would change what is proved;
# a go.work above the clone would, too. Nothing here needs a version stamp, and git
# refuses to give one in a clone of another user.
export GOFLAGS="-mod=readonly -buildvcs=false"
export GOWORK=off

need_go() {
  command -v go >/dev/null 2>&1 ||
    die "go is not installed: decom needs Go 1.26 or newer, from https://go.dev/dl or your package manager"
  local version major minor
  # go.mod asks for 1.26: an older go fetches that itself, or fails here and says why.
  version="$(go env GOVERSION)" ||
    die "this go cannot use go.mod: decom needs Go 1.26 or newer, from https://go.dev/dl (or allow a download: GOTOOLCHAIN=auto)"
  version="${version#go}"
  major="${version%%.*}"
  minor="${version#*.}"
  minor="${minor%%[!0-9]*}"
  if [ "$major" -lt 1 ] || { [ "$major" -eq 1 ] && [ "$minor" -lt 26 ]; }; then
    die "go is $version: decom needs Go 1.26 or newer, from https://go.dev/dl (or allow a download: GOTOOLCHAIN=auto)"
  fi
}
