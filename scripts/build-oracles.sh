#!/usr/bin/env bash
# Unpacks the programs that tests and benchmarks compare with. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/build-oracles.sh [--locked | --update]

Downloads cosign, skopeo, erofs-utils and squashfs-tools of Debian 13, which scripts/oracles.lock
pins, and unpacks them with the libraries they need into \$XDG_CACHE_HOME/i2kit/oracles; the
programs in bin there run on Debian 12 too. (Debian 12 has no cosign, its skopeo checks no sigstore
signatures, and its erofs-utils knows neither ZSTD nor fragments.) Needs no root and installs
nothing; done once, unless a package or this script changed.

  --locked  fail when the mirror has dropped a pinned version (default: warn, take the current
            one)
  --update  take the current versions and renew scripts/oracles.lock
HELP
}

mode='' lock="$here/oracles.lock"
while [ $# -gt 0 ]; do
  case "$1" in
    --locked) mode=locked ;;
    --update) mode=update ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/debian.sh
. "$here/lib/debian.sh"
need dpkg-deb flock
take_turn
out="$cache/oracles"
mkdir -p "$cache"
work=$(mktemp -d "$cache/.oracles-XXXXXX")
trap 'rm -rf "$work"' EXIT

# The host's mirrors, for the release after its own; lists of their own.
apt_dir="$cache/apt-trixie"
mkdir -p "$apt_dir"
apt_sources | sed -E 's/ bookworm(-updates|-security)? / trixie\1 /' >"$work/sources.list"
export I2KIT_APT_SOURCES="$work/sources.list"

resolve_lock "$lock" "$work/drift" "$mode" >"$work/packages"
if [ "$mode" = update ]; then
  { grep '^#' "$lock" || true; cat "$work/packages"; } >"$work/lock"
  cat "$work/lock" >"$lock"
fi
# Debian's own: its packages are there whatever else is first in PATH.
key=$(cat "$work/packages" "$here/build-oracles.sh" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$out/i2kit-key" 2>/dev/null)" = "$key" ]; then
  say "oracles are up to date: $out"
  exit 0
fi

download "$work/packages"
new="$work/new"
mkdir -p "$new/bin" "$new/root"
while read -r _ _ sha256; do unpack "$sha256" "$new/root"; done <"$work/packages"
# Through its own loader: the host's C library may be too old.
for program in cosign skopeo fsck.erofs dump.erofs mkfs.erofs mksquashfs; do
  [ -x "$new/root/usr/bin/$program" ] || fail "the pinned packages have no program $program"
  cat >"$new/bin/$program" <<'PROGRAM'
#!/bin/sh
root=$(dirname "$(dirname "$(readlink -f "$0")")")/root
libraries="$root/usr/lib/x86_64-linux-gnu"
exec "$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$root/usr/bin/$(basename "$0")" "$@"
PROGRAM
  chmod 755 "$new/bin/$program"
done
printf '%s\n' "$key" >"$new/i2kit-key"
replace "$new" "$out"
say "oracles are in $out"
