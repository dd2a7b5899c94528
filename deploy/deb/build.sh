#!/usr/bin/env bash
# Builds the Debian package: deploy/deb/build.sh VERSION [FOLDER], default folder bin.
# ARCH=arm64 deploy/deb/build.sh ... builds for another processor.
set -euo pipefail
cd "$(dirname "$0")/../.."

version="${1:?give the version, as in 1.0.0}"
out="${2:-bin}"
NFPM_VERSION=v2.45.0 # 2.46 and later do not resolve

export DECOM_VERSION="$version" DECOM_ARCH="${ARCH:-$(go env GOARCH)}"
export DECOM_BINARY="$out/decom-$DECOM_ARCH"
mkdir -p "$out"

CGO_ENABLED=0 GOOS=linux GOARCH="$DECOM_ARCH" go build -trimpath -ldflags "-s -w -X main.packaged=$version" -o "$DECOM_BINARY" ./cmd/decom

# NFPM names an installed one; else it is built from its pinned module, for this machine.
if [ -n "${NFPM:-}" ]; then
  nfpm=("$NFPM")
else
  nfpm=(env -u GOARCH -u GOOS GOFLAGS= go run "github.com/goreleaser/nfpm/v2/cmd/nfpm@$NFPM_VERSION")
fi
"${nfpm[@]}" package --config deploy/deb/nfpm.yaml --packager deb --target "$out"
