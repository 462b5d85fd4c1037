#!/usr/bin/env bash
# Installs the Python programs that tests compare with. See --help.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<HELP
Usage: scripts/build-python-oracles.sh [--update]

Installs virt-firmware (virt-fw-vars) and uefivars, which read and write UEFI variables, the tools of
SPDX, CycloneDX and in-toto, and boto3 and moto's server, which know AWS's services, into
\$XDG_CACHE_HOME/i2kit/python-oracles, a virtual environment, as scripts/python-oracles.lock pins
them. Needs no root; done once, unless the lock or Python changed.

  --update  take the current versions and renew scripts/python-oracles.lock
HELP
}

mode='' lock="$here/python-oracles.lock"
while [ $# -gt 0 ]; do
  case "$1" in
    --update) mode=update ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
# shellcheck source=scripts/lib/common.sh
. "$here/lib/common.sh"
out="${XDG_CACHE_HOME:-$HOME/.cache}/i2kit/python-oracles"
digest() { cat "$lock" - < <(/usr/bin/python3 --version) | sha256sum | cut -d' ' -f1; }
key=$(digest)
if [ -z "$mode" ] && [ "$(cat "$out/i2kit-key" 2>/dev/null)" = "$key" ]; then
  say "Python oracles are up to date: $out"
  exit 0
fi
# A virtual environment cannot be moved: one that broke off has no key and is made anew.
rm -rf "$out"
mkdir -p "$(dirname "$out")"
/usr/bin/python3 -m venv "$out" || fail "cannot make a virtual environment; hint: scripts/setup.sh --test"
if [ "$mode" = update ]; then
  "$out/bin/pip" install --quiet --disable-pip-version-check virt-firmware uefivars \
    spdx-tools 'cyclonedx-python-lib[json-validation]' in-toto-attestation \
    boto3 moto flask flask-cors >&2
  {
    grep '^#' "$lock"
    "$out/bin/pip" freeze --disable-pip-version-check
  } >"$lock.new"
  mv "$lock.new" "$lock"
  key=$(digest)
else
  "$out/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$lock" >&2
fi
printf '%s\n' "$key" >"$out/i2kit-key"
say "Python oracles are in $out"
