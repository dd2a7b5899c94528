#!/usr/bin/env bash
# Builds the package, looks into it, installs it under a scratch root and runs what was
# installed. Needs dpkg and root (or fakeroot); leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/../.."
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

deploy/deb/build.sh 0.0.1~test "$scratch/out"
deb="$(ls "$scratch"/out/*.deb)"
dpkg --contents "$deb" >"$scratch/contents"
for want in './usr/bin/decom' './usr/lib/systemd/system/decom.service' './etc/decom/secrets/' './usr/lib/sysusers.d/decom.conf'; do
  grep -qF " $want" "$scratch/contents" || { cat "$scratch/contents"; echo "not in the package: $want" >&2; exit 1; }
done
grep -q '^drwx------ root/root .* ./etc/decom/secrets/' "$scratch/contents" || { echo "secrets is not for root only" >&2; exit 1; }

root="$scratch/root"
mkdir -p "$root/var/lib/dpkg/updates" "$root/var/lib/dpkg/info" "$root/etc"
touch "$root/var/lib/dpkg/status" "$root/etc/passwd" "$root/etc/group"
# Dependencies are the machine's business, not the scratch root's. Scripts run outside a
# chroot with DPKG_ROOT set, as image builders do it.
dpkg --root="$root" --force-depends --force-script-chrootless --install "$deb"
"$root/usr/bin/decom" --version
grep -q '^decom:' "$root/etc/passwd" || { echo "postinst made no user" >&2; exit 1; }

# The packaged example must be a configuration this binary takes. Its secret files are
# not there: nothing but those may be complained about.
"$root/usr/bin/decom" config init "$scratch/decom.yaml" >/dev/null
echo kept >"$root/etc/default/decom"
mkdir -p "$root/var/lib/decom" && touch "$root/var/lib/decom/ledger"
dpkg --root="$root" --force-depends --force-script-chrootless --install "$deb" >/dev/null
grep -qx kept "$root/etc/default/decom" || { echo "an upgrade overwrote a file that a person had changed" >&2; exit 1; }
dpkg --root="$root" --force-script-chrootless --purge decom >/dev/null
[ -e "$root/var/lib/decom/ledger" ] || { echo "purge removed the data" >&2; exit 1; }
[ ! -e "$root/usr/bin/decom" ] || { echo "purge left the binary" >&2; exit 1; }
echo "deb: built, installed, upgraded and purged under a scratch root"
