#!/usr/bin/env bash
# What the package promises, on a fresh Debian 12 under a real systemd: installs the deb, starts
# the unit, asks doctor, publishes, reads the outcomes; then reload, restart, kill -9, a process
# that hangs (watchdog), dependencies away at start, a wrong configuration, a reboot, an upgrade
# under load, purge. inside.sh of fresh-debian/ is what runs in there, and says what it sees.
#
#   deploy/dev/fresh-debian.sh        about five minutes; ROOT=FILE.tar takes a root made before
#
# Needs: Linux, root, Go, mmdebstrap and systemd-nspawn (apt-get install mmdebstrap
# systemd-container), and a Debian mirror for the first run. It changes nothing on this machine:
# the root file system lies in a scratch folder, and its network is a loopback of its own.
set -euo pipefail
. "$(dirname "$0")/env.sh"

[ "$(id -u)" -eq 0 ] || die "fresh-debian needs root: it boots a systemd in a container"
need_go
for tool in mmdebstrap systemd-nspawn; do
  command -v "$tool" >/dev/null 2>&1 || die "$tool is missing: apt-get install mmdebstrap systemd-container"
done

scratch="$(mktemp -d)"
root="$scratch/root"
trap 'rm -rf "$scratch"' EXIT

say "fresh-debian: two versions of the package, nats-server of go.mod"
for version in 1.0.0 1.0.1; do deploy/deb/build.sh "$version" "$scratch/deb" >/dev/null; done
CGO_ENABLED=0 go build -o "$scratch/nats-server" github.com/nats-io/nats-server/v2

tar="${ROOT:-.cache/fresh-debian/root.tar}"
if [ ! -s "$tar" ]; then
  say "fresh-debian: a minimal Debian 12 with systemd, redis-server, curl"
  mkdir -p "$(dirname "$tar")"
  mmdebstrap --quiet --format=tar --variant=minbase --include=systemd,systemd-sysv,dbus,redis-server,curl,procps bookworm "$tar.new"
  mv "$tar.new" "$tar"
fi
mkdir "$root"
tar -C "$root" -xf "$tar"
mkdir -p "$root/opt/fresh"
install -m 0755 "$scratch/nats-server" "$root/usr/local/bin/nats-server"
install -m 0755 deploy/dev/fresh-debian/inside.sh "$root/opt/fresh/inside.sh"
cp "$scratch"/deb/*.deb "$root/opt/fresh/"

mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
cat >"$root/etc/systemd/system/fresh.service" <<'UNIT'
[Unit]
Description=what deploy/dev/fresh-debian.sh came for
After=multi-user.target
[Service]
# Not oneshot: a boot is not over before those, and what it asks for waits for the boot.
Type=exec
ExecStart=/bin/bash /opt/fresh/inside.sh
StandardOutput=append:/opt/fresh/said
StandardError=append:/opt/fresh/said
UNIT
ln -s ../fresh.service "$root/etc/systemd/system/multi-user.target.wants/fresh.service"

say "fresh-debian: booting it"
code=133 # what nspawn ends with when the machine wants to boot again
# cgroup v2 alone, as Debian 12 has it, also on a machine that mixes it with v1.
while [ "$code" -eq 133 ]; do
  code=0
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout -k 20 1200 systemd-nspawn --quiet --register=no --keep-unit \
    --machine="fresh-$$" --directory="$root" --private-network --boot >>"$scratch/console" 2>&1 </dev/null || code=$?
done
[ -s "$root/opt/fresh/said" ] || { tail -40 "$scratch/console" >&2; die "fresh-debian: it did not boot (code $code)"; }
cat "$root/opt/fresh/said"
[ "$(cat "$root/opt/fresh/verdict" 2>/dev/null)" = passed ] || die "fresh-debian: FAILED"
say "fresh-debian: passed"
